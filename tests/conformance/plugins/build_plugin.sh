#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds a plug-in the way its author would: one source file, the installed headers, nothing else.
#
#   build_plugin.sh PREFIX SOURCE OUTPUT [compiler option]...
set -euo pipefail
prefix=$1 source=$2 output=$3
shift 3
mkdir -p "$(dirname "$output")"
"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden \
    "$@" -I"$prefix/include" "$source" -o "$output" -pthread
