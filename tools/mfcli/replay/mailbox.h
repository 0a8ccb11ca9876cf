// SPDX-License-Identifier: Apache-2.0
// How clients ask owners for reservations, and how owners answer: words in the pool, each with one
// writer. A client writes its request at the owner, then its doorbell there; the owner's service
// thread writes the answer into the client's rank, then its number. A client whose own rank is the
// owner calls the directory itself.
#ifndef MFCLI_REPLAY_MAILBOX_H
#define MFCLI_REPLAY_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "directory.h"
#include "fabric.h"
#include "failure.h"
#include "layout.h"
#include "pause.h"

/** What all threads of a rank share. */
struct replay_world {
    struct fabric *fabric;
    struct layout layout;
    struct directory directory;
    struct failure failure;
    uint64_t answer_ms; /* a rank that does not answer for so long has failed */
};

static inline struct rank_header *own_header(const struct replay_world *world)
{
    return (struct rank_header *)(void *)world->fabric->own;
}

/** Looks whether the rank can be reached and has not failed. @return 0, or -1 after a report */
int world_check_rank(struct replay_world *world, uint32_t rank);

/* ---- the client's side ---------------------------------------------------------------------- */

struct mailbox_owner {
    uint64_t number; /* of the last request */
    bool pending;    /* its answer was not waited for */
};

/** One client's mailboxes at all owners. */
struct mailbox {
    struct replay_world *world;
    uint32_t client;
    struct mailbox_owner *owners;
    struct mail_request *request;    /* under construction */
    struct mail_result *own_results; /* of the directory in this process */
    struct pause pause;              /* of the client's thread */
};

void mailbox_init(struct mailbox *mailbox, struct replay_world *world, uint32_t client);
void mailbox_fini(struct mailbox *mailbox);

/**
 * Sends a request of 1..MAIL_ITEMS items. Waits first for the answer to the one before.
 *
 * @return 0, or -1 after a report
 */
int mailbox_post(struct mailbox *mailbox, uint32_t owner, const struct mail_item *items,
                 uint32_t count);

/**
 * Waits for the answer to the last request.
 *
 * @param results borrowed until the next request to this owner
 * @return 0, or -1 after a report
 */
int mailbox_wait(struct mailbox *mailbox, uint32_t owner, const struct mail_result **results);

/* ---- the owner's side ----------------------------------------------------------------------- */

struct service {
    struct replay_world *world;
    pthread_t thread;
    atomic_bool stop;
    uint64_t *served;  /* clients: number of the last request that was answered */
    uint64_t *ignored; /* clients: 1 when the client's rank cannot be reached any more */
    struct mail_request *request;
    struct mail_answer *answer;
};

/** Starts the thread that serves this rank's mailboxes. @return 0, or -1 after a report */
int service_start(struct service *service, struct replay_world *world);
void service_stop(struct service *service);
/** Serves what is there now. @return whether there was something; for tests and the thread */
bool service_step(struct service *service);
void service_init(struct service *service, struct replay_world *world);
void service_fini(struct service *service);

#endif
