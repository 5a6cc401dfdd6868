#!/usr/bin/env php
<?php
// Buy some units of a SKU: hold them, have them paid, sell them.
//
//     php purchase.php SKU QUANTITY CUSTOMER [KEY]
//
// The key stands for the purchase.  It is drawn once, before the first attempt,
// and goes into every call, so a call whose answer got lost can be repeated: it
// counts once.  Given on the command line, it resumes a purchase that broke off.
//
// Exit status 3: nothing was bought, for the reason printed.
declare(strict_types=1);

const ATTEMPTS = 8;
const LOST_A_RACE = ['40001', '40P01'];
// The hold died while it was paid, and its units are sold or more than the buyer
// may have by now; or the shop has stopped selling them, or cancelled the hold.
const GONE = ['IV001', 'IV006', 'IV007', 'IV008'];

function sqlstate(PDOException $error): string
{
    return $error->errorInfo[0] ?? 'HY000';
}

// Class 08, the server shutting down or starting (57P0x), or no answer of the
// server's at all (HY000).
function connection_broke(PDOException $error): bool
{
    return preg_match('/^(08|57P0|HY000)/', sqlstate($error)) === 1;
}

// Run $work in a transaction and return what it returned.
//
// Begins anew when it lost a race, and when the connection broke.  Whether it
// was committed nobody knows then, so all calls in it have a key.
function transaction(callable $work): mixed
{
    static $db = null;

    for ($attempt = 1; ; $attempt++) {
        try {
            // Goes by PGHOST and so on.  A statement that is prepared and kept
            // may be another client's in the next connection that pgbouncer
            // gives us.
            $db ??= new PDO('pgsql:', options: [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]);
            $db->beginTransaction();
            $result = $work($db);
            $db->commit();
            return $result;
        } catch (PDOException $error) {
            if (connection_broke($error)) {
                $db = null;
            } else {
                $db->rollBack();
                if (!in_array(sqlstate($error), LOST_A_RACE, true)) {
                    throw $error;
                }
            }
            if ($attempt === ATTEMPTS) {
                throw $error;
            }
            fwrite(STDERR, 'again: ' . sqlstate($error) . "\n");
        }
        // Random, so that those who collided do not meet again.
        usleep(random_int(0, 1000 * min(2000, 25 * 2 ** $attempt)));
    }
}

function row(PDO $db, string $sql, array $arguments): array
{
    $statement = $db->prepare($sql);
    $statement->execute($arguments);
    return $statement->fetch(PDO::FETCH_ASSOC);
}

// Stands for the payment service: the program $PAYMENT.  Whether it agreed.
//
// It is told the key too, and has to charge and refund once for each key.
function payment(string $verb, string $key, string $amount): bool
{
    $words = [getenv('PAYMENT') ?: 'true', $verb, $key, $amount];
    passthru(implode(' ', array_map('escapeshellarg', $words)), $status);
    return $status === 0;
}

function refund(string $key, string $amount): void
{
    if (!payment('refund', $key, $amount)) {
        throw new Exception("$amount paid under key $key could not be returned");
    }
}

function not_bought(string $reason): never
{
    echo "$reason\n";
    exit(3);
}

function buy(string $sku, string $quantity, string $customer, string $key): void
{
    echo "key $key\n";
    $hold = transaction(function (PDO $db) use ($sku, $quantity, $customer, $key) {
        $answer = row($db, "
            SELECT reservation_id, status, available
              FROM inv.inv_try_reserve(?, ?, key => ?, customer => ?,
                                       ttl => '15 minutes')", [$sku, $quantity, $key, $customer]);
        if ($answer['reservation_id'] === null) {
            return $answer;
        }
        return $answer + row($db, 'SELECT total FROM inv.inv_reservation_status(?)',
            [$answer['reservation_id']]);
    });
    $id = $hold['reservation_id'];
    if ($id === null) {
        not_bought("sold out, {$hold['available']} left");
    }
    echo "held $id\n";
    if (in_array($hold['status'], ['cancelled', 'expired'], true)) {
        // An earlier run came as far as this; it may have been paid.
        refund($key, $hold['total']);
        not_bought("{$hold['status']}, begin anew with another key");
    }

    // Paid between the transactions: nobody waits for stock meanwhile.
    if (!payment('charge', $key, $hold['total'])) {
        transaction(fn(PDO $db) => row($db,
            'SELECT inv.inv_cancel(?, key => ?, customer => ?)', [$id, $key, $customer]));
        not_bought('payment declined, hold cancelled');
    }
    echo "paid {$hold['total']}\n";
    try {
        // Rows of your own that go with the order are written in here as well.
        $sale = transaction(fn(PDO $db) => row($db, "
            SELECT order_id
              FROM inv.inv_confirm(?, key => ?, customer => ?,
                                   payment_status => 'paid', retake => true)", [$id, $key, $customer]));
    } catch (PDOException $error) {
        if (!in_array(sqlstate($error), GONE, true)) {
            throw $error;
        }
        refund($key, $hold['total']);
        not_bought('too late, payment returned');
    }
    echo "sold {$sale['order_id']}\n";
}

if (!in_array($argc, [4, 5], true)) {
    fwrite(STDERR, "usage: php purchase.php SKU QUANTITY CUSTOMER [KEY]\n");
    exit(1);
}
buy($argv[1], $argv[2], $argv[3], $argv[4] ?? bin2hex(random_bytes(16)));
