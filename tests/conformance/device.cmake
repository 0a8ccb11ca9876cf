# The suite of device plug-ins: a new plug-in adds one line at the end.
set(device_suite ${CMAKE_CURRENT_SOURCE_DIR}/device_suite.c
                 ${CMAKE_CURRENT_SOURCE_DIR}/device_copy_cases.c
                 ${CMAKE_CURRENT_SOURCE_DIR}/device_memory_cases.c
                 ${CMAKE_CURRENT_SOURCE_DIR}/device_stream_cases.c)
mf_test(test_conformance_device SOURCES ${device_suite} LAYERS base config device ARGS sim
        LABELS conformance)

# mf_conformance_device(<name> <plug-in> [variable=value]...)
function(mf_conformance_device name plugin)
  add_test(NAME test_conformance_device_${name} COMMAND test_conformance_device ${plugin})
  set_tests_properties(test_conformance_device_${name} PROPERTIES TIMEOUT 240 LABELS conformance
                                                                  ENVIRONMENT "${ARGN}")
endfunction()

# Plug-ins from outside the tree are built against the installed headers, when the tests run.
set(plugin_dir ${CMAKE_CURRENT_BINARY_DIR}/plugins)
set(sanitize)
if(MF_SANITIZE)
  set(sanitize -fsanitize=${MF_SANITIZE} -fno-sanitize-recover=all)
endif()
# mf_outside_plugin(<name> <source> [compiler option]...): the fixture plugin_<name>.
function(mf_outside_plugin name source)
  add_test(NAME build_plugin_${name}
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/plugins/build_plugin.sh ${CMAKE_BINARY_DIR}/prefix
                   ${CMAKE_CURRENT_SOURCE_DIR}/plugins/${source} ${plugin_dir}/${name}.so
                   ${sanitize} ${ARGN})
  set_tests_properties(build_plugin_${name} PROPERTIES
    FIXTURES_REQUIRED installed_prefix FIXTURES_SETUP plugin_${name} TIMEOUT 240
    LABELS conformance ENVIRONMENT "CC=${CMAKE_C_COMPILER}")
endfunction()
mf_outside_plugin(toydev toydev/toydev.c)
mf_outside_plugin(toydev_abi7 toydev/toydev.c -DTOY_ABI=7)

mf_test(test_conformance_refused_plugin SOURCES refused_plugin.c LAYERS base config device
        ARGS ${plugin_dir}/toydev_abi7.so 7 LABELS conformance)
set_tests_properties(test_conformance_refused_plugin PROPERTIES FIXTURES_REQUIRED plugin_toydev_abi7)

mf_conformance_device(sim_elsewhere sim MF_SIM_GRANT=shift)
mf_conformance_device(sim_slow sim MF_SIM_BANDWIDTH=4000 MF_SIM_LATENCY_NS=20000)
mf_conformance_device(toydev ${plugin_dir}/toydev.so)
set_tests_properties(test_conformance_device_toydev PROPERTIES FIXTURES_REQUIRED plugin_toydev)
