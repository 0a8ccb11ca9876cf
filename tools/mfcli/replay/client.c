// SPDX-License-Identifier: Apache-2.0
// A client's way through a request, in waves of at most MAIL_ITEMS different blocks:
//
//   look up    one batch of gets: the home bucket of each block
//   get        one batch of gets: all blocks that are there; then their entries once more: an entry
//              that has changed means that the block was evicted under the copy, a miss
//   ask        one message to each owner: reservations for what is absent
//   put        the reserved blocks, computed and put in batches that fit the cache; then one
//   message
//              to each owner publishes them, and is not waited for
//   late ones  blocks that somebody else has put, or is putting, since the look-up
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "fill.h"
#include "pause.h"

#define PUT_BATCH_BYTES (512u << 10)
#define WRONG_TOLD      4u /* wrong blocks that are described; all are counted */

enum item_state {
    ITEM_ABSENT,   /* ask the owner */
    ITEM_HIT,      /* get it */
    ITEM_RESERVED, /* put it */
    ITEM_BUSY,     /* somebody else is putting it */
    ITEM_DONE,
};

struct item {
    uint64_t id;
    uint32_t owner;
    enum item_state state;
    uint64_t slot;
    uint64_t generation;
    size_t entry_offset;
    struct entry entry;
};

struct client_wave {
    uint32_t count;
    struct item items[MAIL_ITEMS];
    struct bucket buckets[MAIL_ITEMS];
    struct entry again[MAIL_ITEMS];
    struct mail_item mail[MAIL_ITEMS];
    uint32_t of_mail[MAIL_ITEMS]; /* the item that mail[i] is about */
    void *to[MAIL_ITEMS];
    void *from[MAIL_ITEMS];
    uint64_t bytes[MAIL_ITEMS];
    uint32_t which[MAIL_ITEMS]; /* the item that range i of a batch is about */
    unsigned char *got;         /* room for MAIL_ITEMS blocks, or fewer large ones */
    unsigned char *computed;    /* room for one batch of puts */
    uint32_t most;              /* blocks that fit into `got` */
    uint32_t put_most;          /* blocks that fit into `computed` */
};

#define GOT_BYTES_MAX (64u << 20)

static uint32_t clamp_count(uint64_t room, uint64_t block_bytes)
{
    uint64_t count = room / block_bytes;

    return count < 1 ? 1 : count > MAIL_ITEMS ? MAIL_ITEMS : (uint32_t)count;
}

void client_init(struct client *client, struct replay_world *world, const struct client_cfg *cfg,
                 uint32_t number)
{
    uint64_t block = world->layout.block_bytes;
    struct client_wave *wave = cli_alloc(1, sizeof(*wave));

    memset(client, 0, sizeof(*client));
    client->world = world;
    client->cfg = cfg;
    client->number = number;
    client->wave = wave;
    atomic_init(&client->done, 0);
    wave->most = clamp_count(GOT_BYTES_MAX, block);
    wave->put_most = clamp_count(PUT_BATCH_BYTES, block);
    wave->got = cli_alloc_pages(wave->most * block);
    wave->computed = cli_alloc_pages(wave->put_most * block);
    mailbox_init(&client->mailbox, world, number);
}

void client_fini(struct client *client)
{
    mailbox_fini(&client->mailbox);
    free(client->wave->got);
    free(client->wave->computed);
    free(client->wave);
}

static int fabric_failed(struct client *client, const char *what, uint32_t count)
{
    return failure_report(&client->world->failure, "client %u: %s of %u ranges: %s", client->number,
                          what, count, client->world->fabric->ops->error(client->world->fabric));
}

static int batch_get(struct client *client, const char *what, uint32_t count)
{
    struct client_wave *wave = client->wave;
    struct fabric *fabric = client->world->fabric;

    if (count && fabric->ops->get_batch(fabric, wave->to, wave->from, wave->bytes, count)) {
        return fabric_failed(client, what, count);
    }
    return 0;
}

static int batch_put(struct client *client, uint32_t count)
{
    struct client_wave *wave = client->wave;
    struct fabric *fabric = client->world->fabric;

    if (count && fabric->ops->put_batch(fabric, wave->to, wave->from, wave->bytes, count)) {
        return fabric_failed(client, "put", count);
    }
    return 0;
}

/* ---- look up -------------------------------------------------------------------------------- */

static void take_entry(struct client *client, struct item *item, const struct bucket *bucket,
                       uint64_t number, uint32_t index)
{
    item->entry = bucket->entries[index];
    item->entry_offset = layout_bucket(&client->world->layout, number) +
                         offsetof(struct bucket, entries) + index * sizeof(struct entry);
    item->slot = item->entry.slot;
    item->generation = entry_generation(&item->entry);
    item->state = ITEM_ABSENT;
    if (entry_is_valid(&item->entry) && item->slot < client->world->layout.slots) {
        item->state = ITEM_HIT;
    }
}

/* The buckets after the home bucket, one by one; few blocks need it. */
static int look_further(struct client *client, struct item *item)
{
    const struct layout *layout = &client->world->layout;
    uint64_t home = layout_home(layout, item->id);
    struct bucket bucket;
    uint32_t index = 0;

    for (uint32_t step = 1; step < BUCKET_PROBES; step++) {
        uint64_t number = (home + step) & (layout->buckets - 1);

        if (fabric_get(client->world->fabric, &bucket, item->owner, layout_bucket(layout, number),
                       sizeof(bucket))) {
            return fabric_failed(client, "look-up", 1);
        }
        if (bucket_find(&bucket, item->id, &index) == FOUND_ENTRY) {
            take_entry(client, item, &bucket, number, index);
            return 0;
        }
    }
    return 0;
}

static int look_up(struct client *client, uint32_t first, uint32_t count)
{
    const struct layout *layout = &client->world->layout;
    struct client_wave *wave = client->wave;

    for (uint32_t i = 0; i < count; i++) {
        const struct item *item = &wave->items[first + i];

        wave->to[i] = &wave->buckets[i];
        wave->from[i] = fabric_address(client->world->fabric, item->owner,
                                       layout_bucket(layout, layout_home(layout, item->id)));
        wave->bytes[i] = sizeof(struct bucket);
    }
    if (batch_get(client, "look-up", count)) {
        return -1;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct item *item = &wave->items[first + i];
        uint32_t index = 0;
        enum found found = bucket_find(&wave->buckets[i], item->id, &index);

        item->state = ITEM_ABSENT;
        item->entry.state = ENTRY_FREE;
        if (found == FOUND_ENTRY) {
            take_entry(client, item, &wave->buckets[i], layout_home(layout, item->id), index);
        } else if (found == FOUND_NEXT && look_further(client, item)) {
            return -1;
        }
    }
    return 0;
}

/* ---- get ------------------------------------------------------------------------------------ */

/* The items from `first` on that are ITEM_HIT, as ranges of a batch. */
static uint32_t gather_hits(struct client *client, uint32_t first, uint32_t count)
{
    struct client_wave *wave = client->wave;
    const struct layout *layout = &client->world->layout;
    uint32_t hits = 0;

    for (uint32_t i = first; i < first + count; i++) {
        const struct item *item = &wave->items[i];

        if (item->state == ITEM_HIT) {
            wave->which[hits] = i;
            wave->to[hits] = wave->got + hits * layout->block_bytes;
            wave->from[hits] = fabric_address(client->world->fabric, item->owner,
                                              layout_block(layout, item->slot));
            wave->bytes[hits] = layout->block_bytes;
            hits++;
        }
    }
    return hits;
}

/* Gets the entries of the blocks that were got once more: those that have changed are lost. */
static int look_again(struct client *client, uint32_t hits)
{
    struct client_wave *wave = client->wave;

    for (uint32_t i = 0; i < hits; i++) {
        const struct item *item = &wave->items[wave->which[i]];

        wave->to[i] = &wave->again[i];
        wave->from[i] = fabric_address(client->world->fabric, item->owner, item->entry_offset);
        wave->bytes[i] = sizeof(struct entry);
    }
    if (batch_get(client, "second look-up", hits)) {
        return -1;
    }
    for (uint32_t i = 0; i < hits; i++) {
        struct item *item = &wave->items[wave->which[i]];

        if (!entry_same(&wave->again[i], &item->entry)) {
            item->state = ITEM_ABSENT;
            client->stats.lost++;
        }
    }
    return 0;
}

static void tell_wrong(const struct client *client, const struct item *item, size_t wrong,
                       size_t first)
{
    fprintf(stderr,
            "mfcli replay: client %u: block %llu from rank %u, slot %llu: %zu wrong bytes, the "
            "first at %zu\n",
            client->number, (unsigned long long)item->id, item->owner,
            (unsigned long long)item->slot, wrong, first);
}

static void check_hits(struct client *client, uint32_t hits)
{
    struct client_wave *wave = client->wave;
    uint64_t block = client->world->layout.block_bytes;

    for (uint32_t i = 0; i < hits; i++) {
        struct item *item = &wave->items[wave->which[i]];
        size_t first = 0, wrong = 0;

        if (item->state != ITEM_HIT) {
            continue;
        }
        wrong = fill_check(wave->got + i * block, block, item->id, item->generation, &first);
        if (wrong && client->stats.wrong_bytes < WRONG_TOLD) {
            tell_wrong(client, item, wrong, first);
        }
        client->stats.wrong_bytes += wrong;
        client->stats.hits++;
        client->stats.got_bytes += block;
        item->state = ITEM_DONE;
    }
}

/* Gets and checks what was found among items first..first + count - 1; `start_ns` is when looking
 * for them began, `poison_ns` what does not count. */
static int get_hits(struct client *client, uint32_t first, uint32_t count, uint64_t start_ns)
{
    struct client_wave *wave = client->wave;
    uint32_t hits = gather_hits(client, first, count);
    uint64_t poison_ns = 0, spent = 0;

    if (hits == 0) {
        return 0;
    }
    poison_ns = now_ns();
    memset(wave->got, FILL_POISON, hits * client->world->layout.block_bytes);
    poison_ns = now_ns() - poison_ns;
    if (batch_get(client, "get", hits) || look_again(client, hits)) {
        return -1;
    }
    spent = now_ns() - start_ns - poison_ns;
    client->stats.get_ns += spent;
    hist_add(&client->stats.get_hist, spent);
    check_hits(client, hits);
    return 0;
}

static int look_and_get(struct client *client, uint32_t first, uint32_t count)
{
    uint64_t start = now_ns();

    return look_up(client, first, count) ? -1 : get_hits(client, first, count, start);
}

/* ---- ask ------------------------------------------------------------------------------------ */

/* What there is to say to `owner`: uses first, so that they are not evicted for what is wanted. */
static uint32_t write_mail(struct client *client, uint32_t owner)
{
    struct client_wave *wave = client->wave;
    uint32_t count = 0;

    for (int wants = client->cfg->touch ? 0 : 1; wants < 2; wants++) {
        enum item_state state = wants ? ITEM_ABSENT : ITEM_DONE;

        for (uint32_t i = 0; i < wave->count; i++) {
            const struct item *item = &wave->items[i];

            if (item->owner == owner && item->state == state) {
                wave->of_mail[count] = i;
                wave->mail[count++] = (struct mail_item){.id = item->id,
                                                         .op = wants ? MAIL_WANT : MAIL_TOUCH,
                                                         .generation = item->generation};
            }
        }
    }
    return count;
}

static void take_results(struct client *client, uint32_t owner, const struct mail_result *results)
{
    struct client_wave *wave = client->wave;
    uint32_t count = write_mail(client, owner);

    for (uint32_t i = 0; i < count; i++) {
        struct item *item = &wave->items[wave->of_mail[i]];

        if (item->state != ITEM_ABSENT) {
            continue;
        }
        item->slot = results[i].slot;
        item->generation = results[i].generation;
        if (results[i].status == MAIL_RESERVED && item->slot < client->world->layout.slots) {
            item->state = ITEM_RESERVED;
        } else if (results[i].status == MAIL_VALID || results[i].status == MAIL_BUSY) {
            item->state = ITEM_BUSY;
        } else {
            item->state = ITEM_DONE;
            client->stats.unput++;
        }
    }
}

static int ask_owners(struct client *client)
{
    uint32_t ranks = client->world->layout.ranks;

    for (uint32_t owner = 0; owner < ranks; owner++) {
        uint32_t count = write_mail(client, owner);

        if (count && mailbox_post(&client->mailbox, owner, client->wave->mail, count)) {
            return -1;
        }
    }
    for (uint32_t owner = 0; owner < ranks; owner++) {
        const struct mail_result *results = NULL;

        if (write_mail(client, owner)) {
            if (mailbox_wait(&client->mailbox, owner, &results)) {
                return -1;
            }
            take_results(client, owner, results);
        }
    }
    return 0;
}

/* ---- put ------------------------------------------------------------------------------------ */

/* Turns one bit of the block in the pool round. */
static int flip(struct client *client, const struct item *item)
{
    const struct layout *layout = &client->world->layout;
    uint64_t index = hash_mix(item->id) % (layout->block_bytes / 8);
    uint64_t word = fill_word(item->id, item->generation, index) ^ 1;

    if (fabric_put(client->world->fabric, item->owner, layout_block(layout, item->slot) + 8 * index,
                   &word, 8)) {
        return fabric_failed(client, "put", 1);
    }
    return 0;
}

static int flush_puts(struct client *client, uint32_t count)
{
    struct client_wave *wave = client->wave;
    uint64_t start = now_ns();

    if (batch_put(client, count)) {
        return -1;
    }
    client->stats.put_ns += now_ns() - start;
    client->stats.puts += count;
    client->stats.put_bytes += count * client->world->layout.block_bytes;
    for (uint32_t i = 0; client->cfg->fault == FAULT_FLIP && i < count; i++) {
        if (flip(client, &wave->items[wave->which[i]])) {
            return -1;
        }
    }
    return 0;
}

static int put_reserved(struct client *client)
{
    struct client_wave *wave = client->wave;
    const struct layout *layout = &client->world->layout;
    uint32_t count = 0;

    for (uint32_t i = 0; i < wave->count; i++) {
        const struct item *item = &wave->items[i];

        if (item->state != ITEM_RESERVED) {
            continue;
        }
        wave->which[count] = i;
        wave->from[count] = wave->computed + count * layout->block_bytes;
        wave->to[count] =
            fabric_address(client->world->fabric, item->owner, layout_block(layout, item->slot));
        wave->bytes[count] = layout->block_bytes;
        fill_block(wave->from[count], layout->block_bytes, item->id, item->generation);
        if (++count == wave->put_most) {
            if (flush_puts(client, count)) {
                return -1;
            }
            count = 0;
        }
    }
    return flush_puts(client, count);
}

/* Makes the blocks valid that were put. The answers are waited for before the next message only. */
static int publish(struct client *client)
{
    struct client_wave *wave = client->wave;

    for (uint32_t owner = 0; owner < client->world->layout.ranks; owner++) {
        uint32_t count = 0;

        for (uint32_t i = 0; i < wave->count; i++) {
            struct item *item = &wave->items[i];

            if (item->owner == owner && item->state == ITEM_RESERVED) {
                wave->mail[count++] = (struct mail_item){.id = item->id,
                                                         .op = MAIL_PUBLISH,
                                                         .slot = item->slot,
                                                         .generation = item->generation};
                item->state = ITEM_DONE;
            }
        }
        if (count && mailbox_post(&client->mailbox, owner, wave->mail, count)) {
            return -1;
        }
    }
    return 0;
}

/* ---- late ones ------------------------------------------------------------------------------ */

/* Waits until somebody else's put is done and gets the block; if it takes too long, computes it. */
static int get_late(struct client *client, uint32_t index)
{
    struct client_wave *wave = client->wave;
    struct item *item = &wave->items[index];
    uint64_t start = now_ns();

    for (;;) {
        uint64_t now = now_ns();
        uint64_t waited = now - start;

        if (look_and_get(client, index, 1)) {
            return -1;
        }
        if (item->state == ITEM_DONE) {
            return 0;
        }
        /* It has been evicted already, or its put takes too long. */
        if ((item->entry.state & 3) == ENTRY_FREE || waited / 1000000 > client->cfg->busy_ms) {
            break;
        }
        if (failure_is_set(&client->world->failure)) {
            return -1;
        }
        pause_step(&client->mailbox.pause, now, waited);
    }
    fill_block(wave->computed, client->world->layout.block_bytes, item->id, 0);
    item->state = ITEM_DONE;
    client->stats.unput++;
    return 0;
}

static int get_late_ones(struct client *client)
{
    for (uint32_t i = 0; i < client->wave->count; i++) {
        if (client->wave->items[i].state == ITEM_BUSY && get_late(client, i)) {
            return -1;
        }
    }
    return 0;
}

/* ---- requests ------------------------------------------------------------------------------- */

static int run_wave(struct client *client)
{
    if (look_and_get(client, 0, client->wave->count) || ask_owners(client) ||
        put_reserved(client) || publish(client)) {
        return -1;
    }
    return get_late_ones(client);
}

static bool is_in_wave(const struct client_wave *wave, uint64_t id)
{
    for (uint32_t i = 0; i < wave->count; i++) {
        if (wave->items[i].id == id) {
            return true;
        }
    }
    return false;
}

int client_request(struct client *client, const uint64_t *ids, uint32_t count)
{
    struct client_wave *wave = client->wave;
    const struct layout *layout = &client->world->layout;

    wave->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct item *item = NULL;

        /* A block that stands in the request twice is there the second time. */
        if (wave->count == wave->most || is_in_wave(wave, ids[i])) {
            if (run_wave(client)) {
                return -1;
            }
            wave->count = 0;
        }
        item = &wave->items[wave->count++];
        item->id = ids[i];
        item->owner = layout_owner(layout, ids[i]);
        client->stats.remote += item->owner != client->world->fabric->rank;
    }
    if (wave->count && run_wave(client)) {
        return -1;
    }
    client->stats.requests++;
    client->stats.blocks += count;
    atomic_fetch_add_explicit(&client->done, 1, memory_order_relaxed);
    return 0;
}

/* Waits for what was published last, so that no message is under way at the end. */
static int settle(struct client *client)
{
    for (uint32_t owner = 0; owner < client->world->layout.ranks; owner++) {
        const struct mail_result *results = NULL;

        if (mailbox_wait(&client->mailbox, owner, &results)) {
            return -1;
        }
    }
    return 0;
}

int client_run(struct client *client)
{
    const struct trace *trace = client->cfg->trace;

    pause_prepare_thread();
    for (size_t i = client->number; i < trace->request_count; i += client->world->layout.clients) {
        const struct trace_request *request = &trace->requests[i];

        if (failure_is_set(&client->world->failure) ||
            client_request(client, trace->ids + request->first, request->count)) {
            return -1;
        }
    }
    return settle(client);
}
