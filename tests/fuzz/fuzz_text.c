// SPDX-License-Identifier: Apache-2.0
// Text that comes from users. The first byte says which: a store URL, the value of one option, an
// environment (variables with a NUL between them), or the tag and tagOpInfo of a pool.
#include <string.h>

#include "config/config.h"
#include "core/pool_tags.h"
#include "fuzz.h"
#include "fuzz_env.h"
#include "smem.h"
#include "store/store.h"
#include "text_kinds.h"

#define VARIABLES 64u

static void one_url(const char *text)
{
    struct mf_store_url url;
    if (mf_store_url_parse(text, &url) == SMEM_OK) {
        FUZZ_CHECK(memchr(url.host, '\0', sizeof(url.host)) != NULL);
    }
}

static void one_option(uint8_t which, const char *text)
{
    static struct mf_config config;
    mf_config_defaults(&config);
    enum mf_opt id = (enum mf_opt)(which % MF_OPT_COUNT);
    int rc = mf_config_set(&config, id, text);
    FUZZ_CHECK(rc == SMEM_OK || rc == SMEM_INVALID_PARAM);
    FUZZ_CHECK(memchr(config.v[id].str, '\0', sizeof(config.v[id].str)) != NULL);
    FUZZ_CHECK(config.v[id].is_default == (rc != SMEM_OK));
    (void)mf_opt_nearest(text);
    (void)mf_opt_find(text);
}

static void one_environment(char *text, size_t len)
{
    static struct mf_config config;
    struct fuzz_world world;
    char *variables[VARIABLES + 1];
    uint32_t count = 0;
    fuzz_world_init(&world);
    for (size_t at = 0; at < len && count < VARIABLES; at += strlen(text + at) + 1) {
        variables[count++] = text + at;
    }
    variables[count] = NULL;
    mf_config_defaults(&config);
    int rc = mf_config_load(&config, variables, &world.log);
    FUZZ_CHECK(rc == SMEM_OK || rc == SMEM_INVALID_PARAM);
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        FUZZ_CHECK(memchr(config.v[id].str, '\0', sizeof(config.v[id].str)) != NULL);
    }
}

/* Both are arrays of a fixed length in the public struct: one without a NUL is refused. */
static void one_tags(const char *text, size_t len)
{
    static struct mf_tags tags;
    const char *nul = memchr(text, '\0', len);
    size_t tag_len = nul ? (size_t)(nul - text) + 1 : len;
    if (len == 0 || tag_len == len) { /* each array has a byte at least */
        return;
    }
    if (mf_tags_parse(text, tag_len, text + tag_len, len - tag_len, 1, &tags) == SMEM_OK) {
        FUZZ_CHECK(tags.count >= 1 && tags.count <= MF_TAG_PAIRS_MAX);
        FUZZ_CHECK(mf_tags_find(tags.pair, tags.count, tags.own) & 1);
        for (uint32_t i = 0; i < tags.count; i++) {
            FUZZ_CHECK(memchr(tags.pair[i].name, '\0', sizeof(tags.pair[i].name)) != NULL);
        }
    }
}

void fuzz_one(const uint8_t *data, size_t len)
{
    static char text[FUZZ_INPUT_MAX + 1];
    if (len < 2) {
        return;
    }
    size_t n = len - 1;
    memcpy(text, data + 1, n);
    text[n] = '\0';
    switch (data[0] % TEXT_KINDS) {
    case TEXT_URL:
        one_url(text);
        break;
    case TEXT_OPTION:
        one_option(data[1], text + 1);
        break;
    case TEXT_ENVIRONMENT:
        one_environment(text, n);
        break;
    default:
        one_tags((const char *)data + 1, n);
        break;
    }
}

static const char *const urls[] = {
    "tcp://127.0.0.1:8570", "tcp://[::1]:1",       "etcd://1.2.3.4:5#a",
    "tcp://0.0.0.0:0",      "tcp://1.2.3.4:99999", "tcp://[::1",
    "tcp://[::1]8",         "tcp://1.2.3:4",       "tcp://:4",
    "tcp://[::g]:1",        "tcp://1.2.3.4:5 ",    "tcp://1.2.3.4:",
    "tcp://1.2.3.4",        "udp://1.2.3.4"};

static const char *const values[] = {"0x280000000000", "40T", "64k", "on",
                                     "auto",           "sim", "7",   "18446744073709551616"};

#define TEXT(t)          \
    {                    \
        t, sizeof(t) - 1 \
    }
static const struct {
    const char *text;
    size_t len;
} environments[] = {
    TEXT("HOME=/root\0MF_LOG_LEVEL=3\0MF_TRACE=off\0MF_RANK=1"),
    TEXT("MF_LOG_LEVL=3\0MF_QP_READY_CHECK_TIMEOUT_BASE=1\0ASCEND_MF_LOG_LEVEL=1"),
    TEXT("MF_GVA_BASE=0x280000000000\0MF_GVA_SPAN=1T\0MF_SPAN=1"),
    TEXT("ASCEND_MF_LOG_LEVEL=x\0A"),
    TEXT("MF_A_VARIABLE_WITH_A_NAME_THAT_NOBODY_CAN_HAVE_MEANT_AS_IT_IS_SO_LONG=1\0MF_=\0="),
};

static const char *const infos[] = {
    "a:HOST_SHM:b,b:HOST_TCP:a,a:DEVICE_SDMA:a",
    "a:HOST_SHM:b,",
    "a:NOTHING:b",
    "a:HOST_SHM",
    "a b:HOST_SHM:c",
    "x:HOST_SHM:y,a:HOST_RDMA:a_tag_with_more_than_thirty_characters",
    "a:AIV_SDMA:a,a:AIV_SDMA:1,a:AIV_SDMA:2,a:AIV_SDMA:3,a:AIV_SDMA:4,a:AIV_SDMA:5,a:AIV_SDMA:6,"
    "a:AIV_SDMA:7,a:AIV_SDMA:8,a:AIV_SDMA:9,a:AIV_SDMA:10,a:AIV_SDMA:11,a:AIV_SDMA:12,"
    "a:AIV_SDMA:13,a:AIV_SDMA:14,a:AIV_SDMA:15,a:AIV_SDMA:16,a:AIV_SDMA:17,a:AIV_SDMA:18,"
    "a:AIV_SDMA:19,a:AIV_SDMA:20",
    ""};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    uint32_t kind = i % TEXT_KINDS, k = i / TEXT_KINDS;
    size_t len = 0;
    if (i >= 160 || cap < 1024) {
        return 0;
    }
    buf[0] = (uint8_t)kind;
    switch (kind) {
    case TEXT_URL:
        k %= COUNT(urls);
        len = strlen(urls[k]);
        memcpy(buf + 1, urls[k], len);
        break;
    case TEXT_OPTION:
        buf[1] = (uint8_t)k;
        k %= COUNT(values);
        len = 1 + strlen(values[k]);
        memcpy(buf + 2, values[k], len - 1);
        break;
    case TEXT_ENVIRONMENT:
        k %= COUNT(environments);
        len = environments[k].len;
        memcpy(buf + 1, environments[k].text, len);
        break;
    default: /* with its NUL */
        len = (size_t)snprintf((char *)buf + 1, cap - 1, "%s%c%s", k / COUNT(infos) % 2 ? "" : "a",
                               0, infos[k % COUNT(infos)]) +
              1;
        break;
    }
    return 1 + len;
}
