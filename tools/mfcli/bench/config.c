// SPDX-License-Identifier: Apache-2.0
// Names of paths, cases and transports, and the lists of them that a command line gives.
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "args.h"

#define WORD_MAX 64u

const struct bench_path bench_paths[PATH_COUNT] = {
    [PATH_H2D] = {"H2D", PLACE_HOST, PLACE_HBM, false, false, SMEMB_COPY_H2G},
    [PATH_D2H] = {"D2H", PLACE_HBM, PLACE_HOST, false, false, SMEMB_COPY_G2H},
    [PATH_H2RD] = {"H2RD", PLACE_HOST, PLACE_HBM, false, true, SMEMB_COPY_H2G},
    [PATH_H2RH] = {"H2RH", PLACE_HOST, PLACE_DRAM, false, true, SMEMB_COPY_H2G},
    [PATH_D2RH] = {"D2RH", PLACE_DEVICE, PLACE_DRAM, false, true, SMEMB_COPY_L2G},
    [PATH_D2RD] = {"D2RD", PLACE_DEVICE, PLACE_HBM, false, true, SMEMB_COPY_L2G},
    [PATH_RH2D] = {"RH2D", PLACE_DRAM, PLACE_DEVICE, true, false, SMEMB_COPY_G2L},
    [PATH_RH2H] = {"RH2H", PLACE_DRAM, PLACE_HOST, true, false, SMEMB_COPY_G2H},
    [PATH_RD2D] = {"RD2D", PLACE_HBM, PLACE_DEVICE, true, false, SMEMB_COPY_G2L},
    [PATH_RD2H] = {"RD2H", PLACE_HBM, PLACE_HOST, true, false, SMEMB_COPY_G2H},
};

const char *const bench_case_names[CASE_COUNT + 1] = {
    [CASE_122] = "122",           [CASE_SMALL] = "small",           [CASE_LAT8] = "lat8",
    [CASE_PLAN] = "plan",         [CASE_CREATE] = "create",         [CASE_JOIN] = "join",
    [CASE_CHECKSUM] = "checksum", [CASE_TRANSLATED] = "translated", [CASE_TRACE] = "trace",
    [CASE_PREPARED] = "prepared", [CASE_REQUEST] = "request",       [CASE_VM] = "vm",
};

const char *const bench_transport_names[] = {"direct", NULL};

uint32_t bench_transport_ops(uint64_t transport)
{
    static const uint32_t ops[] = {SMEMB_DATA_OP_SDMA | SMEMB_DATA_OP_HOST_SHM};

    return ops[transport];
}

uint32_t bench_host_paths(void)
{
    uint32_t paths = 0;

    for (uint32_t i = 0; i < PATH_COUNT; i++) {
        if (!bench_path_needs_device(&bench_paths[i])) {
            paths |= 1u << i;
        }
    }
    return paths;
}

/* Takes the next word of a list; false at its end. */
static bool next_word(const char **list, char *word, size_t word_len)
{
    size_t length = strcspn(*list, ",");

    if (**list == '\0') {
        return false;
    }
    snprintf(word, word_len, "%.*s", (int)length, *list);
    *list += length;
    *list += **list == ',' ? 1 : 0;
    return true;
}

static const char *path_name(uint32_t i)
{
    return bench_paths[i].name;
}

static const char *case_name(uint32_t i)
{
    return bench_case_names[i];
}

static int parse_names(const char *list, const char *(*name)(uint32_t), uint32_t count,
                       uint32_t *bits, char *word, size_t word_len)
{
    uint32_t found = 0;

    while (next_word(&list, word, word_len)) {
        uint32_t i = 0;

        if (strcasecmp(word, "all") == 0) {
            found |= (1u << count) - 1;
            continue;
        }
        while (i < count && strcasecmp(word, name(i)) != 0) {
            i++;
        }
        if (i == count) {
            return -1;
        }
        found |= 1u << i;
    }
    *bits |= found;
    return found ? 0 : -1;
}

int bench_parse_paths(const char *text, uint32_t *paths, char *word, size_t word_len)
{
    word[0] = '\0';
    return parse_names(text, path_name, PATH_COUNT, paths, word, word_len);
}

int bench_parse_cases(const char *text, uint32_t *cases, char *word, size_t word_len)
{
    word[0] = '\0';
    return parse_names(text, case_name, CASE_COUNT, cases, word, word_len);
}

int bench_parse_sizes(const char *text, struct bench_cfg *cfg, char *word, size_t word_len)
{
    word[0] = '\0';
    cfg->size_count = 0;
    while (next_word(&text, word, word_len)) {
        uint64_t bytes = 0;

        if (cfg->size_count == BENCH_SIZES_MAX || !args_size(word, &bytes) || bytes == 0) {
            return -1;
        }
        cfg->sizes[cfg->size_count++] = bytes;
    }
    return cfg->size_count ? 0 : -1;
}
