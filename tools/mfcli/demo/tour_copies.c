// SPDX-License-Identifier: Apache-2.0
// The first half of the tour: ranks, the pool, and all sorts of copies.
#include "tour.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "smem.h"

#define HELLO_OFFSET  64u
#define COST_OFFSET   (6u << 20) /* beyond what other steps use */
#define COST_BIG      (1u << 20)
#define COST_COUNT    101u
#define ROWS          20u /* of each of three ranks */
#define ROW_BYTES     4096u
#define ASYNC_COUNT   16u
#define ASYNC_BYTES   (64u << 10)
#define PARTIAL_SEED  6u
#define ASYNC_SEED    8u
#define REQUEST_SEED  9u
#define GROW_SEED     10u
#define GROW_BYTES    (4u << 20)
#define SEAM_BYTES    65536u
#define PARTIAL_WRONG 2u

bool tour_meet(struct tour *tour)
{
    struct say *say = &tour->say;
    bool good = true;

    say_text(say,
             "A MemFabric program runs as several processes; each is called a rank and has a "
             "number. They know nothing of each other but the address of the config store, a "
             "small service where they meet. It runs in this process here: %s. It never sees the "
             "data.",
             tour->guide.store.url);
    say_line(say, "smem_bm_init(url, 4, device, &config);");
    for (uint32_t r = 0; r < DEMO_RANKS && good; r++) {
        struct demo_ask ask = tour_question(tour, DEMO_INIT);

        ask.a[0] = r;
        ask.a[1] = strcmp(tour->device, "sim") == 0 ? r : 0;
        snprintf(ask.text, sizeof(ask.text), "%s", tour->guide.store.url);
        if (guide_start(&tour->guide, r)) {
            return say_check(say, false, "start rank %u: %s", r, strerror(errno));
        }
        guide_send(&tour->guide, r, &ask);
    }
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        struct demo_answer answer;

        guide_receive(&tour->guide, r, &answer);
        good = say_check(say, answer.rc == SMEM_OK, "rank %u is process %d%s%s", r,
                         (int)tour->guide.ranks[r].pid,
                         answer.rc == SMEM_OK ? "" : ", but smem_bm_init failed: ", answer.text) &&
               good;
    }
    return good;
}

static void draw_map(struct tour *tour)
{
    struct say *say = &tour->say;

    say_line(say, "%s", "");
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        say_line(say, "0x%012" PRIx64 "  +--------------------------------+", tour->parts[r]);
        say_line(say, "                | %2u MiB, given by rank %u        |", TOUR_PART_BYTES >> 20,
                 r);
        say_line(say, "                | %2u MiB of addresses, no memory |",
                 (TOUR_MOST_BYTES - TOUR_PART_BYTES) >> 20);
    }
    say_line(say, "0x%012" PRIx64 "  +--------------------------------+",
             tour->parts[DEMO_RANKS - 1] + TOUR_MOST_BYTES);
    say_line(say, "%s", "");
}

bool tour_pool(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = tour_question(tour, DEMO_POOL);
    bool good = true, same = true;

    say_text(say,
             "Each rank gives %u MiB of its memory to pool 0, may give up to %u, and joins it:",
             TOUR_PART_BYTES >> 20, TOUR_MOST_BYTES >> 20);
    say_line(say, "smem_bm_create_option_t option = {.localDRAMSize = %u << 20,",
             TOUR_PART_BYTES >> 20);
    say_line(say, "    .maxDramSize = %u << 20, .dataOpType = SMEMB_DATA_OP_SDMA};",
             TOUR_MOST_BYTES >> 20);
    say_line(say, "pool = smem_bm_create2(0, &option);");
    say_line(say, "smem_bm_join(pool, 0);");
    ask.a[0] = TOUR_PART_BYTES;
    ask.a[1] = TOUR_MOST_BYTES;
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        guide_send(&tour->guide, r, &ask);
    }
    for (uint32_t r = 0; r < DEMO_RANKS; r++) {
        struct demo_answer answer;

        guide_receive(&tour->guide, r, &answer);
        good = good && (answer.rc == SMEM_OK ||
                        say_check(say, false, "rank %u, create and join: %s", r, answer.text));
        if (r == 0) {
            memcpy(tour->parts, answer.v, sizeof(tour->parts));
        }
        same = same && memcmp(tour->parts, answer.v, sizeof(tour->parts)) == 0;
    }
    if (!good) {
        return false;
    }
    draw_map(tour);
    say_text(say, "That is the pool. A number of this map (a global virtual address, GVA) means "
                  "the same byte in every process: pointers into the pool can be sent around and "
                  "stored in the pool itself.");
    say_u64(say, "base", tour->parts[0]);
    return say_check(say, same, "all four ranks gave the same four addresses");
}

bool tour_put(struct tour *tour)
{
    struct say *say = &tour->say;
    static const char text[] = "hello, here is rank 0";
    static const uint32_t readers[] = {3, 1};
    struct demo_ask ask = tour_question(tour, DEMO_TEXT);
    struct demo_answer answer;

    say_text(say, "Rank 0 copies a text of its own memory into rank 3's part. H2G means: from host "
                  "memory to a global address.");
    say_line(say, "smem_copy_params_t one = {.src = text, .dest = part3 + %u, ...};", HELLO_OFFSET);
    say_line(say, "smem_bm_copy(pool, &one, SMEMB_COPY_H2G, 0);");
    ask.a[0] = 3;
    ask.a[1] = HELLO_OFFSET;
    snprintf(ask.text, sizeof(ask.text), "%s", text);
    if (!tour_ask(tour, 0, &ask, &answer, "put")) {
        return false;
    }
    say_text(say,
             "When the call returns, the bytes are there. Rank 3 reads its own memory; rank 1, "
             "which took no part, reads the same address with a pointer. On one host that is "
             "plain memory for both:");
    say_line(say, "printf(\"%%s\", (char *)0x%" PRIx64 ");", tour->parts[3] + HELLO_OFFSET);
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
        uint32_t r = readers[i];

        ask = tour_question(tour, DEMO_LOAD);
        ask.a[0] = 3;
        ask.a[1] = HELLO_OFFSET;
        if (!tour_ask(tour, r, &ask, &answer, "load")) {
            return false;
        }
        say_check(say, strcmp(answer.text, text) == 0, "rank %u reads \"%s\"", r, answer.text);
    }
    return true;
}

/* One put of a size, checked by its owner. */
static bool measure(struct tour *tour, uint64_t bytes, uint64_t *ns)
{
    struct demo_ask ask = tour_question(tour, DEMO_PUT);
    struct demo_answer answer;

    ask.a[0] = 1;
    ask.a[1] = COST_OFFSET;
    ask.a[2] = bytes;
    ask.a[3] = bytes;
    ask.a[4] = COST_COUNT;
    if (!tour_ask(tour, 0, &ask, &answer, "put")) {
        return false;
    }
    *ns = answer.v[0];
    ask.op = DEMO_CHECK;
    if (!tour_ask(tour, 1, &ask, &answer, "check")) {
        return false;
    }
    say_check(&tour->say, answer.v[0] == 0, "rank 1 found %" PRIu64 " wrong bytes of %" PRIu64,
              answer.v[0], bytes);
    return true;
}

bool tour_cost(struct tour *tour)
{
    struct say *say = &tour->say;
    uint64_t small = 0, big = 0;

    say_text(say,
             "Rank 0 puts 8 bytes and then 1 MiB into rank 1's part, %u times each; no system "
             "call is made and nobody else has to run for it.",
             COST_COUNT);
    if (!measure(tour, 8, &small) || !measure(tour, COST_BIG, &big)) {
        return false;
    }
    say_line(say, "8 bytes  %8" PRIu64 " ns, the clock's own time included", small);
    say_line(say, "1 MiB    %8.1f us, that is %.1f GB/s", (double)big / 1000,
             (double)COST_BIG / (double)(big ? big : 1));
    say_text(say, "These are medians on a machine that runs this tour; mfcli bench measures well.");
    say_u64(say, "put_8_ns", small);
    say_u64(say, "put_1m_ns", big);
    return true;
}

bool tour_batch(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = tour_question(tour, DEMO_FILL);
    struct demo_answer answer;

    say_text(say,
             "Ranks 1, 2 and 3 fill their parts with rows of 4 KiB, by plain stores. Rank 0 "
             "gathers %u scattered rows of each with one call, and checks them:",
             ROWS);
    say_line(say, "smem_bm_copy_batch(pool, &batch, SMEMB_COPY_G2H, 0);");
    for (uint32_t r = 1; r < DEMO_RANKS; r++) {
        ask.a[1] = 0;
        ask.a[2] = 2u * ROWS * ROW_BYTES;
        ask.a[3] = r;
        if (!tour_ask(tour, r, &ask, &answer, "fill")) {
            return false;
        }
    }
    ask = tour_question(tour, DEMO_GATHER);
    ask.a[0] = ROWS;
    ask.a[1] = ROW_BYTES;
    if (!tour_ask(tour, 0, &ask, &answer, "gather")) {
        return false;
    }
    say_text(say, "A batch that is wanted again and again can be compiled once:");
    say_line(say, "mf_prepare_indexed(pool, &rows, &prepared);");
    say_line(say, "mf_prepared_run(prepared, 0, 0, 0);");
    say_u64(say, "gather_ns", answer.v[0]);
    say_u64(say, "prepared_ns", answer.v[2]);
    say_check(say, answer.v[1] == 0,
              "%u rows in %.1f us, by the prepared batch in %.1f us, %" PRIu64 " wrong bytes",
              ROWS * (DEMO_RANKS - 1), (double)answer.v[0] / 1000, (double)answer.v[2] / 1000,
              answer.v[1]);
    return true;
}

bool tour_partial(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = tour_question(tour, DEMO_PARTIAL);
    struct demo_answer answer;
    bool codes = true;

    say_text(say, "Rank 0 sends four blocks to rank 1; the third would run out of what "
                  "rank 1 gave. smem_bm_copy_batch() refuses such a batch as a whole. This one "
                  "does what can be done, and gives a code for each element:");
    say_line(say, "smem_bm_copy_batch_partial_succeed(pool, &batch, type, 0, &result);");
    ask.a[1] = TOUR_PART_BYTES;
    ask.a[3] = PARTIAL_SEED;
    guide_ask(&tour->guide, 0, &ask, &answer);
    if (!say_check(say, answer.rc == SMEM_PARTIAL_FAILED,
                   "the call returned %d, SMEM_PARTIAL_FAILED%s%s", answer.rc,
                   answer.rc == SMEM_PARTIAL_FAILED ? "" : " was expected: ",
                   answer.rc == SMEM_PARTIAL_FAILED ? "" : answer.text)) {
        return false;
    }
    for (uint32_t i = 0; i < 4; i++) {
        int code = (int)(int64_t)answer.v[i];

        say_line(say, "element %u: %5d %s", i, code,
                 code == SMEM_OK ? "SMEM_OK" : "SMEM_INVALID_PARAM");
        codes = codes && code == (i == PARTIAL_WRONG ? SMEM_INVALID_PARAM : SMEM_OK);
    }
    say_check(say, codes, "only the third element failed");
    say_check(say, answer.v[4] == 0, "the three others are at rank 1, byte for byte");
    return true;
}

bool tour_refused(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = tour_question(tour, DEMO_BEYOND);
    struct demo_answer answer;

    say_text(say, "Every range is checked before a byte moves. Rank 0 copies 64 bytes to a place "
                  "8 bytes before the end of rank 1's part. The call returns a code, and "
                  "smem_get_last_err_msg() says what was wrong:");
    ask.a[0] = 1;
    ask.a[1] = TOUR_PART_BYTES;
    guide_ask(&tour->guide, 0, &ask, &answer);
    say_sentence(say, answer.text);
    say_value(say, "sentence", answer.text);
    say_check(say, answer.rc == SMEM_INVALID_PARAM, "the call returned %d, SMEM_INVALID_PARAM",
              answer.rc);
    return answer.rc == SMEM_INVALID_PARAM;
}

/* Sixteen blocks from rank 3 to rank 0, in one of two ways. */
static bool background(struct tour *tour, enum demo_op op, uint64_t seed,
                       struct demo_answer *answer)
{
    struct demo_ask ask = tour_question(tour, op);

    ask.a[0] = ASYNC_COUNT;
    ask.a[1] = ASYNC_BYTES;
    ask.a[2] = 0;
    ask.a[3] = seed;
    return tour_ask(tour, 3, &ask, answer, "copies in the background");
}

bool tour_async(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_answer answer;

    say_text(say,
             "Rank 3 hands %u copies of 64 KiB to the library and is free for other work; the "
             "wait says when they are done, or what failed:",
             ASYNC_COUNT);
    say_line(say, "smem_bm_copy(pool, &one, SMEMB_COPY_H2G, ASYNC_COPY_FLAG);");
    say_line(say, "smem_bm_wait(pool);");
    if (!background(tour, DEMO_ASYNC, ASYNC_SEED, &answer)) {
        return false;
    }
    say_u64(say, "queue_ns", answer.v[0]);
    say_u64(say, "done_ns", answer.v[1]);
    say_check(say, answer.v[2] == 0,
              "queued after %.1f us, done after %.1f us, %" PRIu64 " wrong bytes",
              (double)answer.v[0] / 1000, (double)answer.v[1] / 1000, answer.v[2]);
    say_text(say,
             "Who has many things under way makes each of them a request, which can be polled, "
             "waited for with a deadline, cancelled, or watched by a descriptor:");
    say_line(say, "mf_xcopy_submit(pool, &batch, &request);");
    say_line(say, "mf_request_poll(request, &status);");
    if (!background(tour, DEMO_REQUEST, REQUEST_SEED, &answer)) {
        return false;
    }
    say_check(say, answer.v[2] == 0,
              "submitted after %.1f us, done after %.1f us and %" PRIu64 " polls, %" PRIu64
              " wrong bytes",
              (double)answer.v[0] / 1000, (double)answer.v[1] / 1000, answer.v[3], answer.v[2]);
    return true;
}

bool tour_grow(struct tour *tour)
{
    struct say *say = &tour->say;
    struct demo_ask ask = tour_question(tour, DEMO_GROW);
    struct demo_answer answer;

    say_text(say,
             "Rank 1 runs out of room and gives %u MiB more, while it is a member. They follow "
             "what it gave before; peers have them when the call returns:",
             GROW_BYTES >> 20);
    say_line(say, "smem_bm_extend_local_mem(pool, SMEM_MEM_TYPE_HOST, %u << 20);",
             GROW_BYTES >> 20);
    ask.a[0] = GROW_BYTES;
    if (!tour_ask(tour, 1, &ask, &answer, "extend")) {
        return false;
    }
    say_check(say, answer.v[0] == TOUR_PART_BYTES + GROW_BYTES, "rank 1 gives %" PRIu64 " MiB now",
              answer.v[0] >> 20);
    ask = tour_question(tour, DEMO_PUT);
    ask.a[0] = 1;
    ask.a[1] = TOUR_PART_BYTES - SEAM_BYTES / 2;
    ask.a[2] = SEAM_BYTES;
    ask.a[3] = GROW_SEED;
    if (!tour_ask(tour, 0, &ask, &answer, "put over the seam")) {
        return false;
    }
    ask.op = DEMO_CHECK;
    if (!tour_ask(tour, 1, &ask, &answer, "check")) {
        return false;
    }
    say_check(say, answer.v[0] == 0,
              "rank 0 put 64 KiB over the seam between old and new, %" PRIu64 " wrong bytes",
              answer.v[0]);
    return true;
}
