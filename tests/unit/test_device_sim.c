// SPDX-License-Identifier: Apache-2.0
// Tests of the simulated accelerator beyond what every device promises: that the host cannot touch
// it, its accounting, its speed, its limits, and how it ends.
#include "device_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "device/sim/sim.h"

struct sim {
    struct fixture f;
    struct mf_dev *dev;
    void *stream;
};

#define DEV(s, fn, ...) ((s)->dev->ops.fn((s)->dev->impl, ##__VA_ARGS__))

static void sim_open(struct sim *s)
{
    mf_assert_ok(mf_dev_open(&s->f.env, &s->f.config, "sim", 0, &s->dev));
    mf_assert_ok(DEV(s, stream_create, &s->stream));
}

static int setup(void **state)
{
    struct sim *s = calloc(1, sizeof(*s));
    fixture_init(&s->f);
    mf_config_set(&s->f.config, MF_OPT_SIM_MEMORY, "64M");
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct sim *s = *state;
    mf_dev_close(s->dev);
    free(s);
    return 0;
}

static uint64_t place(struct sim *s, uint64_t size)
{
    mf_dev_mem mem;
    uint64_t addr;
    mf_assert_ok(DEV(s, mem_create, size, &mem));
    mf_assert_ok(DEV(s, window_reserve, 0, size, &addr));
    mf_assert_ok(DEV(s, map, addr, mem, 0, size));
    DEV(s, mem_destroy, mem);
    return addr;
}

static uint64_t soon(struct sim *s)
{
    return mf_deadline_ns(&s->f.env, 10000);
}

static uint64_t memory_free(struct sim *s)
{
    struct mf_device_info info = {.size = sizeof(info)};
    mf_assert_ok(DEV(s, info, &info));
    return info.memory_free;
}

/* ---- memory ---- */

static sigjmp_buf back_from_fault;

static void on_fault(int sig)
{
    siglongjmp(back_from_fault, sig);
}

/* The signal that touching the address raises, or 0. Not in a child: it does not inherit the
 * mapping. */
static int signal_of_touching(uint64_t addr, bool write_it)
{
    struct sigaction fault = {.sa_handler = on_fault};
    struct sigaction old;
    volatile uint8_t *at = (volatile uint8_t *)(uintptr_t)addr;
    sigaction(SIGSEGV, &fault, &old);
    int sig = sigsetjmp(back_from_fault, 1);
    if (sig == 0) {
        uint8_t seen = write_it ? (*at = 1) : *at;
        (void)seen;
    }
    sigaction(SIGSEGV, &old, NULL);
    return sig;
}

static void test_sim_address__host_access_faults(void **state)
{
    struct sim *s = *state;
    int ends[2];
    sim_open(s);
    uint64_t addr = place(s, 2 * MIB) + 100;
    assert_int_equal(signal_of_touching(addr, false), SIGSEGV);
    assert_int_equal(signal_of_touching(addr, true), SIGSEGV);
    /* Nor does the kernel touch it for the host. */
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(syscall(SYS_write, ends[1], addr, 1), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(syscall(SYS_read, ends[0], addr, 1), -1);
    assert_int_equal(errno, EFAULT);
    close(ends[0]);
    close(ends[1]);
}

/* In this process, too, the address is reserved and inaccessible. */
static void test_sim_address__is_reserved_without_access(void **state)
{
    struct sim *s = *state;
    char line[512];
    bool found = false;
    sim_open(s);
    uint64_t addr = place(s, 2 * MIB);
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        unsigned long from;
        unsigned long to;
        char rights[5];
        assert_int_equal(sscanf(line, "%lx-%lx %4s", &from, &to, rights), 3);
        if (from <= addr && addr < to) {
            assert_string_equal(rights, "---p");
            found = true;
        }
    }
    fclose(maps);
    assert_true(found);
}

static void test_sim_memory__is_accounted(void **state)
{
    struct sim *s = *state;
    mf_dev_mem a;
    mf_dev_mem b;
    sim_open(s);
    assert_int_equal(memory_free(s), 64 * MIB);
    mf_assert_ok(DEV(s, mem_create, 40 * MIB, &a));
    assert_int_equal(memory_free(s), 24 * MIB);
    mf_assert_rc(DEV(s, mem_create, 26 * MIB, &b), SMEM_MALLOC_FAILED);
    mf_assert_err_has("27262976 bytes wanted");
    mf_assert_err_has("25165824 of 67108864 are free");
    assert_null(b);
    assert_int_equal(memory_free(s), 24 * MIB);
    DEV(s, mem_destroy, a);
    assert_int_equal(memory_free(s), 64 * MIB);
}

/* More than any host has: refused before a page is touched. */
static void test_sim_memory__beyond_the_host_is_an_error(void **state)
{
    struct sim *s = *state;
    mf_dev_mem mem;
    mf_assert_ok(mf_config_set(&s->f.config, MF_OPT_SIM_MEMORY, "0x10000000000"));
    sim_open(s);
    uint64_t before = memory_free(s);
    char limit[256];
    uint64_t size = (mf_sim_host_available("", limit, sizeof(limit)) & ~(2 * MIB - 1)) + 2 * MIB;
    if (size > before) {
        print_message("skipped: the host has more than 1 TiB of memory\n");
        skip();
    }
    mf_assert_rc(DEV(s, mem_create, size, &mem), SMEM_MALLOC_FAILED);
    mf_assert_err_has("the host has");
    assert_null(mem);
    assert_int_equal(memory_free(s), before);
}

static void test_sim_import__refuses_unsealed_memory(void **state)
{
    struct sim *s = *state;
    mf_dev_mem mem;
    sim_open(s);
    int fd = memfd_create("stranger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, 2 * MIB), 0);
    mf_assert_rc(DEV(s, mem_import, fd, 2 * MIB, &mem), SMEM_INVALID_PARAM);
    mf_assert_err_has("not sealed");
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    mf_assert_rc(DEV(s, mem_import, fd, 2 * MIB, &mem), SMEM_INVALID_PARAM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    mf_assert_rc(DEV(s, mem_import, fd, 4 * MIB, &mem), SMEM_INVALID_PARAM);
    mf_assert_err_has("2097152 bytes, not 4194304");
    mf_assert_rc(DEV(s, mem_import, fd, 3, &mem), SMEM_INVALID_PARAM);
    mf_assert_ok(DEV(s, mem_import, fd, 2 * MIB, &mem));
    assert_int_equal(memory_free(s), 64 * MIB); /* the memory is another's */
    int again;
    mf_assert_rc(DEV(s, mem_export, mem, &again), SMEM_INVALID_PARAM);
    assert_int_equal(again, -1);
    DEV(s, mem_destroy, mem);
    close(fd);
}

static void test_sim_export__is_sealed_for_good(void **state)
{
    struct sim *s = *state;
    mf_dev_mem mem;
    int fd;
    sim_open(s);
    mf_assert_ok(DEV(s, mem_create, 2 * MIB, &mem));
    mf_assert_ok(DEV(s, mem_export, mem, &fd));
    assert_true(ftruncate(fd, 0) < 0);
    assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    DEV(s, mem_destroy, mem);
}

static void test_sim_punch__gives_the_pages_back(void **state)
{
    struct sim *s = *state;
    mf_dev_mem mem;
    struct stat st;
    int fd;
    sim_open(s);
    mf_assert_ok(DEV(s, mem_create, 4 * MIB, &mem));
    mf_assert_ok(DEV(s, mem_export, mem, &fd));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_blocks * 512, 4 * MIB); /* populated when it was made */
    mf_assert_ok(DEV(s, mem_punch, mem));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_blocks, 0);
    close(fd);
    DEV(s, mem_destroy, mem);
}

/* What is queued keeps its memory: a late byte lands in nobody else's. */
static void test_sim_unmap__leaves_queued_copies_their_memory(void **state)
{
    struct sim *s = *state;
    _Atomic uint64_t word = 0;
    uint64_t value = 5;
    sim_open(s);
    uint64_t addr = place(s, 2 * MIB);
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 1));
    mf_assert_ok(DEV(s, copy, s->stream, addr, num(&value), 8));
    mf_assert_ok(DEV(s, unmap, addr, 2 * MIB));
    assert_int_equal(memory_free(s), 62 * MIB); /* the copy still holds it */
    mf_assert_rc(DEV(s, copy, s->stream, addr, num(&value), 8), SMEM_INVALID_PARAM);
    word = 1;
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
    assert_int_equal(memory_free(s), 64 * MIB);
}

/* ---- windows ---- */

static void test_sim_window__names_what_is_in_the_way(void **state)
{
    struct sim *s = *state;
    uint64_t addr;
    uint64_t granted;
    char range[32];
    sim_open(s);
    mf_assert_ok(DEV(s, window_reserve, 0, 4 * MIB, &addr));
    mf_assert_rc(DEV(s, window_reserve, addr + 2 * MIB, 4 * MIB, &granted), SMEM_RES_IN_USE);
    snprintf(range, sizeof(range), "%llx", (unsigned long long)addr);
    mf_assert_err_has("in the way is");
    assert_int_equal(granted, 0);
    DEV(s, window_release, addr, 4 * MIB);
    mf_assert_ok(DEV(s, window_reserve, addr, 4 * MIB, &granted));
    assert_int_equal(granted, addr);
    /* A window that is released takes its mappings with it. */
    mf_dev_mem mem;
    struct mf_device_range found;
    mf_assert_ok(DEV(s, mem_create, 2 * MIB, &mem));
    mf_assert_ok(DEV(s, map, addr, mem, 0, 2 * MIB));
    DEV(s, window_release, addr, 4 * MIB);
    mf_assert_rc(DEV(s, query, addr, &found), SMEM_NOT_EXIST);
    DEV(s, mem_destroy, mem);
}

/* Two windows that happen to touch are two: a range may not run from one into the other. */
static void test_sim_copy__does_not_cross_windows(void **state)
{
    struct sim *s = *state;
    mf_dev_mem mem;
    uint64_t addr;
    uint64_t granted;
    uint8_t host[16] = {0};
    sim_open(s);
    mf_assert_ok(DEV(s, window_reserve, 0, 4 * MIB, &addr));
    DEV(s, window_release, addr, 4 * MIB);
    mf_assert_ok(DEV(s, mem_create, 4 * MIB, &mem));
    for (uint64_t i = 0; i < 2; i++) {
        mf_assert_ok(DEV(s, window_reserve, addr + i * 2 * MIB, 2 * MIB, &granted));
        mf_assert_ok(DEV(s, map, addr + i * 2 * MIB, mem, i * 2 * MIB, 2 * MIB));
    }
    mf_assert_rc(DEV(s, copy, s->stream, addr + 2 * MIB - 8, num(host), 16), SMEM_INVALID_PARAM);
    mf_assert_ok(DEV(s, copy, s->stream, addr + 2 * MIB - 16, num(host), 16));
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
}

/* Host memory that runs into a device's addresses. */
static void test_sim_copy__refuses_host_memory_that_runs_into_a_window(void **state)
{
    struct sim *s = *state;
    uint64_t addr;
    uint64_t word = 0;
    sim_open(s);
    mf_assert_ok(DEV(s, window_reserve, 0, 2 * MIB, &addr));
    mf_assert_rc(DEV(s, copy, s->stream, num(&word), addr - 4, 8), SMEM_INVALID_PARAM);
    mf_assert_rc(DEV(s, copy, s->stream, num(&word), 0, 8), SMEM_INVALID_PARAM);
    mf_assert_err_has("no memory");
}

static void test_sim_map__has_a_limit(void **state)
{
    struct sim *s = *state;
    mf_dev_mem mem;
    uint64_t addr;
    const uint64_t count = MF_SIM_MAPS_MAX;
    sim_open(s);
    mf_assert_ok(DEV(s, mem_create, 2 * MIB, &mem));
    mf_assert_ok(DEV(s, window_reserve, 0, (count + 1) * 2 * MIB, &addr));
    for (uint64_t i = 0; i < count; i++) { /* every second from below, the others from above */
        uint64_t at = i % 2 ? count - i : i;
        mf_assert_ok(DEV(s, map, addr + at * 2 * MIB, mem, 0, 2 * MIB));
    }
    mf_assert_rc(DEV(s, map, addr + count * 2 * MIB, mem, 0, 2 * MIB), SMEM_NO_RESOURCES);
    mf_assert_err_has("4096");
    for (uint64_t i = 0; i < count; i += 97) {
        struct mf_device_range range;
        mf_assert_ok(DEV(s, query, addr + i * 2 * MIB + 5, &range));
        assert_int_equal(range.base, addr + i * 2 * MIB);
    }
    assert_true(mf_dev_owns(s->dev, addr, count * 2 * MIB));
    assert_false(mf_dev_owns(s->dev, addr, count * 2 * MIB + 1));
}

static void test_sim_grant__can_be_told_to_shift(void **state)
{
    struct sim *s = *state;
    uint64_t first;
    uint64_t granted;
    setenv("MF_SIM_GRANT", "shift", 1);
    sim_open(s);
    mf_assert_ok(DEV(s, window_reserve, 0, 2 * MIB, &first));
    DEV(s, window_release, first, 2 * MIB);
    uint64_t want = first - (1ull << 32);
    mf_assert_ok(DEV(s, window_reserve, want, 2 * MIB, &granted));
    assert_int_not_equal(granted, want);
    setenv("MF_SIM_GRANT", "sometimes", 1);
    struct mf_dev *dev;
    mf_assert_rc(mf_dev_open(&s->f.env, &s->f.config, "sim", 0, &dev), SMEM_INVALID_PARAM);
    mf_assert_err_has("sometimes");
    unsetenv("MF_SIM_GRANT");
}

struct looker {
    struct sim *s;
    uint64_t addr;
    _Atomic bool stop;
    uint64_t wrong;
};

static void *look(void *arg)
{
    struct looker *l = arg;
    while (!l->stop) {
        struct mf_device_range range;
        if (DEV(l->s, query, l->addr + 7, &range) || range.base != l->addr ||
            range.size != 2 * MIB) {
            l->wrong++;
        }
    }
    return NULL;
}

/* A mapping is found at any moment while its neighbours come and go. */
static void test_sim_query__is_right_while_mappings_change(void **state)
{
    struct sim *s = *state;
    mf_dev_mem mem;
    uint64_t addr;
    pthread_t thread;
    sim_open(s);
    mf_assert_ok(DEV(s, mem_create, 2 * MIB, &mem));
    mf_assert_ok(DEV(s, window_reserve, 0, 20 * MIB, &addr));
    struct looker l = {.s = s, .addr = addr + 10 * MIB};
    mf_assert_ok(DEV(s, map, l.addr, mem, 0, 2 * MIB));
    assert_int_equal(pthread_create(&thread, NULL, look, &l), 0);
    int rc = 0;
    for (int i = 0; i < 2000 && !rc; i++) {
        uint64_t at = addr + (uint64_t)(i % 5) * 2 * MIB;
        rc = DEV(s, map, at, mem, 0, 2 * MIB);
        rc = rc ? rc : DEV(s, unmap, at, 2 * MIB);
    }
    l.stop = true;
    pthread_join(thread, NULL);
    mf_assert_ok(rc);
    assert_int_equal(l.wrong, 0);
}

/* ---- streams ---- */

static void test_sim_batch__is_queued_whole_or_not_at_all(void **state)
{
    struct sim *s = *state;
    uint64_t words[2] = {1, 2};
    uint64_t back = 0;
    sim_open(s);
    uint64_t addr = place(s, 2 * MIB);
    const struct mf_device_copy_desc desc[] = {
        {addr, num(&words[0]), 8},
        {addr + 2 * MIB - 4, num(&words[1]), 8},
    };
    mf_assert_rc(DEV(s, copy_batch, s->stream, desc, 2), SMEM_INVALID_PARAM);
    mf_assert_ok(DEV(s, copy, s->stream, num(&back), addr, 8));
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
    assert_int_equal(back, 0);
}

static void test_sim_stream__refuses_more_than_it_holds(void **state)
{
    struct sim *s = *state;
    _Atomic uint64_t word = 0;
    uint64_t from = 1;
    uint64_t to = 0;
    int rc = 0;
    uint32_t queued = 0;
    sim_open(s);
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 1));
    while (queued <= MF_SIM_QUEUE_MAX && !rc) {
        rc = DEV(s, copy, s->stream, num(&to), num(&from), 8);
        queued += rc == 0;
    }
    mf_assert_rc(rc, SMEM_NO_RESOURCES);
    mf_assert_err_has("synchronize first");
    assert_int_equal(queued, MF_SIM_QUEUE_MAX - 1); /* and the wait */
    word = 1;
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
    assert_int_equal(to, 1);
    mf_assert_ok(DEV(s, copy, s->stream, num(&to), num(&from), 8));
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
}

static void sleep_ns(long ns)
{
    struct timespec nap = {.tv_nsec = ns};
    nanosleep(&nap, NULL);
}

static uint64_t switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_nvcsw + usage.ru_nivcsw);
}

/* Neither processor time nor wake-ups. */
static void test_sim_stream__costs_nothing_when_idle(void **state)
{
    struct sim *s = *state;
    uint64_t from = 1;
    uint64_t to = 0;
    sim_open(s);
    mf_assert_ok(DEV(s, copy, s->stream, num(&to), num(&from), 8));
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
    sleep_ns(20000000); /* it has gone to sleep */
    uint64_t before = switches();
    sleep_ns(200000000);
    assert_in_range(switches() - before, 0, 20);
}

static void test_sim_stream__close_ends_what_is_held(void **state)
{
    struct sim *s = *state;
    static _Atomic uint64_t word;
    void *event;
    void *other;
    sim_open(s);
    uint64_t addr = place(s, 2 * MIB);
    mf_assert_ok(DEV(s, event_create, &event));
    mf_assert_ok(DEV(s, stream_create, &other));
    mf_assert_ok(DEV(s, wait64, s->stream, num(&word), 1));
    mf_assert_ok(DEV(s, fill, s->stream, addr, 1, 2 * MIB));
    mf_assert_ok(DEV(s, event_record, event, s->stream));
    mf_assert_ok(DEV(s, stream_wait_event, other, event));
    uint64_t start = mf_now_ns(&s->f.env);
    mf_dev_close(s->dev);
    s->dev = NULL;
    assert_true(mf_now_ns(&s->f.env) - start < 2 * MF_NS_PER_S);
}

/* ---- speed ---- */

static uint64_t time_copy(struct sim *s, uint64_t addr, void *host, uint64_t size, int count)
{
    uint64_t start = mf_now_ns(&s->f.env);
    for (int i = 0; i < count; i++) {
        mf_assert_ok(DEV(s, copy, s->stream, addr, num(host), size));
    }
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
    return mf_now_ns(&s->f.env) - start;
}

static void test_sim_speed__bandwidth_takes_its_time(void **state)
{
    struct sim *s = *state;
    void *host = calloc(1, MIB);
    mf_assert_ok(mf_config_set(&s->f.config, MF_OPT_SIM_BANDWIDTH, "100"));
    sim_open(s);
    uint64_t addr = place(s, 2 * MIB);
    uint64_t took = time_copy(s, addr, host, MIB, 3); /* 3 MiB at 100 MB/s: 31.4 ms */
    assert_in_range(took, 31 * MF_NS_PER_MS, 5000 * MF_NS_PER_MS);
    free(host);
}

static void test_sim_speed__latency_is_added_to_each_operation(void **state)
{
    struct sim *s = *state;
    uint64_t word = 0;
    mf_assert_ok(mf_config_set(&s->f.config, MF_OPT_SIM_LATENCY_NS, "2000000"));
    sim_open(s);
    uint64_t addr = place(s, 2 * MIB);
    uint64_t took = time_copy(s, addr, &word, 8, 5);
    assert_in_range(took, 10 * MF_NS_PER_MS, 5000 * MF_NS_PER_MS);
    uint64_t start = mf_now_ns(&s->f.env);
    mf_assert_ok(DEV(s, write64, s->stream, num(&word), 1));
    mf_assert_ok(DEV(s, stream_sync, s->stream, soon(s)));
    assert_true(mf_now_ns(&s->f.env) - start >= 2 * MF_NS_PER_MS);
}

/* ---- what the host can give ---- */

static void write_file(const char *root, const char *path, const char *text)
{
    char full[512];
    char *slash;
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_tree(const char *root)
{
    char command[300];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static void test_host_available__is_the_least_of_all_limits(void **state)
{
    char root[] = "/tmp/mf_hostmem_XXXXXX";
    char limit[256];
    (void)state;
    assert_non_null(mkdtemp(root));
    assert_int_equal(mf_sim_host_available(root, limit, sizeof(limit)), UINT64_MAX);
    write_file(root, "/proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    5000 kB\nSwap: 1 kB\n");
    assert_int_equal(mf_sim_host_available(root, limit, sizeof(limit)), 5000 * 1024);
    assert_non_null(strstr(limit, "MemAvailable"));
    /* Generation 2: the parent is tighter than the group itself, whose limit is none. */
    write_file(root, "/proc/self/cgroup", "0::/a/b\n");
    write_file(root, "/sys/fs/cgroup/a/b/memory.max", "max\n");
    write_file(root, "/sys/fs/cgroup/a/b/memory.current", "1000\n");
    write_file(root, "/sys/fs/cgroup/a/memory.max", "3000000\n");
    write_file(root, "/sys/fs/cgroup/a/memory.current", "1000000\n");
    write_file(root, "/sys/fs/cgroup/a/memory.stat", "anon 3\ninactive_file 400000\n");
    assert_int_equal(mf_sim_host_available(root, limit, sizeof(limit)), 2400000);
    assert_non_null(strstr(limit, "memory.max of control group /a"));
    /* Over the limit: nothing is left. */
    write_file(root, "/sys/fs/cgroup/a/memory.current", "9000000\n");
    assert_int_equal(mf_sim_host_available(root, limit, sizeof(limit)), 0);
    /* Generation 1, where the group is hidden by a name space and only the root is seen. */
    write_file(root, "/proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/77\n");
    write_file(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n");
    write_file(root, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n");
    write_file(root, "/sys/fs/cgroup/memory/memory.stat", "cache 1\ntotal_inactive_file 100\n");
    assert_int_equal(mf_sim_host_available(root, limit, sizeof(limit)), 1500100);
    assert_non_null(strstr(limit, "memory.limit_in_bytes of control group /"));
    remove_tree(root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sim_address__host_access_faults),
        TEST(test_sim_address__is_reserved_without_access),
        TEST(test_sim_memory__is_accounted),
        TEST(test_sim_memory__beyond_the_host_is_an_error),
        TEST(test_sim_import__refuses_unsealed_memory),
        TEST(test_sim_export__is_sealed_for_good),
        TEST(test_sim_punch__gives_the_pages_back),
        TEST(test_sim_unmap__leaves_queued_copies_their_memory),
        TEST(test_sim_window__names_what_is_in_the_way),
        TEST(test_sim_copy__does_not_cross_windows),
        TEST(test_sim_copy__refuses_host_memory_that_runs_into_a_window),
        TEST(test_sim_map__has_a_limit),
        TEST(test_sim_grant__can_be_told_to_shift),
        TEST(test_sim_query__is_right_while_mappings_change),
        TEST(test_sim_batch__is_queued_whole_or_not_at_all),
        TEST(test_sim_stream__refuses_more_than_it_holds),
        TEST(test_sim_stream__costs_nothing_when_idle),
        TEST(test_sim_stream__close_ends_what_is_held),
        TEST(test_sim_speed__bandwidth_takes_its_time),
        TEST(test_sim_speed__latency_is_added_to_each_operation),
        cmocka_unit_test(test_host_available__is_the_least_of_all_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
