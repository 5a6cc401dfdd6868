# shellcheck shell=bash disable=SC2016
# Goes through the paths of each function, as far as it can.  It says nothing of
# a compiler that has failed, so there must be an object for each source.
OBJECTS=$(mktemp -d)
export OBJECTS
trap 'rm -r "$OBJECTS"' EXIT
scan-build --status-bugs --use-cc=gcc -o "$RESULTS/scan-build" bash -c '
    printf "%s\n" "$@" | xargs --max-procs=2 --max-args=8 bash -c "
        for file; do
            \$CC \$C_OPTIONS -c -o \"\$(mktemp -p \"\$OBJECTS\")\" \"\$file\" || exit
        done" bash' bash "$@"
[[ $(find "$OBJECTS" -type f -size +0 | wc -l) -eq $# ]]
