// SPDX-License-Identifier: Apache-2.0
// Tags: a rank of a pool may carry a name, and each pair of names has its own operators. Pure
// functions over text and records: parse what smem_bm_create2 was given, look pairs up in either
// order, decide for two ranks alike on both of them.
#ifndef MF_CORE_POOL_TAGS_H
#define MF_CORE_POOL_TAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/record.h"

/** The tag of a rank that was given none. */
#define MF_TAG_DEFAULT "default"

/* Operators that tagOpInfo may name and that have no bit in smem_bm_data_op_type: known, and
 * without a transport here. */
#define MF_OP_DEVICE_MTE (1u << 16)
#define MF_OP_AIV_SDMA   (1u << 17)

/** What one rank was given: its tag, and the operators for each tag that it has any with. */
struct mf_tags {
    char own[MF_TAG_MAX + 1];
    uint32_t all;   /* operators of any pair, also of pairs of others */
    uint32_t count; /* of pair */
    struct mf_rec_tag pair[MF_TAG_PAIRS_MAX];
};

/** `tag` and `info` are the members of smem_bm_create_option_t, arrays of so many bytes. The own
 * tag with itself always has data_ops. SMEM_INVALID_PARAM with a sentence that says where. */
int mf_tags_parse(const char *tag, size_t tag_bytes, const char *info, size_t info_bytes,
                  uint32_t data_ops, struct mf_tags *out);

/** The operators for `name` in a list of pairs; 0: none. */
uint32_t mf_tags_find(const struct mf_rec_tag *pair, uint32_t count, const char *name);

/** May this rank and the member reach each other? *mine and *theirs are the operators that each of
 * them has for the other; a transport may be used when it serves one of *mine and one of *theirs.
 * SMEM_ERROR, with what to write into tagOpInfo, when one of them has none. */
int mf_tags_allow(const struct mf_tags *own, uint32_t pool, uint32_t rank,
                  const struct mf_rec_member *member, uint32_t member_rank, uint32_t *mine,
                  uint32_t *theirs);

/** "HOST_SHM|HOST_TCP"; "none" for 0. Returns buf. */
const char *mf_tags_names(uint32_t ops, char *buf, size_t len);

#endif
