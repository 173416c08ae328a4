#!/bin/bash
# The installed programs find each other by the paths compiled into them: a guest's life from an
# installed tree. test_install.sh BUILD_DIR, as root. The tree is laid over the configured prefix in
# a mount namespace of this test's own; the machine's own is not touched.
set -eu
build=$1
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:[A-Z]*=//p' "$build/CMakeCache.txt")
if [ "${2-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    chmod 755 "$dir" # guests run under uids of their own
    mkdir "$dir/tree" "$dir/work"
    DESTDIR=$dir/tree cmake --install "$build" >"$dir/log" || {
        cat "$dir/log"
        exit 1
    }
    unshare --mount --pid --fork --kill-child --mount-proc "$0" "$build" inside "$dir"
    exit
fi

dir=$3
examples=$prefix/share/doc/qvm/examples
fail() {
    echo "install: $*"
    cat "$dir/work/log" 2>/dev/null
    exit 1
}

mkdir -p "$prefix"
mount -t overlay -o "lowerdir=$dir/tree$prefix:$prefix" overlay "$prefix"
cd "$dir/work"
export PATH=$prefix/sbin:$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin
export QVM_SOCKET=$dir/work/q/qvmd.sock QVM_GUEST_DIR=$examples
unset QVM_QVM QVM_VDEVS
[ "$(command -v qvmd)" = "$prefix/sbin/qvmd" ] || fail "qvmd is $(command -v qvmd)"

qvmctl check "$examples/bare.qvmconf" || fail "qvmctl check does not find its qvm or its vdevs"
exec 9< <(exec qvmd --private "$dir/work/q" --ready-fd 1 2>"$dir/work/log")
read -r -t 20 <&9 || fail "qvmd does not start"
qvmctl start "$examples/bare.qvmconf" || fail "the guest does not start"
pid=$(qvmctl -o json show bare | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)
[ "$(readlink "/proc/$pid/exe")" = "$prefix/libexec/qvm/qvm" ] ||
    fail "the guest's process is $(readlink "/proc/$pid/exe")"
# By its inode: the process has a tree of files of its own, in which the path may differ.
vdev=$(stat -c %i "$prefix/lib/qvm/vdevs/vdev-ser8250.so")
grep -q " $vdev .*/vdev-ser8250.so" "/proc/$pid/maps" ||
    fail "the guest's vdev is not the installed one"
qvmctl stop bare --timeout 60 || fail "the guest does not stop"
timeout 60 qvm "@$examples/bare.qvmconf" cmdline run=poweroff </dev/null |
    grep -q 'qvm-guest: up' ||
    fail "qvm alone does not run the guest"
echo "install: a guest lived and ended below $prefix"
