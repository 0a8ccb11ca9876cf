// SPDX-License-Identifier: Apache-2.0
// Who is a member of one pool, as a pure state machine: watch events of the store, deaths seen by
// the transports and the time go in, changes come out. No clock, no socket, no lock.
#ifndef MF_CORE_MEMBERS_H
#define MF_CORE_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/record.h"

enum mf_member_state {
    MF_MEMBER_NONE = 0, /* never seen */
    MF_MEMBER_JOINED,
    MF_MEMBER_LEFT,
    MF_MEMBER_DEAD,
};

/** How many lives of a rank that were declared dead are remembered. */
#define MF_DEAD_LIVES 4u

struct mf_member {
    enum mf_member_state state;
    bool alarmed;            /* the alarm of its death stands; kept by core */
    bool attached;           /* its segments are known here: */
    uint64_t attached_bytes; /* all of them when it gave so much */
    bool in_sync;            /* named since the last SYNC_BEGIN */
    uint64_t missing_ns;     /* joined, but not named by the last snapshot: since when; else 0 */
    uint64_t asked_ns;       /* when the store was last asked for it by name */
    uint64_t changed_ns;     /* when the state changed */
    struct mf_rec_member record;
    uint64_t dead[MF_DEAD_LIVES]; /* the last ones that were declared dead, also over a reset */
    char why[128];                /* of LEFT and DEAD */
};

struct mf_members {
    uint32_t world;
    uint32_t self;
    uint64_t self_incarnation;
    bool synced;         /* a whole snapshot has been seen */
    bool lost;           /* the store cannot be heard */
    bool revoked;        /* our own record was removed by somebody else */
    uint32_t joined;     /* members, self not counted */
    struct mf_member *v; /* [world] */
};

/** What the caller has to do about one rank. */
enum mf_member_change_kind {
    MF_CHANGE_NOTHING = 0,
    MF_CHANGE_UP,       /* it has joined: it may be attached */
    MF_CHANGE_LEFT,     /* detach it */
    MF_CHANGE_DEAD,     /* detach it as dead */
    MF_CHANGE_REPLACED, /* another incarnation has its rank: detach `incarnation` as dead, then as
                           UP */
    MF_CHANGE_REVOKED,  /* this rank itself was declared dead */
    MF_CHANGE_ZOMBIE,   /* the store names a life that was declared dead: have it removed there, so
                           that it learns of it */
    MF_CHANGE_MISSING,  /* the store has not named it for too long: find out whether this life goes
                           on, then mf_members_judge */
};

struct mf_member_change {
    enum mf_member_change_kind kind;
    uint32_t rank;
    uint64_t incarnation; /* of the one that goes */
};

int mf_members_init(struct mf_members *members, uint32_t world, uint32_t self,
                    uint64_t incarnation);
void mf_members_fini(struct mf_members *members);

/** Was that life of the rank declared dead? */
bool mf_members_is_dead(const struct mf_members *members, uint32_t rank, uint64_t incarnation);
/** A record of `rank` is in the store. A record that does not decode is an error with a sentence.
 */
int mf_members_put(struct mf_members *members, uint32_t rank, const void *record, size_t len,
                   uint64_t now_ns, struct mf_member_change *change);
/** Does the record name a joined member as it is known, but for more memory that it gives? */
bool mf_members_has_grown(const struct mf_members *members, uint32_t rank, const void *record,
                          size_t len);
/** Its record is gone: by its own hand, or (expired) because its session has ended. */
void mf_members_delete(struct mf_members *members, uint32_t rank, bool expired, uint64_t now_ns,
                       struct mf_member_change *change);
/** A transport saw the process end. */
void mf_members_dead(struct mf_members *members, uint32_t rank, uint64_t incarnation,
                     const char *why, uint64_t now_ns, struct mf_member_change *change);
void mf_members_sync_begin(struct mf_members *members);
/** The snapshot is whole. Members that it does not name are missing, not gone yet: a store that was
 *  restarted hears from each of them in its own time. */
void mf_members_sync_end(struct mf_members *members, uint64_t now_ns);
/** Members that have been missing for `grace_ns` are in question. Fills `changes` (room for `world`
 * of them), returns how many; *next_ns is when to call again, 0 when nobody is missing. */
uint32_t mf_members_tick(struct mf_members *members, uint64_t now_ns, uint64_t grace_ns,
                         struct mf_member_change *changes, uint64_t *next_ns);
enum mf_life { MF_LIFE_ENDED, MF_LIFE_GOES_ON, MF_LIFE_UNKNOWN };
/** What was found out of a life in question, if it is still missing. One that goes on has left: it
 * did so while the store was away. Unknown: it stays in question, to be asked for again. */
void mf_members_judge(struct mf_members *members, uint32_t rank, uint64_t incarnation,
                      enum mf_life life, uint64_t now_ns, struct mf_member_change *change);
/** Forget everybody (this rank left). */
void mf_members_reset(struct mf_members *members);

#endif
