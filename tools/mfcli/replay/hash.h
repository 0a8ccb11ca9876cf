// SPDX-License-Identifier: Apache-2.0
// The one mixing function of the replay: where a block lives, and what its bytes are, follow from
// it.
#ifndef MFCLI_REPLAY_HASH_H
#define MFCLI_REPLAY_HASH_H

#include <stdint.h>

/** Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: the finalizer. */
static inline uint64_t hash_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif
