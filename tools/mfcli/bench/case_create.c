// SPDX-License-Identifier: Apache-2.0
// Creating a pool with much memory in it, beside two threads that touch as much of the same kind.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store_host.h"
#include "cases.h"
#include "machine.h"

#define GRANULE       (2ull << 20)
#define SMALL_PAGE    4096u
#define CREATE_LIMIT  1.2
#define TOUCH_THREADS 2u
#define CREATE_POOL   2u

struct create {
    uint64_t bytes;
    uint32_t ops;
    bool huge; /* huge pages, for both */
};

static double create_ours(void *arg)
{
    const struct create *create = arg;
    smem_bm_create_option_t option = {.maxDramSize = create->bytes,
                                      .localDRAMSize = create->bytes,
                                      .dataOpType = (smem_bm_data_op_type_t)create->ops};
    double start = machine_now(), seconds = 0;
    smem_bm_t pool = smem_bm_create2(CREATE_POOL, &option);

    seconds = machine_now() - start;
    if (!pool) {
        fprintf(stderr, "%s: create: %s\n", BENCH_COMMAND, smem_get_last_err_msg());
        return -1;
    }
    smem_bm_destroy(pool);
    return seconds;
}

struct touch {
    volatile uint8_t *from;
    uint64_t bytes;
};

static void *touch(void *arg)
{
    const struct touch *touch = arg;

    for (uint64_t at = 0; at < touch->bytes; at += SMALL_PAGE) {
        touch->from[at] = 1;
    }
    return NULL;
}

static int touch_all(uint8_t *memory, uint64_t bytes)
{
    pthread_t threads[TOUCH_THREADS];
    struct touch parts[TOUCH_THREADS];
    uint32_t started = 0;
    uint64_t part = bytes / TOUCH_THREADS;

    for (; started < TOUCH_THREADS; started++) {
        parts[started] = (struct touch){.from = memory + started * part, .bytes = part};
        if (pthread_create(&threads[started], NULL, touch, &parts[started])) {
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    return started == TOUCH_THREADS ? 0 : -1;
}

static double create_base(void *arg)
{
    const struct create *create = arg;
    double start = machine_now(), seconds = -1;
    int fd = memfd_create("bench", MFD_CLOEXEC | (create->huge ? MFD_HUGETLB : 0));
    uint8_t *memory = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)create->bytes) == 0) {
        memory = mmap(NULL, create->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (memory != MAP_FAILED) {
        seconds = touch_all(memory, create->bytes) ? -1 : machine_now() - start;
        munmap(memory, create->bytes);
    }
    if (seconds < 0) {
        fprintf(stderr, "%s: touch %llu bytes: %s\n", BENCH_COMMAND,
                (unsigned long long)create->bytes, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return seconds;
}

static void report_create(const struct bench_cfg *cfg, const struct create *create,
                          const struct stats_pairs *time)
{
    struct report report = {.cfg = cfg, .device = "none"};
    struct figure figure = {.name = "create and populate",
                            .unit = "x two threads touching",
                            .measured = 1 / time->ratio.median,
                            .target = CREATE_LIMIT,
                            .at_most = true};
    struct out_json json;

    if (!cfg->json) {
        printf("\ncreate and populate %.1f GiB: %.3f s; two threads touching as much: %.3f s\n",
               (double)create->bytes / (1u << 30), time->ours.median, time->base.median);
        report_figure_text(&figure);
        return;
    }
    report_open(&report, &json);
    out_json_text(&json, "case", bench_case_names[CASE_CREATE]);
    out_json_u64(&json, "bytes", create->bytes);
    out_json_bool(&json, "huge_pages", create->huge);
    out_json_u64(&json, "pairs", time->pairs);
    out_json_real(&json, "create_s", time->ours.median, 4);
    out_json_real(&json, "touch_s", time->base.median, 4);
    out_json_real(&json, "q1", 1 / time->ratio.q3, 3);
    out_json_real(&json, "q3", 1 / time->ratio.q1, 3);
    report_close(&report, &json, &figure);
}

/* Both get the same kind of pages: small ones, unless the user requires huge ones. */
static bool same_pages(void)
{
    const char *wanted = getenv("MF_SEGMENT_HUGE");

    if (wanted && strcmp(wanted, "require") == 0) {
        return true;
    }
    setenv("MF_SEGMENT_HUGE", "never", 1);
    return false;
}

static int start(const struct bench_cfg *cfg, const char *url)
{
    smem_bm_config_t config;

    smem_bm_config_init(&config);
    config.initTimeout = (uint32_t)(cfg->timeout_ms / 1000 + 1);
    config.autoRanking = false;
    config.startConfigStoreServer = false;
    config.rankId = 0;
    if (smem_bm_init(url, 1, 0, &config)) {
        fprintf(stderr, "%s: start: %s\n", BENCH_COMMAND, smem_get_last_err_msg());
        return -1;
    }
    return 0;
}

int case_create(const struct bench_cfg *cfg)
{
    struct create create = {.bytes = cfg->create_bytes, .ops = bench_transport_ops(cfg->transport)};
    uint64_t memory = machine_memory() / 4 * 3;
    struct store_host store;
    struct stats_pairs time;
    int result = -1;

    create.huge = same_pages();
    while (!create.huge && create.bytes > GRANULE && create.bytes > memory) {
        create.bytes /= 2;
    }
    create.bytes = (create.bytes + GRANULE - 1) / GRANULE * GRANULE;
    if (create.bytes < cfg->create_bytes) {
        fprintf(stderr, "%s: create: memory is short: %llu bytes in place of %llu\n", BENCH_COMMAND,
                (unsigned long long)create.bytes, (unsigned long long)cfg->create_bytes);
    }
    if (store_host_open(&store, "tcp://127.0.0.1:0", BENCH_COMMAND)) {
        return -1;
    }
    if (start(cfg, store.url) == 0) {
        result = stats_compare(create_ours, create_base, &create, cfg->pairs, &time);
        smem_bm_uninit(0);
    }
    store_host_close(&store);
    if (result == 0) {
        report_create(cfg, &create, &time);
    }
    return result;
}
