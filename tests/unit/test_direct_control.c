// SPDX-License-Identifier: Apache-2.0
// Control pages: what a peer's page must be before it is believed, and the scan of the lines.
#include "transport/direct/control.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mf_test.h"
#include "transport/fence/fence.h"

static const struct mf_fence_identity who = {
    .rank = 5, .pid = 77, .incarnation = 0xabc, .world_id = 9, .needs_fence = true};

static void test_control__what_the_owner_writes_the_peer_reads(void **state)
{
    struct mf_fence_page *own;
    struct mf_fence_page *peer;
    int fd;
    (void)state;
    mf_assert_ok(mf_direct_control_create(&who, &fd, &own));
    mf_assert_ok(mf_direct_control_map(fd, &peer));
    assert_ptr_not_equal(own, peer);
    assert_int_equal(peer->rank, 5);
    assert_int_equal(peer->pid, 77);
    assert_int_equal(peer->incarnation, 0xabc);
    assert_int_equal(peer->world_id, 9);
    assert_int_equal(peer->needs_fence, 1);
    assert_int_equal(peer->start_time, mf_direct_start_time(getpid()));
    assert_true(peer->start_time != 0);
    atomic_store(&own->epochs[MF_SEGMENTS_MAX - 1], 3);
    assert_int_equal(atomic_load(&peer->epochs[MF_SEGMENTS_MAX - 1]), 3);
    mf_direct_control_unmap(peer);
    mf_direct_control_unmap(own);
    mf_direct_control_unmap(NULL);
    close(fd);
}

static int make_page(unsigned flags, off_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | flags);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    if (seals) {
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    }
    return fd;
}

static void expect_refused(int fd)
{
    struct mf_fence_page *page = NULL;
    mf_assert_rc(mf_direct_control_map(fd, &page), SMEM_INVALID_PARAM);
    assert_null(page);
    close(fd);
}

static void test_control_map__refuses_what_could_shrink_or_is_none(void **state)
{
    off_t size = sizeof(struct mf_fence_page);
    int seals = F_SEAL_SHRINK | F_SEAL_GROW;
    int pipes[2];
    (void)state;
    expect_refused(make_page(MFD_ALLOW_SEALING, size, 0));
    expect_refused(make_page(0, size, 0));
    expect_refused(make_page(MFD_ALLOW_SEALING, size, F_SEAL_SHRINK));
    expect_refused(make_page(MFD_ALLOW_SEALING, size - 4096, seals));
    expect_refused(make_page(MFD_ALLOW_SEALING, size + 4096, seals));
    expect_refused(make_page(MFD_ALLOW_SEALING, size, seals)); /* no magic */
    mf_assert_err_has("version 0");
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    expect_refused(pipes[0]);
    close(pipes[1]);
}

static void test_control_clear_of__looks_at_every_word_of_every_line(void **state)
{
    struct mf_fence_page *page;
    uint64_t word = mf_fence_hazard(1023, 4095, UINT64_MAX);
    int fd;
    (void)state;
    assert_true(word != 0 && mf_fence_hazard(0, 0, 1ull << 32) != 0);
    assert_int_not_equal(mf_fence_hazard(1, 2, 3), mf_fence_hazard(1, 2, 4));
    assert_int_not_equal(mf_fence_hazard(1, 2, 3), mf_fence_hazard(2, 2, 3));
    assert_int_not_equal(mf_fence_hazard(1, 2, 3), mf_fence_hazard(1, 3, 3));
    mf_assert_ok(mf_direct_control_create(&who, &fd, &page));
    atomic_store(&page->lines_used, MF_THREADS_MAX + 100); /* a peer may write what it likes */
    assert_true(mf_fence_clear_of(page, word));
    for (uint32_t i = 0; i < MF_THREADS_MAX; i += 73) {
        for (uint32_t k = 0; k < MF_FENCE_HAZARDS; k++) {
            atomic_store(&page->lines[i].hazard[k], word);
            assert_false(mf_fence_clear_of(page, word));
            assert_true(mf_fence_clear_of(page, word - 1));
            atomic_store(&page->lines[i].hazard[k], 0);
        }
    }
    assert_true(mf_fence_clear_of(page, word));
    mf_direct_control_unmap(page);
    close(fd);
}

static void test_control__is_not_inherited(void **state)
{
    struct mf_fence_page *page;
    int fd;
    int status;
    (void)state;
    mf_assert_ok(mf_direct_control_create(&who, &fd, &page));
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(page->rank == 5 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__has_feature)
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#else
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
    mf_direct_control_unmap(page);
    close(fd);
}

static void test_start_time__of_a_process_and_of_none(void **state)
{
    (void)state;
    assert_int_equal(mf_direct_start_time(0), mf_direct_start_time(getpid()));
    assert_int_equal(mf_direct_own_pid(), getpid());
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    assert_int_equal(mf_direct_start_time(pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control__what_the_owner_writes_the_peer_reads),
        cmocka_unit_test(test_control_map__refuses_what_could_shrink_or_is_none),
        cmocka_unit_test(test_control_clear_of__looks_at_every_word_of_every_line),
        cmocka_unit_test(test_control__is_not_inherited),
        cmocka_unit_test(test_start_time__of_a_process_and_of_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
