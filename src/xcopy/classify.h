// SPDX-License-Identifier: Apache-2.0
// Where an address lies (local or global, host or device memory), which places a copy type allows
// on each side, and the sentences of everything that is refused.
#ifndef MF_XCOPY_CLASSIFY_H
#define MF_XCOPY_CLASSIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "xcopy/xcopy.h"

/** Kinds of places, as bits of a mask. An address in the pool's range is global, whoever owns it;
 * so is an address of this process at which memory of the pool lies. */
enum mf_place {
    MF_PLACE_LH = 1, /* host memory of this process */
    MF_PLACE_LD = 2, /* device memory of this process */
    MF_PLACE_GH = 4, /* DRAM of the pool */
    MF_PLACE_GD = 8, /* HBM of the pool */
    MF_PLACE_ANY = 15,
};

/** What a copy type allows. */
struct mf_type_rule {
    const char *name; /* "H2G" */
    const char *src;  /* the letter of the side: "H" */
    const char *dst;
    uint8_t src_mask;
    uint8_t dst_mask;
};
/** By smem_bm_copy_type. */
extern const struct mf_type_rule mf_type_rules[SMEMB_COPY_BUTT];

/** The stretch of addresses around one address in which nothing changes: the same place, the same
 * segment. [lo, hi) holds for any address in it; with lo == UINT64_MAX only [the address, hi) is
 * known. */
struct mf_window {
    uint64_t lo, hi;
    struct mf_segment *seg; /* NULL: local memory, or global memory that is not (yet) known here */
    uint32_t place;
    uint32_t rank;  /* owner, of global addresses */
    uint64_t shift; /* address + shift is the global address; 0: is itself, or is none */
};

/** Why an element is refused. */
enum mf_refusal {
    MF_REFUSE_NONE = 0,
    MF_REFUSE_ZERO,         /* size is 0 */
    MF_REFUSE_NULL,         /* an address is NULL */
    MF_REFUSE_TOO_BIG,      /* more than MF_COPY_BYTES_MAX */
    MF_REFUSE_WRAPS,        /* address + size wraps */
    MF_REFUSE_OVERLAP,      /* source and destination overlap */
    MF_REFUSE_PLACE,        /* the type does not allow this place here */
    MF_REFUSE_ENTERS_POOL,  /* begins outside of the pool and ends inside */
    MF_REFUSE_LEAVES_DEV,   /* leaves the device memory it begins in */
    MF_REFUSE_LEAVES_PLACE, /* begins where this process has pool memory and ends behind it */
    MF_REFUSE_LEAVES_POOL,  /* begins in the pool and ends behind it */
    MF_REFUSE_CROSSES_SLOT, /* from one rank's slot into the next */
    MF_REFUSE_NOT_GIVEN,    /* in a slot, but not all of it is known memory: resolve another rank,
                               which may have extended it, then ask again */
    MF_REFUSE_UNKNOWN_RANK, /* nothing is known of the rank's slot: resolve, then ask again */
};

/** One element of a copy, and which one of a batch. */
struct mf_element {
    uint64_t src, dst, size;
    smem_bm_copy_type type;
    uint32_t index; /* MF_ELEMENT_SINGLE: not part of a batch */
};
#define MF_ELEMENT_SINGLE UINT32_MAX

/** The window around an address; always gives one. */
void mf_window_find(const struct mf_xcopy_space *space, uint64_t addr, struct mf_window *out);

static inline bool mf_window_holds(const struct mf_window *window, uint64_t addr, uint64_t size)
{
    return addr >= window->lo && addr < window->hi && size <= window->hi - addr;
}

/** The flags of a transfer between two windows. */
static inline uint32_t mf_window_flags(const struct mf_window *src, const struct mf_window *dst)
{
    uint32_t device = MF_PLACE_LD | MF_PLACE_GD;
    return (src->place & device ? MF_XFER_SRC_DEV : 0) |
           (dst->place & device ? MF_XFER_DST_DEV : 0);
}

/** [addr, addr + size) lies in the window that was found for addr. */
static inline bool mf_window_fits(const struct mf_window *window, uint64_t addr, uint64_t size)
{
    return addr != 0 && size <= window->hi - addr;
}

static inline bool mf_overlaps(uint64_t a, uint64_t b, uint64_t size)
{
    return a - b < size || b - a < size;
}

/** Does all of the range of global addresses lie in known memory? `window` is that of `gva`. */
bool mf_range_is_given(const struct mf_xcopy_space *space, uint64_t gva, uint64_t size,
                       const struct mf_window *window);
/** Check everything about an element. `src` and `dst` are the windows of its two addresses. */
enum mf_refusal mf_element_check(const struct mf_xcopy_space *space,
                                 const struct mf_element *element, const struct mf_window *src,
                                 const struct mf_window *dst);
/** Record the sentence for what mf_element_check found, and return the code. Cold. */
int mf_element_refuse(const struct mf_xcopy_space *space, const struct mf_element *element,
                      enum mf_refusal why);
/** Put "copy H2G, element 3: 4096 bytes from 0x.. to 0x.. (DRAM of rank 1 in pool 0)" in front of
 * the recorded sentence; returns rc. Cold. */
int mf_element_err_in(const struct mf_xcopy_space *space, const struct mf_element *element, int rc);

#endif
