#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles each example against the public headers alone, as its README says.
#   compile_examples.sh COMPILER ROOT
set -euo pipefail

compiler=$1
root=$2
count=0
for source in "$root"/examples/*/*.c; do
    "$compiler" -fsyntax-only -std=gnu11 -Wall -Wextra -Werror -I"$root/include" \
        -I"$root/examples" "$source"
    count=$((count + 1))
done
if [ "$count" -lt 4 ]; then
    echo "only $count examples in $root/examples" >&2
    exit 1
fi
