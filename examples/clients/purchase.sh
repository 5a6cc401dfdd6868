#!/usr/bin/env bash
# Buy some units of a SKU: hold them, have them paid, sell them.
#
#     purchase.sh SKU QUANTITY CUSTOMER [KEY]
#
# The key stands for the purchase.  It is drawn once, before the first attempt,
# and goes into every call, so a call whose answer got lost can be repeated: it
# counts once.  Given on the command line, it resumes a purchase that broke off.
#
# Exit status 3: nothing was bought, for the reason printed.
set -euo pipefail

attempts=8

if [[ $# -lt 3 || $# -gt 4 ]]; then
    echo "usage: purchase.sh SKU QUANTITY CUSTOMER [KEY]" >&2
    exit 1
fi
sku=$1 quantity=$2 customer=$3 key=${4:-$(</proc/sys/kernel/random/uuid)}
hold='' total=''

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

# Run the SQL on standard input in a transaction; $answer is what it returned,
# $state the SQLSTATE of the error that ended it.
#
# Begins anew when it lost a race, and when the connection broke.  Whether it
# was committed nobody knows then, so all calls in it have a key.
transaction() {
    local sql attempt status pause
    sql=$(cat)
    for ((attempt = 1; ; attempt++)); do
        status=0 state=''
        # psql goes by PGHOST and so on, and quotes what is named :'name'.
        answer=$(psql -XqAt -F ' ' -v ON_ERROR_STOP=1 -v VERBOSITY=verbose \
            -v sku="$sku" -v quantity="$quantity" -v customer="$customer" \
            -v key="$key" -v hold="$hold" \
            <<<"BEGIN;"$'\n'"$sql"$'\n'"COMMIT;" 2>"$errors") || status=$?
        [[ $status -ne 0 ]] || return 0
        state=$(sed -nE 's/.*(ERROR|FATAL): +([0-9A-Z]{5}): .*/\2/p' "$errors" | tail -n 1)
        # Status 2: the connection broke, or there was none to be had.
        if [[ $status -ne 2 && $state != 40001 && $state != 40P01 ]] || ((attempt == attempts)); then
            return 1
        fi
        echo "again: ${state:-connection lost}" >&2
        # Random, so that those who collided do not meet again.
        pause=$((25 << attempt))
        pause=$((RANDOM % (pause < 2000 ? pause : 2000)))
        sleep "$((pause / 1000)).$(printf '%03d' $((pause % 1000)))"
    done
}

give_up() {
    echo "$*" >&2
    exit 1
}

# Stands for the payment service: the program $PAYMENT.  Whether it agreed.
#
# It is told the key too, and has to charge and refund once for each key.
payment() {
    "${PAYMENT:-true}" "$1" "$key" "$total"
}

refund() {
    payment refund || give_up "$total paid under key $key could not be returned"
}

not_bought() {
    echo "$*"
    exit 3
}

echo "key $key"
transaction <<'SQL' || give_up "$(<"$errors")"
    SELECT coalesce(reservation_id::text, 'none') AS id, status, available
      FROM inv.inv_try_reserve(:'sku', :'quantity', key => :'key',
                               customer => :'customer', ttl => '15 minutes') \gset
    \if :{?status}
        SELECT :'id', total, :'status' FROM inv.inv_reservation_status(:'id');
    \else
        \echo none :available
    \endif
SQL
read -r hold total status <<<"$answer"
if [[ $hold == none ]]; then
    not_bought "sold out, $total left"
fi
echo "held $hold"
if [[ $status == cancelled || $status == expired ]]; then
    # An earlier run came as far as this; it may have been paid.
    refund
    not_bought "$status, begin anew with another key"
fi

# Paid between the transactions: nobody waits for stock meanwhile.
if ! payment charge; then
    transaction <<'SQL' || give_up "$(<"$errors")"
        SELECT inv.inv_cancel(:'hold', key => :'key', customer => :'customer');
SQL
    not_bought "payment declined, hold cancelled"
fi
echo "paid $total"

# Rows of your own that go with the order are written in here as well.
if ! transaction <<'SQL'; then
    SELECT order_id
      FROM inv.inv_confirm(:'hold', key => :'key', customer => :'customer',
                           payment_status => 'paid', retake => true);
SQL
    case $state in
        # The hold died while it was paid, and its units are sold or more than
        # the buyer may have by now; or the shop has stopped selling them, or
        # cancelled the hold.
        IV001 | IV006 | IV007 | IV008)
            refund
            not_bought "too late, payment returned"
            ;;
        *) give_up "$(<"$errors")" ;;
    esac
fi
echo "sold $answer"
