# shellcheck shell=bash disable=SC2034,SC2154 # variables shared with run.sh
# The private PostgreSQL server of the benchmark: the extension in schema
# "shop", each SQL peer in a schema of its name, one catalogue of 10,000 SKUs.
#
#   postgres_start
#   use_peer PEER SYNC          settings for the sessions to come (PGOPTIONS)
#   postgres_reset UNITS SKUS   SKUS: all or hot
#   postgres_fill HOLDS EXPIRES_AT SKUS
#   postgres_load LOAD CLIENTS SECONDS [pgbench argument ...]
#       Sets ops_per_s, p50, p95, p99 (ms), wal_per_op (bytes), transactions
#       and load_output, what pgbench said.
#   postgres_check ACKNOWLEDGED [quick]   prints ok, or what is wrong; quick
#       leaves out inv_check(), which takes minutes over millions of rows

first_sku=100001
# Nothing here takes long, and what does must not stop the benchmark for good.
sql() { timeout --foreground 1800 psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

postgres_start() {
    # Durable as a production server is: every commit is flushed, pages are
    # logged whole after a checkpoint.  The write-ahead log is large enough
    # for no checkpoint to fall into a run.
    cluster_start bench fsync=on full_page_writes=on wal_level=replica \
        shared_buffers=2GB max_wal_size=16GB min_wal_size=4GB \
        checkpoint_timeout=1h autovacuum=on max_connections=1100 \
        work_mem=256MB maintenance_work_mem=512MB log_checkpoints=on
    PGOPTIONS="-c client_min_messages=warning" sql <<SQL >/dev/null
CREATE SCHEMA shop;
CREATE EXTENSION inventory_reservation SCHEMA shop;
SET search_path = shop;
SELECT count(*) FROM inv_load_stock(
    (SELECT array_agg(sku::text) FROM generate_series($first_sku, $first_sku + 9999) AS sku),
    (SELECT array_agg(1) FROM generate_series(1, 10000)));
SQL
    local file peer
    for file in "$bench"/peers/*.sql; do
        peer=$(basename "$file" .sql)
        [[ $peer != tables ]] || continue
        sql -v peer="$peer" -f "$bench/peers/tables.sql"
        PGOPTIONS="-c search_path=$peer" sql -f "$file"
    done
    sql -c 'VACUUM ANALYZE' 2>/dev/null
    # Where the extension cannot split a SKU's stock yet, its rows are left out.
    has_stripes=yes
    PGOPTIONS='-c search_path=shop' sql -c "SELECT inv_set_stripes('$first_sku', 2)" \
        >/dev/null 2>&1 || has_stripes=no
}

use_peer() {
    local schema=$1
    [[ $schema != ours* && $schema != plain_select ]] || schema=shop
    export PGOPTIONS="-c search_path=$schema -c synchronous_commit=$2"
}

postgres_reset() {
    local units=$1 only_sku=''
    [[ $2 != hot ]] || only_sku=$first_sku
    sql -v units="$units" -v only_sku="$only_sku" -f "$bench/reset.sql"
    # What a peer keeps besides the usual tables.
    if [[ $(sql -c "SELECT to_regproc('peer_reset') IS NOT NULL") == t ]]; then
        sql -c 'SELECT peer_reset()' >/dev/null
    fi
}

postgres_fill() {
    sql -v holds="$1" -v expires_at="$2" -v skus="$3" -f "$bench/fill.sql"
}

# Every table of the peer: some have more than the usual ones.
postgres_settle() {
    sql <<'SQL'
SELECT 'VACUUM ANALYZE ' || string_agg(quote_ident(relname), ', ')
  FROM pg_class
 WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
\gexec
CHECKPOINT;
SQL
}

wal_position() { sql -c "SELECT pg_current_wal_insert_lsn() - '0/0'"; }

postgres_load() {
    local load=$1 clients=$2 seconds=$3 wal length
    shift 3
    rm -f "$run_dir"/pgbench_log.*
    # pgbench's clock runs while it connects, which its rate leaves out, and a
    # thousand connections take seconds.
    length=$((seconds + clients / 200))
    wal=$(wal_position)
    load_output=$(cd "$run_dir" && in_time "$length" \
        pgbench -n -M "${protocol:-prepared}" -c "$clients" \
        -j "$((threads < clients ? threads : clients))" -T "$length" -l \
        -f "$bench/loads/$load.sql" -D clients="$clients" -D counter=0 \
        -D first_sku="$first_sku" -D last_sku="$last_sku" "$@" 2>&1) ||
        { head -n 20 <<<"$load_output" >&2; fail "pgbench: load $load failed"; }
    if [[ $load_output =~ aborted|ERROR ]]; then
        grep -m 5 -E 'aborted|ERROR' <<<"$load_output" >&2
        fail "pgbench: load $load met errors"
    fi
    [[ $load_output != *'processed: 0'$'\n'* ]] || fail "pgbench: load $load got nothing done"
    wal=$(($(wal_position) - wal))
    ops_per_s=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' <<<"$load_output")
    transactions=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<<"$load_output")
    wal_per_op=$(awk -v wal="$wal" -v n="$transactions" 'BEGIN { printf "%.0f", n ? wal / n : 0 }')
    read -r _ p50 p95 p99 < <(perl "$bench/percentiles.pl" "$run_dir"/pgbench_log.*)
    rm -f "$run_dir"/pgbench_log.*
}

postgres_check() {
    local answer violations
    if [[ $(sql -c "SELECT to_regproc('peer_check') IS NOT NULL") == t ]]; then
        answer=$(sql -c "SELECT peer_check($1)")
    else
        answer=$(sql -v acknowledged="$1" -f "$bench/check.sql")
    fi
    if [[ $answer == ok && $PGOPTIONS == *search_path=shop\ * && ${2:-} != quick ]]; then
        violations=$(sql -c 'SELECT count(*) FROM inv_check()')
        [[ $violations -eq 0 ]] || answer="inv_check(): $violations violations"
    fi
    echo "$answer"
}
