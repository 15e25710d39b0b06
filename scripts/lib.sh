# Shared by the scripts: finds tools, and installs Debian packages without starting
# any service of theirs.
wanted=()

# have TOOL: is it there? PostgreSQL hides in a versioned folder, clamd in sbin.
have() {
  case $1 in
  postgres) [ -n "${PLI_POSTGRES_BIN:-}" ] || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 ;;
  perl-tls) perl -MNet::SSLeay -e1 2>/dev/null ;;
  *) PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1 ;;
  esac
}

# need TOOL PACKAGE...: remember the packages when the tool is missing.
need() {
  local tool=$1
  shift
  have "$tool" || wanted+=("$@")
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

install_needed() {
  [ ${#wanted[@]} -gt 0 ] || return 0
  if ! can_install; then
    echo "pli: missing, install them: ${wanted[*]}" >&2
    return 1
  fi
  echo "pli: installing ${wanted[*]}" >&2
  quiet_services
  export DEBIAN_FRONTEND=noninteractive
  local log
  log=$(mktemp)
  if ! { apt-get update -q && apt-get install -y -q --no-install-recommends "${wanted[@]}"; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    restore_services
    return 1
  fi
  rm -f "$log"
  restore_services
}

# Debian starts what it installs, and makes a PostgreSQL cluster: neither is wanted.
quiet_services() {
  mkdir -p /etc/postgresql-common
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  fi
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    our_policy=1
  fi
}

restore_services() { [ -z "${our_policy:-}" ] || rm -f /usr/sbin/policy-rc.d; }
