# Tests of src/core and of the records that core keeps in the store. What needs no whole library takes
# the one source file that it tests.
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
set(core ${CMAKE_SOURCE_DIR}/src/core)
mf_test(test_record SOURCES test_record.c LAYERS base wire)
mf_test(test_members SOURCES test_members.c ${core}/members.c ${torture} LAYERS base wire)
mf_test(test_pool_layout SOURCES test_pool_layout.c ${core}/layout.c ${CMAKE_SOURCE_DIR}/src/gva/layout.c
                                 LAYERS base config trace wire store)
mf_test(test_pool_space SOURCES test_pool_space.c ${core}/pool_space.c ${torture}
                        LAYERS base config gva device)
mf_test(test_pool_tags SOURCES test_pool_tags.c ${core}/pool_tags.c LAYERS base wire)
mf_test(test_pool_notify SOURCES test_pool_notify.c ${core}/pool_notify.c ${torture} LAYERS base)
mf_test(test_threads SOURCES test_threads.c ${core}/threads.c ${torture} LAYERS base)
mf_test(test_pool SOURCES test_pool.c
                  LAYERS base config trace wire store device gva transport xcopy core)
mf_test(test_pool_extend SOURCES test_pool_extend.c
                         LAYERS base config trace wire store device gva transport xcopy core)
mf_test(test_join_cost SOURCES test_join_cost.c
                       LAYERS base config trace wire store device gva transport xcopy core)
mf_test(test_world SOURCES test_world.c ${core}/world.c ${torture} LAYERS base trace wire store)
