#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The reference names every exported function: check_reference.sh <docs/api.md> <header>...
# Exit 0 it does, 1 with one line for each function that it lacks.
set -u
reference=$1
shift
functions=$(awk '/^MF_API / { sub(/\(.*/, ""); sub(/.*[ *]/, ""); print }' "$@")
count=0
missing=0
for function in $functions; do
    count=$((count + 1))
    if ! grep -q "^| \`$function\` " "$reference"; then
        echo "$reference does not list $function"
        missing=1
    fi
done
echo "$count functions"
[ $missing -eq 0 ] && [ $count -gt 0 ]
