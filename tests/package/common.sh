# SPDX-License-Identifier: Apache-2.0
# What the package tests share; sourced by them, after they set `prefix`.

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# The folder of the prefix that holds the libraries: lib, lib64 or lib/<machine>.
library_dir() {
    local found
    found=$(find "$prefix" -name libmf_smem.so -print -quit)
    [ -n "$found" ] || fail "no libmf_smem.so below $prefix"
    dirname "$found"
}

# check_run PROGRAM shared|static LIBDIR: it runs, and is linked the way it should be.
check_run() {
    local program=$1 kind=$2 libdir=$3 needs=no dynamic
    dynamic=$(readelf -dW "$program")
    if grep -q 'NEEDED.*libmf_smem' <<<"$dynamic"; then
        needs=yes
    fi
    case "$kind/$needs" in
    shared/yes | static/no) ;;
    *) fail "$program ($kind): needs libmf_smem.so: $needs" ;;
    esac
    LD_LIBRARY_PATH=$libdir "$program" || fail "$program ($kind): exit status $?"
}
