#!/usr/bin/env bash
# The benchmark: `make bench`, `make bench-full`; see README.md.
#
#   run.sh [quick|full] [option ...]
#
#   --rows A,B       only these rows of bench/plan, whatever their mode
#   --peers A,B      only these peers
#   --clients A,B    only with so many clients
#   --rounds N       how often each is run (5); bench/plan says less of some rows
#   --seconds N      length of a run (quick 4, full 3)
#   --threads N      threads of the clients (2)
#   --stripes N      stock rows of a striped SKU (64; beyond 64 clients 256)
#   --snapshot-seconds N   how long the old snapshot stays open (600)
#   --sweep-batch N  dead holds a call of inv_expire() takes (1000)
#   --history N      closed reservations present in row history (10000000)
#   --lock FILE      hold this lock during each timed run, for a machine where
#                    others measure too
#   --append         add to build/bench/results.tsv, do not begin it anew
#
# All that is measured goes to build/bench/results.tsv, a line a run, written
# as soon as it is known; report.pl makes everything else from that file.
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$bench/.." && pwd)

mode=quick
rows='' peers='' only_clients='' rounds=5 seconds='' threads=2 stripes=64
snapshot_seconds=600 sweep_batch=1000 history=10000000 lock='' append=no
while [[ $# -gt 0 ]]; do
    case $1 in
        quick | full) mode=$1 ;;
        --append) append=yes ;;
        --rows) rows=$2 && shift ;;
        --peers) peers=$2 && shift ;;
        --clients) only_clients=$2 && shift ;;
        --rounds) rounds=$2 && shift ;;
        --seconds) seconds=$2 && shift ;;
        --threads) threads=$2 && shift ;;
        --stripes) stripes=$2 && shift ;;
        --snapshot-seconds) snapshot_seconds=$2 && shift ;;
        --sweep-batch) sweep_batch=$2 && shift ;;
        --history) history=$2 && shift ;;
        --lock) lock=$2 && shift ;;
        *) sed -n '2,/^set /s/^#[ ]\{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
    esac
    shift
done
[[ -n $seconds ]] || { [[ $mode == quick ]] && seconds=4 || seconds=3; }

# shellcheck source=test/support/private_cluster.sh
source "$root/test/support/private_cluster.sh"
# shellcheck source=bench/lib_postgres.sh
source "$bench/lib_postgres.sh"
# shellcheck source=bench/lib_redis.sh
source "$bench/lib_redis.sh"
# shellcheck source=bench/lib_pgbouncer.sh
source "$bench/lib_pgbouncer.sh"
# shellcheck source=bench/rows.sh
source "$bench/rows.sh"

among() { [[ -z $2 || ,$2, == *,$1,* ]]; }

# Each line: row clients peer rounds
planned_runs() {
    local row its_mode most clients its_peers count peer
    while read -r row its_mode most clients its_peers; do
        [[ $row != \#* && -n $row ]] || continue
        [[ -n $rows || $its_mode == "$mode" || $mode == full ]] || continue
        among "$row" "$rows" || continue
        for count in ${clients//,/ }; do
            among "$count" "$only_clients" || continue
            for peer in $its_peers; do
                ! among "$peer" "$peers" || echo "$row $count $peer ${most/all/$rounds}"
            done
        done
    done <"$bench/plan"
}

start_servers() {
    "$bench/get_peers.sh"
    postgres_start
    cp -a "$root/build/bench/peers" "$run_dir/peers"
    chmod -R a+rX "$run_dir/peers"
    PATH=$run_dir/peers/usr/bin:$PATH
    LD_LIBRARY_PATH=$(echo "$run_dir"/peers/usr/lib/*-linux-gnu)
    export LD_LIBRARY_PATH
    redis_start redis_always always
    redis_start redis_everysec everysec
}

results=$root/build/bench/results.tsv
columns=(row peer clients round seconds ops_per_s p50_ms p95_ms p99_ms wal_per_op check)
record() {
    local IFS=$'\t'
    echo "$*" >>"$results"
    # stderr, so that a run's progress can be watched through a pipe.
    printf '%-22s %-15s %5s  round %s  %10.0f/s  p50 %8s  p95 %8s  p99 %8s ms  %6s WAL B  %s\n' \
        "$1" "$2" "$3" "$4" "$6" "$7" "$8" "$9" "${10}" "${11}" >&2
    [[ ${11} == ok ]] || bad_runs=$((bad_runs + 1))
}

mkdir -p "$root/build/bench"
mapfile -t runs < <(planned_runs)
[[ ${#runs[@]} -gt 0 ]] || fail "bench/plan has nothing of that kind"
start_servers
if [[ $append == no || ! -s $results ]]; then
    (IFS=$'\t' && echo "${columns[*]}") >"$results"
fi
perl "$bench/machine.pl" "$root" >"$root/build/bench/machine.txt"
[[ -z $lock ]] || exec 8>"$lock"

# In a shell of its own, so that a run which comes to grief ends alone, and
# what it had started ends with it.
attempt_row() (
    set -e
    # shellcheck disable=SC2046 # one word per job
    trap 'kill $(jobs -p) 2>/dev/null || true; bouncer_stop' EXIT
    bad_runs=0
    run_row
    [[ $bad_runs -eq 0 ]] || exit "$check_failed"
)

check_failed=99
bad_runs=0
for ((round = 1; round <= rounds; round++)); do
    for run in "${runs[@]}"; do
        read -r row clients peer most <<<"$run"
        [[ $round -le $most ]] || continue
        # Were this a condition, bash would not stop at errors in there.
        set +e
        attempt_row
        status=$?
        set -e
        if [[ $status -eq $check_failed ]]; then
            bad_runs=$((bad_runs + 1))
        elif [[ $status -ne 0 ]]; then
            record "$row" "$peer" "$clients" "$round" "$seconds" '' '' '' '' '' 'did not finish'
        fi
    done
done
[[ $bad_runs -eq 0 ]] || fail "$bad_runs runs failed their check, see $results"
