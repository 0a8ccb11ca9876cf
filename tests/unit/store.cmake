# Tests of src/store.
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
mf_test(test_store_kv SOURCES test_store_kv.c ${torture} LAYERS base trace wire store)
mf_test(test_store_tcp SOURCES test_store_tcp.c store_rig.c LAYERS base trace wire store)
mf_test(test_store_sim SOURCES test_store_sim.c LAYERS base trace wire store)
mf_test(test_store_server_sm SOURCES test_store_server_sm.c store_sm_rig.c ${torture}
        LAYERS base trace wire store)
mf_test(test_store_client_sm SOURCES test_store_client_sm.c store_sm_rig.c ${torture}
        LAYERS base trace wire store)
mf_test(test_store_collective SOURCES test_store_collective.c store_rig.c ${torture}
        LAYERS base trace wire store)
mf_test(test_store_move SOURCES test_store_move.c store_rig.c store_sm_rig.c LAYERS base trace wire store)
