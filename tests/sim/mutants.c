// SPDX-License-Identifier: Apache-2.0
// Which mutant is alive. The only variable that MF_MUTANT() of base/mutant.h looks at.
#include "mutants.h"

#include <stdio.h>
#include <string.h>

#include "base/mutant.h"

#ifdef MF_MUTANTS

enum mf_mutant mf_mutant_alive;
static char program[64] = "mf-sim-mutants";

#define ROW(name, text, what) [MF_MUTANT_##name] = {text, what},
static const struct {
    const char *name, *what;
} rows[MF_MUTANT_COUNT] = {MF_MUTANT_LIST(ROW)};

bool mutants_choose(const char *name, char *why, size_t len)
{
    for (int i = MF_MUTANT_NONE + 1; i < MF_MUTANT_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            mf_mutant_alive = (enum mf_mutant)i;
            snprintf(program, sizeof(program), "mf-sim-mutants --mutant %s", name);
            return true;
        }
    }
    snprintf(why, len, "--mutant %s: there is no such mutant: see --list-mutants", name);
    return false;
}

bool mutants_list(void)
{
    for (int i = MF_MUTANT_NONE + 1; i < MF_MUTANT_COUNT; i++) {
        printf("%-18s %s\n", rows[i].name, rows[i].what);
    }
    return true;
}

const char *mutants_program(void)
{
    return program;
}

#else

bool mutants_choose(const char *name, char *why, size_t len)
{
    snprintf(why, len, "--mutant %s: this program has no mutants: use mf-sim-mutants", name);
    return false;
}

bool mutants_list(void)
{
    return false;
}

const char *mutants_program(void)
{
    return "mf-sim";
}

#endif
