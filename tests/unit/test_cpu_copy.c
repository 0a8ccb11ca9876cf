// SPDX-License-Identifier: Apache-2.0
// Every copy kernel at every size, alignment and border; the choice with a clock that the test
// holds; the threads that share a copy.
#include "base/env.h"
#include "config/config.h"
#include "xcopy/cpu_copy.h"
#include "xcopy/crew.h"
#include "xcopy/kernels.h"
#include "xcopy/measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "mf_test.h"
#include "mf_torture.h"

#define GUARD       64u
#define AREA        (96u << 10)
#define RANDOM_RUNS 10000

struct fixture {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    uint8_t *src, *dst; /* AREA bytes, and a guard on either side of the copied range */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->log = (struct mf_log)MF_LOG_INIT;
    mf_env_init_real(&f->env, &f->log);
    mf_config_defaults(&f->config);
    f->src = malloc(AREA);
    f->dst = malloc(AREA);
    for (uint32_t i = 0; i < AREA; i++) {
        f->src[i] = (uint8_t)(i * 131 + (i >> 8) * 17 + 1);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->src);
    free(f->dst);
    free(f);
    return 0;
}

/* One copy between guard bytes. */
static void check_copy(struct fixture *f, const struct mf_copy_kernel *kernel, size_t size,
                       size_t src_at, size_t dst_at)
{
    uint8_t *dst = f->dst + GUARD + dst_at;
    const uint8_t *src = f->src + src_at;
    memset(dst - GUARD, 0xee, size + 2 * GUARD);
    kernel->copy(dst, src, size);
    bool same = memcmp(dst, src, size) == 0;
    for (size_t i = 0; i < GUARD; i++) {
        same = same && dst[-1 - (ptrdiff_t)i] == 0xee && dst[size + i] == 0xee;
    }
    if (!same) {
        fail_msg("kernel %s: %zu bytes from alignment %zu to %zu", kernel->name, size,
                 (uintptr_t)src % 64, (uintptr_t)dst % 64);
    }
}

static void test_kernels__all_small_sizes(void **state)
{
    struct fixture *f = *state;
    for (uint32_t k = 0; mf_copy_kernels[k]; k++) {
        if (!mf_copy_kernels[k]->supported()) {
            print_message("kernel %s does not run on this processor\n", mf_copy_kernels[k]->name);
            continue;
        }
        for (size_t size = 0; size <= 4096; size++) {
            check_copy(f, mf_copy_kernels[k], size, size % 61, size % 67);
        }
    }
}

/* Around each size at which a kernel changes its way: vectors, steps, pages, blocks of four pages.
 */
static void test_kernels__borders_and_alignments(void **state)
{
    struct fixture *f = *state;
    static const size_t borders[] = {32,   64,    128,   256,   512,          4096,
                                     8192, 16384, 32768, 65536, 65536 + 16384};
    for (uint32_t k = 0; mf_copy_kernels[k]; k++) {
        for (size_t b = 0; mf_copy_kernels[k]->supported() && b < 11; b++) {
            for (size_t size = borders[b] - 2; size <= borders[b] + 2; size++) {
                for (size_t align = 0; align < 64; align += 7) {
                    check_copy(f, mf_copy_kernels[k], size, 64 - align, align);
                    check_copy(f, mf_copy_kernels[k], size + 64 - align, align, align);
                }
            }
        }
    }
}

static void test_kernels__random(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 88172645463325252ull;
    for (int run = 0; run < RANDOM_RUNS; run++) {
        for (uint32_t k = 0; mf_copy_kernels[k]; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            size_t size = seed >> 20 & ((1u << (seed & 15)) - 1);
            if (mf_copy_kernels[k]->supported()) {
                check_copy(f, mf_copy_kernels[k], size, seed >> 8 & 4095, seed >> 40 & 4095);
            }
        }
    }
}

/* ---- the copier ---- */

static struct mf_cpu_copy *make(struct fixture *f, const char *kernel, const char *threads)
{
    struct mf_cpu_copy *copier;
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_COPY_KERNEL, kernel));
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_COPY_THREADS, threads));
    mf_assert_ok(mf_cpu_copy_create(&f->env, &f->config, &copier));
    return copier;
}

/* Bytes that tell their place. */
static void fill(uint64_t *v, size_t bytes, uint64_t salt)
{
    for (size_t i = 0; i < bytes / 8; i++) {
        v[i] = i * 0x9e3779b97f4a7c15ull + salt;
    }
}

static void copy_and_compare(struct mf_cpu_copy *copier, size_t size)
{
    uint64_t *src = malloc(size + 8);
    uint64_t *dst = malloc(size + 8);
    fill(src, size + 8, size);
    for (int bulk = 0; bulk < 2; bulk++) {
        memset(dst, 0, size + 8);
        (bulk ? mf_cpu_copy_bulk : mf_cpu_copy)(copier, dst, src, size);
        assert_memory_equal(dst, src, size);
        assert_memory_equal((uint8_t *)dst + size, "\0\0\0\0\0\0\0\0", 8);
    }
    free(src);
    free(dst);
}

static void test_cpu_copy__all_classes_of_sizes(void **state)
{
    struct fixture *f = *state;
    static const char *const threads[] = {"0", "1", "3"};
    static const size_t sizes[] = {0,
                                   1,
                                   2,
                                   3,
                                   4,
                                   7,
                                   8,
                                   9,
                                   1023,
                                   1024,
                                   262143,
                                   262144,
                                   2097151,
                                   2097152,
                                   (2u << 20) + 77,
                                   5u << 20,
                                   (9u << 20) + 12345};
    for (size_t t = 0; t < 3; t++) {
        struct mf_cpu_copy *copier = make(f, "auto", threads[t]);
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            copy_and_compare(copier, sizes[s]);
        }
        mf_cpu_copy_destroy(copier);
    }
}

static void test_cpu_copy__kernel_by_name(void **state)
{
    struct fixture *f = *state;
    for (uint32_t k = 0; mf_copy_kernels[k]; k++) {
        if (mf_copy_kernels[k]->supported()) {
            struct mf_cpu_copy *copier = make(f, mf_copy_kernels[k]->name, "1");
            char text[512];
            copy_and_compare(copier, 3u << 20);
            mf_cpu_copy_explain(copier, text, sizeof(text));
            assert_non_null(strstr(text, mf_copy_kernels[k]->name));
            assert_non_null(strstr(text, "option copy.kernel"));
            mf_cpu_copy_destroy(copier);
        }
    }
}

static void test_cpu_copy_create__refuses_a_kernel_that_is_none(void **state)
{
    struct fixture *f = *state;
    struct mf_cpu_copy *copier;
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_COPY_KERNEL, "avx9000"));
    mf_assert_rc(mf_cpu_copy_create(&f->env, &f->config, &copier), SMEM_INVALID_PARAM);
    assert_null(copier);
    mf_assert_err_has(
        "\"avx9000\" is no kernel that runs on this processor; there are auto, memcpy");
}

/* An aligned word lands by one store: a reader that spins on it never sees half of one. */
struct word_reader {
    _Alignas(64) _Atomic uint64_t word;
    _Atomic bool stop;
    _Atomic uint32_t torn;
};

static void *read_words(void *arg)
{
    struct word_reader *r = arg;
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        uint64_t word = atomic_load_explicit(&r->word, memory_order_relaxed);
        if ((uint32_t)word != (uint32_t)(word >> 32)) {
            atomic_fetch_add(&r->torn, 1);
        }
    }
    return NULL;
}

static void test_cpu_copy__word_is_one_store(void **state)
{
    struct fixture *f = *state;
    struct mf_cpu_copy *copier = make(f, "auto", "1");
    struct word_reader *r = aligned_alloc(64, sizeof(*r));
    memset(r, 0, sizeof(*r));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_words, r), 0);
    for (uint32_t i = 1; i < 200000; i++) {
        uint64_t word = (uint64_t)i << 32 | i;
        mf_cpu_copy(copier, &r->word, &word, sizeof(word));
    }
    atomic_store(&r->stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(r->torn, 0);
    mf_cpu_copy_destroy(copier);
    free(r);
}

/* ---- the measurement ---- */

/* A clock that gives each kernel the time that the test has in mind: a sample asks twice, and the
 * nth sample of a round is the nth kernel's. */
struct scripted {
    uint64_t now;
    uint32_t asked;
    uint32_t kernels;
    uint32_t fast; /* this one */
};

static uint64_t scripted_now(void *arg)
{
    struct scripted *s = arg;
    s->now += 1;
    /* The questions of one round: the budget, then begin and end of each kernel's sample. */
    uint32_t question = s->asked++ % (2 * s->kernels + 1);
    bool ends = question > 0 && question % 2 == 0;
    if (ends) {
        s->now += question / 2 - 1 == s->fast ? 10000 : 50000;
    }
    return s->now;
}

static void test_cpu_copy__takes_the_fastest_kernel(void **state)
{
    struct fixture *f = *state;
    struct scripted script = {.now = 1};
    const struct mf_env_ops ops = {.now_ns = scripted_now};
    const struct mf_copy_kernel *v[32];
    for (uint32_t k = 0; mf_copy_kernels[k]; k++) {
        if (mf_copy_kernels[k]->supported()) {
            v[script.kernels++] = mf_copy_kernels[k];
        }
    }
    struct mf_env real = f->env;
    f->env = (struct mf_env){.ops = &ops, .arg = &script, .log = &f->log};
    for (script.fast = 0; script.fast < script.kernels; script.fast++) {
        struct mf_cpu_copy *copier = make(f, "auto", "1");
        char text[512];
        char words[64];
        script.asked = 2 * script.kernels; /* the first question sets the budget */
        mf_cpu_copy_explain(copier, text, sizeof(text));
        snprintf(words, sizeof(words), "256 KiB to 2 MiB: %s (", v[script.fast]->name);
        if (!strstr(text, words)) {
            fail_msg("\"%s\" has no \"%s\"", text, words);
        }
        /* Parts of a bulk: by the same one, or by its sibling that fetches nothing ahead. */
        snprintf(words, sizeof(words), "parts of batches: %s", v[script.fast]->name);
        char *ahead = strstr(words, "-pf");
        if (ahead) {
            *ahead = '\0';
        }
        snprintf(words + strlen(words), sizeof(words) - strlen(words), ";");
        if (!strstr(text, words)) {
            fail_msg("\"%s\" has no \"%s\"", text, words);
        }
        mf_cpu_copy_destroy(copier);
    }
    f->env = real;
}

static uint64_t frozen_now(void *arg)
{
    (void)arg;
    return 1;
}

static void test_cpu_copy__clock_that_stands_still(void **state)
{
    struct fixture *f = *state;
    const struct mf_env_ops ops = {.now_ns = frozen_now};
    struct mf_env real = f->env;
    f->env = (struct mf_env){.ops = &ops, .log = &f->log};
    struct mf_cpu_copy *copier = make(f, "auto", "1");
    char text[512];
    mf_cpu_copy_explain(copier, text, sizeof(text));
    assert_non_null(strstr(text, "from 2 MiB: memcpy"));
    copy_and_compare(copier, 3u << 20);
    mf_cpu_copy_destroy(copier);
    f->env = real;
}

static void test_bench_best__least_sample(void **state)
{
    (void)state;
    uint64_t samples[] = {9, 5, 7};
    assert_int_equal(mf_bench_best(samples, 1), 9);
    assert_int_equal(mf_bench_best(samples, 3), 5);
}

/* ---- threads ---- */

#define CALLERS 3
#define SHARED  (3u << 20)

struct caller {
    struct mf_cpu_copy *copier;
    uint64_t *src, *dst;
    bool good;
};

static void *copy_often(void *arg)
{
    struct caller *c = arg;
    c->good = true;
    for (uint64_t i = 0; i < 12; i++) {
        c->src[0] = i;
        c->src[SHARED / 8 - 1] = ~i;
        mf_cpu_copy(c->copier, c->dst, c->src, SHARED);
        c->good = c->good && memcmp(c->src, c->dst, SHARED) == 0;
    }
    return NULL;
}

/* First copies of several threads at once: one measures, the others do not wait for it. */
static void run_callers(struct fixture *f, const char *kernel, const char *threads)
{
    struct mf_cpu_copy *copier = make(f, kernel, threads);
    struct caller callers[CALLERS];
    pthread_t ids[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){copier, malloc(SHARED), malloc(SHARED), false};
        fill(callers[i].src, SHARED, (uint64_t)i);
        assert_int_equal(pthread_create(&ids[i], NULL, copy_often, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(ids[i], NULL);
        assert_true(callers[i].good);
        free(callers[i].src);
        free(callers[i].dst);
    }
    mf_cpu_copy_destroy(copier);
}

static void test_cpu_copy__many_threads_at_once(void **state)
{
    run_callers(*state, "auto", "0");
    run_callers(*state, "auto", "1");
    run_callers(*state, "memcpy", "4");
}

static void count_chunk(void *dst, const void *src, size_t size)
{
    memcpy(dst, src, size);
}

static void test_crew_copy__every_byte_once(void **state)
{
    struct fixture *f = *state;
    struct mf_crew *crew;
    mf_assert_ok(mf_crew_create(&f->env, &crew));
    mf_assert_ok(mf_crew_start(crew, 3));
    static const size_t sizes[] = {1, 4096, 131072, 131073, 1u << 20, (7u << 20) + 4095};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (uint32_t helpers = 0; helpers <= 3; helpers++) {
            uint64_t *src = malloc(sizes[s] + 8);
            uint64_t *dst = calloc(1, sizes[s] + 8);
            fill(src, sizes[s] + 8, helpers);
            if (!mf_crew_copy(crew, helpers, count_chunk, dst, src, sizes[s])) {
                memcpy(dst, src, sizes[s]); /* the crew was late before, and says so */
            }
            assert_memory_equal(src, dst, sizes[s]);
            free(src);
            free(dst);
        }
    }
    mf_crew_destroy(crew);
}

/* Helpers that sleep do not keep the caller waiting, nor does a crew without any. */
static void test_crew_copy__without_helpers(void **state)
{
    struct fixture *f = *state;
    struct mf_crew *crew;
    uint8_t a[5000];
    uint8_t b[5000] = {0};
    memset(a, 7, sizeof(a));
    mf_assert_ok(mf_crew_create(&f->env, &crew));
    assert_true(mf_crew_copy(crew, 5, count_chunk, b, a, sizeof(a)));
    assert_memory_equal(a, b, sizeof(a));
    mf_crew_destroy(crew);
}

static int make_and_copy(void *arg)
{
    struct fixture *f = arg;
    struct mf_cpu_copy *copier;
    int rc = mf_cpu_copy_create(&f->env, &f->config, &copier);
    if (rc == SMEM_OK) {
        mf_cpu_copy(copier, f->dst, f->src, AREA);
        mf_cpu_copy_destroy(copier);
    }
    return rc;
}

static void test_cpu_copy__torture(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mf_torture(make_and_copy, f), 2);
    mf_cpu_copy_destroy(NULL);
    mf_crew_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kernels__all_small_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kernels__borders_and_alignments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kernels__random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy__all_classes_of_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy__kernel_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy_create__refuses_a_kernel_that_is_none, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy__word_is_one_store, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy__takes_the_fastest_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy__clock_that_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bench_best__least_sample, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy__many_threads_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crew_copy__every_byte_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crew_copy__without_helpers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_copy__torture, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
