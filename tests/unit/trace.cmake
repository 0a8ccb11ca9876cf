# Tests of src/trace.
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
mf_test(test_trace SOURCES test_trace.c ${torture} LAYERS base trace)
mf_test(test_trace_file SOURCES test_trace_file.c LAYERS base trace)
mf_test(test_trace_view SOURCES test_trace_view.c LAYERS base trace)
mf_test(test_trace_api SOURCES test_trace_api.c
                       LAYERS base config trace wire store device gva transport xcopy core api)
