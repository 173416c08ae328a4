#!/bin/bash
# The script inside can have devices plugged in and out, and the machine reset.
. "$(dirname "$0")/checks.sh"

cat >"$scratch/inside.sh" <<'END'
#!/bin/bash
# The PCI addresses of network cards, each as one word.
cards() { grep -l '^0x020000' /sys/bus/pci/devices/*/class | cut -d / -f 6 | tr '\n' ' '; }
until_cards() { for _ in $(seq 100); do [ "$(cards | wc -w)" = "$1" ] && break; sleep 0.1; done; }

if [ "$LAB_BOOT" = 2 ]; then
    cat /proc/sys/kernel/random/boot_id >>/lab-out/boots
    echo "second boot with $(cards | wc -w) cards"
    exit 5
fi
cat /proc/sys/kernel/random/boot_id >/lab-out/boots
echo "first $(cards | wc -w)"
lab-ask device_add e1000e,id=nic1,netdev=n1,bus=slot0 && until_cards 2
echo "after device_add $(cards | wc -w)"
lab-ask device_del nic1 && until_cards 1
echo "after device_del $(cards | wc -w)"
lab-ask device_del nic1
echo "a second device_del: $?"
lab-ask make-coffee
echo "an unknown word: $?"
lab-ask qmp '{"execute": "query-status"}'
lab-ask poke 0x10 00
echo "a poke where nothing is: $?"
address=$(sed -n 's/ t cmdline_proc_show$//p' /proc/kallsyms)
echo "the kernel's words before: $(grep -c ttyS0 /proc/cmdline)"
lab-ask poke "0x$address" 31c0c3 # return 0
echo "the kernel's words after: $(grep -c ttyS0 /proc/cmdline)"
timeout 0.001 lab-ask boot
for _ in 1 2 3 4 5; do lab-ask boot & done | sort | uniq -c
wait
head -c 200000 /dev/zero | tr '\0' 'x'
echo
lab-ask reset
echo "never written"
END
chmod +x "$scratch/inside.sh"
lab --out "$scratch/results" "$scratch/inside.sh"
check "at first there is one network card" in_output "first 1"
check "device_add makes it two" in_output "after device_add 2"
check "device_del makes it one" in_output "after device_del 1"
check "a device that is not there cannot be unplugged" in_output "a second device_del: 1"
check "an unknown word is refused" in_output "an unknown word: 1"
check "the refusal names the words" in_output "there are boot device_add device_del poke qmp reboot reset"
check "qmp reaches QEMU's monitor" in_output '"running"'
check "where nothing is poke cannot write" in_output "a poke where nothing is: 1"
check "before it the kernel tells its words" in_output "the kernel's words before: 1"
check "poke writes into the kernel's memory" in_output "the kernel's words after: 0"
check "five who ask at once get their five answers" grep -q '^ *5 1$' "$scratch/out"
check "output written before the reset is complete" \
    [ "$(grep '^xxx' "$scratch/out" | wc -c)" -eq 200001 ]
check "reset ends the first boot" [ "$(grep -c 'never written' "$scratch/out")" -eq 0 ]
check "the script starts again after it" in_output "second boot with 1 cards"
check "its exit status comes back" [ "$status" -eq 5 ]
check "a boot id of its own each" [ "$(sort -u "$scratch/results/boots" | wc -l)" -eq 2 ]
finish
