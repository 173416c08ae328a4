# shellcheck shell=sh
# Functions to take a kernel, its modules and busybox out of Debian packages without
# installing them. Sourced by tests/guests/debian/make and tests/lab/prepare.

# depmod and modprobe live there, and an ordinary user's PATH may lack them.
PATH=$PATH:/usr/sbin:/sbin

packages_fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# attempt COMMAND...: run it so that its first failing line ends it but not us, and set $attempted
# to its exit status. (In a condition the shell would run it to its end, -e or not.)
# shellcheck disable=SC2034 # attempted is for the caller
attempt() {
    set +e
    (
        set -e
        "$@"
    )
    attempted=$?
    set -e
}

# packages_kernel METAPACKAGE: print the kernel package which METAPACKAGE depends on today.
packages_kernel() {
    apt-cache depends --important "$1" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-.*\)$/\1/p' | head -n 1
}

# packages_versions PACKAGE...: print `PACKAGE VERSION` for each that a download would find.
packages_versions() {
    LC_ALL=C apt-cache policy "$@" 2>/dev/null | awk '
        /^[^ ].*:$/ { package = substr($1, 1, length($1) - 1) }
        /^ *Candidate:/ && $2 != "(none)" { print package, $2 }'
}

# packages_ensure_lists PACKAGE: a fresh machine has no package lists; root may fetch them.
packages_ensure_lists() {
    if [ -z "$(packages_versions "$1")" ] && [ "$(id -u)" -eq 0 ]; then
        apt-get -qq update >&2 || true
    fi
}

# packages_resolve METAPACKAGE: set $kernel to the kernel package of today, and $versions to its
# version and that of busybox-static; fail if the package lists do not tell.
packages_resolve() {
    kernel=$(packages_kernel "$1")
    if [ -z "$kernel" ]; then
        packages_ensure_lists "$1"
        kernel=$(packages_kernel "$1")
    fi
    versions=$(packages_versions "${kernel:-$1}" busybox-static)
    [ "$(echo "$versions" | wc -l)" -eq 2 ]
}

# packages_unchanged STAMP: no package list is newer than the file STAMP. It saves the seconds
# that apt needs to answer.
packages_unchanged() {
    [ -e "$1" ] && [ -z "$(find /var/lib/apt/lists -maxdepth 1 -newer "$1" 2>/dev/null)" ]
}

# packages_unpack PACKAGE DIR: download PACKAGE and unpack its files below DIR.
packages_unpack() (
    mkdir -p "$2/.deb"
    cd "$2/.deb" || exit 1
    apt-get -qq -o APT::Sandbox::User= download "$1" >&2 ||
        packages_fail "cannot download the package '$1': is the network up, are the lists fresh?"
    dpkg-deb -x ./*.deb ..
    cd .. && rm -r .deb
)

# packages_kernel_release DIR: print the release of the one kernel unpacked below DIR.
packages_kernel_release() (
    cd "$1/lib/modules" && set -- * && [ $# -eq 1 ] && echo "$1"
)

# packages_modules DIR NAME...: print the files of the modules NAME... and of all that they
# need, in the order in which insmod wants them. Built-in ones are left out.
packages_modules() (
    root=$1
    shift
    release=$(packages_kernel_release "$root")
    [ -e "$root/lib/modules/$release/modules.dep" ] || depmod -b "$root" "$release"
    for name; do
        modprobe -d "$root" -S "$release" --show-depends "$name" ||
            packages_fail "the kernel $release has no module '$name'"
    done | sed -n 's/^insmod \([^ ]*\).*$/\1/p' | awk '!seen[$0]++'
)

# packages_copy_modules DIR TARGET NAME...: copy those modules to the folder TARGET, unpacked,
# and write their file names to TARGET/order.
packages_copy_modules() {
    source_root=$1
    target=$2
    shift 2
    files=$(packages_modules "$source_root" "$@") || return
    mkdir -p "$target"
    : >"$target/order"
    for file in $files; do
        name=$(basename "$file" .xz)
        case $file in
        *.xz) xz -dc "$file" >"$target/$name" ;;
        *) cp "$file" "$target/$name" ;;
        esac
        echo "$name" >>"$target/order"
    done
}

# packages_initrd DIR FILE: pack DIR as an initramfs. It is not compressed: the kernel then only
# copies it, which is faster than unpacking where every instruction counts.
packages_initrd() (
    file=$(realpath "$2")
    cd "$1" || exit 1
    find . -print0 | LC_ALL=C sort -z |
        cpio --null --create --format=newc --reproducible --owner=0:0 --quiet >"$file"
)
