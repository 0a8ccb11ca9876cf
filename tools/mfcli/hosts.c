// SPDX-License-Identifier: Apache-2.0
// Other hosts: the list, the template, and the words that start ranks there.
#include "hosts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "smem.h"

extern char **environ;

/* A list of words that grows; the last one is NULL. */
struct words {
    char **v;
    size_t count;
};

static void add(struct words *words, char *word)
{
    words->v = cli_grow(words->v, words->count + 2, sizeof(*words->v));
    words->v[words->count++] = word;
    words->v[words->count] = NULL;
}

static void free_words(struct words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        free(words->v[i]);
    }
    free(words->v);
    *words = (struct words){NULL, 0};
}

/* The word as a shell reads it back. */
static char *quoted(const char *word)
{
    char *text = cli_alloc(4 * strlen(word) + 3, 1);
    char *at = text;

    *at++ = '\'';
    for (; *word; word++) {
        if (*word == '\'') {
            memcpy(at, "'\\''", 4);
            at += 4;
        } else {
            *at++ = *word;
        }
    }
    *at = '\'';
    return text;
}

/* All words of a command, quoted, as one text. */
static char *as_shell_text(const struct words *command)
{
    char *text = cli_text("%s", "");

    for (size_t i = 0; i < command->count; i++) {
        char *word = quoted(command->v[i]);
        char *longer = cli_text("%s%s%s", text, i ? " " : "", word);

        free(word);
        free(text);
        text = longer;
    }
    return text;
}

/* The text with each `what` replaced. */
static char *replaced(const char *text, const char *what, const char *with)
{
    char *done = cli_text("%s", "");
    const char *at = NULL;

    while ((at = strstr(text, what))) {
        char *longer = cli_text("%s%.*s%s", done, (int)(at - text), text, with);

        free(done);
        done = longer;
        text = at + strlen(what);
    }
    char *whole = cli_text("%s%s", done, text);
    free(done);
    return whole;
}

/* Does that program hand its words to a shell of the other host? */
static bool is_shell_like(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;

    return strcmp(name, "ssh") == 0 || strcmp(name, "rsh") == 0;
}

/* Options of the library that the ranks here would have. */
static bool is_forwarded(const char *entry)
{
    static const char *const own[] = {
        "MF_CONFIG_STORE_URL=", "MF_WORLD_SIZE=", "MF_RANK=", "MF_LOCAL_RANK="};

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (strncmp(entry, own[i], strlen(own[i])) == 0) {
            return false;
        }
    }
    return strncmp(entry, "MF_", 3) == 0;
}

static char *own_path(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

    return cli_text("%.*s", length > 0 ? (int)length : 5, length > 0 ? path : "mfcli");
}

/* What is to run over there: an mfcli that ends when we do. */
static struct words remote_command(const struct hosts_cfg *cfg, uint32_t ranks, uint64_t first,
                                   uint64_t world)
{
    struct words words = {NULL, 0};

    add(&words, cli_text("env"));
    for (char **entry = environ; *entry; entry++) {
        if (is_forwarded(*entry)) {
            add(&words, cli_text("%s", *entry));
        }
    }
    add(&words, own_path());
    add(&words, cli_text("run"));
    add(&words, cli_text("--tether"));
    add(&words, cli_text("-n"));
    add(&words, cli_text("%u", ranks));
    add(&words, cli_text("--world-size=%llu", (unsigned long long)world));
    add(&words, cli_text("--rank-start=%llu", (unsigned long long)first));
    add(&words, cli_text("--store=%s", cfg->store));
    add(&words, cli_text("--grace=%g", (double)cfg->grace_ms / 1000));
    if (cfg->json) {
        add(&words, cli_text("--json"));
    }
    add(&words, cli_text("--"));
    for (char **word = cfg->program; *word; word++) {
        add(&words, cli_text("%s", *word));
    }
    return words;
}

/* The agent's words for one host, with the command behind them or in them. */
static struct words agent_command(const char *template, const char *host,
                                  const struct words *command)
{
    struct words words = {NULL, 0};
    char *shell_text = as_shell_text(command);
    bool placed = strstr(template, "%c") != NULL;

    while (*template) {
        size_t length = strcspn(template, " \t");

        if (length) {
            char *word = cli_text("%.*s", (int)length, template);
            char *named = replaced(word, "%h", host);

            add(&words, replaced(named, "%c", shell_text));
            free(word);
            free(named);
        }
        template += length + strspn(template + length, " \t");
    }
    if (!placed && words.count && is_shell_like(words.v[0])) {
        add(&words, shell_text);
        return words;
    }
    for (size_t i = 0; !placed && i < command->count; i++) {
        add(&words, cli_text("%s", command->v[i]));
    }
    free(shell_text);
    return words;
}

/* "host" or "host:n", where the host may be an IPv6 address in brackets. @return NULL or a sentence
 */
static char *read_entry(const char *entry, size_t length, char **host, uint32_t *ranks)
{
    const char *close = length && entry[0] == '[' ? memchr(entry, ']', length) : NULL;
    const char *from = close ? close : entry;
    const char *colon = memchr(from, ':', length - (size_t)(from - entry));
    size_t named = colon ? (size_t)(colon - entry) : length;
    unsigned long count = 1;
    char *end = NULL;

    if (colon) {
        errno = 0;
        count = isdigit((unsigned char)colon[1]) ? strtoul(colon + 1, &end, 10) : 0;
        if (count == 0 || count > SMEM_WORLD_SIZE_MAX || end != entry + length) {
            return cli_text("-H: \"%.*s\" is not HOST:N with N from 1 to %u", (int)length, entry,
                            SMEM_WORLD_SIZE_MAX);
        }
    }
    /* A name that begins with a dash would be an option of the agent. */
    if (named == 0 || entry[0] == '-') {
        return cli_text("-H: \"%.*s\" names no host", (int)length, entry);
    }
    *host = close ? cli_text("%.*s", (int)(close - entry - 1), entry + 1)
                  : cli_text("%.*s", (int)named, entry);
    *ranks = (uint32_t)count;
    return NULL;
}

static char *read_list(struct hosts *hosts, const char *list)
{
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        struct launch_member *member = &hosts->members[hosts->count];
        char *wrong = hosts->count == HOSTS_MAX
                          ? cli_text("-H names more than %u hosts", HOSTS_MAX)
                          : read_entry(at, length, &member->name, &member->ranks);

        if (wrong) {
            return wrong;
        }
        hosts->count++;
        hosts->ranks += member->ranks;
        at += length;
        if (!*at) {
            return NULL;
        }
    }
}

char *hosts_open(struct hosts *hosts, const struct hosts_cfg *cfg)
{
    char *wrong = NULL;
    uint64_t first = cfg->rank_start, world = cfg->world_size;

    memset(hosts, 0, sizeof(*hosts));
    wrong = read_list(hosts, cfg->list);
    if (!wrong && !strstr(cfg->agent, "%h")) {
        wrong = cli_text("--agent \"%s\" has no %%h, where the host's name goes", cfg->agent);
    }
    world = world ? world : first + hosts->ranks;
    if (!wrong && (first + hosts->ranks > world || world > SMEM_WORLD_SIZE_MAX)) {
        wrong = cli_text("the %u ranks of -H from number %llu on are not all below a world size of "
                         "%llu, at most %u",
                         hosts->ranks, (unsigned long long)first, (unsigned long long)world,
                         SMEM_WORLD_SIZE_MAX);
    }
    if (wrong) {
        hosts_close(hosts);
        return wrong;
    }
    for (uint32_t i = 0; i < hosts->count; i++) {
        struct launch_member *member = &hosts->members[i];
        struct words command = remote_command(cfg, member->ranks, first, world);

        member->argv = agent_command(cfg->agent, member->name, &command).v;
        first += member->ranks;
        free_words(&command);
    }
    return NULL;
}

void hosts_close(struct hosts *hosts)
{
    for (uint32_t i = 0; i < hosts->count; i++) {
        for (char **word = hosts->members[i].argv; word && *word; word++) {
            free(*word);
        }
        free(hosts->members[i].argv);
        free(hosts->members[i].name);
    }
    hosts->count = 0;
}
