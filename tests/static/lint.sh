#!/bin/bash
# clang-tidy over every C file that BUILD_DIR compiles: lint.sh BUILD_DIR. With assertions in any
# build: they tell it what cannot be. The analyzer, nine tenths of the time, walks the paths of what is
# installed; those of the tests are run under sanitizers, which see more.
set -eu
cd "$(dirname "$0")/../.."
build=$1
files=$(jq -r '.[].file' "$build/compile_commands.json" | grep '\.c$' | grep -v '/tests/guests/' |
    sort -u)

tidy() { # [OPTION...], files on standard input
    xargs -P "$(nproc)" -n 4 clang-tidy-14 --quiet --extra-arg=-UNDEBUG -p "$build" "$@" 2>/dev/null
}

grep -v '/tests/' <<<"$files" | tidy
grep '/tests/' <<<"$files" | tidy --checks='-clang-analyzer-*'
