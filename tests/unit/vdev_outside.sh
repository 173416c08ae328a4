#!/bin/sh
# vdev_outside.sh CC BUILD SAMPLE: the sample vdev builds outside the tree, with the installed header
# and nothing else, without a warning, and exports the one symbol.
set -eu
cc=$1 build=$2 sample=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cmake --install "$build" --component vdev-header --prefix "$dir/usr" >"$dir/log"
cp "$sample" "$dir/vdev-sample.c"
cd "$dir"
"$cc" -std=c11 -pedantic -Wall -Wextra -Werror -fvisibility=hidden -shared -fPIC -I usr/include \
    -o vdev-sample.so vdev-sample.c
symbols=$(nm -D --defined-only vdev-sample.so | awk '{print $3}')
[ "$symbols" = qvm_vdev_module ] || { echo "exports: $symbols" >&2; exit 1; }
if ldd vdev-sample.so | grep -v -e libc.so -e linux-vdso -e ld-linux -e statically; then
    echo "the sample needs more than the C library" >&2
    exit 1
fi
# The header stands alone, in C++ as well where there is a compiler for it.
printf '#include <qvm/vdev_fields.h>\n' >alone.c
"$cc" -std=c11 -pedantic -Wall -Wextra -Werror -I usr/include -fsyntax-only alone.c
if command -v c++ >/dev/null; then
    c++ -std=c++11 -Wall -Wextra -Werror -I usr/include -fsyntax-only -x c++ alone.c
fi
