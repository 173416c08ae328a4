#!/bin/bash
# Every manual page of the tree is as mdoc(7) wants it.
set -eu
cd "$(dirname "$0")/../.."
git ls-files --cached --others --exclude-standard '*.[1-8]' | while read -r page; do
    [ ! -f "$page" ] || echo "$page"
done | xargs mandoc -Tlint -Wwarning
