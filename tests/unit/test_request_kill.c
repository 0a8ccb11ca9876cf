// SPDX-License-Identifier: Apache-2.0
// A peer is killed at each point of a request's life, and at random ones: every request ends soon,
// says of each element what became of it, and the next life of the peer is served. The peer is this
// program, started again with the address of the store.
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <time.h>

#include "api_fixture.h"
#include "memfabric/mf_xcopy.h"

#define POOL_BYTES (8 * MIB)
#define COUNT      64u
#define END_MS     5000u /* two seconds, and a loaded machine */
#define RANDOM     50u

extern char **environ;

/* ---- the peer ---- */

static int peer_main(const char *url)
{
    smem_bm_config_t config;
    if (smem_bm_config_init(&config)) {
        return 1;
    }
    config.initTimeout = config.createTimeout = config.controlOperationTimeout = 20;
    config.startConfigStoreServer = false;
    config.autoRanking = false;
    config.rankId = 1;
    if (smem_bm_init(url, 2, 0, &config)) {
        fprintf(stderr, "peer: %s\n", smem_get_last_err_msg());
        return 1;
    }
    smem_bm_t pool = smem_bm_create(1, 0, SMEMB_DATA_OP_SDMA, POOL_BYTES, 0, 0);
    if (pool == NULL || smem_bm_join(pool, 0)) {
        fprintf(stderr, "peer: %s\n", smem_get_last_err_msg());
        return 1;
    }
    alarm(60);
    for (;;) {
        pause();
    }
}

/* ---- rank 0 ---- */

struct rig {
    smem_bm_t pool;
    char url[96];
    char *local;
    char *target; /* the peer's memory */
    pid_t peer;
};

static const char *program;

static void sleep_us(unsigned us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000l};
    nanosleep(&t, NULL);
}

static int rig_setup(void **state)
{
    static struct rig rig;
    char json[4096] = "";
    smem_bm_config_t config = api_config();
    config.startConfigStoreServer = false;
    config.autoRanking = false;
    config.rankId = 0;
    setenv("MF_COPY_WORKERS", "1", 1);
    setenv("MF_LOG_LEVEL", "3", 1); /* deaths are expected */
    if (smem_create_config_store("tcp://127.0.0.1:0", 0) ||
        smem_config_store_get_cluster_status(json, sizeof(json), NULL)) {
        return -1;
    }
    const char *at = strstr(json, "\"listen\":\"");
    if (at == NULL) {
        return -1;
    }
    at += strlen("\"listen\":\"");
    snprintf(rig.url, sizeof(rig.url), "%.*s", (int)strcspn(at, "\""), at);
    if (smem_bm_init(rig.url, 2, 0, &config)) {
        return -1;
    }
    rig.pool = smem_bm_create(1, 0, SMEMB_DATA_OP_SDMA, POOL_BYTES, 0, 0);
    if (rig.pool == NULL || smem_bm_join(rig.pool, 0)) {
        return -1;
    }
    rig.local = calloc(1, POOL_BYTES);
    rig.target = smem_bm_ptr_by_mem_type(rig.pool, SMEM_MEM_TYPE_HOST, 1);
    *state = &rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = *state;
    smem_bm_destroy(rig->pool);
    smem_bm_uninit(0);
    free(rig->local);
    return 0;
}

static int probe(const struct rig *rig)
{
    uint64_t word = 1;
    smem_copy_params params = {.src = &word, .dest = rig->target, .dataSize = sizeof(word)};
    return smem_bm_copy(rig->pool, &params, SMEMB_COPY_H2G, 0);
}

/* A new life of the peer, which can be copied to when this returns. */
static void start_peer(struct rig *rig)
{
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "peer", rig->url, NULL};
    assert_int_equal(posix_spawn(&rig->peer, program, NULL, NULL, argv, environ), 0);
    int rc = SMEM_NOT_CONNECTED;
    for (int i = 0; i < 4000 && rc != SMEM_OK; i++) {
        rc = probe(rig);
        sleep_us(rc == SMEM_OK ? 0 : 5000);
    }
    mf_assert_ok(rc);
}

static void kill_peer(struct rig *rig)
{
    assert_int_equal(kill(rig->peer, SIGKILL), 0);
}

static void bury_peer(struct rig *rig)
{
    int status = 0;
    while (waitpid(rig->peer, &status, 0) < 0 && errno == EINTR) {
    }
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* Until its death is known here: the next life must not be taken for this one. */
    int rc = SMEM_OK;
    for (int i = 0; i < 4000 && rc == SMEM_OK; i++) {
        rc = probe(rig);
        sleep_us(rc == SMEM_OK ? 1000 : 0);
    }
    mf_assert_rc(rc, SMEM_NOT_CONNECTED);
}

/* COUNT elements of 2 MiB, or of 8 bytes. */
static mf_request_t submit(struct rig *rig, uint64_t bytes, uint32_t flags)
{
    void *src[COUNT];
    void *dst[COUNT];
    uint64_t sizes[COUNT];
    mf_request_t req = NULL;
    for (uint32_t i = 0; i < COUNT; i++) {
        src[i] = rig->local + i % 4 * bytes;
        dst[i] = rig->target + i % 4 * bytes;
        sizes[i] = bytes;
    }
    mf_xcopy_batch_t batch = {.size = sizeof(batch),
                              .flags = flags,
                              .count = COUNT,
                              .type = SMEMB_COPY_H2G,
                              .sources = src,
                              .destinations = dst,
                              .sizes = sizes};
    mf_assert_ok(mf_xcopy_submit(rig->pool, &batch, &req));
    return req;
}

/* It ends in time; what it says fits together. Returns its outcome. */
static int32_t expect_end(mf_request_t req)
{
    int32_t status = 1;
    int32_t codes[COUNT];
    uint32_t failed = 0;
    char text[256];
    mf_assert_ok(mf_request_wait(req, END_MS, &status));
    mf_assert_ok(mf_request_results(req, codes, COUNT));
    mf_assert_ok(mf_request_error(req, text, sizeof(text)));
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_true(codes[i] == SMEM_OK || codes[i] == SMEM_NOT_CONNECTED);
        failed += codes[i] != SMEM_OK;
    }
    mf_assert_rc(status, failed ? SMEM_PARTIAL_FAILED : SMEM_OK);
    if (failed && strstr(text, "rank 1") == NULL) {
        fail_msg("the sentence names nobody: %s", text);
    }
    mf_assert_ok(mf_request_free(req));
    return status;
}

static mf_prepared_t prepare(struct rig *rig)
{
    mf_prepared_t p = NULL;
    mf_xcopy_strided_t s = {.size = sizeof(s),
                            .count = 1000,
                            .type = SMEMB_COPY_H2G,
                            .src = rig->local,
                            .dst = rig->target,
                            .src_stride = 512,
                            .dst_stride = 1024,
                            .block_bytes = 512};
    mf_assert_ok(mf_prepare_strided(rig->pool, &s, &p));
    mf_assert_ok(mf_prepared_run(p, 0, 0, 0));
    return p;
}

/* ---- named points ---- */

static void test_kill__while_queued(void **state)
{
    struct rig *rig = *state;
    start_peer(rig);
    mf_request_t first = submit(rig, 2 * MIB, 0);
    mf_request_t second = submit(rig, 2 * MIB, 0); /* one worker: it stands behind the first */
    int32_t status;
    mf_assert_rc(mf_request_poll(second, &status), SMEM_TIMEOUT);
    kill_peer(rig);
    bury_peer(rig);
    (void)expect_end(first);
    (void)expect_end(second);
}

static void test_kill__while_running(void **state)
{
    struct rig *rig = *state;
    start_peer(rig);
    mf_prepared_t p = prepare(rig);
    mf_request_t req = submit(rig, 2 * MIB, 0);
    kill_peer(rig);
    bury_peer(rig);
    (void)expect_end(req);
    /* Once the death is known, new requests are refused, and so is what was prepared. */
    int32_t status = SMEM_OK;
    for (int i = 0; i < 1000 && status == SMEM_OK; i++) {
        status = expect_end(submit(rig, 8, 0));
        sleep_us(5000);
    }
    mf_assert_rc(status, SMEM_PARTIAL_FAILED);
    mf_assert_rc(mf_prepared_run(p, 0, 0, 0), SMEM_NOT_CONNECTED);
    mf_assert_err_has("prepare it again");
    start_peer(rig);
    mf_assert_rc(mf_prepared_run(p, 0, 0, 0), SMEM_NOT_CONNECTED);
    mf_assert_err_has("rank 1 has left pool 1 or died since");
    mf_assert_ok(mf_prepared_free(p));
    mf_assert_ok(mf_prepared_free(prepare(rig)));
    kill_peer(rig);
    bury_peer(rig);
}

static void test_kill__when_completed_and_not_polled(void **state)
{
    struct rig *rig = *state;
    int fd = -1;
    start_peer(rig);
    mf_request_t at_once = submit(rig, 8, 0);
    mf_request_t by_worker = submit(rig, 8, MF_XCOPY_QUEUED);
    mf_assert_ok(mf_request_fd(by_worker, &fd));
    uint64_t word;
    for (int i = 0; i < 10000 && read(fd, &word, sizeof(word)) != sizeof(word); i++) {
        sleep_us(100);
    }
    kill_peer(rig);
    bury_peer(rig);
    mf_assert_ok(expect_end(at_once));
    mf_assert_ok(expect_end(by_worker));
}

/* ---- random points ---- */

static void test_kill__at_random_times(void **state)
{
    struct rig *rig = *state;
    uint64_t seed = 0x9e3779b97f4a7c15ull;
    for (uint32_t round = 0; round < RANDOM; round++) {
        mf_request_t reqs[6];
        start_peer(rig);
        mf_prepared_t p = prepare(rig);
        for (uint32_t i = 0; i < 6; i++) {
            reqs[i] = submit(rig, i % 3 ? 2 * MIB : 8, i % 2 ? MF_XCOPY_QUEUED : 0);
        }
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        sleep_us((unsigned)(seed >> 33) % (round % 2 ? 2000 : 100000));
        kill_peer(rig);
        if (seed >> 63) {
            mf_assert_ok(mf_request_cancel(reqs[5], END_MS));
            mf_assert_ok(mf_request_free(reqs[5]));
        } else {
            (void)expect_end(reqs[5]);
        }
        for (uint32_t i = 0; i < 5; i++) {
            (void)expect_end(reqs[i]);
        }
        int rc = mf_prepared_run(p, 0, 0, 0);
        assert_true(rc == SMEM_OK || rc == SMEM_NOT_CONNECTED);
        mf_assert_ok(mf_prepared_free(p));
        bury_peer(rig);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "peer") == 0) {
        return peer_main(argv[2]);
    }
    program = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill__while_queued),
        cmocka_unit_test(test_kill__while_running),
        cmocka_unit_test(test_kill__when_completed_and_not_polled),
        cmocka_unit_test(test_kill__at_random_times),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
