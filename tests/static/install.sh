#!/bin/bash
# What `cmake --install` puts where, and that the programs run from there: install.sh BUILD_DIR
set -u
build=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
bad=0

complain() {
    echo "install: $*"
    bad=1
}

install_to() { # PREFIX [DESTDIR]
    DESTDIR=${2-} cmake --install "$build" --prefix "$1" >"$stage/log" 2>&1 || {
        cat "$stage/log"
        complain "cmake --install --prefix $1 failed"
        exit 1
    }
}

# installed ROOT MODE FILE...
installed() {
    local root=$1 mode=$2 file
    shift 2
    for file in "$@"; do
        if [ ! -f "$root/$file" ]; then
            complain "/$file is missing"
        elif [ "$(stat -c %a "$root/$file")" != "$mode" ]; then
            complain "/$file has mode $(stat -c %a "$root/$file"), not $mode"
        fi
    done
}

# runs WORDS COMMAND...: it ends well and says so
runs() {
    local words=$1 said
    shift
    if ! said=$(env -i PATH=/usr/bin:/bin "$@" 2>&1) || [[ $said != *"$words"* ]]; then
        complain "'$*' says '$said' instead of '$words'"
    fi
}

# For a package: /usr below a directory.
install_to /usr "$stage/package"
root=$stage/package
installed "$root" 755 usr/sbin/qvmd usr/bin/qvmctl usr/bin/qvmimage usr/libexec/qvm/qvm
libdir=$(sed -n 's/^CMAKE_INSTALL_LIBDIR:[A-Z]*=//p' "$build/CMakeCache.txt")
vdevs=$(cd "$source/vdevs" && git ls-files 'vdev-*.c')
# shellcheck disable=SC2046,SC2086 # one word each
installed "$root" 644 $(printf 'usr/lib/qvm/vdevs/%s.so ' ${vdevs//.c/}) \
    usr/include/qvm/{shmem,vdev,vdev_fields,vdev_host,vdev_option,vdev_place}.h usr/lib/{tmpfiles,sysusers}.d/qvm.conf \
    usr/lib/systemd/system/{qvmd.service,qvmd.socket,qvm-guests.service,qvm.slice} \
    etc/qvm/qvmd.conf \
    usr/share/bash-completion/completions/qvmctl usr/share/zsh/vendor-completions/_qvmctl \
    usr/share/fish/vendor_completions.d/qvmctl.fish usr/share/qvm/openrpc.json \
    usr/share/doc/qvm/sample/{vdev-sample,shmem-echo}.c \
    "usr/$libdir/pkgconfig/libqvmshmem.pc" \
    usr/share/doc/qvm/examples/{bare.qvmconf,debian.qvmconf,large.qvmconf,debian.build,small.build,guest.bzimage} \
    usr/share/doc/qvm/examples/hypervisor1.0-x86_64{.build,/first.qvmconf,/disk.qvmconf}
[ "$(readlink "$root/usr/bin/qvm")" = ../libexec/qvm/qvm ] || complain "/usr/bin/qvm is no link"
for page in $(cd "$source" && git ls-files '*.[1-8]'); do
    section=${page##*.}
    installed "$root" 644 "usr/share/man/man$section/${page##*/}"
done
known='\./(etc/qvm/qvmd\.conf|
    usr/(sbin/qvmd|bin/qvmctl|bin/qvmimage|libexec/qvm/qvm|lib/qvm/vdevs/vdev-[a-z0-9-]+\.so|include/qvm/(shmem|vdev(_fields|_host|_option|_place)?)\.h|
    lib(/[a-z0-9_-]+)?/(libqvmshmem\.so\.0\.1\.0|pkgconfig/libqvmshmem\.pc)|
    lib/(tmpfiles|sysusers)\.d/qvm\.conf|lib/systemd/system/qvm[a-z.-]*|
    share/(man/man[1-8]/qvm[a-z-]*\.[1-8]|doc/qvm/(examples|sample)/.*|
    qvm/openrpc\.json|bash-completion/completions/qvmctl|zsh/vendor-completions/_qvmctl|
    fish/vendor_completions\.d/qvmctl\.fish)))'
while read -r file; do
    complain "$file is installed, and nobody knows why"
done < <(cd "$root" && find . -type f | grep -v -x -E "$(tr -d ' \n' <<<"$known")")

# What a program of the host needs to share memory, as it would look for it.
export PKG_CONFIG_PATH=$root/usr/$libdir/pkgconfig
# shellcheck disable=SC2046 # words
gcc -Wall -Wextra -Werror -o "$stage/echo" "$root/usr/share/doc/qvm/sample/shmem-echo.c" \
    $(pkg-config --cflags --libs libqvmshmem) || complain "the example does not build"
said=$(LD_LIBRARY_PATH="$root/usr/$libdir" QVM_SOCKET=/nowhere \
    "$stage/echo" ring 2>&1)
[[ $said == *"no qvmd listens at the socket '/nowhere'" ]] || complain "the example says '$said'"

# Nothing of the build tree may be needed: no path to search for libraries.
for file in "$root"/usr/sbin/qvmd "$root"/usr/bin/qvmctl "$root"/usr/libexec/qvm/qvm \
    "$root"/usr/lib/qvm/vdevs/*.so; do
    ! readelf -d "$file" | grep -q -E 'R(UN)?PATH' || complain "${file#"$root"} has a RUNPATH"
done

# What an administrator wrote stays.
echo '# mine' >"$root/etc/qvm/qvmd.conf"
install_to /usr "$root"
[ "$(cat "$root/etc/qvm/qvmd.conf")" = '# mine' ] || complain "/etc/qvm/qvmd.conf was overwritten"

# For a trial: below a prefix of one's own, and nothing outside it.
install_to "$stage/opt"
installed "$stage/opt" 644 etc/qvm/qvmd.conf
examples=$stage/opt/share/doc/qvm/examples
runs "qvmd 0." "$stage/opt/sbin/qvmd" --version
runs "qvmctl 0." "$stage/opt/bin/qvmctl" --version
runs "qvm 0." "$stage/opt/bin/qvm" --version
runs "" QVM_GUEST_DIR="$examples" QVM_VDEVS="$stage/opt/lib/qvm/vdevs" \
    "$stage/opt/bin/qvm" "@$examples/bare.qvmconf" dryrun
# qvmctl finds the qvm that was installed beside it.
runs "" QVM_GUEST_DIR="$examples" QVM_VDEVS="$stage/opt/lib/qvm/vdevs" \
    "$stage/opt/bin/qvmctl" check "$examples/bare.qvmconf"

[ $bad = 0 ] && echo "install: $(find "$root" -type f | wc -l) files, each where it belongs"
exit $bad
