#!/bin/sh
# Fetches axe-core, the accessibility checker of the browser tests, into a folder
# outside the checkout: scripts/axe.sh VERSION FOLDER. It is never part of Pli.
set -eu
version=$1 dir=$2
mkdir -p "$dir"
exec npm install --no-save --no-audit --no-fund --ignore-scripts --prefix "$dir" "axe-core@$version"
