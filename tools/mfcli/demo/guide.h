// SPDX-License-Identifier: Apache-2.0
// The guide of the demo: starts four ranks as processes, asks them, kills one and starts it again.
// It is no rank itself. However it ends, no process is left.
#ifndef MFCLI_DEMO_GUIDE_H
#define MFCLI_DEMO_GUIDE_H

#include <stdbool.h>
#include <sys/types.h>

#include "ask.h"
#include "guardian.h"
#include "store_host.h"

#define GUIDE_ANSWER_MS 15000u /* a rank that is silent for so long has failed */

struct guide_rank {
    pid_t pid;   /* 0: not running */
    int channel; /* -1 */
};

struct guide {
    struct guardian guardian;
    struct store_host store;
    struct guide_rank ranks[DEMO_RANKS];
    char path[4096]; /* of this program */
};

/**
 * Starts the guardian and the config store; call it before the process has threads.
 *
 * @return 0, or -1 after a sentence on stderr
 */
int guide_open(struct guide *guide);
/** Ends all ranks and the store. */
void guide_close(struct guide *guide);

/** Starts the process of a rank; it is no rank of the world before DEMO_INIT. @return 0 or -1 with
 * errno */
int guide_start(struct guide *guide, uint32_t rank);
/** kill -9. @return the time just before, as of now_ns() */
uint64_t guide_kill(struct guide *guide, uint32_t rank);

/** Sends a question without waiting. */
void guide_send(struct guide *guide, uint32_t rank, const struct demo_ask *ask);
/** Waits for an answer. Silence and death are answers too: rc -1 and a sentence. */
void guide_receive(struct guide *guide, uint32_t rank, struct demo_answer *answer);
/** A question and its answer. @return answer->rc is 0 */
bool guide_ask(struct guide *guide, uint32_t rank, const struct demo_ask *ask,
               struct demo_answer *answer);

#endif
