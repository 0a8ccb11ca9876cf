// SPDX-License-Identifier: Apache-2.0
// The program for 1.3 in C.
#include "gen_1_3_body.h"

int main(void)
{
    return run();
}
