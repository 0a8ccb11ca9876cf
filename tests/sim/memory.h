// SPDX-License-Identifier: Apache-2.0
// The memory of simulated ranks: objects (what a memfd is) that live as long as somebody holds
// them, and the addresses at which processes have them. An address of a simulated process is a
// number and no pointer: only these functions know what lies behind it, so that two processes may
// have different things at one address, and code that loads by itself crashes.
#ifndef MF_SIM_MEMORY_H
#define MF_SIM_MEMORY_H

#include "sim.h"

/** For sim_open and sim_close; all objects are gone. */
void sim_memory_open(void);
void sim_memory_close(void);

/** Pages of a number of bytes, zero at first. Belongs to no process: it is freed with its last
 * reference, and until then bytes that come late land in it. */
struct sim_object;

/** What a descriptor that mf_memory_create gave to the process leads to; borrowed. NULL: nothing.
 */
struct sim_object *sim_object_of_fd(struct sim_proc *proc, int fd);
struct sim_object *sim_object_get(struct sim_object *object);
/** NULL is fine. */
void sim_object_put(struct sim_object *object);
/** Counted up; no two objects of a run have the same. */
uint64_t sim_object_number(const struct sim_object *object);
uint64_t sim_object_size(const struct sim_object *object);
/** To read; what lies behind the last byte that was ever written is zero. */
const unsigned char *sim_object_bytes(const struct sim_object *object);
/** All that is written goes through here. */
void sim_object_write(struct sim_object *object, uint64_t offset, const void *bytes, uint64_t size);
/** Its pages are given back, for all that hold it: it reads zero. */
void sim_object_punch(struct sim_object *object);

/** Have `object` (a reference of it) at an address that mf_space_reserve_free gave to the running
 * process, as mf_space_map does with a descriptor. */
void sim_memory_bind(uint64_t addr, uint64_t size, struct sim_object *object);
/** What the process has at [addr, addr + size): the object (borrowed) and the offset of the first
 * byte in it. False: no place, an ordinary pointer. NULL in *object: a place with nothing in it
 * (inaccessible), or with zero pages. */
bool sim_memory_at(struct sim_proc *proc, uint64_t addr, uint64_t size, struct sim_object **object,
                   uint64_t *offset);

/** The next `count` makings of memory by the process fail as when the machine has none left. */
void sim_memory_short(struct sim_proc *proc, uint32_t count);
/** Descriptors and places that the process has: 0 at its end. */
uint64_t sim_memory_held(const struct sim_proc *proc);

#endif
