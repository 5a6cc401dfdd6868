#!/usr/bin/env bash
# Install the Debian packages that building and testing need; `make setup`.
#
#   setup.sh [PACKAGE ...]      these instead
#
# Does nothing, quickly, when all of them are there.  PG_MAJOR chooses the
# PostgreSQL major version (15).  Never creates or starts a database cluster,
# nor any other service.
set -euo pipefail

support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$support/../../build
major=${PG_MAJOR:-15}

packages=(
    "postgresql-$major" "postgresql-server-dev-$major"
    "postgresql-$major-cron" "postgresql-$major-pgtap"
    libtap-parser-sourcehandler-pgtap-perl  # pg_prove
    libipc-run-perl                         # for PostgreSQL::Test
    libdbd-pg-perl                          # clients that outlive a server
    prometheus-postgres-exporter            # tests of examples/monitoring
    gcc libc6-dev make perl
)
# Random SQL, test/t/033_sqlsmith.pl, which does without it elsewhere: not every
# Debian has it.
[[ $major != 15 ]] || packages+=(sqlsmith)
[[ ${SETUP_ANALYSIS:-} != 1 ]] || packages+=(clang clang-tidy clang-tools cppcheck shellcheck libclang-rt-dev)
# For test/examples.
if [[ ${SETUP_EXAMPLES:-} == 1 ]]; then
    packages+=(python3-psycopg2 php-cli php-pgsql default-jdk-headless libpostgresql-jdbc-java pgbouncer chromium)
    command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)
fi
[[ ${VALGRIND:-} != 1 ]] || packages+=(valgrind)
[[ $# -eq 0 ]] || packages=("$@")

if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian system; make sure you have the equivalent of:" >&2
    echo "  ${packages[*]}" >&2
    exit 0
fi

installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "${packages[@]}" 2>/dev/null || true)"
missing=()
for package in "${packages[@]}"; do
    [[ $installed == *" installed=$package "* ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: install these as root, then try again: ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "installing: ${missing[*]}"
mkdir -p "$build"
log=$build/setup.log
: >"$log"

# Installing a server package of Debian creates and starts the cluster "main",
# which nobody asked for here.  Debian's switch against that is
# create_main_cluster in createcluster.conf (see pg_createcluster(8)); its
# include directory lets us set it for just this installation.
no_cluster=/etc/postgresql-common/createcluster.d/inventory_reservation.conf

# Likewise, the packages of these services start them, and again at each boot.
# What maintainer scripts may start is what policy-rc.d allows; where there is
# one already (in most containers, to allow nothing) it is left alone.  What was
# installed before is the user's own, and is left alone as well.
services=()
for package in prometheus-postgres-exporter pgbouncer; do
    [[ " ${missing[*]} " != *" $package "* ]] || services+=("$package")
done
policy=/usr/sbin/policy-rc.d
own_policy=
clean_up() {
    "${as_root[@]}" rm -f "$no_cluster" ${own_policy:+"$policy"}
    "${as_root[@]}" rmdir --ignore-fail-on-non-empty "${no_cluster%/*}"
}
trap clean_up EXIT
"${as_root[@]}" mkdir -p "${no_cluster%/*}"
echo "create_main_cluster = false" | "${as_root[@]}" tee "$no_cluster" >/dev/null
if [[ ${#services[@]} -gt 0 && ! -e $policy ]]; then
    own_policy=yes
    {
        echo '#!/bin/sh'
        printf 'case " $* " in *" %s"*) exit 101 ;; esac\n' "${services[@]}"
    } | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

# NEEDRESTART_SUSPEND: do not restart the user's services because of us.
apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

# A repository that cannot be reached need not be the one we need, so only the
# installation itself decides.
apt_get update || echo "setup: apt-get update failed, trying with the lists at hand" >&2
if ! apt_get install --no-install-recommends "${missing[@]}"; then
    tail -n 30 "$log" >&2
    echo "setup: installation failed; all of apt's output is in build/setup.log" >&2
    exit 1
fi
for service in "${services[@]}"; do
    "${as_root[@]}" update-rc.d "$service" disable >>"$log" 2>&1 ||
        echo "setup: could not disable $service; it would start with the system" >&2
done
