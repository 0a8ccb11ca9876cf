// SPDX-License-Identifier: Apache-2.0
// The parameters of a model, loaded once for a whole host. Rank 0 loads a version into its part of
// the pool; all other ranks use it in place through a pointer, and copy their shard of it to their
// device, if there is one. Then rank 0 loads the next version beside it and switches, while the
// readers go on: a reader says which version it uses, and rank 0 does not touch that one.
//
//     MF_DEVICE=sim mfcli run -n 3 -- ./parameters
#include <inttypes.h>
#include <string.h>

#include "example.h"
#include "memfabric/mf_device.h"

#define VERSIONS    6u
#define MODEL_WORDS (1u << 18) /* 2 MiB */
#define MODEL_BYTES (MODEL_WORDS * 8u)
#define PART_BYTES  (8u << 20)
#define ROUNDS      8u /* that readers use a version before rank 0 may switch */

/* Words of a part; the first is of rank 0, the others of each reader. */
#define LINE_AT    0u         /* see meet() */
#define VERSION_AT 64u        /* the present version, 1..VERSIONS; VERSIONS + 1: the end */
#define USING_AT   128u       /* the version that this reader uses, 0: none */
#define USED_AT    192u       /* how often this reader has used a version, in all */
#define MODELS_AT  (1u << 20) /* two places, for the even and the odd versions */

_Static_assert(MODELS_AT + 2 * MODEL_BYTES <= PART_BYTES, "two versions fit");

struct device {
    mf_device_t handle; /* NULL: no device */
    mf_dev_t shard;
    uint64_t bytes;
};

static uint64_t *word(const struct world *world, uint32_t rank, uint64_t offset)
{
    return (uint64_t *)(void *)(world->parts[rank] + offset);
}

static uint64_t *model(const struct world *world, uint64_t version)
{
    return word(world, 0, MODELS_AT + version % 2 * MODEL_BYTES);
}

/* What a file of parameters would hold. */
static uint64_t parameter(uint64_t version, uint64_t index)
{
    uint64_t x = (version << 32 | index) * 0x9e3779b97f4a7c15u;

    return x ^ (x >> 29);
}

static uint64_t wrong_words(uint64_t version, const uint64_t *words, uint64_t first, uint64_t count)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < count; i++) {
        wrong += words[i] != parameter(version, first + i);
    }
    return wrong;
}

/* ---- rank 0 --------------------------------------------------------------------------------- */

/* Readers that have started to use the version have ended; later ones take a newer one. */
static void wait_until_unused(const struct world *world, uint64_t version)
{
    double start = now_s();

    for (uint32_t rank = 1; rank < world->ranks; rank++) {
        while (__atomic_load_n(word(world, rank, USING_AT), __ATOMIC_SEQ_CST) == version) {
            wait_a_little(start, "a reader to end with an old version");
        }
    }
}

/* Each reader has used the present version; the first use may still have been of the one before. */
static void wait_until_used(const struct world *world, const uint64_t *used_before)
{
    double start = now_s();

    for (uint32_t rank = 1; rank < world->ranks; rank++) {
        uint64_t times = used_before[rank] + ROUNDS;

        while (__atomic_load_n(word(world, rank, USED_AT), __ATOMIC_ACQUIRE) < times) {
            wait_a_little(start, "the readers");
        }
    }
}

static void serve(const struct world *world)
{
    for (uint64_t version = 1; version <= VERSIONS; version++) {
        uint64_t *place = model(world, version);
        uint64_t used[EXAMPLE_RANKS];

        if (version > 2) {
            wait_until_unused(world, version - 2); /* it lies in the same place */
        }
        for (uint64_t i = 0; i < MODEL_WORDS; i++) {
            place[i] = parameter(version, i);
        }
        __atomic_store_n(word(world, 0, VERSION_AT), version, __ATOMIC_SEQ_CST);
        for (uint32_t rank = 1; rank < world->ranks; rank++) {
            used[rank] = __atomic_load_n(word(world, rank, USED_AT), __ATOMIC_ACQUIRE);
        }
        wait_until_used(world, used);
    }
    __atomic_store_n(word(world, 0, VERSION_AT), VERSIONS + 1, __ATOMIC_SEQ_CST);
    printf("loaded %u versions of %u MiB, once for all\n", VERSIONS, MODEL_BYTES >> 20);
}

/* ---- readers -------------------------------------------------------------------------------- */

/* The version to use now, which rank 0 leaves alone until release(). */
static uint64_t acquire(const struct world *world)
{
    const uint64_t *present = word(world, 0, VERSION_AT);
    uint64_t *own = word(world, world->rank, USING_AT);

    for (;;) {
        uint64_t version = __atomic_load_n(present, __ATOMIC_SEQ_CST);

        __atomic_store_n(own, version, __ATOMIC_SEQ_CST);
        /* Rank 0 may have gone on before it could see our word: then take the next one. */
        if (__atomic_load_n(present, __ATOMIC_SEQ_CST) == version) {
            return version;
        }
    }
}

static void release(const struct world *world)
{
    uint64_t *used = word(world, world->rank, USED_AT);

    __atomic_store_n(word(world, world->rank, USING_AT), 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(used, *used + 1, __ATOMIC_RELEASE);
}

/* A device, if there is one, with room for this rank's shard. */
static void open_device(struct device *device, uint64_t bytes)
{
    const char *name = getenv("MF_DEVICE");

    if (mf_device_open(name != NULL && *name ? name : "auto", &device->handle) != SMEM_OK) {
        printf("no device here, the copy of a shard is left out (MF_DEVICE=sim shows it)\n");
        device->handle = NULL;
        return;
    }
    device->bytes = bytes;
    must(mf_device_alloc(device->handle, bytes, &device->shard), "device memory");
}

/* The shard goes from rank 0's part straight to our device; then it is fetched to be checked. */
static uint64_t load_shard(const struct world *world, const struct device *device, uint64_t version,
                           uint64_t first, uint64_t *back)
{
    if (device->handle == NULL) {
        return 0;
    }
    must(copy(world, model(world, version) + first, (void *)(uintptr_t)device->shard, device->bytes,
              SMEMB_COPY_G2L),
         "copy a shard to the device");
    must(mf_device_copy(device->handle, (uint64_t)(uintptr_t)back, device->shard, device->bytes),
         "fetch the shard");
    return wrong_words(version, back, first, device->bytes / 8);
}

static uint64_t use(const struct world *world)
{
    uint64_t count = MODEL_WORDS / (world->ranks - 1);
    uint64_t first = (world->rank - 1) * count, wrong = 0, uses = 0, switches = 0, last = 0;
    uint64_t *back = calloc(count, 8);
    struct device device = {.handle = NULL};
    double start = now_s();

    if (back == NULL) {
        fprintf(stderr, "no memory for a shard\n");
        exit(1);
    }
    open_device(&device, count * 8);
    for (;;) {
        uint64_t version = acquire(world);

        if (version > VERSIONS) {
            break;
        }
        if (version == 0) { /* nothing is loaded yet */
            wait_a_little(start, "the first version");
            continue;
        }
        wrong += wrong_words(version, model(world, version), 0, MODEL_WORDS);
        if (version != last) {
            wrong += load_shard(world, &device, version, first, back);
            switches++;
        }
        last = version;
        uses++;
        release(world);
    }
    release(world);
    printf("used the parameters %" PRIu64 " times in %" PRIu64 " versions, %s, %" PRIu64
           " wrong words\n",
           uses, switches, device.handle != NULL ? "shards on the device" : "in place", wrong);
    if (device.handle != NULL) {
        must(mf_device_free(device.handle, device.shard), "free device memory");
        must(mf_device_close(device.handle), "close the device");
    }
    free(back);
    return wrong;
}

int main(void)
{
    struct world world;
    uint64_t wrong = 0;

    world_open(&world, 2, PART_BYTES);
    if (world.rank == 0) {
        serve(&world);
    } else {
        wrong = use(&world);
    }
    meet_and_part(&world, LINE_AT, 1);
    return wrong ? 1 : 0;
}
