// SPDX-License-Identifier: Apache-2.0
// Faults planted on purpose, to prove that the simulation finds them. In the library MF_MUTANT() is
// the constant 0 and leaves neither code nor data; only the simulated program that is built with
// MF_MUTANTS (tests/sim) can bring one of them to life, one at a time.
#ifndef MF_BASE_MUTANT_H
#define MF_BASE_MUTANT_H

/** X(name, "name on the command line", what it breaks). */
#define MF_MUTANT_LIST(X)                                                                        \
    X(FENCE_CHECK, "fence-check", "a copy does not look whether the segment is still published") \
    X(FENCE_RECHECK, "fence-recheck", "a read is not looked at again after it")                  \
    X(GATE, "gate", "an owner lets copies of a rank in that it has declared dead")               \
    X(EPOCH, "epoch", "a withdrawn segment keeps its epoch")                                     \
    X(QUIESCE, "quiesce", "a withdraw does not wait for copies under way")                       \
    X(DEADLINE, "deadline", "the deadline of a request to the store is not armed")               \
    X(LATE_ANNOUNCE, "late-announce",                                                            \
      "the store accepts an announcement although the key has another owner since")              \
    X(EARLY_NEWCOMER, "early-newcomer", "a store that recovers lets newcomers claim a rank")     \
    X(DOUBLE_COMPLETION, "double-completion",                                                    \
      "a cancel ends a request that a worker is carrying out")                                   \
    X(LOST_COMPLETION, "lost-completion", "a request that fails never ends")                     \
    X(CUT_LEAK, "cut-leak",                                                                      \
      "what was queued to the store is not freed when the connection breaks")                    \
    X(STALE_HANDLE, "stale-handle", "the handle of a request that was freed is accepted")

#ifdef MF_MUTANTS
#define MF_MUTANT_ENUM(name, text, what) MF_MUTANT_##name,
/** Which one is alive. */
enum mf_mutant { MF_MUTANT_NONE, MF_MUTANT_LIST(MF_MUTANT_ENUM) MF_MUTANT_COUNT };
extern enum mf_mutant mf_mutant_alive;
#define MF_MUTANT(name) (mf_mutant_alive == MF_MUTANT_##name)
#else
#define MF_MUTANT(name) 0
#endif

#endif
