#!/usr/bin/env bash
# Start the gateway on a private PostgreSQL server; `make gateway`.
#
#   PORT=8080    where it listens, on 127.0.0.1
#
# The shop has eight products.  Ctrl-C stops everything, and nothing is left.
set -euo pipefail

gateway=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../test/support/private_cluster.sh
source "$gateway/../../test/support/private_cluster.sh"
port=${PORT:-8080}
url=http://127.0.0.1:$port

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    "$checkout/test/support/setup.sh" nodejs npm
fi

echo "Building the extension and starting a PostgreSQL server of its own ..."
# SKUs in capitals, as system E has them.
CLUSTER_DATABASE=shop cluster_start gateway \
    shared_preload_libraries='pg_cron, inventory_reservation' \
    inventory_reservation.naptime=1s inventory_reservation.uppercase_sku=on
psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<SQL
CREATE SCHEMA inv;
ALTER DATABASE shop SET search_path = public, inv;
\\c
CREATE EXTENSION inventory_reservation SCHEMA inv;
\\i $gateway/setup.sql
\\i $gateway/../demo/catalogue.sql
SQL

# A copy, because the server's user may not be able to read the checkout.
echo "Installing what the gateway needs from npm ..."
mkdir "$run_dir/service"
cp -r "$gateway"/{*.js,package.json,package-lock.json,.npmrc,page} "$run_dir/service/"
(cd "$run_dir/service" && npm ci --omit=dev --no-audit --no-fund >"$run_dir/log/npm.log" 2>&1) ||
    fail "npm ci failed: $(tail -n 5 "$run_dir/log/npm.log")"

PGUSER=gateway GATEWAY_PORT=$port as_server_user node "$run_dir/service/server.js" \
    >"$run_dir/log/gateway.log" 2>&1 &
server=$!
until grep -q '^listening' "$run_dir/log/gateway.log"; do
    kill -0 "$server" 2>/dev/null || fail "$(cat "$run_dir/log/gateway.log")"
    sleep 0.1
done

cat <<TEXT

The live page is at  $url

Try, from another terminal:

  curl $url/inventory
  curl $url/inventory/CAMERA001
  curl $url/inventory/reserve -H 'Content-Type: application/json' \\
       -H 'Idempotency-Key: mine-1' -d '{"userId": "ada", "sku": "CAMERA001", "quantity": 2}'
  curl $url/checkout/confirm -H 'Content-Type: application/json' \\
       -d '{"userId": "ada", "reservationId": "..."}'
  curl -N $url/events

Ctrl-C stops it.
TEXT
wait "$server"
