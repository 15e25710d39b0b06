#!/usr/bin/env bash
# The test command: installs what is missing, checks, runs every test. In here no
# test may skip for want of a tool (PLI_E2E=1 makes a missing tool a failure).
set -euo pipefail
cd "$(dirname "$0")/.."
started=$(date +%s)
bash scripts/ci-deps.sh
bash scripts/check.sh
make -s build
export PLI_E2E=1
# The end-to-end tests start whole houses: alone, they measure what they should.
go test -timeout 12m -p 2 $(go list ./... | grep -v '^pli/e2e')
if [ -n "$(go list ./e2e/... 2>/dev/null)" ]; then
  go test -count=1 -timeout 15m -p 1 ./e2e/...
fi
echo "pli: all tests passed in $(($(date +%s) - started)) s"
