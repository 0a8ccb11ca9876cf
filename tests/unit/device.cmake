# Tests of src/device and of the functions of mf_device.h for applications.
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
mf_test(test_device_registry SOURCES test_device_registry.c ${torture} LAYERS base config device)
mf_test(test_device_sim SOURCES test_device_sim.c LAYERS base config device)
# The functions for applications stand in the topmost layer, which needs all others.
mf_test(test_mf_device SOURCES test_mf_device.c
        LAYERS base config trace wire store device gva transport xcopy core api)
