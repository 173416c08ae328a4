# shellcheck shell=bash
# What the tests of the lab have in common; sourced by test_*.sh, which tests/lab/selftest runs.
# A test runs tests/lab/run and checks what came back, one sentence a check.

tree=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
scratch=$(mktemp -d)
export TMPDIR=$scratch # a runner that is killed leaves its directory there
trap 'rm -rf "$scratch"' EXIT
checks_failed=0
status=0

# lab ARGUMENT...: tests/lab/run with them. What it wrote is in $scratch/out and $scratch/err, how
# it ended in $status; its logs, which a failing script leaves, in $scratch/logs.
lab() {
    "$tree/tests/lab/run" --logs "$scratch/logs" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
    status=$?
}

# check SENTENCE COMMAND...: the sentence holds if the command succeeds.
check() {
    local sentence=$1
    shift
    if "$@"; then
        echo "ok - $sentence"
    else
        echo "not ok - $sentence"
        checks_failed=1
        show_what_came_back
    fi
}

show_what_came_back() {
    echo "    (exit status $status)"
    tail -n 20 "$scratch/out" "$scratch/err" | sed 's/^/    /'
}

# in_output TEXT, in_errors TEXT: a line of standard output or error contains it.
in_output() { grep -qF -- "$1" "$scratch/out"; }
in_errors() { grep -qF -- "$1" "$scratch/err"; }

# hangs N: the lab has counted N hangs.
hangs() {
    touch "$scratch/hung.log"
    [ ! -e "$scratch/logs/hung.log" ] || cp "$scratch/logs/hung.log" "$scratch/hung.log"
    [ "$(wc -l <"$scratch/hung.log")" -eq "$1" ]
}

# logs N: the logs of N attempts were kept.
logs() { [ "$(find "$scratch/logs" -mindepth 1 -maxdepth 1 -type d | wc -l)" -eq "$1" ]; }

finish() { exit "$checks_failed"; }
