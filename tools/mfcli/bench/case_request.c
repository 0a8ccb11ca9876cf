// SPDX-License-Identifier: Apache-2.0
// Requests of 8 bytes: from submit until a poller sees the end and has freed it, and until a
// sleeper is awake, beside what it takes to wake a thread by an eventfd.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cases.h"
#include "machine.h"
#include "memfabric/mf_xcopy.h"
#include "stats.h"

#define BYTES         8u
#define PITCH         64u
#define POLLED        100000u
#define SLEPT         200u
#define PAUSE_NS      100000u /* between two, so that whoever waits sleeps */
#define POLL_LIMIT_NS 120.0
#define SLEEP_LIMIT   1.5
#define WAIT_MS       10000
#define NS            1e9
#define US            1e6

enum waiting { BY_POLL, BY_WAIT, BY_FD };

struct requests {
    struct world *world;
    uint64_t src, dst, places, at;
    enum waiting waiting;
    int ping, pong; /* eventfds of the baseline */
};

/* ---- one request ---------------------------------------------------------------------------- */

static int submit(struct requests *r, mf_request_t *request)
{
    uint64_t offset = r->at++ % r->places * PITCH;
    void *src = (void *)(uintptr_t)(r->src + offset);
    void *dst = (void *)(uintptr_t)(r->dst + offset);
    uint64_t bytes = BYTES;
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .flags = r->waiting == BY_POLL ? 0 : MF_XCOPY_QUEUED,
                              .count = 1,
                              .type = SMEMB_COPY_H2G,
                              .sources = &src,
                              .destinations = &dst,
                              .sizes = &bytes};

    return mf_xcopy_submit(r->world->pool, &batch, request);
}

static int await_fd(mf_request_t request)
{
    struct pollfd fd = {.events = POLLIN};
    int rc = mf_request_fd(request, &fd.fd);

    return rc ? rc : poll(&fd, 1, WAIT_MS) == 1 ? 0 : -1;
}

/* @return seconds, negative after a report; the time of a poller has the free in it */
static double one(struct requests *r)
{
    mf_request_t request = NULL;
    int32_t status = 0;
    double start = machine_now(), end = 0;
    int rc = submit(r, &request);

    if (rc == 0 && r->waiting == BY_FD) {
        rc = await_fd(request);
    }
    if (rc == 0) {
        rc = mf_request_wait(request, WAIT_MS, &status);
    }
    end = machine_now();
    if (rc || status || mf_request_free(request)) {
        world_error(r->world, "request");
        return -1;
    }
    return end - start;
}

static double polled(void *arg)
{
    struct requests *r = arg;
    double start = machine_now();

    for (uint32_t i = 0; i < POLLED; i++) {
        mf_request_t request = NULL;
        int32_t status = 0;
        int rc = submit(r, &request);

        while (rc == 0 && (rc = mf_request_poll(request, &status)) == SMEM_TIMEOUT) {
            rc = 0;
        }
        if (rc || status || mf_request_free(request)) {
            world_error(r->world, "request");
            return -1;
        }
    }
    return (machine_now() - start) / POLLED;
}

static double slept(void *arg)
{
    struct requests *r = arg;
    double sum = 0;

    for (uint32_t i = 0; i < SLEPT; i++) {
        double seconds = 0;

        machine_sleep_ns(PAUSE_NS);
        seconds = one(r);
        if (seconds < 0) {
            return -1;
        }
        sum += seconds;
    }
    return sum / SLEPT;
}

/* ---- what a wake-up takes ------------------------------------------------------------------- */

static void *answer(void *arg)
{
    const struct requests *r = arg;
    uint64_t word = 0;

    while (read(r->ping, &word, sizeof(word)) == sizeof(word) && word < UINT32_MAX) {
        word = 1;
        if (write(r->pong, &word, sizeof(word)) != sizeof(word)) {
            break;
        }
    }
    return NULL;
}

/* One way: half of there and back. */
static double woken(void *arg)
{
    const struct requests *r = arg;
    double sum = 0;

    for (uint32_t i = 0; i < SLEPT; i++) {
        uint64_t word = 1;
        double start = 0;

        machine_sleep_ns(PAUSE_NS);
        start = machine_now();
        if (write(r->ping, &word, sizeof(word)) != sizeof(word) ||
            read(r->pong, &word, sizeof(word)) != sizeof(word)) {
            fprintf(stderr, "%s: eventfd: %s\n", BENCH_COMMAND, strerror(errno));
            return -1;
        }
        sum += machine_now() - start;
    }
    return sum / SLEPT / 2;
}

/* ---- reports -------------------------------------------------------------------------------- */

static void report_polled(const struct world *world, const struct stats_pairs *time)
{
    struct report report = report_of(world);
    struct figure figure = {.name = "8-byte request, until a poller has freed it",
                            .unit = "ns",
                            .measured = time->ours.median * NS,
                            .target = POLL_LIMIT_NS,
                            .at_most = true};
    struct out_json json;

    if (!world->cfg->json) {
        printf("\n8-byte request: submitted, seen by polling and freed in %.1f ns\n",
               figure.measured);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_REQUEST]);
    out_json_text(&json, "what", "polled");
    out_json_u64(&json, "block", BYTES);
    out_json_real(&json, "request_ns", figure.measured, 2);
    out_json_real(&json, "q1", time->ours.q1 * NS, 2);
    out_json_real(&json, "q3", time->ours.q3 * NS, 2);
    report_close(&report, &json, &figure);
}

static void report_slept(const struct requests *r, const struct stats_pairs *time)
{
    struct report report = report_of(r->world);
    const char *what = r->waiting == BY_FD ? "descriptor" : "wait";
    struct figure figure = {.unit = "x a wake-up by eventfd",
                            .measured = 1 / time->ratio.median,
                            .target = SLEEP_LIMIT,
                            .at_most = true};
    struct out_json json;

    snprintf(figure.name, sizeof(figure.name), "8-byte request, until a sleeper sees it: %s", what);
    if (!r->world->cfg->json) {
        printf("\n8-byte request, queued, until a sleeper sees it (%s): %.2f us; a wake-up: %.2f "
               "us\n",
               what, time->ours.median * US, time->base.median * US);
        if (r->waiting == BY_WAIT) {
            report_figure_text(&figure);
        }
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_REQUEST]);
    out_json_text(&json, "what", what);
    out_json_u64(&json, "block", BYTES);
    out_json_u64(&json, "pairs", time->pairs);
    out_json_real(&json, "request_us", time->ours.median * US, 3);
    out_json_real(&json, "wakeup_us", time->base.median * US, 3);
    out_json_real(&json, "q1", 1 / time->ratio.q3, 3);
    out_json_real(&json, "q3", 1 / time->ratio.q1, 3);
    report_close(&report, &json, r->waiting == BY_WAIT ? &figure : NULL);
}

static int compare_sleepers(struct requests *r)
{
    struct stats_pairs time;
    pthread_t thread;
    uint64_t end = UINT32_MAX;
    int result = 0;

    r->ping = eventfd(0, EFD_CLOEXEC);
    r->pong = eventfd(0, EFD_CLOEXEC);
    if (r->ping < 0 || r->pong < 0 || pthread_create(&thread, NULL, answer, r)) {
        fprintf(stderr, "%s: no thread to wake: %s\n", BENCH_COMMAND, strerror(errno));
        return -1;
    }
    for (int by = BY_WAIT; result == 0 && by <= BY_FD; by++) {
        r->waiting = (enum waiting)by;
        result = stats_compare(slept, woken, r, r->world->cfg->pairs, &time);
        if (result == 0) {
            report_slept(r, &time);
        }
    }
    if (write(r->ping, &end, sizeof(end)) == sizeof(end)) {
        pthread_join(thread, NULL);
    }
    close(r->ping);
    close(r->pong);
    return result;
}

int case_request(struct world *world, uint64_t *wrong)
{
    struct place src = world_place(world, PLACE_HOST, world->rank);
    struct place dst = world_place(world, PLACE_DRAM, world_partner(world));
    struct requests r = {
        .world = world, .src = src.base, .dst = dst.base, .places = world->bytes / PITCH};
    struct stats_pairs time;
    (void)wrong; /* the case prepared checks the bytes of requests */

    r.places = r.places < 4096 ? r.places : 4096;
    if (stats_compare(polled, NULL, &r, world->cfg->pairs, &time)) {
        return -1;
    }
    report_polled(world, &time);
    return compare_sleepers(&r);
}
