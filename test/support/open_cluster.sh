#!/usr/bin/env bash
# psql on a private server with the extension created; `make cluster`.
# The server and all data in it go when you quit.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=private_cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/private_cluster.sh"

cluster_start scratch shared_preload_libraries='pg_cron, inventory_reservation'
psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION inventory_reservation'
if [[ -t 0 ]]; then
    echo "From another terminal:  $(command -v psql) -h $PGHOST -U $PGUSER $PGDATABASE"
fi
env -u PSQL_PAGER psql
