// SPDX-License-Identifier: Apache-2.0
// Reservations and mappings at fixed addresses: nothing is replaced by a reservation, and the
// sentence names what is in the way.
#include "gva/space.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "gva_place.h"
#include "mf_test.h"

#define AT   MF_TEST_BASE
#define SIZE (UINT64_C(16) << 20)

static volatile uint8_t *byte_at(uint64_t addr)
{
    return (volatile uint8_t *)(uintptr_t)addr;
}

/* How a child that reads the address ends: its exit code, or minus the signal. */
static int child_reads(uint64_t addr)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        uint8_t value = *byte_at(addr);
        _exit(value);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int make_memfd(uint64_t size)
{
    int fd = memfd_create("test_space", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static void test_space_reserve__names_what_is_in_the_way(void **state)
{
    char want[64];
    (void)state;
    int fd = make_memfd(8192);
    void *taken =
        mmap((void *)(uintptr_t)(AT + 4096), 8192, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    assert_ptr_equal(taken, (void *)(uintptr_t)(AT + 4096));
    mf_assert_rc(mf_space_reserve(AT, SIZE), SMEM_RES_IN_USE);
    snprintf(want, sizeof(want), "%" PRIx64 "-%" PRIx64 " r--s", AT + 4096, AT + 4096 + 8192);
    mf_assert_err_has(want);
    mf_assert_err_has("test_space");
    mf_assert_err_has("gva.base");
    munmap(taken, 8192);
    close(fd);
    mf_assert_ok(mf_space_reserve(AT, SIZE));
    mf_assert_rc(mf_space_reserve(AT + SIZE - 4096, 8192), SMEM_RES_IN_USE);
    mf_assert_ok(mf_space_release(AT, SIZE));
}

static void test_space_reserve__refuses_bad_ranges(void **state)
{
    (void)state;
    mf_assert_rc(mf_space_reserve(AT, 0), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_space_reserve(0, SIZE), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_space_reserve(AT + 1, SIZE), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_space_reserve(AT, 4095), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_space_reserve(UINT64_MAX - 4095, 8192), SMEM_INVALID_PARAM);
#ifndef MF_TEST_TSAN /* which ends the process when such a call fails */
    mf_assert_rc(mf_space_reserve(1ull << 60, 4096), SMEM_NO_RESOURCES);
    mf_assert_err_has("gva.base");
#endif
}

static void test_space_reserve_free__anywhere_and_near(void **state)
{
    uint64_t a = 0, b = 0, c = 0;
    char who[256];
    (void)state;
    mf_assert_ok(mf_space_reserve_free(0, SIZE, &a));
    assert_true(a != 0 && a % MF_PAGE_LARGE == 0);
    assert_int_equal(child_reads(a), -SIGSEGV);
    mf_assert_ok(mf_space_reserve_free(AT, SIZE, &b));
    assert_true(b == AT);
    mf_assert_ok(mf_space_reserve_free(AT + SIZE - MF_PAGE_LARGE, SIZE, &c)); /* is not free */
    assert_true(c % MF_PAGE_LARGE == 0 && c - AT >= SIZE && AT - c >= SIZE);
    int fd = make_memfd(SIZE);
    mf_assert_ok(mf_space_map(c, SIZE, fd, 0));
    *byte_at(c) = 3;
    assert_int_equal(child_reads(c), -SIGSEGV); /* not inherited */
    assert_int_equal(child_reads(a), -SIGSEGV);
    close(fd);
    mf_assert_ok(mf_space_release(a, SIZE));
    mf_assert_ok(mf_space_release(b, SIZE));
    mf_assert_ok(mf_space_release(c, SIZE));
    assert_false(mf_space_conflict(a, SIZE, who, sizeof(who)));
    assert_false(mf_space_conflict(AT, SIZE, who, sizeof(who)));
}

static void test_space_reserve_free__refuses_bad_sizes(void **state)
{
    uint64_t at = 0;
    (void)state;
    mf_assert_rc(mf_space_reserve_free(0, 0, &at), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_space_reserve_free(0, 4096, &at), SMEM_INVALID_PARAM);
    mf_assert_err_has("4096 bytes are no multiple of 2 MiB");
    mf_assert_rc(mf_space_reserve_free(0, 0 - MF_PAGE_LARGE, &at), SMEM_INVALID_PARAM);
#ifndef MF_TEST_TSAN /* which ends the process when such a call fails */
    mf_assert_rc(mf_space_reserve_free(0, 1ull << 60, &at), SMEM_NO_RESOURCES);
    mf_assert_err_has("1152921504606846976 bytes");
    mf_assert_err_has("ulimit -v");
#endif
}

static void test_space_map__then_unmap_and_zero(void **state)
{
    (void)state;
    int fd = make_memfd(SIZE);
    mf_assert_ok(mf_space_reserve(AT, SIZE));
    assert_int_equal(child_reads(AT), -SIGSEGV);
    mf_assert_ok(mf_space_map(AT + 4096, 8192, fd, 4096));
    *byte_at(AT + 4096) = 42;
    uint8_t stored = 0;
    assert_int_equal(pread(fd, &stored, 1, 4096), 1);
    assert_int_equal(stored, 42);
    assert_int_equal(child_reads(AT + 4096), -SIGSEGV); /* not inherited */
    mf_assert_ok(mf_space_zero(AT + 4096, 8192));
    assert_int_equal(*byte_at(AT + 4096), 0);
    *byte_at(AT + 4096) = 7; /* a stray store hits nothing */
    assert_int_equal(pread(fd, &stored, 1, 4096), 1);
    assert_int_equal(stored, 42);
    mf_assert_ok(mf_space_unmap(AT + 4096, 8192));
    assert_int_equal(child_reads(AT + 4096), -SIGSEGV);
    char who[256];
    assert_true(mf_space_conflict(AT, SIZE, who, sizeof(who)));
    mf_assert_ok(mf_space_release(AT, SIZE));
    assert_false(mf_space_conflict(AT, SIZE, who, sizeof(who)));
    close(fd);
}

static void test_space_map__reports_a_bad_descriptor(void **state)
{
    (void)state;
    mf_assert_ok(mf_space_reserve(AT, SIZE));
    mf_assert_rc(mf_space_map(AT, 4096, -1, 0), SMEM_ERROR);
    mf_assert_err_has("Bad file descriptor");
    mf_assert_rc(mf_space_map(AT, 4097, 0, 0), SMEM_INVALID_PARAM);
    mf_assert_ok(mf_space_release(AT, SIZE));
}

static void test_space_conflict__finds_any_overlap(void **state)
{
    char who[256];
    int local = 0;
    uint64_t page = (uint64_t)(uintptr_t)&local & ~4095ull;
    (void)state;
    assert_true(mf_space_conflict(page, 1, who, sizeof(who)));
    assert_non_null(strstr(who, "[stack]"));
    mf_assert_ok(mf_space_reserve(AT, SIZE));
    assert_true(mf_space_conflict(AT - SIZE, SIZE + 1, who, sizeof(who)));
    assert_non_null(strstr(who, "---p (anonymous)"));
    assert_false(mf_space_conflict(AT - SIZE, SIZE, who, sizeof(who)));
    assert_false(mf_space_conflict(AT + SIZE, SIZE, who, sizeof(who)));
    mf_assert_ok(mf_space_release(AT, SIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_space_reserve__names_what_is_in_the_way),
        cmocka_unit_test(test_space_reserve__refuses_bad_ranges),
        cmocka_unit_test(test_space_reserve_free__anywhere_and_near),
        cmocka_unit_test(test_space_reserve_free__refuses_bad_sizes),
        cmocka_unit_test(test_space_map__then_unmap_and_zero),
        cmocka_unit_test(test_space_map__reports_a_bad_descriptor),
        cmocka_unit_test(test_space_conflict__finds_any_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
