# Tests of src/xcopy.
set(xcopy_layers base config device gva xcopy)
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
mf_test(test_classify SOURCES test_classify.c LAYERS ${xcopy_layers})
mf_test(test_plan SOURCES test_plan.c ${torture} LAYERS ${xcopy_layers})
mf_test(test_cpu_copy SOURCES test_cpu_copy.c ${torture} LAYERS ${xcopy_layers})
mf_test(test_xcopy SOURCES test_xcopy.c ${torture} LAYERS ${xcopy_layers})
mf_test(test_queue SOURCES test_queue.c ${torture} LAYERS ${xcopy_layers})
