// SPDX-License-Identifier: Apache-2.0
// Which kernel copies what: memcpy below MF_COPY_SMALL, above it the fastest of a short
// measurement, one for each class of sizes, with helper threads where they were measured to be
// worth it. The measurement waits for the first copy that wants its result; whoever copies
// meanwhile uses memcpy.
#include "xcopy/cpu_copy.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/thread.h"
#include "xcopy/crew.h"
#include "xcopy/kernels.h"
#include "xcopy/measure.h"

#define KERNELS_MAX 16u
/* From the start of the measurement: no new round of kernels, and no new number of threads, after
 * this. */
#define KERNELS_NS (4500 * 1000ull)
#define THREADS_NS (7000 * 1000ull)
#define WORTH_NUM  97u /* another kernel than memcpy must need less than 97 % of its time, */
#define CREW_NUM   85u /* and one more doubling of the threads less than 85 % */

/* The classes of sizes that are measured, each at one size: from MF_COPY_SMALL, from MF_COPY_LARGE.
 */
enum { CLASS_SMALL, CLASS_LARGE, CLASSES };
static const size_t class_sample[CLASSES] = {MF_COPY_SMALL, MF_BENCH_BYTES / 4};

enum { UNKNOWN, MEASURING, KNOWN };

struct choice {
    const struct mf_copy_kernel *kernel;
    uint64_t ns;        /* of the sample; 0: not measured */
    uint64_t memcpy_ns; /* the same copy by memcpy */
};

struct mf_cpu_copy {
    const struct mf_env *env;
    struct mf_crew *crew; /* NULL: copies are never shared */
    _Atomic int state;    /* KNOWN: what follows does not change any more */
    bool kernel_given;    /* by the option copy.kernel */
    uint32_t threads;     /* that share a large copy; 0 while not measured */
    struct choice choice[CLASSES];
    const struct mf_copy_kernel *bulk; /* for parts of a bulk */
    uint64_t alone_ns;                 /* MF_BENCH_BYTES by one thread; 0: not measured */
    uint32_t tried_threads;            /* the largest number that was measured */
    uint64_t tried_ns;
};

static const struct mf_copy_kernel *kernel_find(const char *name)
{
    for (uint32_t i = 0; mf_copy_kernels[i]; i++) {
        if (strcmp(mf_copy_kernels[i]->name, name) == 0 && mf_copy_kernels[i]->supported()) {
            return mf_copy_kernels[i];
        }
    }
    return NULL;
}

static int err_no_kernel(const char *name)
{
    char list[256] = "auto";
    size_t len = strlen(list);
    for (uint32_t i = 0; mf_copy_kernels[i]; i++) {
        if (mf_copy_kernels[i]->supported()) {
            int n = snprintf(list + len, sizeof(list) - len, ", %s", mf_copy_kernels[i]->name);
            len += n > 0 && (size_t)n < sizeof(list) - len ? (size_t)n : 0;
        }
    }
    return mf_err(SMEM_INVALID_PARAM,
                  "option copy.kernel (MF_COPY_KERNEL): \"%s\" is no kernel that runs on this "
                  "processor; there are %s",
                  name, list);
}

int mf_cpu_copy_create(const struct mf_env *env, const struct mf_config *config,
                       struct mf_cpu_copy **out)
{
    *out = NULL;
    const char *name = mf_config_str(config, MF_OPT_COPY_KERNEL);
    const struct mf_copy_kernel *given = NULL;
    if (strcmp(name, "auto") != 0) {
        given = kernel_find(name);
        if (!given) {
            return err_no_kernel(name);
        }
    }
    struct mf_cpu_copy *copier = mf_calloc(1, sizeof(*copier), "copy kernels");
    if (!copier) {
        return SMEM_MALLOC_FAILED;
    }
    copier->env = env;
    copier->kernel_given = given != NULL;
    copier->threads = (uint32_t)mf_config_u64(config, MF_OPT_COPY_THREADS);
    for (int cls = 0; cls < CLASSES; cls++) {
        copier->choice[cls].kernel = given ? given : &mf_copy_kernel_memcpy;
    }
    int rc = copier->threads == 1 ? SMEM_OK : mf_crew_create(env, &copier->crew);
    if (rc) {
        mf_free(copier);
        return rc;
    }
    *out = copier;
    return SMEM_OK;
}

void mf_cpu_copy_destroy(struct mf_cpu_copy *copier)
{
    if (!copier) {
        return;
    }
    mf_crew_destroy(copier->crew);
    mf_free(copier);
}

/* ---- the measurement ---- */

static void sample_kernel(void *arg, void *dst, const void *src, size_t size)
{
    const struct mf_copy_kernel *kernel = arg;
    kernel->copy(dst, src, size);
}

static void measure_class(struct mf_cpu_copy *copier, const struct mf_bench_area *area, int cls,
                          uint64_t until_ns)
{
    const struct mf_copy_kernel *v[KERNELS_MAX];
    uint64_t ns[KERNELS_MAX][MF_BENCH_ROUNDS];
    uint32_t count = 0;
    for (uint32_t i = 0; mf_copy_kernels[i] && count < KERNELS_MAX; i++) {
        if (mf_copy_kernels[i]->supported()) {
            v[count++] = mf_copy_kernels[i];
        }
    }
    uint32_t rounds = 0;
    for (; rounds < MF_BENCH_ROUNDS; rounds++) {
        bool late = mf_now_ns(copier->env) >= until_ns;
        if (late && rounds > 0) {
            break;
        }
        for (uint32_t i = 0; i < count; i++) {
            ns[i][rounds] =
                mf_bench_sample(copier->env, area, rounds * count + i, class_sample[cls],
                                sample_kernel, (void *)(uintptr_t)v[i]);
        }
    }
    struct choice *choice = &copier->choice[cls];
    choice->memcpy_ns = mf_bench_best(ns[0], rounds);
    choice->ns = choice->memcpy_ns;
    choice->kernel = v[0];
    for (uint32_t i = 1; i < count; i++) {
        uint64_t best = mf_bench_best(ns[i], rounds);
        if (best < choice->ns && best * 100 < choice->memcpy_ns * WORTH_NUM) {
            choice->ns = best;
            choice->kernel = v[i];
        }
    }
}

struct shared_sample {
    struct mf_crew *crew;
    const struct mf_copy_kernel *kernel;
    uint32_t helpers;
};

static void sample_shared(void *arg, void *dst, const void *src, size_t size)
{
    const struct shared_sample *sample = arg;
    if (sample->helpers == 0 ||
        !mf_crew_copy(sample->crew, sample->helpers, sample->kernel->copy, dst, src, size)) {
        sample->kernel->copy(dst, src, size);
    }
}

static uint32_t processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    return (uint32_t)CPU_COUNT(&set);
}

/* Double the threads as long as that is worth it. */
static void measure_threads(struct mf_cpu_copy *copier, const struct mf_bench_area *area,
                            uint64_t until_ns)
{
    struct shared_sample sample = {copier->crew, copier->choice[CLASS_LARGE].kernel, 0};
    uint64_t ns[MF_BENCH_ROUNDS];
    uint32_t max = processors();
    max = max < MF_COPY_THREADS_MAX ? max : MF_COPY_THREADS_MAX;
    uint64_t best_ns = UINT64_MAX / 100;
    copier->threads = 1;
    for (uint32_t threads = 1; threads <= max && mf_now_ns(copier->env) < until_ns; threads *= 2) {
        sample.helpers = threads - 1;
        if (mf_crew_start(copier->crew, sample.helpers)) {
            return; /* no thread to be had: a reason to do without, not a failure */
        }
        for (uint32_t i = 0; i < MF_BENCH_ROUNDS; i++) {
            ns[i] = mf_bench_sample(copier->env, area, 0, MF_BENCH_BYTES, sample_shared, &sample);
        }
        copier->tried_threads = threads;
        copier->tried_ns = mf_bench_best(ns, MF_BENCH_ROUNDS);
        copier->alone_ns = threads == 1 ? copier->tried_ns : copier->alone_ns;
        if (copier->tried_ns * 100 >= best_ns * CREW_NUM) {
            return;
        }
        best_ns = copier->tried_ns;
        copier->threads = threads;
    }
}

/* Parts of a bulk lie apart: what a kernel fetches behind the end of one is in vain and in the way
 * of the next, so they go by the sibling that leaves fetching to the processor. */
static const struct mf_copy_kernel *bulk_kernel(const struct mf_cpu_copy *copier)
{
    const struct mf_copy_kernel *kernel = copier->choice[CLASS_SMALL].kernel;
    size_t length = strlen(kernel->name);
    char name[32];
    if (copier->kernel_given || length < 3 || strcmp(kernel->name + length - 3, "-pf") != 0) {
        return kernel;
    }
    snprintf(name, sizeof(name), "%.*s", (int)(length - 3), kernel->name);
    const struct mf_copy_kernel *sibling = kernel_find(name);
    return sibling ? sibling : kernel;
}

static void measure(struct mf_cpu_copy *copier)
{
    uint64_t start_ns = mf_now_ns(copier->env);
    struct mf_bench_area area;
    bool measurable = (!copier->kernel_given || copier->threads == 0) && mf_bench_open(&area);
    if (measurable && !copier->kernel_given) {
        measure_class(copier, &area, CLASS_SMALL, start_ns + KERNELS_NS);
        measure_class(copier, &area, CLASS_LARGE, start_ns + KERNELS_NS);
    }
    if (measurable && copier->threads == 0) {
        measure_threads(copier, &area, start_ns + THREADS_NS);
    }
    if (measurable) {
        mf_bench_close(&area);
    }
    if (copier->threads > 1 && mf_crew_start(copier->crew, copier->threads - 1) != SMEM_OK) {
        copier->threads = 1;
    }
    if (copier->threads <= 1) {
        copier->threads = 1;
        mf_crew_destroy(copier->crew);
        copier->crew = NULL;
    }
}

/* True when the choice is known. Measures when nobody has; does not wait for another thread that
 * does. */
static bool known(struct mf_cpu_copy *copier)
{
    int state = atomic_load_explicit(&copier->state, memory_order_acquire);
    if (state == KNOWN) {
        return true;
    }
    if (state == MEASURING || !atomic_compare_exchange_strong(&copier->state, &state, MEASURING)) {
        return false;
    }
    measure(copier);
    copier->bulk = bulk_kernel(copier);
    atomic_store_explicit(&copier->state, KNOWN, memory_order_release);
    return true;
}

/* ---- copies ---- */

static __attribute__((noinline)) void copy_large(struct mf_cpu_copy *copier, void *dst,
                                                 const void *src, size_t size)
{
    if (!known(copier)) {
        memcpy(dst, src, size);
        return;
    }
    if (size < MF_COPY_LARGE) {
        copier->choice[CLASS_SMALL].kernel->copy(dst, src, size);
        return;
    }
    const struct mf_copy_kernel *kernel = copier->choice[CLASS_LARGE].kernel;
    if (copier->threads <= 1 ||
        !mf_crew_copy(copier->crew, copier->threads - 1, kernel->copy, dst, src, size)) {
        kernel->copy(dst, src, size);
    }
}

/* An aligned element of a word's size lands by one store, whatever memcpy does. */
static inline bool copy_word(void *dst, const void *src, size_t size)
{
    if (((uintptr_t)dst & (size - 1)) != 0) {
        return false; /* not aligned, or size is 0 */
    }
    if (size == 8) {
        uint64_t word;
        memcpy(&word, src, sizeof(word));
        __atomic_store_n((uint64_t *)dst, word, __ATOMIC_RELAXED);
    } else if (size == 4) {
        uint32_t word;
        memcpy(&word, src, sizeof(word));
        __atomic_store_n((uint32_t *)dst, word, __ATOMIC_RELAXED);
    } else if (size == 2) {
        uint16_t word;
        memcpy(&word, src, sizeof(word));
        __atomic_store_n((uint16_t *)dst, word, __ATOMIC_RELAXED);
    } else if (size == 1) {
        __atomic_store_n((uint8_t *)dst, *(const uint8_t *)src, __ATOMIC_RELAXED);
    } else {
        return false;
    }
    return true;
}

void mf_cpu_copy(void *arg, void *dst, const void *src, size_t size)
{
    if (size >= MF_COPY_SMALL) {
        copy_large(arg, dst, src, size);
    } else if (size > 8 || !copy_word(dst, src, size)) {
        memcpy(dst, src, size);
    }
}

void mf_cpu_copy_bulk(void *arg, void *dst, const void *src, size_t size)
{
    struct mf_cpu_copy *copier = arg;
    if (size >= MF_COPY_BULK_PART && size < MF_COPY_SMALL && known(copier)) {
        copier->bulk->copy(dst, src, size);
    } else {
        mf_cpu_copy(arg, dst, src, size);
    }
}

/* ---- explain ---- */

static double gb_per_s(size_t bytes, uint64_t ns)
{
    return ns ? (double)bytes / (double)ns : 0.0;
}

static int explain_class(const struct mf_cpu_copy *copier, int cls, char *buf, size_t cap)
{
    const struct choice *choice = &copier->choice[cls];
    const char *range = cls == CLASS_SMALL ? "256 KiB to 2 MiB" : "from 2 MiB";
    if (choice->ns == 0) {
        return snprintf(buf, cap, "; %s: %s (%s)", range, choice->kernel->name,
                        copier->kernel_given ? "option copy.kernel" : "cannot be measured here");
    }
    return snprintf(buf, cap, "; %s: %s (%.1f GB/s, memcpy %.1f)", range, choice->kernel->name,
                    gb_per_s(class_sample[cls], choice->ns),
                    gb_per_s(class_sample[cls], choice->memcpy_ns));
}

static int explain_threads(const struct mf_cpu_copy *copier, char *buf, size_t cap)
{
    if (copier->tried_threads < 2) {
        return snprintf(buf, cap, "; threads that share a copy from 2 MiB: %" PRIu32,
                        copier->threads);
    }
    return snprintf(buf, cap,
                    "; threads that share a copy from 2 MiB: %" PRIu32
                    " (%.1f GB/s alone, %.1f with %" PRIu32 ")",
                    copier->threads, gb_per_s(MF_BENCH_BYTES, copier->alone_ns),
                    gb_per_s(MF_BENCH_BYTES, copier->tried_ns), copier->tried_threads);
}

void mf_cpu_copy_explain(struct mf_cpu_copy *copier, char *buf, size_t cap)
{
    while (!known(copier)) {
        mf_thread_yield(); /* until the thread that measures is done, some milliseconds */
    }
    char text[512];
    size_t len = (size_t)snprintf(text, sizeof(text), "below 256 KiB: memcpy; parts of batches: %s",
                                  copier->bulk->name);
    for (int cls = 0; cls < CLASSES; cls++) {
        len += (size_t)explain_class(copier, cls, text + len, sizeof(text) - len);
    }
    explain_threads(copier, text + len, sizeof(text) - len);
    snprintf(buf, cap, "%s", text);
}
