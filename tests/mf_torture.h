// SPDX-License-Identifier: Apache-2.0
// The torture driver: runs an operation again and again, failing its allocation 1, 2, 3 ... until
// none is left to fail. A program that uses it adds mf_torture.c to its sources; its strong
// mf_alloc_should_fail and mf_alloc_count then replace the library's.
#ifndef MF_TORTURE_H
#define MF_TORTURE_H

/** The operation: builds everything, works, and takes everything down again, also when it fails.
 * Returns SMEM_OK or the code of what failed. It must not assert: return the code. */
typedef int (*mf_torture_fn)(void *arg);

/** Fail each allocation of fn(arg) in turn, one in each run, whichever thread makes it. Each such
 * run must return a SMEM_* code with an error sentence, and leave as many live blocks as there were
 *  before. The last run, in which nothing fails, must return SMEM_OK. Returns how many allocations
 *  failed in all; fails the cmocka test otherwise. */
int mf_torture(mf_torture_fn fn, void *arg);

/** As mf_torture, but the operation may also succeed without the memory (it does without a cache,
 * or tries again). */
int mf_torture_recovers(mf_torture_fn fn, void *arg);

/** For tests that fail one chosen allocation: the `nth` from now on (1 is the next one). */
void mf_torture_arm(int nth);
/** No further failures. Non-zero when the armed one has happened. */
int mf_torture_disarm(void);
/** Blocks of mf_alloc and its kin that live now. */
long mf_torture_live_blocks(void);

#endif
