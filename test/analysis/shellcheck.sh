# All of the shell scripts, and what they read.
shellcheck --shell=bash --severity=warning --external-sources "$@"
