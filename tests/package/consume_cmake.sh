#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs a program against an installed prefix, with find_package(memfabric).
#
#   consume_cmake.sh PREFIX shared|static WORK_DIR
set -euo pipefail
here=$(dirname "$(realpath "$0")")
prefix=$1
kind=$2
work=$3
. "$here/common.sh"

rm -rf "$work"
cmake -S "$here/consumer" -B "$work" -DCMAKE_PREFIX_PATH="$prefix" -DKIND="$kind" >/dev/null
cmake --build "$work" >/dev/null
check_run "$work/main" "$kind" "$(library_dir)"
