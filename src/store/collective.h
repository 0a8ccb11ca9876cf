// SPDX-License-Identifier: Apache-2.0
// Barrier, allgather and rank allocation, on the operations of store.h alone, so that they work
// over every back end. All wait, with a deadline; not on the loop's thread.
#ifndef MF_STORE_COLLECTIVE_H
#define MF_STORE_COLLECTIVE_H

#include "store/store.h"

/** Until `count` callers with the same `name` have arrived. A name is used once; its keys are
 * removed by the last one that leaves. A time-out names how many arrived. */
int mf_store_barrier(struct mf_store *store, const char *name, uint32_t count,
                     uint64_t deadline_ns);

/** Gather `size` bytes of each of `count` ranks, ordered by rank, into recv (count * size bytes).
 */
int mf_store_allgather(struct mf_store *store, const char *name, uint32_t rank, uint32_t count,
                       const void *send, size_t size, void *recv, uint64_t deadline_ns);

#define MF_RANK_AUTO UINT32_MAX
/** Claim a rank of the world below `prefix` ("world/"): an ephemeral key "<prefix>rank/<rank>" that
 * holds `record`. want == MF_RANK_AUTO takes a free one in a few requests (0, 1, 2, ... in order of
 * arrival in a fresh world). A wanted rank that another session holds: waits for its end until the
 * deadline (a process that was killed frees it within the session time), then SMEM_DUPLICATED;
 * `*other` (may be NULL) is the holder's record, free with mf_free. SMEM_NO_RESOURCES when all
 * ranks of the world are taken. */
int mf_store_rank_claim(struct mf_store *store, const char *prefix, uint32_t world_size,
                        uint32_t want, const void *record, size_t record_len, uint64_t deadline_ns,
                        uint32_t *rank, void **other, size_t *other_len);
/** As mf_store_rank_claim, without waiting for a holder's end: SMEM_DUPLICATED at once. */
int mf_store_rank_try(struct mf_store *store, const char *prefix, uint32_t world_size,
                      uint32_t want, const void *record, size_t record_len, uint64_t deadline_ns,
                      uint32_t *rank, void **other, size_t *other_len);
/** As mf_store_rank_claim when a try has just found the wanted rank held: begins with the watch. */
int mf_store_rank_wait(struct mf_store *store, const char *prefix, uint32_t world_size,
                       uint32_t want, const void *record, size_t record_len, uint64_t deadline_ns,
                       uint32_t *rank, void **other, size_t *other_len);

#endif
