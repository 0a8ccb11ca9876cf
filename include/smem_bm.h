/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file smem_bm.h
 * Big memory: the ranks of a world give DRAM and device memory to pools; a pool is one range of
 * global virtual addresses (GVA), the same in every process; copies move bytes between any two
 * places of it, or between it and a process's own memory.
 *
 * Order of calls: smem_bm_config_init, smem_bm_init, smem_bm_create, smem_bm_join, copies,
 * smem_bm_leave, smem_bm_destroy, smem_bm_uninit. Many objects may be alive in a process. Handles
 * are checked: a stale or made-up one gets SMEM_INVALID_PARAM. Arguments that are wrong by
 * themselves (NULL, out of range) are refused first, then SMEM_NOT_INIT, then the handle is looked
 * up; nothing is done before all is checked.
 *
 * After fork the child has no service and no objects, and the pools are not mapped in it: every
 * call returns SMEM_NOT_INIT until the child calls smem_bm_init itself.
 *
 * Options that are named below (fence.wait_ms, ...) are variables MF_*; docs/options.md lists them.
 */
#ifndef MEMFABRIC_SMEM_BM_H
#define MEMFABRIC_SMEM_BM_H

#include "smem.h"
#include "smem_bm_def.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the service -------------------------------------------------------------------------- */

/**
 * Fill a configuration with the defaults.
 *
 * Timeouts 120, 120 and 900 s; startConfigStoreServer, unifiedAddressSpace and autoRanking true;
 * rankId 65535; all else zero, padding too. Does not block.
 *
 * @param config written; the caller's
 * @return SMEM_OK; SMEM_INVALID_PARAM when config is NULL.
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_config_init(smem_bm_config_t *config);

/**
 * Start the service: meet the other ranks in the config store and get a rank.
 *
 * autoRanking true: the store hands out a free rank, 0, 1, 2, ... in order of arrival in a fresh
 * world; with startConfigStoreServer the process also serves the store when the URL's host is an
 * address of this machine and nobody serves there yet. autoRanking false: the rank is
 * config->rankId, and with startConfigStoreServer rank 0 serves the store. startConfigStoreOnly:
 * the process serves the store and gets no rank; it cannot create objects. A second call, while the
 * service runs, does nothing and returns SMEM_OK.
 *
 * Blocks until the rank is held, at most config->initTimeout seconds; while nothing listens at the
 * URL it tries again. It waits for no other rank. A rank whose holder was killed is free again
 * after the option store.session_ms.
 *
 * @param storeURL  `tcp://a.b.c.d:port` or `tcp://[v6]:port`; see smem_create_config_store().
 *                  Borrowed.
 * @param worldSize most ranks, 1..SMEM_WORLD_SIZE_MAX; the same on all ranks
 * @param deviceId  ordinal of this process's device; not looked at where there is no device plug-in
 * @param config    from smem_bm_config_init(), changed as wished. Borrowed.
 * @return SMEM_OK; SMEM_INVALID_PARAM (an argument or member is NULL or out of range, a timeout is
 *         0, unifiedAddressSpace is false, rankId is not below worldSize, the URL does not parse,
 *         the world was started with another size, the device does not exist, a variable MF_* has a
 *         bad value); SMEM_TIMEOUT (no store, or no rank, in time); SMEM_DUPLICATED (the rank is
 *         held by a living process, which the sentence names); SMEM_NO_RESOURCES (all ranks of the
 *         world are taken, or no descriptors or threads are left); SMEM_RES_IN_USE (this process
 *         has to serve the store and the address is occupied); SMEM_ERROR (`etcd://` and `reg://`
 *         URLs and TLS, which this version does not support; a failure of the system);
 *         SMEM_MALLOC_FAILED. After a failure nothing is left running.
 * Threads: any; calls at the same time are taken one after the other. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_init(const char *storeURL, uint32_t worldSize, uint16_t deviceId,
                            const smem_bm_config_t *config);

/**
 * End the service.
 *
 * Objects that are left are destroyed as by smem_bm_destroy(), the rank is given back, and a config
 * store that smem_bm_init() started ends. Waits for calls of other threads that are under way, then
 * takes milliseconds beside unmapping. Without a service it does nothing but leave a sentence
 * (SMEM_NOT_INIT).
 *
 * @param flags reserved, ignored; pass 0
 * Threads: any, but not from a callback of the library. Since: 0.1 (MemFabric 1.0).
 */
MF_API void smem_bm_uninit(uint32_t flags);

/**
 * This process's rank. Does not block.
 *
 * @return 0..worldSize - 1; UINT32_MAX when the service is not initialised or the process holds no
 *         rank.
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API uint32_t smem_bm_get_rank_id(void);

/**
 * Tell where the config store is from now on.
 *
 * The present connection is kept; the next time it is lost, the new address is tried. Does not
 * block.
 *
 * @param storeURL as in smem_bm_init(). Borrowed.
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or does not parse); SMEM_NOT_INIT; SMEM_ERROR for
 *         `etcd://` and `reg://`; SMEM_MALLOC_FAILED.
 * Threads: any. Since: 0.1 (MemFabric 1.1).
 */
MF_API int32_t smem_bm_update_store_url(const char *storeURL);

/**
 * As smem_bm_update_store_url(), but leave the present connection and connect to the new address
 * now.
 *
 * Returns before the new connection stands. The rank and the objects are kept: a store that does
 * not know them is told, and the store that was left keeps what this rank has there for 30 s, so
 * that ranks that have not moved yet do not take it for dead; all should move within the option
 * store.session_ms. A connection that leads to the address already is kept. Does not block.
 *
 * @param ip   numeric IPv4 or IPv6 address. Borrowed.
 * @param port 1..65535
 * @return SMEM_OK; SMEM_INVALID_PARAM (ip NULL or not an address, port 0); SMEM_NOT_INIT;
 *         SMEM_MALLOC_FAILED.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API int32_t smem_bm_update_store_server(const char *ip, uint16_t port);

/* ---- objects ------------------------------------------------------------------------------ */

/**
 * Create a pool, or this rank's part of it; every rank that uses the pool does so.
 *
 * As smem_bm_create2() with both maxima equal to the local sizes, no tags, and no descriptor; the
 * flag SMEM_BM_FLAG_CREATE_WITH_SHM has no meaning here and is ignored.
 *
 * @param id            number of the pool, 0..63, the same on all ranks
 * @param memberSize    ignored; members are the ranks that join
 * @param dataOpType    operators, see smem_bm_data_op_type
 * @param localDRAMSize bytes of DRAM that this rank gives, a multiple of 2 MiB, at most 2 TiB
 * @param localHBMSize  bytes of device memory, a multiple of 2 MiB, at most 64 GiB
 * @param flags         SMEM_BM_FLAG_* and the NUMA node, see smem_bm_create_option_t
 * @return the handle, or NULL; see smem_bm_create2().
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API smem_bm_t smem_bm_create(uint32_t id, uint32_t memberSize, smem_bm_data_op_type_t dataOpType,
                                uint64_t localDRAMSize, uint64_t localHBMSize, uint32_t flags);

/**
 * Create a pool, or this rank's part of it, with all options.
 *
 * The first rank lays down the pool's layout in the config store (address, maxima, world size);
 * each further one must agree with it as long as another rank has the pool open. The address range
 * is reserved without overwriting anything that is mapped. With enable56BitsGva, the option
 * gva.translate=always, or when worldSize * (maxDramSize + maxHbmSize) does not fit into the option
 * gva.span, the pool is translated: its GVAs lie above the addresses of any process, and each
 * process has what it maps where it has room. This rank's memory is allocated, zeroed
 * and really there (running out is an error here, never a signal later), and may be used at once by
 * this process. Others see it after smem_bm_join(). Blocks for as long as allocation takes, at most
 * config.createTimeout seconds. After a failure nothing is left: the id and the addresses are free
 * again.
 *
 * @param id     number of the pool, 0..63, the same on all ranks
 * @param option what it is made of. Borrowed.
 * @return the handle, owned: end it with smem_bm_destroy(). NULL on failure; then
 *         smem_get_last_err_code() is SMEM_NOT_INIT; SMEM_INVALID_PARAM (option NULL; id above 63;
 *         a size that is no multiple of 2 MiB, above its limit or above its maximum; both maxima 0;
 *         no known or an unknown bit in dataOpType or flags; a tag or tagOpInfo that is not as
 *         described there, with the character where; a NUMA node that does not exist; a
 *         layout or another enable56BitsGva than that of the ranks that have it open: the sentence
 *         has both; gva.translate is no word that it knows, or never and contradicted;
 *         dramShmFd negative, no file, not writable, or one that cannot be sealed);
 *         SMEM_DUPLICATED (this process has a pool with this id); SMEM_NOT_STARTED (the process
 *         only serves the store); SMEM_NOT_EXIST (device memory where no device is: the sentence
 *         says how to get one); SMEM_RES_IN_USE (the address range is taken: by which mapping);
 *         SMEM_NO_RESOURCES (no room in the address space, no descriptor left); SMEM_MALLOC_FAILED
 *         (memory or control-group limit); SMEM_TIMEOUT; SMEM_ERROR (no transport for any
 *         operator).
 * Threads: any. Since: 0.1 (MemFabric 1.1).
 */
MF_API smem_bm_t smem_bm_create2(uint32_t id, const smem_bm_create_option_t *option);

/**
 * End an object: leave the pool if joined, give its memory and addresses back.
 *
 * Calls of other threads on the handle that are under way end first; later ones get
 * SMEM_INVALID_PARAM. Asynchronous copies that have not begun are dropped. Peers are told, as by
 * smem_bm_leave(). When it returns, no byte of a peer can land in memory that is used again. Takes
 * milliseconds beside unmapping; waits at most the option fence.wait_ms for peers' copies under
 * way. Copies on external streams that have not begun are dropped, and their streams go on. A group
 * event handler that runs is waited for; when it does not return within the option copy.wait_ms,
 * nothing is destroyed, smem_get_last_err_code() is SMEM_RES_IN_USE, and the handle stays valid.
 * NULL, a stale handle or no service does nothing but leave a sentence as last error. When a peer
 * may still write to the memory of dramShmFd, smem_get_last_err_code() is SMEM_RES_IN_USE
 * afterwards: the library keeps its duplicate of the descriptor, the mapping, the id and the
 * addresses, and the memory must not be used for anything else before that peer has ended.
 *
 * @param handle from smem_bm_create(); stale afterwards
 * Threads: any, but not from a callback of the library. Since: 0.1 (MemFabric 1.0).
 */
MF_API void smem_bm_destroy(smem_bm_t handle);

/**
 * Give this rank's memory to the pool and become a member.
 *
 * When it returns, all ranks that have joined before can be reached, and these reach this rank;
 * ranks that join later become reachable by themselves. Ranks whose tags have no operator with this
 * rank's (see smem_bm_create_option_t) are passed over. What this process wrote to its own part
 * before is there. There is no event "all have joined": a barrier is the application's, or it looks
 * at SMEM_NOT_CONNECTED. Joining again after smem_bm_leave() is allowed; a rank that has joined
 * already gets SMEM_OK. Blocks at most config.controlOperationTimeout seconds, also while the store
 * is away.
 *
 * @param handle the object
 * @param flags  reserved, ignored; pass 0
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle); SMEM_NOT_INIT; SMEM_TIMEOUT (the
 *         store or a member did not answer: the sentence says which; the rank has not joined);
 *         SMEM_RES_IN_USE (a leave was not completed, see smem_bm_leave());
 *         SMEM_NOT_CONNECTED (this rank was declared dead); SMEM_NO_RESOURCES; SMEM_MALLOC_FAILED;
 *         SMEM_ERROR (no operator reaches a member: the sentence says what was tried and why not).
 * Threads: any; joins and leaves of one object go one after the other. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_join(smem_bm_t handle, uint32_t flags);

/**
 * Take this rank's memory out of the pool and stop being a member.
 *
 * From then on peers' copies from and to this rank fail with SMEM_NOT_CONNECTED, and its own copies
 * with SMEM_NOT_STARTED. This rank's part is replaced by fresh, zeroed memory at the same address,
 * since pages that peers have seen are never used again: save what is needed before. The next join
 * publishes the fresh memory. A rank that has not joined gets SMEM_OK. Blocks until no peer's byte
 * can land any more: peers' copies under way are waited for at most the option fence.wait_ms, then
 * they land in the pages given up. What smem_bm_extend_local_mem() added stays. Memory of dramShmFd
 * is the caller's: it keeps its bytes, and the next join publishes it again. Therefore a peer that
 * neither ends its copy nor dies in that time makes the call fail with SMEM_RES_IN_USE, which names
 * the rank; this rank is no member any more, but has to call smem_bm_leave() again, until it
 * succeeds, before it joins or extends.
 *
 * @param handle the object
 * @param flags  reserved, ignored; pass 0
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle); SMEM_NOT_INIT; SMEM_TIMEOUT (the
 *         config store could not be told within config.controlOperationTimeout; the memory is
 *         withdrawn all the same); SMEM_MALLOC_FAILED or SMEM_NO_RESOURCES (no fresh memory: this
 *         rank's part is empty, and join fails with the same code until there is); SMEM_RES_IN_USE
 *         (see above; only with dramShmFd).
 * Threads: any; joins and leaves of one object go one after the other. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_leave(smem_bm_t handle, uint32_t flags);

/**
 * Make this rank's part of the pool larger, up to the maximum.
 *
 * The new memory follows what this rank gives already, zeroed and really there, in one piece; a
 * rank can add 255 pieces of each kind. Copies and batches cross the seams. Before
 * smem_bm_join() it is a matter of this process alone. After it, peers of this host that have
 * this rank's memory have the new part when the call returns; the others get it with the first
 * call that needs it. A smem_bm_leave() keeps the size. A failure leaves everything as it was.
 * Blocks for as long as the memory takes, and at most config.controlOperationTimeout seconds for
 * the config store; a peer that does not answer delays it by at most the option peer.connect_ms.
 *
 * @param handle  the object
 * @param memType SMEM_MEM_TYPE_DEVICE or SMEM_MEM_TYPE_HOST
 * @param size    bytes to add, a positive multiple of 2 MiB
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle, another type, size 0 or no
 *         multiple); SMEM_NOT_INIT; SMEM_ERROR (beyond maxDramSize or maxHbmSize, or beyond the
 *         2 TiB or 64 GiB of one rank: the sentence has what there is, what is wanted and the
 *         maximum); SMEM_MALLOC_FAILED (not enough memory: how much there is, and which limit
 *         says so); SMEM_NO_RESOURCES (no piece or descriptor left); SMEM_NOT_EXIST (device
 *         memory where no device is); SMEM_TIMEOUT or SMEM_NOT_CONNECTED (the config store could
 *         not be told; this rank was declared dead); SMEM_RES_IN_USE (a leave was not completed,
 *         see smem_bm_leave()).
 * Threads: any; goes one after the other with joins and leaves of the object.
 * Since: 0.2 (MemFabric 1.1).
 */
MF_API int32_t smem_bm_extend_local_mem(smem_bm_t handle, smem_bm_mem_type_t memType,
                                        uint64_t size);

/* ---- addresses ---------------------------------------------------------------------------- */

/**
 * How much memory this rank gives to the pool. Does not block.
 *
 * @param handle  the object
 * @param memType SMEM_MEM_TYPE_DEVICE or SMEM_MEM_TYPE_HOST
 * @return bytes; 0 when it gives none, and on failure: then smem_get_last_err_code() is
 *         SMEM_INVALID_PARAM (NULL or stale handle, another type) or SMEM_NOT_INIT.
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API uint64_t smem_bm_get_local_mem_size_by_mem_type(smem_bm_t handle,
                                                       smem_bm_mem_type_t memType);

/**
 * Where a rank's part of the pool starts: the GVA that copies take.
 *
 * It is `base of the kind + rank * maximum of the kind`, known whether or not the rank has joined.
 * Host memory of this rank, and of joined ranks on the same host (unless the option peer.map is
 * "never"), can also be loaded and stored by the CPU there; smem_bm_gva_to_va() tells. Device
 * memory and other hosts' memory cannot, and nothing of a translated pool (see smem_bm_create2()):
 * that faults. A peer of this host that is not mapped yet is mapped by this call, which then
 * blocks, at most the option peer.connect_ms; that it could not be mapped is no failure of this
 * call.
 *
 * @param handle     the object
 * @param memType    SMEM_MEM_TYPE_DEVICE or SMEM_MEM_TYPE_HOST
 * @param peerRankId rank, 0..worldSize - 1; may be this rank
 * @return the address, borrowed: valid until the object is destroyed. NULL when the pool has no
 *         memory of this kind, and on failure: SMEM_INVALID_PARAM (NULL or stale handle, another
 *         type, rank not below worldSize) or SMEM_NOT_INIT.
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API void *smem_bm_ptr_by_mem_type(smem_bm_t handle, smem_bm_mem_type_t memType,
                                     uint16_t peerRankId);

/**
 * The address at which this process itself reaches a GVA: for the CPU, or for its device.
 *
 * The same number, except in a translated pool (see smem_bm_create2()) and for memory of a device
 * that has it elsewhere. There it is good to the end of one piece of the owner's memory
 * (smem_bm_extend_local_mem() adds pieces), stays the same when the owner comes back with the same
 * pieces, and copies take it for the GVA. Blocks only when a peer of this host has to be mapped
 * first, at most the option peer.connect_ms.
 *
 * @param handle    the object
 * @param gva       an address within the pool
 * @param vaMemType SMEM_MEM_TYPE_LOCAL_HOST: for load and store by the CPU;
 *                  SMEM_MEM_TYPE_LOCAL_DEVICE: for this process's device
 * @param va        receives the address, borrowed: valid until the owner leaves or dies (then loads
 *                  read zero and stores are lost), or the object is destroyed. NULL is written on
 *                  failure.
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle, gva outside of the pool, another type,
 *         va NULL); SMEM_NOT_INIT; SMEM_NOT_STARTED (another rank's memory, before
 *         smem_bm_join()); SMEM_NOT_CONNECTED (the owner has not joined, has left, or died; or this
 *         process has no address space for its memory); SMEM_TIMEOUT; SMEM_ERROR (not reachable
 * that way: other host, no device, device memory for the CPU, a peer's memory with the option
 * peer.map at "never", beyond the memory that the owner gave). Threads: any. Since: 0.1
 * (MemFabric 1.1).
 */
MF_API int32_t smem_bm_gva_to_va(smem_bm_t handle, void *gva, smem_bm_mem_type_t vaMemType,
                                 void **va);

/**
 * Whose memory a GVA is. Does not block, and does not look whether the rank has joined.
 *
 * @param handle the object
 * @param gva    a GVA, or an address of this process that smem_bm_gva_to_va() gave
 * @return the rank. A value of SMEM_WORLD_SIZE_MAX or more is a failure:
 *         (uint32_t)SMEM_INVALID_PARAM (NULL or stale handle), (uint32_t)SMEM_NOT_INIT, UINT32_MAX
 *         (outside of the pool).
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API uint32_t smem_bm_get_rank_id_by_gva(smem_bm_t handle, void *gva);

/* ---- copies ------------------------------------------------------------------------------- */

/**
 * Copy bytes between two places, each in the pool or in this process's own memory.
 *
 * Ranges are checked before a byte moves: each must lie within memory that a member gave (it may go
 * over from one part of a rank's memory to the next, not from rank to rank), or be the caller's;
 * the kinds must be what `type` says; source and destination must not overlap. On return the bytes
 * are at the destination and its owner sees them. An aligned element of at most 8 bytes lands by
 * one store. There is no order between copies of different calls except that one began after the
 * other had returned.
 *
 * With SMEM_BM_FLAG_USE_EXTERNAL_STREAM, params->stream is a mf_device_stream_t of the service's
 * device, and the copy stands in the order of that stream: it begins when all that was queued there
 * before is done, and what is queued there later waits for it. The call returns at once; wait with
 * mf_device_stream_synchronize(), which also returns a failure of the copy. Whatever happens, the
 * stream goes on when the copy has ended or failed, at the latest after the option copy.wait_ms
 * from when the stream got to it. Copies of different streams do not wait for each other. When the
 * pool is destroyed, or this rank leaves it, before the stream gets there, the copy fails.
 *
 * With ASYNC_COPY_FLAG the call returns when the copy is queued; smem_bm_wait() ends it, on any
 * thread, and also tells what was wrong with its addresses. Until then the source must not change
 * and the destination is undefined. Without it, blocks until done: for a peer that dies, at most
 * two seconds more; for a device at most the option copy.wait_ms.
 *
 * After a failure other than of the arguments it is not known which bytes of the destination have
 * changed.
 *
 * @param handle the object
 * @param params one copy. Borrowed during the call; what it points at, until the copy is done.
 * @param type   direction; an L side must be device memory, an H side host memory of this process
 * @param flags  ASYNC_COPY_FLAG, COPY_EXTEND_FLAG (a hint), SMEM_BM_FLAG_USE_EXTERNAL_STREAM (then
 *               ASYNC_COPY_FLAG adds nothing); unknown bits are ignored
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle, params, src or dest NULL, dataSize 0
 *         or above 2^46, no such type, an address or range that is not as said above; an external
 *         stream that is NULL, stale, of another device, or given to a service without a device);
 *         SMEM_NOT_INIT; SMEM_NOT_STARTED (this rank has not joined); SMEM_NOT_CONNECTED (the rank
 *         at an end has not joined, has left, or died: the sentence names it and says which);
 *         SMEM_TIMEOUT; SMEM_NO_RESOURCES (more threads copy at once, or more asynchronous copies
 *         are pending, than the library or the stream has room for); SMEM_MALLOC_FAILED;
 *         SMEM_ERROR (the tags of the two ranks have no operator: the sentence says what to write
 *         into tagOpInfo; or the device failed).
 * Threads: any, at the same time too. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_copy(smem_bm_t handle, smem_copy_params *params, smem_bm_copy_type_t type,
                            uint32_t flags);

/**
 * Many copies in one call. Elements may belong to different ranks and, with SMEMB_COPY_AUTO, have
 * different directions.
 *
 * All elements are checked first: when one is wrong, nothing is copied and the sentence names it.
 * Elements are done in any order, some at the same time: targets must not overlap other elements'
 * ranges. With ASYNC_COPY_FLAG the three arrays have been read when the call returns. Otherwise as
 * smem_bm_copy().
 *
 * @param handle the object
 * @param params the batch; arrays of batchSize each. Borrowed during the call.
 * @param type   direction of all elements
 * @param flags  as in smem_bm_copy()
 * @return as smem_bm_copy(); SMEM_INVALID_PARAM also when an array is NULL, batchSize is 0 or above
 *         2^24, or an element has a NULL address or length 0. When several elements fail on the
 *         way, the code of the first of them; which others are done is not known
 *         (smem_bm_copy_batch_partial_succeed() tells).
 * Threads: any, at the same time too. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_copy_batch(smem_bm_t handle, smem_batch_copy_params *params,
                                  smem_bm_copy_type_t type, uint32_t flags);

/**
 * As smem_bm_copy_batch(), but every element gets its own result, and those that can be done are
 * done.
 *
 * Blocks until all are done or have failed: ASYNC_COPY_FLAG is ignored, since the results are there
 * on return.
 *
 * @param handle the object
 * @param params the batch; arrays of batchSize each. Borrowed during the call.
 * @param type   direction of all elements
 * @param flags  as in smem_bm_copy()
 * @param result result->results: batchSize codes of the caller, each written: SMEM_OK, or what
 *               smem_bm_copy() would have returned; result->batchSize must equal params->batchSize
 * @return SMEM_OK when all are done; SMEM_PARTIAL_FAILED when at least one failed (the sentence is
 *         about the first); SMEM_INVALID_PARAM (an argument, an array or result->results is NULL,
 *         the two sizes differ, no such type, SMEM_BM_FLAG_USE_EXTERNAL_STREAM), SMEM_NOT_INIT,
 *         SMEM_NOT_STARTED, SMEM_MALLOC_FAILED: nothing was copied and no result written.
 * Threads: any, at the same time too. Since: 0.1 (MemFabric 1.1 only).
 */
MF_API int32_t smem_bm_copy_batch_partial_succeed(smem_bm_t handle, smem_batch_copy_params *params,
                                                  smem_bm_copy_type_t type, uint32_t flags,
                                                  smem_batch_copy_result *result);

/**
 * Wait for the asynchronous copies of this object.
 *
 * All that any thread of this process started before this call are done when it returns SMEM_OK.
 * Blocks at most the option copy.wait_ms. With nothing pending it returns at once. It does not wait
 * for copies on an external stream, but tells their failures, too.
 *
 * @param handle the object
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle); SMEM_NOT_INIT; SMEM_TIMEOUT (some are
 *         still under way; wait again); else the code of the first copy that failed since the last
 *         wait, with its sentence.
 * Threads: any, at the same time too. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_wait(smem_bm_t handle);

/**
 * Make copies from and to a buffer of this process faster, where the device or the network can
 * profit.
 *
 * Never needed: unregistered buffers can be copied too. The same buffer again is SMEM_OK. The
 * memory stays the caller's and must stay mapped until smem_bm_unregister_user_mem() or
 * smem_bm_destroy(). Blocks for as long as the system takes to pin it.
 *
 * @param handle the object
 * @param addr   start of the buffer, host or device
 * @param size   bytes, 1..1 TiB
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle, addr 0, or a part of the buffer that
 *         is not mapped or cannot be read, which the sentence names); SMEM_NOT_INIT; SMEM_ERROR
 *         (size 0 or above 1 TiB, addr is registered with another size, the device refuses);
 *         SMEM_NO_RESOURCES (4,096 buffers are registered); SMEM_MALLOC_FAILED; SMEM_RES_IN_USE
 *         (another thread is at this buffer and does not end within the option fence.wait_ms).
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_register_user_mem(smem_bm_t handle, uint64_t addr, uint64_t size);

/**
 * Undo smem_bm_register_user_mem(), before the buffer is freed.
 *
 * When it returns SMEM_OK, the library does not touch the buffer any more, except for copies that
 * the caller still waits for; and no peer reads it for a copy that ended with SMEM_TIMEOUT (option
 * peer.map). Blocks at most the option fence.wait_ms.
 *
 * @param handle the object
 * @param addr   as registered; an address that is not registered is SMEM_OK
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle, addr 0); SMEM_NOT_INIT;
 *         SMEM_RES_IN_USE (the rank that the sentence names still uses it: do not free it; it
 *         stays registered, call again later).
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_bm_unregister_user_mem(smem_bm_t handle, uint64_t addr);

/* ---- events and leaders ------------------------------------------------------------------- */

/**
 * Have a function called when another rank joins or leaves the pool, or dies, which counts as
 * leaving.
 *
 * It is told of each change once, in order, one call after the other, on a thread of the library
 * that is started by the first handler. It is told first of the ranks that are there already, as
 * joins, so that nothing is missed between joining and setting a handler. When this rank leaves,
 * all others have left as far as the handler is concerned; with its next join they come again. A
 * rank that comes back in another life leaves first. Changes that cancel each other out while the
 * handler is busy (a join and the leave behind it) are not told.
 *
 * The handler replaces the one before; NULL takes it away. The call returns when no call of the one
 * before runs any more (but for the one that makes this call, when it is made by the handler
 * itself), and blocks at most the option copy.wait_ms for that.
 *
 * The handler may call every function of the library but smem_bm_destroy() and smem_bm_uninit(),
 * which do nothing there but leave a sentence with SMEM_RES_IN_USE: they end the thread that it
 * runs on. It must not wait for a thread that destroys the object or sets another handler.
 *
 * @param handle  the object; joined or not
 * @param cb      see smem_bm_group_event_cb; NULL takes the handler away
 * @param context given to cb; the caller's, used until the handler is taken away or replaced, or
 * the object destroyed
 * @return SMEM_OK; SMEM_INVALID_PARAM (NULL or stale handle); SMEM_NOT_INIT; SMEM_RES_IN_USE (the
 *         handler before is still running: it is not called again, but its context must stay until
 *         it has returned); SMEM_NOT_EXIST (the object is being destroyed); SMEM_NO_RESOURCES (no
 *         thread) and SMEM_MALLOC_FAILED: the handler before stays.
 * Threads: any. Since: 0.2 (MemFabric 1.1).
 */
MF_API int32_t smem_bm_set_group_event_handler(smem_bm_t handle, smem_bm_group_event_cb cb,
                                               void *context);

/**
 * The address that the leader of several config stores offers to an upper layer. A `tcp://` store
 * is alone and has no leader: refuses. Does not block.
 *
 * @param ip    receives a numeric address and a NUL; the caller's. Not written in this version.
 * @param ipLen bytes of ip, at least 64
 * @param port  receives the port; not written in this version
 * @return SMEM_INVALID_PARAM (ip or port NULL, ipLen below 64); SMEM_NOT_INIT; else SMEM_ERROR with
 *         a sentence that says why.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API int32_t smem_bm_get_bindable_leader_address(char *ip, size_t ipLen, uint16_t *port);

/**
 * As smem_bm_get_bindable_leader_address(), for a process that is no rank. Refuses for the same
 * reason.
 *
 * Connects to nothing and keeps nothing. Does not block.
 *
 * @param storeUrl  the store. Borrowed.
 * @param tlsOption TLS to the store, or NULL. Borrowed.
 * @param worldSize of the world, 1..SMEM_WORLD_SIZE_MAX
 * @param ip        receives a numeric address and a NUL; the caller's. Not written in this version.
 * @param ipLen     bytes of ip, at least 64
 * @param port      receives the port; not written in this version
 * @return SMEM_INVALID_PARAM (storeUrl, ip or port NULL, the URL does not parse, worldSize out of
 *         range, ipLen below 64); else SMEM_ERROR with a sentence that says why.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API int32_t smem_bm_get_bindable_leader_address_by_store_url(const char *storeUrl,
                                                                const smem_tls_config *tlsOption,
                                                                uint32_t worldSize, char *ip,
                                                                size_t ipLen, uint16_t *port);

/**
 * Drop what smem_bm_get_bindable_leader_address_by_store_url() keeps for its next call: nothing in
 * this version. Does not block and never fails.
 *
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API void smem_bm_release_leader_address_store(void);

/**
 * Have a function called when another process leads the config stores. A `tcp://` store is alone
 * and has no leader: refuses.
 *
 * The function is not kept and not called. Does not block.
 *
 * @param cb       see smem_bm_leader_change_cb; NULL clears, which is SMEM_OK
 * @param userData given to cb; the caller's
 * @return SMEM_NOT_INIT; SMEM_OK when cb is NULL; else SMEM_ERROR with a sentence that says why.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API int32_t smem_bm_register_leader_change_callback(smem_bm_leader_change_cb cb, void *userData);

#ifdef __cplusplus
}
#endif
#endif
