#!/usr/bin/env bash
# Reconciliation at scale: 1,000,000 stock rows and 10,000,000 ledger entries.
#
#   bench/reconcile.sh [ITEMS [ENTRIES_PER_ITEM [HOLDS]]]
#
# Fills a private server by SQL, consistently, and measures
#
#   - a complete run, as inv_reconcile() does it in one transaction;
#   - an incremental run with nothing changed, and with 1,000 changes;
#   - what 8 buyers get done in a second beside a complete run, and alone.
#
# Nothing here is durable: fsync is off.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../test/support/private_cluster.sh
source "$bench/../test/support/private_cluster.sh"

items=${1:-1000000}
entries=${2:-10}
holds=${3:-1000000}

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

# $1 what, $2 statement
timed() {
    local begin end rows
    begin=$(date +%s%N)
    rows=$(sql -c "$2")
    end=$(date +%s%N)
    printf '%-44s %8d ms   %s\n' "$1" $(((end - begin) / 1000000)) "${rows//$'\n'/ }"
}

# $1 seconds
buyers() {
    pgbench --no-vacuum --client 8 --jobs 2 --time "$1" --file "$run_dir/buy.sql" |
        sed -n 's/^tps = \([0-9]*\).*/\1/p'
}

cluster_start reconcile fsync=off full_page_writes=off synchronous_commit=off \
    shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=1h \
    shared_preload_libraries=inventory_reservation \
    inventory_reservation.worker_enabled=off maintenance_work_mem=256MB
PGOPTIONS='-c client_min_messages=warning' sql -c 'CREATE EXTENSION inventory_reservation'
# One item made by the extension itself begins the epoch of the ledger.
sql -c "SELECT inv_add_item('SKU0')" -c "SELECT inv_receive('SKU0', 1)" >/dev/null
sql -v items="$items" -v entries="$entries" -v holds="$holds" <<'SQL'
SET synchronous_commit = off;
INSERT INTO inv_item (item_id, sku, unit_price)
SELECT n + 1, 'SKU' || n, 1 FROM generate_series(1, :items) AS n;
INSERT INTO inv_reservation (reservation_id, line_no, item_id, location_id, stripe, quantity,
    unit_price, status, expires_at, created_at)
SELECT lpad(to_hex(n), 32, '0')::uuid, 1, n % :items + 2, 0, 0, 1, 1, 'active',
       now() + interval '1 day', now()
  FROM generate_series(1, :holds) AS n;
INSERT INTO inv_stock (item_id, location_id, stripe, on_hand, reserved, earliest_expiry)
SELECT n + 1, 0, 0, 100 * :entries,
       :holds / :items + (n + 1 - 2 BETWEEN 1 AND :holds % :items
                          OR (n = 1 AND false))::integer,
       '-infinity'
  FROM generate_series(1, :items) AS n;
UPDATE inv_stock SET reserved = held.units
  FROM (SELECT item_id, sum(quantity) AS units FROM inv_reservation GROUP BY item_id) AS held
 WHERE held.item_id = inv_stock.item_id AND inv_stock.reserved <> held.units;
/* in the order in which a shop's entries come: all over the SKUs */
INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe, delta_on_hand,
    delta_reserved, on_hand_after, reserved_after, login_role, caller_role, epoch)
SELECT now(), pg_current_xact_id(), 'receive', n * 7919 % :items + 2, 0, 0, 100,
       0, 0, 0, 'bench', 'bench', 1
  FROM generate_series(1, :items::bigint * :entries) AS n;
INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe, delta_on_hand,
    delta_reserved, on_hand_after, reserved_after, reservation_id, login_role, caller_role, epoch)
SELECT now(), pg_current_xact_id(), 'reserve', item_id, 0, 0, 0, quantity, 0, 0, reservation_id,
       'bench', 'bench', 1
  FROM inv_reservation;
SQL
sql -c 'VACUUM ANALYZE' -c CHECKPOINT
printf '%s\n' "\\set item random(1, $items)" \
    "SELECT inv_reserve('SKU' || :item, ttl => '1 hour');" >"$run_dir/buy.sql"

sql -c "SELECT count(*) || ' stock rows' FROM inv_stock" \
    -c "SELECT count(*) || ' ledger entries' FROM inv_ledger" \
    -c "SELECT count(*) || ' reservation lines' FROM inv_reservation"
run="SELECT count(*) || ' findings' FROM inv_reconcile"
timed 'first run, complete' "$run(complete => true)"
timed 'next run, nothing changed' "$run()"
timed 'next run, nothing changed' "$run()"
sql -c "SELECT count(inv_reserve('SKU' || n * 997 % $items + 1)) FROM generate_series(1, 1000) AS n" >/dev/null
timed 'next run, 1,000 holds made' "$run()"
sql -c "UPDATE inv_stock SET reserved = reserved + 1 WHERE item_id IN (SELECT item_id FROM inv_ledger
    WHERE reservation_id IS NOT NULL ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 100)"
sql -c "SELECT count(inv_reserve('SKU' || n * 997 % $items + 1)) FROM generate_series(1, 1000) AS n" >/dev/null
timed 'next run, 1,000 holds, 100 rows repaired' "$run(true)"
timed 'inv_check()' 'SELECT count(*) FROM inv_check()'
echo "buyers alone: $(buyers 10) holds/s"
sql -c "$run(complete => true)" >"$run_dir/beside" &
echo "buyers beside a complete run: $(buyers 10) holds/s"
wait $!
timed 'next run, after that' "$run()"
