#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The shared library exports exactly the functions that the public headers declare:
# check_exports.sh <library> <include folder>. Exit 0 the same, 1 with one line for each difference,
# 77 skipped.
set -u
library=$1
include=$2

if ! command -v nm >/dev/null; then
    echo "skipped: nm is not installed"
    exit 77
fi
if [ ! -f "$library" ]; then
    echo "FAILED: $library is not built"
    exit 1
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# A declaration begins with a macro MF_..._API or MF_API; its name stands before the first parenthesis.
cat "$include"/smem*.h "$include"/memfabric/*.h |
    awk '/^MF_([A-Z]+_)?API / {
             if (index($0, "(") == 0) { getline more; $0 = $0 " " more }
             sub(/\(.*/, ""); sub(/.*[ *]/, ""); print
         }' | LC_ALL=C sort -u >"$dir/declared"
nm -D --defined-only "$library" | awk '{ print $3 }' | LC_ALL=C sort -u >"$dir/exported"

count=$(wc -l <"$dir/declared")
LC_ALL=C comm -23 "$dir/declared" "$dir/exported" | sed 's/^/declared, not exported: /' >"$dir/gaps"
LC_ALL=C comm -13 "$dir/declared" "$dir/exported" | sed 's/^/exported, not declared: /' >>"$dir/gaps"
cat "$dir/gaps"
echo "$count functions declared"
[ ! -s "$dir/gaps" ] && [ "$count" -gt 0 ]
