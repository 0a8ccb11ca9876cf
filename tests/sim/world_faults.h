// SPDX-License-Identifier: Apache-2.0
// Faults of a world: when they strike, what they do, how they are undone.
#ifndef MF_SIM_WORLD_FAULTS_H
#define MF_SIM_WORLD_FAULTS_H

void faults_open(void);
void faults_close(void);
/** After each step: those whose time has come. */
void faults_strike(void);
/** Undo all that lasts, and strike no more. */
void faults_undo_all(void);

#endif
