#!/usr/bin/env bash
# Forgets the demo: its data, its people, its passwords.
set -euo pipefail
cd "$(dirname "$0")/.."
make -s build
exec bin/pli demo --reset
