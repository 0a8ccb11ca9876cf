// SPDX-License-Identifier: Apache-2.0
// Text that comes from users: a store URL, and the value of every option.
#include <string.h>

#include "config/config.h"
#include "fuzz.h"
#include "smem.h"
#include "store/store.h"

void fuzz_one(const uint8_t *data, size_t len)
{
    static struct mf_config config;
    struct mf_store_url url;
    char text[512];
    if (len == 0) {
        return;
    }
    size_t n = len - 1 < sizeof(text) - 1 ? len - 1 : sizeof(text) - 1;
    memcpy(text, data + 1, n);
    text[n] = '\0';
    if (data[0] == 0) {
        if (mf_store_url_parse(text, &url) == SMEM_OK) {
            FUZZ_CHECK(memchr(url.host, '\0', sizeof(url.host)) != NULL);
        }
        return;
    }
    mf_config_defaults(&config);
    enum mf_opt id = (enum mf_opt)(data[0] % MF_OPT_COUNT);
    int rc = mf_config_set(&config, id, text);
    FUZZ_CHECK(rc == SMEM_OK || rc == SMEM_INVALID_PARAM);
    FUZZ_CHECK(memchr(config.v[id].str, '\0', sizeof(config.v[id].str)) != NULL);
    (void)mf_opt_nearest(text);
}

size_t fuzz_seed(uint32_t i, uint8_t *buf, size_t cap)
{
    static const char *const texts[] = {"tcp://127.0.0.1:8570",
                                        "tcp://[::1]:1",
                                        "etcd://1.2.3.4:5#a",
                                        "tcp://0.0.0.0:0",
                                        "0x280000000000",
                                        "40T",
                                        "64k",
                                        "on",
                                        "auto",
                                        "sim"};
    size_t count = sizeof(texts) / sizeof(texts[0]);
    if (i >= 4 * count) {
        return 0;
    }
    size_t len = strlen(texts[i % count]);
    FUZZ_CHECK(len + 1 < cap);
    buf[0] = (uint8_t)(i < count ? 0 : i);
    memcpy(buf + 1, texts[i % count], len);
    return 1 + len;
}
