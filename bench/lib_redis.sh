# shellcheck shell=bash disable=SC2034,SC2154 # variables shared with run.sh
# Private Redis servers: a Unix socket in $run_dir, no port, no service.
# Source after test/support/private_cluster.sh.
#
#   redis_start NAME APPENDFSYNC   server NAME; gone when the script ends
#   redis NAME COMMAND ...         redis-cli on it
#   redis_reset NAME UNITS         empty it, stock every SKU
#   redis_reserve NAME CLIENTS SECONDS UNITS SKUS DEPTH
#       Holds of one of SKUs SKUs (10,000 or 1), DEPTH requests in flight a
#       client.
#       Sets ops_per_s, p50, p95, p99 (ms) and check.

redis_start() {
    local name=$1 appendfsync=$2 dir=$run_dir/$1
    as_server_user mkdir "$dir"
    # No snapshots: the append-only file is the durable copy, and it is not
    # rewritten in the middle of a run.
    as_server_user "$run_dir/peers/usr/bin/redis-server" --port 0 \
        --unixsocket "$dir/socket" --dir "$dir" --daemonize yes \
        --pidfile "$dir/pid" --logfile "$dir/log" \
        --maxclients 2000 --save '' --appendonly yes \
        --appendfsync "$appendfsync" --auto-aof-rewrite-percentage 0 >/dev/null
    at_exit "kill \$(cat $dir/pid)"
    local try
    for try in {1..100}; do
        [[ $(redis "$name" PING 2>/dev/null) != PONG ]] || return 0
        sleep 0.1
    done
    fail "redis does not start (${try} tries)"
}

redis() {
    local name=$1
    shift
    redis-cli -s "$run_dir/$name/socket" "$@"
}

redis_reset() {
    local name=$1 units=$2
    redis "$name" FLUSHALL SYNC >/dev/null
    # A pipeline of its own for each, so that no reply is left unread.
    awk -v units="$units" 'BEGIN {
        for (n = 0; n < 10000; n++) printf "SET stock:%012d %d\r\n", n, units }' |
        redis "$name" --pipe >/dev/null
    redis_script=$(redis "$name" -x SCRIPT LOAD <"$bench/peers/reserve.lua")
}

# redis-benchmark counts requests, not seconds, so a short run first says how
# many are needed.  Keys are made of its random numbers: 0..9999 each, which
# is right for 10,000 SKUs, and three of them make a key that is used once.
redis_reserve() {
    local name=$1 clients=$2 seconds=$3 units=$4 skus=$5 depth=$6
    local stock=stock:__rand_int__
    local key=__rand_int____rand_int____rand_int____rand_int__
    local line requests rate
    [[ $skus -gt 1 ]] || stock=stock:000000000000

    redis_run() {
        in_time "$seconds" redis-benchmark -s "$run_dir/$name/socket" -c "$clients" -n "$1" -P "$depth" \
            -r 10000 --threads "$threads" --csv \
            EVALSHA "$redis_script" 4 "$stock" "key:$key" "hold:$key" expiry \
            1 __rand_int__ "$key" 300000 2>"$run_dir/redis-benchmark.err" | tail -n 1
    }
    redis_reset "$name" "$units"
    line=$(redis_run $((20000 + clients * depth * 20)))
    rate=$(cut -d, -f2 <<<"${line//\"/}")
    requests=$(awk -v rate="$rate" -v seconds="$seconds" 'BEGIN { printf "%.0f", rate * seconds }')
    redis_reset "$name" "$units"
    line=$(redis_run "$requests")
    # "test","rps","avg","min","p50","p95","p99","max"
    IFS=, read -r _ ops_per_s _ _ p50 p95 p99 _ <<<"${line//\"/}"
    check=$(redis_check "$name" "$units" "$skus" "$requests")
}

# Units gone from the shelves = holds in the expiry set = holds with a record.
redis_check() {
    local name=$1 units=$2 skus=$3 requests=$4 left held
    left=$(awk 'BEGIN { for (n = 0; n < 10000; n++) printf "GET stock:%012d\n", n }' |
        redis "$name" | awk '$1 < 0 { bad = 1 } { sum += $1 } END { printf "%.0f", bad ? -1 : sum }')
    held=$(redis "$name" ZCARD expiry)
    if [[ $left -lt 0 ]]; then
        echo oversold
    elif [[ $((left + held)) -ne $((units * 10000)) ]]; then
        echo "units and holds differ: $left left, $held held"
    elif [[ $held -lt $requests ]]; then
        echo "only $held holds of $requests requests"
    else
        echo ok
    fi
}
