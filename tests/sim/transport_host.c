// SPDX-License-Identifier: Apache-2.0
// Where the model transport finds the loop of its process: in core's context.
#include "core/context.h"
#include "transport.h"

struct mf_loop *sim_tp_loop(const struct mf_transport_host *host)
{
    return ((const struct mf_tp *)host->arg)->ctx->loop;
}
