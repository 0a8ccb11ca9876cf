#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the installed libraries give and need: no name but smem_* and mf_*; no text relocation, no
# executable stack; no library besides libc, libevent and libnuma.
#
#   check_symbols.sh PREFIX SOVERSION
set -euo pipefail
export LC_ALL=C
prefix=$1
soversion=$2
. "$(dirname "$(realpath "$0")")/common.sh"

libdir=$(library_dir)
shared=$libdir/libmf_smem.so

# Type A are the names of versions in the symbol map, not symbols.
exported=$(nm -D --defined-only "$shared" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
[ -n "$exported" ] || fail "$shared exports nothing"
foreign=$(grep -Ev '^(smem|mf)_' <<<"$exported" || true)
[ -z "$foreign" ] || fail "$shared exports" $foreign
foreign=$(nm -g --defined-only "$libdir/libmf_smem.a" 2>/dev/null |
    awk 'NF == 3 && $3 !~ /^(smem|mf)_/ { print $3 }')
[ -z "$foreign" ] || fail "libmf_smem.a defines" $foreign

dynamic=$(readelf -dW "$shared")
grep -q "SONAME.*\[libmf_smem.so.$soversion\]" <<<"$dynamic" ||
    fail "the soname is not libmf_smem.so.$soversion: $(grep SONAME <<<"$dynamic")"
! grep -q TEXTREL <<<"$dynamic" || fail "$shared has text relocations"
segments=$(readelf -lW "$shared")
grep -q 'GNU_STACK.* RW ' <<<"$segments" || fail "$shared wants an executable stack"
needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic")
allowed='^(libevent_core|libevent_pthreads|libnuma|libc|libm|libdl|libpthread|librt|ld-linux)[-.]'
foreign=$(grep -Ev "$allowed" <<<"$needed" || true)
[ -z "$foreign" ] || fail "$shared needs" $foreign
echo "$(wc -l <<<"$exported") names exported, needs:" $needed
