// SPDX-License-Identifier: Apache-2.0
// A scripted rank: does what standard input says over the public API, and answers line by line, so
// that a test can drive many of them and strike at any moment. `help` lists the commands.
#include "rank.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "rank_pattern.h"
#include "rank_strike.h"
#include "smem_config_store_api.h"

#define POISON 0xa5

uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void pause_us(uint64_t us)
{
    struct timespec pause = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

/* ---- words ---------------------------------------------------------------------------------- */

uint64_t word_u64(const struct words *words, uint32_t at)
{
    return at < words->count ? strtoull(words->v[at], NULL, 0) : 0;
}

const char *option_text(const struct words *words, const char *key, const char *otherwise)
{
    size_t len = strlen(key);
    for (uint32_t i = 1; i < words->count; i++) {
        if (strncmp(words->v[i], key, len) == 0 && words->v[i][len] == '=') {
            return words->v[i] + len + 1;
        }
    }
    return otherwise;
}

uint64_t option_u64(const struct words *words, const char *key, uint64_t otherwise)
{
    const char *text = option_text(words, key, NULL);
    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

/* ---- addresses and copies ------------------------------------------------------------------- */

static smem_bm_t pool_of(const struct rank *rank, uint32_t pool)
{
    return pool < RANK_POOLS ? rank->pools[pool] : NULL;
}

void *slot_of(struct rank *rank, uint32_t pool, uint32_t peer)
{
    return smem_bm_ptr_by_mem_type(pool_of(rank, pool), SMEM_MEM_TYPE_HOST, (uint16_t)peer);
}

int copy_bytes(struct rank *rank, uint32_t pool, void *dst, const void *src, uint64_t size)
{
    smem_copy_params params = {.src = src, .dest = dst, .dataSize = size};
    return smem_bm_copy(pool_of(rank, pool), &params, SMEMB_COPY_AUTO, 0);
}

char *pointer_to(struct rank *rank, uint32_t pool, uint32_t peer, uint64_t offset)
{
    char *gva = slot_of(rank, pool, peer);
    void *va = NULL;
    if (gva == NULL || smem_bm_gva_to_va(pool_of(rank, pool), gva + offset,
                                         SMEM_MEM_TYPE_LOCAL_HOST, &va) != SMEM_OK) {
        return NULL;
    }
    return va;
}

/* ---- the service and pools ------------------------------------------------------------------ */

static int do_init(struct rank *rank, const struct words *words, char *text)
{
    smem_bm_config_t config;
    uint64_t number = option_u64(words, "rank", UINT64_MAX);
    (void)rank;
    smem_bm_config_init(&config);
    config.initTimeout = (uint32_t)option_u64(words, "init", 10);
    config.createTimeout = (uint32_t)option_u64(words, "create", 10);
    config.controlOperationTimeout = (uint32_t)option_u64(words, "op", 10);
    config.startConfigStoreServer = option_u64(words, "serve", 0) != 0;
    config.autoRanking = number == UINT64_MAX;
    if (!config.autoRanking) {
        config.rankId = (uint32_t)number;
    }
    int rc = smem_bm_init(words->count > 1 ? words->v[1] : NULL,
                          (uint32_t)option_u64(words, "world", 8), 0, &config);
    if (rc == SMEM_OK) {
        snprintf(text, LINE_BYTES, "rank=%u", smem_bm_get_rank_id());
    }
    return rc;
}

static int do_uninit(struct rank *rank, const struct words *words, char *text)
{
    (void)words;
    (void)text;
    smem_bm_uninit(0);
    memset(rank->pools, 0, sizeof(rank->pools));
    return SMEM_OK;
}

static int do_create(struct rank *rank, const struct words *words, char *text)
{
    uint32_t id = (uint32_t)word_u64(words, 1);
    uint64_t bytes = option_u64(words, "dram", 2u << 20);
    smem_bm_create_option_t option = {.localDRAMSize = bytes,
                                      .maxDramSize = option_u64(words, "max", bytes),
                                      .localHBMSize = option_u64(words, "hbm", 0),
                                      .maxHbmSize = option_u64(words, "hbm", 0),
                                      .dataOpType = SMEMB_DATA_OP_SDMA,
                                      .enable56BitsGva = option_u64(words, "wide", 0) != 0,
                                      .flags = (uint32_t)option_u64(words, "flags", 0),
                                      .dramShmFd = (int)option_u64(words, "shm", UINT64_MAX)};
    smem_bm_t pool = smem_bm_create2(id, &option);
    if (pool == NULL) {
        return smem_get_last_err_code();
    }
    rank->pools[id] = pool;
    snprintf(text, LINE_BYTES, "base=%p", smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0));
    return SMEM_OK;
}

static int do_join(struct rank *rank, const struct words *words, char *text)
{
    (void)text;
    return smem_bm_join(pool_of(rank, (uint32_t)word_u64(words, 1)), 0);
}

static int do_leave(struct rank *rank, const struct words *words, char *text)
{
    (void)text;
    return smem_bm_leave(pool_of(rank, (uint32_t)word_u64(words, 1)), 0);
}

static int do_destroy(struct rank *rank, const struct words *words, char *text)
{
    uint32_t id = (uint32_t)word_u64(words, 1);
    (void)text;
    smem_get_and_clear_last_err_msg();
    smem_bm_destroy(pool_of(rank, id));
    rank->pools[id] = NULL;
    return smem_get_last_err_code();
}

static int do_serve(struct rank *rank, const struct words *words, char *text)
{
    (void)rank;
    (void)text;
    return smem_create_config_store(words->count > 1 ? words->v[1] : NULL, 0);
}

static int do_unserve(struct rank *rank, const struct words *words, char *text)
{
    (void)rank;
    (void)text;
    smem_destroy_config_store(words->count > 1 ? words->v[1] : NULL);
    return SMEM_OK;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

/* put RANK OFF LEN GEN: the pattern, by a copy. */
static int do_put(struct rank *rank, const struct words *words, char *text)
{
    uint64_t offset = word_u64(words, 2), size = word_u64(words, 3);
    uint32_t pool = (uint32_t)option_u64(words, "pool", 0);
    char *buf = malloc(size);
    char *far = slot_of(rank, pool, (uint32_t)word_u64(words, 1));
    (void)text;
    if (buf == NULL || far == NULL) {
        free(buf);
        return far == NULL ? smem_get_last_err_code() : SMEM_MALLOC_FAILED;
    }
    pattern_fill(buf, size, (uint32_t)option_u64(words, "writer", smem_bm_get_rank_id()),
                 word_u64(words, 4), offset);
    int rc = copy_bytes(rank, pool, far + offset, buf, size);
    free(buf);
    return rc;
}

static int say_wrong(const struct pattern_fault *fault, char *text)
{
    snprintf(text, LINE_BYTES, "wrong=%" PRIu64 " first=%" PRIu64 " zero=%" PRIu64 " got=%" PRIx64,
             fault->wrong, fault->first, fault->zero, fault->got[0]);
    return SMEM_OK;
}

/* get RANK OFF LEN WRITER GEN: a copy, compared with the pattern. */
static int do_get(struct rank *rank, const struct words *words, char *text)
{
    uint64_t offset = word_u64(words, 2), size = word_u64(words, 3);
    uint32_t pool = (uint32_t)option_u64(words, "pool", 0);
    struct pattern_fault fault;
    char *buf = malloc(size);
    char *far = slot_of(rank, pool, (uint32_t)word_u64(words, 1));
    if (buf == NULL || far == NULL) {
        free(buf);
        return far == NULL ? smem_get_last_err_code() : SMEM_MALLOC_FAILED;
    }
    memset(buf, POISON, size);
    int rc = copy_bytes(rank, pool, buf, far + offset, size);
    if (rc == SMEM_OK) {
        pattern_check(buf, size, (uint32_t)word_u64(words, 4), word_u64(words, 5), offset, &fault);
        say_wrong(&fault, text);
    }
    free(buf);
    return rc;
}

/* The same through the pointer: sput, sget, and zeros RANK OFF LEN, which counts other bytes. */
static int do_store_pattern(struct rank *rank, const struct words *words, char *text)
{
    uint64_t offset = word_u64(words, 2);
    char *at = pointer_to(rank, (uint32_t)option_u64(words, "pool", 0),
                          (uint32_t)word_u64(words, 1), offset);
    (void)text;
    if (at == NULL) {
        return smem_get_last_err_code();
    }
    pattern_fill(at, word_u64(words, 3),
                 (uint32_t)option_u64(words, "writer", smem_bm_get_rank_id()), word_u64(words, 4),
                 offset);
    return SMEM_OK;
}

static int do_load_pattern(struct rank *rank, const struct words *words, char *text)
{
    uint64_t offset = word_u64(words, 2);
    struct pattern_fault fault;
    const char *at = pointer_to(rank, (uint32_t)option_u64(words, "pool", 0),
                                (uint32_t)word_u64(words, 1), offset);
    if (at == NULL) {
        return smem_get_last_err_code();
    }
    pattern_check(at, word_u64(words, 3), (uint32_t)word_u64(words, 4), word_u64(words, 5), offset,
                  &fault);
    return say_wrong(&fault, text);
}

/* Does not ask whether the owner is there: the bytes are loaded whatever became of it. */
static int do_zeros(struct rank *rank, const struct words *words, char *text)
{
    const volatile char *at =
        slot_of(rank, (uint32_t)option_u64(words, "pool", 0), (uint32_t)word_u64(words, 1));
    uint64_t offset = word_u64(words, 2), size = word_u64(words, 3), other = 0;
    if (at == NULL) {
        return smem_get_last_err_code();
    }
    for (uint64_t i = 0; i < size; i++) {
        other += at[offset + i] != 0;
    }
    snprintf(text, LINE_BYTES, "other=%" PRIu64, other);
    return SMEM_OK;
}

static int do_load(struct rank *rank, const struct words *words, char *text)
{
    const char *at = pointer_to(rank, (uint32_t)option_u64(words, "pool", 0),
                                (uint32_t)word_u64(words, 1), word_u64(words, 2));
    if (at == NULL) {
        return smem_get_last_err_code();
    }
    snprintf(text, LINE_BYTES, "value=%" PRIu64, *(const volatile uint64_t *)(const void *)at);
    return SMEM_OK;
}

static int do_store(struct rank *rank, const struct words *words, char *text)
{
    char *at = pointer_to(rank, (uint32_t)option_u64(words, "pool", 0),
                          (uint32_t)word_u64(words, 1), word_u64(words, 2));
    (void)text;
    if (at == NULL) {
        return smem_get_last_err_code();
    }
    *(volatile uint64_t *)(void *)at = word_u64(words, 3);
    return SMEM_OK;
}

static int do_g2g(struct rank *rank, const struct words *words, char *text)
{
    uint32_t pool = (uint32_t)option_u64(words, "pool", 0);
    char *src = slot_of(rank, pool, (uint32_t)word_u64(words, 1));
    char *dst = slot_of(rank, pool, (uint32_t)word_u64(words, 3));
    (void)text;
    if (src == NULL || dst == NULL) {
        return smem_get_last_err_code();
    }
    return copy_bytes(rank, pool, dst + word_u64(words, 4), src + word_u64(words, 2),
                      word_u64(words, 5));
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* until|reach RANK MS: copy a word from it until that fails, or until it works. */
static int poll_peer(struct rank *rank, const struct words *words, bool want_failure, char *text)
{
    uint32_t pool = (uint32_t)option_u64(words, "pool", 0);
    const char *far = slot_of(rank, pool, (uint32_t)word_u64(words, 1));
    uint64_t deadline = now_ns() + word_u64(words, 2) * 1000000ull;
    uint64_t every = option_u64(words, "every", 500);
    uint64_t word, slowest = 0;
    if (far == NULL) {
        return smem_get_last_err_code();
    }
    for (;;) {
        uint64_t begin = now_ns();
        int rc = copy_bytes(rank, pool, &word, far, sizeof(word));
        uint64_t end = now_ns();
        slowest = end - begin > slowest ? end - begin : slowest;
        if ((rc != SMEM_OK) == want_failure || end >= deadline) {
            snprintf(text, LINE_BYTES, "at=%" PRIu64 " slowest_us=%" PRIu64 " text=%s", end,
                     slowest / 1000, rc != SMEM_OK ? smem_get_last_err_msg() : "");
            return rc;
        }
        pause_us(every);
    }
}

static int do_until(struct rank *rank, const struct words *words, char *text)
{
    return poll_peer(rank, words, true, text);
}

static int do_reach(struct rank *rank, const struct words *words, char *text)
{
    return poll_peer(rank, words, false, text);
}

/* strike RANK OFF PID SIGNAL DELAY_US: when the word there turns odd, that is in the middle of a
 * copy, wait a little and send the signal. */
static int do_strike(struct rank *rank, const struct words *words, char *text)
{
    const char *at = pointer_to(rank, (uint32_t)option_u64(words, "pool", 0),
                                (uint32_t)word_u64(words, 1), word_u64(words, 2));
    uint64_t deadline = now_ns() + 5000000000ull;
    if (at == NULL) {
        return smem_get_last_err_code();
    }
    const volatile uint64_t *word = (const volatile uint64_t *)(const void *)at;
    uint64_t was = *word | 1; /* not the copy that is under way now, but one from its beginning */
    while ((*word <= was || *word % 2 == 0) && now_ns() < deadline) {
    }
    uint64_t until = now_ns() + word_u64(words, 5) * 1000;
    while (now_ns() < until) {
    }
    uint64_t when = now_ns();
    bool middle = *word % 2 == 1;
    if (kill((pid_t)word_u64(words, 3), (int)word_u64(words, 4)) != 0) {
        snprintf(text, LINE_BYTES, "kill: %s", strerror(errno));
        return SMEM_ERROR;
    }
    snprintf(text, LINE_BYTES, "at=%" PRIu64 " middle=%d", when, middle);
    return SMEM_OK;
}

static int do_sleep(struct rank *rank, const struct words *words, char *text)
{
    (void)rank;
    (void)text;
    pause_us(word_u64(words, 1) * 1000);
    return SMEM_OK;
}

/* ---- the process ---------------------------------------------------------------------------- */

/* The child takes over the conversation when its parent is dead. */
static int do_fork(struct rank *rank, const struct words *words, char *text)
{
    pid_t parent = getpid();
    (void)rank;
    (void)words;
    pid_t child = fork();
    if (child < 0) {
        snprintf(text, LINE_BYTES, "fork: %s", strerror(errno));
        return SMEM_ERROR;
    }
    if (child > 0) {
        snprintf(text, LINE_BYTES, "pid=%d", (int)child);
        return SMEM_OK;
    }
    while (getppid() == parent) {
        pause_us(1000);
    }
    snprintf(text, LINE_BYTES, "child pid=%d", (int)getpid());
    return SMEM_OK;
}

static int do_raise(struct rank *rank, const struct words *words, char *text)
{
    (void)rank;
    (void)text;
    return raise((int)word_u64(words, 1)) == 0 ? SMEM_OK : SMEM_ERROR;
}

/* block ADDRESS BYTES NAME: something of the program's own lies there. */
static int do_block(struct rank *rank, const struct words *words, char *text)
{
    void *want = (void *)(uintptr_t)word_u64(words, 1);
    int fd = memfd_create(words->count > 3 ? words->v[3] : "blocker", MFD_CLOEXEC);
    void *at = MAP_FAILED;
    (void)rank;
    if (fd >= 0 && ftruncate(fd, (off_t)word_u64(words, 2)) == 0) {
        at = mmap(want, word_u64(words, 2), PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    }
    snprintf(text, LINE_BYTES, "%s", at == want ? "" : strerror(errno));
    close(fd);
    return at == want ? SMEM_OK : SMEM_ERROR;
}

static int do_unblock(struct rank *rank, const struct words *words, char *text)
{
    (void)rank;
    (void)text;
    return munmap((void *)(uintptr_t)word_u64(words, 1), word_u64(words, 2)) == 0 ? 0 : SMEM_ERROR;
}

/* descriptors N: the soft limit on numbers of descriptors. */
static int do_descriptors(struct rank *rank, const struct words *words, char *text)
{
    struct rlimit limit;
    (void)rank;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return SMEM_ERROR;
    }
    limit.rlim_cur = word_u64(words, 1) < limit.rlim_max ? word_u64(words, 1) : limit.rlim_max;
    snprintf(text, LINE_BYTES, "limit=%" PRIu64, (uint64_t)limit.rlim_cur);
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? SMEM_OK : SMEM_ERROR;
}

static int do_quit(struct rank *rank, const struct words *words, char *text)
{
    (void)rank;
    (void)words;
    (void)text;
    exit(0);
}

static int do_help(struct rank *rank, const struct words *words, char *text);

static const struct command {
    const char *name;
    int (*fn)(struct rank *rank, const struct words *words, char *text);
    const char *help;
} commands[] = {
    {"init", do_init, "URL [world= rank= serve= init= create= op=]"},
    {"uninit", do_uninit, ""},
    {"create", do_create, "POOL [dram= max= hbm= wide= flags= shm=FD]"},
    {"extend", memory_extend, "POOL BYTES"},
    {"size", memory_size, "POOL"},
    {"memfd", memory_memfd, "BYTES [seals=]"},
    {"open", memory_open, "PATH"},
    {"join", do_join, "POOL"},
    {"leave", do_leave, "POOL"},
    {"destroy", do_destroy, "POOL"},
    {"serve", do_serve, "URL"},
    {"unserve", do_unserve, "URL"},
    {"put", do_put, "RANK OFF LEN GEN [pool= writer=]"},
    {"get", do_get, "RANK OFF LEN WRITER GEN [pool=]"},
    {"sput", do_store_pattern, "RANK OFF LEN GEN [pool= writer=]"},
    {"sget", do_load_pattern, "RANK OFF LEN WRITER GEN [pool=]"},
    {"zeros", do_zeros, "RANK OFF LEN [pool=]"},
    {"load", do_load, "RANK OFF [pool=]"},
    {"store", do_store, "RANK OFF VALUE [pool=]"},
    {"where", address_where, "RANK OFF [pool=]"},
    {"at", address_read, "ADDRESS LEN"},
    {"vput", address_put, "ADDRESS LEN GEN WRITER OFF [pool=]"},
    {"vget", address_get, "ADDRESS LEN GEN WRITER OFF [pool=]"},
    {"hbm", address_hbm, "RANK OFF [pool=]"},
    {"g2g", do_g2g, "RANK OFF RANK OFF LEN [pool=]"},
    {"until", do_until, "RANK MS [pool= every=US]"},
    {"reach", do_reach, "RANK MS [pool= every=US]"},
    {"strike", do_strike, "RANK OFF PID SIGNAL DELAY_US [pool=]"},
    {"loop", loop_start,
     "NAME put|get|both|g2g ranks= [off= len= word= gen= writer= keep= peek= pause=]"},
    {"stats", loop_stats, "NAME"},
    {"end", loop_end, "NAME"},
    {"mixed", mixed_start, "PEER,... [pause=US]"},
    {"mixedend", mixed_end, ""},
    {"board", strike_board, "PATH CELL"},
    {"arm", strike_arm, "POINT [rank= act=signal|nothing|fork pid= sig= wait=MS peer=]"},
    {"sleep", do_sleep, "MS"},
    {"fork", do_fork, ""},
    {"raise", do_raise, "SIGNAL"},
    {"block", do_block, "ADDRESS BYTES NAME"},
    {"unblock", do_unblock, "ADDRESS BYTES"},
    {"descriptors", do_descriptors, "N"},
    {"quit", do_quit, ""},
    {"help", do_help, ""},
};

static int do_help(struct rank *rank, const struct words *words, char *text)
{
    size_t len = 0;
    (void)rank;
    (void)words;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && len < LINE_BYTES; i++) {
        len += (size_t)snprintf(text + len, LINE_BYTES - len, "%s %s; ", commands[i].name,
                                commands[i].help);
    }
    return SMEM_OK;
}

/* ---- the conversation ----------------------------------------------------------------------- */

/* Unbuffered, so that a forked child finds the next line where its parent has left off. */
static bool read_line(char *line, size_t cap)
{
    size_t len = 0;
    char c;
    while (read(STDIN_FILENO, &c, 1) == 1) {
        if (c == '\n') {
            line[len] = '\0';
            return true;
        }
        if (len + 1 < cap) {
            line[len++] = c;
        }
    }
    return false;
}

static void answer(int code, uint64_t us, char *text)
{
    char line[LINE_BYTES + 64];
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\n' ? ' ' : *c;
    }
    int len = snprintf(line, sizeof(line), "%d %" PRIu64 " %s\n", code, us, text);
    if (write(STDOUT_FILENO, line, (size_t)len) != len) {
        exit(1);
    }
}

static void run(struct rank *rank, const struct words *words)
{
    char text[LINE_BYTES] = "";
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, words->v[0]) != 0) {
            continue;
        }
        uint64_t begin = now_ns();
        board_control(commands[i].name);
        int code = commands[i].fn(rank, words, text);
        board_control(NULL);
        uint64_t us = (now_ns() - begin) / 1000;
        if (code != SMEM_OK && text[0] == '\0') {
            snprintf(text, sizeof(text), "%s", smem_get_last_err_msg());
        }
        answer(code, us, text);
        return;
    }
    snprintf(text, sizeof(text), "no command \"%s\"", words->v[0]);
    answer(SMEM_INVALID_PARAM, 0, text);
}

int main(void)
{
    static struct rank rank;
    static char line[LINE_BYTES];
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever drives it may be killed, too */
    while (read_line(line, sizeof(line))) {
        struct words words = {.count = 0};
        char *save = NULL;
        for (char *word = strtok_r(line, " ", &save); word != NULL && words.count < 40;
             word = strtok_r(NULL, " ", &save)) {
            words.v[words.count++] = word;
        }
        if (words.count > 0) {
            run(&rank, &words);
        }
    }
    return 0;
}
