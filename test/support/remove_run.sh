#!/usr/bin/env bash
# Remove what private_cluster.sh made: remove_run.sh RUN_DIR [PID]
#
# Ends the processes of the run in RUN_DIR and deletes the directory.  With
# PID, waits for that process to be gone first.
set -u

# The processes of a run are those that execute a program in its directory and
# those that inherited its name.  (PostgreSQL overwrites its environment, so
# the second is not enough; the first misses perl and the like.)
end_processes() {
    local dir=$1 round pids pid
    for round in {1..50}; do
        mapfile -t pids < <({
            find /proc -mindepth 2 -maxdepth 2 -name exe -lname "$dir/*" -printf '%h\n'
            grep -lzxF "INVENTORY_RUN=$dir" /proc/[0-9]*/environ
        } 2>/dev/null | grep -o '[0-9]\+' | sort -u)
        [[ ${#pids[@]} -gt 0 ]] || return 0
        for pid in "${pids[@]}"; do
            # A server takes QUIT for "now", TERM for "when the last client
            # has gone".  Who still lives after four seconds is stuck.
            if [[ $round -gt 40 ]]; then
                kill -KILL "$pid"
            elif [[ $(readlink "/proc/$pid/exe") == */bin/postgres* ]]; then
                kill -QUIT "$pid"
            else
                kill -TERM "$pid"
            fi
        done 2>/dev/null
        sleep 0.1
    done
}

main() {
    local dir=$1 owner
    if [[ -n ${2:-} ]]; then
        tail --pid="$2" -f /dev/null
    fi
    [[ -d $dir ]] || return 0
    cd /
    end_processes "$dir"
    # Root's servers belong to another user, and in a container root need not
    # be allowed to look into the processes of others.
    owner=$(stat -c %U "$dir")
    if [[ $EUID -eq 0 && $owner != root ]]; then
        # shellcheck disable=SC2016 # $1 is for the inner shell
        setpriv --reuid="$owner" --regid="$owner" --init-groups \
            bash -c "$(declare -f end_processes)"'; end_processes "$1"' bash "$dir"
    fi
    rm -rf "$dir"
}

main "$@"
exit
