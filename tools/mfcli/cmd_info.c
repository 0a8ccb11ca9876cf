// SPDX-License-Identifier: Apache-2.0
// mfcli info: what this machine and this build give and why something is not available; and the
// library's options, also as the document docs/options.md.
#include <stdbool.h>
#include <stdio.h>

#include "args.h"
#include "commands.h"
#include "memfabric/mf_info.h"
#include "out.h"
#include "smem.h"

struct sink {
    bool json;
    struct out_table table;
};

static const char *yes_no(int32_t available)
{
    return available > 0 ? "yes" : available == 0 ? "no" : "";
}

static void take_item(void *arg, const mf_info_item_t *item)
{
    struct sink *sink = arg;
    struct out_json json;

    if (!sink->json) {
        const char *cells[] = {item->section, item->name, item->value, yes_no(item->available),
                               item->note};

        out_table_row(&sink->table, cells);
        return;
    }
    out_json_open(&json, stdout);
    out_json_text(&json, "section", item->section);
    out_json_text(&json, "name", item->name);
    out_json_text(&json, "value", item->value);
    out_json_raw(&json, "available",
                 item->available < 0 ? "null" : (item->available ? "true" : "false"));
    out_json_text(&json, "note", item->note);
    out_json_close(&json);
}

static void take_option(void *arg, const mf_info_option_t *option)
{
    struct sink *sink = arg;
    struct out_json json;

    if (!sink->json) {
        const char *cells[] = {option->env,           option->name,  option->type, option->unit,
                               option->default_value, option->value, option->help};

        out_table_row(&sink->table, cells);
        return;
    }
    out_json_open(&json, stdout);
    out_json_text(&json, "name", option->name);
    out_json_text(&json, "env", option->env);
    out_json_text(&json, "type", option->type);
    out_json_text(&json, "unit", option->unit);
    out_json_text(&json, "default", option->default_value);
    out_json_text(&json, "value", option->value);
    out_json_bool(&json, "is_default", option->is_default != 0);
    out_json_text(&json, "help", option->help);
    out_json_close(&json);
}

/* A document has no place for what is set in this process. */
static void document_option(void *arg, const mf_info_option_t *option)
{
    struct sink *sink = arg;
    const char *cells[] = {option->env,  option->name,          option->type,
                           option->unit, option->default_value, option->help};

    out_table_row(&sink->table, cells);
}

static int print_items(bool json, bool markdown)
{
    static const char *const heads[] = {"section", "name", "value", "available", "note"};
    struct sink sink = {.json = json};
    int rc = 0;

    out_table_init(&sink.table, heads, 5);
    rc = mf_info_visit(take_item, &sink);
    if (rc == SMEM_OK && markdown) {
        out_table_markdown(&sink.table, stdout);
    } else if (rc == SMEM_OK && !json) {
        out_table_print(&sink.table, stdout);
    }
    out_table_fini(&sink.table);
    return rc;
}

static int print_options(bool json)
{
    static const char *const heads[] = {"variable", "option", "type", "unit",
                                        "default",  "value",  "help"};
    struct sink sink = {.json = json};
    int rc = 0;

    out_table_init(&sink.table, heads, 7);
    rc = mf_info_visit_options(take_option, &sink);
    if (rc == SMEM_OK && !json) {
        out_table_print(&sink.table, stdout);
    }
    out_table_fini(&sink.table);
    return rc;
}

static int print_document(void)
{
    static const char *const heads[] = {"variable", "option", "type", "unit", "default", "meaning"};
    struct sink sink = {.json = false};
    int rc = 0;

    out_table_init(&sink.table, heads, 6);
    rc = mf_info_visit_options(document_option, &sink);
    if (rc == SMEM_OK) {
        printf("# Options\n\n"
               "Every option is an environment variable, read when the library is first used. "
               "Numbers may end in\nK, M, G or T (powers of 1024) and may be hexadecimal. A "
               "misspelt variable is named in a warning; a\nvalue that is not allowed is an error "
               "that says what is. `mfcli info --options` prints this table with\nthe values of "
               "the present environment; this page is `mfcli info --options --markdown`.\n\n");
        out_table_markdown(&sink.table, stdout);
    }
    out_table_fini(&sink.table);
    return rc;
}

int cmd_info(int argc, char **argv)
{
    bool json = false, options_asked = false, markdown = false;
    const struct arg_option options[] = {
        arg_flag("options", &options_asked, "print the library's options (variables MF_*) instead"),
        arg_flag("markdown", &markdown, "print as Markdown"),
        arg_flag("json", &json, "print JSON, one object a line"),
    };
    const struct arg_spec spec = {
        .command = "mfcli info",
        .about = "Prints what this machine and this build give: devices, transports, memory, "
                 "limits,\nand why something is not available.",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    int result = args_parse(&spec, argc, argv, NULL);
    int rc = 0;

    if (result != ARGS_GO) {
        return result;
    }
    if (json && markdown) {
        return args_usage_error(&spec, "--json and --markdown exclude each other");
    }
    if (options_asked && markdown) {
        rc = print_document();
    } else if (options_asked) {
        rc = print_options(json);
    } else {
        rc = print_items(json, markdown);
    }
    if (rc != SMEM_OK) {
        fprintf(stderr, "mfcli info: %s\n", smem_get_last_err_msg());
        return CLI_FAILURE;
    }
    return CLI_OK;
}
