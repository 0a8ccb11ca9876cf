// SPDX-License-Identifier: Apache-2.0
// One rank of a soak: until it is told to stop, or killed, it does at random what applications do
// with a pool (copies of every kind, leave, join, extend, destroy, create), and proves every byte
// that nobody had the right to change. Says what it holds in a line every second.
//
//   soak_rank SECONDS SEED        MF_CONFIG_STORE_URL, MF_WORLD_SIZE and MF_RANK as mfcli run gives
//
// Each writer has its own stripes in every slot, so that a byte has one writer. A slot begins with
// the life of its owner, drawn at every join: what was put must be there as long as that word is
// the same before the put and after the get; else the memory may be fresh, and then reads zero.
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "memfabric/mf_xcopy.h"
#include "smem.h"
#include "smem_bm.h"

#define MIB       (1ull << 20)
#define START     (4 * MIB) /* DRAM of a rank when it creates */
#define TOP       (12 * MIB)
#define STEP      (2 * MIB)
#define HBM       (2 * MIB)
#define STRIPE    (32u << 10)
#define LIFE_AT   (2 * MIB - 64)
#define RANKS_MAX 32u
#define SEAM      (64u << 10)
#define BATCH     16u

enum area { DRAM, DEVICE, ACROSS, AREAS };

/* What this rank last put into one of its stripes. */
struct stripe {
    uint64_t life;       /* of the owner, at that time; 0: not known, nothing can be proven */
    uint64_t generation; /* 0: nothing was put */
    uint64_t size;
};

struct soak {
    uint32_t world, self;
    uint64_t random, life, given;
    bool has_device;
    smem_bm_t pool;
    struct stripe stripes[RANKS_MAX][AREAS];
    uint64_t generation;
    char *buffer; /* BATCH stripes of SEAM bytes */
    /* counted */
    uint64_t copies, refused, wrong, joins, extends;
};

static volatile sig_atomic_t told_to_stop;

static void on_term(int number)
{
    (void)number;
    told_to_stop = 1;
}

static uint64_t now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15ull;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9ull;
    return x ^ x >> 32;
}

static uint64_t draw(struct soak *s, uint64_t below)
{
    s->random += 0x9e3779b97f4a7c15ull;
    return mix(s->random) % below;
}

static _Noreturn void fail(const char *what, int rc)
{
    printf("FAILED %s: %d: %s\n", what, rc, smem_get_last_err_msg());
    fflush(stdout);
    _exit(3);
}

/* Of a peer that is not there, nothing else is allowed. */
static bool is_absence(int rc)
{
    return rc == SMEM_NOT_CONNECTED;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static uint64_t word_of(const struct soak *s, uint64_t generation, uint64_t at)
{
    return mix(generation ^ mix(at + s->self)) | 1;
}

static void fill(const struct soak *s, char *at, uint64_t size, uint64_t generation)
{
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = word_of(s, generation, i);
        memcpy(at + i, &word, 8);
    }
}

/* Words that are neither what was put nor (where the owner's life has changed) zero. */
static uint64_t wrong_words(const struct soak *s, const char *at, const struct stripe *put,
                            bool may_be_fresh)
{
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < put->size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, at + i, 8);
        wrong += word != word_of(s, put->generation, i) && !(may_be_fresh && word == 0);
    }
    return wrong;
}

/* ---- addresses ------------------------------------------------------------------------------ */

static char *slot(const struct soak *s, uint32_t owner, bool device)
{
    return smem_bm_ptr_by_mem_type(s->pool, device ? SMEM_MEM_TYPE_DEVICE : SMEM_MEM_TYPE_HOST,
                                   (uint16_t)owner);
}

static char *stripe_at(const struct soak *s, uint32_t owner, enum area area)
{
    char *base = slot(s, owner, area == DEVICE);
    return area == ACROSS ? base + START - SEAM / 2 : base + (uint64_t)s->self * STRIPE;
}

static int copy(struct soak *s, void *dst, const void *src, uint64_t size, uint32_t flags)
{
    smem_copy_params params = {.src = src, .dest = dst, .dataSize = size};
    int rc = smem_bm_copy(s->pool, &params, SMEMB_COPY_AUTO, flags);
    if (rc == SMEM_OK && (flags & ASYNC_COPY_FLAG)) {
        rc = smem_bm_wait(s->pool);
    }
    s->copies++;
    s->refused += rc != SMEM_OK;
    if (rc != SMEM_OK && !is_absence(rc)) {
        fail("copy", rc);
    }
    return rc;
}

static int read_life(struct soak *s, uint32_t owner, uint64_t *life)
{
    *life = 0;
    return copy(s, life, slot(s, owner, false) + LIFE_AT, sizeof(*life), 0);
}

/* ---- copies --------------------------------------------------------------------------------- */

static void report_wrong(struct soak *s, uint32_t owner, enum area area, uint64_t wrong)
{
    s->wrong += wrong;
    printf("WRONG rank %u: %" PRIu64 " words of area %d of rank %u\n", s->self, wrong, area, owner);
    fflush(stdout);
}

/* Only one rank writes across the end of the memory that a rank began with, and only when there is
 * more behind it: the copy says so. */
static enum area choose_area(struct soak *s, uint32_t owner)
{
    uint64_t which = draw(s, 8);
    if (which == 0 && s->self == (owner + 1) % s->world) {
        return ACROSS;
    }
    return which < 3 && s->has_device ? DEVICE : DRAM;
}

static void put(struct soak *s, uint32_t owner, enum area area)
{
    struct stripe *stripe = &s->stripes[owner][area];
    uint64_t limit = area == ACROSS ? SEAM : STRIPE;
    uint64_t size = area == ACROSS ? SEAM : 8 * (1 + draw(s, limit / 8));
    uint64_t before = 0, after = 0;
    uint32_t flags = draw(s, 4) == 0 ? ASYNC_COPY_FLAG : 0;
    *stripe = (struct stripe){0};
    if (read_life(s, owner, &before) != SMEM_OK) {
        return;
    }
    fill(s, s->buffer, size, ++s->generation);
    smem_copy_params params = {
        .src = s->buffer, .dest = stripe_at(s, owner, area), .dataSize = size};
    int rc = smem_bm_copy(s->pool, &params, SMEMB_COPY_AUTO, flags);
    if (rc == SMEM_OK && flags) {
        rc = smem_bm_wait(s->pool);
    }
    s->copies++;
    s->refused += rc != SMEM_OK;
    /* Behind what the owner has given there is nothing. */
    bool not_given = area == ACROSS && rc == SMEM_INVALID_PARAM;
    if (rc != SMEM_OK && !is_absence(rc) && !not_given) {
        fail("put", rc);
    }
    if (rc == SMEM_OK && read_life(s, owner, &after) == SMEM_OK && before == after) {
        *stripe = (struct stripe){.life = before, .generation = s->generation, .size = size};
    }
}

static void get(struct soak *s, uint32_t owner, enum area area)
{
    const struct stripe *stripe = &s->stripes[owner][area];
    uint64_t before = 0, after = 0;
    if (stripe->generation == 0 || stripe->life == 0 || read_life(s, owner, &before) != SMEM_OK) {
        return;
    }
    memset(s->buffer, 0xa5, stripe->size);
    smem_copy_params params = {
        .src = stripe_at(s, owner, area), .dest = s->buffer, .dataSize = stripe->size};
    int rc = smem_bm_copy(s->pool, &params, SMEMB_COPY_AUTO, 0);
    s->copies++;
    s->refused += rc != SMEM_OK;
    bool not_given = area == ACROSS && rc == SMEM_INVALID_PARAM; /* it has come with less again */
    if (rc != SMEM_OK && !is_absence(rc) && !not_given) {
        fail("get", rc);
    }
    if (rc != SMEM_OK || read_life(s, owner, &after) != SMEM_OK) {
        return;
    }
    bool same = before == after && before == stripe->life;
    uint64_t wrong = wrong_words(s, s->buffer, stripe, !same);
    if (wrong) {
        report_wrong(s, owner, area, wrong);
    }
}

/* A batch as a request, waited for or cancelled; the code of each element. */
static int run_request(struct soak *s, const smem_batch_copy_params *params, int32_t *codes)
{
    mf_request_t request = NULL;
    int32_t status = SMEM_OK;
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .flags = draw(s, 2) ? MF_XCOPY_QUEUED : 0,
                              .count = params->batchSize,
                              .type = SMEMB_COPY_AUTO,
                              .sources = params->sources,
                              .destinations = params->destinations,
                              .sizes = params->dataSizes,
                              .timeout_ms = 30000};
    int rc = mf_xcopy_submit(s->pool, &batch, &request);
    if (rc == SMEM_OK && draw(s, 4) == 0) {
        rc = mf_request_cancel(request, 30000);
    }
    if (rc == SMEM_OK) {
        rc = mf_request_wait(request, 30000, &status);
    }
    if (rc == SMEM_OK) {
        rc = mf_request_results(request, codes, params->batchSize);
    }
    if (rc == SMEM_OK) {
        rc = mf_request_free(request);
    }
    if (rc != SMEM_OK) {
        fail("request", rc);
    }
    for (uint32_t i = 0; i < params->batchSize; i++) {
        if (codes[i] == SMEM_NOT_STARTED || codes[i] == SMEM_PARTIAL_FAILED) {
            codes[i] = SMEM_NOT_CONNECTED; /* cancelled: as good as not there */
        }
    }
    return SMEM_PARTIAL_FAILED;
}

static int run_batch(struct soak *s, smem_batch_copy_params *params, int32_t *codes)
{
    smem_batch_copy_result result = {.results = codes, .batchSize = params->batchSize};
    if (draw(s, 2)) {
        return run_request(s, params, codes);
    }
    return smem_bm_copy_batch_partial_succeed(s->pool, params, SMEMB_COPY_AUTO, 0, &result);
}

/* Gets from many ranks at once; each element has its own result. */
static void get_batch(struct soak *s)
{
    void *src[BATCH], *dst[BATCH];
    uint64_t size[BATCH], before[BATCH];
    uint32_t owner[BATCH], count = 0;
    int32_t codes[BATCH];
    for (uint32_t tries = 0; tries < 2 * BATCH && count < BATCH; tries++) {
        uint32_t rank = (uint32_t)draw(s, s->world);
        if (s->stripes[rank][DRAM].life == 0 || read_life(s, rank, &before[count]) != SMEM_OK) {
            continue;
        }
        owner[count] = rank;
        src[count] = stripe_at(s, rank, DRAM);
        dst[count] = s->buffer + count * SEAM;
        size[count] = s->stripes[rank][DRAM].size;
        memset(dst[count], 0xa5, size[count]);
        count++;
    }
    if (count == 0) {
        return;
    }
    smem_batch_copy_params params = {
        .sources = src, .destinations = dst, .dataSizes = size, .batchSize = count};
    int rc = run_batch(s, &params, codes);
    s->copies += count;
    if (rc != SMEM_OK && rc != SMEM_PARTIAL_FAILED && !is_absence(rc)) {
        fail("batch", rc);
    }
    for (uint32_t i = 0; i < count && (rc == SMEM_OK || rc == SMEM_PARTIAL_FAILED); i++) {
        const struct stripe *stripe = &s->stripes[owner[i]][DRAM];
        uint64_t after = 0;
        s->refused += codes[i] != SMEM_OK;
        if (codes[i] != SMEM_OK && !is_absence(codes[i])) {
            fail("element of a batch", codes[i]);
        }
        if (codes[i] != SMEM_OK || read_life(s, owner[i], &after) != SMEM_OK) {
            continue;
        }
        bool same = before[i] == after && after == stripe->life;
        uint64_t wrong = wrong_words(s, dst[i], stripe, !same);
        if (wrong) {
            report_wrong(s, owner[i], DRAM, wrong);
        }
    }
}

/* From one peer's slot to another's: a copy of our stripe into our other stripe there. */
static void forward(struct soak *s)
{
    uint32_t from = (uint32_t)draw(s, s->world), to = (uint32_t)draw(s, s->world);
    const struct stripe stripe = s->stripes[from][DRAM];
    uint64_t lives[4] = {0};
    char *there = slot(s, to, false) + RANKS_MAX * STRIPE + (uint64_t)s->self * STRIPE / 2;
    uint64_t size = stripe.size < STRIPE / 2 ? stripe.size : STRIPE / 2;
    if (stripe.life == 0 || from == to || read_life(s, from, &lives[0]) != SMEM_OK ||
        read_life(s, to, &lives[1]) != SMEM_OK ||
        copy(s, there, stripe_at(s, from, DRAM), size, 0) != SMEM_OK) {
        return;
    }
    memset(s->buffer, 0xa5, size);
    if (copy(s, s->buffer, there, size, 0) != SMEM_OK || read_life(s, from, &lives[2]) != SMEM_OK ||
        read_life(s, to, &lives[3]) != SMEM_OK) {
        return;
    }
    struct stripe part = stripe;
    part.size = size;
    bool same = lives[0] == lives[2] && lives[0] == stripe.life && lives[1] == lives[3];
    uint64_t wrong = wrong_words(s, s->buffer, &part, !same);
    if (wrong) {
        report_wrong(s, to, DRAM, wrong);
    }
}

/* ---- membership ----------------------------------------------------------------------------- */

static void create(struct soak *s)
{
    smem_bm_create_option_t option = {.maxDramSize = TOP,
                                      .maxHbmSize = s->has_device ? HBM : 0,
                                      .localDRAMSize = START,
                                      .localHBMSize = s->has_device ? HBM : 0,
                                      .dataOpType = SMEMB_DATA_OP_SDMA,
                                      .dramShmFd = -1};
    s->pool = smem_bm_create2(0, &option);
    if (s->pool == NULL) {
        fail("create", smem_get_last_err_code());
    }
    s->given = START;
}

static void join(struct soak *s)
{
    int rc = smem_bm_join(s->pool, 0);
    if (rc != SMEM_OK) {
        fail("join", rc);
    }
    s->life = draw(s, UINT64_MAX) | 1;
    s->joins++;
    rc = copy(s, slot(s, s->self, false) + LIFE_AT, &s->life, sizeof(s->life), 0);
    if (rc != SMEM_OK) {
        fail("copy to itself", rc);
    }
}

static void leave(struct soak *s)
{
    int rc = smem_bm_leave(s->pool, 0);
    if (rc != SMEM_OK) {
        fail("leave", rc);
    }
}

static void extend(struct soak *s)
{
    int rc = smem_bm_extend_local_mem(s->pool, SMEM_MEM_TYPE_HOST, STEP);
    bool beyond = s->given + STEP > TOP;
    if ((rc == SMEM_OK) == beyond) {
        fail("extend", rc);
    }
    s->given += beyond ? 0 : STEP;
    s->extends += !beyond;
}

static void start(struct soak *s)
{
    const char *url = getenv("MF_CONFIG_STORE_URL");
    smem_bm_config_t config;
    (void)smem_bm_config_init(&config);
    config.startConfigStoreServer = false;
    config.autoRanking = false;
    config.rankId = s->self;
    config.initTimeout = 60;
    config.controlOperationTimeout = 60;
    int rc = smem_bm_init(url, s->world, (uint16_t)(s->self % 8), &config);
    if (rc != SMEM_OK) {
        fail("init", rc);
    }
    create(s);
    join(s);
}

static void stop(struct soak *s)
{
    leave(s);
    smem_bm_destroy(s->pool);
    smem_bm_uninit(0);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void act(struct soak *s)
{
    uint64_t dice = draw(s, 1000);
    uint32_t owner = (uint32_t)draw(s, s->world);
    if (dice < 400) {
        put(s, owner, choose_area(s, owner));
    } else if (dice < 750) {
        get(s, owner, choose_area(s, owner));
    } else if (dice < 900) {
        get_batch(s);
    } else if (dice < 980) {
        forward(s);
    } else if (dice < 990) {
        extend(s);
    } else if (dice < 996) {
        leave(s);
        join(s);
    } else if (dice < 999) {
        smem_bm_destroy(s->pool);
        create(s);
        join(s);
    } else {
        stop(s);
        start(s);
    }
}

static uint32_t entries(const char *path)
{
    uint32_t count = 0;
    DIR *dir = opendir(path);
    while (dir != NULL && readdir(dir) != NULL) {
        count++;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

static uint32_t lines(const char *path)
{
    uint32_t count = 0;
    FILE *file = fopen(path, "r");
    for (int c = file != NULL ? getc(file) : EOF; c != EOF; c = getc(file)) {
        count += c == '\n';
    }
    if (file != NULL) {
        fclose(file);
    }
    return count;
}

/* Anonymous memory of this process, KiB. */
static uint64_t anonymous(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib;
}

static void tell(const struct soak *s)
{
    printf("STAT fds=%u maps=%u anon=%" PRIu64 " threads=%u copies=%" PRIu64 " refused=%" PRIu64
           " wrong=%" PRIu64 " joins=%" PRIu64 " extends=%" PRIu64 "\n",
           entries("/proc/self/fd"), lines("/proc/self/maps"), anonymous(),
           entries("/proc/self/task"), s->copies, s->refused, s->wrong, s->joins, s->extends);
    fflush(stdout);
}

static uint32_t number_in(const char *name)
{
    const char *text = getenv(name);
    if (text == NULL) {
        fprintf(stderr, "soak_rank: %s is not set: start it with mfcli run\n", name);
        exit(2);
    }
    return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    static struct soak s;
    const char *device = getenv("MF_DEVICE");
    if (argc != 3) {
        fprintf(stderr, "usage: soak_rank SECONDS SEED\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = on_term};
    (void)sigaction(SIGTERM, &action, NULL);
    s.world = number_in("MF_WORLD_SIZE");
    s.self = number_in("MF_RANK");
    s.random = strtoull(argv[2], NULL, 10) * 1000003 + s.self;
    s.has_device = device != NULL && strcmp(device, "sim") == 0;
    s.buffer = calloc(BATCH, SEAM);
    if (s.buffer == NULL || s.world > RANKS_MAX || s.self >= s.world) {
        fprintf(stderr, "soak_rank: a world of at most %u ranks\n", RANKS_MAX);
        return 2;
    }
    uint64_t until = now_ms() + strtoull(argv[1], NULL, 10) * 1000, next = 0;
    start(&s);
    while (!told_to_stop && now_ms() < until) {
        act(&s);
        struct timespec pause = {0, (long)draw(&s, 2000000)};
        nanosleep(&pause, NULL);
        if (now_ms() >= next) {
            tell(&s);
            next = now_ms() + 1000;
        }
    }
    tell(&s);
    stop(&s);
    free(s.buffer);
    return s.wrong ? 1 : 0;
}
