// SPDX-License-Identifier: Apache-2.0
// Reading the limits of memory from a tree of files like that of the system, so that a test can
// give its own.
#ifndef MF_GVA_AVAILABLE_H
#define MF_GVA_AVAILABLE_H

#include <stddef.h>
#include <stdint.h>

/** mf_memory_available() with `root` in front of every path ("" is the system). */
uint64_t mf_memory_available_in(const char *root, char *why, size_t why_len);
/** What one NUMA node has left at most; UINT64_MAX when that is not known. */
uint64_t mf_node_available_in(const char *root, int node, char *why, size_t why_len);
/** What may still be allocated for memory that is bound to the node (-1: not bound). */
uint64_t mf_memory_available_on(int node, char *why, size_t why_len);

#endif
