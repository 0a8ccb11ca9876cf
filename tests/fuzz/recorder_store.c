// SPDX-License-Identifier: Apache-2.0
// Records the conversations of the store's state machines, as inputs of fuzz_store_server and
// fuzz_store_client.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client_steps.h"
#include "recorder.h"
#include "server_steps.h"
#include "smem.h"
#include "store/client_priv.h"
#include "store/server_sm.h"

/* A machine that runs, and its conversation. */
struct talk {
    struct talk *next;
    const void *machine;
    const struct mf_server_conn *conns[SERVER_CONNS - 1]; /* of a server; the others are left out */
    struct record_steps steps;
};

static struct {
    pthread_mutex_t lock;
    struct talk *talks;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void talk_begin(const void *machine, const char *target)
{
    struct talk *talk = calloc(1, sizeof(*talk));
    if (talk) {
        talk->machine = machine;
        talk->steps.target = target;
        pthread_mutex_lock(&all.lock);
        talk->next = all.talks;
        all.talks = talk;
        pthread_mutex_unlock(&all.lock);
    }
}

/* Borrowed: a machine has one caller at a time. The newest one at this address counts. */
static struct talk *talk_find(const void *machine)
{
    pthread_mutex_lock(&all.lock);
    struct talk *talk = all.talks;
    while (talk && talk->machine != machine) {
        talk = talk->next;
    }
    pthread_mutex_unlock(&all.lock);
    return talk;
}

/* ---- the server ---- */

int __real_mf_server_sm_create(const struct mf_server_sm_cfg *cfg, uint64_t now_ns,
                               struct mf_server_sm **out);
int __wrap_mf_server_sm_create(const struct mf_server_sm_cfg *cfg, uint64_t now_ns,
                               struct mf_server_sm **out);
int __real_mf_server_sm_open(struct mf_server_sm *sm, uint64_t now_ns, const char *peer, void *user,
                             struct mf_server_conn **out);
int __wrap_mf_server_sm_open(struct mf_server_sm *sm, uint64_t now_ns, const char *peer, void *user,
                             struct mf_server_conn **out);
void __real_mf_server_sm_bytes(struct mf_server_sm *sm, uint64_t now_ns,
                               struct mf_server_conn *conn, const void *data, size_t len);
void __wrap_mf_server_sm_bytes(struct mf_server_sm *sm, uint64_t now_ns,
                               struct mf_server_conn *conn, const void *data, size_t len);
void __real_mf_server_sm_closed(struct mf_server_sm *sm, uint64_t now_ns,
                                struct mf_server_conn *conn);
void __wrap_mf_server_sm_closed(struct mf_server_sm *sm, uint64_t now_ns,
                                struct mf_server_conn *conn);

int __wrap_mf_server_sm_create(const struct mf_server_sm_cfg *cfg, uint64_t now_ns,
                               struct mf_server_sm **out)
{
    int rc = __real_mf_server_sm_create(cfg, now_ns, out);
    if (rc == SMEM_OK) {
        talk_begin(*out, "store_server");
    }
    return rc;
}

/* The number of a connection, SERVER_CONNS: it is not recorded. */
static unsigned conn_find(const struct talk *talk, const struct mf_server_conn *conn)
{
    for (unsigned i = 0; talk && i < SERVER_CONNS - 1; i++) {
        if (talk->conns[i] == conn) {
            return i;
        }
    }
    return SERVER_CONNS;
}

int __wrap_mf_server_sm_open(struct mf_server_sm *sm, uint64_t now_ns, const char *peer, void *user,
                             struct mf_server_conn **out)
{
    int rc = __real_mf_server_sm_open(sm, now_ns, peer, user, out);
    struct talk *talk = talk_find(sm);
    if (talk && talk->steps.full) { /* another conversation, of those who come from now on */
        record_end(&talk->steps);
        memset(talk->conns, 0, sizeof(talk->conns));
        talk->steps = (struct record_steps){.target = talk->steps.target};
    }
    unsigned i = conn_find(talk, NULL);
    if (rc == SMEM_OK && i < SERVER_CONNS) {
        talk->conns[i] = *out;
    }
    return rc;
}

void __wrap_mf_server_sm_bytes(struct mf_server_sm *sm, uint64_t now_ns,
                               struct mf_server_conn *conn, const void *data, size_t len)
{
    struct talk *talk = talk_find(sm);
    unsigned i = conn_find(talk, conn);
    if (i < SERVER_CONNS) {
        record_time(&talk->steps, server_step_byte(0, SERVER_STEP_TIME), now_ns);
        record_step(&talk->steps, server_step_byte(i, SERVER_STEP_BYTES), data, len);
    }
    __real_mf_server_sm_bytes(sm, now_ns, conn, data, len);
}

void __wrap_mf_server_sm_closed(struct mf_server_sm *sm, uint64_t now_ns,
                                struct mf_server_conn *conn)
{
    struct talk *talk = talk_find(sm);
    unsigned i = conn_find(talk, conn);
    if (i < SERVER_CONNS) {
        record_time(&talk->steps, server_step_byte(0, SERVER_STEP_TIME), now_ns);
        record_number(&talk->steps, server_step_byte(i, SERVER_STEP_CLOSED), 0);
        record_end(&talk->steps);
        talk->conns[i] = NULL;
    }
    __real_mf_server_sm_closed(sm, now_ns, conn);
}

/* ---- the client ---- */

int __real_mf_client_sm_create(const struct mf_client_sm_cfg *cfg, uint64_t now_ns,
                               struct mf_client_sm **out);
int __wrap_mf_client_sm_create(const struct mf_client_sm_cfg *cfg, uint64_t now_ns,
                               struct mf_client_sm **out);
void __real_mf_client_sm_destroy(struct mf_client_sm *sm);
void __wrap_mf_client_sm_destroy(struct mf_client_sm *sm);
void __real_mf_client_sm_bytes(struct mf_client_sm *sm, uint64_t now_ns, const void *data,
                               size_t len);
void __wrap_mf_client_sm_bytes(struct mf_client_sm *sm, uint64_t now_ns, const void *data,
                               size_t len);
void __real_mf_client_sm_submit(struct mf_client_sm *sm, uint64_t now_ns,
                                struct mf_client_req *req);
void __wrap_mf_client_sm_submit(struct mf_client_sm *sm, uint64_t now_ns,
                                struct mf_client_req *req);
void __real_mf_client_sm_watch(struct mf_client_sm *sm, uint64_t now_ns,
                               struct mf_client_watch *watch);
void __wrap_mf_client_sm_watch(struct mf_client_sm *sm, uint64_t now_ns,
                               struct mf_client_watch *watch);
int __real_mf_client_sm_unwatch(struct mf_client_sm *sm, uint32_t id);
int __wrap_mf_client_sm_unwatch(struct mf_client_sm *sm, uint32_t id);
void __real_mf_client_sm_closed(struct mf_client_sm *sm, uint64_t now_ns, const char *why);
void __wrap_mf_client_sm_closed(struct mf_client_sm *sm, uint64_t now_ns, const char *why);
void __real_mf_client_sm_set_addr(struct mf_client_sm *sm, const char *addr, bool now,
                                  uint64_t now_ns);
void __wrap_mf_client_sm_set_addr(struct mf_client_sm *sm, const char *addr, bool now,
                                  uint64_t now_ns);
void __real_mf_client_sm_close(struct mf_client_sm *sm, uint64_t now_ns);
void __wrap_mf_client_sm_close(struct mf_client_sm *sm, uint64_t now_ns);

/* The steps of a client, up to now; NULL: it is not recorded. */
static struct record_steps *client_at(const struct mf_client_sm *sm, uint64_t now_ns)
{
    struct talk *talk = talk_find(sm);
    if (talk && now_ns > 0) {
        record_time(&talk->steps, CLIENT_STEP_TIME, now_ns);
    }
    return talk ? &talk->steps : NULL;
}

int __wrap_mf_client_sm_create(const struct mf_client_sm_cfg *cfg, uint64_t now_ns,
                               struct mf_client_sm **out)
{
    int rc = __real_mf_client_sm_create(cfg, now_ns, out);
    if (rc == SMEM_OK) {
        talk_begin(*out, "store_client");
    }
    return rc;
}

void __wrap_mf_client_sm_destroy(struct mf_client_sm *sm)
{
    struct record_steps *steps = client_at(sm, 0);
    if (steps) {
        record_end(steps);
    }
    __real_mf_client_sm_destroy(sm);
}

void __wrap_mf_client_sm_bytes(struct mf_client_sm *sm, uint64_t now_ns, const void *data,
                               size_t len)
{
    struct record_steps *steps = client_at(sm, now_ns);
    if (steps) {
        record_step(steps, CLIENT_STEP_BYTES, data, len);
    }
    __real_mf_client_sm_bytes(sm, now_ns, data, len);
}

void __wrap_mf_client_sm_submit(struct mf_client_sm *sm, uint64_t now_ns, struct mf_client_req *req)
{
    struct record_steps *steps = client_at(sm, now_ns);
    struct mf_buf body;
    struct mf_wr wr;
    if (steps) {
        struct mf_smsg_request msg = req->msg;
        msg.id = req->deadline_ns > now_ns ? (uint32_t)((req->deadline_ns - now_ns) / 1000000) : 0;
        mf_buf_init(&body, MF_FRAME_MAX);
        mf_wr_init(&wr, &body);
        mf_smsg_put_request(&wr, &msg);
        record_step(steps, CLIENT_STEP_SUBMIT, body.data, body.len);
        mf_buf_fini(&body);
    }
    __real_mf_client_sm_submit(sm, now_ns, req);
}

void __wrap_mf_client_sm_watch(struct mf_client_sm *sm, uint64_t now_ns,
                               struct mf_client_watch *watch)
{
    struct record_steps *steps = client_at(sm, now_ns);
    if (steps) {
        record_step(steps, CLIENT_STEP_WATCH, watch->prefix, watch->prefix_len);
    }
    __real_mf_client_sm_watch(sm, now_ns, watch);
}

int __wrap_mf_client_sm_unwatch(struct mf_client_sm *sm, uint32_t id)
{
    struct record_steps *steps = client_at(sm, 0);
    if (steps) {
        record_number(steps, CLIENT_STEP_UNWATCH, id & 0xff);
    }
    return __real_mf_client_sm_unwatch(sm, id);
}

void __wrap_mf_client_sm_closed(struct mf_client_sm *sm, uint64_t now_ns, const char *why)
{
    struct record_steps *steps = client_at(sm, now_ns);
    if (steps) {
        record_number(steps, CLIENT_STEP_CLOSED, why != NULL);
        record_end(steps);
    }
    __real_mf_client_sm_closed(sm, now_ns, why);
}

void __wrap_mf_client_sm_set_addr(struct mf_client_sm *sm, const char *addr, bool now,
                                  uint64_t now_ns)
{
    struct record_steps *steps = client_at(sm, now_ns);
    if (steps) {
        record_number(steps, CLIENT_STEP_MOVE, now);
    }
    __real_mf_client_sm_set_addr(sm, addr, now, now_ns);
}

void __wrap_mf_client_sm_close(struct mf_client_sm *sm, uint64_t now_ns)
{
    struct record_steps *steps = client_at(sm, now_ns);
    if (steps) {
        record_number(steps, CLIENT_STEP_CLOSE, 0);
        record_end(steps);
    }
    __real_mf_client_sm_close(sm, now_ns);
}
