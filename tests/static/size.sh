#!/bin/bash
# Rooms stay small: no source file past 500 lines, no function past 60.
set -eu
cd "$(dirname "$0")/../.."
bad=0
for file in $(git ls-files --cached --others --exclude-standard '*.c' '*.h'); do
    [ -f "$file" ] || continue
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 500 ]; then
        echo "size: $file has $lines lines"
        bad=1
    fi
    # A function's body, as clang-format leaves it, stands between { and } in the first column.
    awk -v f="$file" '/^{/ {start = NR} /^}/ && start {
        if (NR - start - 1 > 60) { printf "size: %s:%d: a function of %d lines\n", f, start, NR - start - 1; bad = 1 }
        start = 0 } END {exit bad}' "$file" || bad=1
done
exit $bad
