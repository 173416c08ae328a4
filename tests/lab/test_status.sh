#!/bin/bash
# The lab is used as ssh is: status, output, directory and words come and go unchanged.
# shellcheck disable=SC2016 # expansion is left to the inside
. "$(dirname "$0")/checks.sh"

lab true
check "exit status 0 comes back" [ "$status" -eq 0 ]
check "success leaves no log" [ ! -e "$scratch/logs" ]

cd "$scratch" || exit 1
cat >probe.sh <<'END'
#!/bin/sh
echo "directory $PWD lab $LAB boot $LAB_BOOT attempt $LAB_ATTEMPT colour $COLOUR"
printf 'word <%s>\n' "$@"
echo "cpus $(nproc) kernel $(uname -r) pid1 $(cat /proc/1/comm)"
grep -q favordynmods /proc/mounts && echo "cgroups ready"
cat /sys/fs/cgroup/cgroup.controllers
[ -c /dev/kvm ] && echo "kvm ready"
[ -c /dev/net/tun ] && echo "tun ready"
[ -c /dev/vfio/vfio ] && echo "vfio ready"
echo vfio-pci >/sys/bus/pci/devices/0000:00:03.0/driver_override
echo 0000:00:03.0 >/sys/bus/pci/drivers_probe
group=$(basename "$(readlink /sys/bus/pci/devices/0000:00:03.0/iommu_group)")
[ -c "/dev/vfio/$group" ] && echo "network card ready to be passed through"
modprobe nvme && ls /dev/nvme0n1
unshare --user --map-root-user true && echo "namespaces ready"
echo changed >probe.sh && echo "the tree is writable"
(sleep 1000 >/dev/null 2>&1 &)
echo "to standard error" >&2
exit 7
END
chmod +x probe.sh
lab --cpus 4 --env 'COLOUR=dark blue' ./probe.sh 'two words' "it's" '$HOME "quoted"' ''
check "exit status 7 comes back" [ "$status" -eq 7 ]
check "the script runs in the same directory" in_output "directory $scratch lab 1 boot 1 attempt 1"
check "--env reaches the script" in_output "colour dark blue"
check "words are passed on unchanged" in_output 'word <$HOME "quoted">'
check "so are words with a quote" in_output "word <it's>"
check "so are empty words" in_output "word <>"
check "--cpus 4 gives four CPUs" in_output "cpus 4"
check "cgroups are fast to change" in_output "cgroups ready"
check "the cgroup controllers are there" in_output "cpuset cpu io memory"
check "/dev/kvm is there" in_output "kvm ready"
check "tun is there" in_output "tun ready"
check "vfio is there" in_output "vfio ready"
check "a network card can be passed through" in_output "ready to be passed through"
check "the other modules of the kernel can be loaded" in_output "/dev/nvme0n1"
check "user namespaces can be made" in_output "namespaces ready"
check "files can be written inside" in_output "the tree is writable"
check "what was written is forgotten" grep -q 'exit 7' probe.sh
check "standard error comes back apart" in_errors "to standard error"
check "a failing script leaves a log" compgen -G "$scratch/logs/*-probe.sh-*/console.log" >/dev/null

lab sh -c 'kill -KILL $$'
check "a script killed by signal 9 ends with 137" [ "$status" -eq 137 ]
lab ./no-such-script
check "a script that is not there ends with 127" [ "$status" -eq 127 ]
finish
