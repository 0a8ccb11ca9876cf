// SPDX-License-Identifier: Apache-2.0
// Memory behind a descriptor of the user: which files are taken, what is done to them, and that no
// file is taken which somebody could make shorter. And how much memory there is for a pool that
// takes what there is.
#include "gva/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "gva/available.h"
#include "gva/space.h"
#include "gva_place.h"
#include "mf_test.h"

#define AT   MF_TEST_BASE
#define MIB  (1ull << 20)
#define SIZE (4 * MIB)

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

struct fixture {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_memory_cfg cfg;
    struct mf_memory memory;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.log = MF_LOG_INIT};
    mf_env_init_real(&fixture.env, &fixture.log);
    mf_config_defaults(&fixture.config);
    mf_assert_ok(mf_config_set(&fixture.config, MF_OPT_SEG_HUGE, "never"));
    fixture.cfg = (struct mf_memory_cfg){.env = &fixture.env,
                                         .config = &fixture.config,
                                         .size = SIZE,
                                         .numa_node = -1,
                                         .what = "pool 7 dram"};
    *state = &fixture;
    return 0;
}

/* A memfd of that size and those seals. */
static int file(uint64_t size, int seals)
{
    int fd = memfd_create("user", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    if (seals) {
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    }
    return fd;
}

static uint64_t size_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

/* Refused with that sentence; the file is left as it was. Closes it. */
static void refused(struct fixture *f, int fd, const char *part)
{
    int seals = fcntl(fd, F_GET_SEALS);
    uint64_t size = size_of(fd);
    mf_assert_rc(mf_memory_adopt(&f->cfg, fd, &f->memory), SMEM_INVALID_PARAM);
    mf_assert_err_has("dramShmFd");
    mf_assert_err_has(part);
    assert_int_equal(f->memory.fd, -1);
    assert_int_equal(fcntl(fd, F_GET_SEALS), seals);
    assert_int_equal(size_of(fd), size);
    close(fd);
}

/* ---- taken ---------------------------------------------------------------------------------- */

static void test_adopt__seals_enlarges_and_keeps_the_bytes(void **state)
{
    struct fixture *f = *state;
    int fd = file(MIB, 0);
    assert_int_equal(pwrite(fd, "mine", 4, 4096), 4);
    mf_assert_ok(mf_memory_adopt(&f->cfg, fd, &f->memory));
    assert_true(f->memory.user_fd);
    assert_int_not_equal(f->memory.fd, fd);
    assert_true(fcntl(f->memory.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK); /* the user may do the rest */
    assert_int_equal(size_of(fd), SIZE);
    assert_int_not_equal(ftruncate(fd, MIB), 0);
    assert_int_equal(errno, EPERM);
    close(fd); /* ours stays */
    mf_assert_ok(mf_space_reserve(AT, SIZE));
    mf_assert_ok(mf_space_map(AT, SIZE, f->memory.fd, 0));
    mf_assert_ok(mf_memory_populate(&f->cfg, &f->memory, AT));
    assert_memory_equal((void *)(uintptr_t)(AT + 4096), "mine", 4);
    mf_assert_ok(mf_memory_punch(&f->memory));
    assert_memory_equal((void *)(uintptr_t)(AT + 4096), "mine", 4);
    mf_assert_ok(mf_space_release(AT, SIZE));
    mf_memory_fini(&f->memory);
}

static void test_adopt__sealed_files_that_are_large_enough(void **state)
{
    struct fixture *f = *state;
    const int seals[] = {F_SEAL_SHRINK, F_SEAL_SHRINK | F_SEAL_SEAL,
                         F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, F_SEAL_GROW};
    for (size_t i = 0; i < sizeof(seals) / sizeof(seals[0]); i++) {
        for (uint64_t more = 0; more <= SIZE; more += SIZE) {
            int fd = file(SIZE + more, seals[i]);
            mf_assert_ok(mf_memory_adopt(&f->cfg, fd, &f->memory));
            assert_int_equal(fcntl(fd, F_GET_SEALS), seals[i] | F_SEAL_SHRINK);
            assert_int_equal(size_of(fd), SIZE + more);
            assert_int_equal(f->memory.size, SIZE);
            mf_memory_fini(&f->memory);
            mf_assert_ok(mf_memory_adopt(&f->cfg, fd, &f->memory)); /* again */
            mf_memory_fini(&f->memory);
            close(fd);
        }
    }
}

/* The file is as large as it likes, its pages are not there yet. */
static void test_adopt__more_than_there_is_is_an_error(void **state)
{
    struct fixture *f = *state;
    char why[512];
    int fd = file(MIB, 0);
    f->cfg.size = (mf_memory_available(why, sizeof(why)) + (4ull << 30)) & ~(2 * MIB - 1);
    mf_assert_ok(mf_memory_adopt(&f->cfg, fd, &f->memory));
    mf_assert_ok(mf_space_reserve(AT, f->cfg.size));
    mf_assert_ok(mf_space_map(AT, f->cfg.size, f->memory.fd, 0));
    mf_assert_rc(mf_memory_populate(&f->cfg, &f->memory, AT), SMEM_MALLOC_FAILED);
    mf_assert_err_has("may still be allocated");
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_memory_fini(&f->memory);
    close(fd);
}

/* ---- refused -------------------------------------------------------------------------------- */

static void test_adopt__refuses_what_cannot_be_sealed(void **state)
{
    struct fixture *f = *state;
    char disk[] = "/tmp/mf_test_adopt.XXXXXX";
    char shm[] = "/dev/shm/mf_test_adopt.XXXXXX";
    int fd = memfd_create("user", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    refused(f, fd, "cannot be sealed against shrinking");
    refused(f, file(SIZE, F_SEAL_SEAL), "MFD_ALLOW_SEALING");
    refused(f, file(SIZE, F_SEAL_GROW | F_SEAL_SEAL), "kill every process");
    fd = mkstemp(disk);
    assert_true(fd >= 0);
    unlink(disk);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    refused(f, fd, "memfd_create");
    fd = mkstemp(shm);
    if (fd < 0) {
        print_message("skipped in part: this machine has no /dev/shm\n");
        return;
    }
    unlink(shm);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    refused(f, fd, "a file of /dev/shm");
}

static void test_adopt__refuses_what_cannot_be_written(void **state)
{
    struct fixture *f = *state;
    char path[64];
    refused(f, file(SIZE, F_SEAL_WRITE), "sealed against writing");
    refused(f, file(SIZE, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK), "sealed against writing");
    int fd = file(SIZE, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    refused(f, open(path, O_RDONLY | O_CLOEXEC), "not open for reading and writing");
    refused(f, open(path, O_WRONLY | O_CLOEXEC), "not open for reading and writing");
    close(fd);
}

static void test_adopt__refuses_what_is_no_file(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    refused(f, ends[0], "not a file");
    close(ends[1]);
    refused(f, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "not a file");
    int fd = file(SIZE, 0);
    close(fd);
    mf_assert_rc(mf_memory_adopt(&f->cfg, fd, &f->memory), SMEM_INVALID_PARAM);
    mf_assert_err_has("Bad file descriptor");
}

static void test_adopt__refuses_what_is_too_short_for_good(void **state)
{
    struct fixture *f = *state;
    refused(f, file(MIB, F_SEAL_GROW), "holds 1048576 bytes and is sealed against growing");
    refused(f, file(SIZE - 4096, F_SEAL_GROW | F_SEAL_SHRINK), "localDRAMSize is 4194304");
}

/* ---- limits --------------------------------------------------------------------------------- */

static void test_adopt__limits_are_results(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    int fd = file(MIB, 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit low = {.rlim_cur = 2 * MIB, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int rc = mf_memory_adopt(&f->cfg, fd, &f->memory);
    setrlimit(RLIMIT_FSIZE, &old);
    mf_assert_rc(rc, SMEM_NO_RESOURCES);
    mf_assert_err_has("ulimit -f");
    assert_int_equal(size_of(fd), MIB);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(probe);
    low = (struct rlimit){.rlim_cur = (rlim_t)probe, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    rc = mf_memory_adopt(&f->cfg, fd, &f->memory);
    setrlimit(RLIMIT_NOFILE, &old);
    mf_assert_rc(rc, SMEM_NO_RESOURCES);
    mf_assert_err_has("ulimit -n");
    close(fd);
}

static void test_fit__as_much_as_there_is(void **state)
{
    struct fixture *f = *state;
    char why[512];
    uint64_t there = mf_memory_available(why, sizeof(why));
    assert_int_equal(mf_memory_fit(&f->cfg, why, sizeof(why)), SIZE);
    f->cfg.size = MF_DRAM_LOCAL_MAX;
    uint64_t fit = mf_memory_fit(&f->cfg, why, sizeof(why));
    assert_int_equal(fit % MF_PAGE_LARGE, 0);
    assert_in_range(fit, there / 2, MF_DRAM_LOCAL_MAX - MF_PAGE_LARGE);
    assert_non_null(strstr(why, "may still be allocated"));
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_SEG_HUGE, "require"));
    fit = mf_memory_fit(&f->cfg, why, sizeof(why));
    assert_in_range(fit, 0, MF_DRAM_LOCAL_MAX - MF_PAGE_LARGE);
    assert_non_null(strstr(why, "2 MiB pages are free"));
}

static void test_fit__limit_of_a_files_size(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    char why[512];
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit low = {.rlim_cur = 3 * MIB, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    uint64_t fit = mf_memory_fit(&f->cfg, why, sizeof(why));
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(fit, 2 * MIB);
    assert_non_null(strstr(why, "ulimit -f"));
}

/* ---- NUMA nodes ------------------------------------------------------------------------------ */

static void test_check_node__names_those_that_there_are(void **state)
{
    (void)state;
    mf_assert_ok(mf_memory_check_node(-1));
    mf_assert_ok(mf_memory_check_node(0));
    mf_assert_rc(mf_memory_check_node(126), SMEM_INVALID_PARAM);
    mf_assert_err_has("NUMA node 126");
    mf_assert_err_has("this machine has the nodes 0");
}

static void test_node_available__free_pages_and_cache(void **state)
{
    static const char text[] = "Node 3 MemTotal:  9999 kB\nNode 3 MemFree:  1000 kB\n"
                               "Node 3 Active(file):  200 kB\nNode 3 Inactive(file):   30 kB\n";
    char root[] = "/tmp/mf_test_node.XXXXXX";
    char path[128];
    char why[256];
    static const char *const dirs[] = {"sys", "sys/devices", "sys/devices/system",
                                       "sys/devices/system/node", "sys/devices/system/node/node3"};
    (void)state;
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    assert_int_equal(mf_node_available_in(root, 3, why, sizeof(why)), UINT64_MAX);
    snprintf(path, sizeof(path), "%s/%s/meminfo", root, dirs[4]);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    assert_int_equal(mf_node_available_in(root, 3, why, sizeof(why)), 1230 * 1024);
    assert_non_null(strstr(why, "node3/meminfo"));
    assert_int_equal(mf_node_available_in(root, 4, why, sizeof(why)), UINT64_MAX);
    unlink(path);
    for (size_t i = sizeof(dirs) / sizeof(dirs[0]); i-- > 0;) {
        snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
        rmdir(path);
    }
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        CASE(test_adopt__seals_enlarges_and_keeps_the_bytes),
        CASE(test_adopt__sealed_files_that_are_large_enough),
        CASE(test_adopt__more_than_there_is_is_an_error),
        CASE(test_adopt__refuses_what_cannot_be_sealed),
        CASE(test_adopt__refuses_what_cannot_be_written),
        CASE(test_adopt__refuses_what_is_no_file),
        CASE(test_adopt__refuses_what_is_too_short_for_good),
        CASE(test_adopt__limits_are_results),
        CASE(test_fit__as_much_as_there_is),
        CASE(test_fit__limit_of_a_files_size),
        CASE(test_check_node__names_those_that_there_are),
        CASE(test_node_available__free_pages_and_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
