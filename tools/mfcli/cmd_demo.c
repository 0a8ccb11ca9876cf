// SPDX-License-Identifier: Apache-2.0
// mfcli demo: reads the arguments; is the guide of the tour, or one of its ranks when it was
// started by the guide.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "commands.h"
#include "demo/rank.h"
#include "demo/tour.h"

#define DESCRIPTOR_MAX 1023u

struct demo_args {
    bool pause, json;
    uint64_t fault, channel;
};

static int check(const struct arg_spec *spec, const struct demo_args *args)
{
    if (args->pause && args->json) {
        return args_usage_error(spec, "--pause and --json exclude each other");
    }
    if (args->pause && !isatty(STDIN_FILENO)) {
        return args_usage_error(spec, "--pause waits for the Enter key: standard input has to be "
                                      "a terminal");
    }
    if (getenv("MF_RANK")) {
        return args_usage_error(spec, "MF_RANK is set: the demo starts its ranks itself, do not "
                                      "start it with mfcli run");
    }
    return ARGS_GO;
}

/* What the ranks find in their environment, unless the user has chosen: simulated devices, since
 * the tour shows some, and no log lines between the steps. */
static const char *prepare_environment(void)
{
    const char *device = getenv("MF_DEVICE");

    if (!device || !*device || strcmp(device, "auto") == 0) {
        setenv("MF_DEVICE", "sim", 1);
        device = "sim";
    }
    setenv("MF_LOG_LEVEL", "4", 0);
    return device;
}

int cmd_demo(int argc, char **argv)
{
    struct demo_args args = {.pause = false};
    const struct arg_option options[] = {
        arg_flag("pause", &args.pause, "wait for the Enter key after each step"),
        arg_flag("json", &args.json, "print JSON, one object a step"),
        arg_hidden(arg_number("channel", "FD", &args.channel, 3, DESCRIPTOR_MAX,
                              "be a rank that is asked over this descriptor")),
        arg_hidden(arg_number("fault", "STEP", &args.fault, 1, 64,
                              "spoil a byte in this step: the check must notice")),
    };
    const struct arg_spec spec = {
        .command = "mfcli demo",
        .about = "A guided tour: starts four ranks, shows what they can do with each other's "
                 "memory, says\nwhy, and checks every byte. Takes some seconds.",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    int result = args_parse(&spec, argc, argv, NULL);
    struct tour tour = {.fault = 0};

    if (result == ARGS_GO && args.channel) {
        return demo_rank((int)args.channel);
    }
    if (result == ARGS_GO) {
        result = check(&spec, &args);
    }
    if (result != ARGS_GO) {
        return result;
    }
    tour.fault = (uint32_t)args.fault;
    tour.device = prepare_environment();
    say_init(&tour.say, args.json, args.pause);
    return guide_open(&tour.guide) ? CLI_FAILURE : tour_run(&tour);
}
