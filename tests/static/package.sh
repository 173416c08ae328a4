#!/bin/bash
# The Debian packages build from a clean copy of the tree, and lintian has no errors to tell:
# package.sh OUTPUT_DIR; the packages are left there.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
output=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"

version=$(sed -n 's/^project(qvm VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
packaged=$(dpkg-parsechangelog -S Version)
if [ "$version" != "$packaged" ]; then
    echo "package: CMakeLists.txt says version $version, debian/changelog $packaged"
    exit 1
fi
mkdir "$work/qvm"
git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$work/qvm"
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
