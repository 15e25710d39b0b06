#!/usr/bin/env bash
# Kills processes of a demo at random, PostgreSQL's too, while messages are submitted,
# then counts: every message answered 250 is there exactly once. The test suite runs it
# with 500 messages; here: scripts/kill9.sh [MESSAGES] [ROUNDS].
set -euo pipefail
cd "$(dirname "$0")/.."
PLI_E2E=1 PLI_KILL9_LETTERS=${1:-500} go test ./e2e -run '^TestKill9$' -v -count "${2:-1}" -timeout 60m
