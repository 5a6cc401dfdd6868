#!/usr/bin/env bash
# Install the Debian packages that building and testing need; `make setup`.
#
# Does nothing, quickly, when all of them are there.  PG_MAJOR chooses the
# PostgreSQL major version (15).  Never creates or starts a database cluster.
set -euo pipefail

support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$support/../../build
major=${PG_MAJOR:-15}

packages=(
    "postgresql-$major" "postgresql-server-dev-$major"
    "postgresql-$major-cron" "postgresql-$major-pgtap"
    libtap-parser-sourcehandler-pgtap-perl  # pg_prove
    libipc-run-perl                         # for PostgreSQL::Test
    gcc libc6-dev make perl
)

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
allow_cluster() {
    "${as_root[@]}" rm -f "$no_cluster"
    "${as_root[@]}" rmdir --ignore-fail-on-non-empty "${no_cluster%/*}"
}
trap allow_cluster EXIT
"${as_root[@]}" mkdir -p "${no_cluster%/*}"
echo "create_main_cluster = false" | "${as_root[@]}" tee "$no_cluster" >/dev/null

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
