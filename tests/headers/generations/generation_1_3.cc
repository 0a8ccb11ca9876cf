// SPDX-License-Identifier: Apache-2.0
// The 1.3.0 program as C++.
#include "generation_1_3_body.h"
