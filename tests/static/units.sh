#!/bin/bash
# The installed units as systemd reads them: units.sh BUILD_DIR. Nothing may be wrong with them, and
# qvmd.service must be exposed to at most 3.0 of systemd's 10.
set -eu
build=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
DESTDIR=$dir cmake --install "$build" >"$dir/log" || {
    cat "$dir/log"
    exit 1
}
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:[A-Z]*=//p' "$build/CMakeCache.txt")
units=$dir$prefix/lib/systemd/system

# Its programs are those of the installation: here they lie below $dir.
mkdir "$dir/units"
for unit in qvmd.service qvmd.socket qvm-guests.service qvm.slice; do
    [ -f "$units/$unit" ] || {
        echo "units: $unit is not installed"
        exit 1
    }
    sed "s|=\(-\?\)$prefix/|=\1$dir$prefix/|" "$units/$unit" >"$dir/units/$unit"
done
grep -q '^g qvm-admin ' "$dir$prefix/lib/sysusers.d/qvm.conf"
cd "$dir/units"
said=$(systemd-analyze verify --man=no ./* 2>&1) || true
if [ -n "$said" ]; then
    echo "$said"
    echo "units: systemd-analyze verify finds fault with them"
    exit 1
fi
exposed=$(systemd-analyze security --offline=true --no-pager ./qvmd.service |
    sed -n 's/.*Overall exposure level for qvmd.service: \([0-9.]*\).*/\1/p')
awk -v exposed="$exposed" 'BEGIN { exit !(exposed != "" && exposed <= 3.0) }' || {
    echo "units: qvmd.service is exposed to '$exposed', more than 3.0:"
    systemd-analyze security --offline=true --no-pager ./qvmd.service | grep '^✗'
    exit 1
}
echo "units: systemd has nothing to say against them; qvmd.service is exposed to $exposed"
