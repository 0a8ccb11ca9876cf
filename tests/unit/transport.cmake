# Tests of src/transport.
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
set(host ${CMAKE_SOURCE_DIR}/tests/conformance/transport_host.c)
mf_test(test_transport_registry SOURCES test_transport_registry.c ${torture}
        LAYERS base config device gva transport)
mf_test(test_direct_msg SOURCES test_direct_msg.c LAYERS base config device gva transport)
mf_test(test_fence SOURCES test_fence.c LAYERS base config device gva transport)
mf_test(test_direct_control SOURCES test_direct_control.c LAYERS base config device gva transport)
mf_test(test_direct SOURCES test_direct.c ${host} ${torture}
        LAYERS base config device gva transport)
mf_test(test_direct_device SOURCES test_direct_device.c ${host}
        LAYERS base config device gva transport)
mf_test(test_direct_checked SOURCES test_direct_checked.c ${host}
        LAYERS base config device gva transport)
mf_test(test_direct_vm_msg SOURCES test_direct_vm_msg.c
        LAYERS base config device gva transport)
mf_test(test_direct_vm SOURCES test_direct_vm.c ${host} ${torture}
        LAYERS base config device gva transport)
