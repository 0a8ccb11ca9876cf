#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles one program of an older generation against an installed MemFabric, with nothing else of it,
# and runs it as ranks under mfcli run:
#
#   run_generation.sh PREFIX SOURCE STANDARD RANKS OWN_STORE BUILD_DIR
#
# OWN_STORE yes: the program serves the config store itself; no: mfcli does. CC, CXX: the compilers.
set -euo pipefail
prefix=$1 source=$2 standard=$3 ranks=$4 own_store=$5 build=$6
program=$build/$(basename "$source" | tr . _)
mkdir -p "$build"
lib=$(dirname "$(find "$prefix" -name libmf_smem.so -print -quit)")
case "$source" in
*.c) compiler=${CC:-cc} ;;
*) compiler=${CXX:-c++} ;;
esac
# Programs of that time name fewer members of a struct than it has now.
"$compiler" "-std=$standard" -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-missing-field-initializers \
    -O1 -g -I"$prefix/include" "$source" -o "$program" -L"$lib" -lmf_smem -lpthread \
    -Wl,-rpath,"$lib"
store=()
if [ "$own_store" = yes ]; then
    # A port that was free a moment ago: these programs cannot ask which one they got.
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
    store=(--store "tcp://127.0.0.1:$port")
fi
exec "$prefix/bin/mfcli" run -n "$ranks" "${store[@]}" -- "$program"
