#!/usr/bin/env bash
# Go benchmarks, then a load run against a demo of its own (or the running one named by
# DEMO=path/to/demo.json). BENCHTIME, CONNS and SCALE make it shorter or longer.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== Go benchmarks"
mapfile -t packages < <(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)
go test -run '^$' -bench . -benchmem -benchtime "${BENCHTIME:-1s}" -p 1 "${packages[@]}" | grep -E '^(Benchmark|ok|FAIL|---)'
echo "== Load"
mkdir -p bin
go build -o bin/load ./bench/load
if [ -z "${DEMO:-}" ]; then
  dir=$(mktemp -d /tmp/pli-bench.XXXXXX)
  chmod 755 "$dir"
  export PLI_DEMO_DIR=$dir PLI_DEMO_PORT=${PLI_DEMO_PORT:-15500}
  bin/pli demo >"$dir/out" 2>&1 &
  supervisor=$!
  trap 'kill -INT $supervisor 2>/dev/null; wait $supervisor 2>/dev/null; bin/pli demo --reset >/dev/null 2>&1; rm -rf "$dir"' EXIT
  for _ in $(seq 600); do
    [ -e "$dir/demo.json" ] && break
    kill -0 $supervisor 2>/dev/null || { cat "$dir/out"; exit 1; }
    sleep 0.1
  done
  DEMO=$dir/demo.json
fi
bin/load -demo "$DEMO" -conns "${CONNS:-20}" -scale "${SCALE:-1}"
