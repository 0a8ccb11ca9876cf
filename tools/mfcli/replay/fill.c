// SPDX-License-Identifier: Apache-2.0
// The bytes of a block. A Weyl sequence, folded: simple enough for compilers to vectorise, so that
// filling and checking run at about the speed of memory.
#include "fill.h"

#include <string.h>

#include "hash.h"

#define STEP 0x9e3779b97f4a7c15u

static uint64_t start_of(uint64_t id, uint64_t generation)
{
    return hash_mix(id ^ hash_mix(generation));
}

static uint64_t fold(uint64_t x)
{
    return x ^ (x >> 29);
}

uint64_t fill_word(uint64_t id, uint64_t generation, size_t index)
{
    return fold(start_of(id, generation) + index * STEP);
}

void fill_block(void *block, size_t bytes, uint64_t id, uint64_t generation)
{
    uint64_t *words = block;
    uint64_t x = start_of(id, generation);

    for (size_t i = 0; i < bytes / 8; i++) {
        words[i] = fold(x);
        x += STEP;
    }
}

static size_t count_wrong(const unsigned char *block, size_t bytes, uint64_t id,
                          uint64_t generation, size_t *first)
{
    size_t count = 0;

    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = fill_word(id, generation, i / 8);
        unsigned char want[8];

        memcpy(want, &word, 8);
        for (size_t j = 0; j < 8; j++) {
            if (block[i + j] != want[j]) {
                *first = count ? *first : i + j;
                count++;
            }
        }
    }
    return count;
}

size_t fill_check(const void *block, size_t bytes, uint64_t id, uint64_t generation, size_t *first)
{
    const uint64_t *words = block;
    uint64_t x = start_of(id, generation);
    uint64_t differ = 0;

    for (size_t i = 0; i < bytes / 8; i++) {
        differ |= words[i] ^ fold(x);
        x += STEP;
    }
    return differ ? count_wrong(block, bytes, id, generation, first) : 0;
}
