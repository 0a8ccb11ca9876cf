// SPDX-License-Identifier: Apache-2.0
// One rank of the demo: does what the guide asks until the guide is gone.
#ifndef MFCLI_DEMO_RANK_H
#define MFCLI_DEMO_RANK_H

/** @param channel the end of a socket pair on which questions come. @return the tool's exit code */
int demo_rank(int channel);

#endif
