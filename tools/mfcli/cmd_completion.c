// SPDX-License-Identifier: Apache-2.0
// mfcli completion: scripts that let a shell complete commands and options. They are made of the
// tables that parse (args_observe), so a new option is completed without a line here. With --json
// the tables themselves, from which scripts/make-man makes the manual pages.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "args.h"
#include "commands.h"
#include "out.h"

#define TEXT_BYTES 4096u

static const char *const shell_names[] = {"bash", "zsh", "fish", NULL};

/* One way to write the tables down. */
struct writer {
    void (*begin)(const struct command *commands, size_t count);
    void (*command)(const struct command *command, const struct arg_spec *spec);
    void (*end)(void);
};

struct visit {
    const struct writer *writer;
    const struct command *command;
};

static const struct arg_option help_option = {
    .name = "help", .letter = 'h', .type = ARG_FLAG, .help = "print the usage and end"};

/* The word between the command and its options, "scan" of "mfcli mem scan"; NULL when none. */
static const char *part_of(const struct command *command, const struct arg_spec *spec)
{
    const char *word = strrchr(spec->command, ' ');

    return word && strcmp(word + 1, command->name) != 0 ? word + 1 : NULL;
}

/* Shown options and then --help; NULL after the last. */
static const struct arg_option *shown(const struct arg_spec *spec, size_t *at)
{
    while (*at < spec->count && spec->options[*at].hidden) {
        *at += 1;
    }
    *at += 1;
    return *at <= spec->count       ? &spec->options[*at - 1]
           : *at == spec->count + 1 ? &help_option
                                    : NULL;
}

/* Whether the value is the name of a file or of a directory. */
static bool is_path(const struct arg_option *option)
{
    return option->metavar &&
           (strncmp(option->metavar, "FILE", 4) == 0 || strncmp(option->metavar, "DIR", 3) == 0 ||
            strncmp(option->metavar, "PATH", 4) == 0);
}

/* `text` on one line, with each character of `special` behind `mark`. */
static const char *quoted(char *out, const char *text, const char *special, const char *mark)
{
    size_t used = 0, step = strlen(mark);

    for (; *text && used + step + 2 < TEXT_BYTES; text++) {
        if (strchr(special, *text)) {
            memcpy(out + used, mark, step);
            used += step;
        }
        out[used++] = (char)(*text == '\n' ? ' ' : *text);
    }
    out[used] = '\0';
    return out;
}

static void print_words(const char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        printf("%s%s", i ? " " : "", words[i]);
    }
}

/* ---- bash ----------------------------------------------------------------------------------- */

static void bash_begin(const struct command *commands, size_t count)
{
    printf("# bash completion of mfcli; made by: mfcli completion bash\n"
           "_mfcli()\n{\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local words= files= i\n"
           "    COMPREPLY=()\n"
           "    # --name=value comes as three words\n"
           "    if [ \"$cur\" = = ]; then\n        cur=\n"
           "    elif [ \"$prev\" = = ]; then\n        prev=${COMP_WORDS[COMP_CWORD-2]}\n    fi\n"
           "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
           "        if [ \"${COMP_WORDS[i]}\" = -- ]; then\n"
           "            mapfile -t COMPREPLY < <(compgen -A command -A file -- \"$cur\")\n"
           "            return\n        fi\n    done\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (size_t i = 0; i < count; i++) {
        printf("%s ", commands[i].name);
    }
    printf("--help --version'\n    else\n        case ${COMP_WORDS[1]} in\n");
}

static void bash_values(const struct arg_option *option)
{
    printf("            --%s", option->name);
    if (option->letter) {
        printf(" | -%c", option->letter);
    }
    printf(") ");
    if (option->type == ARG_CHOICE) {
        printf("words='");
        print_words(option->choices);
        printf("'");
    } else if (is_path(option)) {
        printf("files=1");
    } else {
        printf("return");
    }
    printf(" ;;\n");
}

static void bash_command(const struct command *command, const struct arg_spec *spec)
{
    const char *part = part_of(command, spec);
    const struct arg_option *option = NULL;

    printf("        %s)\n            case $prev in\n", command->name);
    if (part) {
        printf("            %s) words=%s ;;\n", command->name, part);
    }
    for (size_t at = 0; (option = shown(spec, &at)) != NULL;) {
        if (option->metavar) {
            bash_values(option);
        }
    }
    printf("            *) words='");
    for (size_t at = 0; (option = shown(spec, &at)) != NULL;) {
        printf("--%s ", option->name);
    }
    if (spec->words) {
        print_words(spec->words);
    } else if (spec->operands) {
        printf("--");
    }
    printf("' ;;\n            esac\n            ;;\n");
}

static void bash_end(void)
{
    printf("        esac\n    fi\n"
           "    if [ -n \"$files\" ]; then\n"
           "        compopt -o filenames 2>/dev/null\n"
           "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
           "    else\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
           "    fi\n}\ncomplete -F _mfcli mfcli\n");
}

/* ---- zsh ------------------------------------------------------------------------------------ */

static const char *zsh_text(char *out, const char *text)
{
    char inner[TEXT_BYTES];

    return quoted(out, quoted(inner, text, "[]:\\", "\\"), "'", "'\\'");
}

static void zsh_begin(const struct command *commands, size_t count)
{
    char text[TEXT_BYTES];

    printf("#compdef mfcli\n# zsh completion of mfcli; made by: mfcli completion zsh\n"
           "_mfcli()\n{\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; i < count; i++) {
        printf("        '%s:%s'\n", commands[i].name, zsh_text(text, commands[i].help));
    }
    printf("    )\n    if (( CURRENT == 2 )); then\n"
           "        _describe -t commands 'mfcli command' commands\n        return\n    fi\n"
           "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
           "    case $command in\n");
}

static void zsh_option(const struct arg_option *option)
{
    const char *equals = option->metavar ? "=" : "";
    char text[TEXT_BYTES];

    printf(" \\\n            ");
    if (option->letter) {
        printf("'(-%c --%s)'{-%c,--%s%s}'", option->letter, option->name, option->letter,
               option->name, equals);
    } else {
        printf("'%s--%s%s", option->type == ARG_TEXTS ? "*" : "", option->name, equals);
    }
    printf("[%s]", zsh_text(text, option->help));
    if (option->metavar) {
        printf(":%s:", option->metavar);
    }
    if (option->type == ARG_CHOICE) {
        printf("(");
        print_words(option->choices);
        printf(")");
    } else if (is_path(option)) {
        printf("_files");
    }
    printf("'");
}

static void zsh_command(const struct command *command, const struct arg_spec *spec)
{
    const char *part = part_of(command, spec);
    const struct arg_option *option = NULL;

    printf("    %s)\n", command->name);
    if (part) {
        printf("        if (( CURRENT == 2 )); then\n            compadd %s\n            return\n"
               "        fi\n        shift words\n        (( CURRENT-- ))\n",
               part);
    }
    printf("        _arguments -s");
    for (size_t at = 0; (option = shown(spec, &at)) != NULL;) {
        zsh_option(option);
    }
    if (spec->words) {
        printf(" \\\n            '1:word:(");
        print_words(spec->words);
        printf(")'");
    } else if (spec->operands) {
        printf(" \\\n            '*::program:_normal'");
    }
    printf("\n        ;;\n");
}

static void zsh_end(void)
{
    printf("    esac\n}\n_mfcli \"$@\"\n");
}

/* ---- fish ----------------------------------------------------------------------------------- */

static const char *fish_text(char *out, const char *text)
{
    return quoted(out, text, "'\\", "\\");
}

static void fish_begin(const struct command *commands, size_t count)
{
    char text[TEXT_BYTES];

    printf("# fish completion of mfcli; made by: mfcli completion fish\n"
           "complete -c mfcli -f\n");
    for (size_t i = 0; i < count; i++) {
        printf("complete -c mfcli -n __fish_use_subcommand -a %s -d '%s'\n", commands[i].name,
               fish_text(text, commands[i].help));
    }
}

static void fish_command(const struct command *command, const struct arg_spec *spec)
{
    const char *part = part_of(command, spec);
    const struct arg_option *option = NULL;
    char where[TEXT_BYTES], text[TEXT_BYTES];

    snprintf(where, sizeof(where), "complete -c mfcli -n '__fish_seen_subcommand_from %s'",
             command->name);
    if (part) {
        printf("%s -a %s\n", where, part);
    }
    if (spec->words) {
        printf("%s -a '", where);
        print_words(spec->words);
        printf("'\n");
    }
    for (size_t at = 0; (option = shown(spec, &at)) != NULL;) {
        printf("%s -l %s", where, option->name);
        if (option->letter) {
            printf(" -s %c", option->letter);
        }
        if (option->type == ARG_CHOICE) {
            printf(" -x -a '");
            print_words(option->choices);
            printf("'");
        } else if (option->metavar) {
            printf(is_path(option) ? " -r -F" : " -x");
        }
        printf(" -d '%s'\n", fish_text(text, option->help));
    }
}

static void fish_end(void)
{
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static const char *type_name(enum arg_type type)
{
    static const char *const names[] = {
        [ARG_FLAG] = "flag",       [ARG_NUMBER] = "number", [ARG_SIZE] = "size",
        [ARG_SECONDS] = "seconds", [ARG_TEXT] = "text",     [ARG_CHOICE] = "choice",
        [ARG_TEXTS] = "texts"};

    return names[type];
}

static void json_begin(const struct command *commands, size_t count)
{
    (void)commands;
    (void)count;
}

static void json_option(const char *command, const struct arg_option *option)
{
    struct out_json json;
    char letter[2] = {option->letter, '\0'};
    char choices[TEXT_BYTES] = "";
    size_t used = 0;

    for (size_t i = 0; option->type == ARG_CHOICE && option->choices[i]; i++) {
        int more = snprintf(choices + used, sizeof(choices) - used, "%s%s", i ? " " : "",
                            option->choices[i]);

        used += more > 0 && (size_t)more < sizeof(choices) - used ? (size_t)more : 0;
    }
    out_json_open(&json, stdout);
    out_json_text(&json, "command", command);
    out_json_text(&json, "option", option->name);
    out_json_text(&json, "letter", letter);
    out_json_text(&json, "type", type_name(option->type));
    out_json_text(&json, "metavar", option->metavar ? option->metavar : "");
    out_json_text(&json, "choices", choices);
    out_json_text(&json, "help", option->help);
    out_json_close(&json);
}

static void json_command(const struct command *command, const struct arg_spec *spec)
{
    const struct arg_option *option = NULL;
    struct out_json json;

    out_json_open(&json, stdout);
    out_json_text(&json, "command", spec->command);
    out_json_text(&json, "help", command->help);
    out_json_text(&json, "about", spec->about);
    out_json_text(&json, "operands", spec->operands ? spec->operands : "");
    out_json_close(&json);
    for (size_t at = 0; (option = shown(spec, &at)) != NULL;) {
        json_option(spec->command, option);
    }
}

static void json_end(void)
{
}

/* ---- the command ---------------------------------------------------------------------------- */

static const struct writer shell_writers[] = {
    {bash_begin, bash_command, bash_end},
    {zsh_begin, zsh_command, zsh_end},
    {fish_begin, fish_command, fish_end},
};
static const struct writer json_writer = {json_begin, json_command, json_end};

static void observe(void *arg, const struct arg_spec *spec)
{
    const struct visit *visit = arg;

    visit->writer->command(visit->command, spec);
}

static void write_all(const struct writer *writer)
{
    size_t count = 0;
    const struct command *commands = cli_commands(&count);

    writer->begin(commands, count);
    for (size_t i = 0; i < count; i++) {
        struct visit visit = {.writer = writer, .command = &commands[i]};
        char *name = cli_text("%s", commands[i].name);
        char help[] = "--help";
        char *argv[] = {name, help, NULL};

        args_observe(observe, &visit);
        commands[i].run(2, argv);
        args_observe(NULL, NULL);
        free(name);
    }
    writer->end();
}

static int write_shell(const struct arg_spec *spec, const char *shell)
{
    const char *near = NULL;

    for (size_t i = 0; shell_names[i]; i++) {
        if (strcmp(shell, shell_names[i]) == 0) {
            write_all(&shell_writers[i]);
            return CLI_OK;
        }
    }
    near = args_nearest(shell, shell_names);
    if (near) {
        return args_usage_error(spec, "there is no shell '%s'; did you mean '%s'?", shell, near);
    }
    return args_usage_error(spec, "there is no shell '%s'; bash, zsh and fish are known", shell);
}

int cmd_completion(int argc, char **argv)
{
    bool json = false;
    const struct arg_option options[] = {
        arg_flag("json", &json, "print the tables of commands and options, one JSON object a line"),
    };
    const struct arg_spec spec = {
        .command = "mfcli completion",
        .operands = "bash|zsh|fish",
        .about = "Prints a script that makes the shell complete commands, options and their "
                 "values:\n    source <(mfcli completion bash)",
        .words = shell_names,
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    int first = 0;
    int result = args_parse(&spec, argc, argv, &first);

    if (result != ARGS_GO) {
        return result;
    }
    if (json && first == argc) {
        write_all(&json_writer);
        return CLI_OK;
    }
    if (json) {
        return args_usage_error(&spec, "--json prints the tables; it goes with no shell");
    }
    if (argc - first != 1) {
        return args_usage_error(&spec, "name one shell: bash, zsh or fish");
    }
    return write_shell(&spec, argv[first]);
}
