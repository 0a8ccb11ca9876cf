// SPDX-License-Identifier: Apache-2.0
// The mutants of this program: none in mf-sim, those of base/mutant.h in mf-sim-mutants.
#ifndef MF_SIM_MUTANTS_H
#define MF_SIM_MUTANTS_H

#include <stdbool.h>
#include <stddef.h>

/** Bring one to life; false with a sentence. */
bool mutants_choose(const char *name, char *why, size_t len);
/** One a line: name, what it breaks. False: this program has none. */
bool mutants_list(void);
/** How the program was called, as far as mutants go: "mf-sim-mutants --mutant epoch". */
const char *mutants_program(void);

#endif
