#!/bin/bash
# clang-tidy over every C file that BUILD_DIR compiles: lint.sh BUILD_DIR. With assertions in any
# build: they tell it what cannot be. The analyzer, nine tenths of the time, walks the paths of what is
# installed; those of the tests are run under sanitizers, which see more. Which it is, is told by
# whom a file is compiled for: what the tests make of our own files, with crash points or as part
# of another program, is of the tests.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# tidy NAME CONDITION [OPTION...]: a file is looked at once for each command that compiles it.
tidy() {
    local commands=$work/$1 condition=$2
    shift 2
    mkdir "$commands"
    jq "map(select((.file | endswith(\".c\") and (contains(\"/tests/guests/\") | not)) and $condition))" \
        compile_commands.json >"$commands/compile_commands.json"
    jq -r '.[].file' "$commands/compile_commands.json" | sort -u |
        xargs -P "$(nproc)" -n 4 clang-tidy-14 --quiet --extra-arg=-UNDEBUG -p "$commands" "$@" 2>/dev/null
}

cd "$1"
# shellcheck disable=SC2016 # jq's
{
    tidy installed '(.command | contains(" -o tests/") | not)'
    tidy tests '(.command | contains(" -o tests/"))' --checks='-clang-analyzer-*'
}
