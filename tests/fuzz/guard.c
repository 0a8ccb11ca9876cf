// SPDX-License-Identifier: Apache-2.0
// The place for guarded copies: made once, used again and again.
#include "guard.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

const uint8_t *fuzz_guarded(const void *data, size_t len)
{
    static uint8_t *end; /* the first inaccessible byte */
    FUZZ_CHECK(len <= FUZZ_INPUT_MAX);
    if (end == NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        uint8_t *place = mmap(NULL, FUZZ_INPUT_MAX + page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        FUZZ_CHECK(place != MAP_FAILED && mprotect(place + FUZZ_INPUT_MAX, page, PROT_NONE) == 0);
        end = place + FUZZ_INPUT_MAX;
    }
    if (len > 0) {
        memcpy(end - len, data, len);
    }
    return end - len;
}
