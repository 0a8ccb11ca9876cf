// SPDX-License-Identifier: Apache-2.0
// The queue of asynchronous copies. Unfinished jobs stand in one list in order of submission;
// whoever waits does so until the head of the list is younger than the call. Workers are started by
// the first job and sleep without a deadline while there is none.
#include "xcopy/queue.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/thread.h"

struct job {
    struct job *prev, *next; /* unfinished jobs, oldest first */
    uint64_t number;         /* 1, 2, ... in order of submission */
    uint64_t bytes;          /* of this block */
    bool running;
    smem_bm_copy_type type;
    struct mf_batch batch; /* into arrays behind this struct, but results: the caller's */
};

struct mf_queue {
    const struct mf_env *env;
    mf_queue_run_fn run;
    void *arg;
    uint32_t threads_max;
    struct mf_mutex lock; /* guards what follows */
    struct mf_cond work;  /* a job to run, or stop */
    struct mf_cond done;  /* a job has ended */
    pthread_t threads[MF_COPY_THREADS_MAX];
    uint32_t threads_count;
    struct job *first, *last;
    uint64_t submitted; /* number of the newest job */
    uint64_t bytes;     /* of all jobs */
    bool stop;
    int failure; /* the first since the last wait, and its sentence */
    struct mf_err_rec err;
};

static void remove_locked(struct mf_queue *queue, struct job *job)
{
    *(job->prev ? &job->prev->next : &queue->first) = job->next;
    *(job->next ? &job->next->prev : &queue->last) = job->prev;
    queue->bytes -= job->bytes;
}

static void append_locked(struct mf_queue *queue, struct job *job)
{
    job->number = ++queue->submitted;
    job->prev = queue->last;
    *(queue->last ? &queue->last->next : &queue->first) = job;
    queue->last = job;
}

/* The oldest job that nobody runs. */
static struct job *next_locked(struct mf_queue *queue)
{
    struct job *job = queue->first;
    while (job && job->running) {
        job = job->next;
    }
    return job;
}

static void run_job(struct mf_queue *queue, struct job *job)
{
    mf_err_clear();
    int rc = queue->run(queue->arg, &job->batch, job->type);
    mf_mutex_lock(&queue->lock);
    if (rc && queue->failure == SMEM_OK) {
        queue->failure = rc;
        mf_err_save(&queue->err);
    }
    remove_locked(queue, job);
    mf_cond_broadcast(&queue->done);
    mf_mutex_unlock(&queue->lock);
    mf_free(job);
}

static void *worker_main(void *arg)
{
    struct mf_queue *queue = arg;
    for (;;) {
        mf_mutex_lock(&queue->lock);
        struct job *job = next_locked(queue);
        while (!job && !queue->stop) {
            mf_cond_wait(&queue->work, &queue->lock, UINT64_MAX);
            job = next_locked(queue);
        }
        if (job) {
            job->running = true;
        }
        mf_mutex_unlock(&queue->lock);
        if (!job) {
            return NULL;
        }
        run_job(queue, job);
    }
}

struct mf_batch mf_batch_keep(const struct mf_batch *batch, void *memory)
{
    size_t pointers = batch->count * sizeof(void *);
    uint64_t *size = memory;
    void **src = (void **)(size + batch->count);
    void **dst = src + batch->count;
    struct mf_batch kept = *batch;
    memcpy(size, batch->size, batch->count * sizeof(*size));
    memcpy(src, batch->src, pointers);
    memcpy(dst, batch->dst, pointers);
    kept.size = size;
    kept.src = src;
    kept.dst = dst;
    return kept;
}

int mf_queue_create(const struct mf_env *env, uint32_t threads, mf_queue_run_fn run, void *arg,
                    struct mf_queue **out)
{
    *out = NULL;
    if (threads == 0 || threads > MF_COPY_THREADS_MAX) {
        return mf_err(SMEM_INVALID_PARAM, "a queue of %u threads: 1 to %u are allowed", threads,
                      MF_COPY_THREADS_MAX);
    }
    struct mf_queue *queue = mf_calloc(1, sizeof(*queue), "queue of copies");
    if (!queue) {
        return SMEM_MALLOC_FAILED;
    }
    queue->env = env;
    queue->run = run;
    queue->arg = arg;
    queue->threads_max = threads;
    mf_mutex_init(&queue->lock, MF_RANK_XCOPY);
    mf_cond_init(&queue->work);
    mf_cond_init(&queue->done);
    *out = queue;
    return SMEM_OK;
}

static bool running_locked(const struct mf_queue *queue)
{
    const struct job *job = queue->first;
    while (job && !job->running) {
        job = job->next;
    }
    return job != NULL;
}

/* Take all jobs out that do not run yet. */
static void drop_locked(struct mf_queue *queue)
{
    struct job *next;
    for (struct job *job = queue->first; job; job = next) {
        next = job->next;
        if (!job->running) {
            remove_locked(queue, job);
            mf_free(job);
        }
    }
}

int mf_queue_destroy(struct mf_queue *queue, uint64_t deadline_ns)
{
    if (!queue) {
        return SMEM_OK;
    }
    mf_mutex_lock(&queue->lock);
    queue->stop = true;
    drop_locked(queue);
    mf_cond_broadcast(&queue->work);
    bool in_time = true;
    while (running_locked(queue) && in_time) {
        in_time = mf_cond_wait(&queue->done, &queue->lock, deadline_ns);
    }
    bool running = running_locked(queue);
    mf_mutex_unlock(&queue->lock);
    if (running) {
        return mf_err(SMEM_TIMEOUT, "an asynchronous copy still runs at the deadline");
    }
    for (uint32_t i = 0; i < queue->threads_count; i++) {
        mf_thread_join(queue->threads[i]);
    }
    mf_cond_fini(&queue->done);
    mf_cond_fini(&queue->work);
    mf_mutex_fini(&queue->lock);
    mf_free(queue);
    return SMEM_OK;
}

static uint64_t job_bytes(const struct mf_batch *batch)
{
    return sizeof(struct job) + mf_batch_room(batch->count);
}

/* One block with copies of the arrays. */
static struct job *make_job(const struct mf_batch *batch, smem_bm_copy_type type)
{
    struct job *job = mf_alloc(job_bytes(batch), "asynchronous copy");
    if (!job) {
        return NULL;
    }
    *job = (struct job){
        .bytes = job_bytes(batch), .type = type, .batch = mf_batch_keep(batch, job + 1)};
    return job;
}

/* Count a new job's bytes, before there is memory for it. */
static int reserve_locked(struct mf_queue *queue, const struct mf_batch *batch)
{
    uint64_t bytes = job_bytes(batch);
    if (queue->stop) {
        return mf_err(SMEM_NOT_STARTED, "the queue of asynchronous copies is closed");
    }
    if (bytes > MF_QUEUE_BYTES_MAX - queue->bytes) {
        return mf_err(SMEM_NO_RESOURCES,
                      "%llu bytes of asynchronous copies are queued, the batch of %u elements "
                      "needs %llu more, the limit is %llu: call smem_bm_wait first",
                      (unsigned long long)queue->bytes, batch->count, (unsigned long long)bytes,
                      (unsigned long long)MF_QUEUE_BYTES_MAX);
    }
    queue->bytes += bytes;
    return SMEM_OK;
}

/* One worker more as long as there are less than allowed. Only the first one has to be there. */
static int start_worker_locked(struct mf_queue *queue)
{
    if (queue->threads_count == queue->threads_max) {
        return SMEM_OK;
    }
    int rc = mf_thread_start(&queue->threads[queue->threads_count], "mf-queue", worker_main, queue);
    if (rc == SMEM_OK) {
        queue->threads_count++;
    }
    return queue->threads_count > 0 ? SMEM_OK : rc;
}

int mf_queue_submit(struct mf_queue *queue, const struct mf_batch *batch, smem_bm_copy_type type)
{
    mf_mutex_lock(&queue->lock);
    int rc = reserve_locked(queue, batch);
    mf_mutex_unlock(&queue->lock);
    if (rc) {
        return rc;
    }
    struct job *job = make_job(batch, type);
    mf_mutex_lock(&queue->lock);
    rc = job ? start_worker_locked(queue) : SMEM_MALLOC_FAILED;
    if (rc == SMEM_OK) {
        append_locked(queue, job);
        mf_cond_signal(&queue->work);
    } else {
        queue->bytes -= job_bytes(batch);
    }
    mf_mutex_unlock(&queue->lock);
    if (rc) {
        mf_free(job);
    }
    return rc;
}

int mf_queue_wait(struct mf_queue *queue, uint64_t deadline_ns)
{
    mf_mutex_lock(&queue->lock);
    uint64_t last = queue->submitted;
    bool in_time = true;
    while (queue->first && queue->first->number <= last && in_time) {
        in_time = mf_cond_wait(&queue->done, &queue->lock, deadline_ns);
    }
    int rc = SMEM_OK;
    if (queue->first && queue->first->number <= last) {
        rc = mf_err(SMEM_TIMEOUT,
                    "asynchronous copies are not done at the deadline, %llu of them at most",
                    (unsigned long long)(last - queue->first->number + 1));
    } else if (queue->failure != SMEM_OK) {
        rc = queue->failure;
        queue->failure = SMEM_OK;
        mf_err_restore(&queue->err);
    }
    mf_mutex_unlock(&queue->lock);
    return rc;
}
