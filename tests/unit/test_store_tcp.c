// SPDX-License-Identifier: Apache-2.0
// The store over TCP, as its users see it: values, waiting, watches, sessions, and what happens
// when a server goes away or a client misbehaves.
#include "mf_test.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/thread.h"
#include "unit/store_rig.h"
#include "wire/store_msg.h"

static int setup(void **state)
{
    struct rig *rig = test_malloc(sizeof(*rig));
    *state = rig;
    return rig_open(rig);
}

static int teardown(void **state)
{
    rig_close(*state);
    test_free(*state);
    return 0;
}

static struct mf_store *client(struct rig *rig)
{
    struct mf_store *store;
    mf_assert_ok(rig_client(rig, RIG_SESSION_MS, &store));
    return store;
}

static void bye(struct rig *rig, struct mf_store *store)
{
    mf_store_close(store, rig_in_ms(rig, 1000));
}

static void assert_value(struct mf_store *store, const char *key, const void *want, size_t want_len)
{
    void *value;
    size_t len;
    mf_assert_ok(mf_store_get(store, key, 0, 0, &value, &len));
    assert_int_equal(len, want_len);
    assert_memory_equal(value, want, want_len);
    assert_int_equal(((char *)value)[len], 0);
    mf_free(value);
}

/* ---- values -----------------------------------------------------------------------------------
 */

static void test_store_set__is_seen_by_another_client(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct mf_store *b = client(rig);
    mf_assert_ok(mf_store_set(a, "k", "v1", 2, 0, 0));
    assert_value(b, "k", "v1", 2);
    mf_assert_ok(mf_store_set(b, "k", "value 2", 7, 0, 0));
    assert_value(a, "k", "value 2", 7);
    bye(rig, a);
    bye(rig, b);
}

static void test_store_set__keeps_empty_binary_and_special_bytes(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    char all[256];
    char key[MF_KEY_MAX + 1];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (char)i;
    for (size_t i = 0; i < MF_KEY_MAX; i++)
        key[i] = (char)(1 + i % 255);
    key[MF_KEY_MAX] = '\0';
    mf_assert_ok(mf_store_set(a, "empty", "", 0, 0, 0));
    mf_assert_ok(mf_store_set(a, "null", NULL, 0, 0, 0));
    mf_assert_ok(mf_store_set(a, "a b/\\\"%s\n\t$", all, sizeof(all), 0, 0));
    mf_assert_ok(mf_store_set(a, key, "long", 4, 0, 0));
    assert_value(a, "empty", "", 0);
    assert_value(a, "null", "", 0);
    assert_value(a, "a b/\\\"%s\n\t$", all, sizeof(all));
    assert_value(a, key, "long", 4);
    bye(rig, a);
}

static void test_store_set__carries_large_values_up_to_the_limit(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    const size_t sizes[] = {1u << 20, MF_VALUE_MAX};
    uint8_t *big = test_malloc(MF_VALUE_MAX + 1);
    for (size_t i = 0; i <= MF_VALUE_MAX; i++)
        big[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < 2; i++) {
        mf_assert_ok(mf_store_set(a, "big", big, sizes[i], 0, 0));
        assert_value(a, "big", big, sizes[i]);
    }
    mf_assert_rc(mf_store_set(a, "big", big, MF_VALUE_MAX + 1, 0, 0), SMEM_INVALID_PARAM);
    mf_assert_err_has("4194305 bytes, the limit is 4194304");
    test_free(big);
    bye(rig, a);
}

static void test_store_keys__bad_ones_are_refused_by_name(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    char key[MF_KEY_MAX + 2];
    void *value;
    size_t len;
    memset(key, 'k', sizeof(key));
    key[sizeof(key) - 1] = '\0';
    mf_assert_rc(mf_store_set(a, "", "v", 1, 0, 0), SMEM_INVALID_PARAM);
    mf_assert_err_has("the key is empty");
    mf_assert_rc(mf_store_get(a, "", 0, 0, &value, &len), SMEM_INVALID_PARAM);
    mf_assert_rc(mf_store_set(a, NULL, "v", 1, 0, 0), SMEM_INVALID_PARAM);
    mf_assert_err_has("the key is NULL");
    mf_assert_rc(mf_store_set(a, key, "v", 1, 0, 0), SMEM_INVALID_PARAM);
    mf_assert_err_has("the key has 1025 bytes, the limit is 1024");
    mf_assert_rc(mf_store_set(a, "k", NULL, 3, 0, 0), SMEM_INVALID_PARAM);
    mf_assert_err_has("the value is NULL but has 3 bytes");
    bye(rig, a);
}

static void test_store_add__counts_in_decimal(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    int64_t value;
    const int64_t adds[] = {1, 1, -5, 0, -8, INT64_MAX / 2};
    int64_t sum = 0;
    for (size_t i = 0; i < sizeof(adds) / sizeof(adds[0]); i++) {
        mf_assert_ok(mf_store_add(a, "n", adds[i], 0, &value));
        sum += adds[i];
        assert_true(value == sum);
    }
    mf_assert_ok(mf_store_set(a, "n", "-42", 3, 0, 0));
    mf_assert_ok(mf_store_add(a, "n", 2, 0, &value));
    assert_true(value == -40);
    assert_value(a, "n", "-40", 3);
    bye(rig, a);
}

static void test_store_add__refuses_overflow_and_text(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    int64_t value;
    mf_assert_ok(mf_store_add(a, "max", INT64_MAX, 0, &value));
    assert_true(value == INT64_MAX);
    mf_assert_rc(mf_store_add(a, "max", 1, 0, &value), SMEM_INVALID_PARAM);
    mf_assert_err_has("9223372036854775807 + 1 does not fit");
    assert_value(a, "max", "9223372036854775807", 19);
    mf_assert_ok(mf_store_add(a, "min", INT64_MIN, 0, &value));
    mf_assert_rc(mf_store_add(a, "min", -1, 0, &value), SMEM_INVALID_PARAM);
    const char *const bad[] = {"", "x", "1x", " 1", "-", "+1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mf_assert_ok(mf_store_set(a, "text", bad[i], strlen(bad[i]), 0, 0));
        mf_assert_rc(mf_store_add(a, "text", 1, 0, &value), SMEM_INVALID_PARAM);
        mf_assert_err_has("not a decimal int64");
    }
    bye(rig, a);
}

static void test_store_append__returns_the_size(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    size_t total;
    mf_assert_ok(mf_store_append(a, "l", "", 0, 0, &total));
    assert_int_equal(total, 0);
    mf_assert_ok(mf_store_append(a, "l", "abc", 3, 0, &total));
    assert_int_equal(total, 3);
    mf_assert_ok(mf_store_append(a, "l", "defg", 4, 0, &total));
    assert_int_equal(total, 7);
    assert_value(a, "l", "abcdefg", 7);
    bye(rig, a);
}

static void test_store_cas__swaps_only_what_is_expected(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    bool swapped;
    void *was;
    size_t was_len;
    mf_assert_ok(mf_store_cas(a, "c", "x", 1, "y", 1, 0, 0, &swapped, &was, &was_len));
    assert_false(swapped);
    assert_null(was);
    mf_assert_ok(mf_store_cas(a, "c", NULL, 0, "1", 1, 0, 0, &swapped, NULL, NULL));
    assert_true(swapped);
    mf_assert_ok(mf_store_cas(a, "c", NULL, 0, "2", 1, 0, 0, &swapped, &was, &was_len));
    assert_false(swapped);
    assert_int_equal(was_len, 1);
    assert_memory_equal(was, "1", 1);
    mf_free(was);
    mf_assert_ok(mf_store_cas(a, "c", "1", 1, "", 0, 0, 0, &swapped, NULL, NULL));
    assert_true(swapped);
    assert_value(a, "c", "", 0);
    mf_assert_ok(mf_store_cas(a, "c", "", 0, NULL, 0, 0, 0, &swapped, NULL, NULL));
    assert_true(swapped);
    mf_assert_rc(mf_store_remove(a, "c", 0), SMEM_NOT_EXIST);
    bye(rig, a);
}

static bool collect_keys(void *arg, const struct mf_store_kv *kv)
{
    char *text = arg;
    size_t used = strlen(text);
    snprintf(text + used, 256 - used, "%s=%.*s;", kv->key, (int)kv->value_len,
             (const char *)kv->value);
    return strcmp(kv->key, "stop") != 0;
}

static void test_store_list__is_ordered_and_by_prefix(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    char text[256] = "";
    const char *const keys[] = {"p/2", "q", "p/10", "p/1", "o", "p"};
    for (size_t i = 0; i < 6; i++)
        mf_assert_ok(mf_store_set(a, keys[i], keys[i], strlen(keys[i]), 0, 0));
    mf_assert_ok(mf_store_list(a, "p/", 0, collect_keys, text));
    assert_string_equal(text, "p/1=p/1;p/10=p/10;p/2=p/2;");
    text[0] = '\0';
    mf_assert_ok(mf_store_list(a, "", 0, collect_keys, text));
    assert_string_equal(text, "o=o;p=p;p/1=p/1;p/10=p/10;p/2=p/2;q=q;");
    text[0] = '\0';
    mf_assert_ok(mf_store_list_keys(a, "p/", 0, collect_keys, text));
    assert_string_equal(text, "p/1=;p/10=;p/2=;");
    text[0] = '\0';
    mf_assert_ok(mf_store_list(a, "nothing", 0, collect_keys, text));
    assert_string_equal(text, "");
    mf_assert_ok(mf_store_set(a, "stop", "", 0, 0, 0));
    mf_assert_ok(mf_store_set(a, "stop2", "", 0, 0, 0));
    mf_assert_ok(mf_store_list(a, "st", 0, collect_keys, text));
    assert_string_equal(text, "stop=;");
    bye(rig, a);
}

static bool count_keys(void *arg, const struct mf_store_kv *kv)
{
    (void)kv;
    (*(size_t *)arg)++;
    return true;
}

static void test_store_list__comes_in_pieces_when_long(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    char key[32];
    uint8_t *value = test_calloc(1, 100000);
    size_t count = 0;
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "piece/%02d", i);
        mf_assert_ok(mf_store_set(a, key, value, 100000, 0, 0));
    }
    mf_assert_ok(mf_store_list(a, "piece/", 0, count_keys, &count));
    assert_int_equal(count, 40);
    test_free(value);
    bye(rig, a);
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

static void test_store_get__missing_key(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    void *value;
    size_t len;
    mf_assert_rc(mf_store_get(a, "missing", 0, 0, &value, &len), SMEM_NOT_EXIST);
    mf_assert_err_has("get \"missing\" at store tcp://127.0.0.1:");
    uint64_t begin = mf_now_ns(&rig->env);
    mf_assert_rc(mf_store_get(a, "missing", MF_STORE_WAIT, rig_in_ms(rig, 100), &value, &len),
                 SMEM_TIMEOUT);
    uint64_t ms = (mf_now_ns(&rig->env) - begin) / MF_NS_PER_MS;
    assert_in_range(ms, 99, 3000);
    mf_assert_err_has("nobody has set the key within ");
    bye(rig, a);
}

struct getter {
    struct rig *rig;
    struct mf_store *store;
    int rc;
    void *value;
    size_t len;
    char msg[256];
};

static void *getter_main(void *arg)
{
    struct getter *getter = arg;
    getter->rc = mf_store_get(getter->store, "awaited", MF_STORE_WAIT,
                              rig_in_ms(getter->rig, 10000), &getter->value, &getter->len);
    snprintf(getter->msg, sizeof(getter->msg), "%.255s", mf_err_msg());
    return NULL;
}

static void test_store_get__waits_for_a_set(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct mf_store *b = client(rig);
    struct getter getter = {.rig = rig, .store = b};
    pthread_t thread;
    pthread_create(&thread, NULL, getter_main, &getter);
    usleep(50000);
    mf_assert_ok(mf_store_set(a, "awaited", "here", 4, 0, 0));
    pthread_join(thread, NULL);
    mf_assert_rc(getter.rc, SMEM_OK);
    assert_int_equal(getter.len, 4);
    assert_memory_equal(getter.value, "here", 4);
    mf_free(getter.value);
    bye(rig, a);
    bye(rig, b);
}

/* ---- watches ----------------------------------------------------------------------------------
 */

struct seen {
    struct mf_mutex lock;
    struct mf_cond cond;
    char text[1024]; /* one word for each event */
};

static void on_event(void *arg, const struct mf_watch_event *event)
{
    static const char *const names[] = {[MF_WATCH_SYNC_BEGIN] = "begin",
                                        [MF_WATCH_PUT] = "put",
                                        [MF_WATCH_DELETE] = "delete",
                                        [MF_WATCH_SYNC_END] = "end",
                                        [MF_WATCH_LOST] = "lost"};
    struct seen *seen = arg;
    mf_mutex_lock(&seen->lock);
    size_t used = strlen(seen->text);
    if (event->key != NULL)
        snprintf(seen->text + used, sizeof(seen->text) - used, "%s %s=%.*s%s;", names[event->kind],
                 event->key, (int)event->value_len,
                 event->value != NULL ? (const char *)event->value : "", event->expired ? "!" : "");
    else
        snprintf(seen->text + used, sizeof(seen->text) - used, "%s;", names[event->kind]);
    mf_cond_broadcast(&seen->cond);
    mf_mutex_unlock(&seen->lock);
}

static void seen_init(struct seen *seen)
{
    mf_mutex_init(&seen->lock, MF_RANK_LEAF);
    mf_cond_init(&seen->cond);
    seen->text[0] = '\0';
}

/* Wait until the text ends with `want`, and forget it. */
static void seen_expect(struct rig *rig, struct seen *seen, const char *want)
{
    uint64_t deadline = rig_in_ms(rig, 6000);
    size_t want_len = strlen(want);
    mf_mutex_lock(&seen->lock);
    for (;;) {
        size_t len = strlen(seen->text);
        if (len >= want_len && strcmp(seen->text + len - want_len, want) == 0)
            break;
        if (!mf_cond_wait(&seen->cond, &seen->lock, deadline)) {
            print_error("events \"%s\" do not end with \"%s\"\n", seen->text, want);
            mf_mutex_unlock(&seen->lock);
            fail();
        }
    }
    seen->text[0] = '\0';
    mf_mutex_unlock(&seen->lock);
}

static void test_store_watch__gives_state_then_changes(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct mf_store *b = client(rig);
    struct seen seen;
    uint32_t id;
    seen_init(&seen);
    mf_assert_ok(mf_store_set(a, "w/1", "x", 1, 0, 0));
    mf_assert_ok(mf_store_set(a, "other", "x", 1, 0, 0));
    mf_assert_ok(b->ops->watch(b, "w/", on_event, &seen, &id));
    seen_expect(rig, &seen, "begin;put w/1=x;end;");
    mf_assert_ok(mf_store_set(a, "w/2", "y", 1, 0, 0));
    mf_assert_ok(mf_store_set(a, "other", "z", 1, 0, 0));
    mf_assert_ok(mf_store_remove(a, "w/1", 0));
    seen_expect(rig, &seen, "put w/2=y;delete w/1=;");
    mf_assert_ok(b->ops->unwatch(b, id));
    mf_assert_rc(b->ops->unwatch(b, id), SMEM_NOT_EXIST);
    mf_assert_ok(mf_store_set(a, "w/3", "late", 4, 0, 0));
    int64_t sum;
    mf_assert_ok(mf_store_add(b, "fence", 1, 0, &sum)); /* behind whatever was on its way */
    assert_string_equal(seen.text, "");
    bye(rig, a);
    bye(rig, b);
}

static void test_store_watch__two_on_overlapping_prefixes_each_get_all(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct seen all;
    struct seen some;
    uint32_t ids[2];
    seen_init(&all);
    seen_init(&some);
    mf_assert_ok(a->ops->watch(a, "", on_event, &all, &ids[0]));
    mf_assert_ok(a->ops->watch(a, "w/", on_event, &some, &ids[1]));
    seen_expect(rig, &some, "begin;end;");
    mf_assert_ok(mf_store_set(a, "w/1", "x", 1, 0, 0));
    mf_assert_ok(mf_store_set(a, "v", "x", 1, 0, 0));
    seen_expect(rig, &all, "begin;end;put w/1=x;put v=x;");
    assert_string_equal(some.text, "put w/1=x;");
    mf_assert_ok(a->ops->unwatch(a, ids[0]));
    mf_assert_ok(mf_store_remove(a, "w/1", 0));
    seen_expect(rig, &some, "delete w/1=;");
    assert_string_equal(all.text, "");
    bye(rig, a);
}

/* ---- sessions ---------------------------------------------------------------------------------
 */

static void test_store_session__ephemeral_keys_end_with_it(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct mf_store *b = client(rig);
    struct seen seen;
    uint32_t id;
    seen_init(&seen);
    mf_assert_ok(b->ops->watch(b, "e/", on_event, &seen, &id));
    mf_assert_ok(mf_store_set(a, "e/1", "x", 1, MF_STORE_EPHEMERAL, 0));
    seen_expect(rig, &seen, "put e/1=x;");
    bye(rig, a);
    seen_expect(rig, &seen, "delete e/1=;");
    bye(rig, b);
}

static void on_broken(void *arg, uint64_t session_id, uint32_t rank)
{
    (void)rank;
    atomic_store((_Atomic uint64_t *)arg, session_id);
}

/* The program runs itself as a member: opens a session with an ephemeral key, tells by a pipe,
 * sleeps. */
static int member_main(const char *url, const char *session, const char *pipe_fd)
{
    struct mf_log log = MF_LOG_INIT;
    struct mf_env env;
    struct mf_store *store;
    mf_env_init_real(&env, &log);
    struct mf_store_cfg cfg = {.env = &env,
                               .session_id = strtoull(session, NULL, 10),
                               .session_ms = 600,
                               .request_ms = 5000};
    if (mf_loop_create(&env, "member", &cfg.loop) != SMEM_OK ||
        mf_store_open(&cfg, url, mf_deadline_ns(&env, 5000), &store) != SMEM_OK ||
        mf_store_set(store, "e/member", "x", 1, MF_STORE_EPHEMERAL, 0) != SMEM_OK ||
        write((int)strtol(pipe_fd, NULL, 10), "r", 1) != 1)
        return 1;
    for (;;)
        pause();
}

static pid_t spawn_member(const char *url, const char *session, int *ready)
{
    int fds[2];
    char fd_text[16];
    assert_int_equal(pipe(fds), 0);
    snprintf(fd_text, sizeof(fd_text), "%d", fds[1]);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "member", url, session, fd_text, (char *)NULL);
        _exit(1);
    }
    close(fds[1]);
    *ready = fds[0];
    return pid;
}

static void member_dies(struct rig *rig, int signal)
{
    struct mf_store *b = client(rig);
    struct seen seen;
    uint32_t id;
    int ready;
    char byte;
    _Atomic uint64_t broken = 0;
    seen_init(&seen);
    mf_store_server_set_broken_fn(rig->server, on_broken, &broken);
    mf_assert_ok(b->ops->watch(b, "e/", on_event, &seen, &id));
    pid_t pid = spawn_member(mf_store_server_url(rig->server), "4711", &ready);
    assert_int_equal(read(ready, &byte, 1), 1);
    close(ready);
    seen_expect(rig, &seen, "put e/member=x;");
    uint64_t begin = mf_now_ns(&rig->env);
    kill(pid, signal);
    seen_expect(rig, &seen, "delete e/member=!;");
    assert_in_range((mf_now_ns(&rig->env) - begin) / MF_NS_PER_MS, 0, 2000);
    assert_true(atomic_load(&broken) == 4711);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    mf_store_server_set_broken_fn(rig->server, NULL, NULL);
    bye(rig, b);
}

static void test_store_session__ends_with_a_killed_process(void **state)
{
    member_dies(*state, SIGKILL);
}

static void test_store_session__ends_when_a_process_is_stopped(void **state)
{
    member_dies(*state, SIGSTOP);
}

struct session_seen {
    _Atomic int ok, lost, expired;
};

static void on_session(void *arg, enum mf_session_state what, const char *why)
{
    struct session_seen *seen = arg;
    assert_non_null(why);
    atomic_fetch_add(what == MF_SESSION_OK     ? &seen->ok
                     : what == MF_SESSION_LOST ? &seen->lost
                                               : &seen->expired,
                     1);
}

static void wait_for(struct rig *rig, _Atomic int *value, int want)
{
    uint64_t deadline = rig_in_ms(rig, 6000);
    while (atomic_load(value) < want && mf_now_ns(&rig->env) < deadline)
        usleep(2000);
    assert_int_equal(atomic_load(value), want);
}

static void test_store_session__survives_a_restart_of_the_server(void **state)
{
    struct rig *rig = *state;
    struct session_seen session = {0};
    struct seen seen;
    struct mf_store *a;
    uint32_t id;
    char url[96];
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = 77,
                               .session_ms = 1000,
                               .request_ms = 5000,
                               .on_session = on_session,
                               .on_session_arg = &session};
    seen_init(&seen);
    snprintf(url, sizeof(url), "%s", mf_store_server_url(rig->server));
    mf_assert_ok(mf_store_open(&cfg, url, rig_in_ms(rig, 2000), &a));
    mf_assert_ok(mf_store_set(a, "m/1", "mine", 4, MF_STORE_EPHEMERAL, 0));
    mf_assert_ok(mf_store_set(a, "p", "plain", 5, 0, 0));
    mf_assert_ok(a->ops->watch(a, "m/", on_event, &seen, &id));
    seen_expect(rig, &seen, "begin;put m/1=mine;end;");
    mf_store_server_destroy(rig->server);
    wait_for(rig, &session.lost, 1);
    mf_assert_ok(mf_store_server_create(&rig->env, url, 0, &rig->server));
    seen_expect(rig, &seen, "lost;begin;put m/1=mine;end;");
    wait_for(rig, &session.ok, 2);
    assert_value(a, "m/1", "mine", 4);
    bye(rig, a);
    assert_int_equal(atomic_load(&session.expired), 0);
}

static void test_store_close__ends_what_waits(void **state)
{
    struct rig *rig = *state;
    struct mf_store *b = client(rig);
    struct getter getter = {.rig = rig, .store = b};
    pthread_t thread;
    pthread_create(&thread, NULL, getter_main, &getter);
    usleep(50000);
    uint64_t begin = mf_now_ns(&rig->env);
    mf_store_server_destroy(rig->server);
    rig->server = NULL;
    bye(rig, b);
    pthread_join(thread, NULL);
    mf_assert_rc(getter.rc, SMEM_NOT_CONNECTED);
    assert_non_null(strstr(getter.msg, "awaited"));
    assert_in_range((mf_now_ns(&rig->env) - begin) / MF_NS_PER_MS, 0, 3000);
}

static void test_store_request__without_a_server_ends_by_its_deadline(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    mf_store_server_destroy(rig->server);
    rig->server = NULL;
    usleep(20000);
    uint64_t begin = mf_now_ns(&rig->env);
    mf_assert_rc(mf_store_set(a, "k", "v", 1, 0, rig_in_ms(rig, 300)), SMEM_TIMEOUT);
    assert_in_range((mf_now_ns(&rig->env) - begin) / MF_NS_PER_MS, 299, 3000);
    mf_assert_err_has("set \"k\" at store tcp://127.0.0.1:");
    mf_assert_err_has("no connection within ");
    bye(rig, a);
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void test_store_open__waits_for_a_server_to_come(void **state)
{
    struct rig *rig = *state;
    char url[96];
    struct mf_store *a;
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = 5,
                               .session_ms = 3000,
                               .request_ms = 1000};
    snprintf(url, sizeof(url), "%s", mf_store_server_url(rig->server));
    mf_store_server_destroy(rig->server);
    rig->server = NULL;
    uint64_t begin = mf_now_ns(&rig->env);
    mf_assert_rc(mf_store_open(&cfg, url, rig_in_ms(rig, 250), &a), SMEM_NOT_CONNECTED);
    assert_in_range((mf_now_ns(&rig->env) - begin) / MF_NS_PER_MS, 249, 3000);
    assert_null(a);
    mf_assert_err_has("Connection refused");
    mf_assert_err_has(url + 6);
    mf_assert_ok(mf_store_server_create(&rig->env, url, 0, &rig->server));
    mf_assert_ok(mf_store_open(&cfg, url, rig_in_ms(rig, 2000), &a));
    bye(rig, a);
}

static void test_store_open__second_session_of_the_same_id_is_refused(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a;
    struct mf_store *b;
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = 5,
                               .session_ms = 3000,
                               .request_ms = 1000};
    const char *url = mf_store_server_url(rig->server);
    mf_assert_ok(mf_store_open(&cfg, url, rig_in_ms(rig, 2000), &a));
    mf_assert_rc(mf_store_open(&cfg, url, rig_in_ms(rig, 200), &b), SMEM_NOT_CONNECTED);
    mf_assert_err_has("session 0000000000000005 is alive");
    mf_assert_ok(mf_store_set(a, "k", "v", 1, 0, 0));
    bye(rig, a);
    mf_assert_ok(mf_store_open(&cfg, url, rig_in_ms(rig, 2000), &b));
    bye(rig, b);
}

static void test_store_open__works_over_ipv6(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a;
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = 5,
                               .session_ms = 3000,
                               .request_ms = 1000};
    mf_store_server_destroy(rig->server);
    rig->server = NULL;
    if (mf_store_server_create(&rig->env, "tcp://[::1]:0", 0, &rig->server) != SMEM_OK) {
        print_message("no IPv6 loopback here: %s\n", mf_err_msg());
        skip();
    }
    const char *url = mf_store_server_url(rig->server);
    assert_memory_equal(url, "tcp://[::1]:", 12);
    mf_assert_ok(mf_store_open(&cfg, url, rig_in_ms(rig, 2000), &a));
    mf_assert_ok(mf_store_set(a, "k", "v", 1, 0, 0));
    bye(rig, a);
}

static void test_store_set_url__moves_to_another_server(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct mf_store_server *other;
    struct mf_store_server_status status;
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &other));
    mf_assert_ok(mf_store_set(a, "m", "mine", 4, MF_STORE_EPHEMERAL, 0));
    mf_assert_rc(a->ops->set_url(a, "tcp://127.0.0.1:0", true), SMEM_INVALID_PARAM);
    mf_assert_ok(a->ops->set_url(a, mf_store_server_url(other), true));
    assert_value(a, "m", "mine", 4); /* a GET waits for the new connection; the key came along */
    mf_store_server_get_status(other, &status);
    assert_int_equal(status.sessions, 1);
    assert_int_equal(status.keys, 1);
    bye(rig, a);
    mf_store_server_destroy(other);
}

static void test_store_server__occupied_port_is_named(void **state)
{
    struct rig *rig = *state;
    struct mf_store_server *other;
    const char *url = mf_store_server_url(rig->server);
    mf_assert_rc(mf_store_server_create(&rig->env, url, 0, &other), SMEM_RES_IN_USE);
    mf_assert_err_has(url);
    assert_null(other);
    mf_assert_rc(mf_store_server_create(&rig->env, "tcp://192.0.2.1:0", 0, &other),
                 SMEM_INVALID_PARAM);
    mf_assert_err_has("tcp://192.0.2.1:0");
}

static _Thread_local char last_log[512];

static void keep_log(int level, const char *msg)
{
    (void)level;
    snprintf(last_log, sizeof(last_log), "%.500s", msg);
}

static void test_store_server__warns_off_loopback_only(void **state)
{
    struct rig *rig = *state;
    struct mf_store_server *open_server;
    last_log[0] = '\0';
    atomic_store(&rig->log.level, MF_LOG_WARN);
    atomic_store(&rig->log.sink, keep_log);
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &open_server));
    mf_store_server_destroy(open_server);
    assert_string_equal(last_log, "");
    mf_assert_ok(mf_store_server_create(&rig->env, "tcp://0.0.0.0:0", 0, &open_server));
    mf_store_server_destroy(open_server);
    assert_non_null(strstr(last_log, "can read and write the control plane"));
    atomic_store(&rig->log.sink, NULL);
    atomic_store(&rig->log.level, MF_LOG_ERROR);
}

static void test_store_server__status_counts(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct mf_store_server_status status;
    struct seen seen;
    uint32_t id;
    seen_init(&seen);
    mf_assert_ok(a->ops->watch(a, "", on_event, &seen, &id));
    seen_expect(rig, &seen, "end;");
    mf_assert_ok(mf_store_set(a, "key", "value", 5, 0, 0));
    mf_store_server_get_status(rig->server, &status);
    assert_string_equal(status.url, mf_store_server_url(rig->server));
    assert_int_equal(status.connections, 1);
    assert_int_equal(status.sessions, 1);
    assert_int_equal(status.keys, 1);
    assert_int_equal(status.watches, 1);
    assert_int_equal(status.requests, 2); /* the watch is one */
    assert_int_equal(status.events, 1);
    assert_int_equal(status.bytes_stored, 8);
    assert_true(status.bytes_in > 0 && status.bytes_out > 0);
    bye(rig, a);
}

/* After a fork the child closes the descriptors; the parent's session goes on, and its end is seen
 * although the child lives. */
static void test_store_close_fds__lets_a_child_go_its_way(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    int go[2];
    assert_int_equal(pipe(go), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        mf_store_client_close_fds(a);
        mf_store_server_close_fds(rig->server);
        close(go[1]);
        _exit(read(go[0], &byte, 1) == 0 ? 0 : 1); /* lives until the parent closes its end */
    }
    close(go[0]);
    mf_assert_ok(mf_store_set(a, "k", "v", 1, 0, 0));
    assert_value(a, "k", "v", 1);
    char url[96];
    snprintf(url, sizeof(url), "%s", mf_store_server_url(rig->server));
    bye(rig, a);
    mf_store_server_destroy(rig->server);
    mf_assert_ok(mf_store_server_create(&rig->env, url, 0, &rig->server)); /* the port is free */
    close(go[1]);
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

/* ---- misbehaving clients ----------------------------------------------------------------------
 */

/* Read until the other end closes; false when it does not within `ms`. */
static bool closed_within(int fd, int ms)
{
    char buf[4096];
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (poll(&poller, 1, ms) == 1) {
        ssize_t got = recv(fd, buf, sizeof(buf), 0);
        if (got <= 0)
            return true;
    }
    return false;
}

static size_t hello_frame(struct mf_outq *queue, uint64_t session_id, uint32_t session_ms)
{
    struct mf_wr wr;
    const uint8_t *data;
    mf_outq_begin(queue, MF_SMSG_HELLO, &wr);
    mf_smsg_put_hello(&wr,
                      &(struct mf_smsg_hello){.session_id = session_id, .session_ms = session_ms});
    mf_assert_ok(mf_outq_end(queue, &wr));
    return mf_outq_peek(queue, &data);
}

static void send_all(int fd, struct mf_outq *queue)
{
    const uint8_t *data;
    size_t len;
    while ((len = mf_outq_peek(queue, &data)) > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        mf_outq_sent(queue, (size_t)sent);
    }
}

static void test_store_server__rubbish_harms_nobody_else(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    static const char *const rubbish[] = {
        "GET / HTTP/1.1\r\nHost: store\r\n\r\n", "\x4d\x01\x01\x00\xff\xff\xff\xff",
        "\x4d\x02\x01\x00\xff\xff\xff\xffxxxx", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"};
    for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
        int fd = rig_raw_socket(rig);
        assert_true(fd >= 0);
        assert_int_equal(send(fd, rubbish[i], i == 1 || i == 2 ? 8 : 11, MSG_NOSIGNAL),
                         i == 1 || i == 2 ? 8 : 11);
        assert_true(closed_within(fd, 2000));
        close(fd);
    }
    mf_assert_ok(mf_store_set(a, "k", "v", 1, 0, 0));
    bye(rig, a);
}

static void test_store_server__half_a_frame_ends_with_the_session_time(void **state)
{
    struct rig *rig = *state;
    struct mf_outq queue;
    mf_outq_init(&queue, 4096);
    int fd = rig_raw_socket(rig);
    assert_true(fd >= 0);
    hello_frame(&queue, 9, 300);
    send_all(fd, &queue);
    assert_int_equal(send(fd, "\x4d\x02\x04\x00\x40\x00\x00\x00half", 12, MSG_NOSIGNAL), 12);
    uint64_t begin = mf_now_ns(&rig->env);
    assert_true(closed_within(fd, 3000));
    assert_in_range((mf_now_ns(&rig->env) - begin) / MF_NS_PER_MS, 200, 3000);
    close(fd);
    mf_outq_fini(&queue);
}

/* Asks for a large value again and again and never reads: it is cut off at the queue's limit. */
static void test_store_server__slow_reader_is_cut_off(void **state)
{
    struct rig *rig = *state;
    struct mf_store *a = client(rig);
    struct mf_outq queue;
    struct mf_wr wr;
    struct mf_store_server_status status;
    uint8_t *big = test_calloc(1, MF_VALUE_MAX);
    mf_assert_ok(mf_store_set(a, "big", big, MF_VALUE_MAX, 0, 0));
    test_free(big);
    mf_outq_init(&queue, 1u << 20);
    int fd = rig_raw_socket(rig);
    assert_true(fd >= 0);
    hello_frame(&queue, 9, 3000);
    for (uint32_t i = 0; i < 40; i++) {
        mf_outq_begin(&queue, MF_SMSG_REQUEST, &wr);
        mf_smsg_put_request(&wr, &(struct mf_smsg_request){
                                     .id = i, .op = MF_STORE_GET, .key = "big", .key_len = 3});
        mf_assert_ok(mf_outq_end(&queue, &wr));
    }
    send_all(fd, &queue);
    uint64_t deadline = rig_in_ms(rig, 5000);
    do {
        usleep(5000);
        mf_store_server_get_status(rig->server, &status);
    } while (status.sessions > 1 && mf_now_ns(&rig->env) < deadline);
    assert_int_equal(status.sessions, 1);
    int64_t sum;
    mf_assert_ok(mf_store_add(a, "n", 1, 0, &sum)); /* others are served */
    close(fd);
    mf_outq_fini(&queue);
    bye(rig, a);
}

static void test_store_server__over_long_key_is_answered(void **state)
{
    struct rig *rig = *state;
    struct mf_outq queue;
    struct mf_wr wr;
    char key[2000];
    uint8_t answer[2048];
    memset(key, 'k', sizeof(key));
    mf_outq_init(&queue, 1u << 20);
    int fd = rig_raw_socket(rig);
    assert_true(fd >= 0);
    hello_frame(&queue, 9, 3000);
    mf_outq_begin(&queue, MF_SMSG_REQUEST, &wr);
    mf_smsg_put_request(&wr, &(struct mf_smsg_request){.id = 7,
                                                       .op = MF_STORE_SET,
                                                       .key = key,
                                                       .key_len = sizeof(key),
                                                       .value = "v",
                                                       .value_len = 1});
    mf_assert_ok(mf_outq_end(&queue, &wr));
    send_all(fd, &queue);
    size_t have = 0;
    size_t welcome = MF_FRAME_HEADER + 9;
    while (have < welcome + MF_FRAME_HEADER + 60) {
        ssize_t got = recv(fd, answer + have, sizeof(answer) - have, 0);
        assert_true(got > 0);
        have += (size_t)got;
    }
    struct mf_smsg_reply reply;
    mf_assert_ok(mf_smsg_get_reply(answer + welcome + MF_FRAME_HEADER,
                                   have - welcome - MF_FRAME_HEADER, &reply));
    assert_int_equal(reply.id, 7);
    assert_int_equal(reply.rc, SMEM_NO_RESOURCES);
    assert_memory_equal(reply.value, "the key has 2000 bytes, the limit is 1024", 41);
    close(fd);
    mf_outq_fini(&queue);
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return member_main(argv[1], argv[2], argv[3]);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_store_set__is_seen_by_another_client),
        T(test_store_set__keeps_empty_binary_and_special_bytes),
        T(test_store_set__carries_large_values_up_to_the_limit),
        T(test_store_keys__bad_ones_are_refused_by_name),
        T(test_store_add__counts_in_decimal),
        T(test_store_add__refuses_overflow_and_text),
        T(test_store_append__returns_the_size),
        T(test_store_cas__swaps_only_what_is_expected),
        T(test_store_list__is_ordered_and_by_prefix),
        T(test_store_list__comes_in_pieces_when_long),
        T(test_store_get__missing_key),
        T(test_store_get__waits_for_a_set),
        T(test_store_watch__gives_state_then_changes),
        T(test_store_watch__two_on_overlapping_prefixes_each_get_all),
        T(test_store_session__ephemeral_keys_end_with_it),
        T(test_store_session__ends_with_a_killed_process),
        T(test_store_session__ends_when_a_process_is_stopped),
        T(test_store_session__survives_a_restart_of_the_server),
        T(test_store_close__ends_what_waits),
        T(test_store_request__without_a_server_ends_by_its_deadline),
        T(test_store_open__waits_for_a_server_to_come),
        T(test_store_open__second_session_of_the_same_id_is_refused),
        T(test_store_open__works_over_ipv6),
        T(test_store_set_url__moves_to_another_server),
        T(test_store_server__occupied_port_is_named),
        T(test_store_server__warns_off_loopback_only),
        T(test_store_server__status_counts),
        T(test_store_close_fds__lets_a_child_go_its_way),
        T(test_store_server__rubbish_harms_nobody_else),
        T(test_store_server__half_a_frame_ends_with_the_session_time),
        T(test_store_server__slow_reader_is_cut_off),
        T(test_store_server__over_long_key_is_answered),
    };
#undef T
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
