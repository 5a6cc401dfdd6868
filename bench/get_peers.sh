#!/usr/bin/env bash
# Fetch Redis and pgbouncer for the benchmark, without installing them.
#
# Debian's packages of both start a service when they are installed, which a
# benchmark has no business doing.  So the packages are only downloaded and
# unpacked into build/bench/peers, by whoever runs this: no root, no service,
# and `rm -rf build` is the end of it.  Does nothing when they are there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
peers=$root/build/bench/peers
programs=(usr/bin/redis-server usr/bin/redis-cli usr/bin/redis-benchmark usr/sbin/pgbouncer)
# The programs and the libraries that a small system may lack.
packages=(
    redis-server redis-tools pgbouncer
    libjemalloc2 liblzf1 libatomic1 libevent-2.1-7 libc-ares2
)

complete() {
    local program libraries
    for program in "${programs[@]}"; do
        [[ -x $peers/$program ]] || return 1
        libraries=$(LD_LIBRARY_PATH=$(echo "$peers"/usr/lib/*-linux-gnu) ldd "$peers/$program")
        [[ $libraries != *"not found"* ]] || return 1
    done
}
if complete 2>/dev/null; then
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "bench: not a Debian system, cannot fetch: ${packages[*]}" >&2
    exit 1
fi
echo "downloading: ${packages[*]}"
rm -rf "$peers"
mkdir -p "$peers/deb" "$peers/lists/partial"
log=$root/build/bench/get_peers.log
: >"$log"

cd "$peers/deb"
if ! apt-get -q download "${packages[@]}" >>"$log" 2>&1; then
    # The system's package lists are missing or old.  Private ones do, and
    # need no root.
    private_lists=(-o Dir::State::Lists="$peers/lists" -o Dir::Cache="$peers" -o APT::Sandbox::User=)
    apt-get -q "${private_lists[@]}" update >>"$log" 2>&1 || true
    if ! apt-get -q "${private_lists[@]}" download "${packages[@]}" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "bench: download failed; all of apt's output is in build/bench/get_peers.log" >&2
        exit 1
    fi
fi
for package in *.deb; do
    dpkg -x "$package" "$peers"
done
# Links to packages that were not fetched lead nowhere.
find "$peers" -xtype l -delete
cd "$root"
rm -rf "$peers/deb" "$peers/lists"

if ! complete; then
    echo "bench: Redis or pgbouncer lacks a library:" >&2
    for program in "${programs[@]}"; do
        LD_LIBRARY_PATH=$(echo "$peers"/usr/lib/*-linux-gnu) ldd "$peers/$program" >&2 || true
    done
    exit 1
fi
