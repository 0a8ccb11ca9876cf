/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file smem_def.h
 * Types that the common API (smem.h) needs: the table of a foreign key-value backend for the config
 * store and its result codes. Also what every public header shares: symbol visibility and the
 * checks of the binary layout. Include smem.h; this header comes with it.
 */
#ifndef MEMFABRIC_SMEM_DEF_H
#define MEMFABRIC_SMEM_DEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Marks what the shared library exports. */
#if defined(__GNUC__)
#define MF_API __attribute__((visibility("default")))
#else
#define MF_API
#endif

/** Default argument of a declaration: `= value` under C++, nothing under C. */
#ifdef __cplusplus
#define MF_DEFAULT(value) = value
#else
#define MF_DEFAULT(value)
#endif

/**
 * Layout checks. A struct that crosses the library boundary has the same size and the same offsets
 * in every release of one ABI version; a compiler that would lay it out otherwise stops here. C99
 * has no such check, there the macro only swallows its semicolon.
 */
#if defined(__cplusplus)
#define MF_STATIC_ASSERT(cond, text) static_assert(cond, text)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define MF_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#else
#define MF_STATIC_ASSERT(cond, text) struct mf_static_assert_needs_c11
#endif
#define MF_ASSERT_SIZE(type, bytes) \
    MF_STATIC_ASSERT(sizeof(type) == (bytes), "size of " #type " is not " #bytes)
#define MF_ASSERT_OFFSET(type, field, bytes) \
    MF_STATIC_ASSERT(offsetof(type, field) == (bytes), #type "." #field " is not at " #bytes)

/* Result codes of the functions of smem_conf_store_backend_op_t. */
#define SMEM_STORE_BACKEND_CODE_OK       0       /**< done */
#define SMEM_STORE_BACKEND_CODE_BASE     (-3000) /**< where the failures start */
#define SMEM_STORE_BACKEND_CODE_INTERNAL (-3000) /**< the backend failed */
#define SMEM_STORE_BACKEND_CODE_INVAL    (-3001) /**< an argument is not valid */
#define SMEM_STORE_BACKEND_CODE_BUFEX    (-3002) /**< the value is larger than the buffer */
#define SMEM_STORE_BACKEND_CODE_PERM     (-3003) /**< not allowed */
#define SMEM_STORE_BACKEND_CODE_NORES    (-3004) /**< out of memory or another resource */
#define SMEM_STORE_BACKEND_CODE_NOENT    (-3005) /**< the key does not exist */
#define SMEM_STORE_BACKEND_CODE_LOCKED   (-3006) /**< somebody else holds the lock */
#define SMEM_STORE_BACKEND_CODE_UNLOCKED (-3007) /**< the lock is not held */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * One query of keys by prefix: the backend calls `fill` for each key that starts with `prefix` and
 * is greater than `marker`, in ascending byte order, until `fill` returns false or the keys end.
 */
typedef struct smem_store_prefix_get_ctx {
    const char *prefix; /**< borrowed; NUL-terminated */
    const char *marker; /**< borrowed; last key already seen, NULL or "" to start at the first */
    void *context;      /**< passed to fill */
    /** Takes one pair; `value` has `size` bytes, borrowed during the call. False stops the query.
     */
    bool (*fill)(const char *key, const void *value, uint64_t size, void *context);
} smem_store_prefix_get_ctx_t;

/**
 * A key-value service that is to carry the config store (URLs `reg://...`). Every function returns
 * a SMEM_STORE_BACKEND_CODE_* unless said otherwise, may be called from any thread, and gets
 * NUL-terminated names. `handle` is what `create` gave.
 */
typedef struct smem_conf_store_backend_op {
    /** True when the service is shared by all machines of the cluster (then it can elect a leader).
     */
    bool (*distributed)(uint32_t flags);
    /** Open the service; `*handle` stays the backend's until destroy. */
    int32_t (*create)(const char *name, const char *prefix, uint32_t flags, void **handle);
    /** Close it; no call is under way any more. */
    void (*destroy)(void *handle);
    /** Set `key` to `size` bytes, replacing what is there. */
    int32_t (*put)(void *handle, const char *key, const void *value, uint64_t size, uint32_t flags);
    /** Copy at most `capacity` bytes to `value`; `*size` is the whole value's length in bytes. */
    int32_t (*get)(void *handle, const char *key, void *value, uint64_t capacity, uint32_t flags,
                   uint64_t *size);
    /** Optional (NULL: no queries by prefix). See smem_store_prefix_get_ctx_t. */
    int32_t (*prefix_get)(void *handle, const smem_store_prefix_get_ctx_t *ctx, uint32_t flags);
    /** Remove `key`. */
    int32_t (*remove)(void *handle, const char *key, uint32_t flags);
    /** Take the named lock; may block. */
    int32_t (*lock)(void *handle, const char *name, uint32_t flags);
    /** Take the named lock or return SMEM_STORE_BACKEND_CODE_LOCKED at once. */
    int32_t (*try_lock)(void *handle, const char *name, uint32_t flags);
    /** Give the named lock back. */
    int32_t (*unlock)(void *handle, const char *name, uint32_t flags);
} smem_conf_store_backend_op_t;

MF_ASSERT_SIZE(smem_store_prefix_get_ctx_t, 32);
MF_ASSERT_OFFSET(smem_store_prefix_get_ctx_t, prefix, 0);
MF_ASSERT_OFFSET(smem_store_prefix_get_ctx_t, marker, 8);
MF_ASSERT_OFFSET(smem_store_prefix_get_ctx_t, context, 16);
MF_ASSERT_OFFSET(smem_store_prefix_get_ctx_t, fill, 24);
MF_ASSERT_SIZE(smem_conf_store_backend_op_t, 80);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, distributed, 0);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, create, 8);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, destroy, 16);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, put, 24);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, get, 32);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, prefix_get, 40);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, remove, 48);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, lock, 56);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, try_lock, 64);
MF_ASSERT_OFFSET(smem_conf_store_backend_op_t, unlock, 72);

#ifdef __cplusplus
}
#endif
#endif
