#!/usr/bin/env bash
# Pli as a peer of a mail server comparison: peer.sh setup|start|stop. It runs a demo of
# its own, adds the boxes big, probe and u1 to u20 with one app password, and says where
# they are in $RUN/target.json. Scanning is off, as it is for the servers beside it. The
# second operator and the supervisor run too, idle, and are not counted.
set -euo pipefail
RUN=${RUN:-/tmp/peers/run/ours}
PLI=${PLI:-bin/pli}
PASS=banc-essai-7q2m-k9xd-4wtr
export PLI_DEMO_DIR=$RUN/demo PLI_DEMO_PORT=${PLI_DEMO_PORT:-14400} PLI_SCANNER_OFF=true

start() {
  mkdir -p "$RUN"; chmod 755 "$RUN"
  cp -f "$PLI" "$RUN/pli"
  nohup setsid "$RUN/pli" demo >"$RUN/out" 2>&1 &
  echo $! >"$RUN/supervisor.pid"
  for _ in $(seq 600); do
    [ -e "$PLI_DEMO_DIR/demo.json" ] && return
    kill -0 "$(cat "$RUN/supervisor.pid")" 2>/dev/null || break
    sleep 0.1
  done
  cat "$RUN/out"; exit 1
}

stop() {
  [ -e "$RUN/supervisor.pid" ] || return 0
  kill -INT "$(cat "$RUN/supervisor.pid")" 2>/dev/null || true
  for _ in $(seq 300); do kill -0 "$(cat "$RUN/supervisor.pid")" 2>/dev/null || break; sleep 0.1; done
  rm -f "$RUN/supervisor.pid"
}

setup() {
  start
  trap stop EXIT
  echo "$PASS" >"$RUN/secret"
  for u in big probe $(seq -f 'u%g' 1 20); do
    "$RUN/pli" --config "$PLI_DEMO_DIR/a/pli.toml" account create professional "$u@mss-a.example" \
      --family Essai --given "$u" --name "$u" --app-password "$RUN/secret" >/dev/null
  done
  python3 - "$PLI_DEMO_DIR" "$PASS" >"$RUN/target.json" <<'P'
import json, sys
d, word = sys.argv[1:]
o = json.load(open(d + "/demo.json"))["operators"][0]
print(json.dumps({"name": "ours",
  "smtp": {"addr": o["submissions"], "tls": "implicit"}, "imap": {"addr": o["imaps"], "tls": "implicit"},
  "user": "%s@" + o["domain"], "users": 20, "pass": word,
  "pidfiles": [d + "/a/pli.pid", d + "/a/postgres.pid", d + "/redis.pid"],
  "datadirs": [d + "/a/blobs", d + "/a/postgres"]}, indent=1))
P
}

case ${1:-} in
setup | start | stop) "$1" ;;
*) echo "usage: peer.sh setup|start|stop" >&2; exit 2 ;;
esac
