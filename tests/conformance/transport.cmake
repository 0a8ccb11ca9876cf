# The suite of transports: a new one adds one line at the end.
set(transport_suite ${CMAKE_CURRENT_SOURCE_DIR}/transport_suite.c
                    ${CMAKE_CURRENT_SOURCE_DIR}/transport_host.c
                    ${CMAKE_CURRENT_SOURCE_DIR}/transport_copy_cases.c
                    ${CMAKE_CURRENT_SOURCE_DIR}/transport_fence_cases.c
                    ${CMAKE_CURRENT_SOURCE_DIR}/transport_many_cases.c)
mf_test(test_conformance_transport SOURCES ${transport_suite}
        LAYERS base config device gva transport ARGS direct LABELS conformance TIMEOUT 300)

# mf_conformance_transport(<name> <name or path of the transport> [device [translated]])
function(mf_conformance_transport name transport)
  add_test(NAME test_conformance_transport_${name}
           COMMAND test_conformance_transport ${transport} ${ARGN})
  set_tests_properties(test_conformance_transport_${name} PROPERTIES TIMEOUT 300 LABELS conformance)
endfunction()

mf_conformance_transport(direct_sim direct sim)
mf_conformance_transport(direct_translated direct sim translated)
mf_conformance_transport(direct_unmapped direct sim)
set_tests_properties(test_conformance_transport_direct_unmapped PROPERTIES
                     ENVIRONMENT MF_PEER_MAP=never)

# mf_outside_plugin() builds against the installed headers; see device.cmake.
mf_outside_plugin(toytp toytp/toytp.c)
mf_outside_plugin(toytp_abi7 toytp/toytp.c -DTOY_ABI=7)
mf_conformance_transport(toytp ${plugin_dir}/toytp.so)
mf_conformance_transport(toytp_translated ${plugin_dir}/toytp.so none translated)
set_tests_properties(test_conformance_transport_toytp test_conformance_transport_toytp_translated
                     PROPERTIES FIXTURES_REQUIRED plugin_toytp)
mf_test(test_conformance_refused_transport SOURCES refused_transport.c
        LAYERS base config device gva transport ARGS ${plugin_dir}/toytp_abi7.so 7
        LABELS conformance)
set_tests_properties(test_conformance_refused_transport PROPERTIES FIXTURES_REQUIRED
                                                                   plugin_toytp_abi7)
