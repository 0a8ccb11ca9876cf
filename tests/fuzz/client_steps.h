// SPDX-License-Identifier: Apache-2.0
// What happens to a store client in an input of fuzz_store_client: one byte, a length in two, and
// for the first three that many bytes. The recorder writes what it sees in the same form.
#ifndef MF_TESTS_FUZZ_CLIENT_STEPS_H
#define MF_TESTS_FUZZ_CLIENT_STEPS_H

enum client_step {
    CLIENT_STEP_BYTES,   /* from the server */
    CLIENT_STEP_SUBMIT,  /* a request: the body of its message */
    CLIENT_STEP_WATCH,   /* a prefix */
    CLIENT_STEP_TIME,    /* the length is the milliseconds that pass */
    CLIENT_STEP_UNWATCH, /* the length is the number of the watch, from 1 on */
    CLIENT_STEP_CLOSED,  /* the connection ended */
    CLIENT_STEP_MOVE,    /* another address; not 0: at once */
    CLIENT_STEP_CONNECTING,
    CLIENT_STEP_CLOSE, /* by the user */
    CLIENT_STEPS,
};

#endif
