# The suite of the BM API, over every device and every operator: a new one adds one line at the end.
set(bm_suite ${CMAKE_CURRENT_SOURCE_DIR}/bm_suite.c ${CMAKE_CURRENT_SOURCE_DIR}/bm_copy_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_range_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_member_cases.c)
mf_test(test_conformance_bm SOURCES ${bm_suite}
        LAYERS base config wire store device gva transport xcopy core api
        ARGS none SDMA LABELS conformance TIMEOUT 120)

# mf_conformance_bm(<name> <device> <operator> [variable=value]...)
function(mf_conformance_bm name device operator)
  add_test(NAME test_conformance_bm_${name} COMMAND test_conformance_bm ${device} ${operator})
  set_tests_properties(test_conformance_bm_${name} PROPERTIES TIMEOUT 120 LABELS conformance
                                                              ENVIRONMENT "${ARGN}")
endfunction()

mf_conformance_bm(host_shm none HOST_SHM)
mf_conformance_bm(sim sim SDMA)
mf_conformance_bm(sim_host_shm sim HOST_SHM)

# Plug-ins from outside of the tree; see device.cmake and transport.cmake, which build them.
if(plugin_dir)
  mf_conformance_bm(toydev ${plugin_dir}/toydev.so SDMA)
  if(MF_SANITIZE MATCHES thread)
    # The owner's thread writes what the owner's main thread reads; that one happens before the other
    # is known to a third process only, which the sanitizer cannot see.
    add_test(NAME test_conformance_bm_toytp COMMAND ${CMAKE_COMMAND} -E echo
      "SKIPPED: ranks synchronise through other processes, unseen by the thread sanitizer")
    set_tests_properties(test_conformance_bm_toytp PROPERTIES LABELS conformance
                                                              SKIP_REGULAR_EXPRESSION SKIPPED)
  else()
    mf_conformance_bm(toytp none HOST_TCP MF_TRANSPORT_PLUGIN=${plugin_dir}/toytp.so)
  endif()
  set_tests_properties(test_conformance_bm_toydev PROPERTIES FIXTURES_REQUIRED plugin_toydev)
  set_tests_properties(test_conformance_bm_toytp PROPERTIES FIXTURES_REQUIRED plugin_toytp)
endif()
