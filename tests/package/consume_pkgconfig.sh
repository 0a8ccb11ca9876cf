#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs a program against an installed prefix, with the flags that pkg-config gives.
#
#   consume_pkgconfig.sh PREFIX shared|static WORK_DIR
set -euo pipefail
here=$(dirname "$(realpath "$0")")
prefix=$1
kind=$2
work=$3
. "$here/common.sh"

libdir=$(library_dir)
export PKG_CONFIG_PATH=$libdir/pkgconfig
rm -rf "$work"
mkdir -p "$work"
read -ra cflags <<<"$(pkg-config --cflags memfabric)"
if [ "$kind" = static ]; then
    read -ra libs <<<"$(pkg-config --static --libs memfabric)"
    libs=("${libs[@]/#-lmf_smem/-l:libmf_smem.a}")
else
    read -ra libs <<<"$(pkg-config --libs memfabric)"
fi
"${CC:-cc}" -std=c99 -Wall -Wextra -Werror "${cflags[@]}" "$here/consumer/main.c" -o "$work/main" \
    "${libs[@]}"
check_run "$work/main" "$kind" "$libdir"
