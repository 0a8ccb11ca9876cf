/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file mf_info.h
 * What this machine and this build give: devices, transports, memory, limits, options, and why
 * something is not available. For tools; nothing here needs smem_bm_init.
 */
#ifndef MEMFABRIC_MF_INFO_H
#define MEMFABRIC_MF_INFO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MF_INFO_API __attribute__((visibility("default")))
#else
#define MF_INFO_API
#endif

/** "0.1.0". Static. Threads: any. Since: 0.1. */
MF_INFO_API const char *mf_version(void);

/** One fact. All strings are borrowed during the call. */
typedef struct mf_info_item {
    const char
        *section; /**< "library", "processor", "copy", "device", "transport", "memory", "limit" */
    const char *name;  /**< "sim", "direct", "huge pages free", ... */
    const char *value; /**< "available", "8 devices", "0", ... */
    const char *note;  /**< why not, how to get it; "" when there is nothing to say */
    int32_t available; /**< 1 yes, 0 no, -1 does not apply */
} mf_info_item_t;
typedef void (*mf_info_fn)(void *arg, const mf_info_item_t *item);
/** Call fn for each fact, sections together, in a fixed order. Takes some milliseconds (copy
 * kernels are measured). @return SMEM_OK, or the error of a bad MF_ variable (its sentence names
 * it). Since: 0.1. */
MF_INFO_API int32_t mf_info_visit(mf_info_fn fn, void *arg);

/** One option of the library. Strings are borrowed during the call. */
typedef struct mf_info_option {
    const char *name; /**< "gva.base" */
    const char *env;  /**< "MF_GVA_BASE" */
    const char *type; /**< "number", "switch", "text" */
    const char *unit; /**< "bytes", "ms", "" */
    const char *default_value;
    const char *value; /**< in this process */
    const char *help;
    int32_t is_default;
} mf_info_option_t;
typedef void (*mf_info_option_fn)(void *arg, const mf_info_option_t *option);
/** Call fn for each option. @return as mf_info_visit. Since: 0.1. */
MF_INFO_API int32_t mf_info_visit_options(mf_info_option_fn fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
