// SPDX-License-Identifier: Apache-2.0
// Opens the shared library that is named, calls it, and closes it.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    void *lib = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
    uint32_t (*version)(void) = NULL;
    void *symbol = lib != NULL ? dlsym(lib, "smem_get_abi_version") : NULL;
    if (symbol == NULL) {
        fprintf(stderr, "load: %s\n", argc == 2 ? dlerror() : "usage: load LIBRARY");
        return 1;
    }
    memcpy(&version, &symbol, sizeof(version));
    printf("ABI %u.%u\n", version() >> 16, version() & 0xffffu);
    return dlclose(lib) == 0 ? 0 : 1;
}
