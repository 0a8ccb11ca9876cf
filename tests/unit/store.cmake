# Tests of src/store.
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
mf_test(test_store_kv SOURCES test_store_kv.c ${torture} LAYERS base wire store)
mf_test(test_store_tcp SOURCES test_store_tcp.c store_rig.c LAYERS base wire store)
mf_test(test_store_sim SOURCES test_store_sim.c LAYERS base wire store)
