// SPDX-License-Identifier: Apache-2.0
// Options of a command: one table says name, type, range and help, and serves both for parsing and
// for printing the usage. Options are long (--name VALUE or --name=VALUE), a few have one letter
// too.
#ifndef MFCLI_ARGS_H
#define MFCLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Exit codes of the tool. */
enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 };

enum arg_type {
    ARG_FLAG,    /* bool: present or not */
    ARG_NUMBER,  /* uint64_t */
    ARG_SIZE,    /* uint64_t, bytes; suffixes K M G T are powers of 1024 */
    ARG_SECONDS, /* uint64_t, milliseconds; written in seconds, fractions allowed */
    ARG_TEXT,    /* const char *, borrowed from argv */
    ARG_CHOICE,  /* uint64_t: index into `choices` */
    ARG_TEXTS,   /* struct arg_texts; may be given several times */
};

#define ARG_TEXTS_MAX 32u

/** The values of an option that may be repeated, borrowed from argv. */
struct arg_texts {
    const char *items[ARG_TEXTS_MAX];
    size_t count;
};

struct arg_option {
    const char *name; /* without the dashes */
    char letter;      /* short form, or 0 */
    enum arg_type type;
    const char *metavar; /* what the usage calls the value; NULL for a flag */
    void *value;         /* written when the option is given, so it holds the default before */
    uint64_t min, max;   /* NUMBER, SIZE, SECONDS (ms); both 0: any */
    const char *const *choices; /* CHOICE: NULL-terminated */
    const char *help;
    bool hidden; /* not printed in the usage */
};

/* One row of a table each; `max` 0 means any value. */
static inline struct arg_option arg_flag(const char *name, bool *value, const char *help)
{
    return (struct arg_option){.name = name, .type = ARG_FLAG, .value = value, .help = help};
}

static inline struct arg_option arg_number(const char *name, const char *metavar, uint64_t *value,
                                           uint64_t min, uint64_t max, const char *help)
{
    return (struct arg_option){.name = name,
                               .type = ARG_NUMBER,
                               .metavar = metavar,
                               .value = value,
                               .min = min,
                               .max = max,
                               .help = help};
}

static inline struct arg_option arg_size(const char *name, const char *metavar, uint64_t *value,
                                         uint64_t min, uint64_t max, const char *help)
{
    struct arg_option option = arg_number(name, metavar, value, min, max, help);

    option.type = ARG_SIZE;
    return option;
}

/** Values in ms, written in seconds. */
static inline struct arg_option arg_seconds(const char *name, uint64_t *value, uint64_t min,
                                            uint64_t max, const char *help)
{
    struct arg_option option = arg_number(name, "S", value, min, max, help);

    option.type = ARG_SECONDS;
    return option;
}

static inline struct arg_option arg_text(const char *name, const char *metavar, const char **value,
                                         const char *help)
{
    return (struct arg_option){
        .name = name, .type = ARG_TEXT, .metavar = metavar, .value = value, .help = help};
}

/** An option that may be given several times. */
static inline struct arg_option arg_texts(const char *name, const char *metavar,
                                          struct arg_texts *texts, const char *help)
{
    return (struct arg_option){
        .name = name, .type = ARG_TEXTS, .metavar = metavar, .value = texts, .help = help};
}

static inline struct arg_option arg_choice(const char *name, const char *metavar, uint64_t *value,
                                           const char *const *choices, const char *help)
{
    return (struct arg_option){.name = name,
                               .type = ARG_CHOICE,
                               .metavar = metavar,
                               .value = value,
                               .choices = choices,
                               .help = help};
}

/** The row with a short form, or kept out of the usage. */
static inline struct arg_option arg_lettered(char letter, struct arg_option option)
{
    option.letter = letter;
    return option;
}

static inline struct arg_option arg_hidden(struct arg_option option)
{
    option.hidden = true;
    return option;
}

struct arg_spec {
    const char *command;  /* "mfcli run" */
    const char *operands; /* what follows the options in the usage line; NULL: nothing may follow */
    const char *about;    /* printed under the usage line */
    const char *const *words; /* what the operand may be, NULL-terminated; NULL: anything */
    const struct arg_option *options;
    size_t count;
};

/** args_parse(): all is well, go on. */
#define ARGS_GO (-1)

/**
 * Parses argv[1..]. `--help` prints the usage; a mistake prints a sentence to stderr. Everything
 * after `--`, or from the first word that is no option, is left to the caller.
 *
 * @param rest receives the index of the first word left; may be NULL when there are no operands
 * @return ARGS_GO, or the exit code with which the command ends now
 */
int args_parse(const struct arg_spec *spec, int argc, char **argv, int *rest);

typedef void (*args_observe_fn)(void *arg, const struct arg_spec *spec);

/**
 * From now on args_parse() parses nothing: it gives the command's specification to `fn` and ends
 * the command with CLI_OK. So completion and manual pages are made of the tables that parse. NULL
 * ends that. Not for several threads.
 */
void args_observe(args_observe_fn fn, void *arg);

/** Prints a sentence and where to find help to stderr. @return CLI_USAGE */
int args_usage_error(const struct arg_spec *spec, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** The text as a number of bytes ("16K", "1G", "4096"). @return false when it is none */
bool args_size(const char *text, uint64_t *bytes);

/**
 * The entry of `names` (NULL-terminated) that `text` was probably meant to be; NULL when none is
 * near.
 */
const char *args_nearest(const char *text, const char *const *names);

#endif
