# What every target of the project shares: language, warnings, sanitizers, and the helpers mf_layer()
# and mf_test().
#
# Options:
#   MF_SANITIZE     sanitizers to build with: "address,undefined" or "thread"
#   MF_LOCK_CHECK   abort when a thread takes locks against their order (on with a sanitizer)
#   MF_FUZZ         build the fuzz targets for libFuzzer, too (clang; off)
#   MF_WERROR       warnings are errors (on)
#   BUILD_TESTING   build the tests (on)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 11)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

# -O2 for all that is optimised; what needs another instruction set is chosen at run time, so never
# -march=native.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")

set(MF_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
if(MF_SANITIZE)
  set(lock_check ON)
else()
  set(lock_check OFF)
endif()
option(MF_LOCK_CHECK "Abort when locks are taken against their order" ${lock_check})
option(MF_WERROR "Treat warnings as errors" ON)

add_compile_options(-Wall -Wextra -Wshadow -Wpointer-arith -Wundef -Wvla -fno-strict-aliasing
                    -fno-omit-frame-pointer)
add_compile_options($<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
                    $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)
if(MF_WERROR)
  add_compile_options(-Werror)
endif()
add_compile_definitions(_GNU_SOURCE)
if(MF_LOCK_CHECK)
  add_compile_definitions(MF_LOCK_CHECK=1)
endif()
option(MF_FUZZ "Build the fuzz targets for libFuzzer, too (clang)" OFF)
if(MF_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link) # each layer reports what it has covered
endif()
if(MF_SANITIZE)
  add_compile_options(-fsanitize=${MF_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MF_SANITIZE})
  # gcc warns of every fence, which its thread sanitizer does not follow.
  if(MF_SANITIZE MATCHES thread AND CMAKE_C_COMPILER_ID STREQUAL GNU)
    add_compile_options(-Wno-tsan)
  endif()
endif()

find_program(CCACHE ccache)
if(CCACHE AND NOT DEFINED CMAKE_C_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(EVENT REQUIRED IMPORTED_TARGET libevent_core libevent_pthreads)
find_library(NUMA_LIBRARY numa REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED) # used as a header alone

# mf_layer(<name> SOURCES <file>...): the object library mf_<name> of one folder.
function(mf_layer name)
  cmake_parse_arguments(L "" "" "SOURCES" ${ARGN})
  add_library(mf_${name} OBJECT ${L_SOURCES})
  target_include_directories(mf_${name} PUBLIC ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(mf_${name} PUBLIC PkgConfig::EVENT Threads::Threads)
  set_property(GLOBAL APPEND PROPERTY MF_LAYERS mf_${name})
endfunction()

# mf_test(<name> SOURCES <file>... LAYERS <layer>... [LABELS ...] [TIMEOUT s]): a cmocka program that
# links the objects of the named layers, so that it reaches internal functions.
function(mf_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;LAYERS;LABELS;ARGS;LIBS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src
                                             ${CMAKE_SOURCE_DIR}/tests)
  foreach(layer ${T_LAYERS})
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:mf_${layer}>)
  endforeach()
  target_link_libraries(${name} PRIVATE PkgConfig::EVENT Threads::Threads ${NUMA_LIBRARY} cmocka
                                        ${CMAKE_DL_LIBS} ${T_LIBS})
  add_test(NAME ${name} COMMAND ${name} ${T_ARGS})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 240) # for what hangs; a sanitizer on a loaded machine takes its time
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}")
endfunction()
