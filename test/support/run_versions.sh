#!/usr/bin/env bash
# Run all suites on several PostgreSQL versions at a time:
#
#   run_versions.sh MAJOR ...           make test VERSIONS="15 17 18"
#
# A version is tested on the Debian that ships it: here, if this is that Debian,
# and else in a chroot (version_chroot.sh).  One that cannot be tested counts as
# failed, lest its silence be taken for a pass.
#
# Shows what each version prints as it comes.  build/pgMAJOR/test.log keeps it;
# build/pgMAJOR/results has what the suites printed.  Ends with a table, a line
# for each thing that failed and, as the last line, "N passed, N failed".
set -euo pipefail

support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$support/../.." && pwd)

# What Debian ships here, whether it is installed or not.
native=$(apt-cache depends postgresql 2>/dev/null |
    sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1 || true)

declare -A version_of=() tails=()
end_versions() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    # They stop their servers before they end.
    [[ ${#version_of[@]} -eq 0 ]] || kill "${!version_of[@]}" 2>/dev/null
    wait
    exit "$status"
}
trap end_versions EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

log_of() {
    echo "$checkout/build/pg$1/test.log"
}

# What several of them would otherwise install at the same time.  Where it fails
# they say so themselves.
for major in "$@"; do
    if [[ $major == "$native" ]]; then
        PG_MAJOR=$major "$support/setup.sh" || true
    else
        "$support/setup.sh" debootstrap || true
    fi
done

for major in "$@"; do
    log=$(log_of "$major")
    mkdir -p "${log%/*}"
    # tail does not wait for it
    : >"$log"
    run=("$support/version_chroot.sh" "$major" make test)
    [[ $major != "$native" ]] || run=("$support/run_tests.sh")
    env -u VERSIONS PG_MAJOR="$major" setpriv --pdeathsig TERM bash "${run[@]}" >>"$log" 2>&1 &
    version_of[$!]=$major
    tail --pid=$! -n +1 -f "$log" | sed -u "s/^/$major | /" &
    tails[$major]=$!
done

passed_all=0 failed_all=0
table=() failures=()
while [[ ${#version_of[@]} -gt 0 ]]; do
    status=0
    wait -n -p pid "${!version_of[@]}" || status=$?
    major=${version_of[$pid]} seconds=$SECONDS passed=0 failed=0 remark=
    unset "version_of[$pid]"
    wait "${tails[$major]}" || true
    # A make may have had the last word.
    counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$(log_of "$major")" | tail -n 1)
    if [[ -n $counts ]]; then
        read -r passed failed <<<"$counts"
    else
        remark="  NOT TESTED"
    fi
    [[ $status -eq 0 && -n $counts || $failed -gt 0 ]] || failed=1
    mapfile -t -O "${#failures[@]}" failures < <(sed -n "s/^failed:/failed: $major/p" "$(log_of "$major")")
    passed_all=$((passed_all + passed))
    failed_all=$((failed_all + failed))
    table+=("$(printf '%-10s %7s %7s %8s%s' "$major" "$passed" "$failed" "$seconds" "$remark")")
done

echo
printf '%-10s %7s %7s %8s\n' PostgreSQL passed failed seconds
printf '%s\n' "${table[@]}" | sort
echo
[[ ${#failures[@]} -eq 0 ]] || printf '%s\n' "${failures[@]}"
echo "$passed_all passed, $failed_all failed"
[[ $failed_all -eq 0 ]]
