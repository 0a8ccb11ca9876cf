# Runs the first program as two ranks: it has to end with 0, and rank 1 has to print what rank 0 copied.
#   cmake -DMFCLI=path -DFIRST=path -P check.cmake
execute_process(COMMAND ${MFCLI} run -n 2 --timeout 30 -- ${FIRST} RESULT_VARIABLE code
                OUTPUT_VARIABLE out ERROR_VARIABLE err)
if(NOT code EQUAL 0 OR NOT out STREQUAL "[1] hello from rank 0\n")
  message(FATAL_ERROR "code ${code}, output:\n${out}errors:\n${err}")
endif()
