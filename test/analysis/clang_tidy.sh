# shellcheck shell=bash disable=SC2016
# Mistakes that look like mistakes; which ones, and why, is in .clang-tidy.
printf '%s\n' "$@" | xargs --max-procs=2 --max-args=8 bash -c 'clang-tidy --quiet "$@" -- $C_OPTIONS' clang-tidy
