// SPDX-License-Identifier: Apache-2.0
// The table of options made from options.h, and how a text becomes the value of one. An option
// keeps its old value when the new text is refused.
#include "config/config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

static const struct mf_opt_info infos[MF_OPT_COUNT] = {
#define MF_OPTION(id_, name_, env_, type_, unit_, def_, min_, max_, help_) \
    [MF_OPT_##id_] = {                                                     \
        .name = (name_),                                                   \
        .env = (env_),                                                     \
        .unit = (unit_),                                                   \
        .def = (def_),                                                     \
        .help = (help_),                                                   \
        .type = MF_OPT_TYPE_##type_,                                       \
        .min = (min_),                                                     \
        .max = (max_),                                                     \
    },
#include "config/options.h"
#undef MF_OPTION
};

#define RANGE_NUMBER_MAX 24

static bool is_address(const struct mf_opt_info *info)
{
    return strcmp(info->unit, "address") == 0;
}

static bool is_bytes(const struct mf_opt_info *info)
{
    return strcmp(info->unit, "bytes") == 0;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

/* Bits that a suffix shifts by; 0 for a character that is none. */
static unsigned suffix_shift(char c)
{
    static const char suffixes[] = "KMGT";
    const char *at = c ? strchr(suffixes, c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c) : NULL;
    return at ? 10u * (unsigned)(at - suffixes + 1) : 0;
}

/* Digits from *text on, which is moved behind them. False when there is none or they overflow. */
static bool parse_digits(const char **text, unsigned base, uint64_t *out)
{
    const char *p = *text;
    uint64_t value = 0;
    for (; (unsigned)digit_of(*p) < base; p++) {
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit_of(*p), &value)) {
            return false;
        }
    }
    bool any = p != *text;
    *text = p;
    *out = value;
    return any;
}

bool mf_parse_u64(const char *text, uint64_t *out)
{
    unsigned base = 10;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    uint64_t value;
    if (!parse_digits(&text, base, &value)) {
        return false;
    }
    unsigned shift = suffix_shift(*text);
    if (shift) {
        text++;
    }
    if (*text != '\0' || value > UINT64_MAX >> shift) {
        return false;
    }
    *out = value << shift;
    return true;
}

static bool parse_bool(const char *text, uint64_t *out)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {{"0", false}, {"1", true},      {"off", false},
                 {"on", true}, {"false", false}, {"true", true}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i].text) == 0) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

/* A bound as a person would write it: an address in hex, whole KiB .. TiB with their suffix. */
static void format_number(const struct mf_opt_info *info, uint64_t value,
                          char out[RANGE_NUMBER_MAX])
{
    static const char suffixes[] = {'\0', 'K', 'M', 'G', 'T', '\0'};
    size_t i = 0;
    if (is_address(info)) {
        snprintf(out, RANGE_NUMBER_MAX, "0x%llx", (unsigned long long)value);
        return;
    }
    while (is_bytes(info) && value != 0 && value % 1024 == 0 && suffixes[i + 1]) {
        value /= 1024;
        i++;
    }
    snprintf(out, RANGE_NUMBER_MAX, "%llu%.1s", (unsigned long long)value, &suffixes[i]);
}

void mf_opt_format_range(enum mf_opt id, char out[MF_OPT_RANGE_MAX])
{
    const struct mf_opt_info *info = mf_opt_info(id);
    char min[RANGE_NUMBER_MAX];
    char max[RANGE_NUMBER_MAX];
    switch (info->type) {
    case MF_OPT_TYPE_U64:
        format_number(info, info->min, min);
        format_number(info, info->max, max);
        snprintf(out, MF_OPT_RANGE_MAX, "%s to %s", min, max);
        break;
    case MF_OPT_TYPE_BOOL:
        snprintf(out, MF_OPT_RANGE_MAX, "on or off");
        break;
    case MF_OPT_TYPE_STR:
        snprintf(out, MF_OPT_RANGE_MAX, "at most %d bytes", MF_OPT_STR_MAX - 1);
        break;
    }
}

const struct mf_opt_info *mf_opt_info(enum mf_opt id)
{
    MF_ASSERT((unsigned)id < MF_OPT_COUNT);
    return &infos[id];
}

int mf_opt_find(const char *name)
{
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        if (strcmp(infos[id].name, name) == 0 || strcmp(infos[id].env, name) == 0) {
            return id;
        }
    }
    return -1;
}

/* The number that `text` stands for; false when it is ill-typed or out of range. */
static bool parse_value(const struct mf_opt_info *info, const char *text, uint64_t *out)
{
    *out = 0;
    if (info->type == MF_OPT_TYPE_STR) {
        return true;
    }
    if (info->type == MF_OPT_TYPE_BOOL) {
        return parse_bool(text, out);
    }
    /* "10K" milliseconds is a mistake, not a number. */
    size_t len = strlen(text);
    if (len > 0 && suffix_shift(text[len - 1]) && !is_bytes(info) && !is_address(info)) {
        return false;
    }
    return mf_parse_u64(text, out) && *out >= info->min && *out <= info->max;
}

int mf_config_set(struct mf_config *config, enum mf_opt id, const char *text)
{
    const struct mf_opt_info *info = mf_opt_info(id);
    uint64_t value;
    size_t len = strnlen(text, MF_OPT_STR_MAX);
    if (len == MF_OPT_STR_MAX || !parse_value(info, text, &value)) {
        char range[MF_OPT_RANGE_MAX];
        mf_opt_format_range(id, range);
        return mf_err(SMEM_INVALID_PARAM,
                      "option %s: value \"%.*s\" is not valid: allowed is %s%s%s", info->name,
                      MF_OPT_STR_MAX, text, range, info->unit[0] ? ", unit " : "", info->unit);
    }
    config->v[id].u64 = value;
    memcpy(config->v[id].str, text, len + 1);
    config->v[id].is_default = false;
    return SMEM_OK;
}

void mf_config_defaults(struct mf_config *config)
{
    memset(config, 0, sizeof(*config));
    for (int id = 0; id < MF_OPT_COUNT; id++) {
        int rc = mf_config_set(config, (enum mf_opt)id, infos[id].def);
        MF_ASSERT(rc == SMEM_OK);
        config->v[id].is_default = true;
    }
}
