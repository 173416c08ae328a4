#!/bin/bash
# A silent L1 is found out, repeated once and counted; every other end is final.
. "$(dirname "$0")/checks.sh"

# With panic=0 a panic stops every CPU for ever: a real hang.
freeze='echo 0 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger; sleep 1000'

lab --silence 10 sh -c "[ \$LAB_ATTEMPT = 2 ] && exit 7; $freeze"
check "the second attempt's status counts" [ "$status" -eq 7 ]
check "the hang is said aloud" in_errors "LAB HUNG"
check "the hang is counted" hangs 1
check "the log of the hang tells where the CPUs were" grep -rq "RIP=" "$scratch/logs"

rm -r "$scratch/logs" "$scratch/hung.log"
lab --silence 10 lab-ask qmp '{"execute": "stop"}'
check "a lab that hangs twice ends with 125" [ "$status" -eq 125 ]
check "there is no third attempt" hangs 2

rm -r "$scratch/logs" "$scratch/hung.log"
lab sh -c 'echo c >/proc/sysrq-trigger; sleep 1000'
check "an L1 that panics ends with 125" [ "$status" -eq 125 ]
check "which is no hang" hangs 0
check "and is not repeated" logs 1
check "its console is in the log" grep -rq "Kernel panic" "$scratch/logs"

lab --lost 75 sh -c "[ \$LAB_ATTEMPT = 2 ] && exit 3; exit 75"
check "who says that his guest was lost is run once more" [ "$status" -eq 3 ]
check "that is said aloud" in_errors "L1 LOST A GUEST"
check "and counted" hangs 1

rm -r "$scratch/logs" "$scratch/hung.log"
busy='for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; sleep 20'
lab --silence 5 --timeout 100 sh -c "$busy"
check "a busy L1 does not count as silent" [ "$status" -eq 0 ]
finish
