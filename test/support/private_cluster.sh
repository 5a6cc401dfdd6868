# shellcheck shell=bash
# Private PostgreSQL servers that run this checkout's extension.
#
# Source this file into a bash script that uses `set -euo pipefail`:
#
#   source "$root/test/support/private_cluster.sh"
#   cluster_start demo work_mem=16MB
#   psql -Xc 'CREATE EXTENSION inventory_reservation'
#
# Functions
#
#   cluster_start NAME [SETTING=VALUE ...]
#       A new server, running when the function returns.  It has pg_cron
#       preloaded, and one empty database, called NAME or what
#       CLUSTER_DATABASE says, which is also pg_cron's database.
#       Exports PGHOST PGPORT PGUSER PGDATABASE PGDATA for every client
#       program; cluster_log is the path of the server's log, which goes to
#       build/pg15/log when the script ends.
#       Each cluster_start adds a server and makes it the current one.
#   cluster_stop [MODE]        MODE as for pg_ctl: fast (default), immediate
#   cluster_restart [MODE]     immediate: crash, then recovery.  Both act on
#       the current server.
#   as_server_user COMMAND [ARGUMENT ...]
#       Run COMMAND as the user the server runs as, in $run_dir.
#   private_postgres
#       Everything short of a server: packages installed, extension built,
#       private installation made.  cluster_start does it when needed.
#   at_exit COMMAND
#       Run COMMAND when the script ends, before the servers go.  Use this in
#       place of `trap ... EXIT`, and leave TERM and HUP alone: bash puts off
#       a trap on those until the command it waits for is done, but runs
#       EXIT's at once.
#
# Variables
#
#   checkout      top directory of the source
#   run_dir       scratch directory of this run, open to the server's user;
#                 gone when the script ends, with all servers in it
#   build_dir     build/pg15
#   PATH          begins with the private installation's programs
#   PG_MAJOR, PG_CONFIG   choose the PostgreSQL (15, Debian's)
#   CLUSTER_TMPDIR        where run_dir is made (/var/tmp).  Its path must be
#                 short, for sockets, and the file system must allow programs
#   SANITIZE=1, VALGRIND=1   watch the servers; see instrument.sh
#
# What is private about it
#
#   The server is a copy of PostgreSQL's programs.  They find libraries and
#   extensions relative to themselves, so the extension is installed next to
#   the copy and neither the system's directories nor its servers ever see
#   it.  Clients connect through a socket in a directory that only the
#   server's user and root may enter, and there is no TCP port, so several
#   checkouts can run side by side and nobody else gets in.
#
#   PostgreSQL refuses to run as root.  For root, the server's user is
#   `postgres`, which may not be able to read the checkout (/root is closed).
#   That is why run_dir is elsewhere, for everyone.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PG_MAJOR=${PG_MAJOR:-15}
PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/$PG_MAJOR/bin/pg_config}
build_dir=$checkout/build/pg$PG_MAJOR
# shellcheck source-path=SCRIPTDIR source=instrument.sh
source "$checkout/test/support/instrument.sh"
build_dir+=$build_suffix
run_dir=
cluster_log=
server_user=
[[ $EUID -ne 0 ]] || server_user=postgres
umask 022

# Nothing of the user's own database settings may leak in, nor a language.
unset_client_settings() {
    local name
    for name in $(compgen -e PG); do
        [[ $name == PG_* ]] || unset "$name"
    done
    export LC_ALL=C.UTF-8
    unset LANG LANGUAGE
    # A script must not stop and wait for a key.
    export PSQL_PAGER=
}
unset_client_settings

fail() {
    echo "error: $*" >&2
    exit 1
}

as_server_user() (
    cd "${run_dir:-/}" || exit
    if [[ -n $server_user ]]; then
        exec setpriv --reuid="$server_user" --regid="$server_user" --init-groups \
            env HOME="$run_dir" USER="$server_user" LOGNAME="$server_user" "$@"
    else
        exec env HOME="$run_dir" "$@"
    fi
)

#
# The private installation
#

build_extension() {
    local log=$build_dir/build.log
    if ! mkdir -p "$build_dir/obj" ||
        [[ -n $(find "$checkout/build" ! -writable -print -quit 2>/dev/null) ]]; then
        fail "build/ holds files of another user; remove it (sudo rm -rf build)"
    fi
    # Only what concerns the build: not -j, -n or -k of a make that called us.
    # Built outside the source directory, so that a `make` there, perhaps for
    # another PostgreSQL, and this one do not mix.  The lock is for two runs
    # in the same checkout.
    if ! (
        flock 9
        unset MAKEFLAGS MFLAGS MAKELEVEL VPATH
        make -C "$build_dir/obj" -f "$checkout/Makefile" -j "$(nproc)" -s --no-print-directory \
            VPATH="$checkout" PG_CONFIG="$PG_CONFIG" WERROR=1 "${build_options[@]}" \
            DESTDIR="$1" "${@:2}" install
    ) 9>"$build_dir/lock" >"$log" 2>&1; then
        cat "$log" >&2
        fail "the extension does not build"
    fi
}

# Copy the PostgreSQL of PG_CONFIG to below $run_dir/postgresql, and build the
# extension into that.  Arguments are for make.
install_private() {
    local private=$run_dir/postgresql system_bin system_lib system_share
    system_bin=$("$PG_CONFIG" --bindir)
    system_lib=$("$PG_CONFIG" --pkglibdir)
    system_share=$("$PG_CONFIG" --sharedir)
    mkdir -p "$private$system_bin" "$private$system_lib" "$private$system_share"
    # The programs must be copies: they resolve a symbolic link before they
    # look around.  The rest can be links, but the directories must be real
    # ones, lest installing there write through into the system's.
    cp -p "$system_bin"/* "$private$system_bin/"
    cp -asT "$system_lib" "$private$system_lib"
    cp -asT "$system_share" "$private$system_share"
    # Nothing of a version that happens to be installed in the system.
    (cd "$private" && find ".$system_lib" ".$system_share" -path '*/inventory_reservation*' -delete)
    build_extension "$private" "$@"
}

# Where the programs of older PostgreSQL versions are that are installed beside
# this one (version_chroot.sh sees to that), each with the extension.
older_postgres() {
    local config major
    for config in /usr/lib/postgresql/*/bin/pg_config; do
        major=${config%/bin/pg_config} major=${major##*/}
        [[ $major -lt $PG_MAJOR && -e $("$config" --pgxs) ]] || continue
        # The compiler is of another age: there is none for bitcode, and C23 is
        # what its headers are not written in.
        (PG_CONFIG=$config build_dir=$checkout/build/pg$major install_private \
            with_llvm=no COPT=-std=gnu17) || return
        echo "$run_dir/postgresql${config%/pg_config}"
    done
}

private_postgres() {
    [[ -z $run_dir ]] || return 0
    "$checkout/test/support/setup.sh"

    run_dir=$(mktemp -d "${CLUSTER_TMPDIR:-/var/tmp}/inventory.XXXXXX")
    # Inherited by every process of this run; see remove_run.sh.
    export INVENTORY_RUN=$run_dir
    start_watchdog

    mkdir -p "$run_dir/log"
    install_private

    raise_open_files
    private_bin=$run_dir/postgresql$("$PG_CONFIG" --bindir)
    instrument_server "$private_bin"
    # shellcheck disable=SC2034 # for scripts that hand it to pg_regress
    private_lib=$run_dir/postgresql$("$PG_CONFIG" --pkglibdir)
    PATH=$private_bin:$PATH
    if [[ -n $server_user ]]; then
        chown "$server_user:" "$run_dir"
    fi
    as_server_user "$private_bin/postgres" --version >/dev/null ||
        fail "cannot run programs in $run_dir; choose another place with CLUSTER_TMPDIR=/path"
}

#
# Servers
#

cluster_start() {
    local name=$1 setting
    shift
    private_postgres

    local dir=$run_dir/$name
    cluster_log=$run_dir/log/$name.log
    as_server_user mkdir "$dir"
    export PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATA=$dir/data
    export PGDATABASE=${CLUSTER_DATABASE:-$name}

    # Everybody who can reach the socket is trusted; see the top of the file.
    as_server_user initdb --pgdata="$PGDATA" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C --no-sync --no-instructions >>"$cluster_log" 2>&1 ||
        cluster_failed "initdb failed"

    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$PGHOST'"
        # The default allows a thousand clients, for load tests.
        echo "max_connections = 1100"
        echo "max_prepared_transactions = 20"
        echo "wal_level = logical"
        echo "log_line_prefix = '%m [%p] %q%a '"
        echo "shared_preload_libraries = 'pg_cron'"
        echo "cron.database_name = '$PGDATABASE'"
        # Jobs run in background workers: those need no way to log in.
        echo "cron.use_background_workers = on"
        echo "max_worker_processes = 32"
        for setting in "$@"; do
            [[ $setting == ?*=* ]] || fail "cluster_start: not SETTING=VALUE: $setting"
            echo "${setting%%=*} = '${setting#*=}'"
        done
    } | as_server_user tee -a "$PGDATA/postgresql.conf" >/dev/null

    cluster_launch
    # As pg_regress would create it, for the same results as `make installcheck`.
    psql -Xq -v ON_ERROR_STOP=1 -d postgres -v db="$PGDATABASE" <<'SQL'
SELECT format('CREATE DATABASE %I TEMPLATE template0', :'db') WHERE :'db' <> 'postgres' \gexec
ALTER DATABASE :"db" SET lc_messages TO 'C';
ALTER DATABASE :"db" SET lc_monetary TO 'C';
ALTER DATABASE :"db" SET lc_numeric TO 'C';
ALTER DATABASE :"db" SET lc_time TO 'C';
ALTER DATABASE :"db" SET bytea_output TO 'hex';
ALTER DATABASE :"db" SET timezone_abbreviations TO 'Default';
SQL
}

cluster_launch() {
    as_server_user pg_ctl start --silent --wait --timeout=120 --pgdata="$PGDATA" \
        </dev/null >>"$cluster_log" 2>&1 || cluster_failed "the server does not start"
}

cluster_stop() {
    as_server_user pg_ctl stop --silent --wait --timeout=120 --pgdata="$PGDATA" \
        --mode="${1:-fast}" >>"$cluster_log" 2>&1 || cluster_failed "the server does not stop"
}

cluster_restart() {
    cluster_stop "${1:-fast}"
    cluster_launch
}

cluster_failed() {
    tail -n 20 "$cluster_log" >&2
    fail "$* (log: $build_dir/log/${cluster_log##*/})"
}

# A client with a thousand connections needs more than the usual 1024.
raise_open_files() {
    local hard
    hard=$(ulimit -Hn)
    if [[ $hard == unlimited || $hard -gt 65536 ]]; then
        hard=65536
    fi
    [[ $(ulimit -Sn) == unlimited || $(ulimit -Sn) -ge $hard ]] || ulimit -Sn "$hard"
}

#
# Cleaning up, whatever happens
#

exit_commands=()
at_exit() {
    exit_commands+=("$*")
}

end_run() {
    local status=$? command
    trap '' INT TERM HUP
    trap - EXIT
    set +e
    for command in ${exit_commands[@]+"${exit_commands[@]}"}; do
        eval "$command"
    done
    # shellcheck disable=SC2046 # one word per job
    kill $(jobs -p) 2>/dev/null
    if [[ -n $run_dir ]]; then
        # Only now, so that several runs in one checkout do not mix.
        mkdir -p "$build_dir/log"
        cp "$run_dir"/log/*.log "$build_dir/log/" 2>/dev/null
        keep_reports "$build_dir/log"
        # After `sudo make test` in one's own checkout.
        if [[ $EUID -eq 0 ]]; then
            chown -R --reference="$checkout" "$checkout/build" 2>/dev/null
        fi
        env -u INVENTORY_RUN bash "$checkout/test/support/remove_run.sh" "$run_dir"
        kill -- "-$watchdog" 2>/dev/null
    fi
    exit "$status"
}
trap end_run EXIT
trap 'exit 130' INT

# kill -9 leaves this script no time to clean up.  A second process, out of
# reach of the terminal's signals, waits for it to be gone and does it then.
start_watchdog() {
    env -u INVENTORY_RUN setsid bash "$checkout/test/support/remove_run.sh" "$run_dir" $$ \
        </dev/null >/dev/null 2>&1 &
    watchdog=$!
    disown
}
