/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file smem_bm_def.h
 * Types of the big-memory API (smem_bm.h): configuration, what a pool is made of, directions of a
 * copy. The comments on members say what they mean here; a member of which a later version makes
 * use is refused when it is set, never ignored in silence.
 */
#ifndef MEMFABRIC_SMEM_BM_DEF_H
#define MEMFABRIC_SMEM_BM_DEF_H

#include "smem_def.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Longest timeout, seconds. */
#define SMEM_BM_TIMEOUT_MAX UINT32_MAX
/** Bytes of each path in smem_tls_config, NUL included. */
#define SMEM_TLS_PATH_SIZE 256

/* Flags of smem_bm_create() and of smem_bm_create_option_t. Bits 0..6 are a number, the node. */
/** First bit of the number of the NUMA node that DRAM is bound to. */
#define SMEM_BM_BIND_NUMA_FLAG_INDEX 0
/** Bits of that number. */
#define SMEM_BM_BIND_NUMA_FLAG_LEN 7
/** Bit that switches binding on; while it is 0, the node is not looked at. */
#define SMEM_BM_PERFORMANCE_MODE_FLAG_INDEX 7
/** Bits of that switch. */
#define SMEM_BM_PERFORMANCE_MODE_FLAG_LEN 1
/** In place of a node: the one next to the device, or that of the calling thread when there is no
 * device or the device does not say. */
#define SMEM_BM_BIND_NUMA_AUTO_AFFINITY_FLAG 0x7F
/** DRAM is behind the descriptor dramShmFd (smem_bm_create2() only). */
#define SMEM_BM_FLAG_CREATE_WITH_SHM (1U << 8)
/** DRAM has an address for the CPU and one for the device: this rank's own is registered with its
 * device (where the device asks for that), so that smem_bm_gva_to_va() gives it as
 * SMEM_MEM_TYPE_LOCAL_DEVICE, too. For the CPU it always has one: SMEM_MEM_TYPE_LOCAL_HOST. Without
 * a device the flag has no effect. */
#define SMEM_BM_FLAG_DRAM_MAP_HOST_VA (1U << 9)
/** When localDRAMSize cannot be had (memory, control group, huge pages, limit of a file's
 * size), take as much as there is, a multiple of 2 MiB:
 * smem_bm_get_local_mem_size_by_mem_type() says how much, and one warning in the log why. A
 * sixteenth of what is left stays for others. Less than 2 MiB is a failure. Smaller pages than
 * huge ones are no failure even without it. Has no effect on dramShmFd. */
#define SMEM_BM_FLAG_DRAM_BEST_EFFORT (1U << 10)

/** A big-memory object: one pool, as this rank sees it. Not a pointer: a stale one gets an error.
 */
typedef void *smem_bm_t;

/** Kinds of memory. Pools have DEVICE and HOST; the LOCAL ones are for smem_bm_gva_to_va(). */
typedef enum smem_bm_mem_type {
    SMEM_MEM_TYPE_LOCAL_DEVICE = 0, /**< this process's device memory */
    SMEM_MEM_TYPE_LOCAL_HOST = 1,   /**< this process's host memory */
    SMEM_MEM_TYPE_DEVICE = 2,       /**< the pool's device memory (HBM) */
    SMEM_MEM_TYPE_HOST = 3,         /**< the pool's host memory (DRAM) */
    SMEM_MEM_TYPE_BUTT = 4          /**< one past the last */
} smem_bm_mem_type;
typedef smem_bm_mem_type smem_bm_mem_type_t;

/**
 * Operators: ways to reach a peer's memory, bits that may be combined. For each peer the first that
 * works is used, in the order SDMA, HOST_SHM, DEVICE_RDMA, HOST_RDMA, HOST_URMA, HOST_TCP. SDMA and
 * HOST_SHM reach the ranks of the same host. Others need a transport plug-in; a pool none of whose
 * operators is there is refused.
 */
typedef enum smem_bm_data_op_type {
    SMEMB_DATA_OP_SDMA = 1,          /**< same host: CPU copies and device copies */
    SMEMB_DATA_OP_HOST_RDMA = 2,     /**< RDMA from host memory */
    SMEMB_DATA_OP_HOST_TCP = 4,      /**< sockets */
    SMEMB_DATA_OP_DEVICE_RDMA = 8,   /**< RDMA from device memory */
    SMEMB_DATA_OP_HOST_URMA = 16,    /**< unified bus from host memory */
    SMEMB_DATA_OP_HOST_SHM = 32,     /**< same host: shared memory, as SDMA here */
    SMEMB_DATA_OP_DEVICE_URMA = 64,  /**< unified bus from device memory */
    SMEMB_DATA_OP_DEVICE_UBOE = 128, /**< unified bus over Ethernet from device memory */
    SMEMB_DATA_OP_BUTT = 129         /**< one past the largest bit; no valid value */
} smem_bm_data_op_type;
typedef smem_bm_data_op_type smem_bm_data_op_type_t;

/**
 * Direction of a copy, source first. L is this process's device memory, H this process's host
 * memory; GH is host memory of the pool, GD is device memory of the pool, G is either. What is not
 * as the type says is refused. docs/memory-and-copy.md has the table.
 */
typedef enum smem_bm_copy_type {
    SMEMB_COPY_L2G = 0,  /**< L to G */
    SMEMB_COPY_G2L = 1,  /**< G to L */
    SMEMB_COPY_G2H = 2,  /**< G to H */
    SMEMB_COPY_H2G = 3,  /**< H to G */
    SMEMB_COPY_L2GH = 4, /**< L to GH */
    SMEMB_COPY_GH2L = 5, /**< GH to L */
    SMEMB_COPY_GH2H = 6, /**< GH to H */
    SMEMB_COPY_H2GH = 7, /**< H to GH */
    SMEMB_COPY_G2G = 8,  /**< G to G; neither end has to be the caller's */
    SMEMB_COPY_AUTO = 9, /**< by the addresses, each element of a batch by itself */
    SMEMB_COPY_BUTT = 10 /**< one past the last */
} smem_bm_copy_type;
typedef smem_bm_copy_type smem_bm_copy_type_t;

/** What happened in a pool's membership; see smem_bm_set_group_event_handler(). */
typedef enum smem_bm_group_event {
    SMEM_GROUP_EVENT_JOIN = 0,  /**< a rank has joined */
    SMEM_GROUP_EVENT_LEAVE = 1, /**< a rank has left or died */
    SMEM_MEMBER_EVENT_BUTT = 2  /**< one past the last */
} smem_bm_group_event_t;

/** Certificates for one kind of connections. Paths are NUL-terminated; "" means "not given". */
typedef struct smem_tls_config {
    bool tlsEnable;                            /**< ask for TLS; refused in this version */
    char caPath[SMEM_TLS_PATH_SIZE];           /**< file of the authorities */
    char crlPath[SMEM_TLS_PATH_SIZE];          /**< file of the revocation list */
    char certPath[SMEM_TLS_PATH_SIZE];         /**< this process's certificate */
    char keyPath[SMEM_TLS_PATH_SIZE];          /**< its private key */
    char keyPassPath[SMEM_TLS_PATH_SIZE];      /**< file with the key's password */
    char packagePath[SMEM_TLS_PATH_SIZE];      /**< directory of the TLS library */
    char decrypterLibPath[SMEM_TLS_PATH_SIZE]; /**< shared object that decrypts the password */
} smem_tls_config, smem_tls_config_t;

/** Configuration of the service. Fill with smem_bm_config_init() first, then change members. */
typedef struct smem_bm_config {
    uint32_t initTimeout;             /**< s, not 0: deadline of smem_bm_init(); 120 */
    uint32_t createTimeout;           /**< s, not 0: deadline of smem_bm_create(); 120 */
    uint32_t controlOperationTimeout; /**< s, not 0: deadline of join, leave and the like; 900 */
    bool startConfigStoreServer;      /**< serve the config store where smem_bm_init() says; true */
    bool startConfigStoreOnly;        /**< serve the config store and be no rank; false */
    bool dynamicWorldSize;            /**< accepted: ranks come and go at any time anyhow; false */
    bool unifiedAddressSpace;         /**< must be true, and is by default */
    bool autoRanking;                 /**< the store hands out the rank; true */
    uint32_t rankId;                  /**< the rank when autoRanking is false; 65535 */
    uint32_t flags;                   /**< reserved, 0 */
    char hcomUrl[64];                 /**< data address of network operators, NUL-terminated; "" */
    smem_tls_config hcomTlsConfig;    /**< TLS of the data connections; all zero */
    smem_tls_config storeTlsConfig;   /**< TLS to the config store; all zero */
} smem_bm_config_t;

/**
 * What a pool is made of. Zero it, then set members by name. All sizes are bytes and multiples of 2
 * MiB; ranks may give different local sizes, the maxima are the same on all ranks.
 */
typedef struct smem_bm_create_option {
    uint64_t maxDramSize;   /**< most DRAM that a rank may give; at least localDRAMSize */
    uint64_t maxHbmSize;    /**< most device memory that a rank may give */
    uint64_t localDRAMSize; /**< DRAM that this rank gives, 0..2 TiB; 0 only uses the pool */
    uint64_t localHBMSize;  /**< device memory that this rank gives, 0..64 GiB */
    smem_bm_data_op_type dataOpType; /**< operators, at least one bit */
    bool enable56BitsGva;            /**< GVAs from 2^56 on, which no process has as addresses; the
                                          same on all ranks */
    uint32_t flags;                  /**< SMEM_BM_FLAG_* and the NUMA node */
    /** Name of this rank's group in the pool: 1 to 30 characters of A-Z, a-z, 0-9 and _; "" is
     * "default". Ranks of one tag have the operators of dataOpType for each other. */
    char tag[32];
    /** Operators for pairs of tags: "tagA:OPERATOR:tagB,...", in either order of the two, without
     * spaces. Several entries of a pair add up. Operators: HOST_SHM, DEVICE_SDMA, HOST_TCP,
     * HOST_RDMA, DEVICE_RDMA, HOST_URMA, DEVICE_URMA, DEVICE_UBOE, DEVICE_MTE, AIV_SDMA. Two ranks
     * reach each other when the tagOpInfo of both names their two tags; the others can be in the
     * pool, too, but not copy to each other. */
    char tagOpInfo[256];
    /** With SMEM_BM_FLAG_CREATE_WITH_SHM: a memfd whose first localDRAMSize bytes (not 0) are this
     * rank's DRAM; made larger when it is smaller, and sealed against shrinking when it is not, so
     * that nobody can kill a peer by truncating it. One that cannot be sealed is refused
     * (memfd_create with MFD_ALLOW_SEALING makes one that can). It stays the caller's: the library
     * takes a duplicate, never zeroes it and never gives its pages back. Else not read. */
    int dramShmFd;
} smem_bm_create_option_t;

/** One copy. */
typedef struct smem_copy_params {
    const void *src; /**< address or GVA */
    void *dest;      /**< address or GVA */
    size_t dataSize; /**< bytes, 1..2^46 */
    void *stream;    /**< read only with SMEM_BM_FLAG_USE_EXTERNAL_STREAM */
} smem_copy_params, smem_copy_params_t;

/** Many copies at once: element i moves dataSizes[i] bytes from sources[i] to destinations[i]. */
typedef struct smem_batch_copy_params {
    void **sources;            /**< batchSize addresses or GVAs */
    void **destinations;       /**< batchSize addresses or GVAs */
    const uint64_t *dataSizes; /**< batchSize lengths in bytes, each 1..2^46 */
    uint32_t batchSize;        /**< elements, 1..2^24 */
    void *stream;              /**< read only with SMEM_BM_FLAG_USE_EXTERNAL_STREAM */
} smem_batch_copy_params, smem_batch_copy_params_t;

/** Results of the elements of a batch; see smem_bm_copy_batch_partial_succeed(). */
typedef struct smem_batch_copy_result {
    int32_t *results;   /**< batchSize codes, the caller's memory */
    uint32_t batchSize; /**< elements, as many as the batch has */
} smem_batch_copy_result, smem_batch_copy_result_t;

/**
 * Told of joins and leaves. `rankId` is the rank that came or went, `context` what was registered.
 * Runs on a thread of the library with no lock held; it may call the library, except to destroy an
 * object or to end the service.
 */
typedef void (*smem_bm_group_event_cb)(smem_bm_t handle, uint32_t rankId,
                                       smem_bm_group_event_t event, void *context);

/** Told that another process leads the config stores now. */
typedef void (*smem_bm_leader_change_cb)(void *userData);

MF_ASSERT_SIZE(smem_bm_mem_type, 4);
MF_ASSERT_SIZE(smem_bm_data_op_type, 4);
MF_ASSERT_SIZE(smem_bm_copy_type, 4);
MF_ASSERT_SIZE(smem_bm_group_event_t, 4);

MF_ASSERT_SIZE(smem_tls_config, 1793);
MF_ASSERT_OFFSET(smem_tls_config, tlsEnable, 0);
MF_ASSERT_OFFSET(smem_tls_config, caPath, 1);
MF_ASSERT_OFFSET(smem_tls_config, crlPath, 257);
MF_ASSERT_OFFSET(smem_tls_config, certPath, 513);
MF_ASSERT_OFFSET(smem_tls_config, keyPath, 769);
MF_ASSERT_OFFSET(smem_tls_config, keyPassPath, 1025);
MF_ASSERT_OFFSET(smem_tls_config, packagePath, 1281);
MF_ASSERT_OFFSET(smem_tls_config, decrypterLibPath, 1537);

MF_ASSERT_SIZE(smem_bm_config_t, 3680);
MF_ASSERT_OFFSET(smem_bm_config_t, initTimeout, 0);
MF_ASSERT_OFFSET(smem_bm_config_t, createTimeout, 4);
MF_ASSERT_OFFSET(smem_bm_config_t, controlOperationTimeout, 8);
MF_ASSERT_OFFSET(smem_bm_config_t, startConfigStoreServer, 12);
MF_ASSERT_OFFSET(smem_bm_config_t, startConfigStoreOnly, 13);
MF_ASSERT_OFFSET(smem_bm_config_t, dynamicWorldSize, 14);
MF_ASSERT_OFFSET(smem_bm_config_t, unifiedAddressSpace, 15);
MF_ASSERT_OFFSET(smem_bm_config_t, autoRanking, 16);
MF_ASSERT_OFFSET(smem_bm_config_t, rankId, 20);
MF_ASSERT_OFFSET(smem_bm_config_t, flags, 24);
MF_ASSERT_OFFSET(smem_bm_config_t, hcomUrl, 28);
MF_ASSERT_OFFSET(smem_bm_config_t, hcomTlsConfig, 92);
MF_ASSERT_OFFSET(smem_bm_config_t, storeTlsConfig, 1885);

MF_ASSERT_SIZE(smem_bm_create_option_t, 336);
MF_ASSERT_OFFSET(smem_bm_create_option_t, maxDramSize, 0);
MF_ASSERT_OFFSET(smem_bm_create_option_t, maxHbmSize, 8);
MF_ASSERT_OFFSET(smem_bm_create_option_t, localDRAMSize, 16);
MF_ASSERT_OFFSET(smem_bm_create_option_t, localHBMSize, 24);
MF_ASSERT_OFFSET(smem_bm_create_option_t, dataOpType, 32);
MF_ASSERT_OFFSET(smem_bm_create_option_t, enable56BitsGva, 36);
MF_ASSERT_OFFSET(smem_bm_create_option_t, flags, 40);
MF_ASSERT_OFFSET(smem_bm_create_option_t, tag, 44);
MF_ASSERT_OFFSET(smem_bm_create_option_t, tagOpInfo, 76);
MF_ASSERT_OFFSET(smem_bm_create_option_t, dramShmFd, 332);

MF_ASSERT_SIZE(smem_copy_params, 32);
MF_ASSERT_OFFSET(smem_copy_params, src, 0);
MF_ASSERT_OFFSET(smem_copy_params, dest, 8);
MF_ASSERT_OFFSET(smem_copy_params, dataSize, 16);
MF_ASSERT_OFFSET(smem_copy_params, stream, 24);

MF_ASSERT_SIZE(smem_batch_copy_params, 40);
MF_ASSERT_OFFSET(smem_batch_copy_params, sources, 0);
MF_ASSERT_OFFSET(smem_batch_copy_params, destinations, 8);
MF_ASSERT_OFFSET(smem_batch_copy_params, dataSizes, 16);
MF_ASSERT_OFFSET(smem_batch_copy_params, batchSize, 24);
MF_ASSERT_OFFSET(smem_batch_copy_params, stream, 32);

MF_ASSERT_SIZE(smem_batch_copy_result, 16);
MF_ASSERT_OFFSET(smem_batch_copy_result, results, 0);
MF_ASSERT_OFFSET(smem_batch_copy_result, batchSize, 8);

#ifdef __cplusplus
}
#endif
#endif
