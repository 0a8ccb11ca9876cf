#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The manual pages and the completion scripts are where man and the shells look for them.
#   check_installed.sh PREFIX
set -euo pipefail
share=$1/share
status=0
for file in man/man1/mfcli.1 man/man1/mfcli-demo.1 man/man3/smem_bm_copy.3 man/man3/mf_device.3 \
    bash-completion/completions/mfcli zsh/site-functions/_mfcli \
    fish/vendor_completions.d/mfcli.fish; do
    if [ ! -s "$share/$file" ]; then
        echo "$share/$file is missing or empty" >&2
        status=1
    fi
done
if [ -e "$share/man/prose" ]; then
    echo "$share/man/prose is no place of manual pages" >&2
    status=1
fi
exit $status
