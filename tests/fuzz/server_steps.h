// SPDX-License-Identifier: Apache-2.0
// What happens to a store server in an input of fuzz_store_server: one byte, which holds connection
// and event, a length in two, and for bytes that many of them. The recorder writes what it sees in
// the same form.
#ifndef MF_TESTS_FUZZ_SERVER_STEPS_H
#define MF_TESTS_FUZZ_SERVER_STEPS_H

#define SERVER_CONNS 5u /* one more than the server takes */

enum server_step {
    SERVER_STEP_BYTES,    /* and every number that is not below */
    SERVER_STEP_SLOW,     /* the connection reads nothing from now on; not 0: it reads again */
    SERVER_STEP_TIME = 6, /* the length is the milliseconds that pass */
    SERVER_STEP_CLOSED,   /* by the client */
    SERVER_STEPS,
};

static inline unsigned char server_step_byte(unsigned conn, enum server_step what)
{
    return (unsigned char)(conn + SERVER_CONNS * (unsigned)what);
}

#endif
