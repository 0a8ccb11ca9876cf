// SPDX-License-Identifier: Apache-2.0
// mf_trace.h: trace points of this process and of others, as programs see them.
#include "memfabric/mf_trace.h"

#include <string.h>

#include "api/process.h"
#include "api/service.h"
#include "api/tracing.h"
#include "base/alloc.h"
#include "base/err.h"
#include "trace/proc.h"
#include "trace/table.h"
#include "trace/view.h"

/* ---- other processes ---- */

struct mf_trace_reader {
    struct mf_trace_view *view;
    struct mf_trace_sum between;
};

int32_t mf_trace_find(mf_trace_pid_fn fn, void *arg)
{
    return fn == NULL ? mf_err(SMEM_INVALID_PARAM, "mf_trace_find: fn is NULL")
                      : mf_trace_proc_find(fn, arg);
}

int32_t mf_trace_open(int32_t pid, mf_trace_reader_t **reader)
{
    static const char call[] = "mf_trace_open";
    struct mf_process *process = NULL;
    if (reader == NULL || pid <= 0) {
        return reader == NULL ? mf_err(SMEM_INVALID_PARAM, "%s: reader is NULL", call)
                              : mf_err(SMEM_INVALID_PARAM,
                                       "%s: pid %d is no process id (1 or more)", call, pid);
    }
    *reader = NULL;
    int rc = mf_process_get(&process);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "%s", call);
    }
    struct mf_trace_reader *made = mf_calloc(1, sizeof(*made), "trace reader");
    if (made == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    rc = mf_trace_view_open(&process->env, pid, &made->view);
    if (rc != SMEM_OK) {
        mf_free(made);
        return mf_err_in(rc, "%s", call);
    }
    *reader = made;
    return SMEM_OK;
}

void mf_trace_close(mf_trace_reader_t *reader)
{
    if (reader != NULL) {
        mf_trace_view_close(reader->view);
        mf_free(reader);
    }
}

static void fill_values(const struct mf_trace_sum *sum, mf_trace_values_t *out)
{
    *out = (mf_trace_values_t){
        .begun = sum->begun,
        .good = sum->good,
        .bad = sum->bad,
        .bytes = sum->bytes,
        .timed = sum->calls,
        .total_ns = sum->total_ns,
        .min_ns = sum->min_ns,
        .max_ns = sum->max_ns,
        .p50_ns = mf_trace_sum_quantile(sum, 0.5),
        .p99_ns = mf_trace_sum_quantile(sum, 0.99),
        .p999_ns = mf_trace_sum_quantile(sum, 0.999),
    };
}

static void fill_process(const struct mf_trace_view *view, mf_trace_process_t *out)
{
    const struct mf_trace_head *head = &view->head;
    *out = (mf_trace_process_t){
        .pid = view->pid,
        .alive = mf_trace_view_is_alive(view),
        .rank = atomic_load_explicit(&head->rank, memory_order_relaxed),
        .world = atomic_load_explicit(&head->world, memory_order_relaxed),
        .incarnation = atomic_load_explicit(&head->incarnation, memory_order_relaxed),
        .total_ns = view->now_ns > head->started_ns ? view->now_ns - head->started_ns : 0,
    };
    out->latest_ns = view->before_ns == 0 ? out->total_ns : view->now_ns - view->before_ns;
}

static void tell_point(struct mf_trace_reader *reader, uint32_t p, mf_trace_point_fn fn, void *arg)
{
    const struct mf_trace_view *view = reader->view;
    const struct mf_trace_sum *now = &view->now.point[p];
    const struct mf_trace_point_name *name = &view->head.point[p];
    mf_trace_point_t point = {
        .id = name->id,
        .name = name->name,
        .counts_bytes = name->counts_bytes != 0,
        .on_fly = mf_trace_sum_on_fly(now),
    };
    fill_values(now, &point.total);
    point.latest = point.total;
    if (view->before_ns != 0) {
        mf_trace_sum_between(&view->before.point[p], now, &reader->between);
        fill_values(&reader->between, &point.latest);
    }
    fn(arg, &point);
}

int32_t mf_trace_read(mf_trace_reader_t *reader, mf_trace_process_t *process, mf_trace_point_fn fn,
                      void *arg)
{
    static const char call[] = "mf_trace_read";
    if (reader == NULL || process == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s is NULL", call,
                      reader == NULL ? "reader" : "process");
    }
    int rc = mf_trace_view_read(reader->view);
    if (rc != SMEM_OK) {
        return mf_err_in(rc, "%s", call);
    }
    fill_process(reader->view, process);
    for (uint32_t p = 0; fn != NULL && p < reader->view->head.points; p++) {
        if (reader->view->now.point[p].begun != 0) {
            tell_point(reader, p, fn, arg);
        }
    }
    return SMEM_OK;
}

/* ---- this process ---- */

/* Collects the text, whole lines only, and how long all of it is. */
struct text {
    char *buf;
    size_t cap, used, need;
};

static void add_line(struct text *text, const char *line)
{
    text->need += MF_TRACE_LINE_BYTES;
    if (text->need < text->cap) {
        memcpy(text->buf + text->used, line, MF_TRACE_LINE_BYTES + 1);
        text->used += MF_TRACE_LINE_BYTES;
    }
}

static int print_table(const struct mf_trace *trace, struct text *text)
{
    char line[MF_TRACE_LINE_BYTES + 1];
    char time[MF_TRACE_TIME_BYTES];
    struct mf_trace_sums *sums = mf_alloc(sizeof(*sums), "trace table");
    if (sums == NULL) {
        return SMEM_MALLOC_FAILED;
    }
    mf_trace_collect(trace, 0, sums);
    mf_trace_line_time(time, mf_tracing_wall_ns());
    mf_trace_line_heads(line);
    add_line(text, line);
    for (uint32_t p = 0; p < MF_POINT_COUNT; p++) {
        const struct mf_trace_sum *sum = &sums->point[p];
        if (sum->begun != 0) {
            mf_trace_line(line, time, mf_trace_point_name((enum mf_point)p), sum,
                          mf_trace_sum_on_fly(sum), sum->min_ns, sum->max_ns);
            add_line(text, line);
        }
    }
    mf_free(sums);
    return SMEM_OK;
}

static int counts_nothing(const char *call)
{
    return mf_err(SMEM_NOT_INIT,
                  "%s: this process counts nothing: call smem_bm_init first, with the option "
                  "trace.enable (MF_TRACE) on",
                  call);
}

int32_t mf_trace_table(char *buf, size_t cap, size_t *need)
{
    static const char call[] = "mf_trace_table";
    struct text text = {.buf = buf, .cap = cap};
    const struct mf_trace *trace = mf_tracing_get();
    if (buf == NULL && cap != 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: buf is NULL and cap is %zu", call, cap);
    }
    if (cap != 0) {
        buf[0] = '\0';
    }
    if (need != NULL) {
        *need = 0;
    }
    if (trace == NULL) {
        return counts_nothing(call);
    }
    int rc = print_table(trace, &text);
    if (rc == SMEM_OK && need != NULL) {
        *need = text.need;
    }
    return rc;
}

int32_t mf_trace_thread(int32_t on)
{
    static const char call[] = "mf_trace_thread";
    if (on != 0 && on != 1) {
        return mf_err(SMEM_INVALID_PARAM, "%s: on is %d, not 0 or 1", call, on);
    }
    return mf_tracing_get() == NULL ? counts_nothing(call) : mf_service_count_thread(on == 1);
}
