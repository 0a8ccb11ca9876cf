// SPDX-License-Identifier: Apache-2.0
// The table of options as text for a person, as Markdown for the documentation, and as JSON for a
// program. All three are made from the same rows.
#include <errno.h>
#include <stdio.h>

#include "base/err.h"
#include "config/config.h"

static const char *type_name(enum mf_opt_type type)
{
    static const char *const names[] = {
        [MF_OPT_TYPE_U64] = "number", [MF_OPT_TYPE_BOOL] = "bool", [MF_OPT_TYPE_STR] = "text"};
    return names[type];
}

static void print_text_row(FILE *out, const struct mf_config *config, enum mf_opt id)
{
    const struct mf_opt_info *info = mf_opt_info(id);
    char range[MF_OPT_RANGE_MAX];
    mf_opt_format_range(id, range);
    if (config) {
        fprintf(out, "%s = %s%s\n", info->name, config->v[id].str,
                config->v[id].is_default ? " (default)" : "");
    } else {
        fprintf(out, "%s\n", info->name);
    }
    fprintf(out, "    %s\n", info->help);
    fprintf(out, "    %s, %s%s%s, %s; default \"%s\"\n", info->env, type_name(info->type),
            info->unit[0] ? " of unit " : "", info->unit, range, info->def);
}

/* Text in a cell of a Markdown table. */
static void print_cell(FILE *out, const char *text)
{
    fputs(" ", out);
    for (; *text; text++) {
        if (*text == '|') {
            fputc('\\', out);
        }
        fputc(*text == '\n' ? ' ' : *text, out);
    }
    fputs(" |", out);
}

static void print_markdown_head(FILE *out, const struct mf_config *config)
{
    fputs("| option | variable | type | unit | default | allowed | meaning |", out);
    fputs(config ? " value | is default |\n" : "\n", out);
    fputs("|---|---|---|---|---|---|---|", out);
    fputs(config ? "---|---|\n" : "\n", out);
}

static void print_markdown_row(FILE *out, const struct mf_config *config, enum mf_opt id)
{
    const struct mf_opt_info *info = mf_opt_info(id);
    char range[MF_OPT_RANGE_MAX];
    mf_opt_format_range(id, range);
    fputs("|", out);
    const char *const cells[] = {
        info->name, info->env, type_name(info->type), info->unit, info->def, range, info->help};
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        print_cell(out, cells[i]);
    }
    if (config) {
        print_cell(out, config->v[id].str);
        print_cell(out, config->v[id].is_default ? "yes" : "no");
    }
    fputs("\n", out);
}

static void print_json_string(FILE *out, const char *key, const char *text)
{
    fprintf(out, "\"%s\": \"", key);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20) {
            fprintf(out, "\\u%04x", c);
        } else {
            fputc(c, out);
        }
    }
    fputs("\"", out);
}

/* A value in its own JSON type. */
static void print_json_value(FILE *out, const char *key, enum mf_opt id,
                             const struct mf_config *config)
{
    switch (mf_opt_info(id)->type) {
    case MF_OPT_TYPE_U64:
        fprintf(out, "\"%s\": %llu", key, (unsigned long long)mf_config_u64(config, id));
        break;
    case MF_OPT_TYPE_BOOL:
        fprintf(out, "\"%s\": %s", key, mf_config_u64(config, id) ? "true" : "false");
        break;
    case MF_OPT_TYPE_STR:
        print_json_string(out, key, mf_config_str(config, id));
        break;
    }
}

static void print_json_row(FILE *out, const struct mf_config *config,
                           const struct mf_config *defaults, enum mf_opt id)
{
    const struct mf_opt_info *info = mf_opt_info(id);
    const struct {
        const char *key, *text;
    } texts[] = {{"name", info->name},
                 {"env", info->env},
                 {"type", type_name(info->type)},
                 {"unit", info->unit},
                 {"help", info->help}};
    fputs("{", out);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        print_json_string(out, texts[i].key, texts[i].text);
        fputs(", ", out);
    }
    if (info->type == MF_OPT_TYPE_U64) {
        fprintf(out, "\"min\": %llu, \"max\": %llu, ", (unsigned long long)info->min,
                (unsigned long long)info->max);
    }
    print_json_value(out, "default", id, defaults);
    if (config) {
        fputs(", ", out);
        print_json_value(out, "value", id, config);
        fprintf(out, ", \"is_default\": %s", config->v[id].is_default ? "true" : "false");
    }
    fputs("}", out);
}

static void print_json(FILE *out, const struct mf_config *config)
{
    struct mf_config defaults;
    mf_config_defaults(&defaults);
    fputs("[\n", out);
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        fputs("  ", out);
        print_json_row(out, config, &defaults, (enum mf_opt)id);
        fputs(id + 1 < MF_OPT_COUNT ? ",\n" : "\n", out);
    }
    fputs("]\n", out);
}

int mf_config_print(FILE *out, const struct mf_config *config, enum mf_config_format format)
{
    switch (format) {
    case MF_CONFIG_TEXT:
        for (int id = 0; id < MF_OPT_COUNT; id++) {
            print_text_row(out, config, (enum mf_opt)id);
        }
        break;
    case MF_CONFIG_MARKDOWN:
        print_markdown_head(out, config);
        for (int id = 0; id < MF_OPT_COUNT; id++) {
            print_markdown_row(out, config, (enum mf_opt)id);
        }
        break;
    case MF_CONFIG_JSON:
        print_json(out, config);
        break;
    }
    if (fflush(out) != 0 || ferror(out)) {
        return mf_err_sys(SMEM_ERROR, errno, "print the table of options");
    }
    return SMEM_OK;
}
