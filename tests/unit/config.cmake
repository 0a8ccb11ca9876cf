# Tests of src/config.
mf_test(test_config SOURCES test_config.c LAYERS base config)

# The same sources with a table of options made for the test.
set(config_dir ${CMAKE_SOURCE_DIR}/src/config)
mf_test(test_config_types SOURCES test_config_types.c ${config_dir}/config.c
                                  ${config_dir}/config_env.c ${config_dir}/config_print.c
                          LAYERS base)
target_include_directories(test_config_types BEFORE PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/fake_options)
