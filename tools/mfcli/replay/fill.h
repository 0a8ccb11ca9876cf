// SPDX-License-Identifier: Apache-2.0
// The bytes of a block: every 8-byte word follows from the block's id, the generation of the slot
// that it was put into, and the word's place. So a wrong block, an old block, a block at the wrong
// place and a missing write all show as wrong bytes.
#ifndef MFCLI_REPLAY_FILL_H
#define MFCLI_REPLAY_FILL_H

#include <stddef.h>
#include <stdint.h>

/** What get buffers hold before a get. */
#define FILL_POISON 0xa5

/** @param bytes a multiple of 8 */
void fill_block(void *block, size_t bytes, uint64_t id, uint64_t generation);

/** The word at place `index` of such a block. */
uint64_t fill_word(uint64_t id, uint64_t generation, size_t index);

/**
 * Compares a block with what fill_block() would have written.
 *
 * @param first receives the place of the first wrong byte when there is one
 * @return how many bytes are wrong
 */
size_t fill_check(const void *block, size_t bytes, uint64_t id, uint64_t generation, size_t *first);

#endif
