// SPDX-License-Identifier: Apache-2.0
// Segment memory: which pages it gets, that running out is a result and never a signal, that pages
// go back at once, and how the limits of the machine are read.
#include "gva/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
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

#define AT         MF_TEST_BASE
#define MIB        (1ull << 20)
#define HUGE_ADDED 8u

struct fixture {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    struct mf_memory_cfg cfg;
    unsigned huge_added; /* to this machine's 2 MiB pages */
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.log = MF_LOG_INIT};
    mf_env_init_real(&fixture.env, &fixture.log);
    mf_config_defaults(&fixture.config);
    fixture.cfg = (struct mf_memory_cfg){.env = &fixture.env,
                                         .config = &fixture.config,
                                         .size = 64 * MIB,
                                         .numa_node = -1,
                                         .what = "pool 7 dram"};
    *state = &fixture;
    return 0;
}

static uint64_t blocks_bytes(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void test_memory_create__sealed_named_and_empty(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    char link[64];
    char target[128] = "";
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_SEG_HUGE, "never"));
    mf_assert_ok(mf_memory_create(&f->cfg, &memory));
    assert_true(memory.pages == MF_PAGES_PLAIN || memory.pages == MF_PAGES_THP);
    int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    assert_int_equal(fcntl(memory.fd, F_GET_SEALS), want);
    assert_int_not_equal(ftruncate(memory.fd, 0), 0);
    assert_int_equal(errno, EPERM);
    assert_true(fcntl(memory.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(blocks_bytes(memory.fd), 0);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", memory.fd);
    assert_true(readlink(link, target, sizeof(target) - 1) > 0);
    assert_non_null(strstr(target, "pool 7 dram"));
    mf_memory_fini(&memory);
    mf_memory_fini(&memory);
    assert_int_equal(memory.fd, -1);
}

static void test_memory_create__refuses_bad_sizes_and_options(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    f->cfg.size = 0;
    mf_assert_rc(mf_memory_create(&f->cfg, &memory), SMEM_INVALID_PARAM);
    f->cfg.size = 3 * MIB;
    mf_assert_rc(mf_memory_create(&f->cfg, &memory), SMEM_INVALID_PARAM);
    mf_assert_err_has("3145728");
    f->cfg.size = 2 * MIB;
    snprintf(f->config.v[MF_OPT_SEG_HUGE].str, MF_OPT_STR_MAX, "perhaps");
    mf_assert_rc(mf_memory_create(&f->cfg, &memory), SMEM_INVALID_PARAM);
    mf_assert_err_has("perhaps");
    assert_int_equal(memory.fd, -1);
}

static void test_memory_create__require_without_huge_pages(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_SEG_HUGE, "require"));
    f->cfg.size = MF_DRAM_LOCAL_MAX; /* no machine of the tests has so many */
    mf_assert_rc(mf_memory_create(&f->cfg, &memory), SMEM_MALLOC_FAILED);
    mf_assert_err_has("vm.nr_hugepages");
    mf_assert_err_has("2199023255552");
}

/* Set the number of 2 MiB pages; false when that is not allowed. */
static bool set_huge_pages(unsigned count)
{
    FILE *file = fopen("/proc/sys/vm/nr_hugepages", "w");
    if (!file) {
        return false;
    }
    fprintf(file, "%u\n", count);
    return fclose(file) == 0;
}

static unsigned huge_pages(void)
{
    unsigned count = 0;
    FILE *file = fopen("/proc/sys/vm/nr_hugepages", "r");
    if (file) {
        if (fscanf(file, "%u", &count) != 1) {
            count = 0;
        }
        fclose(file);
    }
    return count;
}

static void test_memory_create__takes_huge_pages_when_they_are_free(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    unsigned before = huge_pages();
    f->cfg.size = 8 * MIB;
    f->huge_added = set_huge_pages(before + HUGE_ADDED) ? HUGE_ADDED : 0;
    if (huge_pages() < before + HUGE_ADDED) {
        print_message("skipped: this machine lets us have no 2 MiB pages\n");
        skip();
    }
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_SEG_HUGE, "require"));
    mf_assert_ok(mf_memory_create(&f->cfg, &memory));
    assert_int_equal(memory.pages, MF_PAGES_HUGE_2M);
    mf_assert_ok(mf_space_reserve(AT, f->cfg.size));
    mf_assert_ok(mf_space_map(AT, f->cfg.size, memory.fd, 0));
    mf_assert_ok(mf_memory_populate(&f->cfg, &memory, AT));
    assert_int_equal(blocks_bytes(memory.fd), 8 * MIB);
    mf_assert_ok(mf_memory_punch_mapping(AT, f->cfg.size));
    assert_int_equal(blocks_bytes(memory.fd), 0);
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_memory_fini(&memory);
}

/* What there is of huge pages, when nothing else will do. */
static void test_memory_fit__free_huge_pages(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    char why[512];
    unsigned before = huge_pages();
    f->cfg.size = 64ull << 30;
    f->huge_added = set_huge_pages(before + HUGE_ADDED) ? HUGE_ADDED : 0;
    if (huge_pages() < before + HUGE_ADDED) {
        print_message("skipped: this machine lets us have no 2 MiB pages\n");
        skip();
    }
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_SEG_HUGE, "require"));
    mf_assert_rc(mf_memory_create(&f->cfg, &memory), SMEM_MALLOC_FAILED);
    f->cfg.size = mf_memory_fit(&f->cfg, why, sizeof(why));
    assert_in_range(f->cfg.size, HUGE_ADDED * 2 * MIB, (64ull << 30) - 1);
    assert_non_null(strstr(why, "2 MiB pages are free"));
    mf_assert_ok(mf_memory_create(&f->cfg, &memory));
    mf_memory_fini(&memory);
}

static void test_memory_adopt__a_users_huge_pages(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    unsigned before = huge_pages();
    f->cfg.size = 8 * MIB;
    f->huge_added = set_huge_pages(before + HUGE_ADDED) ? HUGE_ADDED : 0;
    if (huge_pages() < before + HUGE_ADDED) {
        print_message("skipped: this machine lets us have no 2 MiB pages\n");
        skip();
    }
    int fd = memfd_create("user", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | (21u << 26));
    assert_true(fd >= 0);
    mf_assert_ok(mf_memory_adopt(&f->cfg, fd, &memory));
    assert_int_equal(memory.pages, MF_PAGES_HUGE_2M);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK);
    mf_assert_ok(mf_space_reserve(AT, f->cfg.size));
    mf_assert_ok(mf_space_map(AT, f->cfg.size, memory.fd, 0));
    mf_assert_ok(mf_memory_populate(&f->cfg, &memory, AT));
    *(volatile uint8_t *)(uintptr_t)(AT + 8 * MIB - 1) = 9;
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_memory_fini(&memory);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, 8 * MIB - 1), 1);
    assert_int_equal(byte, 9);
    close(fd);
}

/* A mapping of new memory at AT. */
static void map_memory(struct fixture *f, struct mf_memory *memory)
{
    mf_assert_ok(mf_config_set(&f->config, MF_OPT_SEG_HUGE, "never"));
    mf_assert_ok(mf_memory_create(&f->cfg, memory));
    mf_assert_ok(mf_space_reserve(AT, f->cfg.size));
    mf_assert_ok(mf_space_map(AT, f->cfg.size, memory->fd, 0));
}

static void test_memory_populate__all_pages_then_punch(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    static const char *const threads[] = {"0", "1", "3", "64"};
    map_memory(f, &memory);
    for (int i = 0; i < 4; i++) {
        mf_assert_ok(mf_config_set(&f->config, MF_OPT_SEG_POPULATE_THREADS, threads[i]));
        mf_assert_ok(mf_memory_populate(&f->cfg, &memory, AT));
        assert_int_equal(blocks_bytes(memory.fd), 64 * MIB);
        *(volatile uint8_t *)(uintptr_t)AT = 9;
        if (i % 2) {
            mf_assert_ok(mf_memory_punch(&memory));
        } else {
            mf_assert_ok(mf_memory_punch_mapping(AT, memory.size));
        }
        assert_int_equal(blocks_bytes(memory.fd), 0);
        assert_int_equal(*(volatile uint8_t *)(uintptr_t)AT, 0);
    }
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_memory_fini(&memory);
}

static void test_memory_punch__leaves_a_users_file_alone(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    map_memory(f, &memory);
    *(volatile uint8_t *)(uintptr_t)AT = 9;
    memory.user_fd = true;
    mf_assert_ok(mf_memory_punch(&memory));
    assert_int_equal(*(volatile uint8_t *)(uintptr_t)AT, 9);
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_memory_fini(&memory);
}

static void test_memory_populate__more_than_there_is_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    char why[512];
    f->cfg.size = (mf_memory_available(why, sizeof(why)) + (4ull << 30)) & ~(2 * MIB - 1);
    map_memory(f, &memory);
    mf_assert_rc(mf_memory_populate(&f->cfg, &memory, AT), SMEM_MALLOC_FAILED);
    mf_assert_err_has("pool 7 dram");
    mf_assert_err_has("may still be allocated");
    assert_int_equal(blocks_bytes(memory.fd), 0);
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_memory_fini(&memory);
}

/* The kernel's own refusal: pages beyond the end of the file would raise SIGBUS. */
static void test_memory_populate__no_signal_from_the_kernel(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    map_memory(f, &memory);
    struct mf_memory longer = memory;
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_assert_ok(mf_space_reserve(AT, 2 * f->cfg.size));
    mf_assert_ok(mf_space_map(AT, 2 * f->cfg.size, memory.fd, 0));
    longer.size = 2 * f->cfg.size;
    f->cfg.size *= 2;
    mf_assert_rc(mf_memory_populate(&f->cfg, &longer, AT), SMEM_MALLOC_FAILED);
    mf_assert_err_has("populate");
    mf_assert_ok(mf_space_release(AT, f->cfg.size));
    mf_memory_fini(&memory);
}

static void test_memory_create__file_size_limit_is_no_signal(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit low = {.rlim_cur = MIB, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int rc = mf_memory_create(&f->cfg, &memory);
    setrlimit(RLIMIT_FSIZE, &old);
    mf_assert_rc(rc, SMEM_NO_RESOURCES);
    mf_assert_err_has("ulimit -f");
}

static void test_memory_create__no_descriptor_left(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    struct rlimit old;
    int probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(probe >= 0);
    close(probe);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit low = {.rlim_cur = (rlim_t)probe, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int rc = mf_memory_create(&f->cfg, &memory);
    setrlimit(RLIMIT_NOFILE, &old);
    mf_assert_rc(rc, SMEM_NO_RESOURCES);
    mf_assert_err_has("ulimit -n");
}

static void test_memory_create__numa_node(void **state)
{
    struct fixture *f = *state;
    struct mf_memory memory;
    f->cfg.numa_node = 1000;
    mf_assert_rc(mf_memory_create(&f->cfg, &memory), SMEM_INVALID_PARAM);
    mf_assert_err_has("1000");
    f->cfg.numa_node = 1 << 20;
    mf_assert_rc(mf_memory_create(&f->cfg, &memory), SMEM_INVALID_PARAM);
    if (access("/sys/devices/system/node/node0", F_OK) == 0) {
        f->cfg.numa_node = 0;
        mf_assert_ok(mf_memory_create(&f->cfg, &memory));
        mf_memory_fini(&memory);
    }
}

static void test_pages_name__every_kind(void **state)
{
    (void)state;
    assert_string_equal(mf_pages_name(MF_PAGES_HUGE_2M), "2 MiB pages");
    assert_string_equal(mf_pages_name(MF_PAGES_THP), "transparent huge pages");
    assert_string_equal(mf_pages_name(MF_PAGES_PLAIN), "4 KiB pages");
}

/* A tree of files as in /proc and /sys, in a folder of the test. */
struct tree {
    char root[64];
};

static void tree_put(const struct tree *tree, const char *path, const char *text)
{
    char full[PATH_MAX];
    snprintf(full, sizeof(full), "%s%s", tree->root, path);
    for (char *at = full + strlen(tree->root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        mkdir(full, 0700);
        *at = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void tree_init(struct tree *tree, const char *cgroup, const char *mountinfo)
{
    snprintf(tree->root, sizeof(tree->root), "/tmp/mf_test_memory.XXXXXX");
    assert_non_null(mkdtemp(tree->root));
    tree_put(tree, "/proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n");
    tree_put(tree, "/proc/self/cgroup", cgroup);
    tree_put(tree, "/proc/self/mountinfo", mountinfo);
}

static void tree_fini(const struct tree *tree)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", tree->root);
    assert_int_equal(system(command), 0);
}

#define MOUNT_V2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
#define MOUNT_V1 "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

static void expect_available(const struct tree *tree, uint64_t bytes, const char *part)
{
    char why[512];
    assert_int_equal(mf_memory_available_in(tree->root, why, sizeof(why)), bytes);
    if (!strstr(why, part)) {
        fail_msg("\"%s\" does not name %s", why, part);
    }
}

static void test_available__meminfo_alone(void **state)
{
    struct tree tree;
    (void)state;
    tree_init(&tree, "0::/\n", "");
    expect_available(&tree, 8000 * 1024, "MemAvailable");
    tree_fini(&tree);
}

static void test_available__least_of_all_groups_of_version_2(void **state)
{
    struct tree tree;
    (void)state;
    tree_init(&tree, "0::/a/b/c\n", MOUNT_V2);
    tree_put(&tree, "/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    tree_put(&tree, "/sys/fs/cgroup/a/b/c/memory.current", "4096\n");
    expect_available(&tree, 8000 * 1024, "MemAvailable");
    tree_put(&tree, "/sys/fs/cgroup/a/memory.max", "1000000\n");
    tree_put(&tree, "/sys/fs/cgroup/a/memory.current", "700000\n");
    expect_available(&tree, 300000, "/sys/fs/cgroup/a/memory.max (1000000 bytes");
    tree_put(&tree, "/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 100000\n");
    expect_available(&tree, 400000, "/sys/fs/cgroup/a/memory.max");
    tree_put(&tree, "/sys/fs/cgroup/a/b/memory.max", "500\n");
    tree_put(&tree, "/sys/fs/cgroup/a/b/memory.current", "600\n");
    expect_available(&tree, 0, "/sys/fs/cgroup/a/b/memory.max");
    tree_fini(&tree);
}

static void test_available__version_1_and_containers(void **state)
{
    struct tree tree;
    (void)state;
    tree_init(&tree, "5:cpu,cpuacct:/x\n4:hugetlb,memory:/x/y\n0::/\n", MOUNT_V1);
    tree_put(&tree, "/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2000000\n");
    tree_put(&tree, "/sys/fs/cgroup/memory/x/memory.usage_in_bytes", "500000\n");
    expect_available(&tree, 1500000, "memory.limit_in_bytes");
    tree_fini(&tree);
    /* The mount shows only the container's own part of the tree. */
    tree_init(&tree, "4:memory:/docker/abc/in\n",
              "31 23 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    tree_put(&tree, "/sys/fs/cgroup/memory/in/memory.limit_in_bytes", "3000\n");
    tree_put(&tree, "/sys/fs/cgroup/memory/in/memory.usage_in_bytes", "1000\n");
    expect_available(&tree, 2000, "/sys/fs/cgroup/memory/in");
    tree_put(&tree, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "1500\n");
    tree_put(&tree, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n");
    expect_available(&tree, 500, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
    tree_fini(&tree);
}

static void test_available__rubbish_is_no_limit(void **state)
{
    struct tree tree;
    (void)state;
    tree_init(&tree, "no colon\n:\n0::/a\n", "x\n- - -\n1 2 3 / - cgroup2\n" MOUNT_V2);
    tree_put(&tree, "/sys/fs/cgroup/a/memory.max", "12x\n");
    expect_available(&tree, 8000 * 1024, "MemAvailable");
    tree_put(&tree, "/proc/meminfo", "MemAvailable: many\n");
    expect_available(&tree, UINT64_MAX, "no limit");
    tree_fini(&tree);
}

/* Gives back what the test has added: others may be adding at the same time. */
static int teardown(void **state)
{
    struct fixture *f = *state;
    unsigned now = huge_pages();
    if (f->huge_added && now >= f->huge_added) {
        set_huge_pages(now - f->huge_added);
    }
    return 0;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_memory_create__sealed_named_and_empty),
        CASE(test_memory_create__refuses_bad_sizes_and_options),
        CASE(test_memory_create__require_without_huge_pages),
        CASE(test_memory_create__takes_huge_pages_when_they_are_free),
        CASE(test_memory_fit__free_huge_pages),
        CASE(test_memory_adopt__a_users_huge_pages),
        CASE(test_memory_populate__all_pages_then_punch),
        CASE(test_memory_punch__leaves_a_users_file_alone),
        CASE(test_memory_populate__more_than_there_is_is_an_error),
        CASE(test_memory_populate__no_signal_from_the_kernel),
        CASE(test_memory_create__file_size_limit_is_no_signal),
        CASE(test_memory_create__no_descriptor_left),
        CASE(test_memory_create__numa_node),
        CASE(test_pages_name__every_kind),
        CASE(test_available__meminfo_alone),
        CASE(test_available__least_of_all_groups_of_version_2),
        CASE(test_available__version_1_and_containers),
        CASE(test_available__rubbish_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
