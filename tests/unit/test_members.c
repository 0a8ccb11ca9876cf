// SPDX-License-Identifier: Apache-2.0
// Tests of the membership of a pool: every transition of one rank's state from a table, and random
// sequences of events beside a model that is too simple to be wrong.
#include "mf_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/members.h"
#include "mf_torture.h"

#define WORLD 4u
#define SELF  0u
#define ME    1000u /* incarnation of this rank */
#define GRACE 50u

/* ---- helpers ------------------------------------------------------------------------------- */

static size_t record_of(uint8_t *buf, uint64_t incarnation)
{
    struct mf_rec_member record = {.identity = {.incarnation = incarnation, .pid = 7}};
    return mf_rec_put_member(buf, &record);
}

static struct mf_member_change put(struct mf_members *members, uint32_t rank, uint64_t incarnation,
                                   uint64_t now)
{
    uint8_t buf[MF_RECORD_MAX];
    struct mf_member_change change;
    mf_assert_ok(mf_members_put(members, rank, buf, record_of(buf, incarnation), now, &change));
    return change;
}

static struct mf_member_change del(struct mf_members *members, uint32_t rank, bool expired,
                                   uint64_t now)
{
    struct mf_member_change change;
    mf_members_delete(members, rank, expired, now, &change);
    return change;
}

static struct mf_member_change die(struct mf_members *members, uint32_t rank, uint64_t incarnation,
                                   uint64_t now)
{
    struct mf_member_change change;
    mf_members_dead(members, rank, incarnation, "its process has ended", now, &change);
    return change;
}

static int setup(void **state)
{
    struct mf_members *members = malloc(sizeof(*members));
    *state = members;
    return members == NULL ? -1 : mf_members_init(members, WORLD, SELF, ME);
}

static int teardown(void **state)
{
    mf_members_fini(*state);
    free(*state);
    return 0;
}

/* ---- one rank, step by step ---------------------------------------------------------------- */

enum event {
    JOINS,
    LEAVES,
    EXPIRES,
    DIES,
    REVIVES /* a record of another incarnation */,
    OLD_DIES
};

/* Rank 1 has been brought to `from`; then `event` happens. Incarnation 5 lives, 6 is the next. */
static const struct {
    enum mf_member_state from;
    enum event event;
    enum mf_member_change_kind change;
    uint64_t incarnation; /* of the change; 0: not looked at */
    enum mf_member_state to;
    uint32_t joined;
} TABLE[] = {
    {MF_MEMBER_NONE, JOINS, MF_CHANGE_UP, 0, MF_MEMBER_JOINED, 1},
    {MF_MEMBER_NONE, LEAVES, MF_CHANGE_NOTHING, 0, MF_MEMBER_NONE, 0},
    {MF_MEMBER_NONE, EXPIRES, MF_CHANGE_NOTHING, 0, MF_MEMBER_NONE, 0},
    {MF_MEMBER_NONE, DIES, MF_CHANGE_DEAD, 5, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_JOINED, JOINS, MF_CHANGE_NOTHING, 0, MF_MEMBER_JOINED, 1},
    {MF_MEMBER_JOINED, LEAVES, MF_CHANGE_LEFT, 5, MF_MEMBER_LEFT, 0},
    {MF_MEMBER_JOINED, EXPIRES, MF_CHANGE_DEAD, 5, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_JOINED, DIES, MF_CHANGE_DEAD, 5, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_JOINED, REVIVES, MF_CHANGE_REPLACED, 5, MF_MEMBER_JOINED, 1},
    {MF_MEMBER_JOINED, OLD_DIES, MF_CHANGE_NOTHING, 0, MF_MEMBER_JOINED, 1},
    {MF_MEMBER_LEFT, JOINS, MF_CHANGE_UP, 0, MF_MEMBER_JOINED, 1},
    {MF_MEMBER_LEFT, LEAVES, MF_CHANGE_NOTHING, 0, MF_MEMBER_LEFT, 0},
    {MF_MEMBER_LEFT, EXPIRES, MF_CHANGE_NOTHING, 0, MF_MEMBER_LEFT, 0},
    {MF_MEMBER_LEFT, DIES, MF_CHANGE_DEAD, 5, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_LEFT, REVIVES, MF_CHANGE_UP, 0, MF_MEMBER_JOINED, 1},
    {MF_MEMBER_DEAD, JOINS, MF_CHANGE_ZOMBIE, 5, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_DEAD, LEAVES, MF_CHANGE_NOTHING, 0, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_DEAD, EXPIRES, MF_CHANGE_NOTHING, 0, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_DEAD, DIES, MF_CHANGE_NOTHING, 0, MF_MEMBER_DEAD, 0},
    {MF_MEMBER_DEAD, REVIVES, MF_CHANGE_UP, 0, MF_MEMBER_JOINED, 1},
};

/* As at first: nobody is known, and nobody is known to be dead. */
static void forget_all(struct mf_members *members)
{
    mf_members_reset(members);
    for (uint32_t r = 0; r < WORLD; r++) {
        memset(members->v[r].dead, 0, sizeof(members->v[r].dead));
    }
}

static void bring_to(struct mf_members *members, enum mf_member_state state)
{
    if (state != MF_MEMBER_NONE) {
        put(members, 1, 5, 10);
    }
    if (state == MF_MEMBER_LEFT) {
        del(members, 1, false, 11);
    } else if (state == MF_MEMBER_DEAD) {
        die(members, 1, 5, 11);
    }
}

static struct mf_member_change happen(struct mf_members *members, enum event event)
{
    switch (event) {
    case JOINS:
        return put(members, 1, 5, 20);
    case LEAVES:
        return del(members, 1, false, 20);
    case EXPIRES:
        return del(members, 1, true, 20);
    case DIES:
        return die(members, 1, 5, 20);
    case REVIVES:
        return put(members, 1, 6, 20);
    default:
        return die(members, 1, 4, 20);
    }
}

static void test_members__transitions_of_one_rank(void **state)
{
    struct mf_members *members = *state;
    for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++) {
        forget_all(members);
        bring_to(members, TABLE[i].from);
        struct mf_member_change change = happen(members, TABLE[i].event);
        if (change.kind != TABLE[i].change || members->v[1].state != TABLE[i].to ||
            members->joined != TABLE[i].joined ||
            (TABLE[i].incarnation != 0 && change.incarnation != TABLE[i].incarnation)) {
            fail_msg("row %zu (state %d, event %d): change %d of %llu, state %d, %u joined", i,
                     TABLE[i].from, TABLE[i].event, change.kind,
                     (unsigned long long)change.incarnation, members->v[1].state, members->joined);
        }
        assert_int_equal(change.rank, 1);
    }
}

static void test_members_dead__reports_one_death_once(void **state)
{
    struct mf_members *members = *state;
    for (enum mf_member_state from = MF_MEMBER_NONE; from <= MF_MEMBER_LEFT; from++) {
        forget_all(members);
        bring_to(members, from);
        assert_int_equal(die(members, 1, 5, 20).kind, MF_CHANGE_DEAD);
        assert_int_equal(die(members, 1, 5, 21).kind, MF_CHANGE_NOTHING);
        assert_int_equal(del(members, 1, true, 22).kind, MF_CHANGE_NOTHING);
        assert_string_equal(members->v[1].why, "its process has ended");
        assert_true(members->v[1].changed_ns == 20);
    }
}

static void test_members_delete__says_why(void **state)
{
    struct mf_members *members = *state;
    put(members, 1, 5, 10);
    put(members, 2, 6, 10);
    del(members, 1, false, 33);
    del(members, 2, true, 34);
    assert_string_equal(members->v[1].why, "it left the pool");
    assert_string_equal(members->v[2].why, "its session with the config store ended");
    assert_true(members->v[1].changed_ns == 33);
    put(members, 1, 5, 40);
    assert_string_equal(members->v[1].why, "");
}

static void test_members_put__keeps_attached_until_it_goes(void **state)
{
    struct mf_members *members = *state;
    put(members, 1, 5, 10);
    assert_false(members->v[1].attached);
    members->v[1].attached = true;
    put(members, 1, 5, 11);
    assert_true(members->v[1].attached);
    put(members, 1, 6, 12);
    assert_false(members->v[1].attached);
    members->v[1].attached = true;
    del(members, 1, false, 13);
    assert_false(members->v[1].attached);
}

/* A member that gives more than before: no change of membership, and known before it is put. */
static void test_members_has_grown__same_life_and_more(void **state)
{
    struct mf_members *members = *state;
    uint8_t buf[MF_RECORD_MAX];
    struct mf_member_change change;
    struct mf_rec_member record = {.identity = {.incarnation = 5, .pid = 7}, .dram_bytes = 100};
    size_t len = mf_rec_put_member(buf, &record);
    assert_false(mf_members_has_grown(members, 1, buf, len)); /* it has not joined */
    mf_assert_ok(mf_members_put(members, 1, buf, len, 10, &change));
    assert_false(mf_members_has_grown(members, 1, buf, len));
    record.dram_bytes = 99; /* an answer that was overtaken by an event */
    len = mf_rec_put_member(buf, &record);
    assert_false(mf_members_has_grown(members, 1, buf, len));
    record.hbm_bytes = 1;
    len = mf_rec_put_member(buf, &record);
    assert_true(mf_members_has_grown(members, 1, buf, len));
    assert_false(mf_members_has_grown(members, 2, buf, len));
    assert_false(mf_members_has_grown(members, WORLD, buf, len));
    assert_false(mf_members_has_grown(members, 1, buf, len - 1));
    record.identity.incarnation = 6;
    len = mf_rec_put_member(buf, &record);
    assert_false(mf_members_has_grown(members, 1, buf, len));
    record.identity.incarnation = 5;
    record.dram_bytes = 200;
    mf_assert_ok(mf_members_put(members, 1, buf, mf_rec_put_member(buf, &record), 11, &change));
    assert_int_equal(change.kind, MF_CHANGE_NOTHING);
    assert_int_equal(members->v[1].record.dram_bytes, 200);
}

static void test_members_put__refuses_what_is_no_record(void **state)
{
    struct mf_members *members = *state;
    uint8_t buf[MF_RECORD_MAX];
    struct mf_member_change change;
    size_t len = record_of(buf, 5);
    mf_assert_rc(mf_members_put(members, WORLD, buf, len, 10, &change), SMEM_ERROR);
    mf_assert_err_has("rank 4 of a member record is not below the world size 4");
    mf_assert_rc(mf_members_put(members, 1, buf, len - 1, 10, &change), SMEM_ERROR);
    mf_assert_err_has("rank 1: pool member record of the store is cut short");
    mf_assert_rc(mf_members_put(members, 1, NULL, 0, 10, &change), SMEM_ERROR);
    assert_int_equal(change.kind, MF_CHANGE_NOTHING);
    assert_int_equal(members->v[1].state, MF_MEMBER_NONE);
    assert_int_equal(del(members, WORLD, true, 11).kind, MF_CHANGE_NOTHING);
    assert_int_equal(die(members, WORLD, 5, 11).kind, MF_CHANGE_NOTHING);
}

/* ---- this rank itself ---------------------------------------------------------------------- */

static void test_members__own_record_is_no_member(void **state)
{
    struct mf_members *members = *state;
    assert_int_equal(put(members, SELF, ME, 10).kind, MF_CHANGE_NOTHING);
    assert_int_equal(members->joined, 0);
    assert_int_equal(die(members, SELF, ME, 10).kind, MF_CHANGE_NOTHING);
    assert_false(members->revoked);
}

static void test_members__own_record_that_goes_revokes(void **state)
{
    struct mf_members *members = *state;
    for (int expired = 0; expired < 2; expired++) {
        mf_members_reset(members);
        put(members, SELF, ME, 10);
        assert_int_equal(del(members, SELF, expired, 11).kind, MF_CHANGE_REVOKED);
        assert_true(members->revoked);
    }
}

static void test_members__own_rank_of_another_process_revokes(void **state)
{
    struct mf_members *members = *state;
    assert_int_equal(put(members, SELF, ME + 1, 10).kind, MF_CHANGE_REVOKED);
    assert_true(members->revoked);
    mf_members_reset(members);
    assert_false(members->revoked);
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static void test_members_sync__missing_ones_have_grace(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD];
    uint64_t next = 0;
    put(members, 1, 5, 10);
    put(members, 2, 6, 10);
    mf_members_sync_begin(members);
    assert_false(members->synced);
    put(members, SELF, ME, 20);
    put(members, 1, 5, 20);
    mf_members_sync_end(members, 20);
    assert_true(members->synced);
    assert_int_equal(members->joined, 2);
    assert_int_equal(mf_members_tick(members, 20 + GRACE - 1, GRACE, changes, &next), 0);
    assert_true(next == 20 + GRACE);
    assert_int_equal(mf_members_tick(members, 20 + GRACE, GRACE, changes, &next), 1);
    assert_int_equal(changes[0].kind, MF_CHANGE_MISSING);
    assert_int_equal(changes[0].rank, 2);
    assert_true(changes[0].incarnation == 6);
    assert_true(next == 0);
    assert_int_equal(members->joined, 2); /* until somebody has found out */
    mf_members_judge(members, 2, 6, MF_LIFE_ENDED, 200, changes);
    assert_int_equal(changes[0].kind, MF_CHANGE_DEAD);
    assert_int_equal(members->joined, 1);
    assert_int_equal(mf_members_tick(members, 1000, GRACE, changes, &next), 0);
}

/* A life that was declared dead stays so: when others came after it, and when this rank left. */
static void test_members_put__a_zombie_is_told(void **state)
{
    struct mf_members *members = *state;
    put(members, 1, 5, 10);
    die(members, 1, 5, 11);
    assert_int_equal(put(members, 1, 6, 12).kind, MF_CHANGE_UP);
    struct mf_member_change change = put(members, 1, 5, 13);
    assert_int_equal(change.kind, MF_CHANGE_ZOMBIE);
    assert_int_equal(change.incarnation, 5);
    assert_int_equal(members->v[1].record.identity.incarnation, 6);
    assert_int_equal(put(members, 1, 7, 14).kind, MF_CHANGE_REPLACED);
    assert_int_equal(put(members, 1, 6, 15).kind, MF_CHANGE_ZOMBIE); /* it was replaced */
    mf_members_reset(members);
    assert_int_equal(put(members, 1, 5, 16).kind, MF_CHANGE_ZOMBIE);
    assert_int_equal(put(members, 1, 7, 16).kind, MF_CHANGE_UP);
    for (uint64_t life = 100; life < 100 + MF_DEAD_LIVES; life++) {
        put(members, 1, life, 20);
        del(members, 1, true, 21);
    }
    assert_true(mf_members_is_dead(members, 1, 100));
    assert_false(mf_members_is_dead(members, 1, 5)); /* only the last ones */
    assert_false(mf_members_is_dead(members, 1, 0));
}

/* Rank 1 left while the store was away; rank 2 comes back; of rank 3 nothing can be found out. */
static void test_members_judge__only_for_who_is_still_missing(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD], change;
    uint64_t next = 0;
    for (uint32_t r = 1; r <= 3; r++) {
        put(members, r, 5, 10);
    }
    mf_members_sync_begin(members);
    put(members, SELF, ME, 20);
    mf_members_sync_end(members, 20);
    assert_int_equal(mf_members_tick(members, 20 + GRACE, GRACE, changes, &next), 3);
    mf_members_judge(members, 1, 5, MF_LIFE_GOES_ON, 200, &change);
    assert_int_equal(change.kind, MF_CHANGE_LEFT);
    assert_int_equal(members->v[1].state, MF_MEMBER_LEFT);
    assert_int_equal(put(members, 1, 5, 210).kind, MF_CHANGE_UP); /* and may come again */
    put(members, 2, 5, 200);
    mf_members_judge(members, 2, 5, MF_LIFE_ENDED, 210, &change);
    assert_int_equal(change.kind, MF_CHANGE_NOTHING);
    mf_members_judge(members, 3, 6, MF_LIFE_ENDED, 210, &change); /* another life */
    assert_int_equal(change.kind, MF_CHANGE_NOTHING);
    mf_members_judge(members, 3, 5, MF_LIFE_UNKNOWN, 210, &change);
    assert_int_equal(change.kind, MF_CHANGE_NOTHING);
    assert_int_equal(mf_members_tick(members, 211, GRACE, changes, &next), 0);
    assert_true(next == 210 + GRACE);
    assert_int_equal(mf_members_tick(members, 210 + GRACE, GRACE, changes, &next), 1);
    assert_int_equal(changes[0].rank, 3);
    mf_members_judge(members, WORLD, 5, MF_LIFE_ENDED, 210, &change);
    assert_int_equal(change.kind, MF_CHANGE_NOTHING);
}

static void test_members_sync__named_late_is_no_death(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD];
    uint64_t next = 0;
    put(members, 1, 5, 10);
    mf_members_sync_begin(members);
    put(members, SELF, ME, 20);
    mf_members_sync_end(members, 20);
    assert_int_equal(put(members, 1, 5, 30).kind, MF_CHANGE_NOTHING);
    assert_int_equal(mf_members_tick(members, 1000, GRACE, changes, &next), 0);
    assert_true(next == 0);
    assert_int_equal(members->joined, 1);
}

static void test_members_sync__second_snapshot_does_not_prolong(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD];
    uint64_t next = 0;
    put(members, 1, 5, 10);
    for (uint64_t at = 20; at <= 40; at += 20) {
        mf_members_sync_begin(members);
        put(members, SELF, ME, at);
        mf_members_sync_end(members, at);
    }
    assert_int_equal(mf_members_tick(members, 20 + GRACE, GRACE, changes, &next), 1);
}

static void test_members_sync__nobody_dies_while_the_store_is_lost(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD];
    uint64_t next = 0;
    put(members, 1, 5, 10);
    mf_members_sync_begin(members);
    put(members, SELF, ME, 20);
    mf_members_sync_end(members, 20);
    members->lost = true;
    assert_int_equal(mf_members_tick(members, 1000, GRACE, changes, &next), 0);
    mf_members_sync_begin(members);
    put(members, SELF, ME, 1000);
    put(members, 1, 5, 1000);
    mf_members_sync_end(members, 1000);
    assert_false(members->lost);
    assert_int_equal(mf_members_tick(members, 2000, GRACE, changes, &next), 0);
}

/* The store came, did not name rank 1 in time, went away for longer than the grace, and came. */
static void test_members_sync__the_time_of_a_lost_store_does_not_count(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD];
    uint64_t next = 0;
    put(members, 1, 5, 10);
    mf_members_sync_begin(members);
    put(members, SELF, ME, 20);
    mf_members_sync_end(members, 20);
    members->lost = true;
    mf_members_sync_begin(members);
    put(members, SELF, ME, 30 + GRACE);
    mf_members_sync_end(members, 30 + GRACE);
    assert_int_equal(mf_members_tick(members, 30 + GRACE, GRACE, changes, &next), 0);
    assert_true(next == 30 + 2 * GRACE);
    assert_int_equal(put(members, 1, 5, 31 + GRACE).kind, MF_CHANGE_NOTHING);
    assert_int_equal(mf_members_tick(members, 30 + 2 * GRACE, GRACE, changes, &next), 0);
    assert_int_equal(members->joined, 1);
}

static void test_members_sync__this_rank_missing_is_revoked(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD];
    uint64_t next = 0;
    mf_members_sync_begin(members);
    mf_members_sync_end(members, 20);
    assert_int_equal(mf_members_tick(members, 20, GRACE, changes, &next), 1); /* at once */
    assert_int_equal(changes[0].kind, MF_CHANGE_REVOKED);
    assert_true(members->revoked);
}

static void test_members_tick__tells_the_nearest_time(void **state)
{
    struct mf_members *members = *state;
    struct mf_member_change changes[WORLD];
    uint64_t next = 0;
    put(members, 1, 5, 10);
    mf_members_sync_begin(members);
    put(members, SELF, ME, 20);
    mf_members_sync_end(members, 20);
    put(members, 2, 6, 25);
    mf_members_sync_begin(members);
    put(members, SELF, ME, 30);
    mf_members_sync_end(members, 30);
    assert_int_equal(mf_members_tick(members, 40, GRACE, changes, &next), 0);
    assert_true(next == 20 + GRACE);
    assert_int_equal(mf_members_tick(members, 75, GRACE, changes, &next), 1);
    assert_true(next == 30 + GRACE);
    assert_int_equal(mf_members_tick(members, 80, GRACE, changes, &next), 1);
    assert_int_equal(changes[0].rank, 2);
}

/* ---- random sequences beside a model ------------------------------------------------------- */

/* What the one who carries changes out knows: which incarnation it has attached. */
struct model {
    uint64_t up[WORLD];   /* 0: none */
    uint64_t dead[WORLD]; /* the last one that was reported dead */
    uint64_t lives[WORLD];
};

static uint32_t pick(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 33) % below;
}

static void carry_out(struct model *model, struct mf_members *members,
                      const struct mf_member_change *change)
{
    uint32_t r = change->rank;
    uint64_t now = members->v[r].record.identity.incarnation;
    switch (change->kind) {
    case MF_CHANGE_NOTHING:
        break;
    case MF_CHANGE_UP:
        assert_true(model->up[r] == 0);
        assert_true(now != model->dead[r]);
        model->up[r] = now;
        break;
    case MF_CHANGE_LEFT:
        assert_true(model->up[r] == change->incarnation);
        model->up[r] = 0;
        break;
    case MF_CHANGE_DEAD:
        assert_true(model->dead[r] != change->incarnation);
        assert_true(model->up[r] == change->incarnation || model->up[r] == 0);
        model->up[r] = 0;
        model->dead[r] = change->incarnation;
        break;
    case MF_CHANGE_REPLACED:
        assert_true(model->up[r] != 0 && model->up[r] == change->incarnation);
        assert_true(now != change->incarnation);
        model->up[r] = now;
        break;
    case MF_CHANGE_REVOKED:
        assert_int_equal(r, SELF);
        break;
    case MF_CHANGE_MISSING:
        assert_true(model->up[r] == change->incarnation);
        break;
    case MF_CHANGE_ZOMBIE:
        assert_true(mf_members_is_dead(members, r, change->incarnation));
        assert_true(model->up[r] != change->incarnation);
        break;
    }
}

/* What is found out of the lives in question. */
static void judge_all(struct model *model, struct mf_members *members,
                      const struct mf_member_change *changes, uint32_t count, uint64_t *seed,
                      uint64_t now)
{
    for (uint32_t i = 0; i < count; i++) {
        struct mf_member_change found;
        if (changes[i].kind == MF_CHANGE_MISSING) {
            mf_members_judge(members, changes[i].rank, changes[i].incarnation,
                             (enum mf_life)pick(seed, 3), now, &found);
            carry_out(model, members, &found);
        }
    }
}

static void check(const struct model *model, const struct mf_members *members)
{
    uint32_t joined = 0;
    for (uint32_t r = 0; r < WORLD; r++) {
        const struct mf_member *m = &members->v[r];
        joined += r != SELF && m->state == MF_MEMBER_JOINED;
        assert_int_equal(m->state == MF_MEMBER_JOINED, model->up[r] != 0);
        assert_true(model->up[r] == 0 || model->up[r] == m->record.identity.incarnation);
        assert_true(m->state == MF_MEMBER_JOINED || !m->attached);
        assert_true(m->missing_ns == 0 || m->state == MF_MEMBER_JOINED || r == SELF);
    }
    assert_int_equal(members->joined, joined);
    assert_int_equal(members->v[SELF].state, MF_MEMBER_NONE);
}

static void step(struct model *model, struct mf_members *members, uint64_t *seed, uint64_t now)
{
    struct mf_member_change changes[WORLD] = {{.kind = MF_CHANGE_NOTHING}};
    uint32_t count = 1, rank = 1 + pick(seed, WORLD - 1);
    uint64_t next_ns = 0;
    switch (pick(seed, 12)) {
    case 0:
    case 1:
    case 2: /* the present life says something */
        changes[0] = put(members, rank, model->lives[rank], now);
        break;
    case 3: /* a new life; incarnations do not come again */
        model->lives[rank] += WORLD;
        changes[0] = put(members, rank, model->lives[rank], now);
        break;
    case 4:
    case 5:
        changes[0] = del(members, rank, pick(seed, 2) != 0, now);
        break;
    case 6:
        changes[0] = die(members, rank, model->lives[rank], now);
        break;
    case 7: /* news of the life before */
        if (members->v[rank].state == MF_MEMBER_JOINED) {
            changes[0] = die(members, rank, model->lives[rank] - WORLD, now);
            assert_int_equal(changes[0].kind, MF_CHANGE_NOTHING);
        }
        break;
    case 8:
        mf_members_sync_begin(members);
        put(members, SELF, ME, now);
        break;
    case 9:
        mf_members_sync_end(members, now);
        break;
    case 10:
        members->lost = pick(seed, 2) != 0;
        break;
    default:
        count = mf_members_tick(members, now, GRACE, changes, &next_ns);
        assert_in_range(count, 0, WORLD);
        assert_true(next_ns == 0 || (next_ns > now && next_ns <= now + GRACE));
        break;
    }
    for (uint32_t i = 0; i < count; i++) {
        carry_out(model, members, &changes[i]);
    }
    judge_all(model, members, changes, count, seed, now);
}

static void test_members__random_events_keep_the_model(void **state)
{
    struct mf_members *members = *state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct model model = {{0}, {0}, {0}};
        uint64_t random = seed, now = 1;
        forget_all(members);
        for (uint32_t r = 0; r < WORLD; r++) {
            model.lives[r] = 1000 * WORLD + r;
        }
        for (uint32_t n = 0; n < 1000; n++) {
            now += pick(&random, 20);
            /* A life that was reported dead is over: the process comes back as another one. */
            for (uint32_t r = 0; r < WORLD; r++) {
                model.lives[r] +=
                    model.dead[r] == model.lives[r] && pick(&random, 3) == 0 ? WORLD : 0;
            }
            step(&model, members, &random, now);
            check(&model, members);
        }
    }
}

static int make_and_end(void *arg)
{
    struct mf_members members;
    (void)arg;
    int rc = mf_members_init(&members, 1024, 0, ME);
    if (rc == SMEM_OK) {
        mf_members_fini(&members);
    }
    return rc;
}

static void test_members_init__survives_no_memory(void **state)
{
    (void)state;
    assert_int_equal(mf_torture(make_and_end, NULL), 1);
}

#define in_pool(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_pool(test_members__transitions_of_one_rank),
        in_pool(test_members_dead__reports_one_death_once),
        in_pool(test_members_delete__says_why),
        in_pool(test_members_put__keeps_attached_until_it_goes),
        in_pool(test_members_has_grown__same_life_and_more),
        in_pool(test_members_put__refuses_what_is_no_record),
        in_pool(test_members__own_record_is_no_member),
        in_pool(test_members__own_record_that_goes_revokes),
        in_pool(test_members__own_rank_of_another_process_revokes),
        in_pool(test_members_sync__missing_ones_have_grace),
        in_pool(test_members_put__a_zombie_is_told),
        in_pool(test_members_judge__only_for_who_is_still_missing),
        in_pool(test_members_sync__named_late_is_no_death),
        in_pool(test_members_sync__second_snapshot_does_not_prolong),
        in_pool(test_members_sync__nobody_dies_while_the_store_is_lost),
        in_pool(test_members_sync__the_time_of_a_lost_store_does_not_count),
        in_pool(test_members_sync__this_rank_missing_is_revoked),
        in_pool(test_members_tick__tells_the_nearest_time),
        in_pool(test_members__random_events_keep_the_model),
        cmocka_unit_test(test_members_init__survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
