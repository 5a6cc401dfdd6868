#!/usr/bin/env bash
# What background workers cost a server on which nothing happens.
#
#   bench/idle_workers.sh [SECONDS]
#
# A server with a hundred databases, of which first none, then ten, then all
# have the extension, and in the end something is held in each.  Each is
# watched for SECONDS (60).  Prints the processor time that launcher, postmaster
# and all workers took, in percent of one core.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../test/support/private_cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/../test/support/private_cluster.sh"

seconds=${1:-60}
databases=100

run_sql() {
    psql -XAtq -v ON_ERROR_STOP=1 "$@" >/dev/null
}

# Time of the launcher and of the postmaster, to which the time of its children
# is added when they have ended: clock ticks.
ticks() {
    {
        cut -d ' ' -f 14,15 "/proc/$launcher/stat"
        cut -d ' ' -f 14-17 "/proc/$(head -n 1 "$PGDATA/postmaster.pid")/stat"
    } | tr ' ' '\n' | awk '{ sum += $1 } END { print sum }'
}

watch_server() {
    local before after
    # a new extension is visited twice before it rests
    sleep 22
    before=$(ticks)
    sleep "$seconds"
    after=$(ticks)
    awk -v name="$1" -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" -v seconds="$seconds" \
        'BEGIN { printf "%-45s %6.2f %%\n", name, 100 * ticks / hertz / seconds }'
}

# Other workers of PostgreSQL's would be counted too.
cluster_start idle shared_preload_libraries=inventory_reservation \
    autovacuum=off max_logical_replication_workers=0 fsync=off
launcher=$(psql -XAtq -c "SELECT pid FROM pg_stat_activity
                           WHERE backend_type = 'inventory_reservation launcher'")
for ((i = 1; i <= databases; i++)); do
    run_sql -c "CREATE DATABASE shop$i"
done
watch_server "none of $databases databases has the extension"
for ((i = 1; i <= 10; i++)); do
    run_sql -d "shop$i" -c 'CREATE EXTENSION inventory_reservation'
done
watch_server 'ten have it'
for ((i = 11; i <= databases; i++)); do
    run_sql -d "shop$i" -c 'CREATE EXTENSION inventory_reservation'
done
watch_server 'all have it'
for ((i = 1; i <= databases; i++)); do
    run_sql -d "shop$i" -c "SELECT inv_add_item('A'), inv_receive('A', 1)" \
        -c "SELECT inv_reserve('A', 1, ttl => '1 hour')"
done
watch_server 'and something is held in each'
