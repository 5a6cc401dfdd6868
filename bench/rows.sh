# shellcheck shell=bash disable=SC2034,SC2154 # variables shared with run.sh
# How each row of bench/plan is run.  run_row wants $row $clients $peer $round
# and calls record once or more.
#
# A run: shelves and tables as new, what the row needs put in, VACUUM, ANALYZE
# and CHECKPOINT, the load for $seconds, and a check that nothing was oversold.

ample=1000000000

run_row() {
    local sync=on
    [[ $row != *-async ]] || sync=off
    if [[ $peer == ours_striped && $has_stripes == no ]]; then
        [[ $round -gt 1 ]] || echo "$row $peer: left out, this version has no stripes" >&2
        return 0
    fi
    case $row/$peer in
        reserve-hot/redis_lock) run_redis_lock ;;
        reserve-uniform*/redis_*) run_redis 10000 1 ;;
        reserve-hot*/redis_* | pooled-hot/redis_*) run_redis 1 1 ;;
        batch-uniform/redis_*) run_redis 10000 100 ;;
        batch-hot/redis_*) run_redis 1 100 ;;
        reserve-uniform*/*) run_simple reserve all ;;
        reserve-hot*/*) run_simple reserve hot ;;
        pooled-hot/*) run_pooled ;;
        confirm-uniform*/* | cancel-uniform*/*) run_closing "${row%%-*}" all ;;
        confirm-hot/* | cancel-hot/*) run_closing "${row%%-*}" hot ;;
        batch-uniform/*) run_simple batch all 100 ;;
        batch-hot/*) run_simple batch hot 100 ;;
        sold-out-key/*) run_sold_out try_reserve ;;
        sold-out-no-key/*) run_sold_out try_reserve_no_key ;;
        primary-key/*) run_simple primary_key all ;;
        cart/*) run_simple cart all 10 ;;
        sweep/*) run_sweep ;;
        history/*) run_history ;;
        snapshot/*) run_snapshot ;;
        *) fail "bench/plan: no way to run $row by $peer" ;;
    esac
}

# SECONDS COMMAND ...: a client program, which is stopped when it takes minutes
# longer than it should.
in_time() {
    local length=$1
    shift
    timeout --foreground --kill-after=10 $((length + 120)) "$@"
}

# With --lock: nobody else measures meanwhile.
timed() {
    [[ -z $lock ]] || flock 8
    "$@"
    [[ -z $lock ]] || flock -u 8
}

# SKUS (all, hot), UNITS of each: as new, striped where the peer is.
prepare() {
    last_sku=$first_sku
    [[ $1 == hot ]] || last_sku=$((first_sku + 9999))
    use_peer "$peer" "$sync"
    postgres_reset "$2" "$1"
    if [[ $peer == ours_striped ]]; then
        sql -c "SELECT inv_set_stripes('$first_sku', $((clients > 64 ? 256 : stripes)))" >/dev/null
    fi
}

# LOAD SKUS [OPERATIONS]: a load that begins on full shelves; one transaction
# of it is OPERATIONS operations.
run_simple() {
    local load=$1 operations=${3:-1} holds
    if [[ $load == batch && -z $(sql -c "SELECT 1 FROM pg_proc WHERE proname = 'inv_reserve_batch'") ]]; then
        [[ $round -gt 1 ]] || echo "$row $peer: left out, this version has no batches" >&2
        return 0
    fi
    prepare "$2" "$ample"
    postgres_settle
    timed postgres_load "$load" "$clients" "$seconds"
    case $load in
        batch) holds=$((transactions * 100)) ;;
        primary_key) holds=0 ;;
        *) holds=$transactions ;;
    esac
    record_postgres "$operations" "$(postgres_check "$holds")"
}

# OPERATIONS CHECK: one operation is the unit of rate and of WAL; times are
# those of the call.
record_postgres() {
    local rate wal
    rate=$(awk -v n="$1" -v tps="$ops_per_s" 'BEGIN { printf "%.1f", tps * n }')
    wal=$(awk -v n="$1" -v wal="$wal_per_op" 'BEGIN { printf "%.0f", wal / n }')
    record "$row" "$peer" "$clients" "$round" "$seconds" "$rate" "$p50" "$p95" "$p99" "$wal" "$2"
}

# SKUS (1, 10000) DEPTH
run_redis() {
    timed redis_reserve "$peer" "$clients" "$seconds" "$ample" "$1" "$2"
    record "$row" "$peer" "$clients" "$round" "$seconds" "$ops_per_s" "$p50" "$p95" "$p99" 0 "$check"
}

# A lock in Redis around SQL needs a client that talks to both.
run_redis_lock() {
    local wal client=$run_dir/redis_lock
    if [[ ! -x $client ]]; then
        gcc -O2 -Wall -I"$("$PG_CONFIG" --includedir)" -o "$client" \
            "$bench/peers/redis_lock.c" -pthread -lpq
    fi
    prepare hot "$ample"
    postgres_settle
    wal=$(wal_position)
    timed in_time "$seconds" "$client" "$run_dir/redis_everysec/socket" '' "$clients" "$seconds" \
        "$first_sku" "$last_sku" >"$run_dir/redis_lock.log"
    wal=$(($(wal_position) - wal))
    read -r transactions elapsed <"$run_dir/redis_lock.log"
    ops_per_s=$(awk -v n="$transactions" -v t="$elapsed" 'BEGIN { printf "%.1f", n / t }')
    wal_per_op=$((wal / (transactions ? transactions : 1)))
    read -r _ p50 p95 p99 < <(perl "$bench/percentiles.pl" "$run_dir/redis_lock.log")
    record_postgres 1 "$(postgres_check "$transactions")"
}

# A thousand clients share a few servers.  pgbouncer 1.18 knows no prepared
# statements, so these are sent with each call.
run_pooled() {
    local check
    prepare hot "$ample"
    postgres_settle
    bouncer_start "${pool:-32}" "SET search_path = ${peer/ours*/shop}; SET synchronous_commit = $sync"
    # shellcheck disable=SC2317 # called by timed
    pooled_load() {
        local -x PGHOST=$bouncer_socket PGOPTIONS=''
        local protocol=extended
        postgres_load reserve "$clients" "$seconds"
    }
    timed pooled_load
    bouncer_stop
    check=$(postgres_check "$transactions")
    record_postgres 1 "$check"
}

# LOAD SKUS: confirms or cancels holds that are there; twice as many are made as
# the fastest peer closes, for each client has a share of its own, and some
# clients are faster than others.
run_closing() {
    local load=$1 skus=10000 a_second=40000
    [[ $sync == on ]] || a_second=75000
    [[ $2 == all ]] || skus=1
    prepare "$2" "$ample"
    postgres_fill $((seconds * a_second)) "$(date -d '+1 day' +%F)" "$skus"
    postgres_settle
    timed postgres_load "$load" "$clients" "$seconds"
    record_postgres 1 "$(postgres_check 0)"
}

# LOAD: every unit of the hot SKU is under a live hold.
run_sold_out() {
    prepare hot "$ample"
    postgres_fill 10000 "$(date -d '+1 day' +%F)" 1
    sql -f "$bench/sell_out.sql"
    postgres_settle
    timed postgres_load "$1" "$clients" "$seconds"
    record_postgres 1 "$(postgres_check 10000)"
}

# Buyers who come at a fixed pace, in the background, until buyers_stop.
# SINCE UNTIL: sets p50, p95, p99 and transactions of those who came between two
# moments (seconds since 1970): not while connections open and caches fill.
buyers_start() {
    rm -f "$run_dir"/pgbench_log.*
    (cd "$run_dir" && exec pgbench -n -M prepared -c 16 -j "$threads" -T 600 -R "$1" -l \
        -f "$bench/loads/reserve.sql" -D first_sku="$first_sku" -D last_sku="$last_sku" \
        >/dev/null 2>&1) &
    buyers=$!
    sleep 3
}

buyers_stop() {
    local since=$1 until=$2
    # A background process of a script does not hear SIGINT.
    kill -TERM "$buyers" 2>/dev/null || true
    wait "$buyers" 2>/dev/null || true
    awk -v since="$since" -v until="$until" '{ at = $5 + $6 / 1000000 }
        at >= since && at <= until' "$run_dir"/pgbench_log.* >"$run_dir/between"
    transactions=$(wc -l <"$run_dir/between")
    read -r _ p50 p95 p99 < <(perl "$bench/percentiles.pl" "$run_dir/between")
    rm -f "$run_dir"/pgbench_log.* "$run_dir/between"
}

now() { date +%s.%N; }

# A million dead holds are swept by $clients sweepers while buyers reserve at
# a fixed pace, which leaves room: a saturated machine would only show how the
# system shares it out.  Row sweep-idle is the same pace without the sweepers.
run_sweep() {
    local batch=$sweep_batch pace=2000 dead=1000000 idle=10
    local swept start end elapsed sweepers=$clients i buyers wal check
    local pids=()
    prepare all "$ample"
    postgres_settle
    [[ -z $lock ]] || flock 8
    buyers_start "$pace"
    wal=$(wal_position)
    start=$(now)
    sleep "$idle"
    end=$(now)
    wal=$(($(wal_position) - wal))
    buyers_stop "$start" "$end"
    [[ -z $lock ]] || flock -u 8
    record sweep-idle "$peer" "$sweepers" "$round" "$idle" "$((transactions / idle))" \
        "$p50" "$p95" "$p99" "$((wal / (transactions ? transactions : 1)))" \
        "$(postgres_check "$transactions")"

    prepare all "$ample"
    postgres_fill "$dead" "$(date -d '-1 day' +%F)" 10000
    postgres_settle
    # psql has no loop, but as many turns as could be needed are short.
    for ((i = 0; i < dead / batch + 20; i++)); do
        echo "SELECT inv_expire($batch) AS swept \\gset"
        printf '%s\n' '\echo :swept'
        echo 'SELECT :swept = 0 AS done \gset'
        printf '%s\n' '\if :done' '\q' '\endif'
    done >"$run_dir/sweep.sql"

    [[ -z $lock ]] || flock 8
    buyers_start "$pace"
    wal=$(wal_position)
    start=$(now)
    for ((i = 0; i < sweepers; i++)); do
        sql -f "$run_dir/sweep.sql" >"$run_dir/swept.$i" &
        pids+=($!)
    done
    wait "${pids[@]}"
    end=$(now)
    wal=$(($(wal_position) - wal))
    buyers_stop "$start" "$end"
    [[ -z $lock ]] || flock -u 8
    elapsed=$(awk -v start="$start" -v end="$end" 'BEGIN { print end - start }')
    swept=$(cat "$run_dir"/swept.* | awk '{ sum += $1 } END { print sum + 0 }')
    rm -f "$run_dir"/swept.*
    check=$(postgres_check "$transactions")
    [[ $swept -eq $dead ]] || check="$swept of $dead dead holds swept"
    record sweep "$peer" "$sweepers" "$round" "$elapsed" \
        "$(awk -v n="$swept" -v t="$elapsed" 'BEGIN { printf "%.0f", n / t }')" \
        "$p50" "$p95" "$p99" "$((wal / (swept ? swept : 1)))" "$check"
}

# One SKU is sold for minutes beside a transaction that keeps its old
# snapshot, and as long without one.  Rows ...-end are the last tenth alone.
run_snapshot() {
    local kind length=$snapshot_seconds holder
    for kind in none open; do
        prepare hot "$ample"
        postgres_settle
        if [[ $kind == open ]]; then
            coproc snapshot { psql -XqAt; }
            holder=$snapshot_PID
            echo 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM inv_stock;' >&"${snapshot[1]}"
            read -r _ <&"${snapshot[0]}"
        fi
        timed postgres_load reserve "$clients" "$length" -P 1 --sampling-rate=0.1
        if [[ $kind == open ]]; then
            kill "$holder" 2>/dev/null || true
            wait "$holder" 2>/dev/null || true
        fi
        local check
        check=$(postgres_check "$transactions" quick)
        seconds=$length row=snapshot-$kind record_postgres 1 "$check"
        ops_per_s=$(awk -v skip=$((length - length / 10)) '
            /^progress:/ && $2 > skip { sum += $4; n++ }
            END { printf "%.1f", n ? sum / n : 0 }' <<<"$load_output")
        # Times and log were not taken apart.
        record "snapshot-$kind-end" "$peer" "$clients" "$round" "$((length / 10))" \
            "$ops_per_s" '' '' '' '' "$check"
    done
}

# A shop that has sold for years, in a database of its own so that full and
# empty take turns.
run_history() {
    local check
    if [[ $peer == ours_10m ]]; then
        [[ -e $run_dir/history_made ]] || make_history
        local -x PGDATABASE=history
        use_peer "$peer" "$sync"
        last_sku=$((first_sku + 9999))
        sql -c CHECKPOINT
    else
        prepare all "$ample"
        postgres_settle
    fi
    timed postgres_load reserve "$clients" "$seconds"
    check=$(postgres_check "$transactions" quick)
    record_postgres 1 "$check"
}

make_history() {
    sql -d postgres -c 'DROP DATABASE IF EXISTS history' \
        -c 'CREATE DATABASE history TEMPLATE template0' 2>/dev/null
    local peer=ours
    local -x PGDATABASE=history PGOPTIONS='-c search_path=shop -c client_min_messages=warning'
    sql <<SQL >/dev/null
CREATE SCHEMA shop;
CREATE EXTENSION inventory_reservation SCHEMA shop;
SELECT count(*) FROM inv_load_stock(
    (SELECT array_agg(sku::text) FROM generate_series($first_sku, $first_sku + 9999) AS sku),
    (SELECT array_agg(1) FROM generate_series(1, 10000)));
SQL
    postgres_reset "$ample" all
    sql -v closed="$history" -f "$bench/history.sql"
    postgres_settle
    touch "$run_dir/history_made"
}
