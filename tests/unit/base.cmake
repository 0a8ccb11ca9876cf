# Tests of src/base. Those that make allocations fail also link the torture driver.
set(torture ${CMAKE_SOURCE_DIR}/tests/mf_torture.c)
mf_test(test_err SOURCES test_err.c ${torture} LAYERS base)
mf_test(test_log SOURCES test_log.c LAYERS base)
mf_test(test_env SOURCES test_env.c LAYERS base)
mf_test(test_alloc SOURCES test_alloc.c ${torture} LAYERS base)
mf_test(test_buf SOURCES test_buf.c ${torture} LAYERS base)
mf_test(test_handle SOURCES test_handle.c ${torture} LAYERS base)
mf_test(test_hist SOURCES test_hist.c LAYERS base)
mf_test(test_thread SOURCES test_thread.c LAYERS base)
mf_test(test_loop SOURCES test_loop.c ${torture} LAYERS base)

# The same file as in the library, with the check of the order of locks, whatever the build.
mf_test(test_lock_check SOURCES test_lock_check.c ${CMAKE_SOURCE_DIR}/src/base/thread.c
                                ${CMAKE_SOURCE_DIR}/src/base/err.c)
target_compile_definitions(test_lock_check PRIVATE MF_LOCK_CHECK)

# Plug-ins that differ in what is wrong with them: one source, one definition each.
mf_test(test_plugin SOURCES test_plugin.c ${torture} LAYERS base)
foreach(defect good wrong_abi lying_abi small_size no_symbol bad_name long_name no_name empty
               unresolved)
  add_library(test_plugin_${defect} MODULE plugins/plugin.c)
  target_include_directories(test_plugin_${defect} PRIVATE ${CMAKE_SOURCE_DIR}/include)
  string(TOUPPER ${defect} DEFECT)
  target_compile_definitions(test_plugin_${defect} PRIVATE PLUGIN_${DEFECT})
  set_target_properties(test_plugin_${defect} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY
                                                         ${CMAKE_CURRENT_BINARY_DIR}/plugins)
  add_dependencies(test_plugin test_plugin_${defect})
endforeach()
target_compile_definitions(test_plugin PRIVATE PLUGIN_DIR="${CMAKE_CURRENT_BINARY_DIR}/plugins")
