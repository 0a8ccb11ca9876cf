// SPDX-License-Identifier: Apache-2.0
// Tests of reading another process's trace memory: what is found, what is refused, and what happens
// when the process ends.
#include "unit/trace_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "trace/proc.h"
#include "trace/view.h"

/* ---- reading ---- */

static void test_trace_view__reads_what_was_counted(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    struct mf_trace_view *view = NULL;
    mf_trace_set_rank(rig->trace, 77, 3, 8);
    rig_call(rig, &own, MF_POINT_COPY_PUT, 100, SMEM_OK, 4096);
    mf_assert_ok(mf_trace_view_open(&rig->env, getpid(), &view));
    mf_assert_ok(mf_trace_view_read(view));
    assert_true(mf_trace_view_is_alive(view));
    assert_int_equal(view->head.rank, 3);
    assert_int_equal(view->head.world, 8);
    assert_int_equal(view->head.incarnation, 77);
    assert_int_equal(view->head.pid, getpid());
    assert_int_equal(view->now.point[MF_POINT_COPY_PUT].begun, 1);
    assert_int_equal(view->now.point[MF_POINT_COPY_PUT].bytes, 4096);
    assert_int_equal(view->before_ns, 0);

    rig_call(rig, &own, MF_POINT_COPY_PUT, 100, SMEM_OK, 4096);
    mf_trace_set_rank(rig->trace, 0, 3, 0);
    mf_assert_ok(mf_trace_view_read(view));
    assert_int_equal(view->head.rank, UINT32_MAX);
    assert_int_equal(view->before.point[MF_POINT_COPY_PUT].begun, 1);
    assert_int_equal(view->now.point[MF_POINT_COPY_PUT].begun, 2);
    assert_true(view->before_ns != 0 && view->now_ns >= view->before_ns);
    assert_memory_equal(&view->now, (rig_sum(rig, MF_POINT_BM_INIT), &rig->sums),
                        sizeof(view->now));
    mf_trace_view_close(view);
}

static void test_trace_view__reading_takes_no_memory_of_the_process(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_trace_view *view = NULL;
    struct stat before;
    struct stat after;
    for (int i = 0; i < 100; i++) {
        (void)mf_tracer_own(rig->trace); /* blocks in use that nobody has written */
    }
    assert_int_equal(fstat(rig->trace->fd, &before), 0);
    mf_assert_ok(mf_trace_view_open(&rig->env, getpid(), &view));
    mf_assert_ok(mf_trace_view_read(view));
    assert_int_equal(fstat(rig->trace->fd, &after), 0);
    assert_int_equal(after.st_blocks, before.st_blocks);
    mf_trace_view_close(view);
}

/* A child that counts once, says so, and waits to be killed. */
static pid_t start_child(int (*body)(void), int *gate)
{
    int fds[2];
    char byte;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = body();
        if (rc == 0 && write(fds[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    *gate = fds[0];
    return pid;
}

static void end_child(pid_t pid, int gate)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(gate);
}

static int count_once(void)
{
    struct trace_rig *rig = rig_new();
    int rc = mf_trace_create(&rig->env, &rig->trace);
    struct mf_tracer shared = mf_tracer_shared(rig->trace);
    struct mf_span span = mf_trace_begin(&shared, MF_POINT_BM_JOIN);
    return rc == SMEM_OK ? mf_trace_end(&span, SMEM_OK, 0) : rc;
}

static void test_trace_view__of_a_process_that_ended_keeps_its_last_counts(void **state)
{
    struct trace_rig *rig = rig_new();
    struct mf_trace_view *view = NULL;
    int gate = -1;
    (void)state;
    pid_t pid = start_child(count_once, &gate);
    mf_assert_ok(mf_trace_view_open(&rig->env, pid, &view));
    assert_true(mf_trace_view_is_alive(view));
    end_child(pid, gate);
    assert_false(mf_trace_view_is_alive(view));
    mf_assert_ok(mf_trace_view_read(view));
    assert_int_equal(view->now.point[MF_POINT_BM_JOIN].good, 1);
    mf_trace_view_close(view);
    mf_assert_rc(mf_trace_view_open(&rig->env, pid, &view), SMEM_NOT_EXIST);
    mf_assert_err_has("there is no process");
    assert_null(view);
    free(rig);
}

/* ---- finding ---- */

struct pids {
    int32_t v[256];
    int count;
    bool in_order;
};

static void note_pid(void *arg, int32_t pid)
{
    struct pids *pids = arg;
    pids->in_order = pids->in_order && (pids->count == 0 || pids->v[pids->count - 1] < pid);
    if (pids->count < 256) {
        pids->v[pids->count++] = pid;
    }
}

static int times(const struct pids *pids, pid_t pid)
{
    int n = 0;
    for (int i = 0; i < pids->count; i++) {
        n += pids->v[i] == pid;
    }
    return n;
}

static int do_nothing(void)
{
    return 0;
}

static void test_trace_find__names_owners_and_not_who_inherited(void **state)
{
    struct trace_rig *rig = *state;
    struct pids pids = {.in_order = true};
    int gates[2];
    pid_t heir = start_child(do_nothing, &gates[0]); /* has the descriptor of its parent */
    pid_t owner = start_child(count_once, &gates[1]);
    mf_err(SMEM_TIMEOUT, "as it was before");
    mf_assert_ok(mf_trace_proc_find(note_pid, &pids));
    mf_assert_err_has("as it was before");
    end_child(heir, gates[0]);
    end_child(owner, gates[1]);
    assert_non_null(rig->trace);
    assert_true(pids.in_order);
    assert_int_equal(times(&pids, getpid()), 1);
    assert_int_equal(times(&pids, owner), 1);
    assert_int_equal(times(&pids, heir), 0);
}

static void test_trace_view_open__says_what_is_missing(void **state)
{
    struct trace_rig *rig = rig_new();
    struct mf_trace_view *view = NULL;
    (void)state;
    mf_assert_rc(mf_trace_view_open(&rig->env, getpid(), &view), SMEM_NOT_EXIST);
    mf_assert_err_has("has not called smem_bm_init");
    mf_assert_rc(mf_trace_view_open(&rig->env, 0x7ffffffe, &view), SMEM_NOT_EXIST);
    mf_assert_err_has("there is no process 2147483646");
    free(rig);
}

static void test_trace_view_open__of_another_user_is_refused(void **state)
{
    struct trace_rig *rig = *state;
    int status = 0;
    if (geteuid() != 0) {
        print_message("skipped: only root can become another user\n");
        skip();
    }
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct mf_trace_view *view = NULL;
        bool other = setgid(65534) == 0 && setuid(65534) == 0;
        int rc = mf_trace_view_open(&rig->env, parent, &view);
        bool said = strstr(mf_err_msg(), "for its own user") != NULL;
        _exit(other && rc == SMEM_ERROR && said ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- what is not believed ---- */

enum { GOOD_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

/* A memfd that begins with the bytes. */
static int make_memfd(const void *bytes, size_t len, size_t size, int seals)
{
    int fd = memfd_create(MF_TRACE_FD_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, bytes, len, 0), len);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void refuse_fd(int fd, const char *part)
{
    struct mf_trace_head head;
    mf_err_clear();
    mf_assert_rc(mf_trace_check_fd(fd, &head), SMEM_ERROR);
    mf_assert_err_has(part);
    close(fd);
}

static void test_trace_check_fd__refuses_foreign_memory(void **state)
{
    struct trace_rig *rig = *state;
    const size_t size = sizeof(struct mf_trace_memory);
    const struct mf_trace_head good = rig->trace->memory->head;
    struct mf_trace_head bad = good;
    struct mf_trace_head head;
    int fd = make_memfd(&good, sizeof(good), size, GOOD_SEALS);
    mf_assert_ok(mf_trace_check_fd(fd, &head));
    close(fd);
    refuse_fd(open("/dev/null", O_RDONLY), "no memfd");
    refuse_fd(make_memfd(&good, sizeof(good), size, 0), "not sealed");
    refuse_fd(make_memfd(&good, sizeof(good), size, F_SEAL_GROW), "not sealed");
    refuse_fd(make_memfd("", 0, 0, GOOD_SEALS), "0 bytes");
    refuse_fd(make_memfd(&good, 4095, 4095, GOOD_SEALS), "4095 bytes");
    refuse_fd(make_memfd(&good, sizeof(good), 8192, GOOD_SEALS), "has 8192 bytes instead of");
    refuse_fd(make_memfd(&good, sizeof(good), size + 1, GOOD_SEALS), "instead of");
    refuse_fd(make_memfd("", 0, size, GOOD_SEALS), "does not begin");
    bad.format = 99;
    refuse_fd(make_memfd(&bad, sizeof(bad), size, GOOD_SEALS), "format 99, and this version reads");
    bad = good;
    bad.blocks_used = MF_TRACE_BLOCKS + 1;
    refuse_fd(make_memfd(&bad, sizeof(bad), size, GOOD_SEALS), "contradicts");
    bad.blocks_used = 0;
    refuse_fd(make_memfd(&bad, sizeof(bad), size, GOOD_SEALS), "contradicts");
    bad = good;
    bad.block_bytes = 0;
    refuse_fd(make_memfd(&bad, sizeof(bad), size, GOOD_SEALS), "contradicts");
    bad = good;
    bad.points = MF_TRACE_POINTS + 1;
    refuse_fd(make_memfd(&bad, sizeof(bad), size, GOOD_SEALS), "contradicts");
    bad = good;
    bad.buckets = UINT32_MAX;
    refuse_fd(make_memfd(&bad, sizeof(bad), size, GOOD_SEALS), "contradicts");
}

static void test_trace_view_open__names_the_bad_descriptor(void **state)
{
    struct trace_rig *rig = rig_new();
    struct mf_trace_view *view = NULL;
    char part[64];
    (void)state;
    int fd = make_memfd("garbage", 7, 1 << 20, GOOD_SEALS);
    mf_assert_rc(mf_trace_view_open(&rig->env, getpid(), &view), SMEM_ERROR);
    snprintf(part, sizeof(part), "is refused (descriptor %d): it does not begin", fd);
    mf_assert_err_has(part);
    /* A good one beside it is found. */
    mf_assert_ok(mf_trace_create(&rig->env, &rig->trace));
    mf_assert_ok(mf_trace_view_open(&rig->env, getpid(), &view));
    mf_trace_view_close(view);
    mf_trace_destroy(rig->trace);
    close(fd);
    free(rig);
}

static void test_trace_view_read__random_contents_do_no_harm(void **state)
{
    struct trace_rig *rig = rig_new();
    struct trace_rig *model = *state;
    struct mf_trace_view *view = NULL;
    static struct mf_trace_memory memory;
    uint64_t seed = 42;
    memory.head = model->trace->memory->head;
    memory.head.blocks_used = 3;
    mf_trace_destroy(model->trace); /* the first good one of a process counts */
    model->trace = NULL;
    memset(memory.head.point, 0xe5, sizeof(memory.head.point));
    for (uint64_t *at = (uint64_t *)&memory.blocks[0]; at < (uint64_t *)&memory.blocks[3]; at++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        *at = seed;
    }
    int fd = make_memfd(&memory, sizeof(memory), sizeof(memory), GOOD_SEALS);
    mf_assert_ok(mf_trace_view_open(&rig->env, getpid(), &view));
    mf_assert_ok(mf_trace_view_read(view));
    mf_assert_ok(mf_trace_view_read(view));
    for (uint32_t p = 0; p < MF_TRACE_POINTS; p++) {
        struct mf_trace_sum between;
        (void)mf_trace_sum_quantile(&view->now.point[p], 0.999);
        mf_trace_sum_between(&view->before.point[p], &view->now.point[p], &between);
        assert_int_equal(between.begun, 0);
        assert_int_equal(strlen(view->head.point[p].name), MF_TRACE_NAME_MAX - 1);
        assert_int_equal(view->head.point[p].name[0], '?');
    }
    mf_trace_view_close(view);
    close(fd);
    free(rig);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_trace_view__reads_what_was_counted),
        WITH_RIG(test_trace_view__reading_takes_no_memory_of_the_process),
        cmocka_unit_test(test_trace_view__of_a_process_that_ended_keeps_its_last_counts),
        WITH_RIG(test_trace_find__names_owners_and_not_who_inherited),
        cmocka_unit_test(test_trace_view_open__says_what_is_missing),
        WITH_RIG(test_trace_view_open__of_another_user_is_refused),
        WITH_RIG(test_trace_check_fd__refuses_foreign_memory),
        cmocka_unit_test(test_trace_view_open__names_the_bad_descriptor),
        WITH_RIG(test_trace_view_read__random_contents_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
