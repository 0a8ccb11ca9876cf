// SPDX-License-Identifier: Apache-2.0
// Options from the environment: which variable belongs to which option, which are known for another
// reason, and what a misspelt one was probably meant to be.
#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "config/config.h"

#define PREFIX "MF_"
/* Longer names are not compared: no known one is nearly as long. */
#define WORD_MAX 63u
/* What is shown of an unknown variable's name. */
#define SHOWN_MAX 64

/* Variables that other parts read: the launcher, the store, the cluster key. */
static const char *const owned[] = {
    "MF_CONFIG_STORE_URL", "MF_WORLD_SIZE", "MF_RANK", "MF_LOCAL_RANK", "MF_CLUSTER_KEY_FILE",
};

/* Old names, read when the new one is not set. */
static const struct alias {
    const char *old;
    const char *env;
} aliases[] = {
    {"ASCEND_MF_LOG_LEVEL", "MF_LOG_LEVEL"},
};

/* Variables of the reference that change nothing here. */
static const char *const meaningless[] = {
    "MF_CONFIG_STORE_PORT_START",
    "MF_CONFIG_STORE_PORT_END",
    "MF_CONFIG_STORE_HEARTBEAT_TIMEOUT_S",
    "MF_CONFIG_STORE_LINK_RETRY_TIMEOUT_S",
    "MF_SOCKET_URL",
    "MF_TRANSPORT_MANAGER",
    "MF_GROUP_JOIN_MAX_TIMEOUT",
    "MF_GROUP_RETRY_TIME",
    "MF_SMEM_GROUP_RETRY_TIME",
    "MF_SMEM_GROUP_EVENT",
    "MF_ACC_CHECK_PERIOD_HOURS",
    "MF_ACC_CERT_CHECK_AHEAD_DAYS",
    "MF_HYBM_RDMA_SWAP_SPACE_SIZE",
    "MF_HYBM_URMA_SWAP_SPACE_SIZE",
    "MF_HYBM_RDMA_FORCE_UNREGISTERED",
    "MF_HYBM_RDMA_USE_HCOMM",
    "MF_HYBM_USE_HCOMM_AICPU",
    "MF_HYBM_ENABLE_4K_PAGE",
    "MF_HCOM_CQ_DEPTH",
    "MF_HCOM_SQ_SIZE",
    "MF_HCOM_RQ_SIZE",
    "MF_HCOM_PREPOST_SIZE",
    "MF_HCOM_MAX_SEND_RECV_DATA_CNT",
    "MF_NPU_RDMA_MAX_SEND_WR",
    "MF_NPU_RDMA_MAX_RECV_WR",
    "MF_NPU_RDMA_SEND_CQ_DEPTH",
    "MF_NPU_RDMA_RECV_CQ_DEPTH",
    "MF_QP_READY_CHECK_TIMEOUT_BASE",
    "MF_HOST_SHM_USE_MEMFD",
    "MF_HOST_ROCE_IFNAME",
    "MF_DEVICE_URMA_EID_FILE",
    "MF_DEVICE_UB_QOS",
    "MEMFABRIC_HYBRID_CONFIG_STORE_PORT_START",
    "MEMFABRIC_HYBRID_CONFIG_STORE_PORT_END",
    "ACCLINK_CHECK_PERIOD_HOURS",
    "ACCLINK_CERT_CHECK_AHEAD_DAYS",
    "HYBM_RDMA_FORCE_UNREGISTERED",
    "SHMEM_LOG_LEVEL",
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* How many insertions, deletions, changes and swaps of neighbours lead from a to b. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++) {
        above[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t change = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j]) {
                row[j] = before[j - 2] + 1;
            }
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_len];
}

/** The best candidate so far for a word that was probably misspelt. */
struct guess {
    const char *word;
    const char *best;
    size_t distance; /* a candidate must be nearer than this */
};

static void guess_init(struct guess *guess, const char *word)
{
    size_t len = strnlen(word, WORD_MAX + 1);
    *guess = (struct guess){.word = word, .distance = len > WORD_MAX ? 0 : len / 4 + 2};
}

static void guess_try(struct guess *guess, const char *candidate)
{
    if (guess->distance == 0) {
        return;
    }
    size_t distance = edit_distance(guess->word, candidate);
    if (distance < guess->distance) {
        guess->distance = distance;
        guess->best = candidate;
    }
}

const char *mf_opt_nearest(const char *name)
{
    struct guess guess;
    guess_init(&guess, name);
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        guess_try(&guess, mf_opt_info((enum mf_opt)id)->name);
    }
    return guess.best;
}

static const char *nearest_variable(const char *name)
{
    struct guess guess;
    guess_init(&guess, name);
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        guess_try(&guess, mf_opt_info((enum mf_opt)id)->env);
    }
    for (size_t i = 0; i < COUNT_OF(owned); i++) {
        guess_try(&guess, owned[i]);
    }
    return guess.best;
}

/* The value of `name`, or NULL. */
static const char *lookup(char *const *environ, const char *name)
{
    size_t len = strlen(name);
    for (; *environ; environ++) {
        if (strncmp(*environ, name, len) == 0 && (*environ)[len] == '=') {
            return *environ + len + 1;
        }
    }
    return NULL;
}

static int load_variable(struct mf_config *config, enum mf_opt id, char *const *environ,
                         const char *variable, bool *found)
{
    const char *value = lookup(environ, variable);
    *found = value != NULL;
    if (value && mf_config_set(config, id, value)) {
        return mf_err_in(SMEM_INVALID_PARAM, "environment variable %s", variable);
    }
    return SMEM_OK;
}

static int load_aliases(struct mf_config *config, enum mf_opt id, char *const *environ)
{
    const char *env = mf_opt_info(id)->env;
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        bool found = false;
        int rc = SMEM_OK;
        if (strcmp(aliases[i].env, env) == 0) {
            rc = load_variable(config, id, environ, aliases[i].old, &found);
        }
        if (rc || found) {
            return rc;
        }
    }
    return SMEM_OK;
}

static bool is_in(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *new_name_of(const char *old)
{
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        if (strcmp(aliases[i].old, old) == 0) {
            return aliases[i].env;
        }
    }
    return NULL;
}

static void report_variable(const char *name, struct mf_log *log)
{
    if (mf_opt_find(name) >= 0 || is_in(owned, COUNT_OF(owned), name)) {
        return;
    }
    const char *new_name = new_name_of(name);
    if (new_name) {
        mf_log(log, MF_LOG_WARN, "config", "environment variable %s is an old name: use %s", name,
               new_name);
    } else if (is_in(meaningless, COUNT_OF(meaningless), name)) {
        mf_log(log, MF_LOG_INFO, "config", "environment variable %s has no meaning here", name);
    } else if (strncmp(name, PREFIX, strlen(PREFIX)) == 0) {
        const char *nearest = nearest_variable(name);
        mf_log(log, MF_LOG_WARN, "config", "environment variable %s is unknown%s%s%s", name,
               nearest ? ": did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    }
}

void mf_config_report(char *const *environ, struct mf_log *log)
{
    for (; *environ; environ++) {
        char name[SHOWN_MAX];
        size_t len = strcspn(*environ, "=");
        if (len >= sizeof(name)) {
            len = sizeof(name) - 1;
        }
        memcpy(name, *environ, len);
        name[len] = '\0';
        report_variable(name, log);
    }
}

int mf_config_load(struct mf_config *config, char *const *environ, struct mf_log *log)
{
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        bool found;
        int rc = load_variable(config, (enum mf_opt)id, environ, mf_opt_info((enum mf_opt)id)->env,
                               &found);
        if (rc == SMEM_OK && !found) {
            rc = load_aliases(config, (enum mf_opt)id, environ);
        }
        if (rc) {
            return rc;
        }
    }
    mf_config_report(environ, log);
    return SMEM_OK;
}
