// SPDX-License-Identifier: Apache-2.0
// Fails every allocation of the life of the BM service in turn: init, create, join, copy, leave,
// destroy, uninit. Whatever fails, nothing leaks (blocks, descriptors, mappings, threads), and
// everything works the next time.
#include "unit/api_fixture.h"

#include <dirent.h>
#include <time.h>

#include "mf_torture.h"

/* ---- what must not leak -----------------------------------------------------------------------
 */

static int count_entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

/* Threads that end are gone a moment after they have been joined. */
static int count_threads(int want)
{
    int count = 0;
    for (int i = 0; i < 200; i++) {
        count = count_entries("/proc/self/task");
        if (count <= want) {
            break;
        }
        usleep(5000);
    }
    return count;
}

/* Mappings of pools: shared memory files, and what lies in the global address range. */
static int count_mappings(void)
{
    char line[512];
    int count = 0;
    const char *text = getenv("MF_GVA_BASE");
    unsigned long long base = text != NULL ? strtoull(text, NULL, 0) : 0x280000000000ull;
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        unsigned long long from = strtoull(line, NULL, 16);
        count += strstr(line, "memfd:") != NULL || (from >= base && from < base + (1ull << 40));
    }
    fclose(f);
    return count;
}

struct have {
    int fds, threads, mappings;
    long blocks;
};

static struct have look(const struct have *want)
{
    return (struct have){.threads = count_threads(want != NULL ? want->threads : 1000),
                         .fds = count_entries("/proc/self/fd"),
                         .mappings = count_mappings(),
                         .blocks = mf_torture_live_blocks()};
}

/* ---- the operation ----------------------------------------------------------------------------
 */

enum until { INIT, CREATE, JOIN, EXTEND, COPY, ASYNC, BATCH, LEAVE, ALL };

struct life {
    enum until until; /* how far to go */
    enum until armed; /* from where on allocations fail */
    int nth;
    bool device;
};

static int create(const struct life *life, smem_bm_t *pool)
{
    smem_bm_create_option_t option = api_option(2 * MIB, life->device ? 2 * MIB : 0);
    option.maxDramSize += 2 * MIB;
    option.maxHbmSize += life->device ? 2 * MIB : 0;
    *pool = smem_bm_create2(3, &option);
    return *pool != NULL ? SMEM_OK : smem_get_last_err_code();
}

/* A failure leaves the size as it was. */
static int extend(const struct life *life, smem_bm_t pool)
{
    int rc = SMEM_OK;
    for (int i = 0; i <= life->device && rc == SMEM_OK; i++) {
        smem_bm_mem_type type = i ? SMEM_MEM_TYPE_DEVICE : SMEM_MEM_TYPE_HOST;
        struct mf_err_rec saved;
        rc = smem_bm_extend_local_mem(pool, type, 2 * MIB);
        mf_err_save(&saved);
        assert_int_equal(smem_bm_get_local_mem_size_by_mem_type(pool, type),
                         (rc == SMEM_OK ? 4 : 2) * MIB);
        mf_err_restore(&saved);
    }
    return rc;
}

static int copy(smem_bm_t pool, char *here, uint32_t flags)
{
    char *at = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    smem_copy_params p = {.src = here, .dest = at + 2 * MIB - 2048, .dataSize = 4096};
    int rc = at == NULL ? smem_get_last_err_code() : smem_bm_copy(pool, &p, SMEMB_COPY_H2G, flags);
    int waited = smem_bm_wait(pool);
    return rc != SMEM_OK ? rc : waited;
}

static int copy_batch(smem_bm_t pool, char *here)
{
    void *src[16], *dst[16];
    uint64_t size[16];
    char *at = smem_bm_ptr_by_mem_type(pool, SMEM_MEM_TYPE_HOST, 0);
    smem_batch_copy_params p = {src, dst, size, 16, NULL};
    for (int i = 0; i < 16; i++) {
        src[i] = here + 64 * i;
        dst[i] = at + 128 * i;
        size[i] = 64;
    }
    return at == NULL ? smem_get_last_err_code() : smem_bm_copy_batch(pool, &p, SMEMB_COPY_H2G, 0);
}

static int step(const struct life *life, enum until at, smem_bm_t *pool)
{
    static char here[4096] = "x";
    smem_bm_config_t config;
    switch (at) {
    case INIT:
        smem_bm_config_init(&config);
        config.initTimeout = config.createTimeout = 5;
        config.controlOperationTimeout = 1; /* a lost watch is found out by the deadline */
        return smem_bm_init(ANY_PORT, 4, 0, &config);
    case CREATE:
        return create(life, pool);
    case JOIN:
        return smem_bm_join(*pool, 0);
    case EXTEND:
        return extend(life, *pool);
    case COPY:
        return copy(*pool, here, 0);
    case ASYNC:
        return copy(*pool, here, ASYNC_COPY_FLAG);
    case BATCH:
        return copy_batch(*pool, here);
    case LEAVE:
        return smem_bm_leave(*pool, 0);
    case ALL:
        break;
    }
    return SMEM_OK;
}

/* One life; allocations may fail in one part of it. Returns what failed first. */
static int live(const struct life *life)
{
    smem_bm_t pool = NULL;
    int rc = SMEM_OK;
    for (enum until at = INIT; at <= life->until && rc == SMEM_OK; at++) {
        if (at == life->armed) {
            mf_torture_arm(life->nth);
        }
        rc = step(life, at, &pool);
    }
    if (pool != NULL) {
        smem_bm_destroy(pool);
    }
    smem_bm_uninit(0);
    return rc;
}

static void check_no_leak(const struct life *life, const struct have *before, int rc)
{
    struct have after = look(before);
    if (after.fds != before->fds || after.threads != before->threads ||
        after.mappings != before->mappings || after.blocks != before->blocks) {
        fail_msg(
            "until %d, armed at %d, allocation %d (code %d: %s): %d descriptors instead of %d, "
            "%d threads instead of %d, %d mappings instead of %d, %ld blocks instead of %ld",
            life->until, life->armed, life->nth, rc, mf_err_msg(), after.fds, before->fds,
            after.threads, before->threads, after.mappings, before->mappings, after.blocks,
            before->blocks);
    }
}

/* Fail the nth allocation after the beginning of one part, for every n. */
static void torture(enum until part, bool device)
{
    struct life life = {.until = part, .armed = ALL, .device = device};
    int hit = 1, failures = 0;
    mf_assert_ok(live(&life)); /* what is made once in a process is there */
    struct have before = look(NULL);
    for (life.nth = 1; hit; life.nth++) {
        life.armed = part;
        mf_err_clear();
        int rc = live(&life);
        hit = mf_torture_disarm();
        check_no_leak(&life, &before, rc);
        if (hit && rc != SMEM_OK) {
            failures++;
            assert_true(rc < 0);
            assert_string_not_equal(mf_err_msg(), "");
        }
        if (!hit) {
            mf_assert_ok(rc);
        } else if (life.nth % 16 == 0) { /* everything works afterwards */
            life.armed = ALL;
            mf_assert_ok(live(&life));
            check_no_leak(&life, &before, SMEM_OK);
        }
        assert_in_range(life.nth, 1, 5000);
    }
    print_message("%d allocations, %d failures\n", life.nth - 2, failures);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static bool with_device(void)
{
    const char *device = getenv("MF_DEVICE");
    return device != NULL && strcmp(device, "none") != 0;
}

static void test_torture_bm_init(void **state)
{
    (void)state;
    torture(INIT, false);
}

static void test_torture_bm_create(void **state)
{
    (void)state;
    torture(CREATE, with_device());
}

static void test_torture_bm_join(void **state)
{
    (void)state;
    torture(JOIN, with_device());
}

static void test_torture_bm_extend(void **state)
{
    (void)state;
    torture(EXTEND, with_device());
}

static void test_torture_bm_copy(void **state)
{
    (void)state;
    torture(COPY, with_device());
}

static void test_torture_bm_copy_async(void **state)
{
    (void)state;
    torture(ASYNC, with_device());
}

static void test_torture_bm_copy_batch(void **state)
{
    (void)state;
    torture(BATCH, with_device());
}

/* After the last step come destroy and uninit: they do without the memory. */
static void test_torture_bm_leave_destroy_uninit(void **state)
{
    (void)state;
    torture(LEAVE, with_device());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torture_bm_init),
        cmocka_unit_test(test_torture_bm_create),
        cmocka_unit_test(test_torture_bm_join),
        cmocka_unit_test(test_torture_bm_extend),
        cmocka_unit_test(test_torture_bm_copy),
        cmocka_unit_test(test_torture_bm_copy_async),
        cmocka_unit_test(test_torture_bm_copy_batch),
        cmocka_unit_test(test_torture_bm_leave_destroy_uninit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
