// SPDX-License-Identifier: Apache-2.0
// Requests from clients to owners and back, through words in the pool.
#include "mailbox.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"

#define LOOK_EVERY_MS 100u /* how often a waiting client looks whether the owner lives */

static uint64_t load_word(const void *word)
{
    return __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE);
}

int world_check_rank(struct replay_world *world, uint32_t rank)
{
    uint64_t phase = 0;

    if (fabric_get(world->fabric, &phase, rank, offsetof(struct rank_header, phase), 8)) {
        return failure_report(&world->failure, "rank %u: %s", rank,
                              world->fabric->ops->error(world->fabric));
    }
    if (phase == PHASE_FAILED) {
        return failure_report(&world->failure, "rank %u has failed", rank);
    }
    return 0;
}

/* ---- the client's side ---------------------------------------------------------------------- */

void mailbox_init(struct mailbox *mailbox, struct replay_world *world, uint32_t client)
{
    mailbox->world = world;
    mailbox->client = client;
    mailbox->pause = (struct pause){0};
    mailbox->owners = cli_alloc(world->layout.ranks, sizeof(*mailbox->owners));
    mailbox->request = cli_alloc(1, sizeof(*mailbox->request));
    mailbox->own_results = cli_alloc(MAIL_ITEMS, sizeof(*mailbox->own_results));
}

void mailbox_fini(struct mailbox *mailbox)
{
    free(mailbox->owners);
    free(mailbox->request);
    free(mailbox->own_results);
}

static const struct mail_answer *answer_at(const struct mailbox *mailbox, uint32_t owner)
{
    const struct replay_world *world = mailbox->world;

    return (const struct mail_answer *)(const void *)(world->fabric->own +
                                                      layout_answer(&world->layout, mailbox->client,
                                                                    owner));
}

static int wait_for_answer(struct mailbox *mailbox, uint32_t owner)
{
    struct replay_world *world = mailbox->world;
    const struct mail_answer *answer = answer_at(mailbox, owner);
    uint64_t number = mailbox->owners[owner].number;
    uint64_t start = now_ns(), looked_ms = 0;

    while (load_word(&answer->number) != number) {
        uint64_t now = now_ns();
        uint64_t waited = now - start;

        if (failure_is_set(&world->failure)) {
            return -1;
        }
        if (waited / 1000000 >= looked_ms + LOOK_EVERY_MS) {
            looked_ms = waited / 1000000;
            if (world_check_rank(world, owner)) {
                return -1;
            }
        }
        if (waited / 1000000 > world->answer_ms) {
            return failure_report(&world->failure, "rank %u did not answer within %g s", owner,
                                  (double)world->answer_ms / 1000);
        }
        pause_step(&mailbox->pause, now, waited);
    }
    mailbox->owners[owner].pending = false;
    return 0;
}

int mailbox_post(struct mailbox *mailbox, uint32_t owner, const struct mail_item *items,
                 uint32_t count)
{
    struct replay_world *world = mailbox->world;
    struct fabric *fabric = world->fabric;
    const struct layout *layout = &world->layout;
    struct mailbox_owner *box = &mailbox->owners[owner];

    if (owner == fabric->rank) {
        directory_serve(&world->directory, items, count, now_ms(), mailbox->own_results);
        return 0;
    }
    if (box->pending && wait_for_answer(mailbox, owner)) {
        return -1;
    }
    box->number++;
    mailbox->request->count = count;
    memcpy(mailbox->request->items, items, count * sizeof(*items));
    if (fabric_put(fabric, owner, layout_request(layout, mailbox->client), mailbox->request,
                   offsetof(struct mail_request, items) + count * sizeof(*items)) ||
        fabric_put(fabric, owner, layout_doorbell(layout, mailbox->client), &box->number, 8)) {
        return failure_report(&world->failure, "request to rank %u: %s", owner,
                              fabric->ops->error(fabric));
    }
    box->pending = true;
    return 0;
}

int mailbox_wait(struct mailbox *mailbox, uint32_t owner, const struct mail_result **results)
{
    if (owner == mailbox->world->fabric->rank) {
        *results = mailbox->own_results;
        return 0;
    }
    if (mailbox->owners[owner].pending && wait_for_answer(mailbox, owner)) {
        return -1;
    }
    *results = answer_at(mailbox, owner)->results;
    return 0;
}

/* ---- the owner's side ----------------------------------------------------------------------- */

void service_init(struct service *service, struct replay_world *world)
{
    service->world = world;
    atomic_init(&service->stop, false);
    service->served = cli_alloc(world->layout.clients, sizeof(*service->served));
    service->ignored = cli_alloc(world->layout.clients, sizeof(*service->ignored));
    service->request = cli_alloc(1, sizeof(*service->request));
    service->answer = cli_alloc(1, sizeof(*service->answer));
}

void service_fini(struct service *service)
{
    free(service->served);
    free(service->ignored);
    free(service->request);
    free(service->answer);
}

/* Writes the answer into the client's rank. A client that cannot be answered is not served again.
 */
static void send_answer(struct service *service, uint32_t client, uint32_t count, uint64_t number)
{
    struct fabric *fabric = service->world->fabric;
    uint32_t rank = client % service->world->layout.ranks;
    size_t offset = layout_answer(&service->world->layout, client, fabric->rank);

    if ((count && fabric_put(fabric, rank, offset + offsetof(struct mail_answer, results),
                             service->answer->results, count * sizeof(struct mail_result))) ||
        fabric_put(fabric, rank, offset + offsetof(struct mail_answer, number), &number, 8)) {
        service->ignored[client] = 1;
        failure_report(&service->world->failure, "answer to client %u of rank %u: %s", client, rank,
                       fabric->ops->error(fabric));
    }
}

static void serve_client(struct service *service, uint32_t client, uint64_t number)
{
    struct replay_world *world = service->world;
    const unsigned char *from = world->fabric->own + layout_request(&world->layout, client);
    uint64_t count = load_word(from + offsetof(struct mail_request, count));

    count = count <= MAIL_ITEMS ? count : 0;
    memcpy(service->request->items, from + offsetof(struct mail_request, items),
           count * sizeof(struct mail_item));
    directory_serve(&world->directory, service->request->items, (uint32_t)count, now_ms(),
                    service->answer->results);
    send_answer(service, client, (uint32_t)count, number);
    service->served[client] = number;
}

bool service_step(struct service *service)
{
    const struct layout *layout = &service->world->layout;
    const unsigned char *own = service->world->fabric->own;
    bool busy = false;

    for (uint32_t client = 0; client < layout->clients; client++) {
        uint64_t number = load_word(own + layout_doorbell(layout, client));

        if (number != service->served[client] && !service->ignored[client]) {
            serve_client(service, client, number);
            busy = true;
        }
    }
    return busy;
}

static void *serve(void *arg)
{
    struct service *service = arg;
    struct rank_header *header = own_header(service->world);
    struct pause pause = {0};
    uint64_t last = now_ns();

    pause_prepare_thread();
    pthread_setname_np(pthread_self(), "mf-service");
    while (!atomic_load_explicit(&service->stop, memory_order_acquire)) {
        __atomic_store_n(&header->beat, header->beat + 1, __ATOMIC_RELEASE);
        if (service_step(service)) {
            last = now_ns();
        } else {
            uint64_t now = now_ns();

            pause_step(&pause, now, now - last);
        }
    }
    return NULL;
}

int service_start(struct service *service, struct replay_world *world)
{
    service_init(service, world);
    if (pthread_create(&service->thread, NULL, serve, service)) {
        service_fini(service);
        return failure_report(&world->failure, "cannot start the thread that serves the mailboxes");
    }
    return 0;
}

void service_stop(struct service *service)
{
    atomic_store_explicit(&service->stop, true, memory_order_release);
    pthread_join(service->thread, NULL);
    service_fini(service);
}
