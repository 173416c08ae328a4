#!/bin/bash
# clang-tidy over every C file that BUILD_DIR compiles: lint.sh BUILD_DIR. With assertions in any
# build: they tell it what cannot be.
set -eu
cd "$(dirname "$0")/../.."
build=$1
jq -r '.[].file' "$build/compile_commands.json" | grep '\.c$' | grep -v '/tests/guests/' | sort -u |
    xargs -P "$(nproc)" -n 4 clang-tidy-14 --quiet --extra-arg=-UNDEBUG -p "$build" 2>/dev/null
