#!/bin/bash
# A layer lies over the host's files, and systemd can be the first process.
. "$(dirname "$0")/checks.sh"

mkdir -p "$scratch/layer/etc/qvm-lab"
echo "from the layer" >"$scratch/layer/etc/qvm-lab/file"
cp "$scratch/layer/etc/qvm-lab/file" "$scratch/layer/etc/hostname"
# shellcheck disable=SC2016 # for the shell inside
lab --layer "$scratch/layer" sh -c 'cat /etc/qvm-lab/file; cat /etc/hostname
    echo written >/etc/qvm-lab/file; cat /etc/qvm-lab/file; [ -e /etc/passwd ] && cat /proc/1/comm'
check "the script ends well" [ "$status" -eq 0 ]
check "a new file is there, and one of the host is hidden" \
    [ "$(grep -c 'from the layer' "$scratch/out")" -eq 2 ]
check "it can be written to" in_output "written"
check "the layer outside stays as it was" grep -q 'from the layer' "$scratch/layer/etc/qvm-lab/file"
check "the script is not systemd's" in_output "run_script"

cat >"$scratch/inside.sh" <<'END'
#!/bin/bash
cat /proc/1/comm
systemctl show -P ActiveState lab.service
if [ "$LAB_BOOT" = 1 ]; then
    lab-ask reboot
    systemctl reboot --no-block
    sleep 100
fi
echo "boot $LAB_BOOT"
exit 3
END
chmod +x "$scratch/inside.sh"
lab --systemd "$scratch/inside.sh"
check "systemd is the first process in both boots" \
    [ "$(grep -c '^systemd$' "$scratch/out")" -eq 2 ]
check "the script is a service of it" [ "$(grep -c '^active$' "$scratch/out")" -eq 2 ]
check "after a reboot by itself L1 runs the script again" in_output "boot 2"
check "nothing of the first boot ends the run" [ "$status" -eq 3 ]
finish
