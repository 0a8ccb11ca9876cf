// SPDX-License-Identifier: Apache-2.0
// The owner's side of a directory: reservations, publication, eviction of the least recently used.
//
// A slot's way: free -> reserved -> valid -> evicted (free again). A reservation that expires
// leaves its slot in limbo: its holder may still be about to put, so the slot is used again only
// after the holder has spoken. A generation is never used twice.
#include "directory.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"

#define NO_SLOT  UINT32_MAX
#define NO_ENTRY UINT32_MAX

struct slot_info {
    uint32_t newer, older; /* neighbours in the order of use; valid slots only */
    uint32_t entry;        /* bucket * BUCKET_ENTRIES + index; NO_ENTRY: free or in limbo */
    uint32_t home;         /* the bucket where its block is looked for first */
    uint64_t generation;   /* of the reservation; 0: free */
    uint64_t since_ms;
};

static uint64_t check_of(uint64_t id, uint64_t state, uint64_t slot)
{
    return hash_mix(id ^ hash_mix(state ^ hash_mix(slot)));
}

/* ---- writing entries ------------------------------------------------------------------------ */

static struct entry *entry_at(struct directory *d, uint32_t index)
{
    return &d->buckets[index / BUCKET_ENTRIES].entries[index % BUCKET_ENTRIES];
}

static void store_word(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void write_entry(struct entry *entry, uint64_t id, uint64_t state, uint64_t slot)
{
    store_word(&entry->check, 0);
    store_word(&entry->id, id);
    store_word(&entry->state, state);
    store_word(&entry->slot, slot);
    store_word(&entry->check, check_of(id, state, slot));
}

static void add_spilled(struct directory *d, uint32_t home, uint32_t entry, int64_t change)
{
    struct bucket *bucket = &d->buckets[home];

    if (entry / BUCKET_ENTRIES != home) {
        store_word(&bucket->spilled, bucket->spilled + (uint64_t)change);
    }
}

/* ---- finding entries ------------------------------------------------------------------------ */

static uint32_t probe(const struct directory *d, uint32_t home, uint32_t step)
{
    return (uint32_t)((home + step) & (d->layout->buckets - 1));
}

static uint32_t find_entry(struct directory *d, uint64_t id, uint32_t home)
{
    uint32_t steps = d->buckets[home].spilled ? BUCKET_PROBES : 1;

    for (uint32_t step = 0; step < steps; step++) {
        uint32_t bucket = probe(d, home, step);

        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            const struct entry *entry = &d->buckets[bucket].entries[i];

            if (entry->id == id && (entry->state & 3) != ENTRY_FREE) {
                return bucket * BUCKET_ENTRIES + i;
            }
        }
    }
    return NO_ENTRY;
}

static uint32_t find_free_entry(struct directory *d, uint32_t home)
{
    for (uint32_t step = 0; step < BUCKET_PROBES; step++) {
        uint32_t bucket = probe(d, home, step);

        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            if ((d->buckets[bucket].entries[i].state & 3) == ENTRY_FREE) {
                return bucket * BUCKET_ENTRIES + i;
            }
        }
    }
    return NO_ENTRY;
}

enum found bucket_find(const struct bucket *bucket, uint64_t id, uint32_t *index)
{
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        const struct entry *entry = &bucket->entries[i];

        if (entry->id == id && (entry->state & 3) != ENTRY_FREE) {
            *index = i;
            return entry->check == check_of(id, entry->state, entry->slot) ? FOUND_ENTRY
                                                                           : FOUND_NOTHING;
        }
    }
    return bucket->spilled ? FOUND_NEXT : FOUND_NOTHING;
}

/* ---- the order of use ----------------------------------------------------------------------- */

static void unlink_slot(struct directory *d, uint32_t slot)
{
    struct slot_info *info = &d->slots[slot];

    if (info->older != NO_SLOT) {
        d->slots[info->older].newer = info->newer;
    } else {
        d->oldest = info->newer;
    }
    if (info->newer != NO_SLOT) {
        d->slots[info->newer].older = info->older;
    } else {
        d->newest = info->older;
    }
}

static void link_newest(struct directory *d, uint32_t slot)
{
    struct slot_info *info = &d->slots[slot];

    info->newer = NO_SLOT;
    info->older = d->newest;
    if (d->newest != NO_SLOT) {
        d->slots[d->newest].newer = slot;
    } else {
        d->oldest = slot;
    }
    d->newest = slot;
}

/* ---- slots ---------------------------------------------------------------------------------- */

/* Takes the slot's entry out of the directory; from then on no reader finds the slot. */
static void clear_entry(struct directory *d, uint32_t slot)
{
    struct slot_info *info = &d->slots[slot];

    write_entry(entry_at(d, info->entry), 0, ENTRY_FREE, 0);
    add_spilled(d, info->home, info->entry, -1);
    info->entry = NO_ENTRY;
}

static void free_slot(struct directory *d, uint32_t slot)
{
    d->slots[slot].generation = 0;
    d->free[d->free_count++] = slot;
}

/* A free slot, if need be that of the block that was not used for longest; NO_SLOT: all are
 * reserved or in limbo. */
static uint32_t take_slot(struct directory *d)
{
    uint32_t slot = d->oldest;

    if (d->free_count) {
        return d->free[--d->free_count];
    }
    if (slot != NO_SLOT) {
        unlink_slot(d, slot);
        clear_entry(d, slot);
        store_word(&d->header->evictions, d->header->evictions + 1);
    }
    return slot;
}

/* ---- the operations ------------------------------------------------------------------------- */

static struct mail_result reserve(struct directory *d, uint64_t id, uint32_t home, uint64_t now_ms)
{
    uint32_t slot = take_slot(d);
    uint32_t entry = slot == NO_SLOT ? NO_ENTRY : find_free_entry(d, home);
    struct slot_info *info = NULL;

    if (slot == NO_SLOT) {
        return (struct mail_result){.status = MAIL_FULL};
    }
    if (entry == NO_ENTRY) {
        free_slot(d, slot);
        return (struct mail_result){.status = MAIL_FULL};
    }
    info = &d->slots[slot];
    info->entry = entry;
    info->home = home;
    info->generation = ++d->generation;
    info->since_ms = now_ms;
    write_entry(entry_at(d, entry), id, info->generation << 2 | ENTRY_RESERVED, slot);
    add_spilled(d, home, entry, 1);
    return (struct mail_result){
        .status = MAIL_RESERVED, .slot = slot, .generation = info->generation};
}

static void use(struct directory *d, uint32_t slot)
{
    unlink_slot(d, slot);
    link_newest(d, slot);
}

/* `now_ms` was read before the lock was taken: it may be older than what another thread wrote. */
static struct mail_result want(struct directory *d, uint64_t id, uint64_t now_ms)
{
    uint32_t home = (uint32_t)layout_home(d->layout, id);
    uint32_t index = find_entry(d, id, home);
    const struct entry *entry = index == NO_ENTRY ? NULL : entry_at(d, index);
    struct mail_result result = {.status = MAIL_BUSY};

    if (!entry) {
        return reserve(d, id, home, now_ms);
    }
    result.slot = entry->slot;
    result.generation = entry_generation(entry);
    if (entry_is_valid(entry)) {
        result.status = MAIL_VALID;
        use(d, (uint32_t)entry->slot);
    } else if (now_ms > d->slots[entry->slot].since_ms + d->reservation_ms) {
        clear_entry(d, (uint32_t)entry->slot);
        store_word(&d->header->expired, d->header->expired + 1);
        return reserve(d, id, home, now_ms);
    }
    return result;
}

static struct mail_result publish(struct directory *d, const struct mail_item *item)
{
    struct mail_result result = {.status = MAIL_FULL};
    struct slot_info *info = item->slot < d->layout->slots ? &d->slots[item->slot] : NULL;
    uint32_t slot = (uint32_t)item->slot;
    struct entry *entry = NULL;

    if (!info || info->generation != item->generation || item->generation == 0) {
        return result;
    }
    if (info->entry == NO_ENTRY) {
        free_slot(d, slot);
        d->late++;
        return result;
    }
    entry = entry_at(d, info->entry);
    if (entry->id == item->id && (entry->state & 3) == ENTRY_RESERVED) {
        write_entry(entry, item->id, item->generation << 2 | ENTRY_VALID, slot);
        link_newest(d, slot);
        result.status = MAIL_DONE;
    }
    return result;
}

static struct mail_result touch(struct directory *d, const struct mail_item *item)
{
    uint32_t index = find_entry(d, item->id, (uint32_t)layout_home(d->layout, item->id));
    const struct entry *entry = index == NO_ENTRY ? NULL : entry_at(d, index);

    if (entry && entry_is_valid(entry) && entry_generation(entry) == item->generation) {
        use(d, (uint32_t)entry->slot);
    }
    return (struct mail_result){.status = MAIL_DONE};
}

void directory_serve(struct directory *d, const struct mail_item *items, uint32_t count,
                     uint64_t now_ms, struct mail_result *results)
{
    pthread_mutex_lock(&d->lock);
    for (uint32_t i = 0; i < count; i++) {
        switch (items[i].op) {
        case MAIL_WANT:
            results[i] = want(d, items[i].id, now_ms);
            break;
        case MAIL_PUBLISH:
            results[i] = publish(d, &items[i]);
            break;
        case MAIL_TOUCH:
            results[i] = touch(d, &items[i]);
            break;
        default:
            results[i] = (struct mail_result){.status = MAIL_FULL};
            break;
        }
    }
    pthread_mutex_unlock(&d->lock);
}

void directory_init(struct directory *d, const struct layout *layout, unsigned char *part,
                    uint64_t reservation_ms)
{
    memset(d, 0, sizeof(*d));
    pthread_mutex_init(&d->lock, NULL);
    d->layout = layout;
    d->header = (struct rank_header *)(void *)part;
    d->buckets = (struct bucket *)(void *)(part + layout->directory);
    d->reservation_ms = reservation_ms;
    d->slots = cli_alloc(layout->slots, sizeof(*d->slots));
    d->free = cli_alloc(layout->slots, sizeof(*d->free));
    d->oldest = NO_SLOT;
    d->newest = NO_SLOT;
    for (uint64_t slot = layout->slots; slot-- > 0;) {
        d->slots[slot].entry = NO_ENTRY;
        d->free[d->free_count++] = (uint32_t)slot;
    }
}

void directory_fini(struct directory *d)
{
    pthread_mutex_destroy(&d->lock);
    free(d->slots);
    free(d->free);
}
