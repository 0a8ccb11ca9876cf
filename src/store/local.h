// SPDX-License-Identifier: Apache-2.0
// A store inside the process: the same server state machine without sockets. Its clients are state
// machines too, and bytes pass between them on one loop, so a local store keeps every rule of the
// embedded server: sessions, limits, order of events.
#ifndef MF_STORE_LOCAL_H
#define MF_STORE_LOCAL_H

#include "store/store.h"

struct mf_store_local;

/** `env` and `loop` are borrowed until destroy; all clients live on this loop. */
int mf_store_local_create(const struct mf_env *env, struct mf_loop *loop,
                          struct mf_store_local **out);
/** Every client must have been closed. NULL is fine. Not on the loop's thread. */
void mf_store_local_destroy(struct mf_store_local *local);
/** All but url and uptime_ms. From any thread; what was done before on the loop's is counted. */
void mf_store_local_get_status(struct mf_store_local *local, struct mf_store_server_status *out);

/** Open a session; cfg->loop must be the store's loop. Close with mf_store_close. */
int mf_store_open_local(const struct mf_store_cfg *cfg, struct mf_store_local *local,
                        uint64_t deadline_ns, struct mf_store **out);

#endif
