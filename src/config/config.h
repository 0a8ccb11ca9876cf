// SPDX-License-Identifier: Apache-2.0
// The values of all options of one context: defaults, then the environment, then explicit settings.
#ifndef MF_CONFIG_CONFIG_H
#define MF_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"

enum mf_opt {
#define MF_OPTION(id, name, env, type, unit, def, min, max, help) MF_OPT_##id,
#include "config/options.h"
#undef MF_OPTION
    MF_OPT_COUNT,
};

enum mf_opt_type { MF_OPT_TYPE_U64, MF_OPT_TYPE_BOOL, MF_OPT_TYPE_STR };

struct mf_opt_info {
    const char *name, *env, *unit, *def, *help;
    enum mf_opt_type type;
    uint64_t min, max; /* U64 only */
};

#define MF_OPT_STR_MAX 256

/** Plain data: may be copied. */
struct mf_config {
    struct {
        uint64_t u64;             /* U64 and BOOL */
        char str[MF_OPT_STR_MAX]; /* STR; for the others the text it came from */
        bool is_default;
    } v[MF_OPT_COUNT];
};

const struct mf_opt_info *mf_opt_info(enum mf_opt id);
/** By option name ("gva.base") or variable name; -1 when there is none. */
int mf_opt_find(const char *name);
/** What values the option takes: "0 to 5", "64G to 127T", "on or off", "at most 255 bytes". */
#define MF_OPT_RANGE_MAX 64
void mf_opt_format_range(enum mf_opt id, char out[MF_OPT_RANGE_MAX]);
/** The option name nearest to `name` by edit distance, for "did you mean"; NULL when none is near.
 */
const char *mf_opt_nearest(const char *name);

void mf_config_defaults(struct mf_config *config);
/** Set one option from text. SMEM_INVALID_PARAM with a sentence that names option, value and what
 * is allowed. */
int mf_config_set(struct mf_config *config, enum mf_opt id, const char *text);
/** Read all variables of `environ` (NULL-terminated "NAME=value") that belong to an option; of two
 * with one name the first counts. An ill-typed or out-of-range value is an error that names the
 * variable. Then report as mf_config_report does. */
int mf_config_load(struct mf_config *config, char *const *environ, struct mf_log *log);
/** Only the report: an unknown MF_ variable is a warning that names the nearest known one, and so
 * is an old name of a variable; a variable of the reference that has no meaning here is named at
 * level info. Variables that other parts own (MF_CONFIG_STORE_URL, MF_RANK, ...) are known. A
 * caller who takes the log level from the environment loads with a NULL log, sets the level, and
 * reports then. */
void mf_config_report(char *const *environ, struct mf_log *log);

enum mf_config_format { MF_CONFIG_TEXT, MF_CONFIG_MARKDOWN, MF_CONFIG_JSON };
/** Print the table of options, with the values of `config` and whether each is the default; without
 *  values when `config` is NULL (for documentation). 0, or SMEM_ERROR when `out` takes no more. */
int mf_config_print(FILE *out, const struct mf_config *config, enum mf_config_format format);

static inline uint64_t mf_config_u64(const struct mf_config *config, enum mf_opt id)
{
    return config->v[id].u64;
}
static inline const char *mf_config_str(const struct mf_config *config, enum mf_opt id)
{
    return config->v[id].str;
}

/** "4096", "0x1000", "64K", "16G" (powers of 1024) to a number. False when it is not one. */
bool mf_parse_u64(const char *text, uint64_t *out);

#endif
