#!/usr/bin/env bash
# Runs each fuzz target in turn for FUZZTIME (10 s).
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
  dir=$(dirname "$file")
  grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | sed 's/func //' | while read -r target; do
    echo "== $dir $target"
    go test "$dir" -run '^$' -fuzz "^$target\$" -fuzzminimizetime 200x -fuzztime "${FUZZTIME:-10s}"
  done
done
