#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Opens the installed shared library while a program runs, as an interpreter does with an extension:
# there is little static thread-local storage left by then.
#
#   load.sh PREFIX WORK_DIR
set -euo pipefail
here=$(dirname "$(realpath "$0")")
prefix=$1
work=$2
. "$here/common.sh"

rm -rf "$work"
mkdir -p "$work"
"${CC:-cc}" -std=c99 -Wall -Wextra -Werror "$here/consumer/load.c" -o "$work/load" -ldl
"$work/load" "$(library_dir)/libmf_smem.so"
