// SPDX-License-Identifier: Apache-2.0
// Checks the table of functions of a device plug-in and completes it: see table.c.
#ifndef MF_DEVICE_TABLE_H
#define MF_DEVICE_TABLE_H

#include "memfabric/mf_device.h"

/** Copy `in` to `out` with a refusing function for each optional member that is missing. `who`
 * names the plug-in in errors. A table that is smaller than ours (an older library's) lacks its
 * tail; the tail of a larger one is not looked at. SMEM_INVALID_PARAM when abi or size cannot be,
 * or a required member is missing: the sentence names it. */
int mf_device_table_complete(const char *who, const struct mf_device_ops *in,
                             struct mf_device_ops *out);

#endif
