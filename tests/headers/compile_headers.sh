#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles every public header alone, twice in a row, and all together in both orders, with warnings as
# errors: compile_headers.sh <include folder> <c99|c11|c++11> <compiler, or nothing when there is none>.
# Exit 0 all compile, 1 one does not (which, and why), 77 skipped.
set -u
include=$1
std=$2
compiler=${3:-}

if [ -z "$compiler" ]; then
    echo "skipped: this compiler is not installed"
    exit 77
fi
case $std in
    c++*) language=c++ ;;
    *) language=c ;;
esac

headers=$(cd "$include" && ls smem*.h memfabric/*.h) || exit 1
failed=0

# compile <what> <text of a translation unit>
compile() {
    if ! printf '%b' "$2" | "$compiler" -x "$language" "-std=$std" -Wall -Wextra -Wpedantic -Werror \
        -I"$include" -fsyntax-only -; then
        echo "FAILED: $1 ($compiler -std=$std)"
        failed=1
    fi
}

forward=
backward=
for header in $headers; do
    compile "$header alone" "#include \"$header\"\n"
    compile "$header twice" "#include \"$header\"\n#include \"$header\"\n"
    forward="$forward#include \"$header\"\n"
    backward="#include \"$header\"\n$backward"
done
compile "all headers" "$forward"
compile "all headers, last first" "$backward"

# The checks of the layout are alive: with enums of one byte they must stop the compiler. C99 has none.
if [ "$std" != c99 ] &&
    echo '#include "smem_bm.h"' | "$compiler" -x "$language" "-std=$std" -fshort-enums -I"$include" \
        -fsyntax-only - 2>/dev/null; then
    echo "FAILED: smem_bm.h compiles although its enums have the wrong size"
    failed=1
fi
exit $failed
