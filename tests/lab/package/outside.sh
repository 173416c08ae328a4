#!/bin/sh
# Build the packages, and try them in the lab: outside.sh BUILD_DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../static/package.sh" "$1/packages"
exec "$here/../run" --systemd --timeout 240 "$here/inside.sh" "$1/packages"
