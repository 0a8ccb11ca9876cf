// SPDX-License-Identifier: Apache-2.0
// The one table of trace points. MF_POINT(id, module, number, name, counts_bytes): the public
// number of a point is module << 16 | number and never changes; its place in the table may. No
// include guard: an X-macro table.

/* 1: the service and its pools */
MF_POINT(BM_INIT, 1, 1, "BM_INIT", 0)
MF_POINT(BM_UNINIT, 1, 2, "BM_UNINIT", 0)
MF_POINT(BM_CREATE, 1, 3, "BM_CREATE", 0)
MF_POINT(BM_DESTROY, 1, 4, "BM_DESTROY", 0)
MF_POINT(BM_JOIN, 1, 5, "BM_JOIN", 0)
MF_POINT(BM_LEAVE, 1, 6, "BM_LEAVE", 0)
MF_POINT(BM_EXTEND, 1, 7, "BM_EXTEND", 1)
MF_POINT(BM_PTR, 1, 8, "BM_PTR", 0)
MF_POINT(BM_TRANSLATE, 1, 9, "BM_TRANSLATE", 0)
MF_POINT(BM_REGISTER, 1, 10, "BM_REGISTER_MEM", 1)
MF_POINT(BM_UNREGISTER, 1, 11, "BM_UNREGISTER_MEM", 0)

/* 2: copies. The direction is that of the addresses: put is from this process into the pool. */
MF_POINT(COPY_LOCAL, 2, 4, "BM_COPY_LOCAL", 1) /* + 1: into a pool, + 2: out of one */
MF_POINT(COPY_PUT, 2, 1, "BM_COPY_PUT", 1)
MF_POINT(COPY_GET, 2, 2, "BM_COPY_GET", 1)
MF_POINT(COPY_GLOBAL, 2, 3, "BM_COPY_GLOBAL", 1)
MF_POINT(COPY_REFUSED, 2, 5, "BM_COPY_REFUSED", 0)
MF_POINT(COPY_BATCH, 2, 6, "BM_COPY_BATCH", 1)
MF_POINT(COPY_ASYNC, 2, 7, "BM_COPY_ASYNC", 1)
MF_POINT(COPY_QUEUED, 2, 8, "BM_COPY_QUEUED", 1)
MF_POINT(BM_WAIT, 2, 9, "BM_WAIT", 0)

/* 3: requests and prepared batches */
MF_POINT(XCOPY_SUBMIT, 3, 1, "XCOPY_SUBMIT", 1)
MF_POINT(XCOPY_WAIT, 3, 2, "XCOPY_WAIT", 0)
MF_POINT(PREPARED_COMPILE, 3, 3, "PREPARED_COMPILE", 0)
MF_POINT(PREPARED_SUBMIT, 3, 4, "PREPARED_SUBMIT", 1)
MF_POINT(PREPARED_RUN, 3, 5, "PREPARED_RUN", 1)

/* 4: peers */
MF_POINT(PEER_ATTACH, 4, 1, "PEER_ATTACH", 0)
MF_POINT(PEER_DEATH, 4, 2, "PEER_DEATH", 0)

/* 5: the config store */
MF_POINT(STORE_REQUEST, 5, 1, "STORE_REQUEST", 0)
