#!/bin/bash
# Every run is bounded, and nothing stays behind.
# shellcheck disable=SC2016 # expansion is left to the inside
. "$(dirname "$0")/checks.sh"

SECONDS=0
lab --timeout 20 sh -c 'echo before; sleep 1000; echo after'
check "a script that takes too long ends with 124" [ "$status" -eq 124 ]
check "in time" [ "$SECONDS" -lt 30 ]
check "what it wrote before is there" [ "$(cat "$scratch/out")" = before ]
check "it is not repeated" logs 1

run_in_background() {
    "$tree/tests/lab/run" --logs "$scratch/logs" sh -c 'echo "$0 is up"; sleep 1000' "$1" \
        >"$scratch/out" 2>"$scratch/err" &
    runner=$!
    until in_output "$1 is up" || ! kill -0 $runner; do
        sleep 0.2
    done
    qemu=$(pgrep -P $runner)
}

run_in_background terminated
kill -TERM $runner
wait $runner
status=$?
check "a runner that gets SIGTERM ends with 143" [ "$status" -eq 143 ]
check "and takes QEMU with it" [ -n "$qemu" -a ! -e "/proc/$qemu" ]

run_in_background killed
kill -KILL $runner
wait $runner 2>/dev/null
for _ in $(seq 100); do
    [ ! -e "/proc/$qemu" ] || sleep 0.1
done
check "a runner that is killed takes QEMU with it" [ -n "$qemu" -a ! -e "/proc/$qemu" ]
finish
