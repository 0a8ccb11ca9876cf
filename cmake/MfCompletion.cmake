# Writes what the tool prints for a shell into a file.
#   cmake -DMFCLI=path -DSHELL=bash -DOUT=path -P MfCompletion.cmake
execute_process(COMMAND ${MFCLI} completion ${SHELL} OUTPUT_FILE ${OUT} RESULT_VARIABLE code)
if(NOT code EQUAL 0)
  file(REMOVE ${OUT})
  message(FATAL_ERROR "mfcli completion ${SHELL} ended with ${code}")
endif()
