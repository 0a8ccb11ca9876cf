// SPDX-License-Identifier: Apache-2.0
// Opening and closing of a rank's part of the benchmark, and the ways into each kind of memory.
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"
#include "partner.h"

#define GRANULE       (2ull << 20)
#define STAGING_BYTES (4u << 20)
#define INIT_S        60u

int world_error(const struct world *world, const char *what)
{
    fprintf(stderr, "%s: rank %u: %s: %s\n", BENCH_COMMAND, world->rank, what,
            smem_get_last_err_msg());
    return -1;
}

/* ---- which places a rank needs -------------------------------------------------------------- */

static bool uses(const struct bench_cfg *cfg, enum place_kind kind)
{
    for (uint32_t i = 0; i < PATH_COUNT; i++) {
        if ((cfg->paths & 1u << i) && (bench_paths[i].src == kind || bench_paths[i].dst == kind)) {
            return true;
        }
    }
    /* The cases are about host memory. */
    return kind == PLACE_DRAM || (kind == PLACE_HOST && cfg->cases);
}

static bool needs_device(const struct bench_cfg *cfg)
{
    return uses(cfg, PLACE_DEVICE) || uses(cfg, PLACE_HBM);
}

uint64_t world_working_set(const struct bench_cfg *cfg)
{
    uint64_t places = 2u * uses(cfg, PLACE_DRAM) + 2u * uses(cfg, PLACE_HBM) +
                      uses(cfg, PLACE_HOST) + uses(cfg, PLACE_DEVICE);
    uint64_t memory = machine_memory() / 4 * 3;
    uint64_t bytes = cfg->working_set;

    while (bytes > GRANULE && bytes * places > memory) {
        bytes /= 2;
    }
    return (bytes + GRANULE - 1) / GRANULE * GRANULE;
}

/* ---- places --------------------------------------------------------------------------------- */

uint32_t world_partner(const struct world *world)
{
    return world->ranks > 1 ? 1 : 0;
}

struct place world_place(const struct world *world, enum place_kind kind, uint32_t rank)
{
    struct place place = {.kind = kind, .rank = rank};

    switch (kind) {
    case PLACE_HOST:
        place.base = (uint64_t)(uintptr_t)world->host;
        break;
    case PLACE_DEVICE:
        place.base = world->local;
        break;
    case PLACE_DRAM:
        place.base = (uint64_t)(uintptr_t)smem_bm_ptr_by_mem_type(world->pool, SMEM_MEM_TYPE_HOST,
                                                                  (uint16_t)rank);
        break;
    case PLACE_HBM:
        place.base = (uint64_t)(uintptr_t)smem_bm_ptr_by_mem_type(world->pool, SMEM_MEM_TYPE_DEVICE,
                                                                  (uint16_t)rank);
        break;
    }
    return place;
}

uint8_t *world_cpu_address(const struct world *world, const struct place *place)
{
    void *address = NULL;

    if (place->kind == PLACE_HOST) {
        return (uint8_t *)(uintptr_t)place->base;
    }
    if (place->kind == PLACE_DRAM &&
        smem_bm_gva_to_va(world->pool, (void *)(uintptr_t)place->base, SMEM_MEM_TYPE_LOCAL_HOST,
                          &address) == SMEM_OK) {
        return address;
    }
    return NULL;
}

int world_copy(const struct world *world, uint64_t dst, uint64_t src, uint64_t bytes)
{
    smem_copy_params params = {
        .src = (const void *)(uintptr_t)src, .dest = (void *)(uintptr_t)dst, .dataSize = bytes};

    return smem_bm_copy(world->pool, &params, SMEMB_COPY_AUTO, 0) ? world_error(world, "copy") : 0;
}

int place_read(const struct world *world, const struct place *place, uint64_t offset, void *buffer,
               uint64_t bytes)
{
    uint64_t at = place->base + offset;

    if (place->kind == PLACE_HOST) {
        memcpy(buffer, (const void *)(uintptr_t)at, bytes);
        return 0;
    }
    if (place->kind == PLACE_DEVICE) {
        return mf_device_copy(world->device, (uint64_t)(uintptr_t)buffer, at, bytes)
                   ? world_error(world, "copy from the device")
                   : 0;
    }
    return world_copy(world, (uint64_t)(uintptr_t)buffer, at, bytes);
}

int place_write(const struct world *world, const struct place *place, uint64_t offset,
                const void *buffer, uint64_t bytes)
{
    uint64_t at = place->base + offset;

    if (place->kind == PLACE_HOST) {
        memcpy((void *)(uintptr_t)at, buffer, bytes);
        return 0;
    }
    if (place->kind == PLACE_DEVICE) {
        return mf_device_copy(world->device, at, (uint64_t)(uintptr_t)buffer, bytes)
                   ? world_error(world, "copy to the device")
                   : 0;
    }
    return world_copy(world, at, (uint64_t)(uintptr_t)buffer, bytes);
}

/* ---- open and close ------------------------------------------------------------------------- */

static uint32_t env_number(const char *name)
{
    const char *text = getenv(name);

    return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

/* The device of this rank's number on the host; where there are fewer, the first. */
static int open_device(struct world *world, uint32_t *ordinal)
{
    char spec[32];
    mf_device_info_t info = {.size = sizeof(info)};

    *ordinal = env_number("MF_LOCAL_RANK");
    snprintf(spec, sizeof(spec), "auto:%u", *ordinal);
    if (mf_device_open(spec, &world->device)) {
        *ordinal = 0;
        if (mf_device_open("auto:0", &world->device)) {
            return world_error(world, "device paths need a device (--device sim emulates one)");
        }
    }
    if (mf_device_get_info(world->device, &info) ||
        mf_device_stream_create(world->device, &world->stream)) {
        return world_error(world, "open the device");
    }
    snprintf(world->device_name, sizeof(world->device_name), "%s:%u", info.plugin, info.ordinal);
    return 0;
}

static int join(struct world *world, uint32_t ordinal)
{
    const struct bench_cfg *cfg = world->cfg;
    uint64_t hbm = needs_device(cfg) ? world->bytes : 0;
    smem_bm_create_option_t option = {.maxDramSize = world->bytes + CONTROL_BYTES,
                                      .localDRAMSize = world->bytes + CONTROL_BYTES,
                                      .maxHbmSize = hbm,
                                      .localHBMSize = hbm};
    smem_bm_config_t config;

    smem_bm_config_init(&config);
    config.initTimeout = INIT_S;
    config.autoRanking = false;
    config.startConfigStoreServer = false;
    config.rankId = world->rank;
    option.dataOpType = (smem_bm_data_op_type_t)bench_transport_ops(cfg->transport);
    if (smem_bm_init(getenv("MF_CONFIG_STORE_URL"), world->ranks, (uint16_t)ordinal, &config)) {
        return world_error(world, "start");
    }
    world->pool = smem_bm_create2(BENCH_POOL, &option);
    if (!world->pool) {
        return world_error(world, "create the pool");
    }
    struct place dram = world_place(world, PLACE_DRAM, world->rank);
    uint8_t *here = world_cpu_address(world, &dram); /* own memory is reached before the join */
    if (!here) {
        return world_error(world, "reach this rank's part of the pool");
    }
    world->control = (struct control *)(void *)(here + world->bytes);
    return smem_bm_join(world->pool, 0) ? world_error(world, "join") : 0;
}

/* Local memory of this rank, that only rank 0 needs. */
static int allocate(struct world *world)
{
    if (uses(world->cfg, PLACE_HOST)) {
        void *host =
            mmap(NULL, world->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (host == MAP_FAILED) {
            fprintf(stderr, "%s: %llu bytes of host memory: %s\n", BENCH_COMMAND,
                    (unsigned long long)world->bytes, strerror(errno));
            return -1;
        }
        madvise(host, world->bytes, MADV_HUGEPAGE);
        memset(host, 0, world->bytes);
        world->host = host;
    }
    if (uses(world->cfg, PLACE_DEVICE) &&
        mf_device_alloc(world->device, world->bytes, &world->local)) {
        return world_error(world, "device memory");
    }
    return 0;
}

int world_open(struct world *world, const struct bench_cfg *cfg)
{
    uint32_t ordinal = 0;

    *world = (struct world){.cfg = cfg,
                            .rank = env_number("MF_RANK"),
                            .ranks = env_number("MF_WORLD_SIZE"),
                            .device_name = "none"};
    world->run = (uint64_t)(machine_now() * 1e9);
    world->bytes = (cfg->working_set + GRANULE - 1) / GRANULE * GRANULE;
    world->staging = malloc(STAGING_BYTES);
    if (!world->staging || (needs_device(cfg) && open_device(world, &ordinal)) ||
        join(world, ordinal) || (world->rank == 0 && allocate(world))) {
        world_close(world);
        return -1;
    }
    return 0;
}

void world_close(struct world *world)
{
    if (world->pool) {
        smem_bm_destroy(world->pool);
    }
    smem_bm_uninit(0);
    if (world->device) {
        mf_device_close(world->device);
    }
    if (world->host) {
        munmap(world->host, world->bytes);
    }
    free(world->staging);
    *world = (struct world){.rank = 0};
}
