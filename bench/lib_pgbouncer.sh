# shellcheck shell=bash disable=SC2034,SC2154 # variables shared with run.sh
# A private pgbouncer in transaction mode in front of the current server: a
# Unix socket in $run_dir, no port, no service.
#
#   bouncer_start SERVERS SETTINGS   SERVERS: connections to PostgreSQL;
#                    SETTINGS: SQL run on each of them when it is made
#   bouncer_stop     does nothing where there is none
#
# Clients connect with PGHOST=$bouncer_socket.

bouncer_start() {
    local servers=$1 settings=$2 dir=$run_dir/bouncer
    bouncer_socket=$dir
    as_server_user mkdir -p "$dir"
    as_server_user tee "$dir/pgbouncer.ini" >/dev/null <<END
[databases]
$PGDATABASE = host=$PGHOST port=$PGPORT user=$PGUSER connect_query='${settings//\'/\'\'}'
[pgbouncer]
pool_mode = transaction
listen_addr =
unix_socket_dir = $dir
listen_port = 5432
auth_type = any
ignore_startup_parameters = extra_float_digits
max_client_conn = 2000
default_pool_size = $servers
min_pool_size = $servers
logfile = $dir/log
pidfile = $dir/pid
log_connections = 0
log_disconnections = 0
END
    rm -f "$dir/pid"
    as_server_user "$run_dir/peers/usr/sbin/pgbouncer" -q -d "$dir/pgbouncer.ini"
    local try
    for try in {1..100}; do
        ! PGHOST=$dir PGOPTIONS='' psql -Xqc 'SELECT 1' >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    cat "$dir/log" >&2
    PGHOST=$dir PGOPTIONS='' psql -Xqc "SELECT 1" >&2 || true
    fail "pgbouncer does not start (${try} tries)"
}

bouncer_stop() {
    local pid
    [[ -s $run_dir/bouncer/pid ]] || return 0
    pid=$(<"$run_dir/bouncer/pid")
    kill "$pid" || return 0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.05
    done
}
