// SPDX-License-Identifier: Apache-2.0
// The real environment: the system's clock, randomness and process id. A simulation is linked
// without this file's functions being called; nothing else in the library asks the system for
// these.
#include "base/env.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

static uint64_t real_now_ns(void *arg)
{
    (void)arg;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * MF_NS_PER_S + (uint64_t)now.tv_nsec;
    return ns == 0 ? 1 : ns;
}

static void real_random(void *arg, void *buf, size_t len)
{
    (void)arg;
    uint8_t *at = buf;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        /* Fails only when interrupted, or on a kernel that has no getrandom at all. */
        MF_ASSERT(n > 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

static pid_t real_pid(void *arg)
{
    (void)arg;
    return getpid();
}

/* A hash of what usually tells hosts apart: the boot id and the network namespace. */
static uint64_t real_host_hint(void *arg)
{
    (void)arg;
    uint64_t hash = 1469598103934665603ull;
    char text[64] = "";
    struct stat st = {0};
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f != NULL) {
        size_t got = fread(text, 1, sizeof(text) - 1, f);
        fclose(f);
        for (size_t i = 0; i < got; i++) {
            hash = (hash ^ (uint8_t)text[i]) * 1099511628211ull;
        }
    }
    if (stat("/proc/self/ns/net", &st) == 0) {
        hash = (hash ^ st.st_ino) * 1099511628211ull;
    }
    return hash;
}

static const struct mf_env_ops real_ops = {
    .now_ns = real_now_ns,
    .random = real_random,
    .pid = real_pid,
    .host_hint = real_host_hint,
};

void mf_env_init_real(struct mf_env *env, struct mf_log *log)
{
    *env = (struct mf_env){.ops = &real_ops, .arg = NULL, .log = log};
}
