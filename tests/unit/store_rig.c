// SPDX-License-Identifier: Apache-2.0
// The rig of the store's tests.
#include "unit/store_rig.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "store/tcp_util.h"

int rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    atomic_init(&rig->log.level, MF_LOG_ERROR);
    mf_env_init_real(&rig->env, &rig->log);
    int rc = mf_store_server_create(&rig->env, "tcp://127.0.0.1:0", 0, &rig->server);
    if (rc != SMEM_OK)
        return rc;
    rc = mf_loop_create(&rig->env, "test", &rig->loop);
    if (rc != SMEM_OK) {
        struct mf_err_rec err;
        mf_err_save(&err);
        mf_store_server_destroy(rig->server);
        mf_err_restore(&err);
    }
    return rc;
}

void rig_close(struct rig *rig)
{
    mf_loop_destroy(rig->loop);
    mf_store_server_destroy(rig->server);
}

uint64_t rig_in_ms(struct rig *rig, uint64_t ms)
{
    return mf_deadline_ns(&rig->env, ms);
}

int rig_client(struct rig *rig, uint32_t session_ms, struct mf_store **out)
{
    struct mf_store_cfg cfg = {.env = &rig->env,
                               .loop = rig->loop,
                               .session_id = mf_random_u64(&rig->env),
                               .session_ms = session_ms,
                               .request_ms = 5000};
    return mf_store_open(&cfg, mf_store_server_url(rig->server), rig_in_ms(rig, 5000), out);
}

int rig_raw_socket(struct rig *rig)
{
    struct mf_store_url url;
    struct sockaddr_storage addr;
    struct timeval tv = {.tv_sec = 8};
    if (mf_store_url_parse(mf_store_server_url(rig->server), &url) != SMEM_OK)
        return -1;
    socklen_t len = mf_tcp_addr(&url, &addr);
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    if (connect(fd, (struct sockaddr *)&addr, len) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}
