#!/usr/bin/env bash
# Does the simulator hunt?  Plants bugs and sees whether it finds them;
# `make simulate-mutants`.
#
#   mutants.sh [--seconds N] [--clients N] [--seed N] [MUTANT ...]
#
# A mutant is a patch in test/simulator/mutants: one bug, of the kind that
# somebody might make, named after what it breaks.  Its first lines say what
# goes wrong, and which check should see it.  Most of them keep counters, lines
# and ledger in agreement with one another, so inv_check() is silent, and it is
# the simulator's own books that must tell.
#
# What must never happen is that this proves nothing:
#
# - the code as it is goes first and must be clean, or a "found" means nothing;
# - a patch that no longer applies is an error, not a mutant left out;
# - a mutant must compile without a warning and pass a smoke test: it can
#   reserve and confirm.  What breaks at once needs no simulator;
# - the simulator must have said what it saw.  That it merely did not end well,
#   or that one of its processes died, is an error.
#
# Prints a table, which stays in build/mutants/results.tsv, the simulator's
# output beside it.  Exit status: 0 if all were found, 1 if one was not, 2 if
# something else went wrong.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$checkout/build/mutants
seconds=120
clients=12
seed=1
names=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds | --clients | --seed) printf -v "${1#--}" %s "$2" && shift 2 ;;
        --smoke) smoke=1 && shift ;;
        -*) echo "mutants.sh: unknown option $1" >&2 && exit 2 ;;
        *) names+=("$(basename "$1" .patch)") && shift ;;
    esac
done

# In the copy of a mutant: it builds, a hold can be made and sold, the books
# are right.
smoke_test() {
    # shellcheck source-path=SCRIPTDIR source=../support/private_cluster.sh
    source "$checkout/test/support/private_cluster.sh"
    cluster_start smoke fsync=off
    psql -XAtq -v ON_ERROR_STOP=1 <<'SQL'
CREATE EXTENSION inventory_reservation;
SELECT inv_add_item('A', unit_price => 2), inv_receive('A', 3);
SELECT reservation_id AS hold FROM inv_reserve('A', 2, key => 'smoke') \gset
SELECT order_id AS sale FROM inv_confirm(:'hold') \gset
DO $$
BEGIN
    ASSERT (SELECT (on_hand, reserved) = (1, 0) FROM inv_stock), 'sold';
    ASSERT (SELECT total = 4 FROM inv_order), 'total';
    ASSERT NOT EXISTS (SELECT FROM inv_check()), 'books';
END
$$;
SQL
}
if [[ -n ${smoke:-} ]]; then
    smoke_test
    exit
fi

trouble() {
    echo "mutants.sh: $*" >&2
    exit 2
}

# A copy of the source, with what an earlier copy has compiled: a mutant then
# compiles one file.
copy_source() {
    local from=$1 to=$2 entry
    mkdir -p "$to"
    for entry in "$from"/*; do
        [[ $entry == */build ]] || cp -a "$entry" "$to/"
    done
    for entry in "$from"/build/pg*/obj; do
        [[ -d $entry ]] || continue
        mkdir -p "$to/build/$(basename "$(dirname "$entry")")"
        cp -a "$entry" "$to/build/$(basename "$(dirname "$entry")")/"
    done
}

# Smoke-test the copy in $work/$1 and let the simulator loose on it.  Fills
# verdict, after (seconds), operations, and said: what the simulator said first.
hunt() {
    local name=$1 log=$out/$1.log status=0
    bash "$work/$name/test/simulator/mutants.sh" --smoke >"$out/$name.smoke" 2>&1 || {
        cat "$out/$name.smoke" >&2
        trouble "$name does not build, or cannot reserve and confirm: it proves nothing"
    }
    env SEED="$seed" SECONDS="$seconds" CLIENTS="$clients" \
        bash "$work/$name/test/simulator/simulate.sh" >"$log" 2>&1 || status=$?
    read -r operations after < <(sed -nE 's/^([0-9]+) operations in ([0-9]+) s .*/\1 \2/p' "$log") || true
    said=$(sed -n '/^VIOLATION: /,$ { s/^\* //p }' "$log" | head -n 1)
    if [[ $status -eq 0 && -z $said && -n $operations ]]; then
        verdict=no
    elif [[ $status -eq 1 && -n $said && $said != *' died: '* && -n $operations ]]; then
        verdict=yes
    else
        tail -n 30 "$log" >&2
        trouble "$name: the simulator ended with status $status, and without a verdict"
    fi
}

work=$(mktemp -d "${CLUSTER_TMPDIR:-/var/tmp}/mutants.XXXXXX")
# git must not take the copies for part of a repository around them.
export GIT_CEILING_DIRECTORIES=$work
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out"/*

# The checkout may change in an hour: from here on, only the copy counts.
copy_source "$checkout" "$work/control"
patches=$work/control/test/simulator/mutants
if [[ ${#names[@]} -eq 0 ]]; then
    for patch in "$patches"/*.patch; do
        names+=("$(basename "$patch" .patch)")
    done
fi
# First of all, so that nobody waits an hour for it.
for name in "${names[@]}"; do
    [[ -e $patches/$name.patch ]] || trouble "there is no mutant $name"
    git -C "$work/control" apply --check "$patches/$name.patch" ||
        trouble "$name no longer applies: make it anew"
done

show() {
    printf '%-38s %-5s %7s %10s  %.90s\n' "$@"
    printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$out/results.tsv"
}
show mutant found seconds operations 'what the simulator said'

hunt control
[[ $verdict == no ]] || trouble "the simulator finds a violation in the code as it is: see ${out#"$checkout/"}/control.log"
show '(none: the code as it is)' "$verdict" "$after" "$operations" -

missed=0
for name in "${names[@]}"; do
    copy_source "$work/control" "$work/$name"
    git -C "$work/$name" apply "$patches/$name.patch"
    hunt "$name"
    show "$name" "$verdict" "$after" "$operations" "${said:--}"
    [[ $verdict == yes ]] || missed=$((missed + 1))
    rm -rf "${work:?}/$name"
done
echo
echo "$((${#names[@]} - missed)) of ${#names[@]} found"
[[ $missed -eq 0 ]]
