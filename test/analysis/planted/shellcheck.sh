#!/usr/bin/env bash
# For shellcheck: a name with a blank in it becomes two.
rm -f $@
