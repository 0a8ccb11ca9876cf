# Tests of src/wire.
mf_test(test_wire SOURCES test_wire.c ${CMAKE_SOURCE_DIR}/tests/mf_torture.c LAYERS base wire)
mf_test(test_store_item SOURCES test_store_item.c ${CMAKE_SOURCE_DIR}/tests/mf_torture.c LAYERS base wire)
