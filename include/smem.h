/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file smem.h
 * What the services of MemFabric share: codes, flags, the config store that ranks meet in, log,
 * alarms, and the last error of a thread. A program includes it together with smem_bm.h.
 *
 * Calls return SMEM_OK (0) or a negative code. The code says the kind of failure; the sentence of
 * smem_get_last_err_msg() says what was tried, with which values and which peer, and what to do.
 */
#ifndef MEMFABRIC_SMEM_H
#define MEMFABRIC_SMEM_H

#include "smem_def.h"

/** Most ranks of a world. */
#define SMEM_WORLD_SIZE_MAX 1024U
/** Device number that means "no device". */
#define SMEM_INVALID_DEV_ID (-1)

/* Flags of a copy (smem_bm.h). The exact tokens matter: other headers of an application may define
 * the same macros again, which C allows only word by word. */
/** Start the copy and return; completion is waited for with smem_bm_wait(). */
#define ASYNC_COPY_FLAG (1UL << (0))
/** Asks for an accelerator's own copy engine where one exists; a hint, never changes the result. */
#define COPY_EXTEND_FLAG (1UL << (1))
/** The copy takes its place in the stream (mf_device.h) that the member `stream` of the copy's
 * parameters names; without this flag that member is never read. */
#define SMEM_BM_FLAG_USE_EXTERNAL_STREAM (1UL << (2))

/* Flags of smem_create_config_store(). */
/** Do not wait for known ranks to announce themselves again when a store restarts. */
#define SMEM_STORE_SKIP_RECOVER (1UL << (0))

/* Result codes. -2010, -2011 and -2013 are not used. */
#define SMEM_OK               0       /**< done */
#define SMEM_ERROR            (-1)    /**< failed, or not supported; the sentence says which */
#define SMEM_INVALID_PARAM    (-2000) /**< an argument is not valid; nothing was done */
#define SMEM_MALLOC_FAILED    (-2001) /**< out of memory */
#define SMEM_NO_RESOURCES     (-2002) /**< out of descriptors, pages, addresses, slots or threads */
#define SMEM_NOT_STARTED      (-2003) /**< this rank has not joined the object yet */
#define SMEM_TIMEOUT          (-2004) /**< the deadline passed */
#define SMEM_REPEAT_INVOKE    (-2005) /**< the call was made before and may be made only once */
#define SMEM_DUPLICATED       (-2006) /**< the id, name or range is taken */
#define SMEM_NOT_EXIST        (-2007) /**< no such object */
#define SMEM_NOT_INIT         (-2008) /**< the service is not initialised */
#define SMEM_RES_IN_USE       (-2009) /**< still in use; the sentence says by whom */
#define SMEM_PARTIAL_FAILED   (-2012) /**< some elements of a batch failed; see their own codes */
#define SMEM_NOT_CONNECTED    (-2014) /**< the rank has not joined, has left, or died */
#define SMEM_BUFFER_TOO_SMALL (-2015) /**< the caller's buffer is too small */

/* Codes of smem_set_extern_alarm(). */
/** The config store cannot be reached: copies go on, joins and leaves wait. Resumed when it can be
 * reached again. */
#define SMEM_ALARM_STORE_LOST 1U
/** A rank of a pool that this rank is in died or was declared dead. Resumed when no such rank is
 * missing any more: each has come back, or this rank has left its pool. */
#define SMEM_ALARM_PEER_DEAD 2U
/** This rank was declared dead; its calls fail. Resumed by smem_bm_uninit(). */
#define SMEM_ALARM_SELF_EXPIRED 3U
/** There was not enough memory for a pool: the call that wanted it failed, or, after a leave, this
 * rank's part is empty. Resumed when a pool gets its memory again. */
#define SMEM_ALARM_MEMORY_SHORT 4U

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Turns an encrypted password into its text. `plainTextLen` holds the capacity of `plainText` in
 * bytes and receives the length written. Returns 0 on success. Both forms below have one binary
 * interface.
 */
#ifdef __cplusplus
typedef int (*smem_decrypt_handler)(const char *cipherText, size_t cipherTextLen, char *plainText,
                                    size_t &plainTextLen);
#else
typedef int (*smem_decrypt_handler)(const char *cipherText, size_t cipherTextLen, char *plainText,
                                    size_t *plainTextLen);
#endif

/**
 * Version of the binary interface.
 *
 * @return `major << 16 | minor`, 0x00010003: layouts, values and symbols are those of MemFabric
 *         1.3. Versions with equal numbers can be exchanged without compiling again. Never fails.
 * Threads: any. Since: 0.1 (MemFabric 1.3).
 */
MF_API uint32_t smem_get_abi_version(void);

/**
 * Prepare the process: read and check the options (variables MF_*).
 *
 * Optional, and may be repeated: the first call that needs the options does the same. Starts no
 * thread and does not block.
 *
 * @param flags reserved, ignored; pass 0
 * @return SMEM_OK; SMEM_INVALID_PARAM when a variable MF_* has a value that is not allowed (the
 *         sentence names it and what is allowed); SMEM_MALLOC_FAILED.
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_init(uint32_t flags);

/**
 * Counterpart of smem_init().
 *
 * Ends nothing that is alive: services, objects and stores have their own calls for that. Does not
 * block, is harmless at any time and never fails.
 *
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API void smem_uninit(void);

/**
 * Start the config store, the small key-value service where ranks meet, in this process.
 *
 * The store listens at the URL and is served by a thread of its own, until
 * smem_destroy_config_store() or the end of the process. A URL that this process already serves is
 * left as it is: SMEM_OK. An address that is not loopback is taken as permission to be reached from
 * other hosts; one warning says so. Blocks until the store listens, which takes milliseconds, at
 * most the option store.request_ms.
 *
 * @param storeUrl `tcp://a.b.c.d:port` or `tcp://[v6]:port`, numeric; 0.0.0.0 and [::] listen at
 *                 every address; port 0 takes a free one (smem_config_store_get_cluster_status()
 *                 tells it). Borrowed.
 * @param flags    SMEM_STORE_SKIP_RECOVER or 0; unknown bits are ignored, since callers compiled
 *                 for an older form of this function pass nothing here. C++ callers may leave it
 *                 out.
 * @return SMEM_OK; SMEM_INVALID_PARAM when the URL is NULL or does not parse (the sentence says
 *         where); SMEM_RES_IN_USE when the address is occupied; SMEM_ERROR for `etcd://` and
 *         `reg://`, which this version does not support, when TLS was asked for (see
 *         smem_set_conf_store_tls()), and when the system refuses to listen; SMEM_NO_RESOURCES,
 *         SMEM_MALLOC_FAILED.
 * Threads: any. Since: 0.1 (MemFabric 1.0; flags since 1.1).
 */
MF_API int32_t smem_create_config_store(const char *storeUrl, uint64_t flags MF_DEFAULT(0));

/**
 * Stop a config store of this process.
 *
 * Its ranks notice at once: their copies go on, joins and leaves wait for a store until their
 * deadline. Blocks for milliseconds, until the store's thread has ended. A URL that this process
 * does not serve (or NULL) does nothing and leaves a sentence with SMEM_NOT_EXIST (or
 * SMEM_INVALID_PARAM) as last error.
 *
 * @param storeUrl as given to smem_create_config_store(), or with the port that was taken for port
 *                 0. Borrowed.
 * Threads: any, but not from a callback of the library. Since: 0.1 (MemFabric 1.1).
 */
MF_API void smem_destroy_config_store(const char *storeUrl);

/**
 * Name the foreign key-value service behind `reg://` URLs. Not supported in this version: refuses.
 *
 * Does not block; nothing of `op` is kept or called.
 *
 * @param op the service's functions; all but prefix_get are required. Borrowed.
 * @return SMEM_INVALID_PARAM when `op` or a required function is NULL; else SMEM_ERROR, with a
 *         sentence that says that only `tcp://` stores exist.
 * Threads: any. Since: 0.1 (MemFabric 1.1).
 */
MF_API int32_t smem_config_store_set_backend_op(const smem_conf_store_backend_op_t *op);

/**
 * Give all log lines to a function instead of stderr.
 *
 * @param func gets the level (as in smem_set_log_level()) and one line without line end, borrowed
 *             during the call. It is called on whatever thread logs, at times on several at once,
 *             never with a lock of the library held; it must not call the library. Stays until
 *             replaced.
 * @return SMEM_OK; SMEM_INVALID_PARAM when `func` is NULL.
 * Threads: any; a line under way may still go to the sink that was set before. Does not block.
 * Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_set_extern_logger(void (*func)(int level, const char *msg));

/**
 * Give alarms to functions instead of the log: conditions that an operator should know of.
 *
 * Both are called on a thread of the library or of a call under way, never with a lock held; they
 * must not call the library. They stay until replaced. An alarm whose condition still holds when
 * the service is ended is resumed then.
 *
 * @param alarm  gets the code, SMEM_ALARM_*, and a sentence, borrowed during the call, when the
 *               condition begins; SMEM_ALARM_PEER_DEAD once for each rank and pool
 * @param resume gets the code when the condition has ended
 * @return SMEM_OK; SMEM_INVALID_PARAM when one of them is NULL.
 * Threads: any. Does not block. Since: 0.1 (MemFabric 1.1).
 */
MF_API int32_t smem_set_extern_alarm(void (*alarm)(uint16_t code, const char *msg),
                                     void (*resume)(uint16_t code));

/**
 * Set what is logged; overrides the variable MF_LOG_LEVEL.
 *
 * @param level 0 debug, 1 info, 2 warn (the default), 3 error, 4 fatal: this level and above; 5
 *              trace: everything, down to single operations
 * @return SMEM_OK; SMEM_INVALID_PARAM when the level is not 0..5.
 * Threads: any. Does not block. Since: 0.1 (MemFabric 1.0; level 5 since 1.3).
 */
MF_API int32_t smem_set_log_level(int level);

/**
 * Ask for TLS on connections to the config store. Not supported in this version: asking is refused,
 * and remembered.
 *
 * After a refused request the process opens no config store and joins none in clear text: such
 * calls fail with SMEM_ERROR until TLS is switched off again. Does not block.
 *
 * @param enable       false switches the request off, true asks for TLS
 * @param tls_info     text of the form `name: value;`; not read. Borrowed.
 * @param tls_info_len bytes of tls_info
 * @return enable false: SMEM_OK. enable true: SMEM_ERROR with a sentence that says that TLS is not
 *         supported.
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_set_conf_store_tls(bool enable, const char *tls_info,
                                       const uint32_t tls_info_len);

/**
 * Give the private key for TLS to the config store. Not supported in this version: refuses.
 *
 * Nothing of the arguments is read, kept or logged, and `h` is not called. Does not block. Like
 * smem_set_conf_store_tls() with enable true it is remembered as a request for TLS.
 *
 * @param tls_pk        private key, PEM. Borrowed.
 * @param tls_pk_len    bytes of tls_pk
 * @param tls_pk_pw     password of the key, perhaps encrypted. Borrowed.
 * @param tls_pk_pw_len bytes of tls_pk_pw
 * @param h             decrypts the password; NULL when it is plain
 * @return SMEM_ERROR with a sentence that says that TLS is not supported.
 * Threads: any. Since: 0.1 (MemFabric 1.0).
 */
MF_API int32_t smem_set_config_store_tls_key(const char *tls_pk, const uint32_t tls_pk_len,
                                             const char *tls_pk_pw, const uint32_t tls_pk_pw_len,
                                             const smem_decrypt_handler h);

/**
 * The sentence of the last failure on this thread: what was tried, with which values and which
 * peer, the cause, and what to do.
 *
 * A call that succeeds leaves it alone, so look only after a failure. The failure of an
 * asynchronous copy is here on the thread whose smem_bm_wait() reported it.
 *
 * @return never NULL; "" when there was none. Borrowed: valid until this thread's next failure.
 * Threads: each has its own. Does not block. Since: 0.1 (MemFabric 1.0).
 */
MF_API const char *smem_get_last_err_msg(void);

/**
 * As smem_get_last_err_msg(), and forget it: the next question gets "" and code 0.
 *
 * @return never NULL. Borrowed: the text stays readable until this thread's next failure.
 * Threads: each has its own. Does not block. Since: 0.1 (MemFabric 1.0).
 */
MF_API const char *smem_get_and_clear_last_err_msg(void);

/**
 * The code of the last failure on this thread; for calls that return a handle or a pointer.
 *
 * @return a negative SMEM_* code, or SMEM_OK when there was none.
 * Threads: each has its own. Does not block. Since: 0.1 (MemFabric 1.2).
 */
MF_API int32_t smem_get_last_err_code(void);

#ifdef __cplusplus
}
#endif
#endif
