// SPDX-License-Identifier: Apache-2.0
// The oracle: segments that were ever published, the lives that are refused, the words of all cells
// and who copies them. A *tenure* is the time from the first segment that a life publishes of a
// slot to its withdrawal or the end of the life; a slot's memory is zero when one begins.
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"

#define BUCKETS    4096u /* of segments, by epoch */
#define RIVALS_MAX 4u
#define DEATH_NS   (100 * 1000000ull) /* so long after a death a process of the host may not know */

struct seg {
    struct mf_segment_desc desc;
    struct sim_object *object; /* a reference while its tenure lasts */
    uint64_t tenure;
    uint64_t slot_offset;
    uint64_t withdrawn_ns; /* 0: not yet */
    int withdrawn_rc;
    struct seg *next;
};

struct cell {
    uint64_t tenure; /* of the words; another one than the slot's: all are zero */
    uint64_t ghost;  /* a life of which something may still land; 0: none */
    uint32_t readers;
    struct oracle_part *writer;
    struct oracle_word w[ORACLE_CELL_WORDS];
};

struct slot {
    uint64_t tenure; /* counts up; the latest */
    bool live;
    uint64_t died_ns; /* when a life of the rank ended last; 0: none has */
    uint32_t died_host;
    bool died;      /* the latest tenure ended with its process: its pages are still there for those
                            of its host that have not heard of that */
    bool condemned; /* somebody has declared the life dead, and may have given its pages back */
    uint64_t incarnation;
    uint32_t host;
    /* Earlier lives of the rank that still give memory, since they have not heard that the rank is
     * another's: who has not heard either copies to and from that. */
    uint64_t rivals[RIVALS_MAX];
    uint64_t rivals_until_ns; /* they were there last; UINT64_MAX: they still are */
    struct seg *piece[2];
    struct cell *cells;
};

/* What a copy came to, for what lands after its end. */
struct record {
    struct oracle_span dst;
    uint8_t state; /* enum oracle_end + 1; 0: under way */
    bool request;
};

struct gate {
    uint64_t owner, refused, at_ns;
    struct gate *next;
};

static struct {
    uint32_t ranks;
    bool unmapped;
    uint64_t tenures, ids;
    struct slot *slots; /* [pool * ranks + rank] */
    struct seg *segs[BUCKETS];
    struct gate *gates[BUCKETS];
    struct record *records; /* by id */
    uint64_t record_cap;
} all;

void oracle_open(uint32_t ranks, bool unmapped)
{
    memset(&all, 0, sizeof(all));
    all.unmapped = unmapped;
    all.ranks = ranks;
    all.slots = calloc((size_t)ORACLE_POOLS * ranks, sizeof(*all.slots));
    MF_ASSERT(all.slots != NULL);
}

static void end_tenure(struct slot *slot)
{
    slot->live = false;
    for (uint32_t i = 0; i < 2; i++) {
        if (slot->piece[i] != NULL) {
            sim_object_put(slot->piece[i]->object);
            slot->piece[i]->object = NULL;
            slot->piece[i] = NULL;
        }
    }
}

void oracle_close(void)
{
    for (uint32_t i = 0; all.slots != NULL && i < ORACLE_POOLS * all.ranks; i++) {
        end_tenure(&all.slots[i]);
        free(all.slots[i].cells);
    }
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (all.segs[i] != NULL) {
            struct seg *next = all.segs[i]->next;
            free(all.segs[i]);
            all.segs[i] = next;
        }
        while (all.gates[i] != NULL) {
            struct gate *next = all.gates[i]->next;
            free(all.gates[i]);
            all.gates[i] = next;
        }
    }
    free(all.slots);
    free(all.records);
    memset(&all, 0, sizeof(all));
}

static struct slot *slot_at(uint32_t pool, uint32_t rank)
{
    return pool < ORACLE_POOLS && rank < all.ranks ? &all.slots[pool * all.ranks + rank] : NULL;
}

static void add_rival(struct slot *slot, uint64_t incarnation)
{
    uint32_t i = 0;
    while (i + 1 < RIVALS_MAX && slot->rivals[i] != 0) {
        i++;
    }
    slot->rivals[i] = incarnation;
    slot->rivals_until_ns = UINT64_MAX;
}

static void drop_rival(struct slot *slot, uint64_t incarnation)
{
    bool had = false, has = false;
    for (uint32_t i = 0; i < RIVALS_MAX; i++) {
        bool it = slot->rivals[i] == incarnation;
        had |= it;
        slot->rivals[i] = it ? 0 : slot->rivals[i];
        has |= slot->rivals[i] != 0;
    }
    if (had && !has) {
        slot->rivals_until_ns = sim_now();
    }
}

static struct seg *find_seg(uint64_t epoch)
{
    struct seg *seg = all.segs[epoch % BUCKETS];
    while (seg != NULL && seg->desc.epoch != epoch) {
        seg = seg->next;
    }
    return seg;
}

/* ---- words ---- */

static bool may_be(const struct oracle_word *word, uint64_t value)
{
    bool may = word->n == 0;
    for (uint32_t i = 0; i < word->n; i++) {
        may |= word->v[i] == value;
    }
    return may;
}

static void add_value(struct oracle_word *word, uint64_t value)
{
    if (may_be(word, value)) {
        return;
    }
    if (word->n == 3) {
        word->n = 0;
        return;
    }
    word->v[word->n++] = value;
}

static struct cell *cells_of(struct slot *slot)
{
    if (slot->cells == NULL) {
        slot->cells = calloc(ORACLE_CELLS, sizeof(*slot->cells));
        MF_ASSERT(slot->cells != NULL);
    }
    return slot->cells;
}

/* The cell as it is in the slot's present tenure. */
static struct cell *cell_at(struct slot *slot, uint32_t index)
{
    struct cell *cell = &cells_of(slot)[index];
    if (cell->tenure != slot->tenure) {
        cell->tenure = slot->tenure;
        cell->ghost = 0;
        for (uint32_t i = 0; i < ORACLE_CELL_WORDS; i++) {
            cell->w[i] = (struct oracle_word){.n = 1};
        }
    }
    return cell;
}

static uint32_t cells_spanned(const struct oracle_span *span, uint32_t words)
{
    return (span->word + words + ORACLE_CELL_WORDS - 1) / ORACLE_CELL_WORDS;
}

static struct oracle_word *word_at(const struct oracle_span *span, uint32_t i)
{
    struct slot *slot = slot_at(span->pool, span->rank);
    uint32_t word = span->word + i;
    struct cell *cell = cell_at(slot, span->cell + word / ORACLE_CELL_WORDS);
    return &cell->w[word % ORACLE_CELL_WORDS];
}

/* What lies in memory at word i of the span. False: nobody gives memory there. */
static bool memory_at(const struct oracle_span *span, uint32_t i, uint64_t *out)
{
    const struct slot *slot = slot_at(span->pool, span->rank);
    bool next = span->cell >= ORACLE_CELLS_FIRST;
    const struct seg *seg = slot->piece[next];
    if (!slot->live || slot->condemned || seg == NULL || seg->object == NULL) {
        return false;
    }
    uint64_t cell = next ? span->cell - ORACLE_CELLS_FIRST : span->cell;
    memcpy(out, sim_object_bytes(seg->object) + cell * ORACLE_CELL_BYTES + 8ull * (span->word + i),
           sizeof(*out));
    return true;
}

static uint64_t value_of(const struct oracle_part *part, uint32_t i)
{
    return part->id << 5 | i;
}

static bool is_pool(const struct oracle_span *span)
{
    return span->rank != ORACLE_LOCAL;
}

/* Was it another life of the rank, perhaps, that it copied to or from? */
static bool had_rivals(const struct oracle_part *part, const struct oracle_span *span)
{
    const struct slot *slot = is_pool(span) ? slot_at(span->pool, span->rank) : NULL;
    if (slot == NULL || slot->rivals_until_ns >= part->begun_ns) {
        return slot != NULL;
    }
    uint64_t seen_ns = part->clear_ns > slot->died_ns ? part->clear_ns : slot->died_ns;
    return slot->died_ns != 0 && slot->died_host == part->host &&
           part->begun_ns < seen_ns + DEATH_NS;
}

/* Has the source's memory been given back since the copy began, or may it have been? */
static bool has_gone(const struct oracle_part *part)
{
    const struct slot *slot = slot_at(part->src.pool, part->src.rank);
    return slot->condemned || !slot->live || slot->tenure != part->src_tenure;
}

/* May word i of the target become this by the copy? */
static bool would_write(const struct oracle_part *part, uint32_t i, uint64_t value)
{
    if (part->src.rank == ORACLE_LOCAL) {
        return value == value_of(part, i);
    }
    return may_be(&part->old[i], value) || had_rivals(part, &part->src) ||
           (has_gone(part) && (value == 0 || may_be(word_at(&part->src, i), value)));
}

/* ---- copies ---- */

static bool is_idle(const struct oracle_part *part, const struct oracle_span *span, bool write)
{
    struct slot *slot = slot_at(span->pool, span->rank);
    for (uint32_t i = 0; is_pool(span) && i < cells_spanned(span, part->words); i++) {
        const struct cell *cell = cell_at(slot, span->cell + i);
        if (cell->writer != NULL || (write && cell->readers > 0) ||
            (cell->ghost != 0 && (!write || cell->ghost != part->incarnation))) {
            return false;
        }
    }
    return true;
}

static void hold(struct oracle_part *part, const struct oracle_span *span, bool write, bool on)
{
    struct slot *slot = slot_at(span->pool, span->rank);
    for (uint32_t i = 0; is_pool(span) && i < cells_spanned(span, part->words); i++) {
        struct cell *cell = cell_at(slot, span->cell + i);
        if (write) {
            cell->writer = on ? part : NULL;
        } else {
            cell->readers += on ? 1u : -1u;
        }
    }
}

static void note_tenure(const struct oracle_span *span, uint64_t *tenure, bool *live)
{
    const struct slot *slot = is_pool(span) ? slot_at(span->pool, span->rank) : NULL;
    *tenure = slot != NULL ? slot->tenure : 0;
    *live = slot == NULL || slot->live;
}

static struct record *record_of(uint64_t id)
{
    if (id >= all.record_cap) {
        uint64_t cap = all.record_cap == 0 ? 4096 : 2 * all.record_cap;
        all.records = realloc(all.records, cap * sizeof(*all.records));
        MF_ASSERT(all.records != NULL);
        memset(all.records + all.record_cap, 0, (cap - all.record_cap) * sizeof(*all.records));
        all.record_cap = cap;
    }
    return &all.records[id];
}

bool oracle_begin(struct oracle_part *part)
{
    bool same = is_pool(&part->src) && is_pool(&part->dst) && part->src.pool == part->dst.pool &&
                part->src.rank == part->dst.rank;
    if (same || !is_idle(part, &part->src, false) || !is_idle(part, &part->dst, true)) {
        return false;
    }
    part->id = ++all.ids;
    part->begun_ns = sim_now();
    part->landed = 0;
    part->landed_epoch = 0;
    part->last_land_ns = 0;
    part->held = true;
    hold(part, &part->src, false, true);
    hold(part, &part->dst, true, true);
    note_tenure(&part->src, &part->src_tenure, &part->src_live);
    note_tenure(&part->dst, &part->dst_tenure, &part->dst_live);
    for (uint32_t i = 0; i < part->words; i++) {
        if (is_pool(&part->src)) {
            part->old[i] = *word_at(&part->src, i);
        } else {
            part->local[i] = value_of(part, i);
        }
        if (!is_pool(&part->dst)) {
            part->local[i] = UINT64_MAX;
        }
    }
    *record_of(part->id) = (struct record){.dst = part->dst, .request = part->request};
    return true;
}

static bool is_steady(const struct oracle_span *span, uint64_t tenure, bool live)
{
    const struct slot *slot = is_pool(span) ? slot_at(span->pool, span->rank) : NULL;
    return slot == NULL || (live && slot->live && slot->tenure == tenure);
}

bool oracle_is_steady(const struct oracle_part *part)
{
    return is_steady(&part->src, part->src_tenure, part->src_live) &&
           is_steady(&part->dst, part->dst_tenure, part->dst_live);
}

/* ---- what a copy came to ---- */

static void wrong_byte(const struct oracle_span *span, uint32_t i, uint64_t value,
                       const struct oracle_word *may, const char *what)
{
    sim_broken("wrong-byte",
               "%s: word %u of cell %u of rank %u in pool %u is 0x%llx; it may be 0x%llx%s", what,
               span->word + i, span->cell, span->rank, span->pool, (unsigned long long)value,
               (unsigned long long)may->v[0], may->n > 1 ? " or others" : "");
}

static void judge_memory(const struct oracle_part *part, const struct oracle_span *span,
                         const char *what)
{
    uint64_t value;
    for (uint32_t i = 0; i < part->words && memory_at(span, i, &value); i++) {
        if (!may_be(word_at(span, i), value)) {
            wrong_byte(span, i, value, word_at(span, i), what);
            return;
        }
    }
}

/* Success with one end that nobody gave memory to all the time. */
static bool was_nowhere(const struct oracle_span *span, uint64_t tenure, bool live, uint32_t host)
{
    const struct slot *slot = is_pool(span) ? slot_at(span->pool, span->rank) : NULL;
    return slot != NULL && !live && slot->tenure == tenure && !(slot->died && slot->host == host);
}

static void judge_success(struct oracle_part *part, const char *what)
{
    const struct oracle_span *ends[2] = {&part->src, &part->dst};
    uint64_t tenures[2] = {part->src_tenure, part->dst_tenure};
    bool lives[2] = {part->src_live, part->dst_live};
    for (int side = 0; side < 2; side++) {
        if (!had_rivals(part, ends[side]) &&
            was_nowhere(ends[side], tenures[side], lives[side], part->host)) {
            sim_broken("wrong-result",
                       "%s succeeded although rank %u gave no memory to pool %u at any time", what,
                       ends[side]->rank, ends[side]->pool);
            return;
        }
    }
    const struct seg *seg = part->landed_epoch != 0 ? find_seg(part->landed_epoch) : NULL;
    if (seg != NULL && seg->withdrawn_ns != 0 && part->last_land_ns > seg->withdrawn_ns) {
        sim_broken(
            "wrong-result",
            "%s succeeded although its bytes came after the segment of rank %u was withdrawn", what,
            seg->desc.owner);
    }
}

/* A read: one of what was there when it began, or of what a later tenure has. */
static void judge_read(struct oracle_part *part, const char *what)
{
    const struct slot *slot = slot_at(part->src.pool, part->src.rank);
    /* A rank that has left has fresh memory there, to itself. */
    bool own = part->src.rank == part->rank && !slot->live;
    bool later = slot->tenure != part->src_tenure;
    for (uint32_t i = 0; i < part->words; i++) {
        uint64_t value = part->local[i];
        if (may_be(&part->old[i], value) || (own && value == 0) ||
            (later && (value == 0 || may_be(word_at(&part->src, i), value)))) {
            continue;
        }
        wrong_byte(&part->src, i, value, &part->old[i], what);
        return;
    }
}

static void settle_word(struct oracle_part *part, uint32_t i, enum oracle_end how, bool same)
{
    struct oracle_word *word = word_at(&part->dst, i);
    bool local = !is_pool(&part->src);
    if (how == ORACLE_DONE && same) {
        *word = local ? (struct oracle_word){.v = {value_of(part, i)}, .n = 1} : part->old[i];
    } else if (local) {
        add_value(word, value_of(part, i));
    } else {
        for (uint32_t k = 0; k < part->old[i].n && word->n > 0; k++) {
            add_value(word, part->old[i].v[k]);
        }
        word->n = part->old[i].n == 0 ? 0 : word->n;
    }
    if (!local && had_rivals(part, &part->src)) {
        word->n = 0;
    } else if (!local && has_gone(part)) {
        if (how == ORACLE_DONE) {
            add_value(word, 0); /* perhaps of a later tenure of the source */
            const struct oracle_word *now = word_at(&part->src, i);
            for (uint32_t k = 0; k < now->n && word->n > 0; k++) {
                add_value(word, now->v[k]);
            }
        } else {
            word->n = 0;
        }
    }
}

static void settle_target(struct oracle_part *part, enum oracle_end how, const char *what)
{
    struct slot *slot = slot_at(part->dst.pool, part->dst.rank);
    bool same = slot->tenure == part->dst_tenure && !had_rivals(part, &part->dst) &&
                !had_rivals(part, &part->src);
    bool far = all.unmapped || slot->host != part->host;
    bool ghost = cell_at(slot, part->dst.cell)->ghost != 0;
    if (how == ORACLE_NOTHING && part->landed != 0 && same && !ghost) {
        sim_broken(part->request ? "double-completion" : "wrong-result",
                   "%s said that nothing has moved, but words 0x%x of it have landed", what,
                   part->landed);
        return;
    }
    if (how == ORACLE_NOTHING) {
        return;
    }
    for (uint32_t i = 0; i < part->words; i++) {
        settle_word(part, i, how, same);
    }
    for (uint32_t i = 0; far && i < cells_spanned(&part->dst, part->words); i++) {
        cell_at(slot, part->dst.cell + i)->ghost = how == ORACLE_DONE ? 0 : part->incarnation;
    }
}

void oracle_end(struct oracle_part *part, enum oracle_end how, const char *what)
{
    if (!part->held) {
        return;
    }
    part->held = false;
    hold(part, &part->src, false, false);
    hold(part, &part->dst, true, false);
    struct record *record = record_of(part->id);
    record->state = (uint8_t)(how + 1);
    record->request = part->request;
    if (how == ORACLE_DONE) {
        judge_success(part, what);
    }
    if (is_pool(&part->dst)) {
        settle_target(part, how, what);
        judge_memory(part, &part->dst, what);
    } else if (how == ORACLE_DONE && !had_rivals(part, &part->src)) {
        judge_read(part, what);
    }
}

/* ---- what lands ---- */

static void name_late(const struct seen_land *land, const struct record *record, uint64_t id)
{
    const char *oracle = record->request                    ? "double-completion"
                         : record->state == ORACLE_DONE + 1 ? "executed-twice"
                                                            : "late-landing";
    sim_broken(oracle, "bytes of copy %llu of rank %u land in rank %u's memory after it has %s",
               (unsigned long long)id, land->source_rank, land->desc->owner,
               record->state == ORACLE_DONE + 1      ? "succeeded"
               : record->state == ORACLE_NOTHING + 1 ? "ended with nothing moved"
                                                     : "failed");
}

/* A word that no copy under way would write here. */
static void judge_stray(const struct seen_land *land, const struct oracle_span *at,
                        const struct cell *cell, uint64_t value)
{
    uint64_t id = value >> 5;
    if (cell->ghost == land->source_incarnation && may_be(&cell->w[at->word], value)) {
        return;
    }
    if (id > 0 && id <= all.ids && record_of(id)->state != 0 &&
        record_of(id)->dst.pool == at->pool && record_of(id)->dst.rank == at->rank) {
        name_late(land, record_of(id), id);
        return;
    }
    sim_broken("wrong-byte",
               "rank %u puts 0x%llx into word %u of cell %u of rank %u in pool %u: no copy of it "
               "says so",
               land->source_rank, (unsigned long long)value, at->word, at->cell, at->rank,
               at->pool);
}

static void land_word(const struct seen_land *land, const struct seg *seg, struct slot *slot,
                      uint64_t offset, uint64_t value)
{
    bool next = slot->piece[1] == seg;
    uint64_t index = offset / ORACLE_CELL_BYTES + (next ? ORACLE_CELLS_FIRST : 0);
    struct oracle_span at = {.pool = land->desc->pool,
                             .rank = land->desc->owner,
                             .cell = (uint32_t)index,
                             .word = (uint32_t)(offset / 8 % ORACLE_CELL_WORDS)};
    if (index >= (next ? ORACLE_CELLS : ORACLE_CELLS_FIRST)) {
        sim_broken("wrong-byte", "rank %u puts bytes at offset %llu of rank %u's memory in pool %u",
                   land->source_rank, (unsigned long long)offset, at.rank, at.pool);
        return;
    }
    struct cell *cell = cell_at(slot, at.cell);
    struct oracle_part *part = cell->writer;
    if (part == NULL || part->incarnation != land->source_incarnation) {
        judge_stray(land, &at, cell, value);
        return;
    }
    uint32_t i = (at.cell - part->dst.cell) * ORACLE_CELL_WORDS + at.word - part->dst.word;
    if (at.cell * ORACLE_CELL_WORDS + at.word <
            part->dst.cell * ORACLE_CELL_WORDS + part->dst.word ||
        i >= part->words || !would_write(part, i, value)) {
        judge_stray(land, &at, cell, value);
        return;
    }
    if (part->landed_epoch != land->desc->epoch) {
        part->landed_epoch = land->desc->epoch;
        part->landed = 0;
    }
    if ((part->landed & 1u << i) && cell->ghost != land->source_incarnation) {
        sim_broken("executed-twice", "word %u of copy %llu of rank %u lands twice in rank %u", i,
                   (unsigned long long)part->id, land->source_rank, at.rank);
    }
    part->landed |= 1u << i;
    part->last_land_ns = sim_now();
}

static bool is_gated(const struct seen_land *land)
{
    const struct gate *gate = all.gates[land->source_incarnation % BUCKETS];
    for (; gate != NULL; gate = gate->next) {
        if (gate->refused == land->source_incarnation && gate->owner == land->desc->incarnation &&
            (!land->same_host || land->begun_ns > gate->at_ns)) {
            return true;
        }
    }
    return false;
}

static bool may_land(const struct seen_land *land, const struct seg *seg)
{
    const struct mf_segment_desc *desc = land->desc;
    if (seg == NULL || seg->desc.incarnation != desc->incarnation ||
        seg->desc.owner != desc->owner) {
        sim_broken("stale-epoch", "rank %u writes to a segment of rank %u that nobody published",
                   land->source_rank, desc->owner);
    } else if (seg->withdrawn_ns != 0 && seg->withdrawn_rc == SMEM_OK) {
        sim_broken("late-landing",
                   "rank %u writes to a segment of rank %u that was withdrawn %llu us ago",
                   land->source_rank, desc->owner,
                   (unsigned long long)((sim_now() - seg->withdrawn_ns) / 1000));
    } else if (seg->withdrawn_ns != 0 && (land->begun_ns > seg->withdrawn_ns || !land->same_host)) {
        sim_broken("stale-epoch",
                   "rank %u has begun to write to a segment of rank %u after it was withdrawn",
                   land->source_rank, desc->owner);
    } else if (is_gated(land)) {
        sim_broken("dead-source", "rank %u writes to rank %u, which has refused that life before",
                   land->source_rank, desc->owner);
    } else {
        return true;
    }
    return false;
}

void seen_land(const struct seen_land *land)
{
    struct seg *seg = find_seg(land->desc->epoch);
    if (!may_land(land, seg)) {
        return;
    }
    struct slot *slot = slot_at(land->desc->pool, land->desc->owner);
    bool present =
        slot->live && !slot->condemned && (slot->piece[0] == seg || slot->piece[1] == seg);
    for (uint64_t at = 0; present && at + 8 <= land->size; at += 8) {
        uint64_t value;
        memcpy(&value, (const unsigned char *)land->bytes + at, sizeof(value));
        land_word(land, seg, slot, land->offset + at, value);
    }
}

/* ---- segments ---- */

/* Has anybody declared the life dead? */
static bool is_refused(uint64_t incarnation)
{
    const struct gate *gate = all.gates[incarnation % BUCKETS];
    while (gate != NULL && gate->refused != incarnation) {
        gate = gate->next;
    }
    return gate != NULL;
}

void seen_publish(const struct mf_segment_desc *desc)
{
    struct oracle_piece piece;
    struct slot *slot = slot_at(desc->pool, desc->owner);
    if (slot == NULL || !oracle_find_piece(desc, &piece)) {
        return;
    }
    if (find_seg(desc->epoch) != NULL) {
        sim_broken("stale-epoch", "rank %u publishes a segment with the epoch of an earlier one",
                   desc->owner);
        return;
    }
    struct seg *seg = calloc(1, sizeof(*seg));
    MF_ASSERT(seg != NULL);
    seg->desc = *desc;
    seg->slot_offset = piece.offset;
    seg->next = all.segs[desc->epoch % BUCKETS];
    all.segs[desc->epoch % BUCKETS] = seg;
    if (piece.offset == 0) {
        if (slot->live && slot->incarnation != desc->incarnation) {
            add_rival(slot, slot->incarnation);
        }
        end_tenure(slot);
        slot->tenure = ++all.tenures;
        slot->live = true;
        slot->condemned = is_refused(desc->incarnation);
        slot->died = false;
        slot->incarnation = desc->incarnation;
        slot->host = piece.host;
    }
    uint64_t index = piece.offset / MF_PAGE_LARGE;
    if (index < 2 && slot->live && slot->incarnation == desc->incarnation) {
        slot->piece[index] = seg;
        seg->object = sim_object_get(piece.object);
        oracle_check_fresh(piece.object, "what is published");
    }
    seg->tenure = slot->tenure;
}

void seen_withdraw(const struct mf_segment_desc *desc, int rc)
{
    struct seg *seg = find_seg(desc->epoch);
    if (seg == NULL || seg->withdrawn_ns != 0) {
        return;
    }
    seg->withdrawn_ns = sim_now();
    seg->withdrawn_rc = rc;
    struct slot *slot = slot_at(desc->pool, desc->owner);
    if (seg->slot_offset == 0) {
        drop_rival(slot, desc->incarnation);
    }
    if (slot->live && slot->piece[0] == seg) {
        end_tenure(slot);
    } else if (slot->live && slot->piece[1] == seg) {
        sim_object_put(seg->object);
        seg->object = NULL;
        slot->piece[1] = NULL;
    }
}

void seen_gate(uint64_t owner_incarnation, uint64_t refused_incarnation)
{
    bool known = is_refused(refused_incarnation);
    struct gate *gate = calloc(1, sizeof(*gate));
    MF_ASSERT(gate != NULL);
    *gate = (struct gate){owner_incarnation, refused_incarnation, sim_now(),
                          all.gates[refused_incarnation % BUCKETS]};
    all.gates[refused_incarnation % BUCKETS] = gate;
    for (uint32_t i = 0; !known && i < ORACLE_POOLS * all.ranks; i++) {
        struct slot *slot = &all.slots[i];
        slot->condemned |= slot->live && slot->incarnation == refused_incarnation;
    }
}

void oracle_life_ended(uint64_t incarnation)
{
    for (uint32_t i = 0; i < ORACLE_POOLS * all.ranks; i++) {
        drop_rival(&all.slots[i], incarnation);
        if (all.slots[i].live && all.slots[i].incarnation == incarnation) {
            end_tenure(&all.slots[i]);
            all.slots[i].died = true;
            all.slots[i].died_ns = sim_now();
            all.slots[i].died_host = all.slots[i].host;
        }
    }
}

uint64_t oracle_giver(uint32_t pool, uint32_t rank)
{
    const struct slot *slot = slot_at(pool, rank);
    return slot->live ? slot->incarnation : 0;
}

bool oracle_has_next(uint32_t pool, uint32_t rank)
{
    const struct slot *slot = slot_at(pool, rank);
    return slot->live && slot->piece[1] != NULL;
}

/* ---- memory ---- */

void oracle_check_fresh(struct sim_object *object, const char *what)
{
    const unsigned char *bytes = sim_object_bytes(object);
    for (uint32_t i = 0; i < ORACLE_CELLS_FIRST * ORACLE_CELL_BYTES; i++) {
        if (bytes[i] != 0) {
            sim_broken("wrong-byte", "%s is not zero: byte %u is 0x%02x", what, i, bytes[i]);
            return;
        }
    }
}

static void check_cell(const struct slot *slot, const struct oracle_span *at)
{
    const struct cell *cell = &slot->cells[at->cell];
    const struct oracle_part *part = cell->writer;
    uint64_t value;
    for (uint32_t w = 0; w < ORACLE_CELL_WORDS && memory_at(at, w, &value); w++) {
        bool zero = cell->tenure != slot->tenure;
        bool may = zero ? value == 0 : may_be(&cell->w[w], value);
        uint32_t i =
            part != NULL ? (at->cell - part->dst.cell) * ORACLE_CELL_WORDS + w - part->dst.word : 0;
        if (!may && (part == NULL || i >= part->words || !would_write(part, i, value))) {
            wrong_byte(at, w, value, &cell->w[w], "looked at");
        }
    }
}

void oracle_check_all(void)
{
    for (uint32_t i = 0; i < ORACLE_POOLS * all.ranks; i++) {
        const struct slot *slot = &all.slots[i];
        if (!slot->live || slot->cells == NULL) {
            continue;
        }
        for (uint32_t c = 0; c < ORACLE_CELLS; c++) {
            struct oracle_span at = {.pool = i / all.ranks, .rank = i % all.ranks, .cell = c};
            check_cell(slot, &at);
        }
    }
}
