#!/usr/bin/env bash
# Fuzzing: what parses input gets inputs that libFuzzer makes up (driver.c).
#
#   run.sh [SECONDS [TARGETS.c]]         make fuzz FUZZ_SECONDS=600
#
# What it begins with is in corpus/, a file an input: small, and
# only what is worth beginning with.  What is found on the way goes to
# build/pg15-fuzz/corpus, and is begun with the next time; an input that breaks
# something goes to build/pg15-fuzz/crash-*.
set -euo pipefail
export SETUP_ANALYSIS=1
# shellcheck source-path=SCRIPTDIR source=../support/private_cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/../support/private_cluster.sh"

seconds=${1:-30}
targets=${2:-$checkout/test/fuzz/targets.c}
private_postgres
kept=$checkout/build/pg$PG_MAJOR-fuzz
mkdir -p "$kept/corpus" "$run_dir/obj"

# The library once more, instead of the one that private_postgres has installed.
sanitizers=-fsanitize=fuzzer-no-link,address,undefined
C_OPTIONS="-std=gnu99 -g -O1 -fPIC -I$checkout/src -I$checkout/test/fuzz -I$("$PG_CONFIG" --includedir-server)
    $("$PG_CONFIG" --cppflags | sed 's/-D_FORTIFY_SOURCE=.//') -DUSE_ASSERT_CHECKING
    -DINVENTORY_VERSION=$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" "$checkout/inventory_reservation.control")
    $sanitizers -fno-sanitize-recover=all -shared-libasan -Wno-ignored-attributes"
export C_OPTIONS OBJECTS=$run_dir/obj
# shellcheck disable=SC2016 # expanded by the inner shell
find "$checkout/src" "$checkout/test/fuzz/driver.c" "$targets" -name '*.c' -print0 |
    xargs -0 --max-procs=2 --max-args=8 bash -c '
        for file; do
            clang $C_OPTIONS -c -o "$(mktemp -p "$OBJECTS" XXXXXX.o)" "$file" || exit 255
        done' compile
runtime=$(clang -print-runtime-dir)
clang -shared -Wl,-Bsymbolic -shared-libasan -fsanitize=address,undefined \
    -o "$private_lib/inventory_reservation.so" "$run_dir"/obj/*.o \
    "$runtime/libclang_rt.fuzzer_no_main-x86_64.a" -lstdc++ -lm

# One server, one session, one user; a statement a line.
as_server_user initdb --pgdata="$run_dir/fuzz" --username=postgres --auth=trust \
    --encoding=UTF8 --locale=C --no-sync --no-instructions >"$run_dir/log/initdb.log" 2>&1
begin_early
as_server_user mkdir "$run_dir/corpus"
cp "$checkout"/test/fuzz/corpus/* "$run_dir/corpus/"
find "$kept/corpus" -type f -exec cp -t "$run_dir/corpus" {} +
chmod -R a+rwX "$run_dir/corpus"
status=0
as_server_user env LD_PRELOAD="$runtime/libclang_rt.asan-x86_64.so $run_dir/begin_early.so" \
    ASAN_OPTIONS=abort_on_error=1:detect_leaks=0:quarantine_size_mb=8 UBSAN_OPTIONS=print_stacktrace=1 \
    postgres --single -D "$run_dir/fuzz" -c fsync=off -c max_wal_size=1GB \
    -c search_path=inv,public -c log_min_messages=fatal postgres >"$run_dir/log/fuzz.log" 2>&1 <<SQL || status=$?
CREATE SCHEMA inv
CREATE EXTENSION inventory_reservation SCHEMA inv
SELECT inv_add_item(sku, currency => 'EUR') FROM unnest('{A,B,C}'::text[]) AS sku
SELECT inv_receive(sku, 1000000) FROM unnest('{A,B,C}'::text[]) AS sku
SELECT inv_set_stripes('B', 4)
CREATE TABLE hold_of_a AS SELECT reservation_id AS id FROM inv_reserve('A', 5, customer => 'ann')
CREATE FUNCTION inv_fuzz(text) RETURNS void LANGUAGE c AS '\$libdir/inventory_reservation'
SELECT inv_fuzz('fuzz -max_total_time=$seconds -timeout=120 -max_len=2000 -rss_limit_mb=4000 -print_final_stats=1 -reload=0 -close_fd_mask=1 -artifact_prefix=$run_dir/ $run_dir/corpus')
SQL
if ! grep -E '^Done [1-9][0-9]* runs' "$run_dir/log/fuzz.log" || [[ $status -ne 0 ]]; then
    tail -n 60 "$run_dir/log/fuzz.log"
    find "$run_dir" -maxdepth 1 -name 'crash-*' -exec cp -vt "$kept" {} + -exec od -c {} \;
    exit 1
fi
grep -E '^stat::number_of_executed|cov: ' "$run_dir/log/fuzz.log" | tail -n 2
[[ $targets != "$checkout/test/fuzz/targets.c" ]] || cp "$run_dir"/corpus/* "$kept/corpus/"
