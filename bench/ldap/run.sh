#!/usr/bin/env bash
# The directory's LDAP door beside OpenLDAP, on the same invented entries. Installs slapd
# when it is missing and may be installed, without starting it. Arguments go to the
# program: -n 1000000 -conns 1,8 -time 20s -dir DIR -keep
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh
need slapd slapd ldap-utils
need postgres postgresql
install_needed
mkdir -p bin
go build -o bin/bench-ldap ./bench/ldap
exec bin/bench-ldap "$@"
