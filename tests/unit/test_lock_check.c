// SPDX-License-Identifier: Apache-2.0
// Tests of the check of the order of locks: what breaks the order aborts, in a child process; what
// keeps it does not. thread.c is compiled into this program with MF_LOCK_CHECK.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "mf_test.h"

/** Two locks of different rank and a third of the rank of the first. */
struct locks {
    struct mf_mutex low;
    struct mf_mutex high;
    struct mf_mutex low2;
};

static void locks_init(struct locks *locks)
{
    mf_mutex_init(&locks->low, MF_RANK_CORE);
    mf_mutex_init(&locks->high, MF_RANK_STORE);
    mf_mutex_init(&locks->low2, MF_RANK_CORE);
}

static void locks_fini(struct locks *locks)
{
    mf_mutex_fini(&locks->low);
    mf_mutex_fini(&locks->high);
    mf_mutex_fini(&locks->low2);
}

static void wrong_order(struct locks *locks)
{
    mf_mutex_lock(&locks->high);
    mf_mutex_lock(&locks->low);
}

static void same_rank(struct locks *locks)
{
    mf_mutex_lock(&locks->low);
    mf_mutex_lock(&locks->low2);
}

static void twice(struct locks *locks)
{
    mf_mutex_lock(&locks->low);
    mf_mutex_lock(&locks->low);
}

static void unlock_of_what_is_not_held(struct locks *locks)
{
    mf_mutex_unlock(&locks->low);
}

/* Whether misuse() ends the process by SIGABRT, with our words on stderr. */
static bool aborts(void (*misuse)(struct locks *locks))
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        struct locks locks;
        locks_init(&locks);
        misuse(&locks);
        _exit(0);
    }
    close(fds[1]);
    char text[600] = {0};
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return n > 0 && strstr(text, "thread.c:") && strstr(text, "assertion failed") &&
           WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_lock_check__aborts_on_the_wrong_order(void **state)
{
    (void)state;
    assert_true(aborts(wrong_order));
    assert_true(aborts(same_rank));
    assert_true(aborts(twice));
}

static void test_lock_check__aborts_on_unlock_of_what_is_not_held(void **state)
{
    (void)state;
    assert_true(aborts(unlock_of_what_is_not_held));
}

static void test_lock_check__accepts_the_right_order(void **state)
{
    (void)state;
    struct locks locks;
    locks_init(&locks);
    for (int i = 0; i < 100; i++) {
        mf_mutex_lock(&locks.low);
        mf_mutex_lock(&locks.high);
        mf_mutex_unlock(&locks.low); /* not in reverse: allowed */
        mf_mutex_unlock(&locks.high);
        mf_mutex_lock(&locks.low2);
        mf_mutex_unlock(&locks.low2);
    }
    locks_fini(&locks);
}

static void test_lock_check__forgets_what_was_unlocked(void **state)
{
    (void)state;
    struct locks locks;
    locks_init(&locks);
    mf_mutex_lock(&locks.high);
    mf_mutex_unlock(&locks.high);
    mf_mutex_lock(&locks.low);
    mf_mutex_unlock(&locks.low);
    locks_fini(&locks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lock_check__aborts_on_the_wrong_order),
        cmocka_unit_test(test_lock_check__aborts_on_unlock_of_what_is_not_held),
        cmocka_unit_test(test_lock_check__accepts_the_right_order),
        cmocka_unit_test(test_lock_check__forgets_what_was_unlocked),
    };
    return cmocka_run_group_tests_name("lock_check", tests, NULL, NULL);
}
