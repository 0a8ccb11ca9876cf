// SPDX-License-Identifier: Apache-2.0
// The 1.3.0 program as C, and what differs there from C++: the decrypt handler takes a pointer, and
// every argument is written out.
#include "generation_1_3_body.h"

static int decrypt(const char *cipher, size_t cipherLen, char *plain, size_t *plainLen)
{
    (void)cipher;
    (void)plain;
    *plainLen = cipherLen;
    return 0;
}

int32_t store_with_key(const char *url);

int32_t store_with_key(const char *url)
{
    smem_set_config_store_tls_key("key", 3, "password", 8, decrypt);
    return smem_create_config_store(url, 0);
}
