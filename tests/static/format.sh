#!/bin/bash
# Every C file is as clang-format leaves it, every shell script passes shellcheck.
set -eu
cd "$(dirname "$0")/../.."
git ls-files --cached --others --exclude-standard '*.c' '*.h' | while read -r f; do
    [ ! -f "$f" ] || echo "$f"
done | xargs clang-format-14 --dry-run -Werror
git ls-files --cached --others --exclude-standard | while read -r file; do
    [ -f "$file" ] || continue
    case $(head -c 20 "$file" | head -n 1 | tr -d '\0') in
    '#!/bin/sh'* | '#!/bin/bash'*) echo "$file" ;;
    esac
done | xargs shellcheck -x -P SCRIPTDIR
