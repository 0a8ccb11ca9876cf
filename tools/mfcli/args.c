// SPDX-License-Identifier: Apache-2.0
// Parses and prints the options of a command from its table.
#include "args.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 32u
#define NAMES_MAX    64u
#define HELP_COLUMN  30

/* Who gets specifications instead of a run; see args_observe(). */
static struct {
    args_observe_fn fn;
    void *arg;
} observer;

/* Number of letters to change, add or drop; both at most NAME_MAX_LEN long. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    size_t len_a = strlen(a), len_b = strlen(b);

    for (size_t j = 0; j <= len_b; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= len_a; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);

            if (row[j] + 1 < best) {
                best = row[j] + 1;
            }
            if (row[j - 1] + 1 < best) {
                best = row[j - 1] + 1;
            }
            corner = row[j];
            row[j] = best;
        }
    }
    return row[len_b];
}

const char *args_nearest(const char *text, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = 3;

    if (strlen(text) > NAME_MAX_LEN) {
        return NULL;
    }
    for (; *names; names++) {
        size_t distance =
            strlen(*names) > NAME_MAX_LEN ? best_distance : edit_distance(text, *names);

        if (distance < best_distance && distance < strlen(*names)) {
            best = *names;
            best_distance = distance;
        }
    }
    return best;
}

int args_usage_error(const struct arg_spec *spec, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", spec->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n%s --help tells the options.\n", spec->command);
    return CLI_USAGE;
}

static bool number(const char *text, uint64_t *value, const char **end)
{
    char *stop = NULL;

    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    errno = 0;
    *value = strtoull(text, &stop, 0);
    *end = stop;
    return errno == 0;
}

bool args_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    const char *end = NULL;

    if (!number(text, bytes, &end)) {
        return false;
    }
    if (*end) {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        unsigned shift = unit ? 10u * (unsigned)(unit - units + 1) : 0;

        if (!shift || *bytes > UINT64_MAX >> shift) {
            return false;
        }
        *bytes <<= shift;
        end++;
        if (*end == 'i') {
            end++;
        }
        if (*end == 'B' || *end == 'b') {
            end++;
        }
    }
    return *end == '\0';
}

static bool seconds(const char *text, uint64_t *ms)
{
    char *end = NULL;
    double value = 0;

    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    value = strtod(text, &end);
    if (*end == 's') {
        end++;
    }
    if (*end || value > 1e9) {
        return false;
    }
    *ms = (uint64_t)(value * 1000 + 0.5);
    return true;
}

static int bad_value(const struct arg_spec *spec, const struct arg_option *option, const char *text)
{
    static const char *const wanted[] = {[ARG_NUMBER] = "a number",
                                         [ARG_SIZE] = "a size such as 4096, 16K or 1G",
                                         [ARG_SECONDS] = "seconds such as 10 or 0.5"};

    return args_usage_error(spec, "--%s: '%s' is not %s", option->name, text, wanted[option->type]);
}

static int out_of_range(const struct arg_spec *spec, const struct arg_option *option,
                        const char *text)
{
    if (option->type == ARG_SECONDS) {
        return args_usage_error(spec, "--%s: %s is not in the range %g to %g s", option->name, text,
                                (double)option->min / 1000, (double)option->max / 1000);
    }
    return args_usage_error(spec, "--%s: %s is not in the range %" PRIu64 " to %" PRIu64,
                            option->name, text, option->min, option->max);
}

static int take_choice(const struct arg_spec *spec, const struct arg_option *option,
                       const char *text)
{
    uint64_t index = 0;
    const char *near = NULL;

    for (; option->choices[index]; index++) {
        if (strcmp(option->choices[index], text) == 0) {
            *(uint64_t *)option->value = index;
            return ARGS_GO;
        }
    }
    near = args_nearest(text, option->choices);
    if (near) {
        return args_usage_error(spec, "--%s: there is no '%s'; did you mean '%s'?", option->name,
                                text, near);
    }
    return args_usage_error(spec, "--%s: there is no '%s'; the first of the choices is '%s'",
                            option->name, text, option->choices[0]);
}

static int take_text(const struct arg_spec *spec, const struct arg_option *option, const char *text)
{
    struct arg_texts *texts = option->value;

    if (texts->count == ARG_TEXTS_MAX) {
        return args_usage_error(spec, "--%s '%s': it may be given at most %u times", option->name,
                                text, ARG_TEXTS_MAX);
    }
    texts->items[texts->count++] = text;
    return ARGS_GO;
}

static int take_value(const struct arg_spec *spec, const struct arg_option *option,
                      const char *text)
{
    uint64_t value = 0;
    const char *end = NULL;
    bool good = false;

    switch (option->type) {
    case ARG_TEXT:
        *(const char **)option->value = text;
        return ARGS_GO;
    case ARG_CHOICE:
        return take_choice(spec, option, text);
    case ARG_TEXTS:
        return take_text(spec, option, text);
    case ARG_NUMBER:
        good = number(text, &value, &end) && *end == '\0';
        break;
    case ARG_SIZE:
        good = args_size(text, &value);
        break;
    case ARG_SECONDS:
        good = seconds(text, &value);
        break;
    case ARG_FLAG:
        break;
    }
    if (!good) {
        return bad_value(spec, option, text);
    }
    if (option->max && (value < option->min || value > option->max)) {
        return out_of_range(spec, option, text);
    }
    *(uint64_t *)option->value = value;
    return ARGS_GO;
}

static void print_option(const struct arg_option *option)
{
    char left[64];
    int width =
        snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", option->letter ? '-' : ' ',
                 option->letter ? option->letter : ' ', option->letter ? ", " : "  ", option->name,
                 option->metavar ? " " : "", option->metavar ? option->metavar : "");
    const char *line = option->help;

    if (width >= HELP_COLUMN) {
        printf("%s\n%*s", left, HELP_COLUMN, "");
    } else {
        printf("%-*s", HELP_COLUMN, left);
    }
    for (;;) {
        size_t length = strcspn(line, "\n");

        printf("%.*s\n", (int)length, line);
        if (line[length] == '\0') {
            return;
        }
        line += length + 1;
        printf("%*s", HELP_COLUMN, "");
    }
}

static void print_usage(const struct arg_spec *spec)
{
    static const struct arg_option help = {
        .name = "help", .letter = 'h', .type = ARG_FLAG, .help = "print this and end"};

    printf("usage: %s [options]%s%s\n\n%s\n\noptions:\n", spec->command, spec->operands ? " " : "",
           spec->operands ? spec->operands : "", spec->about);
    for (size_t i = 0; i < spec->count; i++) {
        if (!spec->options[i].hidden) {
            print_option(&spec->options[i]);
        }
    }
    print_option(&help);
}

static const struct arg_option *find_option(const struct arg_spec *spec, const char *word,
                                            size_t length)
{
    for (size_t i = 0; i < spec->count; i++) {
        const struct arg_option *option = &spec->options[i];

        if (word[1] == '-' && strlen(option->name) == length - 2 &&
            memcmp(option->name, word + 2, length - 2) == 0) {
            return option;
        }
        if (word[1] != '-' && length == 2 && option->letter == word[1]) {
            return option;
        }
    }
    return NULL;
}

static int unknown_option(const struct arg_spec *spec, const char *word, size_t length)
{
    const char *names[NAMES_MAX + 1];
    char name[NAME_MAX_LEN + 1];
    const char *near = NULL;
    size_t count = 0;

    for (size_t i = 0; i < spec->count && count < NAMES_MAX; i++) {
        if (!spec->options[i].hidden) {
            names[count++] = spec->options[i].name;
        }
    }
    names[count] = NULL;
    if (length > 2 && length - 2 <= NAME_MAX_LEN) {
        snprintf(name, sizeof(name), "%.*s", (int)(length - 2), word + 2);
        near = args_nearest(name, names);
    }
    if (near) {
        return args_usage_error(spec, "there is no option %.*s; did you mean --%s?", (int)length,
                                word, near);
    }
    return args_usage_error(spec, "there is no option %.*s", (int)length, word);
}

/* The option that argv[*at] is, with its value; *at moves to its last word. */
static int take_option(const struct arg_spec *spec, int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const struct arg_option *option = find_option(spec, word, length);

    if (!option) {
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_usage(spec);
            return CLI_OK;
        }
        return unknown_option(spec, word, length);
    }
    if (option->type == ARG_FLAG) {
        if (equals) {
            return args_usage_error(spec, "--%s takes no value", option->name);
        }
        *(bool *)option->value = true;
        return ARGS_GO;
    }
    if (equals) {
        return take_value(spec, option, equals + 1);
    }
    if (*at + 1 >= argc) {
        return args_usage_error(spec, "--%s needs a value (%s)", option->name, option->metavar);
    }
    *at += 1;
    return take_value(spec, option, argv[*at]);
}

void args_observe(args_observe_fn fn, void *arg)
{
    observer.fn = fn;
    observer.arg = arg;
}

int args_parse(const struct arg_spec *spec, int argc, char **argv, int *rest)
{
    int at = 1;

    if (observer.fn) {
        observer.fn(observer.arg, spec);
        return CLI_OK;
    }
    for (; at < argc && argv[at][0] == '-' && argv[at][1]; at++) {
        int result = 0;

        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        result = take_option(spec, argc, argv, &at);
        if (result != ARGS_GO) {
            return result;
        }
    }
    if (!spec->operands && at < argc) {
        return args_usage_error(spec, "'%s' is no option", argv[at]);
    }
    if (rest) {
        *rest = at;
    }
    return ARGS_GO;
}
