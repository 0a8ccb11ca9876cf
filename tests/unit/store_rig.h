// SPDX-License-Identifier: Apache-2.0
// What the tests of the store share: an environment with a quiet log, a server on an ephemeral
// port, and clients of it.
#ifndef MF_TEST_STORE_RIG_H
#define MF_TEST_STORE_RIG_H

#include "base/env.h"
#include "base/loop.h"
#include "store/store.h"

#define RIG_SESSION_MS 3000u

struct rig {
    struct mf_log log;
    struct mf_env env;
    struct mf_store_server *server;
    struct mf_loop *loop; /* of the clients */
};

/** SMEM_OK, or the code of what failed; then nothing remains. */
int rig_open(struct rig *rig);
void rig_close(struct rig *rig);
/** A client with a session of its own. */
int rig_client(struct rig *rig, uint32_t session_ms, struct mf_store **out);
uint64_t rig_in_ms(struct rig *rig, uint64_t ms);
/** A blocking socket that is connected to the rig's server; -1 when that fails. */
int rig_raw_socket(struct rig *rig);

#endif
