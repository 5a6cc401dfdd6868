#!/usr/bin/env bash
# The simulator; `make simulate`.  See README.md in this directory.
#
#   SEED=N      what to begin with; without it one is drawn, and printed
#   SECONDS=60  how long
#   CLIENTS=12  how many at a time
#   EPISODE=N   only this episode of the seed
#
# A violation ends the run with status 1.  Reports and logs: build/simulator.
set -euo pipefail
# Bash counts its own SECONDS; take the caller's before that is lost.
run_seconds=$(sed -zn 's/^SECONDS=//p' "/proc/$$/environ" | tr -d '\0')
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../support/private_cluster.sh
source "$here/../support/private_cluster.sh"

# Nothing here has to survive a power failure: the operating system stays up.
cluster_start sim_server shared_preload_libraries='pg_cron, inventory_reservation' \
    fsync=off full_page_writes=off synchronous_commit=on max_connections=100 \
    max_prepared_transactions=40 deadlock_timeout=100ms log_min_error_statement=panic \
    log_error_verbosity=terse log_line_prefix='%m [%p] %e %b %q%a ' shared_buffers=256MB \
    restart_after_crash=on checkpoint_timeout=30s wal_level=replica

# The nemesis starts the server again, and that is the server's user.
[[ -z $server_user ]] || chown "$server_user:" "$cluster_log"

work=$run_dir/simulation
as_server_user mkdir "$work"
cp -r "$here" "$run_dir/program"
keep_reports() {
    mkdir -p "$checkout/build/simulator"
    cp -r "$work/." "$checkout/build/simulator/" 2>/dev/null
    cp "$cluster_log" "$checkout/build/simulator/server.log" 2>/dev/null
}
rm -rf "$checkout/build/simulator"
at_exit keep_reports
status=0
as_server_user perl -I "$run_dir/program" "$run_dir/program/simulate.pl" \
    --dir "$work" --data "$PGDATA" --log "$cluster_log" \
    --seconds "${run_seconds:-60}" --clients "${CLIENTS:-12}" \
    ${SEED:+--seed "$SEED"} ${EPISODE:+--episode "$EPISODE"} "$@" || status=$?
exit "$status"
