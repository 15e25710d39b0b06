#!/usr/bin/env bash
# Fast checks: format, vet, module file, floors and generated files.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$bad" ]; then
  printf 'not formatted (gofmt -w):\n%s\n' "$bad" >&2
  exit 1
fi
go mod tidy -diff
go vet ./...
go test ./app -run 'TestFloors|TestClimbs|TestSample'
