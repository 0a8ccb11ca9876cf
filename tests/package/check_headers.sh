#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each installed header compiles alone, as C99 and as C++11, with nothing but the installed headers: so
# none includes one that stays behind.
#
#   check_headers.sh PREFIX
set -euo pipefail
prefix=$1
. "$(dirname "$(realpath "$0")")/common.sh"

count=0
while IFS= read -r header; do
    for mode in "${CC:-cc} -std=c99 -x c" "${CXX:-c++} -std=c++11 -x c++"; do
        echo "#include \"$header\"" |
            $mode -Wall -Wextra -Werror -fsyntax-only -I "$prefix/include" - ||
            fail "$header does not compile alone: $mode"
    done
    count=$((count + 1))
done < <(cd "$prefix/include" && find . -name '*.h' | sed 's|^\./||' | sort)
[ "$count" -gt 0 ] || fail "no header below $prefix/include"
echo "$count headers"
