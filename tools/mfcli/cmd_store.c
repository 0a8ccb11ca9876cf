// SPDX-License-Identifier: Apache-2.0
// mfcli store: serves a config store until it is told to stop.
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "args.h"
#include "commands.h"
#include "out.h"
#include "store_host.h"

static void print_status(void)
{
    struct out_json json;
    char *status = store_host_status();

    out_json_open(&json, stdout);
    out_json_text(&json, "event", "status");
    out_json_u64(&json, "time", (uint64_t)time(NULL));
    out_json_raw(&json, "stores", status ? status : "[]");
    out_json_close(&json);
    free(status);
}

static void print_url(const char *url, bool json)
{
    struct out_json object;

    if (json) {
        out_json_open(&object, stdout);
        out_json_text(&object, "event", "listening");
        out_json_text(&object, "url", url);
        out_json_close(&object);
    } else {
        printf("%s\n", url);
        fflush(stdout);
    }
}

/* Until one of the signals arrives. */
static void serve(const sigset_t *stop, bool json, uint64_t every_ms)
{
    struct timespec every = {.tv_sec = (time_t)(every_ms / 1000),
                             .tv_nsec = (long)(every_ms % 1000) * 1000000};

    if (!json) {
        while (sigwaitinfo(stop, NULL) < 0) {
        }
        return;
    }
    do {
        print_status();
    } while (sigtimedwait(stop, NULL, &every) < 0);
}

int cmd_store(int argc, char **argv)
{
    const char *url = "tcp://127.0.0.1:0";
    bool json = false;
    uint64_t every_ms = 5000;
    const struct arg_option options[] = {
        arg_text("url", "URL", &url,
                 "tcp://address:port; port 0 takes a free one (default tcp://127.0.0.1:0)"),
        arg_seconds("every", &every_ms, 10, 86400000,
                    "with --json: seconds between two lines of status (default 5)"),
        arg_flag("json", &json, "print JSON, one object a line"),
    };
    const struct arg_spec spec = {
        .command = "mfcli store",
        .about =
            "Serves a config store, where ranks meet, until SIGINT or SIGTERM. Prints its URL.",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    int result = args_parse(&spec, argc, argv, NULL);
    struct store_host host;
    sigset_t stop;

    if (result != ARGS_GO) {
        return result;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    if (store_host_open(&host, url, spec.command)) {
        return CLI_FAILURE;
    }
    print_url(host.url, json);
    serve(&stop, json, every_ms);
    store_host_close(&host);
    return CLI_OK;
}
