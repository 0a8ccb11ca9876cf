# The checks of scripts/ as tests, label lint. They read sources, and objects that no sanitizer has
# added its own state to.
if(MF_SANITIZE)
  return()
endif()

# mf_lint(<name> <command>...)
function(mf_lint name)
  add_test(NAME lint_${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(lint_${name} PROPERTIES LABELS lint TIMEOUT 120)
endfunction()

mf_lint(format scripts/check-format)
mf_lint(style scripts/check-style)
mf_lint(style_selftest scripts/check-style --self-test)
mf_lint(layers scripts/check-layers --build ${CMAKE_BINARY_DIR})
mf_lint(layers_selftest scripts/check-layers --self-test)
