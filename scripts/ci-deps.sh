#!/usr/bin/env bash
# Installs what Pli's tests need, on Debian as root; elsewhere says what is missing.
# Nothing it installs is started: PostgreSQL makes no cluster, services stay down.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need postgres postgresql
need redis-server redis-server
need clamd clamav-daemon
need swaks swaks
need perl-tls libnet-ssleay-perl # swaks speaks TLS through it
need mbsync isync
need curl curl
need chromium chromium
need openssl openssl
need ldapsearch ldap-utils
need vdirsyncer vdirsyncer # a CardDAV client
need fc-list fontconfig fonts-dejavu-core
install_needed
