// SPDX-License-Identifier: Apache-2.0
// The entry of libFuzzer; its corpus begins with what `fuzz_X --write FOLDER` has written.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_one(data, len < FUZZ_INPUT_MAX ? len : FUZZ_INPUT_MAX);
    return 0;
}
