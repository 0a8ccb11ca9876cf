// SPDX-License-Identifier: Apache-2.0
// What there is once in a process: its log, environment, options and open devices. Made on the
// first call that needs it; a forked child begins anew.
#ifndef MF_API_PROCESS_H
#define MF_API_PROCESS_H

#include <stdbool.h>

#include "base/env.h"
#include "base/log.h"
#include "config/config.h"
#include "device/device.h"

struct mf_process {
    struct mf_env env;
    struct mf_config config; /* as the environment was on the first call */
    struct mf_dev_registry *devices;
};

/** The process's one context; lives until the process ends. SMEM_INVALID_PARAM when an MF_ variable
 * is wrong (every call says so), SMEM_MALLOC_FAILED, SMEM_NOT_INIT in a child that was forked after
 * the first call and has not begun anew. Threads: any. */
int mf_process_get(struct mf_process **out);
/** As mf_process_get; in a forked child this begins anew. For the calls that start something. */
int mf_process_restart(struct mf_process **out);
/** This process was forked from one that used the library. */
bool mf_process_forked(void);

/** The process's log; there from the beginning, so that it can be redirected before anything logs.
 */
struct mf_log *mf_process_log(void);
/** Overrides the option log.level, whether it has been read already or not. */
void mf_process_set_log_level(int level);

#endif
