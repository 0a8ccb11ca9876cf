// SPDX-License-Identifier: Apache-2.0
// The messages of the store protocol: one struct for each, an encoder that appends the message's
// body and a decoder that checks every length. docs/store.md has the table of the format.
#ifndef MF_WIRE_STORE_MSG_H
#define MF_WIRE_STORE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "wire/frame.h"
#include "wire/rw.h"

enum mf_smsg_type {
    /* client to server */
    MF_SMSG_HELLO = 1,
    MF_SMSG_HEARTBEAT, /* no body; the server answers with the same */
    MF_SMSG_CLOSE,     /* no body */
    MF_SMSG_REQUEST,
    MF_SMSG_CANCEL,
    MF_SMSG_WATCH,
    MF_SMSG_UNWATCH,
    MF_SMSG_MOVE, /* no body; as CLOSE, but the session's keys stay for a while */
    /* server to client */
    MF_SMSG_WELCOME = 32,
    MF_SMSG_GOODBYE,
    MF_SMSG_REPLY,
    MF_SMSG_PART, /* u32 id, items: a piece of the answer to LIST */
    MF_SMSG_SYNC, /* u32 id, u8 flags, items as in store_item.h: a piece of a watch's first state */
    MF_SMSG_EVENTS, /* items as in store_item.h */
};

#define MF_SMSG_HELLO_MAGIC 0x3145524f5453464dull /* "MFSTORE1" */
/* Before HELLO a server accepts no longer body than this. */
#define MF_SMSG_HELLO_MAX 256u
/* One operation more than enum mf_store_op: an ephemeral key set again after the server's restart.
 */
#define MF_SMSG_OP_ANNOUNCE 100u
#define MF_SMSG_TEXT_MAX    1024u /* bytes of an error sentence */

/** The length that stands for "no value at all". */
#define MF_SMSG_NONE UINT32_MAX

struct mf_smsg_hello {
    uint64_t session_id;
    uint64_t prev_boot; /* boot id of the server that had this session before; 0: a new session */
    uint32_t session_ms;
};

struct mf_smsg_welcome {
    uint64_t boot_id;
    uint8_t restored; /* 1: this server did not know the session before (it was restarted) */
};

/** The server's last word: what it refuses or why it cuts the connection. */
struct mf_smsg_goodbye {
    uint8_t why; /* enum mf_smsg_why */
    int32_t rc;
    const char *msg;
};

enum mf_smsg_why {
    MF_SMSG_WHY_CLOSED = 1, /* answer to CLOSE and MOVE */
    MF_SMSG_WHY_EXPIRED,    /* the session has ended: final */
    MF_SMSG_WHY_REFUSED,    /* not now; the client may try again */
    MF_SMSG_WHY_PROTOCOL,   /* the client broke the protocol */
};

struct mf_smsg_request {
    uint32_t id;
    uint8_t op;    /* enum mf_store_op or MF_SMSG_OP_ANNOUNCE */
    uint8_t flags; /* MF_STORE_EPHEMERAL, MF_STORE_WAIT */
    const char *key;
    size_t key_len;
    uint64_t number;   /* ADD: the summand; ANNOUNCE: the key's revision */
    const void *value; /* NULL: none */
    size_t value_len;
    const void *expect; /* NULL: none */
    size_t expect_len;
};

struct mf_smsg_watch {
    uint32_t id;
    const char *prefix;
    size_t prefix_len;
};

struct mf_smsg_reply {
    uint32_t id;
    int32_t rc;
    uint8_t swapped;
    uint64_t number;
    uint64_t rev;
    const void *value; /* NULL: none; rc < 0: the sentence */
    size_t value_len;
};

enum mf_smsg_kind { MF_SMSG_PUT = 0, MF_SMSG_DELETE = 1, MF_SMSG_EXPIRE = 2 };

/** A key and its value, or a key that went. */
struct mf_smsg_item {
    enum mf_smsg_kind kind;
    const char *key; /* NUL-terminated in place */
    size_t key_len;
    const void *value;
    size_t value_len;
};
/* Whole items, those of PART, are so many bytes beside key and value. */
#define MF_SMSG_ITEM_OVERHEAD 7u

enum { MF_SMSG_SYNC_BEGIN = 1, MF_SMSG_SYNC_END = 2 };

void mf_smsg_put_hello(struct mf_wr *wr, const struct mf_smsg_hello *msg);
void mf_smsg_put_welcome(struct mf_wr *wr, const struct mf_smsg_welcome *msg);
void mf_smsg_put_goodbye(struct mf_wr *wr, const struct mf_smsg_goodbye *msg);
void mf_smsg_put_request(struct mf_wr *wr, const struct mf_smsg_request *msg);
void mf_smsg_put_watch(struct mf_wr *wr, const struct mf_smsg_watch *msg);
void mf_smsg_put_reply(struct mf_wr *wr, const struct mf_smsg_reply *msg);
void mf_smsg_put_item(struct mf_wr *wr, const struct mf_smsg_item *item);

/* Decoders: SMEM_OK, or SMEM_INVALID_PARAM with a sentence. What they give is borrowed from the
 * body. */
int mf_smsg_get_hello(const uint8_t *body, size_t len, struct mf_smsg_hello *out);
int mf_smsg_get_welcome(const uint8_t *body, size_t len, struct mf_smsg_welcome *out);
/** msg is copied into `text`, cut off and made printable. */
int mf_smsg_get_goodbye(const uint8_t *body, size_t len, struct mf_smsg_goodbye *out,
                        char text[MF_SMSG_TEXT_MAX]);
/** Also SMEM_NO_RESOURCES: well-formed, `out->id` is set, but key or value passes its limit: the
 *  sentence says by how much, and the request is answered with it. */
int mf_smsg_get_request(const uint8_t *body, size_t len, struct mf_smsg_request *out);
int mf_smsg_get_watch(const uint8_t *body, size_t len, struct mf_smsg_watch *out);
int mf_smsg_get_reply(const uint8_t *body, size_t len, struct mf_smsg_reply *out);
/** CANCEL and UNWATCH: an id alone. */
int mf_smsg_get_id(const uint8_t *body, size_t len, uint32_t *id);
/** The next of several items; the caller checks mf_rd_done at the end. False: no more, or bad. */
bool mf_smsg_get_item(struct mf_rd *rd, struct mf_smsg_item *out);
/** Read all items without using them: SMEM_OK when each is whole, `*count` of them. */
int mf_smsg_check_items(struct mf_rd rd, size_t *count);

#endif
