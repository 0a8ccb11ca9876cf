#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every exported function has its documentation directly above it: a @param for each parameter, a
# @return unless it is void, and the lines Threads: and Since:. check_docs.sh <header>...
# Exit 0 complete, 1 with one line for each gap.
exec awk '
function params(decl,    i, c, depth, n, text) {
    text = substr(decl, index(decl, "(") + 1)
    depth = 0
    n = 1
    if (text ~ /^void\)/)
        return 0
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (c == "(")
            depth++
        else if (c == ")" && depth-- == 0)
            return n
        else if (c == "," && depth == 0)
            n++
    }
    return n
}
function gap(text) {
    printf "%s:%d: %s: %s\n", FILENAME, FNR, name, text
    gaps++
}
function check(    want) {
    name = decl
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    functions++
    if (!above)
        gap("no comment directly above")
    want = params(decl)
    if (want != nparams)
        gap("has " want " parameters, describes " nparams)
    if (decl !~ /^MF_API void smem/ && doc !~ /@return /)
        gap("no @return")
    if (doc !~ /Threads: /)
        gap("no Threads:")
    if (doc !~ /Since: /)
        gap("no Since:")
}
/^\/\*\*/ { doc = ""; nparams = 0; comment = 1 }
comment {
    doc = doc "\n" $0
    if ($0 ~ /@param /)
        nparams++
    if ($0 ~ /\*\//) {
        comment = 0
        end = FNR
    }
    next
}
/^MF_API / && !in_decl { decl = ""; in_decl = 1; above = (end == FNR - 1 && doc != "") }
in_decl {
    line = $0
    sub(/^ +/, " ", line)
    decl = decl line
    if ($0 ~ /;/) {
        in_decl = 0
        check()
        doc = ""
        nparams = 0
    }
}
END {
    printf "%d functions, %d gaps\n", functions, gaps
    exit gaps > 0 || functions == 0
}' "$@"
