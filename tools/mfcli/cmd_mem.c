// SPDX-License-Identifier: Apache-2.0
// mfcli mem scan: free memory and huge pages of each NUMA node, and what a rank could give to a
// pool now.
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "args.h"
#include "commands.h"
#include "mem/probe.h"
#include "mem/scan.h"
#include "out.h"

#define MIB           ((uint64_t)1 << 20)
#define MIN_DEFAULT   1024u
#define MIN_MAX       ((uint64_t)1 << 40)
#define ANY_NODE      UINT64_MAX
#define WORKERS_AUTO  8u
#define PROBE_TIMEOUT 300000u
#define FIXED_HEADS   5u

struct mem_args {
    uint64_t node, min_mb, workers;
    const char *root;
    bool probe, json;
};

static int parse(struct arg_spec *spec, struct mem_args *args, int argc, char **argv)
{
    const struct arg_option options[] = {
        arg_lettered('n', arg_number("node", "NODE", &args->node, 0, MEM_NODES_MAX - 1,
                                     "only this NUMA node (default: all)")),
        arg_lettered('m', arg_number("min-mb", "MIN_MB", &args->min_mb, 1, MIN_MAX,
                                     "say which nodes can give so many MiB (default 1024)")),
        arg_lettered('w', arg_number("workers", "WORKERS", &args->workers, 1, PROBE_WORKERS_MAX,
                                     "threads of --probe (default: one for each processor, at\n"
                                     "most 8)")),
        arg_flag("probe", &args->probe,
                 "take all free 2 MiB pages of each node, touch them, and give them\n"
                 "back; others cannot have them meanwhile (default: only report)"),
        arg_flag("json", &args->json, "print JSON, one object a node and one for the machine"),
        arg_hidden(arg_text("root", "DIR", &args->root, "read DIR/proc and DIR/sys instead")),
    };
    int result = 0;

    spec->options = options;
    spec->count = sizeof(options) / sizeof(options[0]);
    result = args_parse(spec, argc, argv, NULL);
    spec->options = NULL;
    spec->count = 0;
    return result;
}

static int find_node(const struct arg_spec *spec, const struct mem_scan *scan, uint64_t number)
{
    char list[128] = "";
    size_t used = 0;

    for (uint32_t i = 0; i < scan->count; i++) {
        if (number == ANY_NODE || scan->nodes[i].number == number) {
            return ARGS_GO;
        }
        if (used + 8 < sizeof(list)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%u", i ? ", " : "",
                                     scan->nodes[i].number);
        }
    }
    return args_usage_error(spec,
                            "--node: there is no NUMA node %" PRIu64 " with memory here; "
                            "there is %s%s",
                            number, list, scan->numa ? "" : " (this kernel tells of no nodes)");
}

/* "2 MiB", "1 GiB". */
static char *size_text(uint64_t bytes)
{
    bool gib = bytes >= (1ull << 30), mib = bytes >= MIB;

    return cli_text("%" PRIu64 " %s",
                    bytes >> (gib   ? 30
                              : mib ? 20
                                    : 10),
                    gib ? "GiB" : (mib ? "MiB" : "KiB"));
}

static void print_table(const struct mem_scan *scan, const struct mem_args *args)
{
    struct out_table table;
    const char *cells[FIXED_HEADS + MEM_KINDS_MAX];
    char *own[FIXED_HEADS + MEM_KINDS_MAX] = {NULL};
    uint32_t columns = FIXED_HEADS + scan->kinds;

    for (int64_t row = -1; row < (int64_t)scan->count; row++) {
        const struct mem_node *node = row < 0 ? NULL : &scan->nodes[row];

        if (node && args->node != ANY_NODE && args->node != node->number) {
            continue;
        }
        own[0] = node ? cli_text("%u", node->number) : cli_text(">node");
        own[1] = node ? cli_text("%" PRIu64 " MiB", node->total / MIB) : cli_text(">memory");
        own[2] = node ? cli_text("%" PRIu64 " MiB", node->free / MIB) : cli_text(">free");
        for (uint32_t i = 0; i < scan->kinds; i++) {
            char *size = size_text(scan->sizes[i]);

            own[3 + i] = node ? cli_text("%" PRIu64 " of %" PRIu64, node->pages[i].free,
                                         node->pages[i].total)
                              : cli_text(">%s pages free", size);
            free(size);
        }
        own[columns - 2] = node ? cli_text("%" PRIu64 " MiB", node->can_give / MIB)
                                : cli_text(">a rank could give");
        own[columns - 1] = node
                               ? cli_text("%s", node->can_give / MIB >= args->min_mb ? "yes" : "no")
                               : cli_text(">%" PRIu64 " MiB?", args->min_mb);
        memcpy(cells, own, sizeof(cells));
        if (node) {
            out_table_row(&table, cells);
        } else {
            out_table_init(&table, cells, columns);
        }
        for (uint32_t i = 0; i < columns; i++) {
            free(own[i]);
        }
    }
    out_table_print(&table, stdout);
    out_table_fini(&table);
}

static void print_host(const struct mem_scan *scan, const struct mem_args *args)
{
    int kind = mem_scan_kind(scan, MEM_POOL_PAGE);
    uint64_t total = 0;

    for (uint32_t i = 0; kind >= 0 && i < scan->count; i++) {
        total += scan->nodes[i].pages[kind].total;
    }
    printf("\nmay be allocated:       %" PRIu64 " MiB, by %s\n", scan->may_allocate / MIB,
           scan->limit);
    printf("transparent huge pages: %s\n", scan->thp);
    printf("  of shared memory:     %s\n", scan->thp_shared);
    if (!scan->numa) {
        printf("This kernel tells of no NUMA nodes: node 0 is the whole machine.\n");
    }
    if (kind < 0) {
        printf("This kernel has no 2 MiB pages: pools use ordinary ones.\n");
    } else if (total == 0) {
        printf("No 2 MiB pages are set up: pools use ordinary ones. To get %" PRIu64
               " MiB of them, as root:\n    echo %" PRIu64 " > /proc/sys/vm/nr_hugepages\n",
               args->min_mb, (args->min_mb * MIB + MEM_POOL_PAGE - 1) / MEM_POOL_PAGE);
    } else {
        printf("Pools use 2 MiB pages when enough are free for all that a rank gives, else "
               "ordinary ones.\n");
    }
}

static void node_json(const struct mem_scan *scan, const struct mem_node *node,
                      const struct mem_args *args)
{
    struct out_json json;
    char *pages = cli_text("[");

    for (uint32_t i = 0; i < scan->kinds; i++) {
        char *more = cli_text(
            "%s%s{\"size\": %" PRIu64 ", \"total\": %" PRIu64 ", \"free\": %" PRIu64 "}", pages,
            i ? ", " : "", scan->sizes[i], node->pages[i].total, node->pages[i].free);

        free(pages);
        pages = more;
    }
    out_json_open(&json, stdout);
    out_json_u64(&json, "node", node->number);
    out_json_u64(&json, "total", node->total);
    out_json_u64(&json, "free", node->free);
    out_json_u64(&json, "available", node->available);
    out_json_u64(&json, "can_give", node->can_give);
    out_json_bool(&json, "enough", node->can_give / MIB >= args->min_mb);
    pages = cli_grow(pages, strlen(pages) + 2, 1);
    memcpy(pages + strlen(pages), "]", 2);
    out_json_raw(&json, "huge_pages", pages);
    out_json_close(&json);
    free(pages);
}

static void print_json(const struct mem_scan *scan, const struct mem_args *args)
{
    struct out_json json;

    for (uint32_t i = 0; i < scan->count; i++) {
        if (args->node == ANY_NODE || args->node == scan->nodes[i].number) {
            node_json(scan, &scan->nodes[i], args);
        }
    }
    out_json_open(&json, stdout);
    out_json_u64(&json, "nodes", scan->count);
    out_json_bool(&json, "numa", scan->numa);
    out_json_u64(&json, "may_allocate", scan->may_allocate);
    out_json_text(&json, "limited_by", scan->limit);
    out_json_text(&json, "transparent", scan->thp);
    out_json_text(&json, "transparent_shared", scan->thp_shared);
    out_json_close(&json);
}

static void print_probe(const struct mem_probe *probe, const struct mem_probe_result *result,
                        bool json)
{
    struct out_json object;

    if (json) {
        out_json_open(&object, stdout);
        out_json_i64(&object, "probe", probe->node);
        out_json_u64(&object, "bytes", probe->bytes);
        out_json_u64(&object, "touched", result->touched);
        out_json_u64(&object, "workers", probe->workers);
        out_json_real(&object, "seconds", result->seconds, 3);
        out_json_text(&object, "error", result->error);
        out_json_close(&object);
    } else if (probe->bytes == 0) {
        printf("probe of node %d: no 2 MiB page is free, nothing was touched\n", probe->node);
    } else {
        printf("probe of node %d: %" PRIu64 " of %" PRIu64 " MiB touched by %u threads in %.2f s"
               "%s%s\n",
               probe->node, result->touched / MIB, probe->bytes / MIB, probe->workers,
               result->seconds, result->error[0] ? ": " : ", and given back", result->error);
    }
}

static int probe_all(const struct mem_scan *scan, const struct mem_args *args)
{
    int kind = mem_scan_kind(scan, MEM_POOL_PAGE);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t workers = processors > (long)WORKERS_AUTO ? WORKERS_AUTO
                       : processors > 0                ? (uint64_t)processors
                                                       : 1;
    int result = CLI_OK;

    workers = args->workers ? args->workers : workers;
    for (uint32_t i = 0; i < scan->count; i++) {
        const struct mem_node *node = &scan->nodes[i];
        struct mem_probe probe = {.node = scan->numa ? (int)node->number : -1,
                                  .bytes = kind < 0 ? 0 : node->pages[kind].free * MEM_POOL_PAGE,
                                  .page = MEM_POOL_PAGE,
                                  .workers = (uint32_t)workers,
                                  .timeout_ms = PROBE_TIMEOUT};
        struct mem_probe_result done = {.touched = 0};

        if (args->node != ANY_NODE && args->node != node->number) {
            continue;
        }
        if (probe.bytes && mem_probe_run(&probe, &done)) {
            result = CLI_FAILURE;
        }
        print_probe(&probe, &done, args->json);
    }
    return result;
}

static int scan_memory(const struct arg_spec *spec, const struct mem_args *args)
{
    struct mem_scan scan;
    int result = CLI_FAILURE;

    if (mem_scan_read(&scan, args->root)) {
        fprintf(stderr, "%s: %s\n", spec->command, scan.limit);
    } else {
        result = find_node(spec, &scan, args->node);
    }
    if (result == ARGS_GO) {
        if (args->json) {
            print_json(&scan, args);
        } else {
            print_table(&scan, args);
            print_host(&scan, args);
        }
        fflush(stdout);
        result = args->probe ? probe_all(&scan, args) : CLI_OK;
    }
    mem_scan_fini(&scan);
    return result;
}

int cmd_mem(int argc, char **argv)
{
    struct mem_args args = {.node = ANY_NODE, .min_mb = MIN_DEFAULT, .root = ""};
    struct arg_spec spec = {
        .command = "mfcli mem scan",
        .about = "Prints for each NUMA node its memory, its huge pages, and what a rank could give "
                 "to a\npool now; and the limits that hold for this process."};
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    int result = 0;

    if (argc > 1 && strcmp(argv[1], "scan") == 0) {
        argc--;
        argv++;
    } else if (!help) {
        return args_usage_error(&spec,
                                argc > 1 ? "there is no '%s' here; the word after mem is scan"
                                         : "the word after %s is missing: scan",
                                argc > 1 ? argv[1] : "mem");
    }
    result = parse(&spec, &args, argc, argv);
    if (result == ARGS_GO && args.probe && args.root[0]) {
        return args_usage_error(&spec, "--probe takes memory of this machine, not of --root");
    }
    return result == ARGS_GO ? scan_memory(&spec, &args) : result;
}
