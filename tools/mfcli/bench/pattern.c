// SPDX-License-Identifier: Apache-2.0
// The pattern is a Weyl sequence, folded: one multiplication and a shift a word, which compilers
// vectorise, so that filling and checking run at about the speed of memory.
#include "pattern.h"

#include <string.h>

#define STEP 0x9e3779b97f4a7c15u
#define WORD 8u

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: the finalizer. */
static uint64_t mix(uint64_t x)
{
    x += STEP;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t start_of(const struct pattern *pattern)
{
    return mix(pattern->run ^ mix(pattern->round ^ mix(pattern->rank)));
}

static uint64_t word_at(uint64_t start, uint64_t index)
{
    uint64_t x = start + index * STEP;

    return x ^ (x >> 29);
}

/* The first `bytes` bytes from `offset` on, all within one word. */
static void partial_word(uint64_t start, uint64_t offset, uint8_t *to, size_t bytes)
{
    uint64_t word = word_at(start, offset / WORD);

    memcpy(to, (const uint8_t *)&word + offset % WORD, bytes);
}

/* Bytes up to the next word, at most `bytes`. */
static size_t head_of(uint64_t offset, size_t bytes)
{
    size_t head = (WORD - offset % WORD) % WORD;

    return head < bytes ? head : bytes;
}

void pattern_fill(const struct pattern *pattern, uint64_t offset, void *to, size_t bytes)
{
    uint64_t start = start_of(pattern);
    uint8_t *at = to;
    size_t head = head_of(offset, bytes);
    size_t words = (bytes - head) / WORD;
    size_t tail = (bytes - head) % WORD;
    uint64_t first = (offset + head) / WORD;

    partial_word(start, offset, at, head);
    for (size_t i = 0; i < words; i++) {
        uint64_t word = word_at(start, first + i);

        memcpy(at + head + i * WORD, &word, WORD);
    }
    partial_word(start, (first + words) * WORD, at + bytes - tail, tail);
}

static uint64_t count_wrong(uint64_t start, uint64_t offset, const uint8_t *at, size_t bytes)
{
    uint64_t wrong = 0;

    for (size_t i = 0; i < bytes; i++) {
        uint8_t want = 0;

        partial_word(start, offset + i, &want, 1);
        wrong += at[i] != want;
    }
    return wrong;
}

uint64_t pattern_wrong(const struct pattern *pattern, uint64_t offset, const void *at, size_t bytes)
{
    uint64_t start = start_of(pattern);
    const uint8_t *from = at;
    size_t head = head_of(offset, bytes);
    size_t words = (bytes - head) / WORD;
    size_t tail = (bytes - head) % WORD;
    uint64_t first = (offset + head) / WORD;
    uint64_t differ = 0;

    for (size_t i = 0; i < words; i++) {
        uint64_t word = 0;

        memcpy(&word, from + head + i * WORD, WORD);
        differ |= word ^ word_at(start, first + i);
    }
    if (differ) {
        return count_wrong(start, offset, from, bytes);
    }
    return count_wrong(start, offset, from, head) +
           count_wrong(start, offset + bytes - tail, from + bytes - tail, tail);
}

static uint64_t not_poison(const uint8_t *at, size_t bytes)
{
    uint64_t wrong = 0;

    for (size_t i = 0; i < bytes; i++) {
        wrong += at[i] != PATTERN_POISON;
    }
    return wrong;
}

/* Index of the first extent that ends after `offset`. */
static size_t first_after(const struct extent *extents, size_t count, uint64_t offset)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (extents[middle].dst + extents[middle].bytes > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

uint64_t pattern_wrong_in_target(const struct pattern *pattern, const struct extent *extents,
                                 size_t count, uint64_t offset, const void *at, size_t bytes)
{
    const uint8_t *piece = at;
    uint64_t end = offset + bytes, now = offset, wrong = 0;

    for (size_t i = first_after(extents, count, offset); i < count && extents[i].dst < end; i++) {
        const struct extent *e = &extents[i];
        uint64_t from = e->dst > now ? e->dst : now;
        uint64_t to = e->dst + e->bytes < end ? e->dst + e->bytes : end;

        wrong += not_poison(piece + (now - offset), from - now);
        wrong +=
            pattern_wrong(pattern, e->src + (from - e->dst), piece + (from - offset), to - from);
        now = to;
    }
    return wrong + not_poison(piece + (now - offset), end - now);
}
