#!/bin/sh
# The bootimages are what their loaders and benchmarks take them for: check_images.sh DIRECTORY
set -eu
cd "$1"
failures=0

# number FILE OFFSET SIZE: a little-endian unsigned number
number() {
    od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

size() {
    wc -c <"$1"
}

# expect WHAT ACTUAL OPERATOR WANTED
expect() {
    if ! test "$2" "$3" "$4"; then
        echo "FAILED: $1: $2, wanted $3 $4"
        failures=$((failures + 1))
    fi
}

for image in guest.bzimage devices.bzimage letter.bzimage; do
    setup_size=$((($(number $image $((0x1f1)) 1) + 1) * 512))

    expect "$image: boot flag" "$(number $image $((0x1fe)) 2)" -eq $((0xaa55))
    expect "$image: magic" "$(dd if=$image bs=1 skip=$((0x202)) count=4 2>/dev/null)" = HdrS
    expect "$image: protocol" "$(number $image $((0x206)) 2)" -ge $((0x20c))
    expect "$image: header reaches init_size" $((0x202 + $(number $image $((0x201)) 1))) -ge $((0x264))
    expect "$image: 64-bit entry" $(($(number $image $((0x236)) 2) & 1)) -eq 1
    expect "$image: loaded high" $(($(number $image $((0x211)) 1) & 1)) -eq 1
    expect "$image: relocatable" "$(number $image $((0x234)) 1)" -eq 0
    expect "$image: preferred address" "$(number $image $((0x258)) 8)" -eq $((0x100000))
    expect "$image: init_size" "$(number $image $((0x260)) 4)" -gt "$(size $image)"
    expect "$image: setup and payload" \
        $((setup_size + $(number $image $((0x1f4)) 4) * 16)) -ge "$(size $image)"
    expect "$image: setup and payload, rounded" \
        $((setup_size + ($(number $image $((0x1f4)) 4) - 1) * 16)) -lt "$(size $image)"
done
expect "letter.bzimage: size" "$(size letter.bzimage)" -le 2048
expect "guest.bzimage: size" "$(size guest.bzimage)" -le 24576
expect "devices.bzimage: size" "$(size devices.bzimage)" -le 65536
expect "guest.elf: 64-bit" "$(number guest.elf 4 1)" -eq 2
expect "guest.elf: executable" "$(number guest.elf 16 2)" -eq 2
expect "guest.elf: entry" "$(number guest.elf 24 8)" -eq $((0x100200))
expect "guest.bzimage: payload is guest.flat" \
    "$(tail -c +$((0x401)) guest.bzimage | cksum)" = "$(cksum <guest.flat)"
# But for the command `strange`, whose instruction no emulation knows.
for image in guest.elf devices-bzimage.elf; do
    expect "$image: integer instructions alone" \
        "$(objdump -d $image | awk '/>:$/ { name = $2 } name != "<command_strange>:"' |
            grep -c -E '%[xyz]mm|%st|\<(andn|bextr|bls[ir]|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|[lt]zcnt|popcnt)' || true)" \
        -eq 0
done
[ "$failures" -eq 0 ] && echo "bootimages are well-formed"
