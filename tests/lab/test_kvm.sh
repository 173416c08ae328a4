#!/bin/bash
# KVM works in the lab: the stock Debian guest boots to its shell and obeys its power button.
. "$(dirname "$0")/checks.sh"

guest=$tree/build/cache/debian-guest
"$tree/tests/guests/debian/make" "$guest" || exit 1

cat >"$scratch/inside.sh" <<'END'
#!/bin/bash
guest=$1
cd "$(mktemp -d)" || exit 1
mkfifo to-guest monitor.in monitor.out
exec 7<>monitor.out 8<>to-guest 9<>monitor.in
# rtc=on: without a clock the guest's kernel looks for one for seconds.
qemu-system-x86_64 -M microvm,rtc=on -accel kvm -cpu host -smp 2 -m 256 \
    -nodefaults -no-user-config -display none -no-reboot \
    -kernel "$guest/vmlinuz" -initrd "$guest/initrd.img" -append "console=ttyS0 quiet" \
    -chardev stdio,id=guest -serial chardev:guest \
    -chardev pipe,id=mon,path=monitor -mon chardev=mon \
    <&8 >from-guest 2>qemu.err &
qemu=$!
until_guest_says() {
    until grep -q "$1" from-guest; do
        kill -0 $qemu || { cat from-guest qemu.err; exit 1; }
        sleep 0.05
    done
}
started=$EPOCHREALTIME
until_guest_says "guest: shell ready"
awk "BEGIN { printf \"seconds to the shell: %.2f\n\", $EPOCHREALTIME - $started }"
printf 'echo "cpus=$(nproc)"\n' >&8
until_guest_says "^cpus=2"
echo "the shell answers"
echo system_powerdown >&9
until_guest_says "guest: power button"
wait $qemu
echo "QEMU ended with $?"
END
chmod +x "$scratch/inside.sh"
lab --timeout 150 "$scratch/inside.sh" "$guest"
check "the stock Debian guest boots to its shell" in_output "seconds to the shell"
check "with two CPUs, and its shell answers" in_output "the shell answers"
check "it obeys the power button" in_output "QEMU ended with 0"
sed 's/^/    /' "$scratch/out"

# Without holdvm L1 freezes within some 20 to 130 of these.
cat >"$scratch/cycles.py" <<'END'
import fcntl, os
CREATE_VM, CREATE_IRQCHIP, CREATE_VCPU = 0xAE01, 0xAE60, 0xAE41
kvm = os.open("/dev/kvm", os.O_RDWR)
for cycle in range(200):
    vm = fcntl.ioctl(kvm, CREATE_VM, 0)
    if cycle % 2:
        fcntl.ioctl(vm, CREATE_IRQCHIP, 0)
    os.close(fcntl.ioctl(vm, CREATE_VCPU, 0))
    os.close(vm)
print("all made and destroyed")
END
lab --timeout 100 python3 "$scratch/cycles.py"
check "200 VMs can be made and destroyed" in_output "all made and destroyed"
finish
