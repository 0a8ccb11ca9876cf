// SPDX-License-Identifier: Apache-2.0
// The order of the demo's steps, and how it ends.
#include "tour.h"

#include <stdio.h>

#include "args.h"
#include "replay/pause.h"

static const struct tour_step steps[] = {
    {"meet", "Four processes meet", tour_meet},
    {"pool", "One pool: the same addresses in every process", tour_pool},
    {"put", "A put, read by plain loads in other processes", tour_put},
    {"cost", "What a put costs", tour_cost},
    {"batch", "A batch: many places, one call", tour_batch},
    {"partial", "A batch of which a part fails", tour_partial},
    {"refused", "A copy that is refused says why", tour_refused},
    {"async", "Copies in the background", tour_async},
    {"grow", "A rank gives more", tour_grow},
    {"death", "Rank 2 is killed while the others copy to it", tour_death},
    {"return", "Rank 2 comes back", tour_return},
    {"device", "Device memory", tour_device},
    {"leave", "A rank leaves", tour_leave},
};

struct demo_ask tour_question(const struct tour *tour, enum demo_op op)
{
    return (struct demo_ask){.op = op, .fault = tour->fault == tour->say.step};
}

bool tour_ask(struct tour *tour, uint32_t rank, const struct demo_ask *ask,
              struct demo_answer *answer, const char *what)
{
    if (guide_ask(&tour->guide, rank, ask, answer)) {
        return true;
    }
    return say_check(&tour->say, false, "rank %u, %s: %d: %s", rank, what, answer->rc,
                     answer->text);
}

static void print_end(struct say *say, uint64_t start_ns, bool all)
{
    double seconds = (double)(now_ns() - start_ns) / 1e9;
    struct out_json json;

    if (say->json) {
        out_json_open(&json, stdout);
        out_json_u64(&json, "steps", say->step);
        out_json_u64(&json, "checks", say->checks);
        out_json_u64(&json, "wrong", say->wrong);
        out_json_bool(&json, "complete", all);
        out_json_real(&json, "seconds", seconds, 3);
        out_json_close(&json);
        return;
    }
    if (say->wrong || !all) {
        printf("%u of %u checks failed%s.\n", say->wrong, say->checks,
               all ? "" : "; the tour ended early");
        return;
    }
    printf("All %u checks are good, after %.1f s. No process is left.\n\n"
           "Where to go from here:\n"
           "    examples/first_steps     the smallest program, 60 lines\n"
           "    docs/user-guide.md       ranks, pools, memory, copies, errors\n"
           "    mfcli replay             a KV-cache pool at work\n"
           "    mfcli bench              what this machine reaches\n",
           say->checks, seconds);
}

int tour_run(struct tour *tour)
{
    uint64_t start = now_ns();
    bool go_on = true;

    if (!tour->say.json) {
        printf("MemFabric makes the memory of many processes one memory. This tour starts\n"
               "four processes on this machine and shows what they can do with it. Each\n"
               "step checks every byte.\n\n");
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && go_on; i++) {
        say_step(&tour->say, steps[i].name, steps[i].title);
        go_on = steps[i].run(tour);
        say_end(&tour->say);
    }
    guide_close(&tour->guide);
    print_end(&tour->say, start, go_on);
    return go_on && tour->say.wrong == 0 ? CLI_OK : CLI_FAILURE;
}
