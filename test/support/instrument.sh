# shellcheck shell=bash disable=SC2034,SC2154
# Servers that are watched while they run the tests.
#
# For private_cluster.sh, which sources this file.  In each case the server is
# Debian's own program:
#
#   SANITIZE=1   our library is compiled with AddressSanitizer, with
#                UndefinedBehaviorSanitizer and with assertions.  Whatever one
#                of them objects to ends the backend by a signal.
#   VALGRIND=1   the server runs under valgrind's memcheck, which knows what
#                the whole process does, but nothing of palloc(): 30 times
#                slower.  Suppressed is what PostgreSQL itself does
#                (postgres.supp).
#
# What must never happen: a report that nobody sees, because the test that
# provoked it expected an error anyway.  So reports go to files of their own in
# $run_dir/reports, and any that is there is a failure: reported().  Undefined
# behaviour and assertions can only report to the server's log, where
# run_tests.sh looks for them.
#
# A library cannot be instrumented without the program knowing.  So "postgres"
# in the private installation is a script that starts the real one.  Only
# servers: initdb calls the same program some dozen times, without us in it.

build_suffix=
build_options=()
instrument_settings=()
if [[ ${SANITIZE:-} == 1 ]]; then
    build_suffix=-sanitized
    # No bitcode: clang would compile it, and does not know gcc's options.
    build_options=(SANITIZE=1 with_llvm=no)
elif [[ ${VALGRIND:-} == 1 ]]; then
    build_suffix=-valgrind
    # The loader of shared libraries reads past the end of LLVM's names.
    instrument_settings=(-c jit=off)
fi

# The command that stands in front of the server's, a word a line.
instrument_command() {
    if [[ ${SANITIZE:-} == 1 ]]; then
        # - abort: else the process would just exit, which looks like an error;
        # - leaks: a backend frees nothing at its end, and need not;
        # - a thousand backends must have room, each with what it freed last.
        printf '%s\n' env \
            LD_PRELOAD="$(gcc -print-file-name=libasan.so) $run_dir/begin_early.so" \
            ASAN_OPTIONS="abort_on_error=1:disable_coredump=1:detect_leaks=0:quarantine_size_mb=8:log_path=$run_dir/reports/sanitizer" \
            UBSAN_OPTIONS="abort_on_error=1:print_stacktrace=1"
    elif [[ ${VALGRIND:-} == 1 ]]; then
        printf '%s\n' valgrind --quiet --tool=memcheck --leak-check=no --error-exitcode=0 \
            --num-callers=30 --suppressions="$run_dir/postgres.supp" \
            --gen-suppressions=all --log-file="$run_dir/reports/valgrind.%p"
    fi
}

# AddressSanitizer begins with the first allocation.  In Debian's server that is
# one which libgpg-error makes while the C library's messages are locked, and
# which waits for ever as the sanitizer asks for a message.  So there is an
# earlier one.  (libFuzzer's server wants the same.)
begin_early() {
    gcc -O0 -shared -fPIC -Wl,-z,initfirst -x c -o "$run_dir/begin_early.so" - <<'C'
extern void *malloc(unsigned long size);
extern void free(void *memory);

static void __attribute__((constructor))
begin_early(void)
{
	free(malloc(1));
}
C
}

# Put it in front of the server in the directory $1.
instrument_server() {
    local bin=$1 command
    mapfile -t command < <(instrument_command)
    [[ ${#command[@]} -gt 0 ]] || return 0
    mkdir -m 1777 "$run_dir/reports"
    begin_early
    cp "$checkout/test/support/postgres.supp" "$run_dir/"
    mv "$bin/postgres" "$bin/postgres-uninstrumented"
    {
        echo '#!/bin/bash'
        # shellcheck disable=SC2016 # expanded by the script
        echo 'real=$(dirname "$0")/postgres-uninstrumented'
        # shellcheck disable=SC2016 # expanded by the script
        echo 'case ${1:-} in --boot | --check | --single | --describe-config | -[CV]* | --version) exec "$real" "$@" ;; esac'
        printf 'exec'
        printf ' %q' "${command[@]}"
        echo " \"\$real\" \"\$@\" ${instrument_settings[*]}"
    } >"$bin/postgres"
    chmod 755 "$bin/postgres"
}

# Show the reports there are; false if there are none.
reported() {
    local file found=1
    for file in "$run_dir"/reports/*; do
        [[ -s $file ]] || continue
        echo "--- ${file##*/}, also in ${build_dir#"$checkout/"}/log"
        head -n 60 "$file"
        found=0
    done
    return "$found"
}

keep_reports() {
    find "$run_dir/reports" -size +0 -exec cp {} "$1/" \; 2>/dev/null
}
