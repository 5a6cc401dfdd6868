#!/usr/bin/env bash
# inv_load_stock() beside COPY: a million SKUs.
#
#   bench/load_stock.sh [SKUS [ROUNDS]]
#
# On a private server, ROUNDS (3) times in turns:
#
#   copy one      plain COPY into one table (sku, on_hand) with a primary key:
#                 what a shop without reservations would do
#   copy same     plain COPY of the rows that a load writes, into tables with
#                 the columns, checks and indexes of inv_item, inv_stock and
#                 inv_ledger: what writing them costs at least
#   new           inv_load_stock() of SKUs that are all new
#   repeat        the same load again: nothing is to be done
#   all           each SKU has another count
#   tenth         a tenth of them have: a nightly import
#   no stock yet  SKUs that the catalogue has, at a location without any
#
# Prints milliseconds and SKUs a second; of the backend the processor time, which
# says more where others use the machine, and how much memory of its own it had
# at most (/proc, looked at twenty times a second).  Nothing here is durable:
# fsync is off.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../test/support/private_cluster.sh
source "$bench/../test/support/private_cluster.sh"

skus=${1:-1000000}
rounds=${2:-3}

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

# Of the only client backend, into a file: clock ticks of processor time so far,
# largest RssAnon in kB.
watch_backend() {
    local pid ticks memory largest=0
    while :; do
        sleep 0.05
        pid=$(pgrep -P "$(head -n 1 "$PGDATA/postmaster.pid")" -f 'postgres: .*\[local\]' | head -n 1) || true
        [[ -n $pid ]] || continue
        ticks=$(awk '{ print $14 + $15 }' "/proc/$pid/stat" 2>/dev/null) || continue
        memory=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
        ((${memory:-0} <= largest)) || largest=$memory
        [[ -z $ticks ]] || echo "$ticks $largest" >"$run_dir/watched"
    done
}

# NAME, then arguments of psql.
timed() {
    local name=$1 begin end watcher
    sql -c CHECKPOINT
    echo 0 0 >"$run_dir/watched"
    watch_backend &
    watcher=$!
    begin=$(date +%s%N)
    sql "${@:2}" >/dev/null
    end=$(date +%s%N)
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    awk -v name="$name" -v ms=$(((end - begin) / 1000000)) -v skus="$skus" -v hertz="$(getconf CLK_TCK)" \
        '{ printf "%-14s %8d ms %9d a second  %6.1f s of processor %6d MB\n",
           name, ms, skus * 1000 / ms, $1 / hertz, $2 / 1024 }' "$run_dir/watched"
}

load() {
    timed "$1" -c "SELECT count(*) FROM inv_load_stock((SELECT skus FROM feed), (SELECT $2 FROM feed)${3:+, $3})"
}

cluster_start load fsync=off shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=1h \
    autovacuum=off shared_preload_libraries=
chmod 777 "$run_dir"
for ((round = 1; round <= rounds; round++)); do
    echo "round $round"
    PGOPTIONS='-c client_min_messages=warning' sql -v skus="$skus" <<'SQL'
DROP TABLE IF EXISTS feed, one, same_item, same_stock, same_ledger;
DROP EXTENSION IF EXISTS inventory_reservation;
CREATE EXTENSION inventory_reservation;
-- In no order: another system knows nothing of ours.
CREATE TABLE feed AS
SELECT array_agg(sku ORDER BY random()) AS skus,
       array_agg(units) AS units,
       array_agg(units + 1) AS more,
       array_agg(units + 1 + (n % 10 = 0)::integer) AS tenth
  FROM (SELECT n, 'SKU-' || lpad(n::text, 9, '0') AS sku, n % 100 + 1 AS units
          FROM generate_series(1::bigint, :skus) AS n) AS line;
CREATE TABLE one (sku text COLLATE "C" PRIMARY KEY, on_hand bigint NOT NULL);
CREATE TABLE same_item (LIKE inv_item INCLUDING ALL);
CREATE TABLE same_stock (LIKE inv_stock INCLUDING ALL);
CREATE TABLE same_ledger (LIKE inv_ledger INCLUDING ALL);
SQL
    load new units
    sql <<SQL
COPY (SELECT sku, on_hand FROM inv_item JOIN inv_stock USING (item_id) ORDER BY random()) TO '$run_dir/one.copy';
COPY inv_item TO '$run_dir/same_item.copy';
COPY inv_stock TO '$run_dir/same_stock.copy';
COPY inv_ledger TO '$run_dir/same_ledger.copy';
SQL
    timed 'copy one' -c "COPY one FROM '$run_dir/one.copy'"
    timed 'copy same' -c "BEGIN" \
        -c "COPY same_item FROM '$run_dir/same_item.copy'" \
        -c "COPY same_stock FROM '$run_dir/same_stock.copy'" \
        -c "COPY same_ledger FROM '$run_dir/same_ledger.copy'" -c COMMIT
    sql -c 'VACUUM ANALYZE' 2>/dev/null
    load repeat units
    load all more
    load tenth tenth
    sql -c "SELECT inv_add_location('store')" >/dev/null
    load 'no stock yet' units "'store'"
done
[[ -z $(sql -c 'SELECT * FROM inv_check() LIMIT 1') ]] || fail 'inv_check() has found something'
