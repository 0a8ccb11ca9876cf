// SPDX-License-Identifier: Apache-2.0
// What core gives to a transport instance: places, segments up and down, deaths, readable
// descriptors.
#ifndef MF_CORE_HOST_H
#define MF_CORE_HOST_H

#include "core/context.h"

/** Fill tp->plugin and tp->host; tp->ctx is set. SMEM_INVALID_PARAM: an option has no such value.
 */
int mf_host_init(struct mf_tp *tp);

#endif
