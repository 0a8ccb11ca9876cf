// SPDX-License-Identifier: Apache-2.0
// The tables of the device plug-ins that are part of the library.
#ifndef MF_DEVICE_BUILTINS_H
#define MF_DEVICE_BUILTINS_H

#include "memfabric/mf_device.h"

/** Emulates accelerators in host memory. */
extern const struct mf_device_ops mf_sim_device_ops;
/** Has no device; only probe and open are there. */
extern const struct mf_device_ops mf_none_device_ops;

#endif
