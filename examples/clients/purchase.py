#!/usr/bin/env python3
"""Buy some units of a SKU: hold them, have them paid, sell them.

    purchase.py SKU QUANTITY CUSTOMER [KEY]

The key stands for the purchase.  It is drawn once, before the first attempt,
and goes into every call, so a call whose answer got lost can be repeated: it
counts once.  Given on the command line, it resumes a purchase that broke off.

Exit status 3: nothing was bought, for the reason printed.
"""
import os
import random
import subprocess
import sys
import time
import uuid

import psycopg2

ATTEMPTS = 8
LOST_A_RACE = ("40001", "40P01")
# The hold died while it was paid, and its units are sold or more than the buyer
# may have by now; or the shop has stopped selling them, or cancelled the hold.
GONE = ("IV001", "IV006", "IV007", "IV008")

connection = None


def transaction(work):
    """Run work(cursor) in a transaction and return what it returned.

    Begins anew when it lost a race, and when the connection broke.  Whether it
    was committed nobody knows then, so all calls in it have a key.
    """
    global connection
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if connection is None:
                connection = psycopg2.connect("")  # goes by PGHOST and so on
            with connection.cursor() as cursor:
                result = work(cursor)
            connection.commit()
            return result
        except psycopg2.Error as error:
            if connection is None or connection.closed:
                connection = None
            else:
                connection.rollback()
                if error.pgcode not in LOST_A_RACE:
                    raise
            if attempt == ATTEMPTS:
                raise
            print("again:", error.pgcode or "connection lost", file=sys.stderr)
        # Random, so that those who collided do not meet again.
        time.sleep(random.uniform(0, min(2, 0.025 * 2**attempt)))


def payment(verb, key, amount):
    """Stands for the payment service: the program $PAYMENT.  Whether it agreed.

    It is told the key too, and has to charge and refund once for each key.
    """
    program = os.environ.get("PAYMENT", "true")
    return subprocess.run([program, verb, key, str(amount)]).returncode == 0


def refund(key, amount):
    if not payment("refund", key, amount):
        sys.exit(f"{amount} paid under key {key} could not be returned")


def not_bought(reason):
    print(reason)
    sys.exit(3)


def buy(sku, quantity, customer, key):
    def reserve(cursor):
        cursor.execute(
            "SELECT reservation_id, status, available"
            "  FROM inv.inv_try_reserve(%s, %s, key => %s, customer => %s,"
            "                           ttl => '15 minutes')",
            (sku, quantity, key, customer))
        hold, status, available = cursor.fetchone()
        if hold is None:
            return hold, status, available, None
        cursor.execute("SELECT total FROM inv.inv_reservation_status(%s)", (hold,))
        return hold, status, available, cursor.fetchone()[0]

    # Rows of your own that go with the order are written in here as well.
    def confirm(cursor):
        cursor.execute(
            "SELECT order_id"
            "  FROM inv.inv_confirm(%s, key => %s, customer => %s,"
            "                       payment_status => 'paid', retake => true)",
            (hold, key, customer))
        return cursor.fetchone()[0]

    def cancel(cursor):
        cursor.execute("SELECT inv.inv_cancel(%s, key => %s, customer => %s)",
                       (hold, key, customer))

    print("key", key)
    hold, status, available, total = transaction(reserve)
    if hold is None:
        not_bought(f"sold out, {available} left")
    print("held", hold)
    if status in ("cancelled", "expired"):
        # An earlier run came as far as this; it may have been paid.
        refund(key, total)
        not_bought(f"{status}, begin anew with another key")

    # Paid between the transactions: nobody waits for stock meanwhile.
    if not payment("charge", key, total):
        transaction(cancel)
        not_bought("payment declined, hold cancelled")
    print("paid", total)
    try:
        print("sold", transaction(confirm))
    except psycopg2.Error as error:
        if error.pgcode not in GONE:
            raise
        refund(key, total)
        not_bought("too late, payment returned")


if len(sys.argv) not in (4, 5):
    sys.exit("usage: purchase.py SKU QUANTITY CUSTOMER [KEY]")
sys.stdout.reconfigure(line_buffering=True)
buy(*sys.argv[1:4], sys.argv[4] if len(sys.argv) == 5 else str(uuid.uuid4()))
