#!/bin/bash
# Output is complete to the last byte, whatever its bytes are.
. "$(dirname "$0")/checks.sh"

head -c 1048576 /dev/urandom >"$scratch/random"
lab sh -c "cat '$scratch/random'; cat '$scratch/random' >&2"
check "1 MiB of any bytes comes back from standard output" cmp "$scratch/random" "$scratch/out"
check "and from standard error" cmp "$scratch/random" "$scratch/err"

lab --out "$scratch/results" sh -c "cp '$scratch/random' /lab-out/copy && mkdir /lab-out/folder"
check "--out keeps what was written to /lab-out" cmp "$scratch/random" "$scratch/results/copy"
check "folders, too" [ -d "$scratch/results/folder" ]

timeout 60 "$tree/tests/lab/run" --logs "$scratch/logs" yes 2>/dev/null | head -n 1 >"$scratch/out"
check "a reader that leaves early ends the run" [ "$(cat "$scratch/out")" = y ]
finish
