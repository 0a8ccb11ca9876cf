# The suite of the BM API, over every device and every operator: a new one adds one line at the end.
set(bm_suite ${CMAKE_CURRENT_SOURCE_DIR}/bm_suite.c ${CMAKE_CURRENT_SOURCE_DIR}/bm_copy_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_range_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_member_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_tag_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_event_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_stream_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_store_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_extend_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_checksum_cases.c
             ${CMAKE_CURRENT_SOURCE_DIR}/bm_request_cases.c)
mf_test(test_conformance_bm SOURCES ${bm_suite}
        LAYERS base config trace wire store device gva transport xcopy core api
        ARGS none SDMA LABELS conformance TIMEOUT 300)

# mf_conformance_bm(<name> <device> <operator> [CASES <filter>] [variable=value]...)
function(mf_conformance_bm name device operator)
  cmake_parse_arguments(C "" "CASES" "" ${ARGN})
  add_test(NAME test_conformance_bm_${name}
           COMMAND test_conformance_bm ${device} ${operator} ${C_CASES})
  set_tests_properties(test_conformance_bm_${name} PROPERTIES
    TIMEOUT 300 LABELS conformance ENVIRONMENT "${C_UNPARSED_ARGUMENTS}")
endfunction()

mf_conformance_bm(sim sim SDMA)
# A sanitizer takes ten times as long: there, the variants run the copies alone.
set(part "")
if(MF_SANITIZE)
  set(part CASES copy*)
endif()
mf_conformance_bm(host_shm none HOST_SHM ${part})
# Where global addresses are not local ones: in all pools, or in the device's memory only.
mf_conformance_bm(translated none HOST_SHM ${part} MF_GVA_TRANSLATE=always)
mf_conformance_bm(sim_translated sim SDMA ${part} MF_GVA_TRANSLATE=always)
mf_conformance_bm(sim_shift sim SDMA CASES copy* MF_SIM_GRANT=shift)
mf_conformance_bm(sim_shift_pointers sim SDMA CASES pointers* MF_SIM_GRANT=shift)
# Where peers' DRAM is not mapped.
if(MF_SANITIZE MATCHES thread)
  # A thread of the owner writes what its main thread reads, as with toytp below.
  add_test(NAME test_conformance_bm_unmapped COMMAND ${CMAKE_COMMAND} -E echo
    "SKIPPED: ranks synchronise through other processes, unseen by the thread sanitizer")
  set_tests_properties(test_conformance_bm_unmapped PROPERTIES LABELS conformance
                                                               SKIP_REGULAR_EXPRESSION SKIPPED)
else()
  mf_conformance_bm(unmapped none HOST_SHM CASES copy* MF_PEER_MAP=never)
  mf_conformance_bm(sim_unmapped sim SDMA ${part} MF_PEER_MAP=never)
endif()
mf_conformance_bm(checksum none SDMA CASES copy* MF_COPY_CHECKSUM=on)
mf_conformance_bm(sim_checksum sim SDMA ${part} MF_COPY_CHECKSUM=on)

# Plug-ins from outside of the tree; see device.cmake and transport.cmake, which build them.
if(plugin_dir)
  mf_conformance_bm(toydev ${plugin_dir}/toydev.so SDMA ${part})
  mf_conformance_bm(toydev_translated ${plugin_dir}/toydev.so SDMA CASES pointers*
                    MF_GVA_TRANSLATE=always)
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
  set_tests_properties(test_conformance_bm_toydev test_conformance_bm_toydev_translated
                       PROPERTIES FIXTURES_REQUIRED plugin_toydev)
  set_tests_properties(test_conformance_bm_toytp PROPERTIES FIXTURES_REQUIRED plugin_toytp)
endif()
