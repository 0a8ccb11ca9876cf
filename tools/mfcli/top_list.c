// SPDX-License-Identifier: Apache-2.0
// The processes that mfcli top watches: found, read, and dropped when they have ended.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "smem.h"
#include "top.h"

static int complain(void)
{
    fprintf(stderr, TOP_COMMAND ": %s\n", smem_get_last_err_msg());
    return -1;
}

static bool is_watched(const struct top_list *list, int32_t pid)
{
    bool found = false;

    for (size_t i = 0; i < list->count; i++) {
        found = found || list->v[i]->about.pid == pid;
    }
    return found;
}

static void insert(struct top_list *list, int32_t pid, mf_trace_reader_t *reader)
{
    struct top_process *process = cli_alloc(1, sizeof(*process));
    size_t at = list->count;

    process->reader = reader;
    process->about.pid = pid;
    process->about.alive = 1;
    list->v = cli_grow(list->v, list->count + 1, sizeof(struct top_process *));
    for (; at > 0 && list->v[at - 1]->about.pid > pid; at--) {
        list->v[at] = list->v[at - 1];
    }
    list->v[at] = process;
    list->count++;
}

int top_list_add(struct top_list *list, int32_t pid)
{
    mf_trace_reader_t *reader = NULL;

    if (mf_trace_open(pid, &reader) != SMEM_OK) {
        return complain();
    }
    insert(list, pid, reader);
    return 0;
}

static void take_pid(void *arg, int32_t pid)
{
    struct top_list *list = arg;
    mf_trace_reader_t *reader = NULL;

    /* One that cannot be opened has ended since it was found. */
    if (!is_watched(list, pid) && mf_trace_open(pid, &reader) == SMEM_OK) {
        insert(list, pid, reader);
    }
}

int top_list_search(struct top_list *list)
{
    return mf_trace_find(take_pid, list) == SMEM_OK ? 0 : complain();
}

static void take_point(void *arg, const mf_trace_point_t *point)
{
    struct top_process *process = arg;
    size_t i = process->count;

    if (i < TOP_POINTS_MAX) {
        process->points[i] = *point;
        snprintf(process->names[i], sizeof(process->names[i]), "%s", point->name);
        process->points[i].name = process->names[i];
        process->count++;
    }
}

int top_list_read(struct top_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct top_process *process = list->v[i];

        process->count = 0;
        if (mf_trace_read(process->reader, &process->about, take_point, process) != SMEM_OK) {
            return complain();
        }
    }
    return 0;
}

static void destroy(struct top_process *process)
{
    mf_trace_close(process->reader);
    free(process);
}

void top_list_drop_ended(struct top_list *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (list->v[i]->about.alive) {
            list->v[kept++] = list->v[i];
        } else {
            destroy(list->v[i]);
        }
    }
    list->count = kept;
}

void top_list_fini(struct top_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        destroy(list->v[i]);
    }
    free(list->v);
    *list = (struct top_list){.v = NULL};
}
