/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file smem_config_store_def.h
 * Types of smem_config_store_api.h: the handle of a config store that this process serves, and the
 * callbacks that tell about its ranks and its leader.
 */
#ifndef MEMFABRIC_SMEM_CONFIG_STORE_DEF_H
#define MEMFABRIC_SMEM_CONFIG_STORE_DEF_H

#include "smem_def.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A config store that this process serves. Not a pointer: a stale handle gets an error. */
typedef void *smem_config_store_t;

/** Who leads a group of stores. */
typedef struct smem_config_store_leader_info {
    uint8_t is_leader; /**< 1: the store of this process leads */
    const char
        *bindable_leader_address; /**< "ip:port", borrowed during the callback; may be NULL */
} smem_config_store_leader_info_t;

/**
 * A rank's session with the store has ended: its connection closed, or it was silent for too long.
 * `link_id` numbers the connection within this store; `rank_id` is UINT32_MAX for a client without
 * a rank. Runs on the store's thread: return soon, do not call the library. The result is ignored;
 * return 0.
 */
typedef int32_t (*smem_config_store_broken_cb)(void *context, uint32_t link_id, uint32_t rank_id);

/** The leader has changed. `info` is borrowed during the call. */
typedef void (*smem_config_store_leader_change_cb)(void *context,
                                                   const smem_config_store_leader_info_t *info);

MF_ASSERT_SIZE(smem_config_store_leader_info_t, 16);
MF_ASSERT_OFFSET(smem_config_store_leader_info_t, is_leader, 0);
MF_ASSERT_OFFSET(smem_config_store_leader_info_t, bindable_leader_address, 8);

#ifdef __cplusplus
}
#endif
#endif
