#!/usr/bin/env bash
# Import stock and live holds of another system from two CSV files.
#
#     import.sh STOCK.csv HOLDS.csv
#
# The first line of each file names its columns, these in this order:
#
#     sku,name,price,currency,on_hand,location
#     id,sku,quantity,customer,reference,expires_at,location
#
# on_hand are the units that are not sold, those under holds included.  id is the
# hold's in the other system; lines with the same id are a cart.  reference is
# the shop's own order number.  Empty may be: name, price (0), currency, location
# ("default"; others have to be there), customer, reference.
#
# Connects by PGHOST and so on, as a role that may create a schema and has the
# profile "operator"; the extension may be in any schema.
#
# Prints what was done, and each row that could not be imported with the reason.
# Exit status: 0 if all is there, 3 if rows are missing or the books are wrong,
# something else if it broke off.  Can be run again, and then does what is left;
# see import.sql.
set -euo pipefail

if [[ $# -ne 2 ]]; then
    echo "usage: import.sh STOCK.csv HOLDS.csv" >&2
    exit 1
fi
for file; do
    [[ -r $file ]] || { echo "cannot read $file" >&2 && exit 1; }
done
export STOCK=$1 HOLDS=$2
exec psql -Xq -v ON_ERROR_STOP=1 -P null=- \
    -f "$(dirname "${BASH_SOURCE[0]}")/import.sql"
