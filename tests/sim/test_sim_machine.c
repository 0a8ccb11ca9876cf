// SPDX-License-Identifier: Apache-2.0
// The machine by itself: events, choices, processes and their memory. What runs in a simulated
// thread only writes down what it saw; the test asserts on the machine's stack.
#include "mf_test.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "sim.h"

#ifdef SIM_SANITIZED
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static int setup(void **state)
{
    (void)state;
    sim_open(&(struct sim_cfg){.seed = 1});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sim_close();
    return 0;
}

static void run_all(void)
{
    while (sim_step()) {
    }
}

static void run_until(uint64_t at_ns)
{
    while (sim_now() < at_ns && sim_step()) {
    }
}

static void assert_kept(void)
{
    if (sim_broken_oracle()) {
        fail_msg("%s: %s", sim_broken_oracle(), sim_broken_text());
    }
}

static void assert_broken(const char *oracle, const char *part)
{
    assert_non_null(sim_broken_oracle());
    assert_string_equal(sim_broken_oracle(), oracle);
    if (!strstr(sim_broken_text(), part)) {
        fail_msg("\"%s\" has no \"%s\"", sim_broken_text(), part);
    }
}

/* ---- events -----------------------------------------------------------------------------------
 */

#define SEEN_MAX 64
static int seen[SEEN_MAX];
static int seen_count;

struct numbered {
    struct sim_event event;
    int number;
};

static void write_down(void *arg)
{
    const struct numbered *n = arg;
    seen[seen_count++ % SEEN_MAX] = n->number;
}

static void numbered_init(struct numbered *n, struct sim_proc *proc, int number)
{
    n->number = number;
    sim_event_init(&n->event, proc, write_down, n);
}

static void assert_seen(const int *want, int count)
{
    assert_int_equal(seen_count, count);
    assert_memory_equal(seen, want, (size_t)count * sizeof(*want));
}

static void test_sim_event__runs_in_order_of_time_then_of_setting(void **state)
{
    (void)state;
    struct numbered n[6];
    static const uint64_t after[] = {50, 10, 10, 0, 10, 20};
    seen_count = 0;
    uint64_t start = sim_now();
    for (int i = 0; i < 6; i++) {
        numbered_init(&n[i], NULL, i);
        sim_event_set(&n[i].event, start + after[i]);
    }
    run_all();
    assert_seen((int[]){3, 1, 2, 4, 5, 0}, 6);
    assert_int_equal(sim_now(), start + 50);
    assert_int_equal(sim_steps(), 6);
}

static void test_sim_event__is_moved_and_cancelled(void **state)
{
    (void)state;
    struct numbered n[4];
    seen_count = 0;
    uint64_t start = sim_now();
    for (int i = 0; i < 4; i++) {
        numbered_init(&n[i], NULL, i);
        sim_event_set(&n[i].event, start + 10u * (unsigned)i);
    }
    sim_event_set(&n[0].event, start + 100);
    sim_event_set(&n[3].event, start - 5); /* has passed: now */
    sim_event_cancel(&n[1].event);
    sim_event_cancel(&n[1].event);
    sim_event_set(&n[2].event, UINT64_MAX); /* never */
    assert_int_equal(n[2].event.at, 0);
    run_all();
    assert_seen((int[]){3, 0}, 2);
    assert_int_equal(n[0].event.at, 0);
}

/* Any order of putting in and taking out leaves the order of time. */
static void test_sim_event__keeps_order_whatever_is_cancelled(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static struct numbered n[COUNT];
    for (int round = 0; round < 20; round++) {
        uint32_t left = 0;
        for (int i = 0; i < COUNT; i++) {
            numbered_init(&n[i], NULL, i);
            sim_event_set(&n[i].event, sim_now() + sim_below(300));
        }
        for (int i = 0; i < COUNT; i++) {
            uint64_t choice = sim_below(3);
            if (choice == 0) {
                sim_event_cancel(&n[i].event);
            } else if (choice == 1) {
                sim_event_set(&n[i].event, sim_now() + sim_below(300));
            }
            left += n[i].event.at != 0;
        }
        uint64_t last = sim_now();
        seen_count = 0;
        while (sim_step()) {
            assert_true(sim_now() >= last);
            last = sim_now();
        }
        assert_int_equal(seen_count, left);
    }
}

static void test_sim_random__is_even_and_of_the_seed(void **state)
{
    (void)state;
    uint32_t hits[8] = {0};
    uint32_t chances = 0;
    for (int i = 0; i < 80000; i++) {
        hits[sim_below(8)]++;
        chances += sim_chance(1, 4);
    }
    for (int i = 0; i < 8; i++) {
        assert_in_range(hits[i], 9500, 10500);
    }
    assert_in_range(chances, 19000, 21000);
    uint64_t first = sim_random();
    sim_close();
    sim_open(&(struct sim_cfg){.seed = 2});
    assert_int_not_equal(sim_random(), first);
}

static void test_sim_broken__keeps_the_first_and_ends_the_run(void **state)
{
    (void)state;
    struct numbered n;
    numbered_init(&n, NULL, 1);
    sim_event_set(&n.event, sim_now() + 1);
    assert_null(sim_broken_oracle());
    sim_broken("first", "value %d", 7);
    sim_broken("second", "value %d", 8);
    assert_broken("first", "value 7");
    assert_false(sim_step());
    assert_int_equal(sim_steps(), 0);
}

/* ---- processes --------------------------------------------------------------------------------
 */

struct story {
    struct sim_proc *self;
    int begun, ended, hooks;
    uint64_t at_ns, random, hint, value;
    pid_t pid;
    bool flag;
};

static void sleep_a_second(void *arg)
{
    struct story *s = arg;
    s->begun++;
    mf_thread_sleep_ns(MF_NS_PER_S);
    s->ended++;
    s->at_ns = sim_now();
}

static void on_end(void *arg)
{
    struct story *s = arg;
    s->hooks++;
    s->flag = sim_proc_self() == NULL;
}

static void test_sim_proc__ends_when_its_function_returns(void **state)
{
    (void)state;
    struct story s = {0};
    struct sim_hook hook = {.fn = on_end, .arg = &s};
    struct sim_proc *proc = sim_proc_start("a", 3, sleep_a_second, &s);
    sim_proc_hook(proc, &hook);
    assert_int_equal(s.begun, 0); /* begins by an event */
    assert_int_equal(sim_proc_state(proc), SIM_RUNNING);
    run_all();
    assert_kept();
    assert_int_equal(s.ended, 1);
    assert_in_range(s.at_ns, 2 * MF_NS_PER_S, 2 * MF_NS_PER_S + 100 * MF_NS_PER_MS);
    assert_int_equal(sim_proc_state(proc), SIM_ENDED);
    assert_int_equal(s.hooks, 1);
    assert_true(s.flag);
    assert_string_equal(sim_proc_name(proc), "a");
    assert_int_equal(sim_proc_host(proc), 3);
    sim_proc_kill(proc); /* nothing */
    assert_int_equal(s.hooks, 1);
}

static void look_around(void *arg)
{
    struct story *s = arg;
    const struct mf_env *env = sim_proc_env(sim_proc_self());
    s->self = sim_proc_self();
    s->at_ns = mf_now_ns(env);
    s->random = mf_random_u64(env);
    s->hint = env->ops->host_hint(env->arg);
    s->pid = env->ops->pid(env->arg);
    s->value = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;
    s->flag = sched_getaffinity(0, sizeof(set), &set) == 0 && (uint64_t)CPU_COUNT(&set) == s->value;
    mf_log(env->log, MF_LOG_ERROR, "test", "goes nowhere");
    mf_log_alarm(env->log, MF_ALARM_PEER_DEAD, "neither");
}

static void test_sim_proc__has_an_environment_of_its_own(void **state)
{
    (void)state;
    struct story s[3] = {{0}};
    struct sim_proc *proc[3];
    proc[0] = sim_proc_start("a", 1, look_around, &s[0]);
    proc[1] = sim_proc_start("b", 1, look_around, &s[1]);
    proc[2] = sim_proc_start("c", 3, look_around, &s[2]);
    run_all();
    assert_kept();
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(s[i].self, proc[i]);
        assert_int_equal(s[i].pid, sim_proc_pid(proc[i]));
        assert_true(s[i].at_ns > MF_NS_PER_S);
        assert_true(s[i].flag);
    }
    assert_int_not_equal(s[0].pid, s[1].pid);
    assert_int_not_equal(s[0].random, s[1].random);
    assert_int_equal(s[0].hint, s[1].hint);
    assert_int_not_equal(s[0].hint, s[2].hint);
    assert_int_equal(s[0].value, 1); /* processors: a property of the host */
    assert_int_equal(s[2].value, 4);
    assert_null(sim_proc_self());
}

static void draw_much(void *arg)
{
    const struct mf_env *env = sim_proc_env(sim_proc_self());
    uint8_t bytes[100];
    for (int i = 0; i < *(int *)arg; i++) {
        env->ops->random(env->arg, bytes, sizeof(bytes));
    }
}

static void test_sim_proc__its_draws_shift_nobody_elses(void **state)
{
    (void)state;
    uint64_t after[2];
    for (int i = 0; i < 2; i++) {
        int draws = i * 1000;
        sim_close();
        sim_open(&(struct sim_cfg){.seed = 9});
        sim_proc_start("a", 0, draw_much, &draws);
        run_all();
        after[i] = sim_random();
    }
    assert_int_equal(after[0], after[1]);
}

static void test_sim_proc__killed_goes_on_no_more(void **state)
{
    (void)state;
    struct story s = {0};
    struct numbered n;
    struct sim_hook hook = {.fn = on_end, .arg = &s};
    struct sim_hook gone = {.fn = on_end, .arg = &s};
    struct sim_proc *proc = sim_proc_start("a", 0, sleep_a_second, &s);
    sim_proc_hook(proc, &gone);
    sim_proc_hook(proc, &hook);
    sim_proc_unhook(proc, &gone);
    numbered_init(&n, proc, 1);
    sim_event_set(&n.event, sim_now() + MF_NS_PER_S);
    seen_count = 0;
    run_until(sim_now() + 1);
    while (s.begun == 0) {
        assert_true(sim_step());
    }
    sim_proc_kill(proc);
    assert_int_equal(sim_proc_state(proc), SIM_ENDED);
    assert_int_equal(s.hooks, 1);
    assert_int_equal(n.event.at, 0);
    sim_event_set(&n.event, sim_now() + 1); /* of a process that is gone */
    assert_false(sim_step());
    assert_kept();
    assert_int_equal(s.ended, 0);
    assert_int_equal(seen_count, 0);
}

static void keep_memory(void *arg)
{
    struct story *s = arg;
    for (int i = 0; i < 10; i++) {
        char *p = mf_alloc(10, "left behind");
        s->value += p != NULL;
    }
    mf_thread_sleep_ns(s->flag ? MF_NS_PER_S : 0);
}

static void test_sim_proc__killed_gives_its_memory_back(void **state)
{
    (void)state;
    struct story s = {.flag = true};
    struct sim_proc *proc = sim_proc_start("a", 0, keep_memory, &s);
    while (s.value < 10) {
        assert_true(sim_step());
    }
    assert_int_equal(sim_proc_blocks(proc), 10);
    sim_proc_kill(proc);
    assert_int_equal(sim_proc_blocks(proc), 0);
    assert_kept();
}

static void test_sim_proc__blocks_left_are_a_broken_promise(void **state)
{
    (void)state;
    struct story s = {.flag = false};
    sim_proc_start("a", 0, keep_memory, &s);
    run_all();
    assert_broken("leak", "10 blocks of memory: left behind (10), left behind (10)");
}

static void *nap(void *arg)
{
    (void)arg;
    mf_thread_sleep_ns(1000);
    return NULL;
}

static void leave_a_thread(void *arg)
{
    struct story *s = arg;
    pthread_t thread;
    s->value = (uint64_t)mf_thread_start(&thread, "napper", nap, NULL);
    mf_thread_sleep_ns(s->flag ? MF_NS_PER_S : 0);
}

static void test_sim_proc__threads_left_are_a_broken_promise(void **state)
{
    (void)state;
    struct story s = {.flag = true};
    sim_proc_start("a", 0, leave_a_thread, &s);
    run_all();
    assert_broken("thread-left", "its thread napper was never joined");
    sim_close();
    sim_open(&(struct sim_cfg){.seed = 1});
    s.flag = false;
    sim_proc_start("a", 0, leave_a_thread, &s);
    run_all();
    assert_broken("thread-left", "napper");
}

static void test_sim_proc__stopped_does_nothing_until_continued(void **state)
{
    (void)state;
    struct story s = {0};
    struct numbered n[3];
    struct sim_proc *proc = sim_proc_start("a", 0, sleep_a_second, &s);
    uint64_t start = sim_now();
    seen_count = 0;
    for (int i = 0; i < 3; i++) {
        numbered_init(&n[i], i == 2 ? NULL : proc, i);
    }
    sim_event_set(&n[0].event, start + 2 * MF_NS_PER_S);
    sim_event_set(&n[1].event, start + 3 * MF_NS_PER_S);
    sim_event_set(&n[2].event, start + 5 * MF_NS_PER_S);
    run_until(start + 1); /* it sleeps now, or is about to begin */
    sim_proc_stop(proc);
    sim_proc_stop(proc);
    assert_int_equal(sim_proc_state(proc), SIM_STOPPED);
    run_all();
    assert_kept(); /* a stopped process is not deadlocked */
    assert_seen((int[]){2}, 1);
    assert_int_equal(s.ended, 0);
    uint64_t stopped_ns = sim_proc_stopped_ns(proc);
    assert_in_range(stopped_ns, 4 * MF_NS_PER_S, 5 * MF_NS_PER_S);
    sim_proc_continue(proc);
    sim_proc_continue(proc);
    run_all();
    assert_kept();
    assert_seen((int[]){2, 0, 1}, 3);
    assert_int_equal(s.ended, 1);
    assert_int_equal(sim_proc_stopped_ns(proc), stopped_ns);
}

static void test_sim_proc__late_events_are_cancelled_and_killed(void **state)
{
    (void)state;
    struct story s = {0};
    struct numbered n[3];
    struct sim_proc *proc = sim_proc_start("a", 0, sleep_a_second, &s);
    seen_count = 0;
    sim_proc_stop(proc);
    for (int i = 0; i < 3; i++) {
        numbered_init(&n[i], proc, i);
        sim_event_set(&n[i].event, sim_now() + 1);
    }
    run_all();
    sim_event_cancel(&n[1].event); /* in the middle */
    sim_event_cancel(&n[2].event); /* the last */
    sim_event_set(&n[2].event, sim_now() + MF_NS_PER_S);
    sim_proc_continue(proc);
    run_until(sim_now() + MF_NS_PER_S / 2);
    assert_int_equal(seen[0], 0);
    sim_proc_stop(proc);
    sim_event_set(&n[1].event, sim_now());
    run_all();
    sim_proc_kill(proc);
    assert_int_equal(n[1].event.at, 0);
    assert_false(sim_step());
    assert_kept();
}

static void sleep_often(void *arg)
{
    struct story *s = arg;
    for (int i = 0; i < 200; i++) {
        mf_thread_sleep_ns(1);
    }
    s->at_ns = sim_now();
}

static void test_sim_proc__slow_takes_longer(void **state)
{
    (void)state;
    struct story fast = {0};
    struct story slow = {0};
    uint64_t start = sim_now();
    sim_proc_start("fast", 0, sleep_often, &fast);
    sim_proc_slow(sim_proc_start("slow", 0, sleep_often, &slow), 50);
    run_all();
    assert_kept();
    assert_true(slow.at_ns - start > 10 * (fast.at_ns - start));
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static void use_memory(void *arg)
{
    struct story *s = arg;
    uint8_t *p = mf_alloc(100, "bytes");
    memset(p, 7, 100);
    p = mf_realloc(p, 1000, "more bytes");
    uint8_t *zeroed = mf_calloc(10, 100, "zeroes");
    uint8_t *aligned = mf_alloc_aligned(256, 10, "aligned");
    char *text = mf_strdup("text", "text");
    uint8_t *none = mf_alloc(0, "nothing");
    s->flag = p[0] == 7 && p[99] == 7 && zeroed[0] == 0 && zeroed[999] == 0 && aligned[9] == 0 &&
              (uintptr_t)aligned % 256 == 0 && (uintptr_t)none % 16 == 0 &&
              strcmp(text, "text") == 0;
    s->value = sim_proc_blocks(sim_proc_self());
    mf_free(p);
    mf_free(zeroed);
    mf_free(aligned);
    mf_free(text);
    mf_free(none);
    mf_free(NULL);
}

static void test_sim_alloc__gives_and_counts_blocks(void **state)
{
    (void)state;
    struct story s = {0};
    struct sim_proc *proc = sim_proc_start("a", 0, use_memory, &s);
    run_all();
    assert_kept();
    assert_true(s.flag);
    assert_int_equal(s.value, 5);
    assert_int_equal(sim_proc_blocks(proc), 0);
}

struct hunger {
    bool got[8];
    int code;
    char text[128];
    int start_rc;
};

static void eat(void *arg)
{
    struct hunger *h = arg;
    sim_proc_starve(sim_proc_self(), 2, 3);
    for (int i = 0; i < 8; i++) {
        mf_err_clear();
        void *p = mf_alloc(24, "bite");
        h->got[i] = p != NULL;
        if (!p) {
            h->code = mf_err_code();
            snprintf(h->text, sizeof(h->text), "%s", mf_err_msg());
        }
        mf_free(p);
    }
    pthread_t thread;
    sim_proc_starve(sim_proc_self(), 0, 1);
    h->start_rc = mf_thread_start(&thread, "none", nap, NULL);
}

static void test_sim_alloc__starves_as_told(void **state)
{
    (void)state;
    static const bool want[8] = {true, true, false, false, false, true, true, true};
    struct hunger h = {0};
    struct sim_proc *proc = sim_proc_start("a", 0, eat, &h);
    run_all();
    assert_kept();
    assert_memory_equal(h.got, want, sizeof(want));
    assert_int_equal(h.code, SMEM_MALLOC_FAILED);
    assert_string_equal(h.text, "out of memory: 24 bytes for bite");
    assert_int_equal(h.start_rc, SMEM_NO_RESOURCES);
    assert_int_equal(sim_proc_starved(proc), 4);
    assert_int_equal(sim_proc_starved(proc), 0);
}

static void test_sim_alloc__blocks_of_the_machine_go_with_it(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_non_null(mf_alloc(100, "of the machine")); /* a leak, if it did not */
    }
    sim_close();
    void *outside = mf_alloc(100, "of the test");
    assert_non_null(outside);
    sim_open(&(struct sim_cfg){.seed = 1});
    sim_close();
    mf_free(outside);
    sim_open(&(struct sim_cfg){.seed = 1});
}

static void test_sim_fixed__has_the_same_addresses_in_every_run(void **state)
{
    (void)state;
    char *first = sim_fixed(100);
    char *second = sim_fixed(1 << 20);
    memset(first, 1, 100);
    memset(second, 2, 1 << 20);
    assert_true(second >= first + 100);
    sim_close();
    assert_int_equal(first[99], 1); /* until the next run */
    sim_open(&(struct sim_cfg){.seed = 2});
    assert_ptr_equal(sim_fixed(100), first);
    assert_ptr_equal(sim_fixed(1 << 20), second);
    assert_int_equal(first[99], 0);
    assert_int_equal(second[(1 << 20) - 1], 0);
}

/* ---- what is not of the simulation -------------------------------------------------------------
 */

static void ask_the_clock(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
}

static void ask_the_time(void)
{
    (void)time(NULL);
}

static void ask_for_chance(void)
{
    char c;
    (void)!getrandom(&c, 1, 0);
}

static void ask_for_the_pid(void)
{
    (void)getpid();
}

static void ask_for_sleep(void)
{
    (void)usleep(1);
}

static void ask_to_poll(void)
{
    (void)poll(NULL, 0, 0);
}

static void call(void *arg)
{
    void (**fn)(void) = arg;
    (*fn)();
}

/* In a child, whose complaint nobody needs to see. */
static int status_of_asking(void (*fn)(void))
{
    pid_t child = fork();
    if (child == 0) {
        struct sim_event event;
        signal(SIGABRT, SIG_DFL); /* the test library has its own */
        (void)!freopen("/dev/null", "w", stderr);
        sim_event_init(&event, NULL, call, &fn);
        sim_event_set(&event, sim_now());
        (void)sim_step();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void nothing(void)
{
}

static void test_sim_forbidden__ends_the_program(void **state)
{
    (void)state;
    static void (*const ask[])(void) = {ask_the_clock,   ask_the_time,  ask_for_chance,
                                        ask_for_the_pid, ask_for_sleep, ask_to_poll};
    assert_int_equal(status_of_asking(nothing), 0);
    for (size_t i = 0; i < sizeof(ask) / sizeof(ask[0]); i++) {
        ask[i](); /* outside of events the system answers */
        int status = status_of_asking(ask[i]);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

/* ---- speed ------------------------------------------------------------------------------------
 */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* outside of events this is the system's */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void again(void *arg)
{
    struct sim_event *event = arg;
    sim_event_set(event, sim_now() + 1 + sim_below(1000));
}

static void turn(void *arg)
{
    bool *stop = arg;
    while (!*stop) {
        mf_thread_yield();
    }
}

static void test_sim_machine__is_fast(void **state)
{
    (void)state;
    enum { EVENTS = 1000, STEPS = SANITIZED ? 100000 : 1000000, PROCS = 100 };
    static struct sim_event events[EVENTS];
    for (int i = 0; i < EVENTS; i++) {
        sim_event_init(&events[i], NULL, again, &events[i]);
        sim_event_set(&events[i], sim_now());
    }
    double begin = seconds();
    for (int i = 0; i < STEPS; i++) {
        sim_step();
    }
    double events_s = STEPS / (seconds() - begin);
    for (int i = 0; i < EVENTS; i++) {
        sim_event_cancel(&events[i]);
    }
    bool stop = false;
    for (int i = 0; i < PROCS; i++) {
        sim_proc_start("turner", 0, turn, &stop);
    }
    begin = seconds();
    for (int i = 0; i < STEPS; i++) {
        sim_step();
    }
    double switches_s = 2 * STEPS / (seconds() - begin);
    stop = true;
    run_all();
    assert_kept();
    print_message("%.2f million events a second, %.2f million switches\n", events_s / 1e6,
                  switches_s / 1e6);
    /* Also on a loaded machine. */
    assert_true(SANITIZED || (events_s > 400000 && switches_s > 400000));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_sim_event__runs_in_order_of_time_then_of_setting),
        T(test_sim_event__is_moved_and_cancelled),
        T(test_sim_event__keeps_order_whatever_is_cancelled),
        T(test_sim_random__is_even_and_of_the_seed),
        T(test_sim_broken__keeps_the_first_and_ends_the_run),
        T(test_sim_proc__ends_when_its_function_returns),
        T(test_sim_proc__has_an_environment_of_its_own),
        T(test_sim_proc__its_draws_shift_nobody_elses),
        T(test_sim_proc__killed_goes_on_no_more),
        T(test_sim_proc__killed_gives_its_memory_back),
        T(test_sim_proc__blocks_left_are_a_broken_promise),
        T(test_sim_proc__threads_left_are_a_broken_promise),
        T(test_sim_proc__stopped_does_nothing_until_continued),
        T(test_sim_proc__late_events_are_cancelled_and_killed),
        T(test_sim_proc__slow_takes_longer),
        T(test_sim_alloc__gives_and_counts_blocks),
        T(test_sim_alloc__starves_as_told),
        T(test_sim_alloc__blocks_of_the_machine_go_with_it),
        T(test_sim_fixed__has_the_same_addresses_in_every_run),
        T(test_sim_forbidden__ends_the_program),
        T(test_sim_machine__is_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
