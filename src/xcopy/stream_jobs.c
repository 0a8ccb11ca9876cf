// SPDX-License-Identifier: Apache-2.0
// A job stands in two lists: its pool's, where a thread finds it when the stream has written its
// number, and its stream's, where numbers are given back in order. One thread of a pool looks at
// the words of all waiting jobs, closely at first, then now and then; when it finds one to run,
// another takes over.
#include "xcopy/stream_jobs.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/thread.h"

#define PAGE         4096u
#define SPIN_NS      20000ull
#define NAP_FIRST_NS 50000ull
#define NAP_LAST_NS  250000ull

struct job {
    struct job *prev, *next;       /* of the pool's, oldest first */
    struct job *stream_next;       /* of the stream's, in order of its numbers */
    struct mf_stream_words *words; /* a reference */
    uint64_t number;
    uint64_t bytes;
    bool running;  /* somebody has it */
    bool finished; /* guarded by words->lock */
    smem_bm_copy_type type;
    struct mf_batch batch; /* into arrays behind this struct */
};

/* What the device reads and writes; each word has its own cache line. */
struct shared {
    _Atomic uint64_t go;
    char pad[64 - sizeof(uint64_t)];
    _Atomic uint64_t done;
};

struct mf_stream_words {
    const struct mf_dev *dev;
    void *stream;
    struct shared *shared; /* a page of its own, that the device knows */
    bool registered;
    _Atomic uint32_t refs; /* the stream's, and one a job */
    _Atomic bool closed;
    struct mf_mutex lock;     /* guards what follows */
    struct mf_cond turn_ends; /* of whoever queues */
    bool turn;                /* somebody queues a number and what waits for it */
    uint64_t numbers;         /* given out */
    struct job *first, *last;
    int failure;
    struct mf_err_rec err;
};

struct mf_stream_jobs {
    const struct mf_env *env;
    uint32_t pool;
    mf_stream_run_fn run;
    void *arg;
    struct mf_mutex lock; /* guards what follows */
    struct mf_cond work;  /* a new job, somebody to look after the jobs is needed, or stop */
    struct mf_cond done;  /* a job has ended */
    struct job *first, *last;
    uint64_t bytes;
    uint32_t threads_count, running;
    bool looking; /* a thread looks at the words */
    bool stop;
    int failure;
    struct mf_err_rec err;
    pthread_t threads[MF_STREAM_THREADS_MAX];
};

/* ---- words
 * -------------------------------------------------------------------------------------- */

static void words_put(struct mf_stream_words *words)
{
    if (atomic_fetch_sub(&words->refs, 1) == 1) {
        mf_cond_fini(&words->turn_ends);
        mf_mutex_fini(&words->lock);
        mf_free(words->shared);
        mf_free(words);
    }
}

int mf_stream_words_create(const struct mf_dev *dev, void *stream, struct mf_stream_words **out)
{
    *out = NULL;
    struct mf_stream_words *words = mf_calloc(1, sizeof(*words), "words of a stream");
    if (!words) {
        return SMEM_MALLOC_FAILED;
    }
    words->shared = mf_alloc_aligned(PAGE, PAGE, "words of a stream");
    if (!words->shared) {
        mf_free(words);
        return SMEM_MALLOC_FAILED;
    }
    struct mf_err_rec before;
    mf_err_save(&before);
    int rc = dev->ops.host_register(dev->impl, words->shared, PAGE);
    if (rc && rc != SMEM_NOT_EXIST) { /* a device without that reaches all host memory */
        mf_free(words->shared);
        mf_free(words);
        return mf_err_in(rc, "words of a stream");
    }
    mf_err_restore(&before);
    words->registered = rc == SMEM_OK;
    words->dev = dev;
    words->stream = stream;
    atomic_init(&words->refs, 1);
    mf_mutex_init(&words->lock, MF_RANK_LEAF);
    mf_cond_init(&words->turn_ends);
    *out = words;
    return SMEM_OK;
}

void mf_stream_words_close(struct mf_stream_words *words)
{
    if (!words) {
        return;
    }
    if (words->registered) {
        (void)words->dev->ops.host_unregister(words->dev->impl, words->shared);
    }
    atomic_store(&words->closed, true); /* their pools' threads look at it */
    words_put(words);
}

int mf_stream_words_take_failure(struct mf_stream_words *words)
{
    if (!words) {
        return SMEM_OK;
    }
    mf_mutex_lock(&words->lock);
    int rc = words->failure;
    if (rc) {
        words->failure = SMEM_OK;
        mf_err_restore(&words->err);
    }
    mf_mutex_unlock(&words->lock);
    return rc;
}

/* Wait until nobody else is between the two operations of a job. */
static uint64_t begin_turn(struct mf_stream_words *words)
{
    mf_mutex_lock(&words->lock);
    while (words->turn) { /* queueing never blocks */
        mf_cond_wait(&words->turn_ends, &words->lock, UINT64_MAX);
    }
    words->turn = true;
    uint64_t number = ++words->numbers;
    mf_mutex_unlock(&words->lock);
    return number;
}

/* `job`: it is queued; NULL: it is not. */
static void end_turn(struct mf_stream_words *words, struct job *job)
{
    mf_mutex_lock(&words->lock);
    if (job) {
        *(words->last ? &words->last->stream_next : &words->first) = job;
        words->last = job;
    }
    words->turn = false;
    mf_cond_signal(&words->turn_ends);
    mf_mutex_unlock(&words->lock);
}

/* The stream may go on behind all jobs that are over and have none before them that is not. The
 * failure is there before. */
static void finish_in_stream(struct job *job, int rc, const struct mf_err_rec *err)
{
    struct mf_stream_words *words = job->words;
    struct job *over = NULL;
    uint64_t number = 0;
    mf_mutex_lock(&words->lock);
    if (rc && words->failure == SMEM_OK) {
        words->failure = rc;
        words->err = *err;
    }
    job->finished = true;
    while (words->first && words->first->finished) {
        struct job *next = words->first->stream_next;
        number = words->first->number;
        words->first->stream_next = over;
        over = words->first;
        words->first = next;
    }
    if (!words->first) {
        words->last = NULL;
    }
    if (number) {
        atomic_store_explicit(&words->shared->done, number, memory_order_release);
    }
    mf_mutex_unlock(&words->lock);
    while (over) {
        struct job *next = over->stream_next;
        mf_free(over);
        words_put(words);
        over = next;
    }
}

/* ---- the pool's list
 * ---------------------------------------------------------------------------- */

static void append_locked(struct mf_stream_jobs *jobs, struct job *job)
{
    job->prev = jobs->last;
    *(jobs->last ? &jobs->last->next : &jobs->first) = job;
    jobs->last = job;
}

static void remove_locked(struct mf_stream_jobs *jobs, struct job *job)
{
    *(job->prev ? &job->prev->next : &jobs->first) = job->next;
    *(job->next ? &job->next->prev : &jobs->last) = job->prev;
    jobs->bytes -= job->bytes;
}

/* Take a job that nobody has: with `any` whichever, else one that its stream has reached. */
static struct job *take_locked(struct mf_stream_jobs *jobs, bool any)
{
    struct job *job = jobs->first;
    while (job && (job->running || (!any && !atomic_load(&job->words->closed) &&
                                    atomic_load_explicit(&job->words->shared->go,
                                                         memory_order_acquire) < job->number))) {
        job = job->next;
    }
    if (job) {
        job->running = true;
        jobs->running++;
    }
    return job;
}

static bool is_waiting_locked(const struct mf_stream_jobs *jobs)
{
    const struct job *job = jobs->first;
    while (job && job->running) {
        job = job->next;
    }
    return job != NULL;
}

static void finish(struct mf_stream_jobs *jobs, struct job *job, int rc)
{
    struct mf_err_rec err = {.code = SMEM_OK};
    if (rc) {
        mf_err_save(&err);
    }
    mf_mutex_lock(&jobs->lock);
    if (rc && jobs->failure == SMEM_OK) {
        jobs->failure = rc;
        jobs->err = err;
    }
    remove_locked(jobs, job);
    mf_mutex_unlock(&jobs->lock);
    finish_in_stream(job, rc, &err);
    mf_mutex_lock(&jobs->lock);
    jobs->running--;
    mf_cond_broadcast(&jobs->done);
    mf_mutex_unlock(&jobs->lock);
}

/* ---- the threads
 * -------------------------------------------------------------------------------- */

static void *engine_main(void *arg);

static int start_thread_locked(struct mf_stream_jobs *jobs)
{
    int rc = mf_thread_start(&jobs->threads[jobs->threads_count], "mf-stream", engine_main, jobs);
    jobs->threads_count += rc == SMEM_OK;
    return rc;
}

/* Somebody has to look after the jobs that wait while others copy. */
static void hand_over_locked(struct mf_stream_jobs *jobs)
{
    struct mf_err_rec before;
    if (!is_waiting_locked(jobs)) {
        return;
    }
    mf_cond_broadcast(&jobs->work);
    if (jobs->running >= jobs->threads_count && jobs->threads_count < MF_STREAM_THREADS_MAX) {
        mf_err_save(&before);
        (void)start_thread_locked(jobs); /* else they wait until a thread has time again */
        mf_err_restore(&before);
    }
}

static void run_job(struct mf_stream_jobs *jobs, struct job *job)
{
    mf_err_clear();
    int rc = atomic_load(&job->words->closed)
                 ? mf_err(SMEM_NOT_EXIST,
                          "a copy of pool %u on a stream was dropped: the stream was destroyed",
                          jobs->pool)
                 : jobs->run(jobs->arg, &job->batch, job->type);
    finish(jobs, job, rc);
}

/* How long a thread has looked in vain. */
struct patience {
    uint64_t since_ns, nap_ns;
};

static void begin_anew(const struct mf_stream_jobs *jobs, struct patience *p)
{
    p->since_ns = mf_now_ns(jobs->env);
    p->nap_ns = NAP_FIRST_NS;
}

static void relax(void)
{
    for (int i = 0; i < 32; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ __volatile__("yield" ::: "memory");
#endif
    }
}

/* Look again a moment later. */
static void nap_locked(struct mf_stream_jobs *jobs, struct patience *p)
{
    uint64_t now_ns = mf_now_ns(jobs->env);
    if (now_ns - p->since_ns < SPIN_NS) {
        mf_mutex_unlock(&jobs->lock);
        relax();
        mf_mutex_lock(&jobs->lock);
    } else if (mf_cond_wait(&jobs->work, &jobs->lock, now_ns + p->nap_ns)) {
        begin_anew(jobs, p); /* there is another job */
    } else {
        p->nap_ns = p->nap_ns * 2 < NAP_LAST_NS ? p->nap_ns * 2 : NAP_LAST_NS;
    }
}

/* Nothing to run: wait for it. Only one thread looks at words, the others sleep until they are
 * needed. */
static void wait_locked(struct mf_stream_jobs *jobs, struct patience *p)
{
    if (jobs->looking || !is_waiting_locked(jobs)) {
        mf_cond_wait(&jobs->work, &jobs->lock, UINT64_MAX);
        begin_anew(jobs, p);
        return;
    }
    jobs->looking = true;
    nap_locked(jobs, p);
    jobs->looking = false;
}

static void *engine_main(void *arg)
{
    struct mf_stream_jobs *jobs = arg;
    struct patience patience;
    begin_anew(jobs, &patience);
    mf_mutex_lock(&jobs->lock);
    while (!jobs->stop) {
        struct job *job = take_locked(jobs, false);
        if (job) {
            hand_over_locked(jobs);
            mf_mutex_unlock(&jobs->lock);
            run_job(jobs, job);
            begin_anew(jobs, &patience);
            mf_mutex_lock(&jobs->lock);
        } else {
            wait_locked(jobs, &patience);
        }
    }
    mf_mutex_unlock(&jobs->lock);
    return NULL;
}

/* ---- life
 * --------------------------------------------------------------------------------------- */

int mf_stream_jobs_create(const struct mf_env *env, uint32_t pool, mf_stream_run_fn run, void *arg,
                          struct mf_stream_jobs **out)
{
    struct mf_stream_jobs *jobs = mf_calloc(1, sizeof(*jobs), "copies on streams");
    *out = jobs;
    if (!jobs) {
        return SMEM_MALLOC_FAILED;
    }
    jobs->env = env;
    jobs->pool = pool;
    jobs->run = run;
    jobs->arg = arg;
    mf_mutex_init(&jobs->lock, MF_RANK_XCOPY);
    mf_cond_init(&jobs->work);
    mf_cond_init(&jobs->done);
    return SMEM_OK;
}

static void drop_all(struct mf_stream_jobs *jobs)
{
    for (;;) {
        mf_mutex_lock(&jobs->lock);
        struct job *job = take_locked(jobs, true);
        mf_mutex_unlock(&jobs->lock);
        if (!job) {
            return;
        }
        finish(
            jobs, job,
            mf_err(SMEM_NOT_EXIST,
                   "a copy of pool %u on a stream was dropped: the pool was destroyed before the "
                   "stream got to it",
                   jobs->pool));
    }
}

int mf_stream_jobs_destroy(struct mf_stream_jobs *jobs, uint64_t deadline_ns)
{
    bool in_time = true;
    if (!jobs) {
        return SMEM_OK;
    }
    mf_mutex_lock(&jobs->lock);
    jobs->stop = true;
    mf_cond_broadcast(&jobs->work);
    mf_mutex_unlock(&jobs->lock);
    drop_all(jobs);
    mf_mutex_lock(&jobs->lock);
    while (jobs->running > 0 && in_time) {
        in_time = mf_cond_wait(&jobs->done, &jobs->lock, deadline_ns);
    }
    bool runs = jobs->running > 0;
    mf_mutex_unlock(&jobs->lock);
    if (runs) {
        return mf_err(SMEM_TIMEOUT, "a copy on a stream still runs at the deadline");
    }
    for (uint32_t i = 0; i < jobs->threads_count; i++) {
        mf_thread_join(jobs->threads[i]);
    }
    mf_cond_fini(&jobs->done);
    mf_cond_fini(&jobs->work);
    mf_mutex_fini(&jobs->lock);
    mf_free(jobs);
    return SMEM_OK;
}

int mf_stream_jobs_take_failure(struct mf_stream_jobs *jobs)
{
    mf_mutex_lock(&jobs->lock);
    int rc = jobs->failure;
    if (rc) {
        jobs->failure = SMEM_OK;
        mf_err_restore(&jobs->err);
    }
    mf_mutex_unlock(&jobs->lock);
    return rc;
}

/* ---- submit
 * ------------------------------------------------------------------------------------- */

static uint64_t job_bytes(const struct mf_batch *batch)
{
    return sizeof(struct job) + mf_batch_room(batch->count);
}

static struct job *make_job(const struct mf_batch *batch, smem_bm_copy_type type)
{
    struct job *job = mf_alloc(job_bytes(batch), "copy on a stream");
    if (!job) {
        return NULL;
    }
    *job = (struct job){
        .bytes = job_bytes(batch), .type = type, .batch = mf_batch_keep(batch, job + 1)};
    job->batch.results = NULL;
    return job;
}

/* Room for the job, and a thread that will look after it. */
static int reserve(struct mf_stream_jobs *jobs, uint64_t bytes)
{
    int rc = SMEM_OK;
    mf_mutex_lock(&jobs->lock);
    if (bytes > MF_STREAM_BYTES_MAX - jobs->bytes) {
        rc = mf_err(SMEM_NO_RESOURCES,
                    "%llu bytes of copies wait for their streams, this one needs %llu more, the "
                    "limit is %llu: synchronize a stream first",
                    (unsigned long long)jobs->bytes, (unsigned long long)bytes,
                    (unsigned long long)MF_STREAM_BYTES_MAX);
    } else if (jobs->threads_count == 0) {
        rc = start_thread_locked(jobs);
    }
    jobs->bytes += rc == SMEM_OK ? bytes : 0;
    mf_mutex_unlock(&jobs->lock);
    return rc;
}

/* The two operations on the stream, with nothing of another copy between them. */
static int queue_words(struct mf_stream_words *words, uint64_t number)
{
    const struct mf_dev *dev = words->dev;
    int rc =
        dev->ops.write64(dev->impl, words->stream, (uint64_t)(uintptr_t)&words->shared->go, number);
    return rc ? rc
              : dev->ops.wait64(dev->impl, words->stream, (uint64_t)(uintptr_t)&words->shared->done,
                                number);
}

int mf_stream_jobs_submit(struct mf_stream_jobs *jobs, struct mf_stream_words *words,
                          const struct mf_batch *batch, smem_bm_copy_type type)
{
    uint64_t bytes = job_bytes(batch);
    int rc = reserve(jobs, bytes);
    if (rc) {
        return rc;
    }
    struct job *job = make_job(batch, type);
    rc = SMEM_MALLOC_FAILED;
    if (job) {
        job->words = words;
        job->number = begin_turn(words);
        rc = queue_words(words, job->number);
        atomic_fetch_add(&words->refs, rc == SMEM_OK);
        end_turn(words, rc == SMEM_OK ? job : NULL);
    }
    mf_mutex_lock(&jobs->lock);
    if (rc == SMEM_OK) {
        append_locked(jobs, job);
        hand_over_locked(jobs);
    } else {
        jobs->bytes -= bytes;
    }
    mf_mutex_unlock(&jobs->lock);
    if (rc) {
        mf_free(job);
    }
    return rc;
}
