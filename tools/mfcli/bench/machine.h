// SPDX-License-Identifier: Apache-2.0
// What a result must say of the machine that it was measured on, and the clock it was measured
// with.
#ifndef MFCLI_BENCH_MACHINE_H
#define MFCLI_BENCH_MACHINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Seconds on a clock that all processes of the machine share. */
double machine_now(void);
void machine_sleep_ns(uint64_t ns);

/** The processor's name as the system tells it. */
void machine_cpu(char *name, size_t len);
/** Cores that this process may use. */
uint32_t machine_cores(void);
/** "2026-01-31". */
void machine_date(char *text, size_t len);
/** Bytes that can be allocated now: the least of the system's and the control group's. */
uint64_t machine_memory(void);

/** Bytes of a line "Name:   N kB" of /proc/PID/status; 0 when it is not there. */
uint64_t machine_status_bytes(pid_t pid, const char *name);
/** Voluntary context switches of all threads of a process. */
uint64_t machine_switches(pid_t pid);

#endif
