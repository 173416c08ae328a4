#!/bin/bash
# Walk exclusive.pml whole, for CPUs, images and devices: nothing may be wrong. Then break each of
# its rules (MUTANT): something must be.
set -eu

model=$(cd "$(dirname "$0")" && pwd)/exclusive.pml
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# walk MUTANT KIND: prints the number of errors, "-" when it did not come to an end. A mutant's walk
# ends at the first error, long before an optimizing compiler would have.
walk() {
    local at=$dir/$1.$2 optimize=-O0
    [ "$1" != 0 ] || optimize=-O2
    mkdir "$at"
    (
        cd "$at"
        spin -DMUTANT="$1" -DKIND="$2" -a "$model" >spin.log &&
            gcc -w "$optimize" -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c &&
            ./pan -E -m100000 >pan.log
    ) || true
    sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$at/pan.log" | grep . || echo -
    ! grep -q 'max search depth too small' "$at/pan.log" || echo "too deep"
}

bad=0
for kind in 0 1 2; do
    errors=$(walk 0 $kind)
    echo "the protocol, KIND=$kind: $errors errors," \
        "$(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' "$dir/0.$kind/pan.log") states"
    if [ "$errors" != 0 ]; then
        bad=1
        (cd "$dir/0.$kind" && spin -DKIND=$kind -t -p -k exclusive.pml.trail "$model") | tail -n 150
    fi
done
for mutant in 1:0 2:0 3:0 4:0 5:0 6:0 7:1 8:0 9:0 10:2 11:2 12:2; do
    errors=$(walk "${mutant%:*}" "${mutant#*:}")
    if [ "$errors" != 1 ]; then
        echo "MUTANT ${mutant%:*}, KIND=${mutant#*:}: $errors errors; spin should have found one"
        bad=1
    fi
done
exit $bad
