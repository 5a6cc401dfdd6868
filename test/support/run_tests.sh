#!/usr/bin/env bash
# Run the test suites on private servers; `make test`.
#
#   run_tests.sh [SUITE ...]      builds regress isolation pgtap tap simulator
#                        examples (on PostgreSQL 15); not part of `make test`:
#                        analysis fuzz sanitized (ANALYZE=1 adds them)
#
#   TESTS="api errors"   only these tests of the suites named
#   ACCEPT=1             copy this run's output of regress and isolation into
#                        their expected/ directories (read the diff first)
#   JOBS=2               how many suites run at a time
#   SANITIZE=1           watch the servers (instrument.sh); so does VALGRIND=1
#
# Prints a table, a line "failed: ..." for each thing that failed and, as the
# last line, "N passed, N failed".  Leaves the output of each suite in
# build/pg15/results/SUITE and the servers' logs in build/pg15/log.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=private_cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/private_cluster.sh"

all_suites=(builds tap simulator regress isolation pgtap)
# Clients, to whom the server's version makes no difference.
[[ $PG_MAJOR != 15 ]] || all_suites+=(examples)
[[ ${ANALYZE:-} != 1 ]] || all_suites=(analysis "${all_suites[@]}" fuzz sanitized)
suites=("$@")
[[ $# -gt 0 ]] || suites=("${all_suites[@]}")
read -ra only <<<"${TESTS:-}"
jobs_max=${JOBS:-2}

#
# Helpers of the suites
#

# The tests of a suite, by name: those in directory $1 with suffix $2, reduced
# to those TESTS asks for.  TESTS may give names or paths.
list_tests() {
    local dir=$1 suffix=$2 file name wanted
    for file in "$checkout/$dir"/*"$suffix"; do
        name=$(basename "$file" "$suffix")
        # sql/ holds the extension's own scripts too.
        [[ -e $file && $name != *--* ]] || continue
        if [[ ${#only[@]} -gt 0 ]]; then
            for wanted in "${only[@]}"; do
                wanted=${wanted##*/}
                if [[ ${wanted%.*} == "$name" ]]; then
                    echo "$name"
                fi
            done
        else
            echo "$name"
        fi
    done
}

count() {
    echo "$1 $2" >"$results/$suite/count"
}

# A suite's own copy of the source, where the server's user can read it and
# write next to it.
copy_sources() {
    local entry
    mkdir "$run_dir/src-$suite"
    for entry in "$checkout"/*; do
        [[ $entry == */build ]] || cp -r "$entry" "$run_dir/src-$suite/"
    done
    own "$run_dir/src-$suite"
}

# Hand over to the server's user.
own() {
    [[ -z $server_user ]] || chown -R "$server_user:" "$@"
}

# Nothing here has to survive a power failure.
# Without autovacuum: which entries of the ledger are complete, and may be read
# or purged, depends on all transactions that run, also on its own.
start_test_server() {
    CLUSTER_DATABASE=$1 cluster_start "$suite" fsync=off full_page_writes=off autovacuum=off
}

# A backend that crashed and took a test's expectation along by luck is still
# a failure.
crashed() {
    grep -E 'terminated by signal|PANIC:|TRAP:|: runtime error: ' "$cluster_log"
}

# Name files of the run, which is gone afterwards, by what remains of them.
with_lasting_names() {
    sed -u -e "s|$run_dir/src-$suite/\./|$checkout/|g; s|$run_dir/src-$suite|$checkout|g" \
        -e "s|$run_dir/out-$suite|$build_dir/results/$suite|g"
}

# pg_regress and its sibling for isolation tests: $1 the program, $2 the
# directory with expected/, $3 the database, then the names of the tests.
run_pg_regress() {
    local program=$1 input=$2 database=$3 status=0 passed failed name
    shift 3
    local out=$run_dir/out-$suite
    mkdir -p "$out"
    own "$out"
    # Without a file to compare with, pg_regress stops there.  An empty one
    # makes the whole output a difference, which is what one wants to see.
    for name in "$@"; do
        as_server_user mkdir -p "$run_dir/src-$suite/$input/expected"
        as_server_user touch -a "$run_dir/src-$suite/$input/expected/$name.out"
    done
    # A step of an isolation test that hangs is given up after this many seconds.
    as_server_user env PGISOLATIONTIMEOUT=30 "$pgxs_dir/test/$program" \
        --inputdir="$run_dir/src-$suite/$input" --outputdir="$out" \
        --bindir="$private_bin" --dlpath="$private_lib" \
        --use-existing --dbname="$database" \
        --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" "$@" |
        with_lasting_names | tee "$results/$suite/summary" || status=$?
    cp -r "$out/." "$results/$suite/"

    # PostgreSQL 15 prints "test NAME ... ok", later ones "ok 1 - NAME".
    passed=$(grep -cE '^test .*\.\.\. ok|^ok [0-9]' "$results/$suite/summary" || true)
    failed=$(($# - passed))
    if crashed || [[ $status -ne 0 && $failed -le 0 ]]; then
        failed=$((failed > 0 ? failed : 1))
    fi
    if [[ -s $out/regression.diffs ]]; then
        with_lasting_names <"$out/regression.diffs" >"$results/$suite/regression.diffs"
        head -n 400 "$results/$suite/regression.diffs"
        echo "(all differences: ${build_dir#"$checkout/"}/results/$suite/regression.diffs)"
    fi
    if [[ ${ACCEPT:-} == 1 ]]; then
        mkdir -p "$checkout/$input/expected"
        for name in "$@"; do
            cp "$out/results/$name.out" "$checkout/$input/expected/"
        done
        echo "accepted as expected: $*"
    fi
    count "$passed" "$failed"
}

# prove and pg_prove: $1 a file with their output, $2 their exit status.
count_assertions() {
    local ran bad failed
    ran=$(sed -n 's/^Files=[0-9]*, Tests=\([0-9]*\),.*/\1/p' "$1")
    # The summary names each script with something to say about it.  One that
    # died, or did not run what it had planned, need not have a failed
    # assertion to show for it, and still counts as a failure.
    read -r bad failed < <(awk '
        function end_of_script() { failed += (broken && !bad) ? 1 : bad; bad_all += bad; bad = broken = 0 }
        /^[^ ].*\(Wstat: [0-9]+.* Tests: [0-9]+ Failed: [0-9]+\)$/ {
            end_of_script()
            match($0, /Wstat: [0-9]+/); broken = substr($0, RSTART + 7, RLENGTH - 7) > 0
            match($0, /Failed: [0-9]+/); bad = substr($0, RSTART + 8, RLENGTH - 8) + 0
        }
        /^  Parse errors:/ { broken = 1 }
        END { end_of_script(); print bad_all + 0, failed + 0 }' "$1")
    if [[ $2 -ne 0 && $failed -eq 0 ]]; then
        failed=1
    fi
    count "$((${ran:-0} - bad))" "$failed"
}

# The lines of a suite's output that name what failed: a test of pg_regress, an
# assertion of prove with the place it is at, a script that ended otherwise.
name_failures() {
    sed -nE \
        -e "s/^not ok (-|[0-9]+ +-?) *([^ ].*[^ ]) +[0-9]+ ms$/$1: \\2/p; t" \
        -e "s/^not ok (-|[0-9]+ +-?) */$1: /p" \
        -e "s/^test (.*[^ ]) +\.\.\. FAILED.*/$1: \\1/p" \
        -e "s/^# +Failed test '?(.*[^'.])'?\.?$/$1: \\1/p" \
        -e "s/^# +(at [^ ]+ line [0-9]+)\.$/$1:     \\1/p" \
        -e "s/^[^ ]*\/([^ ]+) +\((Wstat: [1-9].*)\)$/$1: \\1: \\2/p" \
        -e "s/^.*(TRAP:|PANIC:|runtime error:)/$1: \\1/p" "$2" | head -n 30
}

#
# The suites.  Each gets the names of its tests as arguments.
#

# Each is given the source, without anything that was built there, and begins
# in an empty directory.
suite_builds() {
    local name bad=0 source=$run_dir/src-builds
    copy_sources
    find "$source" -name '*.o' -delete -o -name '*.bc' -delete -o -name '*.so' -delete
    for name in "$@"; do
        mkdir "$run_dir/build-$name"
        if env -C "$run_dir/build-$name" -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u VPATH \
            PG_CONFIG="$PG_CONFIG" WERROR=1 bash -euo pipefail "$checkout/test/builds/$name.sh" "$source"; then
            echo "ok - $name"
        else
            echo "not ok - $name"
            bad=$((bad + 1))
        fi
        rm -rf "$run_dir/build-$name"
    done 2>&1
    count "$(($# - bad))" "$bad"
}

# Static analysis.  What must never happen: a tool that finds nothing because it
# looks at nothing, a header or an option being amiss.  So each is first shown a
# file with a mistake in it (planted/), and has to object to that, and then the
# sources of the same kind, of which it must have nothing to say.
suite_analysis() {
    local name bad=0 example said like sources
    cd "$checkout"
    # With assertions: what they say of the code helps the tools.
    C_OPTIONS="-std=gnu99 -Isrc -isystem $("$PG_CONFIG" --includedir-server)
        $("$PG_CONFIG" --cppflags | sed 's/-D_FORTIFY_SOURCE=.//') -DUSE_ASSERT_CHECKING
        -DINVENTORY_VERSION=$(sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" inventory_reservation.control)"
    export C_OPTIONS PGXS=$pgxs_dir RESULTS=$results/analysis
    for name in "$@"; do
        example=$(echo test/analysis/planted/"$name".*)
        case $example in
            *.c) like=(-path 'src/*.c') ;;
            *.sh) like=(-name '*.sh' -o -path .ci/run) ;;
            *.pl) like=(-name '*.p[lm]') ;;
        esac
        mapfile -t sources < <(find src test bench examples .ci \( -path '*/planted' -o -path '*/node_modules' \) -prune -o -type f \( "${like[@]}" \) -print | sort)
        if bash -euo pipefail "test/analysis/$name.sh" "$example" >"$RESULTS/$name.planted" 2>&1; then
            echo "not ok - $name does not see what is wrong with $example"
        elif ! said=$(bash -euo pipefail "test/analysis/$name.sh" "${sources[@]}" 2>&1); then
            echo "$said"
            echo "not ok - $name"
        else
            echo "ok - $name, ${#sources[@]} files"
            continue
        fi
        bad=$((bad + 1))
    done
    count "$(($# - bad))" "$bad"
}

suite_fuzz() {
    if bash "$checkout/test/fuzz/run.sh" "${FUZZ_SECONDS:-20}" 2>&1; then
        count 1 0
    else
        count 0 1
    fi
}

# Suites that are short, once more, on servers that are watched.
suite_sanitized() {
    # Not isolation: with sanitizers steps take longer, and so end in another
    # order than the expected one.  It can be had alone.
    SANITIZE=1 bash "$checkout/test/support/run_tests.sh" regress pgtap 2>&1 |
        tee "$results/$suite/summary" || true
    read -r passed failed < <(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$results/$suite/summary")
    count "$passed" "$failed"
}

suite_regress() {
    start_test_server contrib_regression
    copy_sources
    run_pg_regress regress/pg_regress . contrib_regression "$@"
    cluster_stop
}

suite_isolation() {
    start_test_server isolation_regression
    psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION inventory_reservation'
    copy_sources
    run_pg_regress isolation/pg_isolation_regress test/isolation isolation_regression "$@"
    cluster_stop
}

suite_pgtap() {
    local status=0
    start_test_server pgtap_regression
    psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pgtap'
    copy_sources
    as_server_user env -C "$run_dir/src-$suite" pg_prove --psql-bin "$private_bin/psql" --dbname "$PGDATABASE" \
        "${@/#/test/pgtap/}" 2>&1 | tee "$results/$suite/summary" || status=$?
    if crashed; then
        status=1
    fi
    count_assertions "$results/$suite/summary" "$status"
    cluster_stop
}

# These start servers of their own, by PostgreSQL::Test::Cluster.
suite_tap() {
    prove_scripts "${@/#/test/t/}"
}

suite_examples() {
    prove_scripts "${@/#/test/examples/}"
}

prove_scripts() {
    local status=0 dir=$run_dir/$suite file older
    copy_sources
    older=$(older_postgres | sort -V | tr '\n' ' ')
    mkdir -p "$dir/tmp_check/log" "$run_dir/t"
    own "$dir" "$run_dir/t"
    # TESTDIR is for PostgreSQL 15, the other two for later ones.  TMPDIR is
    # where sockets go, so its name is short.
    as_server_user env -C "$run_dir/src-$suite" -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGDATA \
        PG_REGRESS="$pgxs_dir/test/regress/pg_regress" PG_CONFIG="$PG_CONFIG" \
        TESTDIR="$dir" TESTDATADIR="$dir/tmp_check" TESTLOGDIR="$dir/tmp_check/log" \
        TMPDIR="$run_dir/t" PGCTLTIMEOUT=600 OLDER_POSTGRES="$older" \
        prove --jobs "$jobs_max" --timer -I "$pgxs_dir/test/perl" -I test/t "$@" 2>&1 |
        tee "$results/$suite/summary" || status=$?
    cp -r "$dir/tmp_check/log" "$results/$suite/"
    # Tests crash servers on purpose, but neither an assertion nor undefined
    # behaviour may have done it.
    if grep -hE 'TRAP:|: runtime error: ' "$dir"/tmp_check/log/*; then
        status=1
    fi
    count_assertions "$results/$suite/summary" "$status"

    # What a failed script logged last usually names the reason.
    sed -n 's|^[^ ]*/\([^ /]*\)\.pl *(Wstat.*|\1|p' "$results/$suite/summary" | while read -r file; do
        file=$results/$suite/log/regress_log_$file
        [[ -e $file ]] || continue
        echo "--- end of $(basename "$file") in ${build_dir#"$checkout/"}/results/$suite/log"
        tail -n 40 "$file"
    done
}

# Short runs: the options of each are in its file.
suite_simulator() {
    local name bad=0 options
    for name in "$@"; do
        read -ra options < <(grep -v '^#' "$checkout/test/simulator/short/$name.options")
        if env -u SEED -u SECONDS -u CLIENTS -u EPISODE \
            bash "$checkout/test/simulator/simulate.sh" "${options[@]}"; then
            echo "ok - $name"
        else
            echo "not ok - $name"
            bad=$((bad + 1))
        fi
        cp -r "$checkout/build/simulator" "$results/$suite/$name"
    done 2>&1
    count "$(($# - bad))" "$bad"
}

#
# Running them
#

declare -A directory=([builds]=test/builds [analysis]=test/analysis [fuzz]=test/fuzz [sanitized]=test/pgtap
    [regress]=sql [isolation]=test/isolation/specs [pgtap]=test/pgtap [tap]=test/t
    [simulator]=test/simulator/short [examples]=test/examples)
declare -A suffix=([builds]=.sh [analysis]=.sh [fuzz]=.sh [sanitized]=.sql [regress]=.sql [isolation]=.spec
    [pgtap]=.sql [tap]=.pl [simulator]=.options [examples]=.pl)

# In the background, or alone; its output goes to stdout.
run_suite() {
    suite=$1
    local start=$SECONDS tests=()
    mapfile -t tests < <(list_tests "${directory[$suite]}" "${suffix[$suite]}")
    case $suite in
        pgtap | tap | examples) tests=("${tests[@]/%/${suffix[$suite]}}") ;;
    esac
    "suite_$suite" "${tests[@]}"
    echo $((SECONDS - start)) >"$results/$suite/seconds"
}

passed_all=0 failed_all=0
table=() failures=()
finish_suite() {
    local name=$1 passed=0 failed=0 seconds="-"
    # Kept only now, so that several runs in one checkout do not mix.
    rm -rf "${build_dir:?}/results/$name"
    mkdir -p "$build_dir/results"
    cp -r "$results/$name" "$build_dir/results/"
    if [[ -e $results/$name/count ]]; then
        read -r passed failed <"$results/$name/count"
    fi
    # No count, no time, or no tests: the suite itself broke.
    if [[ -e $results/$name/seconds ]]; then
        read -r seconds <"$results/$name/seconds"
    elif [[ $failed -eq 0 ]]; then
        failed=1
    fi
    if [[ $((passed + failed)) -eq 0 ]]; then
        echo "$name: no test ran"
        failed=1
    fi
    if [[ $failed -gt 0 ]]; then
        mapfile -t -O "${#failures[@]}" failures < <(name_failures "$name" "$results/$name/output")
    fi
    passed_all=$((passed_all + passed))
    failed_all=$((failed_all + failed))
    table+=("$(printf '%-10s %7s %7s %8s' "$name" "$passed" "$failed" "$seconds")")
}

# The suites that have tests.  To ask for tests that do not exist is an error.
chosen=()
found=" "
for suite in "${suites[@]}"; do
    declare -F "suite_$suite" >/dev/null || fail "no such suite: $suite"
    names=$(list_tests "${directory[$suite]}" "${suffix[$suite]}" | tr '\n' ' ')
    found+=$names
    if [[ -n $names ]]; then
        chosen+=("$suite")
    elif [[ $# -gt 0 ]]; then
        fail "no tests${TESTS:+ called $TESTS} in ${directory[$suite]}"
    fi
done

for name in "${only[@]}"; do
    name=${name##*/}
    [[ $found == *" ${name%.*} "* ]] || fail "no test called $name"
done

# What only one suite needs is installed for that one.
[[ " ${chosen[*]} " != *" examples "* ]] || export SETUP_EXAMPLES=1
[[ " ${chosen[*]} " != *" analysis "* && " ${chosen[*]} " != *" fuzz "* ]] || export SETUP_ANALYSIS=1
private_postgres
pgxs_dir=$(dirname "$("$PG_CONFIG" --pgxs)")/..
pgxs_dir=$(cd "$pgxs_dir" && pwd)
results=$run_dir/results
mkdir "$results"
for suite in "${chosen[@]}"; do
    mkdir "$results/$suite"
done

if [[ ${#chosen[@]} -eq 1 ]]; then
    # Alone, one can watch it.  Still in a subshell, so that a suite that
    # breaks is counted.
    (run_suite "${chosen[0]}") | tee "$results/${chosen[0]}/output" &
    wait $! || true
    finish_suite "${chosen[0]}"
else
    declare -A suite_of=()
    finish_one() {
        local pid name
        wait -n -p pid "${!suite_of[@]}" || true
        name=${suite_of[$pid]}
        unset "suite_of[$pid]"
        failed_before=$failed_all
        finish_suite "$name"
        if [[ $failed_all -gt $failed_before ]]; then
            echo "=== $name failed; its output:"
            cat "$results/$name/output"
            echo "=== end of $name"
        fi
    }
    for suite in "${chosen[@]}"; do
        if [[ ${#suite_of[@]} -ge $jobs_max ]]; then
            finish_one
        fi
        echo "running: $suite"
        (run_suite "$suite") >"$results/$suite/output" 2>&1 &
        suite_of[$!]=$suite
    done
    while [[ ${#suite_of[@]} -gt 0 ]]; do
        finish_one
    done
fi

# What watched servers had to say is nobody's test, and still a failure.
if reported; then
    failed_all=$((failed_all + 1))
    table+=("$(printf '%-10s %7s %7s %8s' reports 0 1 -)")
fi

echo
printf '%-10s %7s %7s %8s\n' suite passed failed seconds
printf '%s\n' "${table[@]}"
echo
[[ ${#failures[@]} -eq 0 ]] || printf 'failed: %s\n' "${failures[@]}"
echo "$passed_all passed, $failed_all failed"
[[ $failed_all -eq 0 ]]
