#!/bin/bash
# The Debian packages build from a clean copy of the tree, and lintian has no errors to tell:
# package.sh OUTPUT_DIR [--if-changed]; the packages are left there, and `tree`: what they were made
# of. With --if-changed nothing is done if they are of this tree.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
output=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"

tree_files() { # PATHSPEC...
    git ls-files -z --cached --others --exclude-standard -- "$@"
}

# Of the tests, the packages have the bootimage alone.
tree=$({ tree_files . ':!tests' && tree_files tests/guests/bare; } |
    xargs -0 sha256sum 2>/dev/null | sha256sum)
if [ "${2:-}" = --if-changed ] && [ "$(cat "$output/tree" 2>/dev/null)" = "$tree" ]; then
    exit 0
fi
version=$(sed -n 's/^project(qvm VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
packaged=$(dpkg-parsechangelog -S Version)
if [ "$version" != "$packaged" ]; then
    echo "package: CMakeLists.txt says version $version, debian/changelog $packaged"
    exit 1
fi
mkdir "$work/qvm"
tree_files . | tar -c --null -T - | tar -x -C "$work/qvm"
if ! (cd "$work/qvm" && dpkg-buildpackage -b -us -uc -j2) >"$work/log" 2>&1; then
    tail -n 40 "$work/log"
    echo "package: dpkg-buildpackage failed"
    exit 1
fi
rm -rf "$output"
mkdir -p "$output"
cp "$work"/*.deb "$output"
# shellcheck disable=SC2046 # our own names
lintian --allow-root --fail-on error,warning $(find "$output" -name '*.deb' ! -name '*-dbgsym_*')
echo "$tree" >"$output/tree"
