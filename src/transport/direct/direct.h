// SPDX-License-Identifier: Apache-2.0
// The transport of one host: memory of peers is mapped, copies are the caller's own (or its
// device's), and the control pages fence them. This header: the table, for the registry.
#ifndef MF_TRANSPORT_DIRECT_DIRECT_H
#define MF_TRANSPORT_DIRECT_DIRECT_H

#include "memfabric/mf_transport.h"

/** Operators SDMA and HOST_SHM. */
extern const struct mf_transport_ops mf_direct_ops;

/** For mfcli info: does the kernel let processes of one user read each other's memory? `note` says
 * what is in the way, with the remedy. */
int mf_direct_vm_explain(char *value, size_t value_cap, char *note, size_t note_cap);

#endif
