// SPDX-License-Identifier: Apache-2.0
// The smallest program outside the tree: it sees installed headers only, and shows that the library
// it runs with is the one it was built for.
#include <stdio.h>

#include "smem.h"

int main(void)
{
    uint32_t abi = smem_get_abi_version();
    if (abi != 0x00010003u) {
        fprintf(stderr, "ABI version 0x%08x, not 0x00010003\n", (unsigned)abi);
        return 1;
    }
    int32_t rc = smem_init(0);
    if (rc != 0) {
        fprintf(stderr, "smem_init: %d: %s\n", (int)rc, smem_get_last_err_msg());
        return 1;
    }
    smem_uninit();
    printf("ABI version 0x%08x\n", (unsigned)abi);
    return 0;
}
