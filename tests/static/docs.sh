#!/bin/bash
# Every path and every source file that README, docs, the manual pages and the headings of headers
# name is there. Prints what is not; exit status 1 if anything is.
set -eu
cd "$(dirname "$0")/../.."
bad=0
mapfile -t pages < <(git ls-files README.md 'docs/*.md' '*.[1-8]')
files=$(git ls-files --cached --others --exclude-standard)

complain() {
    echo "docs: $*"
    bad=1
}

# Paths of the tree: what begins with one of its folders, and is no part of a longer path. Programs
# are there as their source.
rooms='proto|lib|daemon|cli|qvm-worker|vdevs|tests|docs|debian|etc/(?=guests|examples)'
count=0
while read -r path; do
    count=$((count + 1))
    [ -e "$path" ] || [ -e "$path.c" ] || complain "there is no $path"
done < <(grep -hoP "(?<![\w/.-])($rooms)/[\w./-]*\w" "${pages[@]}" | sort -u)

# Sources that are called by their name alone, as code.
while read -r name; do
    count=$((count + 1))
    grep -qE "(^|/)${name//./\\.}\$" <<<"$files" || complain "there is no source file $name"
done < <(grep -hoP '\x60\K[\w-]+\.(c|h|def|py|sh|pml)(?=\x60)' "${pages[@]}" | sort -u)

# Headings in a header that speaks for several sources beside it.
while IFS=: read -r header name; do
    count=$((count + 1))
    [ -e "$(dirname "$header")/$name" ] || complain "$header speaks for $name, which is not there"
done < <(git ls-files '*.h' | xargs grep -oP '^/\* ---- \K[\w-]+\.c(?=[ :,])' | sort -u)

[ $bad = 0 ] && echo "docs: all of $count paths and files are there"
exit $bad
