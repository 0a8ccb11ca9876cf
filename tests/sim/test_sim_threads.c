// SPDX-License-Identifier: Apache-2.0
// Simulated threads: locks, conditions, words, joins, loops and timers; that the same seed gives
// the same run, and that processes can be killed, stopped and starved wherever they are.
#include "mf_test.h"

#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "sim.h"

/* The thread sanitizer takes milliseconds to begin a thread. */
#ifdef __SANITIZE_THREAD__
#define FEWER 10
#else
#define FEWER 1
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

static void reopen(uint64_t seed)
{
    sim_close();
    sim_open(&(struct sim_cfg){.seed = seed});
}

static void run_all(void)
{
    while (sim_step()) {
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

static const struct mf_env *env_now(void)
{
    return sim_proc_env(sim_proc_self());
}

/** What most tests share between the threads of one process. */
struct room {
    struct mf_mutex lock;
    struct mf_mutex second;
    struct mf_cond cond;
    _Atomic uint32_t word;
    int inside, most, count, got;
    bool flag;
    uint64_t took_ns;
    void (*body)(struct room *room);
};

static void room_main(void *arg)
{
    struct room *room = arg;
    mf_mutex_init(&room->lock, MF_RANK_POOL);
    mf_mutex_init(&room->second, MF_RANK_LEAF);
    mf_cond_init(&room->cond);
    room->body(room);
    mf_cond_fini(&room->cond);
    mf_mutex_fini(&room->second);
    mf_mutex_fini(&room->lock);
}

static void run_room(struct room *room, void (*body)(struct room *room))
{
    room->body = body;
    sim_proc_start("room", 0, room_main, room);
    run_all();
}

/* ---- locks ------------------------------------------------------------------------------------
 */

#define WORKERS 4
#define ROUNDS  50

static void *lock_often(void *arg)
{
    struct room *room = arg;
    for (int i = 0; i < ROUNDS; i++) {
        mf_mutex_lock(&room->lock);
        room->inside++;
        room->most = room->inside > room->most ? room->inside : room->most;
        mf_thread_yield();
        room->inside--;
        room->count++;
        mf_mutex_unlock(&room->lock);
    }
    return NULL;
}

static void with_workers(struct room *room, void *(*fn)(void *arg))
{
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        room->got += mf_thread_start(&threads[i], "worker", fn, room);
    }
    for (int i = 0; i < WORKERS; i++) {
        mf_thread_join(threads[i]);
    }
}

static void four_lock_often(struct room *room)
{
    with_workers(room, lock_often);
}

static void test_sim_mutex__lets_one_in(void **state)
{
    (void)state;
    struct room room = {0};
    run_room(&room, four_lock_often);
    assert_kept();
    assert_int_equal(room.count, WORKERS * ROUNDS);
    assert_int_equal(room.most, 1);
}

static void take_in_wrong_order(struct room *room)
{
    mf_mutex_lock(&room->second);
    mf_mutex_lock(&room->lock);
    mf_mutex_unlock(&room->lock);
    mf_mutex_unlock(&room->second);
}

static void test_sim_mutex__finds_the_wrong_order(void **state)
{
    (void)state;
    struct room room = {0};
    run_room(&room, take_in_wrong_order);
    assert_broken("lock-order", "rank");
}

static void *give_what_is_not_mine(void *arg)
{
    struct room *room = arg;
    mf_mutex_unlock(&room->lock);
    return NULL;
}

static void others_lock(struct room *room)
{
    pthread_t thread;
    mf_mutex_lock(&room->lock);
    room->got = mf_thread_start(&thread, "thief", give_what_is_not_mine, room);
    mf_thread_join(thread);
    mf_mutex_unlock(&room->lock);
}

static void *end_with_a_lock(void *arg)
{
    struct room *room = arg;
    mf_mutex_lock(&room->lock);
    return NULL;
}

static void lock_of_the_dead(struct room *room)
{
    pthread_t thread;
    room->got = mf_thread_start(&thread, "forgetful", end_with_a_lock, room);
    mf_thread_join(thread);
}

static void destroy_held(struct room *room)
{
    mf_mutex_lock(&room->lock);
    mf_mutex_fini(&room->lock);
    mf_mutex_unlock(&room->lock);
}

static void join_nobody(struct room *room)
{
    (void)room;
    mf_thread_join((pthread_t)12345);
}

static void test_sim_mutex__finds_misuse(void **state)
{
    (void)state;
    static const struct {
        void (*body)(struct room *room);
        const char *part;
    } cases[] = {
        {others_lock, "thread thief of room gives a lock"},
        {lock_of_the_dead, "thread forgetful of room ends and holds"},
        {destroy_held, "is destroyed while thread main holds it"},
        {join_nobody, "joins a thread that cannot be joined"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct room room = {0};
        reopen(1);
        run_room(&room, cases[i].body);
        assert_broken("lock-misuse", cases[i].part);
    }
}

/* The ranks are changed in between, so that the order is right and only the cycle is found. */
static void set_ranks(struct room *room, int lock, int second)
{
    room->lock.rank = lock;
    room->second.rank = second;
}

static void *take_second_first(void *arg)
{
    struct room *room = arg;
    mf_mutex_lock(&room->second);
    mf_thread_sleep_ns(2 * MF_NS_PER_S);
    set_ranks(room, 2, 1);
    mf_mutex_lock(&room->lock);
    return NULL;
}

static void cross(struct room *room)
{
    pthread_t thread;
    room->got = mf_thread_start(&thread, "crosser", take_second_first, room);
    mf_mutex_lock(&room->lock);
    mf_thread_sleep_ns(MF_NS_PER_S);
    set_ranks(room, 1, 2);
    mf_mutex_lock(&room->second);
}

static void test_sim_mutex__finds_a_cycle(void **state)
{
    (void)state;
    struct room room = {0};
    run_room(&room, cross);
    assert_broken("deadlock", "thread crosser of room waits for a lock of rank 2");
}

static void wait_for_ever(struct room *room)
{
    mf_mutex_lock(&room->lock);
    while (!room->flag) {
        (void)mf_cond_wait(&room->cond, &room->lock, UINT64_MAX);
    }
    mf_mutex_unlock(&room->lock);
}

static void wait_for_a_word(struct room *room)
{
    while (room->word == 0) {
        mf_word_wait(&room->word, 0, UINT64_MAX);
    }
}

static void test_sim_thread__waiting_for_nothing_is_a_deadlock(void **state)
{
    (void)state;
    static const struct {
        void (*body)(struct room *room);
        const char *part;
    } cases[] = {
        {wait_for_ever, "thread main of room waits for a condition"},
        {wait_for_a_word, "thread main of room waits for a word"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct room room = {0};
        reopen(1);
        run_room(&room, cases[i].body);
        assert_broken("deadlock", cases[i].part);
    }
}

/* ---- conditions and words ---------------------------------------------------------------------
 */

static void *signal_later(void *arg)
{
    struct room *room = arg;
    mf_thread_sleep_ns(10 * MF_NS_PER_MS);
    mf_mutex_lock(&room->lock);
    room->flag = true;
    mf_cond_signal(&room->cond);
    mf_mutex_unlock(&room->lock);
    return NULL;
}

static void wait_for_signal(struct room *room)
{
    pthread_t thread;
    room->got = mf_thread_start(&thread, "signaller", signal_later, room);
    uint64_t begin_ns = mf_now_ns(env_now());
    mf_mutex_lock(&room->lock);
    while (!room->flag) {
        (void)mf_cond_wait(&room->cond, &room->lock, begin_ns + 100 * MF_NS_PER_S);
    }
    mf_mutex_unlock(&room->lock);
    room->took_ns = mf_now_ns(env_now()) - begin_ns;
    mf_thread_join(thread);
}

static void test_sim_cond__is_woken_by_a_signal(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct room room = {0};
        reopen(seed);
        run_room(&room, wait_for_signal);
        assert_kept();
        assert_true(room.flag);
        assert_in_range(room.took_ns, 10 * MF_NS_PER_MS, 100 * MF_NS_PER_MS);
    }
}

static void wait_in_vain(struct room *room)
{
    uint64_t begin_ns = mf_now_ns(env_now());
    uint64_t deadline_ns = begin_ns + 3 * MF_NS_PER_S;
    mf_mutex_lock(&room->lock);
    while (mf_cond_wait(&room->cond, &room->lock, deadline_ns)) {
        room->count++; /* for no reason */
    }
    room->took_ns = mf_now_ns(env_now()) - begin_ns;
    room->flag = mf_cond_wait(&room->cond, &room->lock, 1); /* has passed */
    mf_mutex_unlock(&room->lock);
}

static void test_sim_cond__ends_at_the_deadline_and_now_and_then_early(void **state)
{
    (void)state;
    int early = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct room room = {0};
        reopen(seed);
        run_room(&room, wait_in_vain);
        assert_kept();
        assert_false(room.flag);
        assert_in_range(room.took_ns, 3 * MF_NS_PER_S, 3 * MF_NS_PER_S + 100 * MF_NS_PER_MS);
        early += room.count;
    }
    assert_in_range(early, 1, 50);
}

static void *wait_for_flag(void *arg)
{
    struct room *room = arg;
    mf_mutex_lock(&room->lock);
    room->inside++;
    while (!room->flag) {
        (void)mf_cond_wait(&room->cond, &room->lock, UINT64_MAX);
    }
    room->count++;
    mf_mutex_unlock(&room->lock);
    return NULL;
}

static void wake_four(struct room *room)
{
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        room->got += mf_thread_start(&threads[i], "waiter", wait_for_flag, room);
    }
    while (room->inside < WORKERS) {
        mf_thread_yield();
    }
    mf_mutex_lock(&room->lock);
    room->flag = true;
    mf_cond_broadcast(&room->cond);
    mf_mutex_unlock(&room->lock);
    for (int i = 0; i < WORKERS; i++) {
        mf_thread_join(threads[i]);
    }
}

static void test_sim_cond__broadcast_wakes_all(void **state)
{
    (void)state;
    struct room room = {0};
    run_room(&room, wake_four);
    assert_kept();
    assert_int_equal(room.count, WORKERS);
}

static void *wait_for_word(void *arg)
{
    struct room *room = arg;
    while (atomic_load(&room->word) == 0) {
        mf_word_wait(&room->word, 0, UINT64_MAX);
    }
    room->count++;
    return NULL;
}

static void wake_word(struct room *room)
{
    pthread_t threads[WORKERS];
    _Atomic uint32_t other = 0;
    for (int i = 0; i < WORKERS; i++) {
        room->got += mf_thread_start(&threads[i], "waiter", wait_for_word, room);
    }
    mf_thread_sleep_ns(MF_NS_PER_MS);
    mf_word_wake(&other); /* nobody waits for it */
    mf_thread_sleep_ns(MF_NS_PER_MS);
    room->most = room->count;
    atomic_store(&room->word, 1);
    mf_word_wake(&room->word);
    for (int i = 0; i < WORKERS; i++) {
        mf_thread_join(threads[i]);
    }
    uint64_t begin_ns = mf_now_ns(env_now());
    mf_word_wait(&room->word, 0, UINT64_MAX); /* is another: at once */
    mf_word_wait(&other, 0, begin_ns + MF_NS_PER_S);
    room->took_ns = mf_now_ns(env_now()) - begin_ns;
}

static void test_sim_word__is_waited_for_and_woken(void **state)
{
    (void)state;
    struct room room = {0};
    run_room(&room, wake_word);
    assert_kept();
    assert_int_equal(room.most, 0);
    assert_int_equal(room.count, WORKERS);
    assert_in_range(room.took_ns, MF_NS_PER_S, MF_NS_PER_S + 100 * MF_NS_PER_MS);
}

/* ---- threads ----------------------------------------------------------------------------------
 */

static void *keep_error(void *arg)
{
    struct room *room = arg;
    int number = ++room->inside;
    errno = number;
    mf_err(SMEM_TIMEOUT, "error %d", number);
    mf_thread_sleep_ns(1000000);
    char want[32];
    snprintf(want, sizeof(want), "error %d", number);
    room->count += errno == number && strcmp(mf_err_msg(), want) == 0;
    return NULL;
}

static void four_errors(struct room *room)
{
    mf_err(SMEM_ERROR, "of the first thread");
    with_workers(room, keep_error);
    room->flag = strcmp(mf_err_msg(), "of the first thread") == 0;
}

static void test_sim_thread__has_its_own_error_and_errno(void **state)
{
    (void)state;
    struct room room = {0};
    mf_err(SMEM_ERROR, "of the test");
    run_room(&room, four_errors);
    assert_kept();
    assert_int_equal(room.count, WORKERS);
    assert_true(room.flag);
    assert_string_equal(mf_err_msg(), "of the test");
    mf_err_clear();
}

static void *own_name(void *arg)
{
    *(pthread_t *)arg = mf_thread_self();
    return NULL;
}

static void names(struct room *room)
{
    pthread_t thread[2];
    pthread_t said[2];
    for (int i = 0; i < 2; i++) {
        room->got += mf_thread_start(&thread[i], "named", own_name, &said[i]);
        mf_thread_join(thread[i]);
        room->count += said[i] == thread[i];
    }
    room->flag = said[0] != said[1] && mf_thread_is_self(mf_thread_self()) &&
                 !mf_thread_is_self(said[0]) && mf_thread_barrier_register();
    mf_thread_barrier();
}

static void test_sim_thread__has_a_name_that_is_used_once(void **state)
{
    (void)state;
    struct room room = {0};
    run_room(&room, names);
    assert_kept();
    assert_int_equal(room.count, 2);
    assert_true(room.flag);
}

static void look_at_the_clock(struct room *room)
{
    uint64_t begin_ns = mf_now_ns(env_now());
    while (mf_now_ns(env_now()) < begin_ns + 20000) {
        room->count++;
    }
}

static void test_sim_thread__that_looks_at_the_clock_sees_time_pass(void **state)
{
    (void)state;
    struct room room = {0};
    run_room(&room, look_at_the_clock);
    assert_kept();
    assert_true(room.count > 100);
}

/* ---- loops ------------------------------------------------------------------------------------
 */

struct rig {
    struct mf_loop *loop;
    struct mf_timer *timer[4];
    struct sim_source source[2];
    struct sim_event event;
    int order[16];
    int count, rc;
    bool current, stop;
    uint64_t at_ns, set_ns;
};

struct job {
    struct rig *rig;
    int number;
};

static void note_job(void *arg)
{
    const struct job *job = arg;
    struct rig *rig = job->rig;
    rig->order[rig->count++ % 16] = job->number;
    rig->current = mf_loop_is_current(rig->loop);
    rig->at_ns = sim_now();
}

static void slow_job(void *arg)
{
    mf_thread_sleep_ns(MF_NS_PER_MS);
    note_job(arg);
}

static void post_and_call(void *arg)
{
    struct rig *rig = arg;
    struct job job[4] = {{rig, 0}, {rig, 1}, {rig, 2}, {rig, 3}};
    rig->rc = mf_loop_create(env_now(), "loop", &rig->loop);
    rig->rc += mf_loop_post(rig->loop, note_job, &job[0]);
    rig->rc += mf_loop_post(rig->loop, slow_job, &job[1]);
    rig->rc += mf_loop_call(rig->loop, note_job, &job[2]);
    rig->set_ns = (uint64_t)rig->count; /* all of them have run */
    rig->rc += mf_loop_post(rig->loop, slow_job, &job[1]);
    rig->rc += mf_loop_post(rig->loop, note_job, &job[3]);
    mf_loop_destroy(rig->loop); /* runs what was posted */
    mf_loop_destroy(NULL);
}

static void test_sim_loop__runs_in_the_order_posted(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct rig rig = {0};
        reopen(seed);
        sim_proc_start("a", 0, post_and_call, &rig);
        run_all();
        assert_kept();
        assert_int_equal(rig.rc, 0);
        assert_int_equal(rig.set_ns, 3);
        assert_int_equal(rig.count, 5);
        assert_memory_equal(rig.order, ((int[]){0, 1, 2, 1, 3}), 5 * sizeof(int));
        assert_true(rig.current);
    }
}

static void make_timers(void *arg)
{
    struct rig *rig = arg;
    static struct job job[4];
    uint64_t now_ns = sim_now();
    for (int i = 0; i < 4; i++) {
        job[i] = (struct job){rig, i};
        rig->rc += mf_timer_create(rig->loop, note_job, &job[i], &rig->timer[i]);
    }
    rig->set_ns = now_ns;
    mf_timer_set(rig->timer[0], now_ns + 300 * MF_NS_PER_MS);
    mf_timer_set(rig->timer[1], now_ns + 100 * MF_NS_PER_MS);
    mf_timer_set(rig->timer[2], now_ns + 200 * MF_NS_PER_MS);
    mf_timer_set(rig->timer[3], now_ns + 50 * MF_NS_PER_MS);
    mf_timer_set(rig->timer[3], UINT64_MAX);
    mf_timer_set(rig->timer[0], now_ns + 10 * MF_NS_PER_MS);
    mf_timer_set(rig->timer[0], now_ns + 10 * MF_NS_PER_MS);
}

static void end_timers(void *arg)
{
    struct rig *rig = arg;
    mf_timer_set(rig->timer[3], sim_now());
    for (int i = 0; i < 4; i++) {
        mf_timer_destroy(rig->timer[i]);
    }
    mf_timer_destroy(NULL);
}

static void use_timers(void *arg)
{
    struct rig *rig = arg;
    rig->rc = mf_loop_create(env_now(), "loop", &rig->loop);
    mf_loop_call(rig->loop, make_timers, rig);
    mf_thread_sleep_ns(MF_NS_PER_S);
    mf_loop_call(rig->loop, end_timers, rig);
    mf_loop_destroy(rig->loop);
}

static void test_sim_loop__timers_fire_in_order_of_time(void **state)
{
    (void)state;
    struct rig rig = {0};
    sim_proc_start("a", 0, use_timers, &rig);
    run_all();
    assert_kept();
    assert_int_equal(rig.rc, 0);
    assert_int_equal(rig.count, 3);
    assert_memory_equal(rig.order, ((int[]){0, 1, 2}), 3 * sizeof(int));
    assert_in_range(rig.at_ns - rig.set_ns, 200 * MF_NS_PER_MS, 220 * MF_NS_PER_MS);
}

static void on_source(void *arg)
{
    const struct job *job = arg;
    struct rig *rig = job->rig;
    rig->order[rig->count++ % 16] = job->number;
}

static void raise_both(void *arg)
{
    struct rig *rig = arg;
    for (int i = 0; i < 3; i++) {
        sim_loop_raise(rig->loop, &rig->source[1]); /* once, however often it is raised */
        sim_loop_raise(rig->loop, &rig->source[0]);
    }
}

static void raise_and_forget(void *arg)
{
    struct rig *rig = arg;
    raise_both(rig);
    sim_loop_forget(rig->loop, &rig->source[0]);
    sim_loop_forget(rig->loop, &rig->source[0]);
    sim_loop_forget(rig->loop, &rig->source[1]);
    sim_loop_raise(rig->loop, &rig->source[0]);
}

static void use_sources(void *arg)
{
    struct rig *rig = arg;
    static struct job job[2];
    struct mf_fd_watch *watch;
    rig->rc = mf_loop_create(env_now(), "loop", &rig->loop);
    for (int i = 0; i < 2; i++) {
        job[i] = (struct job){rig, i};
        rig->source[i] = (struct sim_source){.fn = on_source, .arg = &job[i]};
    }
    sim_event_set(&rig->event, sim_now() + MF_NS_PER_MS);
    mf_thread_sleep_ns(MF_NS_PER_S);
    mf_loop_call(rig->loop, raise_and_forget, rig);
    mf_thread_sleep_ns(MF_NS_PER_S);
    rig->current = mf_loop_watch_fd(rig->loop, 0, on_source, NULL, &watch) == SMEM_NO_RESOURCES;
    mf_loop_unwatch_fd(NULL);
    mf_loop_destroy(rig->loop);
}

static void test_sim_loop__runs_what_is_raised(void **state)
{
    (void)state;
    struct rig rig = {0};
    sim_event_init(&rig.event, NULL, raise_both, &rig);
    sim_proc_start("a", 0, use_sources, &rig);
    run_all();
    assert_kept();
    assert_int_equal(rig.count, 3);
    assert_memory_equal(rig.order, ((int[]){1, 0, 0}), 3 * sizeof(int));
    assert_true(rig.current);
}

static void sit_on_a_loop(void *arg)
{
    struct rig *rig = arg;
    rig->rc = mf_loop_create(env_now(), "loop", &rig->loop);
    mf_thread_sleep_ns(100 * MF_NS_PER_S);
}

static void test_sim_loop__of_a_killed_process_does_nothing(void **state)
{
    (void)state;
    struct rig rig = {0};
    struct sim_proc *proc = sim_proc_start("a", 0, sit_on_a_loop, &rig);
    while (!rig.loop) {
        assert_true(sim_step());
    }
    rig.source[0] = (struct sim_source){.fn = on_source, .arg = NULL};
    sim_loop_raise(rig.loop, &rig.source[0]);
    sim_proc_kill(proc);
    sim_loop_forget(rig.loop, &rig.source[0]);
    sim_loop_raise(rig.loop, &rig.source[1]);
    run_all();
    assert_kept();
}

/* ---- all together -----------------------------------------------------------------------------
 */

/** A process with a loop and three workers that do a bit of everything. */
struct busy {
    struct mf_loop *loop;
    struct mf_mutex lock;
    struct mf_cond cond;
    int tickets, rounds;
    uint64_t sum, done;
};

static void add_ticket(void *arg)
{
    struct busy *b = arg;
    mf_mutex_lock(&b->lock);
    b->tickets++;
    b->sum = b->sum * 31 + sim_now();
    mf_cond_signal(&b->cond);
    mf_mutex_unlock(&b->lock);
}

static void *busy_worker(void *arg)
{
    struct busy *b = arg;
    for (int i = 0; i < b->rounds; i++) {
        mf_thread_sleep_ns(mf_random_u64(env_now()) % 100000);
        if (mf_loop_post(b->loop, add_ticket, b) != SMEM_OK) {
            add_ticket(b);
        }
        mf_mutex_lock(&b->lock);
        while (b->tickets == 0) {
            (void)mf_cond_wait(&b->cond, &b->lock, mf_deadline_ns(env_now(), 1000));
        }
        b->tickets--;
        b->done++;
        mf_mutex_unlock(&b->lock);
    }
    return NULL;
}

static void busy_work(struct busy *b)
{
    pthread_t threads[3];
    uint32_t started = 0;
    if (mf_loop_create(env_now(), "loop", &b->loop) != SMEM_OK) {
        return;
    }
    mf_mutex_init(&b->lock, MF_RANK_LEAF);
    mf_cond_init(&b->cond);
    while (started < 3 && mf_thread_start(&threads[started], "worker", busy_worker, b) == SMEM_OK) {
        started++;
    }
    while (started > 0) {
        mf_thread_join(threads[--started]);
    }
    mf_loop_destroy(b->loop);
    mf_cond_fini(&b->cond);
    mf_mutex_fini(&b->lock);
    sim_note('b', b->sum);
}

static void busy_main(void *arg)
{
    uint64_t *done = arg;
    struct busy *b = mf_calloc(1, sizeof(*b), "busy process");
    if (b) {
        b->rounds = 20;
        busy_work(b);
        *done += b->done;
        mf_free(b);
    }
}

struct outcome {
    uint64_t digest, steps, now_ns, done;
};

static struct outcome busy_run(uint64_t seed)
{
    uint64_t done = 0;
    reopen(seed);
    for (uint32_t i = 0; i < 10; i++) {
        sim_proc_start("busy", i, busy_main, &done);
    }
    run_all();
    return (struct outcome){sim_digest(), sim_steps(), sim_now(), done};
}

static void test_sim_machine__same_seed_same_run(void **state)
{
    (void)state;
    struct outcome first = busy_run(77);
    assert_kept();
    assert_int_equal(first.done, 600);
    struct outcome other = busy_run(78);
    void *shift = mf_alloc(12345, "so that addresses are others");
    struct outcome second = busy_run(77);
    (void)shift; /* of the machine that is closed */
    assert_memory_equal(&first, &second, sizeof(first));
    assert_int_not_equal(first.digest, other.digest);
    assert_int_not_equal(first.steps, other.steps);
}

/* Wherever it is: waiting, holding locks, on its loop. */
static void test_sim_proc__killed_anywhere_leaves_nothing(void **state)
{
    (void)state;
    for (uint64_t steps = 1; steps < 900; steps += 3 * FEWER) {
        uint64_t done = 0;
        reopen(steps);
        struct sim_proc *victim = sim_proc_start("victim", 0, busy_main, &done);
        struct sim_proc *other = sim_proc_start("other", 0, busy_main, &done);
        for (uint64_t i = 0; i < steps && sim_step(); i++) {
        }
        sim_proc_kill(victim);
        assert_int_equal(sim_proc_blocks(victim), 0);
        run_all();
        assert_kept();
        assert_int_equal(sim_proc_state(other), SIM_ENDED);
        assert_in_range(done, 60, 120);
    }
}

static void test_sim_proc__stopped_anywhere_ends_all_the_same(void **state)
{
    (void)state;
    for (uint64_t steps = 1; steps < 600; steps += 7 * FEWER) {
        uint64_t done = 0;
        reopen(steps);
        struct sim_proc *proc = sim_proc_start("victim", 0, busy_main, &done);
        for (uint64_t i = 0; i < steps && sim_step(); i++) {
        }
        sim_proc_stop(proc);
        assert_false(sim_step());
        sim_proc_continue(proc);
        run_all();
        assert_kept();
        assert_int_equal(done, 60);
    }
}

static void test_sim_proc__starved_anywhere_leaves_nothing(void **state)
{
    (void)state;
    uint32_t failed = 0;
    for (uint32_t skip = 0; skip < 70; skip++) {
        uint64_t done = 0;
        reopen(skip + 1);
        struct sim_proc *proc = sim_proc_start("victim", 0, busy_main, &done);
        sim_proc_starve(proc, skip, 2);
        run_all();
        assert_kept();
        failed += sim_proc_starved(proc);
    }
    assert_in_range(failed, 100, 140);
}

/* A thousand processes of five threads each: the main one, three workers and the loop. */
static void test_sim_machine__holds_a_thousand_processes(void **state)
{
    (void)state;
    enum { PROCS = 1000 / FEWER };
    uint64_t done = 0;
    for (uint32_t i = 0; i < PROCS; i++) {
        sim_proc_start("busy", i, busy_main, &done);
    }
    run_all();
    assert_kept();
    assert_int_equal(done, PROCS * 60);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_sim_mutex__lets_one_in),
        T(test_sim_mutex__finds_the_wrong_order),
        T(test_sim_mutex__finds_misuse),
        T(test_sim_mutex__finds_a_cycle),
        T(test_sim_thread__waiting_for_nothing_is_a_deadlock),
        T(test_sim_cond__is_woken_by_a_signal),
        T(test_sim_cond__ends_at_the_deadline_and_now_and_then_early),
        T(test_sim_cond__broadcast_wakes_all),
        T(test_sim_word__is_waited_for_and_woken),
        T(test_sim_thread__has_its_own_error_and_errno),
        T(test_sim_thread__has_a_name_that_is_used_once),
        T(test_sim_thread__that_looks_at_the_clock_sees_time_pass),
        T(test_sim_loop__runs_in_the_order_posted),
        T(test_sim_loop__timers_fire_in_order_of_time),
        T(test_sim_loop__runs_what_is_raised),
        T(test_sim_loop__of_a_killed_process_does_nothing),
        T(test_sim_machine__same_seed_same_run),
        T(test_sim_proc__killed_anywhere_leaves_nothing),
        T(test_sim_proc__stopped_anywhere_ends_all_the_same),
        T(test_sim_proc__starved_anywhere_leaves_nothing),
        T(test_sim_machine__holds_a_thousand_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
