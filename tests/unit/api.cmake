# Tests of src/api: the public calls over the whole library, linked in as objects.
set(all_layers base config wire store device gva transport xcopy core api)
mf_test(test_smem_api SOURCES test_smem_api.c LAYERS ${all_layers})
mf_test(test_smem_bm_args SOURCES test_smem_bm_args.c LAYERS ${all_layers})
mf_test(test_smem_bm_life SOURCES test_smem_bm_life.c LAYERS ${all_layers})
mf_test(test_smem_bm_device SOURCES test_smem_bm_device.c LAYERS ${all_layers})
