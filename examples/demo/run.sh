#!/usr/bin/env bash
# Show the extension at work on a private PostgreSQL server; `make demo`.
#
# Every number on the screen comes from the server or from its clients, and
# the demo checks what it shows: it ends with an error when, say, four buyers
# get one of three cameras.  Takes up to a minute and a half, because pg_cron
# fires on the full minute.
set -euo pipefail

# Asked now: private_cluster.sh sets a locale of its own.
charset=$(locale charmap 2>/dev/null || true)
demo=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../test/support/private_cluster.sh
source "$demo/../../test/support/private_cluster.sh"
# shellcheck source-path=SCRIPTDIR source=screen.sh
source "$demo/screen.sh"

buyers=200
start=$SECONDS

# Seconds until the next full minute, when pg_cron fires.
to_full_minute() {
    echo $((60 - 10#$(date +%S)))
}

progress "Building the extension and starting a PostgreSQL server of its own ..."
# The workers come on in a part of their own.
CLUSTER_DATABASE=shop cluster_start demo \
    shared_preload_libraries='pg_cron, inventory_reservation' \
    inventory_reservation.naptime=1s inventory_reservation.worker_enabled=off
progress ""
at_exit "printf %s '$plain'"
trap 'echo; exit 130' INT

printf '%sinventory_reservation: stock that is held, sold, given back and never sold twice%s\n' \
    "$bold" "$plain"
version=$(value 'SHOW server_version')
say "This is PostgreSQL ${version%% *}, started for this demo and gone when it ends. \
Each statement is shown before it runs; below it is what the server answered."

# ---------------------------------------------------------------------------
heading "The shop opens"

say "The extension goes into a database that the shop already has. pg_cron is there, so \
the sweep that clears away dead holds gets its job by itself."
value 'CREATE EXTENSION pg_cron; CREATE SCHEMA inv;
       ALTER DATABASE shop SET search_path = public, inv; CREATE ROLE storefront LOGIN'
owner "CREATE EXTENSION inventory_reservation SCHEMA inv"
expect "$(value "SELECT count(*) FROM cron.job WHERE active AND schedule = '* * * * *'")" 1 \
    "jobs that pg_cron starts every minute"

say "The web shop logs in as storefront. It may make a buyer's calls; tables are out of its reach."
void=1 owner "SELECT inv_grant('storefront', 'buyer')"
expect "$(value "SELECT count(*) FROM pg_class
    WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
      AND has_table_privilege('storefront', oid,
          'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')")" 0 \
    "tables that storefront has any right on"

say "Eight products with their opening stock (catalogue.sql), as the shop sees them:"
psql -Xq -v ON_ERROR_STOP=1 -f "$demo/catalogue.sql" >/dev/null
shop "SELECT sku, name, unit_price, on_hand, reserved, available
FROM inv_availability ORDER BY unit_price DESC"

say "One visitor puts a charger into the basket and walks away. The hold lives for five \
seconds. Nobody will touch it again: pg_cron has to find it, in part 8."
shop "SELECT reservation_id, status, available
FROM inv_reserve('CHARGER001', 1,
                 customer => 'walked away', ttl => '5 seconds')"
abandoned=$(value "SELECT reservation_id FROM inv_active_holds WHERE customer = 'walked away'")

# ---------------------------------------------------------------------------
heading "$buyers buyers, 3 cameras"

say "$buyers clients, each with a connection of its own, wait behind a gate. When the last \
one is connected the gate opens, and all of them make this call at once:"
printf "\n  %sinv_try_reserve('CAMERA001', 1, key => 'race-N', customer => 'buyer-N')%s\n" \
    "$blue" "$plain"

race=$run_dir/race
mkdir "$race"
psql -X -v buyers="$buyers" -f "$demo/starter.sql" >"$race/opened" &
starter=$!
until [[ $(value "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == 1 ]]; do
    sleep 0.05
done
clients=()
for ((buyer = 1; buyer <= buyers; buyer++)); do
    (
        # One line for each client, also for one that got no answer.
        printed=$(psql -X -U storefront -v buyer="$buyer" -f "$demo/buyer.sql" \
            2>"$race/$buyer.error") || printed="$buyer,error,,,"
        echo "${printed//$'\n'/,}" >"$race/$buyer.answer"
    ) &
    clients+=($!)
    if ((buyer % 20 == 0)); then
        progress "$buyer buyers are on their way"
    fi
done
wait "$starter" || give_up "the race did not start"
wait "${clients[@]}" || true
progress ""

IFS='|' read -r connected opened <"$race/opened"
cat "$race"/*.answer >"$race/answers"
cat "$race"/*.error >&2
psql -Xq -v ON_ERROR_STOP=1 <<SQL
CREATE TABLE race_answer
    (buyer int, answer text, reservation_id uuid, available bigint, at timestamptz);
\\copy race_answer FROM '$race/answers' (FORMAT csv)
ALTER TABLE race_answer ADD ms int;
UPDATE race_answer SET ms = extract(epoch FROM at - '$opened') * 1000;
SQL
expect "$connected" "$buyers" "connections at the gate when it opened"
say "What the clients were told, and how many milliseconds after the gate had opened:"
owner "SELECT answer, count(*) AS buyers,
       min(ms) AS \"first, ms\", max(ms) AS \"last, ms\"
FROM race_answer GROUP BY answer ORDER BY answer"
expect "$(value "SELECT count(*) FROM race_answer WHERE answer = 'held'")" 3 "buyers holding a camera"
expect "$(value "SELECT count(*) FROM race_answer
    WHERE answer = 'sold out' AND available = 0")" $((buyers - 3)) "buyers told that there is none left"

shop "SELECT sku, on_hand, reserved, available
FROM inv_availability WHERE sku = 'CAMERA001'"
expect "$(value "SELECT count(DISTINCT reservation_id) FROM inv_active_holds
    JOIN race_answer USING (reservation_id) WHERE units = 1")" 3 "their holds in the database"

IFS='|' read -r buyer held < <(value "SELECT buyer, reservation_id FROM race_answer
    WHERE answer = 'held' ORDER BY at")
second=$(value "SELECT reservation_id FROM race_answer
    WHERE answer = 'held' ORDER BY at OFFSET 1 LIMIT 1")

# ---------------------------------------------------------------------------
heading "The answer got lost, so the client asks again"

say "Networks fail after the server has done its work. Buyer $buyer repeats the call with the \
same key and gets the same hold, not a second camera: replayed says so."
shop "SELECT reservation_id, status, replayed, available
FROM inv_try_reserve('CAMERA001', 1, key => 'race-$buyer',
                     customer => 'buyer-$buyer')"
expect "$(value "SELECT reserved FROM inv_availability WHERE sku = 'CAMERA001'")" 3 \
    "cameras held, as before"
[[ $answer == *"$held"* ]] || give_up "the retry did not answer with hold $held"

say "The same key with other arguments is a bug in the client, and is not taken for a retry."
shop_refused IV005 "SELECT reservation_id
FROM inv_try_reserve('CAMERA001', 2, key => 'race-$buyer',
                     customer => 'buyer-$buyer')"

# ---------------------------------------------------------------------------
heading "A hold becomes an order"

say "The buyer pays. Confirming sells the unit and makes the order, in one transaction; the \
price is the one of the moment at which the hold was made."
shop "SELECT order_id, status, total, replayed
FROM inv_confirm('$held')"
order=$(value "SELECT order_id FROM inv_order WHERE reservation_id = '$held'")

shop "SELECT payment_status, customer, sku, quantity, unit_price, total
FROM inv_order_status('$order'),
     jsonb_to_recordset(lines)
         AS line (sku text, quantity bigint, unit_price numeric)"
expect "$(value "SELECT count(*) FROM inv_order")" 1 "orders"

say "Confirming again answers with the same order. A camera has left the shelf, once."
shop "SELECT order_id, status, total, replayed
FROM inv_confirm('$held')"
[[ $answer == *"$order"* ]] || give_up "the second confirm did not answer with order $order"
shop "SELECT sku, on_hand, reserved, available
FROM inv_availability WHERE sku = 'CAMERA001'"
expect "$(value "SELECT on_hand || ' on hand, ' || reserved || ' held' FROM inv_availability
    WHERE sku = 'CAMERA001'")" "2 on hand, 2 held" "cameras"

# ---------------------------------------------------------------------------
heading "A cart is held whole or not at all"

say "Two laptops, a camera and 40 watches. The laptops are there; the rest is not. The \
refusal names every line that is short, so that the shop can say it all at once."
shop_refused IV001 "SELECT reservation_id
FROM inv_reserve_cart(ARRAY['LAPTOP001', 'CAMERA001', 'WATCH001'],
                      ARRAY[2, 1, 40], customer => 'office')"
[[ $answer == *CAMERA001* && $answer == *WATCH001* && $answer != *LAPTOP001* ]] ||
    give_up "the refusal does not name just the lines that are short"
expect "$(value "SELECT available FROM inv_availability WHERE sku = 'LAPTOP001'")" 5 \
    "laptops available, none held by half a cart"

# ---------------------------------------------------------------------------
heading "One SKU on many rows, many requests in one call"

say "A buyer keeps the stock row locked until the commit is on disk, and the others queue. \
Before a rush the shop therefore spreads a SKU over several rows, which sell at the same time."
void=1 owner "SELECT inv_set_stripes('SPEAKER001', 4)"
rows_of_speakers="FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = 'SPEAKER001'"
expect "$(value "SELECT string_agg(on_hand::text, ' + ' ORDER BY on_hand DESC) $rows_of_speakers")" \
    "7 + 6 + 6 + 6" "speakers on the four rows"

say "Three requests that have nothing to do with one another, in one call and one commit. The \
first wants more than any row has, but it is the sum that counts. Then there is too little for \
the second, and enough for the third."
shop "SELECT nr, status, available, error
FROM inv_reserve_batch(
         ARRAY['SPEAKER001', 'SPEAKER001', 'SPEAKER001'],
         ARRAY[20, 10, 5],
         customers => ARRAY['school', 'theatre', 'club'])
     WITH ORDINALITY AS hold (reservation_id, status, expires_at,
                              replayed, available, error, nr)"
expect "$(value "SELECT string_agg(customer || ' ' || units, ', ' ORDER BY units DESC)
    FROM inv_active_holds WHERE customer IN ('school', 'theatre', 'club')")" \
    "school 20, club 5" "speakers held"
expect "$(value "SELECT sum(on_hand) || ' on hand, ' || sum(reserved) || ' held' $rows_of_speakers")" \
    "25 on hand, 25 held" "speakers on all rows"

# ---------------------------------------------------------------------------
heading "A hold dies, and the next buyer need not wait for a sweep"

# The sweep must not come between, or there would be nothing to show.
while (($(to_full_minute) < 20)); do
    progress "pg_cron is to stay out of this part, and is due in $(to_full_minute) s ..."
    sleep 1
done
# Nor one that is still at work, on a busy machine.
sleep 1
progress ""

say "One of the winners cancels, which frees a camera. Somebody takes it for five seconds, \
and as long as he has it there is none for the next buyer."
shop "SELECT status, replayed
FROM inv_cancel('$second')"
shop "SELECT reservation_id, status, available
FROM inv_reserve('CAMERA001', 1,
                 customer => 'hesitates', ttl => '5 seconds')"
IFS='|' read -r dead since < <(value "SELECT reservation_id, created_at FROM inv_active_holds
    WHERE customer = 'hesitates'")
shop "SELECT reservation_id, available
FROM inv_try_reserve('CAMERA001', customer => 'next')"
expect "$(value "SELECT count(*) FROM inv_active_holds WHERE customer = 'next'")" 0 \
    "cameras for the next buyer while that hold lives"

time_left() {
    value "SELECT ceil(extract(epoch FROM expires_at - clock_timestamp()))
        FROM inv_reservation WHERE reservation_id = '$dead'"
}
while left=$(time_left) && ((left > 0)); do
    progress "the hold dies in $left s"
    sleep 0.2
done
progress ""
say "Now the hold is dead. Nothing has swept it: in the table it still reads active. But what \
counts is the clock, and the buyer who needs the unit gets it."
owner "SELECT line.status AS \"in the table\", state.status AS \"as it is\"
FROM inv_reservation AS line,
     inv_reservation_status(line.reservation_id) AS state
WHERE line.reservation_id = '$dead'"
expect "$(value "SELECT status FROM inv_reservation WHERE reservation_id = '$dead'")" active \
    "status in the table before the next call"
shop "SELECT reservation_id, status, available
FROM inv_try_reserve('CAMERA001', customer => 'next')"
expect "$(value "SELECT count(*) FROM inv_active_holds WHERE customer = 'next'")" 1 \
    "cameras for the next buyer now"
expect "$(value "SELECT count(*) FROM cron.job_run_details WHERE start_time > '$since'")" 0 \
    "sweeps since the hold was made"

# ---------------------------------------------------------------------------
heading "pg_cron sweeps up"

say "The charger from part 1 was left in the basket of somebody who has gone. At each full \
minute pg_cron calls inv_expire(), which gives back what dead holds still hold."
swept() {
    [[ $(value "SELECT status FROM inv_reservation WHERE reservation_id = '$abandoned'") != active ]]
}
echo
if [[ -z $live ]] && ! swept; then
    printf '  waiting %s s for the full minute\n' "$(to_full_minute)"
fi
deadline=$((SECONDS + 90))
until swept; do
    ((SECONDS < deadline)) || give_up "pg_cron did not sweep within 90 seconds"
    left=$(to_full_minute)
    bar=$(printf '%*s' $(((60 - left) / 2)) '')
    progress "[$(printf '%-30s' "${bar// /=}")] $left s to the full minute"
    sleep 0.5
done
progress ""
# The sweep is committed before pg_cron writes that it is.
until [[ $(value "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'") != 0 ]]; do
    ((SECONDS < deadline)) || give_up "pg_cron reports no run that succeeded"
    sleep 0.1
done

owner "SELECT jobname, status, return_message, start_time::time(0) AS started
FROM cron.job_run_details JOIN cron.job USING (jobid)
ORDER BY runid"
owner "SELECT customer, status,
       expires_at::time(0) AS died, closed_at::time(0) AS swept
FROM inv_reservation
WHERE reservation_id = '$abandoned'"
expect "$(value "SELECT status FROM inv_reservation WHERE reservation_id = '$abandoned'")" expired \
    "status of the abandoned hold"
expect "$(value "SELECT available FROM inv_availability WHERE sku = 'CHARGER001'")" 30 \
    "chargers available again"

# ---------------------------------------------------------------------------
heading "The server looks after its stock"

# Wait until a query answers t; $2 says for what.
wait_until() {
    local deadline=$((SECONDS + 30))
    until [[ $(value "$1") == t ]]; do
        ((SECONDS < deadline)) || give_up "$2: not within 30 seconds"
        progress "waiting: $2"
        sleep 0.2
    done
    progress ""
}

say "Where the library is preloaded, as it is here, nothing has to be scheduled: a launcher \
sends short-lived workers to every database that has the extension, in this demo once a second. \
So far they were switched off."
void=1 owner "ALTER SYSTEM SET inventory_reservation.worker_enabled = on"
value "SELECT pg_reload_conf()" >/dev/null
shop "SELECT reservation_id, status, available
FROM inv_reserve('CHARGER001', 1,
                 customer => 'in and out', ttl => '1 second')"
wait_until "SELECT status = 'expired' FROM inv_reservation WHERE customer = 'in and out'" \
    "a worker sweeps"
# A worker reports when it is done.
wait_until "SELECT worker_rows > 0 FROM inv_stat" "the worker reports"
owner "SELECT customer, status, closed_at - expires_at AS \"swept after\"
FROM inv_reservation WHERE customer = 'in and out'"
expect "$(value "SELECT available FROM inv_availability WHERE sku = 'CHARGER001'")" 30 \
    "chargers available again"

say "inv_stat says what has happened in this database, from counters in shared memory: what was \
sold and refused and why, how long buyers have waited for one another, what the workers did."
owner "SELECT reserves, replays, confirms, cancels,
       rejected_insufficient_stock AS \"too little\",
       rejected_key_reused AS \"key reused\",
       expired_by_reclaim + expired_by_sweep AS died
FROM inv_stat"
owner "SELECT lock_waits, round(lock_wait_time) AS \"waited, ms\",
       worker_runs > 0 AS \"workers ran\", worker_failures
FROM inv_stat"
expect "$(value "SELECT rejected_insufficient_stock FROM inv_stat")" $((buyers - 3 + 3)) \
    "requests refused for lack of stock: $((buyers - 3)) cameras, a cart, speakers, a camera"

# ---------------------------------------------------------------------------
heading "Other systems listen"

say "A mailer, a search index or a queue reads the ledger as a feed. It keeps the cursor of the \
last event it has dealt with, in a transaction of its own, and asks for what came after: it \
misses nothing and gets nothing twice, in whichever order transactions commit. Somebody takes \
all chargers, and puts them back."
cursor=$(value "SELECT inv_newest_event()")
told() {
    wait_until "SELECT count(*) > 0 FROM inv_events('$cursor')
        WHERE sku = 'CHARGER001' AND operation = '$1'" "the feed says $1"
}
shop "SELECT reservation_id, status, available
FROM inv_reserve('CHARGER001', 30, customer => 'collector')"
told out_of_stock
shop "SELECT status, replayed
FROM inv_cancel('$(value "SELECT reservation_id FROM inv_active_holds WHERE customer = 'collector'")')"
told back_in_stock
owner "SELECT cursor, operation, sku, reserved_after AS reserved
FROM inv_events('$cursor') WHERE sku = 'CHARGER001'"
expect "$(value "SELECT string_agg(operation, ', ' ORDER BY entry_id) FROM inv_events('$cursor')
    WHERE sku = 'CHARGER001'")" "reserve, out_of_stock, cancel, back_in_stock" "events"

# ---------------------------------------------------------------------------
heading "The books"

say "Every change of stock is in the ledger: when, what, by whom, and the counters after it. \
This is the story of the three cameras. The hold that died was cleared away by the buyer who \
needed the unit, and so by the storefront."
owner "SELECT at::time(0), operation,
       on_hand_after AS on_hand, delta_on_hand AS change,
       reserved_after AS reserved, delta_reserved AS change,
       caller_role
FROM inv_ledger JOIN inv_item USING (item_id)
WHERE sku = 'CAMERA001' ORDER BY entry_id"
expect "$(value "SELECT sum(delta_on_hand) || ' on hand, ' || sum(delta_reserved) || ' held'
    FROM inv_ledger JOIN inv_item USING (item_id) WHERE sku = 'CAMERA001'")" \
    "$(value "SELECT on_hand || ' on hand, ' || reserved || ' held' FROM inv_availability
        WHERE sku = 'CAMERA001'")" "cameras, by the ledger as by the counters"

expect "$(value "SELECT caller_role FROM inv_ledger
    WHERE operation = 'expire' AND reservation_id = '$dead'")" storefront \
    "role that cleared the dead hold away"

say "inv_check() compares counters, holds, orders, keys and ledger on one snapshot, and \
returns a row for whatever does not fit. This is what it found:"
footer=on owner "SELECT violation, sku, found, expected FROM inv_check()"
expect "$(value "SELECT count(*) FROM inv_check()")" 0 "violations"

say "Now a script of the shop's goes astray and writes to the table itself: five laptops are \
held by nobody. Reconciliation, which the worker does every few minutes, sees that. Asked to \
repair, it puts it right while buyers go on, and an entry in the ledger says so."
void=1 owner "UPDATE inv_stock SET reserved = 5 FROM inv_item
WHERE sku = 'LAPTOP001' AND inv_stock.item_id = inv_item.item_id"
owner "SELECT finding, sku, found, expected
FROM inv_reconcile(repair => true)"
owner "SELECT operation, replace(reason, '; ', E'\\n') AS reason
FROM inv_ledger JOIN inv_item USING (item_id)
WHERE sku = 'LAPTOP001' ORDER BY entry_id DESC LIMIT 1"
expect "$(value "SELECT available FROM inv_availability WHERE sku = 'LAPTOP001'")" 5 \
    "laptops available again"
expect "$(value "SELECT count(*) FROM inv_check()")" 0 "violations"

printf '\n%s%s%s %s checks passed in %s seconds. The server goes now, with everything in it.\n' \
    "$green" "$tick" "$plain" "$checks_passed" $((SECONDS - start))
printf 'Try it yourself: %smake cluster%s opens psql on another one. README.md has the rest.\n' \
    "$bold" "$plain"
