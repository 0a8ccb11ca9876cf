# Tests of src/gva.
mf_test(test_gva_layout SOURCES test_gva_layout.c LAYERS base gva config)
mf_test(test_gva_table SOURCES test_gva_table.c ${CMAKE_SOURCE_DIR}/tests/mf_torture.c
        LAYERS base gva config)
mf_test(test_space SOURCES test_space.c LAYERS base gva config)
mf_test(test_memory SOURCES test_memory.c LAYERS base gva config)
mf_test(test_memory_adopt SOURCES test_memory_adopt.c LAYERS base gva config)
# It changes the machine's number of huge pages for a moment.
set_tests_properties(test_memory PROPERTIES RESOURCE_LOCK huge_pages)
