// SPDX-License-Identifier: Apache-2.0
// Measures what stands between a call and its copy, below the API: the CPU copy kernels against
// memcpy (alternating, walking through more memory than any cache holds), the planner, and the call
// for one element. Prints one JSON object a line.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "config/config.h"
#include "xcopy/plan.h"

#define PAIRS_MAX 101
#define BASE      0x280000000000ull
#define SLOT      (1ull << 30)
#define PEERS_MAX 8u

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- kernels ---- */

struct walk {
    uint8_t *src, *dst;
    size_t bytes; /* of each */
    size_t at;
};

typedef void (*copy_fn)(void *arg, void *dst, const void *src, size_t size);

/* Nanoseconds for `count` copies at walking addresses. */
static uint64_t run_copies(struct walk *walk, copy_fn copy, void *arg, size_t size, uint32_t count)
{
    uint64_t start = now_ns();
    for (uint32_t i = 0; i < count; i++) {
        if (walk->at + size > walk->bytes) {
            walk->at = 0;
        }
        copy(arg, walk->dst + walk->at, walk->src + walk->at, size);
        walk->at += size;
    }
    return now_ns() - start;
}

static void copy_plain(void *arg, void *dst, const void *src, size_t size)
{
    (void)arg;
    memcpy(dst, src, size);
}

static void copy_kernel(void *arg, void *dst, const void *src, size_t size)
{
    ((const struct mf_copy_kernel *)arg)->copy(dst, src, size);
}

/* One line: the rate of memcpy, and the quartiles of the ratio in each pair. */
static void compare(struct walk *walk, const char *name, copy_fn copy, void *arg, size_t size,
                    uint32_t pairs)
{
    double ratio[PAIRS_MAX];
    double base[PAIRS_MAX];
    uint32_t count = size < (4u << 20) ? (uint32_t)((4u << 20) / size) : 1;
    run_copies(walk, copy, arg, size, count);
    for (uint32_t i = 0; i < pairs; i++) {
        uint64_t theirs, ours;
        if (i % 2) {
            theirs = run_copies(walk, copy_plain, NULL, size, count);
            ours = run_copies(walk, copy, arg, size, count);
        } else {
            ours = run_copies(walk, copy, arg, size, count);
            theirs = run_copies(walk, copy_plain, NULL, size, count);
        }
        ratio[i] = (double)theirs / (double)ours;
        base[i] = (double)size * count / (double)theirs;
    }
    qsort(ratio, pairs, sizeof(*ratio), by_value);
    qsort(base, pairs, sizeof(*base), by_value);
    printf("{\"bench\":\"copy\",\"kernel\":\"%s\",\"size\":%zu,\"memcpy_gb_per_s\":%.2f,"
           "\"ratio\":%.3f,\"q1\":%.3f,\"q3\":%.3f,\"pairs\":%" PRIu32 "}\n",
           name, size, base[pairs / 2], ratio[pairs / 2], ratio[pairs / 4], ratio[pairs * 3 / 4],
           pairs);
    fflush(stdout);
}

static void *map_bytes(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    memset(p, 1, bytes);
    return p;
}

static void bench_copy(const struct mf_env *env, const char *threads, bool all, size_t mib)
{
    static const size_t sizes[] = {8,        4096,      64u << 10, 256u << 10, 1u << 20,
                                   4u << 20, 16u << 20, 64u << 20, 128u << 20, 256u << 20};
    struct walk walk = {.bytes = mib << 20};
    walk.src = map_bytes(walk.bytes);
    walk.dst = map_bytes(walk.bytes);
    struct mf_config config;
    struct mf_cpu_copy *copier;
    mf_config_defaults(&config);
    if (mf_config_set(&config, MF_OPT_COPY_THREADS, threads) ||
        mf_cpu_copy_create(env, &config, &copier)) {
        fprintf(stderr, "%s\n", mf_err_msg());
        exit(1);
    }
    char text[512];
    uint64_t start = now_ns();
    mf_cpu_copy_explain(copier, text, sizeof(text));
    printf("{\"bench\":\"choice\",\"ms\":%.2f,\"text\":\"%s\"}\n", (double)(now_ns() - start) / 1e6,
           text);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        uint32_t pairs = sizes[s] > (16u << 20) ? 15 : 41;
        if (sizes[s] > walk.bytes) {
            continue;
        }
        compare(&walk, "chosen", mf_cpu_copy, copier, sizes[s], pairs);
        compare(&walk, "chosen-bulk", mf_cpu_copy_bulk, copier, sizes[s], pairs);
        for (uint32_t k = 0; all && sizes[s] >= 4096 && mf_copy_kernels[k]; k++) {
            if (mf_copy_kernels[k]->supported()) {
                compare(&walk, mf_copy_kernels[k]->name, copy_kernel,
                        (void *)(uintptr_t)mf_copy_kernels[k], sizes[s], pairs);
            }
        }
    }
    mf_cpu_copy_destroy(copier);
    munmap(walk.src, walk.bytes);
    munmap(walk.dst, walk.bytes);
}

/* ---- the planner, and one element ---- */

static int post_nothing(void *lane, struct mf_xfer *v, uint32_t count)
{
    (void)lane;
    for (uint32_t i = 0; i < count; i++) {
        v[i].status = SMEM_OK;
    }
    return SMEM_OK;
}

static int wait_nothing(void *lane, uint64_t deadline_ns)
{
    (void)lane;
    (void)deadline_ns;
    return SMEM_OK;
}

static int lane_open(void *tp, void **lane)
{
    *lane = tp;
    return SMEM_OK;
}

static void lane_close(void *tp, void *lane)
{
    (void)tp;
    (void)lane;
}

static const struct mf_transport_ops nothing_ops = {
    .name = "nothing",
    .caps = MF_CAP_HOST | MF_CAP_DEVICE | MF_CAP_SAME_HOST | MF_CAP_THIRD_PARTY,
    .lane_open = lane_open,
    .lane_close = lane_close,
    .post = post_nothing,
    .wait = wait_nothing,
};

struct pool {
    struct mf_gva_table table;
    struct mf_segment segments[PEERS_MAX + 1];
    struct mf_xcopy_space space;
    struct mf_lanes lanes;
};

static void pool_init(struct pool *pool, const struct mf_env *env)
{
    struct mf_layout layout;
    if (mf_layout_init(&layout, (mf_gva){BASE}, 0, SLOT, PEERS_MAX + 1) ||
        mf_gva_table_init(&pool->table, &layout)) {
        exit(1);
    }
    for (uint32_t rank = 0; rank <= PEERS_MAX; rank++) {
        pool->segments[rank] = (struct mf_segment){
            .desc = {.gva = mf_layout_slot(&layout, MF_KIND_DRAM, rank).v,
                     .size = SLOT,
                     .owner = rank,
                     .kind = MF_KIND_DRAM},
            .host = 1,
            .ops = &nothing_ops,
            .tp = pool,
        };
        if (mf_gva_table_add(&pool->table, &pool->segments[rank])) {
            exit(1);
        }
    }
    pool->space = (struct mf_xcopy_space){
        .env = env, .table = &pool->table, .self = PEERS_MAX, .copy_wait_ms = 1000};
    mf_lanes_init(&pool->lanes);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

enum shape { ONE_PEER, ROUND_ROBIN, RANDOM_ONE, RANDOM_EIGHT, RANDOM_SMALL, SHAPES };
static const char *const shape_names[SHAPES] = {"1 peer", "8 peers in turn", "1 peer, random",
                                                "8 peers, random", "8 peers, random, 1 KiB"};

static void bench_plan(struct pool *pool, uint32_t count, enum shape shape)
{
    void **src = malloc(count * sizeof(*src));
    void **dst = malloc(count * sizeof(*dst));
    uint64_t *size = malloc(count * sizeof(*size));
    double ns[PAIRS_MAX];
    uint32_t transfers = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset = i * 4096ull % SLOT;
        uint32_t peer = shape == ROUND_ROBIN ? i % PEERS_MAX : 0;
        if (shape >= RANDOM_ONE) {
            offset = mix(i + 1) % (SLOT / 4096) * 4096;
            peer = shape >= RANDOM_EIGHT ? (uint32_t)(mix(i + 77) % PEERS_MAX) : 0;
        }
        src[i] = (void *)(uintptr_t)(0x100000000ull + i * 8192ull); /* never neighbours */
        dst[i] = (void *)(uintptr_t)(BASE + peer * SLOT + offset);
        size[i] = shape == RANDOM_SMALL ? 1024 : 4096;
    }
    struct mf_batch batch = {.src = src, .dst = dst, .size = size, .count = count};
    uint32_t repeat = count < 10000 ? 10000 / count : 1;
    for (int i = -2; i < 15; i++) {
        uint64_t start = now_ns();
        for (uint32_t r = 0; r < repeat; r++) {
            if (mf_xcopy_plan(&pool->space, &pool->lanes, &batch, SMEMB_COPY_H2G, &transfers)) {
                fprintf(stderr, "%s\n", mf_err_msg());
                exit(1);
            }
        }
        if (i >= 0) {
            ns[i] = (double)(now_ns() - start) / repeat / count;
        }
    }
    qsort(ns, 15, sizeof(*ns), by_value);
    printf("{\"bench\":\"plan\",\"shape\":\"%s\",\"elements\":%" PRIu32 ",\"transfers\":%" PRIu32
           ",\"ns_per_element\":%.2f,\"best\":%.2f,\"q1\":%.2f,\"q3\":%.2f}\n",
           shape_names[shape], count, transfers, ns[7], ns[0], ns[3], ns[11]);
    free(src);
    free(dst);
    free(size);
}

static void bench_one(struct pool *pool)
{
    double ns[15];
    const uint32_t count = 200000;
    uint64_t word = 1;
    for (int i = -2; i < 15; i++) {
        uint64_t start = now_ns();
        for (uint32_t n = 0; n < count; n++) {
            void *dst = (void *)(uintptr_t)(BASE + (n & 3) * SLOT + n * 8ull % SLOT);
            if (mf_xcopy_one(&pool->space, &pool->lanes, &word, dst, 8, SMEMB_COPY_H2G, 0)) {
                exit(1);
            }
        }
        if (i >= 0) {
            ns[i] = (double)(now_ns() - start) / count;
        }
    }
    qsort(ns, 15, sizeof(*ns), by_value);
    printf("{\"bench\":\"one\",\"ns\":%.2f,\"best\":%.2f,\"q1\":%.2f,\"q3\":%.2f}\n", ns[7], ns[0],
           ns[3], ns[11]);
}

static int usage(void)
{
    fprintf(stderr, "usage: mf_micro_copy plan\n"
                    "       mf_micro_copy copy [THREADS [MIB]]     what the library chooses\n"
                    "       mf_micro_copy kernels [THREADS [MIB]]  and each kernel\n"
                    "THREADS as the option copy.threads, 1; MIB of source and of target, 1024\n");
    return 2;
}

int main(int argc, char **argv)
{
    static struct pool pool;
    struct mf_log log = MF_LOG_INIT;
    struct mf_env env;
    mf_env_init_real(&env, &log);
    if (argc < 2) {
        return usage();
    }
    if (strcmp(argv[1], "plan") == 0) {
        pool_init(&pool, &env);
        for (enum shape shape = 0; shape < SHAPES; shape++) {
            bench_plan(&pool, 122, shape);
            bench_plan(&pool, 100000, shape);
        }
        bench_one(&pool);
        mf_lanes_fini(&pool.lanes);
        mf_gva_table_fini(&pool.table);
        return 0;
    }
    if (strcmp(argv[1], "copy") != 0 && strcmp(argv[1], "kernels") != 0) {
        return usage();
    }
    bench_copy(&env, argc > 2 ? argv[2] : "1", strcmp(argv[1], "kernels") == 0,
               argc > 3 ? strtoul(argv[3], NULL, 0) : 1024);
    return 0;
}
