// SPDX-License-Identifier: Apache-2.0
// Checks of arguments that the calls of mf_xcopy.h share.
#ifndef MF_API_MF_XCOPY_CHECK_H
#define MF_API_MF_XCOPY_CHECK_H

#include "memfabric/mf_xcopy.h"

/** `what` names the structure in the sentence. */
int mf_xcopy_check_size(const char *call, const char *what, uint32_t size, size_t want);
int mf_xcopy_check_common(const char *call, const char *what, uint32_t count,
                          smem_bm_copy_type_t type);
int mf_xcopy_check_flags(const char *call, uint32_t flags);
int mf_xcopy_check_batch(const char *call, const mf_xcopy_batch_t *batch);

#endif
