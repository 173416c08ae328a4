#!/bin/bash
# Who may know whom: every #include of ours against the table, foreign libraries against their
# rooms, and every header compiled alone. Prints what is wrong; exit status 1 if anything is.
set -eu
cd "$(dirname "$0")/../.."
bad=0
complain() {
    echo "layering: $*"
    bad=1
}

# room (path prefix) : prefixes that its files may include. The first line that fits counts.
rooms='
proto/base/    proto/base/
proto/conf/    proto/base/ proto/conf/
proto/         proto/
daemon/host/   daemon/host/ proto/base/
daemon/        daemon/ proto/
cli/           cli/ proto/
lib/include/
lib/           lib/ proto/shmem.h
qvm-worker/    qvm-worker/ proto/ vdevs/include/qvm/vdev.h
vdevs/include/ vdev_host.h vdev_option.h vdev_place.h
vdevs/         vdevs/
'

# foreign header : where it may be included, as a pattern for paths
foreign='
sqlite3.h      ^daemon/store/[a-z_]+\.[ch]$
jansson.h      ^proto/(msg_[a-z]+\.[ch]|openrpc\.c)$
uv.h           ^(daemon|qvm-worker)(/[a-z]+)?/([a-z_]+\.c|([a-z_]+_)?(private|inside)\.h)$
linux/kvm.h    ^(qvm-worker/((vm|lockdown)/[a-z_]+\.[ch]|dump\.c)|daemon/host/kvm(_stats)?\.c)$
dlfcn.h        ^qvm-worker/vdev/module\.c$
seccomp.h      ^qvm-worker/lockdown/[a-z_]+\.c$
'

# Inside the daemon and the worker: lower rooms never name upper ones (room : may not include).
below='
daemon/store       daemon/(reserve|hand|cgroup|worker|guest|metrics|ops|server|main)
daemon/reserve     daemon/(hand|cgroup|worker|guest|metrics|ops|server|main)
daemon/hand        daemon/(store|reserve|cgroup|worker|guest|metrics|ops|server|main)
daemon/cgroup      daemon/(store|reserve|hand|worker|guest|metrics|ops|server|main)
daemon/worker      daemon/(store|reserve|hand|guest|metrics|ops|server|main)
daemon/guest       daemon/(metrics|ops|server|main)
daemon/server      daemon/(ops|main)
daemon/metrics     daemon/(ops|main)
daemon/ops         daemon/main
qvm-worker/memory   qvm-worker/(vm|bus|loader|tables|pci|machine|vdev|plan|control|main)
qvm-worker/bus      qvm-worker/(vm|loader|tables|pci|machine|vdev|plan|control|main)
qvm-worker/lockdown qvm-worker/(loader|tables|pci|machine|vdev|plan|control|main)
qvm-worker/loader   qvm-worker/(vm|pci|machine|vdev|plan|control|main)
qvm-worker/vm       qvm-worker/(loader|tables|pci|machine|vdev|plan|control|main)
qvm-worker/pci      qvm-worker/(vm|machine|vdev|plan|control|main)
qvm-worker/image    qvm-worker/(vm|machine|vdev|plan|control|main)
qvm-worker/machine  qvm-worker/(vdev|plan|control|main)
qvm-worker/vdev     qvm-worker/(vm|machine|plan|control|main)
'

sources=$(git ls-files --cached --others --exclude-standard 'proto/*.[ch]' 'daemon/*.[ch]' \
    'cli/*.[ch]' 'lib/*.[ch]' 'qvm-worker/*.[ch]' 'vdevs/*.[ch]')

for file in $sources; do
    [ -f "$file" ] || continue
    allowed=$(echo "$rooms" | awk -v f="$file" '$1 != "" && index(f, $1) == 1 {$1 = ""; print; exit}')
    while read -r included; do
        case $included in *.def) continue ;; esac
        case $file:$included in
        *.h:daemon/crash_point.h) # a build with crash points compiles what names them, and no more
            complain "$file is no place for crash points: their header belongs into .c files"
            ;;
        esac
        fits=0
        for prefix in $allowed; do
            case $included in "$prefix"*) fits=1 ;; esac
        done
        [ $fits = 1 ] || complain "$file must not know $included"
        while read -r room forbidden; do
            [ -n "$room" ] || continue
            if [[ $file == "$room"[._/]* && $included =~ ^$forbidden ]]; then
                complain "$file is below $included"
            fi
        done <<<"$below"
    done < <(sed -n 's/^#include "\(.*\)"/\1/p' "$file")
    while read -r included; do
        where=$(echo "$foreign" | awk -v h="$included" '$1 == h {print $2}')
        if [ -n "$where" ] && ! [[ $file =~ $where ]]; then
            complain "$file must not know <$included>"
        fi
    done < <(sed -n 's/^#include <\(.*\)>/\1/p' "$file")
done

for header in $(echo "$sources" | grep '\.h$'); do
    case $header in proto/msg_undef.h | proto/msg_ignore_fields.h) continue ;; esac
    [ -f "$header" ] || continue
    echo "#include \"$header\"" | gcc -std=gnu11 -D_GNU_SOURCE -I. -Ivdevs/include -Ilib/include -Wall -Werror \
        -fsyntax-only -x c - || complain "$header does not stand alone"
done

[ $bad = 0 ] && echo "layering: $(echo "$sources" | wc -l) files, everyone knows only whom he may"
exit $bad
