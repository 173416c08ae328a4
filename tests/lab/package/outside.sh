#!/bin/sh
# Build the packages, if there are none of this tree, and try them in the lab: outside.sh BUILD_DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../static/package.sh" "$1/packages" --if-changed
exec "$here/../run" --systemd --timeout 240 "$here/inside.sh" "$1/packages"
