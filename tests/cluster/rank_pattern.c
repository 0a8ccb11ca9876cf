// SPDX-License-Identifier: Apache-2.0
// The pattern: five words that name the line, two derived from them, and a sum over all.
#include "rank_pattern.h"

#include <string.h>

#define WORDS (PATTERN_LINE / 8u)

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static void make_line(uint64_t line[WORDS], uint32_t writer, uint64_t generation, uint64_t offset)
{
    line[0] = 0x4c494e45u + ((uint64_t)writer << 32);
    line[1] = generation;
    line[2] = offset;
    line[3] = mix(line[0] ^ generation);
    line[4] = mix(offset + line[3]);
    line[5] = ~line[4];
    line[6] = mix(generation ^ offset);
    line[7] = 0;
    for (uint32_t i = 0; i < 7; i++) {
        line[7] = mix(line[7] + line[i]);
    }
}

void pattern_fill(void *at, uint64_t size, uint32_t writer, uint64_t generation, uint64_t offset)
{
    uint64_t line[WORDS];
    for (uint64_t done = 0; done < size; done += PATTERN_LINE) {
        make_line(line, writer, generation, offset + done);
        memcpy((char *)at + done, line, sizeof(line));
    }
}

uint64_t pattern_check(const void *at, uint64_t size, uint32_t writer, uint64_t generation,
                       uint64_t offset, struct pattern_fault *fault)
{
    static const uint64_t zero[WORDS];
    uint64_t want[WORDS], got[WORDS];
    memset(fault, 0, sizeof(*fault));
    for (uint64_t done = 0; done < size; done += PATTERN_LINE) {
        make_line(want, writer, generation, offset + done);
        memcpy(got, (const char *)at + done, sizeof(got));
        if (memcmp(want, got, sizeof(got)) == 0) {
            continue;
        }
        if (fault->wrong == 0) {
            fault->first = done;
            memcpy(fault->got, got, sizeof(got));
        }
        fault->zero += memcmp(got, zero, sizeof(got)) == 0;
        for (uint32_t i = 0; i < PATTERN_LINE; i++) {
            fault->wrong += ((const char *)want)[i] != ((const char *)got)[i];
        }
    }
    return fault->wrong;
}
