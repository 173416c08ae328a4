#!/bin/bash
# qvm under systemd, in the lab: outside.sh BUILD_DIR. What is installed lies over the host's files
# there, and is started by systemd; inside.py looks, through two boots of the same host.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$(realpath "$1")
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:[A-Z]*=//p' "$build/CMakeCache.txt")
layer=$(mktemp -d)
trap 'rm -rf "$layer"' EXIT
chmod 755 "$layer"
DESTDIR=$layer cmake --install "$build" >"$layer/log" || {
    cat "$layer/log"
    exit 1
}
rm "$layer/log"
echo "operator-group qvm-operator" >>"$layer/etc/qvm/qvmd.conf"

# What outlives a boot is on L1's disk: the database, and with it the definitions.
units=$layer/etc/systemd/system
mkdir -p "$units/qvmd.service.wants"
cat >"$units/lab-disk.service" <<'END'
[Unit]
Before=qvmd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'modprobe nvme; modprobe ext4; until [ -b /dev/nvme0n1 ]; do sleep 0.1; done; \
    mkdir -p /var/lib/qvm; \
    mount /dev/nvme0n1 /var/lib/qvm || { mkfs.ext4 -q /dev/nvme0n1; mount /dev/nvme0n1 /var/lib/qvm; }'
END
ln -s ../lab-disk.service "$units/qvmd.service.wants/"
mkdir "$units/qvmd.service.d" # two minutes are too long for a test
printf '[Service]\nWatchdogSec=10s\n' >"$units/qvmd.service.d/lab.conf"
systemctl --root="$layer" enable --quiet qvmd.service
[ -L "$units/sockets.target.wants/qvmd.socket" ] || {
    echo "outside: enabling qvmd.service did not enable its socket"
    exit 1
}
"$here/../run" --systemd --layer "$layer" --timeout 600 "$here/inside.py" "$build" "$prefix"
