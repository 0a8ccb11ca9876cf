// SPDX-License-Identifier: Apache-2.0
// A table of options with one row of each type, and odd bounds, in the place of the real one.

MF_OPTION(FLAG_ON, "flag.on", "MF_FLAG_ON", BOOL, "", "on", 0, 0, "a switch that is on by default")
MF_OPTION(FLAG_OFF, "flag.off", "MF_FLAG_OFF", BOOL, "", "0", 0, 0, "a switch that is off | not on")
MF_OPTION(ANY, "number.any", "MF_NUMBER_ANY", U64, "", "0", 0, UINT64_MAX, "any number at all")
MF_OPTION(SIZE, "number.size", "MF_NUMBER_SIZE", U64, "bytes", "1536", 1, 3ull << 50,
          "a size with bounds that are not whole units")
MF_OPTION(TEXT, "text.any", "MF_TEXT_ANY", STR, "", "", 0, 0, "any text at all")
