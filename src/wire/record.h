// SPDX-License-Identifier: Apache-2.0
// What ranks write about themselves and about pools into the store: identity, world, pool layout,
// map of the address space, pool member. Versioned; an unknown version is refused with a sentence.
#ifndef MF_WIRE_RECORD_H
#define MF_WIRE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

#define MF_RECORD_VERSION 3
/** No record is longer. */
#define MF_RECORD_MAX 4096

/** Who holds a rank. */
struct mf_rec_identity {
    uint64_t incarnation;
    uint32_t pid;
    uint32_t host_hint;  /* of a hash of boot id and network namespace: only a hint */
    uint32_t world_size; /* that it gave; not in the record of a pool's member */
};

/** What all ranks of a world must agree on. */
struct mf_rec_world {
    uint64_t world_id;
    uint32_t world_size;
};

/** Where a pool lies and how large its slots are. */
struct mf_rec_layout {
    uint32_t pool;
    uint64_t base;
    uint64_t max_hbm, max_dram;
    uint32_t world;
    uint32_t closing; /* not 0: the rank that closed the pool last is taking it out of the map */
};

/** All pools of the world: one record, so that one compare-and-swap both takes an address range and
 * lays down what lies there. */
struct mf_rec_map {
    uint32_t count;
    struct mf_rec_layout v[MF_POOLS_MAX];
};

/** A tag, and the operators that a rank has for ranks with it. */
struct mf_rec_tag {
    uint32_t ops;
    char name[MF_TAG_MAX + 1];
};

/** A member of a pool: begins with its identity. */
struct mf_rec_member {
    struct mf_rec_identity identity;
    uint64_t hbm_bytes, dram_bytes; /* that it gives */
    uint32_t count;                 /* transports, in the member's order of preference */
    struct mf_rec_endpoint {
        uint32_t data_ops; /* the operator bits of the transport */
        uint32_t len;
        uint8_t bytes[MF_ENDPOINT_MAX];
    } endpoint[MF_TRANSPORTS_MAX];
    char tag[MF_TAG_MAX + 1]; /* A-Z, a-z, 0-9, _ */
    uint32_t tag_count;
    struct mf_rec_tag tags[MF_TAG_PAIRS_MAX];
};

/* Encoders return the length; `buf` has MF_RECORD_MAX bytes. */
size_t mf_rec_put_identity(uint8_t *buf, const struct mf_rec_identity *rec);
size_t mf_rec_put_world(uint8_t *buf, const struct mf_rec_world *rec);
size_t mf_rec_put_map(uint8_t *buf, const struct mf_rec_map *rec);
size_t mf_rec_put_member(uint8_t *buf, const struct mf_rec_member *rec);

/* Decoders: SMEM_OK, or SMEM_ERROR with a sentence that says what is wrong with which record. */
int mf_rec_get_identity(const void *data, size_t len, struct mf_rec_identity *rec);
int mf_rec_get_world(const void *data, size_t len, struct mf_rec_world *rec);
int mf_rec_get_map(const void *data, size_t len, struct mf_rec_map *rec);
int mf_rec_get_member(const void *data, size_t len, struct mf_rec_member *rec);

#endif
