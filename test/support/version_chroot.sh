#!/usr/bin/env bash
# Run a command in a copy of this checkout, on the Debian whose PostgreSQL is
# the one of a major version:
#
#   version_chroot.sh MAJOR [COMMAND [ARGUMENT ...]]      default: make test
#
# Makes a throw-away system of that Debian release by debootstrap, has setup.sh
# install there what the tests need, and runs the command in it as root, with
# PG_MAJOR=MAJOR.  What the tests leave comes back to build/pgMAJOR.  Needs
# root, or sudo, and may not be run where mounting is forbidden (as in most
# containers); exit status 69 says that the command did not run at all.
#
# Nothing is left behind, whatever happens.  The system's processes and mounts
# are in namespaces of their own, which end when this script does, and a
# watchdog removes its files where this script has been killed.
#
# A system is kept below CHROOT_CACHE (/var/cache/inventory_reservation; empty:
# nothing is kept) for the runs of a week.  They lay what they write over it.
set -euo pipefail

support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$support/../.." && pwd)
# Where the copy of the checkout is, in the chroot.
inside=/usr/src/inventory_reservation
# EX_UNAVAILABLE of sysexits.h
not_run=69

major=${1:?usage: version_chroot.sh MAJOR [COMMAND [ARGUMENT ...]]}
shift
# The Debian release that ships it, and those before, whose PostgreSQL is there as
# well: a database is upgraded from one to the next (test/t/073).
older=()
case $major in
    15) release=bookworm script=() ;;
    17) release=trixie script=() older=(15:bookworm) ;;
    # Debootstrap has a script for a release only once it has a name for it.
    18) release=forky script=('' /usr/share/debootstrap/scripts/sid) older=(15:bookworm 17:trixie) ;;
    *) echo "version_chroot.sh: no Debian release is known to have PostgreSQL $major" >&2
       exit "$not_run" ;;
esac

give_up() {
    echo "version_chroot.sh: PostgreSQL $major: $*" >&2
    exit "$not_run"
}

#
# In the namespaces: $chroot is the root directory of the system
#

# The settings of the machine that decide whether the network is reached.
passed_on=()
for name in http_proxy https_proxy no_proxy TERM TESTS JOBS; do
    [[ -z ${!name:-} ]] || passed_on+=("$name=${!name}")
done

in_chroot() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LANG=C.UTF-8 "${passed_on[@]}" PG_MAJOR="$major" chroot "$chroot" "$@"
}

mount_all() {
    mkdir -p "$chroot/proc" "$chroot/dev/pts" "$chroot/dev/shm"
    mount -t proc proc "$chroot/proc"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$chroot/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$chroot/dev/shm"
}

use_network_of_machine() {
    cp /etc/resolv.conf /etc/hosts "$chroot/etc/"
    hostname >"$chroot/etc/hostname"
    apt-config dump | grep -E '^Acquire::(Check-|https?::Proxy)' \
        >"$chroot/etc/apt/apt.conf.d/machine" || true
}

copy_checkout() {
    rm -rf "${chroot:?}$inside"
    mkdir -p "$chroot$inside"
    tar -C "$checkout" --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.bc' \
        --exclude='*.so' -c . | tar -C "$chroot$inside" --no-same-owner -x
}

# A system with all that setup.sh installs.  Its sole purpose is to run tests:
# no service starts in it, no documentation is kept.
make_system() {
    local log=$build_dir/chroot.log
    echo "making a system of Debian $release"
    debootstrap --variant=minbase --include=git,make "$release" "$chroot" "${script[@]}" \
        >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        give_up "debootstrap failed (build/pg$major/chroot.log)"
    }
    # Nothing here has to survive a power failure.
    echo force-unsafe-io >"$chroot/etc/dpkg/dpkg.cfg.d/unsafe-io"
    printf '%s\n' '#!/bin/sh' 'exit 101' >"$chroot/usr/sbin/policy-rc.d"
    chmod 755 "$chroot/usr/sbin/policy-rc.d"
    mount_all
    use_network_of_machine
    copy_checkout
    in_chroot "$inside/test/support/setup.sh" || give_up "packages could not be installed"
    install_older >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        give_up "older servers could not be installed (build/pg$major/chroot.log)"
    }
    in_chroot apt-get clean
    rm -rf "${chroot:?}$inside"
}

# Servers of several versions can be installed beside each other.  What the
# packages for compiling depend on is another compiler than the one there is, so
# only their files are taken.
install_older() {
    local pair packages=()
    [[ ${#older[@]} -gt 0 ]] || return 0
    for pair in "${older[@]}"; do
        sed "s/$release/${pair#*:}/" "$chroot/etc/apt/sources.list" \
            >"$chroot/etc/apt/sources.list.d/${pair#*:}.list"
        packages+=("postgresql-${pair%:*}")
    done
    mkdir -p "$chroot/etc/postgresql-common/createcluster.d"
    echo "create_main_cluster = false" >"$chroot/etc/postgresql-common/createcluster.d/none.conf"
    in_chroot apt-get -q update
    in_chroot env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install "${packages[@]}"
    in_chroot env -C /var/cache/apt apt-get -q download "${packages[@]/#postgresql-/postgresql-server-dev-}"
    in_chroot bash -ec 'for file in /var/cache/apt/*.deb; do dpkg -x "$file" /; rm "$file"; done'
}

# $1 is the run's directory, $2 the system's, which may be a kept one; then the
# command.
run_command() {
    local dir=$1 system=$2 status=0 name
    shift 2
    chroot=$system
    if [[ $system != "$dir"/* ]]; then
        chroot=$dir/root
        mkdir "$chroot" "$dir/written" "$dir/work"
        mount -t overlay overlay "$chroot" \
            -o "lowerdir=$system,upperdir=$dir/written,workdir=$dir/work" 2>/dev/null ||
            cp -a "$system/." "$chroot"
    fi
    # The server's user goes through these.
    chmod 755 "$dir" "$chroot"
    mount_all
    # Servers are not run on an overlay.
    mkdir -m 1777 "$dir/tmp"
    mount --bind "$dir/tmp" "$chroot/var/tmp"
    use_network_of_machine
    copy_checkout
    in_chroot env -C "$inside" "$@" </dev/null || status=$?
    for name in results log; do
        rm -rf "${build_dir:?}/$name"
        cp -r "$chroot$inside/build/pg$major/$name" "$build_dir/" 2>/dev/null || true
    done
    chown -R --reference="$checkout" "$checkout/build"
    return "$status"
}

#
# Outside
#

build_dir=$checkout/build/pg$major
mkdir -p "$build_dir"

case ${1:-} in
    --make) chroot=$2; mkdir "$chroot"; make_system; exit ;;
    --run) shift; run_command "$@"; exit ;;
esac

[[ $# -gt 0 ]] || set -- make test
cache=${CHROOT_CACHE-/var/cache/inventory_reservation}
if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || give_up "needs root, or sudo"
    exec sudo env "${passed_on[@]}" CHROOT_CACHE="$cache" bash "${BASH_SOURCE[0]}" "$major" "$@"
fi
"$support/setup.sh" debootstrap || give_up "debootstrap could not be installed"
unshare=(unshare --mount --pid --ipc --fork --kill-child)
"${unshare[@]}" true 2>/dev/null || give_up "this machine forbids namespaces of one's own"

dir=$(mktemp -d "${CLUSTER_TMPDIR:-/var/tmp}/inventory.XXXXXX")
setsid bash "$support/remove_run.sh" "$dir" $$ </dev/null >/dev/null 2>&1 &
watchdog=$!
disown
child=
end_chroot() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    # It waits for what it has started, unless it has no choice.
    [[ -z $child ]] || kill -KILL "$child" 2>/dev/null
    wait
    bash "$support/remove_run.sh" "$dir"
    kill -- "-$watchdog" 2>/dev/null
    exit "$status"
}
trap end_chroot EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# This script again, in namespaces.
in_namespaces() {
    local status=0
    "${unshare[@]}" bash "${BASH_SOURCE[0]}" "$major" "$@" &
    child=$!
    wait "$child" || status=$?
    child=
    return "$status"
}

# What a system is made by is part of its name, so what another setup.sh has
# made is not used, and goes after a week as well.  Who uses one has it locked.
kept=
if [[ -n $cache ]] && mkdir -p "$cache" 2>/dev/null; then
    made_by=$( (cat "$support/setup.sh"; declare -f make_system install_older) | sha256sum)
    kept=$cache/pg$major-${made_by:0:12}
    # shellcheck disable=SC2044 # no blanks in those names
    for old in $(find "$cache" -maxdepth 1 -name "pg$major-*" -mtime +7); do
        (flock --nonblock 8 && rm -rf --one-file-system "$old") 8<"$old" || true
    done
fi
system=$kept
if [[ -z $kept || ! -d $kept ]]; then
    system=$dir/system
    in_namespaces --make "$system" || exit
    if [[ -n $kept ]]; then
        # By a second step, for the first may be a copy.  Where somebody else has
        # just made one, either will do.
        mv -T "$system" "$kept.$$.new"
        mv -T "$kept.$$.new" "$kept" 2>/dev/null || rm -rf "$kept.$$.new"
        touch "$kept"
        system=$kept
    fi
fi
exec 8<"$system"
flock --shared 8
in_namespaces --run "$dir" "$system" "$@"
