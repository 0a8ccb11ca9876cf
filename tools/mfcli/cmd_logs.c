// SPDX-License-Identifier: Apache-2.0
// mfcli logs: gathers what a report of a problem needs into one archive, and lists what it took.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "alloc.h"
#include "args.h"
#include "commands.h"
#include "logs/archive.h"
#include "logs/collect.h"
#include "out.h"

#define TRACE_DIR_VARIABLE "MF_TRACE_DIR"
#define TRACE_PREFIX       "ptracer_"

/* Where the archive goes: in a directory it gets a name with the time. NULL: neither. */
static char *archive_path(const char *out)
{
    struct stat about;
    struct tm utc;
    time_t now = time(NULL);
    char stamp[32];
    size_t length = strlen(out);

    if (stat(out, &about) || !S_ISDIR(about.st_mode)) {
        return archive_name_is_good(out) ? cli_text("%s", out) : NULL;
    }
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
    return cli_text("%s%smfcli-logs-%s.tar.gz", out, length && out[length - 1] == '/' ? "" : "/",
                    stamp);
}

static void print_entries(const struct collect *collect)
{
    static const char *const heads[] = {">bytes", "entry", "note"};
    struct out_table table;

    out_table_init(&table, heads, 3);
    for (uint32_t i = 0; i < collect->count; i++) {
        const struct entry *entry = &collect->entries[i];
        char *bytes = cli_text("%" PRIu64, entry->bytes);
        const char *cells[] = {bytes, entry->name, entry->note};

        out_table_row(&table, cells);
        free(bytes);
    }
    out_table_print(&table, stdout);
    out_table_fini(&table);
}

static void print_json(const struct collect *collect)
{
    for (uint32_t i = 0; i < collect->count; i++) {
        const struct entry *entry = &collect->entries[i];
        struct out_json json;

        out_json_open(&json, stdout);
        out_json_bytes(&json, "entry", entry->name, strlen(entry->name));
        out_json_u64(&json, "bytes", entry->bytes);
        out_json_text(&json, "note", entry->note);
        out_json_close(&json);
    }
}

static void print_result(const struct collect *collect, const char *path, bool json)
{
    struct out_json object;

    if (!json) {
        print_entries(collect);
        printf("\nwrote %s\nValues that look like secrets were taken out of options and "
               "variables; files that you\nnamed are as they are: look before you send it.\n",
               path);
        return;
    }
    print_json(collect);
    out_json_open(&object, stdout);
    out_json_bytes(&object, "archive", path, strlen(path));
    out_json_u64(&object, "entries", collect->count);
    out_json_close(&object);
}

static int make_archive(const char *path, const struct arg_texts *dirs, bool json)
{
    struct archive archive;
    struct collect collect;
    const char *trace_dir = getenv(TRACE_DIR_VARIABLE);
    int result = CLI_OK;

    if (archive_open(&archive, path)) {
        fprintf(stderr, "mfcli logs: %s\n", archive.error);
        return CLI_FAILURE;
    }
    collect_init(&collect, archive.input);
    collect_system(&collect);
    if (trace_dir && *trace_dir) {
        collect_path(&collect, trace_dir, TRACE_PREFIX);
    }
    for (size_t i = 0; i < dirs->count; i++) {
        collect_path(&collect, dirs->items[i], "");
    }
    if (archive_close(&archive, collect_end(&collect))) {
        fprintf(stderr, "mfcli logs: %s\n", archive.error);
        result = CLI_FAILURE;
    } else {
        print_result(&collect, path, json);
    }
    collect_fini(&collect);
    return result;
}

/* A name that is not there is a mistake; one that cannot be read is noted in the report. */
static int check_dirs(const struct arg_spec *spec, const struct arg_texts *dirs)
{
    for (size_t i = 0; i < dirs->count; i++) {
        struct stat about;

        if (stat(dirs->items[i], &about) && errno != EACCES) {
            return args_usage_error(spec, "--dir '%s': %s", dirs->items[i], strerror(errno));
        }
    }
    return ARGS_GO;
}

int cmd_logs(int argc, char **argv)
{
    struct arg_texts dirs = {.count = 0};
    const char *out = ".";
    bool json = false;
    const struct arg_option options[] = {
        arg_text("out", "DIR|FILE", &out,
                 "where to: a directory, or a new file that ends in .tar.gz, .tgz or .tar\n"
                 "(default: the current directory, a name with the time)"),
        arg_texts("dir", "DIR|FILE", &dirs,
                  "take this log file, or this directory with all that is below it, too;\n"
                  "may be given several times; links are not followed"),
        arg_flag("json", &json, "print JSON, one object an entry and one for the archive"),
    };
    const struct arg_spec spec = {
        .command = "mfcli logs",
        .about = "Gathers what a report of a problem needs into one archive: version, options and\n"
                 "variables MF_* (without what looks like a secret), devices, limits, memory,\n"
                 "control groups, kernel messages, trace files, and log files that you name.",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    int result = args_parse(&spec, argc, argv, NULL);
    char *path = NULL;

    if (result == ARGS_GO) {
        result = check_dirs(&spec, &dirs);
    }
    if (result != ARGS_GO) {
        return result;
    }
    path = archive_path(out);
    if (!path) {
        return args_usage_error(&spec,
                                "--out '%s' is no directory, and does not end in .tar.gz, .tgz or "
                                ".tar",
                                out);
    }
    signal(SIGPIPE, SIG_IGN); /* a gzip that ended is an error of write */
    result = make_archive(path, &dirs, json);
    free(path);
    return result;
}
