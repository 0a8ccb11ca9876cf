// SPDX-License-Identifier: Apache-2.0
// Writes the table of each period: lines after lines up to the cap, then over the oldest ones. What
// cannot be written is told once and tracing goes on.
#include "trace/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "trace/table.h"

#define AREA      "trace"
#define CLOSE_MS  2000u
#define LINES_MAX (MF_POINT_COUNT + 1)
#define NICE      10

struct mf_trace_file {
    struct mf_trace *trace;
    uint64_t (*wall_ns)(void);
    uint64_t period_ms, cap_bytes;
    int fd;
    uint64_t at;  /* where the next line goes */
    bool failing; /* and it was told */
    char path[PATH_MAX];
    struct mf_trace_sums before, now;
    struct mf_trace_sum last; /* what came between the two, of one point */
    char lines[LINES_MAX * MF_TRACE_LINE_BYTES + 1];

    pthread_t thread;
    struct mf_mutex lock; /* guards all below; rank MF_RANK_LEAF */
    struct mf_cond wake;
    bool started, stop, ended, left;
};

/* ---- writing ---- */

/* A point's lines in one period: none when nothing began. */
static size_t print_lines(struct mf_trace_file *file, char *out)
{
    char time[MF_TRACE_TIME_BYTES];
    size_t bytes = 0;
    mf_trace_line_time(time, file->wall_ns());
    for (uint32_t p = 0; p < MF_POINT_COUNT; p++) {
        const struct mf_trace_sum *now = &file->now.point[p];
        struct mf_trace_sum *last = &file->last;
        if (now->begun == file->before.point[p].begun) {
            continue;
        }
        mf_trace_sum_between(&file->before.point[p], now, last);
        mf_trace_line(out + bytes, time, mf_trace_point_name((enum mf_point)p), last,
                      mf_trace_sum_on_fly(now), last->period_min_ns, last->period_max_ns);
        bytes += MF_TRACE_LINE_BYTES;
    }
    return bytes;
}

static int write_all(const struct mf_trace_file *file, const char *text, size_t bytes, uint64_t at)
{
    while (bytes > 0) {
        ssize_t n = pwrite(file->fd, text, bytes, (off_t)at);
        if (n > 0) {
            text += n;
            at += (uint64_t)n;
            bytes -= (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return mf_err_sys(SMEM_ERROR, n == 0 ? ENOSPC : errno,
                              "trace table %s: write %zu bytes", file->path, bytes);
        }
    }
    return SMEM_OK;
}

static int put_lines(struct mf_trace_file *file)
{
    char *rows = file->lines + MF_TRACE_LINE_BYTES;
    size_t bytes = print_lines(file, rows);
    if (bytes == 0) {
        return SMEM_OK;
    }
    if (file->at + bytes > file->cap_bytes) {
        file->at = 0;
    }
    char *from = rows;
    if (file->at == 0) {
        char first = rows[0];
        mf_trace_line_heads(file->lines);
        rows[0] = first; /* the heads end with a NUL */
        from = file->lines;
        bytes += MF_TRACE_LINE_BYTES;
    }
    int rc = write_all(file, from, bytes, file->at);
    if (rc == SMEM_OK) {
        file->at += bytes;
    }
    return rc;
}

int mf_trace_file_write(struct mf_trace_file *file)
{
    _Atomic uint64_t *period = &file->trace->memory->head.period;
    uint64_t ended = atomic_fetch_add_explicit(period, 1, memory_order_relaxed);
    mf_trace_collect(file->trace, ended, &file->now);
    int rc = put_lines(file);
    file->before =
        file->now; /* a period that could not be written is lost, not added to the next */
    if (rc != SMEM_OK && !file->failing) {
        mf_log(file->trace->env->log, MF_LOG_WARN, AREA,
               "%s; tracing goes on, and the file when there is room", mf_err_msg());
    }
    file->failing = rc != SMEM_OK;
    return rc;
}

/* ---- the thread ---- */

/* True: write now; false: it is time to end. In steps, as a wait has a deadline on the clock of the
 * locks. */
static bool wait_period(struct mf_trace_file *file)
{
    uint64_t until_ns = mf_deadline_ns(file->trace->env, file->period_ms);
    mf_mutex_lock(&file->lock);
    while (!file->stop && mf_now_ns(file->trace->env) < until_ns) {
        (void)mf_cond_wait(&file->wake, &file->lock, until_ns);
    }
    bool go_on = !file->stop;
    mf_mutex_unlock(&file->lock);
    return go_on;
}

static void destroy(struct mf_trace_file *file)
{
    if (file->fd >= 0) {
        close(file->fd);
    }
    mf_cond_fini(&file->wake);
    mf_mutex_fini(&file->lock);
    mf_free(file);
}

static void *run(void *arg)
{
    struct mf_trace_file *file = arg;
    (void)setpriority(PRIO_PROCESS, 0, NICE); /* of this thread */
    while (wait_period(file)) {
        (void)mf_trace_file_write(file);
    }
    (void)mf_trace_file_write(file);
    mf_mutex_lock(&file->lock);
    file->ended = true;
    bool left = file->left;
    mf_cond_signal(&file->wake);
    mf_mutex_unlock(&file->lock);
    if (left) {
        destroy(file);
    }
    return NULL;
}

/* ---- directory and file ---- */

static int make_dirs(const char *dir)
{
    char path[PATH_MAX];
    size_t len = strnlen(dir, sizeof(path));
    if (len == 0 || len >= sizeof(path)) {
        return mf_err(SMEM_ERROR,
                      "trace table: the directory's name has %zu bytes, 1..%d are "
                      "possible",
                      len, PATH_MAX - 1);
    }
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        char was = path[i];
        path[i] = '\0';
        if (mkdir(path, 0750) != 0 && errno != EEXIST) {
            return mf_err_sys(SMEM_ERROR, errno,
                              "trace table: make the directory %s: set MF_TRACE_DIR to one that "
                              "this user may write",
                              path);
        }
        path[i] = was;
    }
    return SMEM_OK;
}

/* A file of that name may lie there already, of an earlier process with the same number; lines are
 * added to it. One that is somebody else's, or a link, is not written to. */
static int open_file(struct mf_trace_file *file, const char *dir)
{
    struct stat st;
    int n = snprintf(file->path, sizeof(file->path), "%s/ptracer_%u.dat", dir,
                     file->trace->memory->head.pid);
    if (n >= (int)sizeof(file->path)) {
        return mf_err(SMEM_ERROR, "trace table: the directory's name is too long: %.200s...", dir);
    }
    file->fd = open(file->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
    if (file->fd < 0 || fstat(file->fd, &st) != 0) {
        return mf_err_sys(SMEM_ERROR, errno,
                          "trace table: open %s: set MF_TRACE_DIR to a directory that this user "
                          "may write",
                          file->path);
    }
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1) {
        return mf_err(SMEM_ERROR, "trace table: %s is no file of this user's own: remove it",
                      file->path);
    }
    file->at = (uint64_t)st.st_size / MF_TRACE_LINE_BYTES * MF_TRACE_LINE_BYTES;
    return SMEM_OK;
}

static int start(struct mf_trace_file *file)
{
    int rc = file->period_ms == 0 ? SMEM_OK : mf_thread_start(&file->thread, "mf-trace", run, file);
    file->started = file->period_ms != 0 && rc == SMEM_OK;
    return rc;
}

int mf_trace_file_open(const struct mf_trace_file_cfg *cfg, struct mf_trace_file **out)
{
    struct mf_trace_file *file = mf_calloc(1, sizeof(*file), "trace table");
    *out = NULL;
    if (file == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    file->trace = cfg->trace;
    file->wall_ns = cfg->wall_ns;
    file->period_ms = cfg->period_ms;
    file->cap_bytes = cfg->cap_bytes == 0 ? MF_TRACE_FILE_CAP : cfg->cap_bytes;
    file->fd = -1;
    mf_mutex_init(&file->lock, MF_RANK_LEAF);
    mf_cond_init(&file->wake);
    int rc = make_dirs(cfg->dir);
    if (rc == SMEM_OK) {
        rc = open_file(file, cfg->dir);
    }
    if (rc == SMEM_OK) {
        rc = start(file);
    }
    if (rc != SMEM_OK) {
        destroy(file);
        return rc;
    }
    *out = file;
    return SMEM_OK;
}

void mf_trace_file_close(struct mf_trace_file *file)
{
    if (file == NULL) {
        return;
    }
    if (!file->started) {
        destroy(file);
        return;
    }
    uint64_t deadline_ns = mf_deadline_ns(file->trace->env, CLOSE_MS);
    mf_mutex_lock(&file->lock);
    file->stop = true;
    mf_cond_signal(&file->wake);
    while (!file->ended && mf_now_ns(file->trace->env) < deadline_ns) {
        (void)mf_cond_wait(&file->wake, &file->lock, deadline_ns);
    }
    file->left = !file->ended;
    bool left = file->left;
    mf_mutex_unlock(&file->lock);
    if (left) {
        mf_log(file->trace->env->log, MF_LOG_WARN, AREA,
               "trace table %s: the disk takes longer than %u ms; left to its thread", file->path,
               CLOSE_MS);
        pthread_detach(file->thread);
        return;
    }
    pthread_join(file->thread, NULL);
    destroy(file);
}

void mf_trace_file_close_fd(struct mf_trace_file *file)
{
    close(file->fd);
}
