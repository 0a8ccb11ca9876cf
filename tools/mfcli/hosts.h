// SPDX-License-Identifier: Apache-2.0
// Other hosts for `mfcli run -H`: which, how many ranks on each, and the command by which an agent
// (ssh, or any other) starts an mfcli there that looks after them.
#ifndef MFCLI_HOSTS_H
#define MFCLI_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "launch.h"

#define HOSTS_MAX           256u
#define HOSTS_AGENT_DEFAULT "ssh -o BatchMode=yes %h"

struct hosts_cfg {
    const char *list;  /* "h1:2,h2:2" */
    const char *agent; /* words; %h is the host, %c the command as one word for a shell */
    const char *store;
    uint64_t rank_start;
    uint64_t world_size; /* 0: rank_start + all ranks of the list */
    uint64_t grace_ms;
    bool json;
    char **program; /* and arguments, NULL-terminated */
};

struct hosts {
    uint32_t count;
    uint32_t ranks; /* of all hosts */
    struct launch_member members[HOSTS_MAX];
};

/** Reads the list and the template. @return NULL, or a sentence what is wrong with it, to be freed
 */
char *hosts_open(struct hosts *hosts, const struct hosts_cfg *cfg);
void hosts_close(struct hosts *hosts);

#endif
