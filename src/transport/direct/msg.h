// SPDX-License-Identifier: Apache-2.0
// The messages by which two processes of one host make each other's segments known: little-endian,
// fixed layout, versioned, checked as a whole before anything of them is used. Pure functions over
// bytes; the descriptors that travel with a message are the shell's.
#ifndef MF_TRANSPORT_DIRECT_MSG_H
#define MF_TRANSPORT_DIRECT_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memfabric/mf_transport.h"

#define MF_DIRECT_MSG_SEGMENTS 32u
#define MF_DIRECT_MSG_TEXT     255u
#define MF_DIRECT_MSG_TOKEN    16u
#define MF_DIRECT_MSG_HEAD     72u
#define MF_DIRECT_MSG_SEG      72u
#define MF_DIRECT_MSG_MAX \
    (MF_DIRECT_MSG_HEAD + MF_DIRECT_MSG_SEGMENTS * MF_DIRECT_MSG_SEG + MF_DIRECT_MSG_TEXT)
/* Descriptors of one message: the control page and one for each segment. */
#define MF_DIRECT_MSG_FDS (1u + MF_DIRECT_MSG_SEGMENTS)

/* A client says HELLO, then NEXT as often as either side has more; the server answers each with one
 * message. HELLO and WELCOME carry the sender's control page as their first descriptor. */
enum mf_direct_msg_type {
    MF_DIRECT_HELLO = 1,
    MF_DIRECT_WELCOME = 2, /* answer to HELLO */
    MF_DIRECT_NEXT = 3,
    MF_DIRECT_MORE = 4,   /* answer to NEXT */
    MF_DIRECT_AGAIN = 5,  /* nothing was taken: send the same again a little later */
    MF_DIRECT_REFUSE = 6, /* code and text say why; the conversation is over */
    MF_DIRECT_PULL = 7,   /* a client: what follows on this connection are requests of vm_msg.h */
};

enum {
    MF_DIRECT_LAST = 1u,  /* flag: the sender has no further segments */
    MF_DIRECT_READS = 2u, /* flag: the sender's kernel lets it read the receiver's memory */
};

struct mf_direct_msg_seg {
    struct mf_segment_desc desc;
    uint64_t fd_offset;
    uint64_t host; /* where its owner's CPU reaches it; 0: it does not */
    bool has_fd;
    bool keep; /* the user's memory: its pages are never given back */
};

struct mf_direct_msg {
    enum mf_direct_msg_type type;
    uint32_t flags;
    uint32_t rank; /* of the sender */
    uint32_t pool;
    uint64_t world_id;
    uint64_t incarnation;               /* of the sender */
    uint64_t to;                        /* incarnation that it is meant for */
    uint8_t token[MF_DIRECT_MSG_TOKEN]; /* of the sender's socket */
    int32_t code;                       /* REFUSE: a SMEM_* code */
    uint32_t count;
    struct mf_direct_msg_seg segs[MF_DIRECT_MSG_SEGMENTS];
    char text[MF_DIRECT_MSG_TEXT + 1]; /* REFUSE */
};

/** Returns the length; `buf` has MF_DIRECT_MSG_MAX bytes. */
size_t mf_direct_msg_encode(const struct mf_direct_msg *msg, uint8_t *buf);
/** SMEM_INVALID_PARAM with what is wrong; then *msg is not to be used. */
int mf_direct_msg_decode(const uint8_t *buf, size_t len, struct mf_direct_msg *msg);
/** How many descriptors come with it. */
uint32_t mf_direct_msg_fds(const struct mf_direct_msg *msg);

#endif
