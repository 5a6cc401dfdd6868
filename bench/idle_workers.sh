#!/usr/bin/env bash
# What background workers cost a server on which nothing happens.
#
#   bench/idle_workers.sh [SECONDS]
#
# Servers with a hundred databases, of which none, ten or all have the
# extension, each watched for SECONDS (60), with nothing to sweep.  Prints the
# processor time that launcher, postmaster and all workers took, in percent of
# one core; the first line, without the library, is what there is anyway.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../test/support/private_cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/../test/support/private_cluster.sh"

seconds=${1:-60}
databases=100

# Time of the launcher and of the postmaster, to which the time of its children
# is added when they have ended: clock ticks.
used() {
    local launcher
    launcher=$(psql -XAtq -d postgres -c "SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'inventory_reservation launcher'")
    [[ -z $launcher ]] || cut -d ' ' -f 14,15 "/proc/$launcher/stat" | tr ' ' '\n'
    cut -d ' ' -f 14-17 "/proc/$(head -n 1 "$PGDATA/postmaster.pid")/stat" | tr ' ' '\n'
}

ticks() {
    used | paste -sd + | bc
}

watch_server() {
    local name=$1 preload=$2 shops=$3 before after i
    # Other workers of PostgreSQL's would be counted too.
    CLUSTER_DATABASE=shop cluster_start "$name" "shared_preload_libraries=$preload" \
        autovacuum=off max_logical_replication_workers=0
    psql -Xq -d shop -c 'CREATE EXTENSION inventory_reservation'
    psql -Xq -d postgres -c 'ALTER DATABASE shop IS_TEMPLATE true'
    for ((i = 1; i <= databases; i++)); do
        psql -Xq -d postgres -c "CREATE DATABASE d$i TEMPLATE $( ((i <= shops)) && echo shop || echo template1)"
    done
    psql -Xq -d postgres -c 'ALTER DATABASE shop IS_TEMPLATE false' -c 'DROP DATABASE shop'
    sleep 15
    before=$(ticks)
    sleep "$seconds"
    after=$(ticks)
    # the two queries that read the launcher's number, and their sessions, are in it
    awk -v name="$name" -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" -v seconds="$seconds" \
        'BEGIN { printf "%-40s %6.2f %%\n", name, 100 * ticks / hertz / seconds }'
    cluster_stop
}

watch_server without_the_library '' 0
watch_server none_of_100_databases inventory_reservation 0
watch_server ten_of_100_databases inventory_reservation 10
watch_server all_of_100_databases inventory_reservation 100
