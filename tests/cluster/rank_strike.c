// SPDX-License-Identifier: Apache-2.0
// Strikes at named points. Points of the control plane are calls of the C library, which this
// program defines itself in front of the library under test: it tells them by what they are about
// and by the command that runs. Points in a copy are pages that fault when the copy gets to them.
#include "rank_strike.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE         4096u
#define CHILD_MAX_MS 60000u

enum where {
    AT_SEND,       /* before bytes that name the key go to the store */
    AT_SENT,       /* after them */
    AT_PASS,       /* before descriptors go to a peer */
    AT_PASSED,     /* after them, before the answer */
    AT_POPULATE,   /* before pages of the pool are made */
    AT_MEMBARRIER, /* epochs are gone, peers' lines not looked at yet */
    AT_PUNCH,      /* before pages are given back */
    AT_COPY,       /* in the bytes of a copy, or between two of them: the load says where */
};

static const struct point {
    const char *name;
    enum where where;
    const char *control; /* the command during which it counts; NULL: any, "": none */
    const char *key;     /* with the own rank's number behind it */
} points[] = {
    {"before_claim", AT_SEND, "init", "world/rank/"},
    {"after_claim", AT_SENT, "init", "world/rank/"},
    {"in_create", AT_SENT, "create", "pool/0/open/"},
    {"in_populate", AT_POPULATE, "create", NULL},
    {"before_announce", AT_SEND, "join", "pool/0/m/"},
    {"after_announce", AT_SENT, "join", "pool/0/m/"},
    {"in_attach", AT_PASSED, "join", NULL},
    {"in_answer", AT_PASS, "", NULL},
    {"in_extend", AT_POPULATE, "extend", NULL},
    {"extend_announced", AT_SENT, "extend", "pool/0/m/"},
    {"extend_told", AT_PASSED, "extend", NULL},
    {"in_leave", AT_MEMBARRIER, "leave", NULL},
    {"before_retract", AT_SEND, "leave", "pool/0/m/"},
    {"in_leave_memory", AT_PUNCH, "leave", NULL},
    {"in_destroy", AT_MEMBARRIER, "destroy", NULL},
    {"in_destroy_memory", AT_PUNCH, "destroy", NULL},
    {"in_put", AT_COPY, NULL, NULL},
    {"in_get", AT_COPY, NULL, NULL},
    {"in_batch", AT_COPY, NULL, NULL},
    {"in_batch_get", AT_COPY, NULL, NULL},
    {"in_request", AT_COPY, NULL, NULL},
    {"in_request_get", AT_COPY, NULL, NULL},
    {"in_prepared", AT_COPY, NULL, NULL},
    {"in_prepared_get", AT_COPY, NULL, NULL},
    {"in_async", AT_COPY, NULL, NULL},
    {"in_async_get", AT_COPY, NULL, NULL},
    {"between_copies", AT_COPY, NULL, NULL},
};

enum action {
    STRIKE_SIGNAL,  /* to this process or another one */
    STRIKE_NOTHING, /* but waiting */
    STRIKE_FORK,    /* a child that lives on */
};

enum armed { IDLE, SETTING, ARMED, STRUCK };

static struct {
    _Atomic int armed;
    const struct point *point;
    struct rank *rank;
    char key[64];   /* with its NUL, as on the wire */
    size_t key_len; /* with the NUL; 0: any bytes */
    uint32_t peer;  /* UINT32_MAX: any */
    enum action action;
    pid_t pid; /* 0: this process */
    int signal;
    uint64_t wait_ms; /* afterwards this thread stays here until the cell says `release` */
} strike;

static struct board_cell nowhere;
static struct board_cell *cell = &nowhere;
static _Atomic(char *) trap;
static _Thread_local uint64_t my_doing;

static void sleep_ms(uint64_t ms)
{
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

/* ---- the board ------------------------------------------------------------------------------ */

struct board_cell *board_cell(void)
{
    return cell;
}

uint64_t board_word(const char *name)
{
    uint64_t word = 0;
    memcpy(&word, name, strnlen(name, sizeof(word)));
    return word;
}

void board_control(const char *name)
{
    atomic_store(&cell->control, name != NULL ? board_word(name) : 0);
}

void board_doing(struct board_peer *at, const char *name, bool inside)
{
    char text[8] = "";
    memcpy(text, name, strnlen(name, sizeof(text) - 1));
    text[7] = inside ? 1 : 0;
    memcpy(&my_doing, text, sizeof(my_doing));
    atomic_store_explicit(&at->doing, my_doing, memory_order_release);
}

/* board PATH CELL */
int strike_board(struct rank *rank, const struct words *words, char *text)
{
    int fd = open(words->count > 1 ? words->v[1] : "", O_RDWR | O_CLOEXEC);
    off_t at = (off_t)(word_u64(words, 2) * BOARD_CELL_BYTES);
    (void)rank;
    void *mapped = mmap(NULL, BOARD_CELL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
    if (fd >= 0) {
        close(fd);
    }
    if (mapped == MAP_FAILED) {
        snprintf(text, LINE_BYTES, "map the board: %s", strerror(errno));
        return SMEM_ERROR;
    }
    cell = mapped;
    return SMEM_OK;
}

/* ---- the strike ----------------------------------------------------------------------------- */

/* All that there is in the child is this thread. It has no service, and says so. */
static void child_main(void)
{
    smem_bm_t pool = strike.rank->pools[0];
    char byte = 0;
    pool = pool != NULL ? pool : (smem_bm_t)(uintptr_t)PAGE; /* any: there is no service */
    smem_copy_params copy = {.src = &byte, .dest = &byte, .dataSize = 1};
    bool right = smem_bm_join(pool, 0) == SMEM_NOT_INIT &&
                 smem_bm_leave(pool, 0) == SMEM_NOT_INIT &&
                 smem_bm_copy(pool, &copy, SMEMB_COPY_AUTO, 0) == SMEM_NOT_INIT &&
                 strstr(smem_get_last_err_msg(), "fork") != NULL;
    atomic_store(&cell->child, right ? 1 : 2);
    for (uint64_t ms = 0; ms < CHILD_MAX_MS && atomic_load(&cell->release) == 0; ms += 5) {
        sleep_ms(5);
    }
    _exit(0);
}

static void *fork_main(void *arg)
{
    (void)arg;
    if (fork() == 0) {
        child_main();
    }
    return NULL;
}

static void act(void)
{
    pthread_t thread;
    if (strike.action == STRIKE_SIGNAL && strike.pid == 0) {
        raise(strike.signal);
    } else if (strike.action == STRIKE_SIGNAL) {
        kill(strike.pid, strike.signal);
    } else if (strike.action == STRIKE_FORK &&
               pthread_create(&thread, NULL, fork_main, NULL) == 0) {
        pthread_join(thread, NULL);
    }
    uint64_t until = now_ns() + strike.wait_ms * 1000000;
    while (now_ns() < until && atomic_load(&cell->release) == 0) {
        sleep_ms(1);
    }
}

/* One thread of all that get here. */
static void strike_here(void)
{
    int was = ARMED;
    if (!atomic_compare_exchange_strong(&strike.armed, &was, STRUCK)) {
        return;
    }
    int saved = errno;
    snprintf(cell->struck_point, sizeof(cell->struck_point), "%s", strike.point->name);
    atomic_store(&cell->struck_doing, my_doing);
    atomic_store(&cell->struck_control, atomic_load(&cell->control));
    for (uint32_t i = 0; i < BOARD_PEERS; i++) {
        atomic_store(&cell->struck_peers[i], atomic_load(&cell->peer[i].doing));
    }
    atomic_store(&cell->struck_ns, now_ns());
    atomic_fetch_add(&cell->strikes, 1);
    act();
    errno = saved;
}

static bool is_armed(enum where where)
{
    if (atomic_load_explicit(&strike.armed, memory_order_acquire) != ARMED ||
        strike.point->where != where) {
        return false;
    }
    const char *control = strike.point->control;
    return control == NULL || atomic_load(&cell->control) == board_word(control);
}

bool strike_is_at(const char *point, uint32_t peer)
{
    return is_armed(AT_COPY) && (strike.peer == UINT32_MAX || strike.peer == peer) &&
           strcmp(strike.point->name, point) == 0;
}

void strike_between(const char *point, uint32_t peer)
{
    if (strike_is_at(point, peer)) {
        strike_here();
    }
}

/* ---- in the bytes of a copy ----------------------------------------------------------------- */

static void on_fault(int number, siginfo_t *info, void *context)
{
    char *page = atomic_load(&trap);
    char *at = info->si_addr;
    (void)number;
    (void)context;
    if (page == NULL || at < page || at >= page + PAGE) {
        signal(SIGSEGV, SIG_DFL); /* no fault of ours: it comes again, and ends the process */
        return;
    }
    strike_here();
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

bool strike_trap(void *page)
{
    char *none = NULL;
    return atomic_compare_exchange_strong(&trap, &none, (char *)page) &&
           mprotect(page, PAGE, PROT_NONE) == 0;
}

void strike_untrap(void)
{
    char *page = atomic_exchange(&trap, NULL);
    if (page != NULL) {
        mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    }
}

/* ---- calls of the C library ----------------------------------------------------------------- */

/* The one behind ours. Looked up once for each, by whichever thread comes first. */
static void *real(_Atomic(void *) *at, const char *name)
{
    void *found = atomic_load(at);
    if (found == NULL) {
        found = dlsym(RTLD_NEXT, name);
        atomic_store(at, found);
    }
    return found;
}

static bool names_key(const void *data, size_t len)
{
    return strike.key_len == 0 || memmem(data, len, strike.key, strike.key_len) != NULL;
}

__attribute__((visibility("default"))) ssize_t send(int fd, const void *data, size_t len, int flags)
{
    static _Atomic(void *) next;
    ssize_t (*fn)(int, const void *, size_t, int) = real(&next, "send");
    if (is_armed(AT_SEND) && names_key(data, len)) {
        strike_here();
    }
    ssize_t sent = fn(fd, data, len, flags);
    if (sent > 0 && is_armed(AT_SENT) && names_key(data, (size_t)sent)) {
        strike_here();
    }
    return sent;
}

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    static _Atomic(void *) next;
    ssize_t (*fn)(int, const struct msghdr *, int) = real(&next, "sendmsg");
    if (msg->msg_controllen > 0 && is_armed(AT_PASS)) {
        strike_here();
    }
    ssize_t sent = fn(fd, msg, flags);
    if (sent > 0 && msg->msg_controllen > 0 && is_armed(AT_PASSED)) {
        strike_here();
    }
    return sent;
}

__attribute__((visibility("default"))) int madvise(void *at, size_t len, int advice)
{
    static _Atomic(void *) next;
    int (*fn)(void *, size_t, int) = real(&next, "madvise");
    if (advice == MADV_POPULATE_WRITE && is_armed(AT_POPULATE)) {
        strike_here();
    }
    return fn(at, len, advice);
}

__attribute__((visibility("default"))) int fallocate(int fd, int mode, off_t at, off_t len)
{
    static _Atomic(void *) next;
    int (*fn)(int, int, off_t, off_t) = real(&next, "fallocate");
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0 && is_armed(AT_PUNCH)) {
        strike_here();
    }
    return fn(fd, mode, at, len);
}

__attribute__((visibility("default"))) long syscall(long number, ...)
{
    static _Atomic(void *) next;
    long (*fn)(long, ...) = real(&next, "syscall");
    long v[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        v[i] = va_arg(args, long);
    }
    va_end(args);
    if (number == SYS_membarrier && v[0] == MEMBARRIER_CMD_GLOBAL_EXPEDITED &&
        is_armed(AT_MEMBARRIER)) {
        strike_here();
    }
    return fn(number, v[0], v[1], v[2], v[3], v[4], v[5]);
}

/* ---- the command ---------------------------------------------------------------------------- */

static const struct point *find_point(const char *name)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        if (strcmp(points[i].name, name) == 0) {
            return &points[i];
        }
    }
    return NULL;
}

static enum action action_named(const char *name)
{
    return strcmp(name, "nothing") == 0 ? STRIKE_NOTHING
           : strcmp(name, "fork") == 0  ? STRIKE_FORK
                                        : STRIKE_SIGNAL;
}

/* arm POINT [rank= act=signal|nothing|fork pid= sig= wait=MS peer=]: `rank` is the own number, for
 * the keys of the store. */
int strike_arm(struct rank *rank, const struct words *words, char *text)
{
    const struct point *point = find_point(words->count > 1 ? words->v[1] : "");
    if (point == NULL) {
        snprintf(text, LINE_BYTES, "no such point");
        return SMEM_INVALID_PARAM;
    }
    atomic_store(&strike.armed, SETTING);
    strike.point = point;
    strike.rank = rank;
    strike.key_len = 0;
    if (point->key != NULL) {
        int len = snprintf(strike.key, sizeof(strike.key), "%s%u", point->key,
                           (unsigned)option_u64(words, "rank", 0));
        strike.key_len = (size_t)len + 1;
    }
    strike.action = action_named(option_text(words, "act", "signal"));
    strike.pid = (pid_t)option_u64(words, "pid", 0);
    strike.signal = (int)option_u64(words, "sig", SIGKILL);
    strike.wait_ms = option_u64(words, "wait", 0);
    strike.peer = (uint32_t)option_u64(words, "peer", UINT32_MAX);
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    if (point->where == AT_COPY && sigaction(SIGSEGV, &fault, NULL) != 0) {
        snprintf(text, LINE_BYTES, "sigaction: %s", strerror(errno));
        return SMEM_ERROR;
    }
    atomic_store(&cell->release, 0);
    atomic_store_explicit(&strike.armed, ARMED, memory_order_release);
    return SMEM_OK;
}
