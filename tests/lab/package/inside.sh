#!/bin/bash
# The Debian packages on a host with systemd: installed, used, upgraded under a running guest,
# removed, purged. inside.sh PACKAGE_DIR
# shellcheck disable=SC2317 # functions that says() calls
set -u
packages=$1
failed=0
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
export QVM_GUEST_DIR=/usr/share/doc/qvm/examples # what the example's $env{} wants
rm -f /usr/sbin/policy-rc.d                       # the host may be one that starts no services
rm -rf /etc/qvm /var/lib/qvm /var/log/qvm # the host, whose files these are, may have used qvm itself

says() { # SENTENCE COMMAND...: it is true
    local sentence=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        echo "ok      $sentence"
    else
        echo "FAILED  $sentence"
        sed 's/^/        /' /tmp/said
        failed=1
    fi
}

is() { # WORD WORD
    [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; false; }
}

install_them() {
    dpkg --no-triggers -i "$packages"/qvm_*.deb "$packages"/qvm-dev_*.deb
}

pid_of() {
    qvmctl list -o jsonl "$1" | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'
}

nothing_is_left() {
    local path
    for path in /etc/qvm /var/lib/qvm /var/log/qvm /run/qvm /usr/sbin/qvmd /usr/lib/qvm \
        /usr/libexec/qvm /lib/systemd/system/qvm{d.service,d.socket,-guests.service,.slice} \
        /etc/systemd/system/multi-user.target.wants/qvm*; do
        if [ -e "$path" ] || [ -L "$path" ]; then
            echo "$path is there"
            return 1
        fi
    done
    ! pgrep -a -x 'qvmd?'
}

the_sample_builds() {
    gcc -std=c11 -fPIC -shared -o /tmp/vdev-sample.so \
        "$(find /usr/share/doc/qvm-dev/examples -name 'vdev-sample.c')"
}

says "they are installed" install_them
says "qvmd runs" systemctl is-active qvmd.service
says "the guests' holder runs" systemctl is-active qvm-guests.service
says "both are started with the host" systemctl is-enabled qvmd.service qvm-guests.service
says "the groups of the roles exist" getent group qvm-viewer qvm-operator qvm-admin
says "the example guest starts" qvmctl start "$QVM_GUEST_DIR"/bare.qvmconf
name=$(qvmctl list -o name)
guest=$(pid_of "$name")
qvmd=$(systemctl show -P MainPID qvmd.service)
says "they are installed again, as by an upgrade" install_them
says "qvmd is a new one" test "$(systemctl show -P MainPID qvmd.service)" != "$qvmd"
says "the guest is not" is "$(pid_of "$name")" "$guest"
says "a vdev can be written against the header" the_sample_builds
says "they are removed" dpkg --no-triggers -r qvm qvm-dev
says "no guest is left without a supervisor" test ! -e "/proc/$guest"
says "definitions and history stay" test -e /var/lib/qvm/qvm.db
says "they are purged" dpkg --no-triggers -P qvm qvm-dev
says "nothing is left of them" nothing_is_left
exit "$failed"
