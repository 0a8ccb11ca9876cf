// SPDX-License-Identifier: Apache-2.0
// Every limit of the library in one place. A count, size or name from outside is checked against
// one of these before it is used or allocated for.
#ifndef MF_BASE_LIMITS_H
#define MF_BASE_LIMITS_H

#define MF_WORLD_MAX        1024u         /* ranks of a world (SMEM_WORLD_SIZE_MAX) */
#define MF_POOLS_MAX        64u           /* pool ids 0..63 */
#define MF_THREADS_MAX      512u          /* threads of one process that copy at the same time */
#define MF_SLOT_SEGMENTS    256u          /* segments of one slot: 1 + extensions */
#define MF_SEGMENTS_MAX     4096u         /* segments that one process publishes */
#define MF_TRANSPORTS_MAX   8u            /* transports of one process */
#define MF_DEVICES_MAX      64u           /* ordinals of one device plug-in */
#define MF_ENDPOINT_MAX     64u           /* bytes a transport announces about itself */
#define MF_BATCH_MAX        (1u << 24)    /* elements of one batch */
#define MF_COPY_THREADS_MAX 16u           /* threads that share one large copy */
#define MF_USER_REGIONS_MAX 4096u         /* registered user buffers of one pool */
#define MF_TAG_MAX          30u           /* characters of a tag */
#define MF_TAG_PAIRS_MAX    20u           /* tags that one rank may have operators with */
#define MF_REQUESTS_MAX     16384u        /* requests of one process that are not freed */
#define MF_PREPARED_MAX     4096u         /* prepared batches of one process */
#define MF_PAGE_LARGE       (2ull << 20)  /* sizes given to a pool are multiples of this */
#define MF_DRAM_LOCAL_MAX   (2ull << 40)  /* DRAM of one rank */
#define MF_HBM_LOCAL_MAX    (64ull << 30) /* HBM of one rank */
#define MF_COPY_BYTES_MAX   (1ull << 46)  /* one element of a copy */

/* Control plane. */
#define MF_KEY_MAX            1024u       /* bytes of a store key, 1..MF_KEY_MAX */
#define MF_VALUE_MAX          (4u << 20)  /* bytes of a store value */
#define MF_FRAME_MAX          (8u << 20)  /* bytes of one frame of the store protocol */
#define MF_STORE_CONNS_MAX    4096u       /* connections of one store server */
#define MF_STORE_KEYS_MAX     (1u << 20)  /* keys of one store */
#define MF_STORE_QUEUE_MAX    (64u << 20) /* bytes queued to one connection before it is cut off */
#define MF_STORE_INFLIGHT_MAX 1024u       /* unanswered requests of one client */
#define MF_STORE_WATCHES_MAX  256u        /* watches of one client */

#endif
