#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles one program that is written in the style of an older generation of the API:
# compile_generation.sh <include folder> <file> <standard> <compiler, or nothing when there is none>.
# Programs of that time name fewer members of a struct than it has now, so that warning is off.
# Exit 0 compiles, 1 does not, 77 skipped.
set -u
if [ -z "${4:-}" ]; then
    echo "skipped: this compiler is not installed"
    exit 77
fi
"$4" "-std=$3" -Wall -Wextra -Wpedantic -Werror -Wno-missing-field-initializers -I"$1" \
    -fsyntax-only "$2" || exit 1
