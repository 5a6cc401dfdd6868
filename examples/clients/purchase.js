#!/usr/bin/env node
// Buy some units of a SKU: hold them, have them paid, sell them.
//
//     node purchase.js SKU QUANTITY CUSTOMER [KEY]
//
// The key stands for the purchase.  It is drawn once, before the first attempt,
// and goes into every call, so a call whose answer got lost can be repeated: it
// counts once.  Given on the command line, it resumes a purchase that broke off.
//
// Exit status 3: nothing was bought, for the reason printed.
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const ATTEMPTS = 8;
const LOST_A_RACE = ['40001', '40P01'];
// The hold died while it was paid, and its units are sold or more than the buyer
// may have by now; or the shop has stopped selling them, or cancelled the hold.
const GONE = ['IV001', 'IV006', 'IV007', 'IV008'];

let client = null;

// Class 08, the server shutting down or starting (57P0x), or no answer of the
// server's at all.
function connectionBroke(error) {
  return !(error instanceof pg.DatabaseError) || /^(08|57P0)/.test(error.code);
}

// Run work() in a transaction and return what it returned.
//
// Begins anew when it lost a race, and when the connection broke.  Whether it
// was committed nobody knows then, so all calls in it have a key.
async function transaction(work) {
  for (let attempt = 1; ; attempt++) {
    try {
      if (client === null) {
        client = new pg.Client(); // goes by PGHOST and so on
        client.on('error', () => {}); // the next query tells
        await client.connect();
      }
      await client.query('BEGIN');
      const result = await work();
      await client.query('COMMIT');
      return result;
    } catch (error) {
      if (connectionBroke(error)) {
        client.end().catch(() => {});
        client = null;
      } else {
        await client.query('ROLLBACK');
        if (!LOST_A_RACE.includes(error.code)) throw error;
      }
      if (attempt === ATTEMPTS) throw error;
      console.error('again:', error.code ?? 'connection lost');
    }
    // Random, so that those who collided do not meet again.
    await sleep(Math.random() * Math.min(2000, 25 * 2 ** attempt));
  }
}

// Stands for the payment service: the program $PAYMENT.  Whether it agreed.
//
// It is told the key too, and has to charge and refund once for each key.
function payment(verb, key, amount) {
  const program = process.env.PAYMENT ?? 'true';
  return spawnSync(program, [verb, key, amount], { stdio: 'inherit' }).status === 0;
}

function refund(key, amount) {
  if (!payment('refund', key, amount)) {
    throw new Error(`${amount} paid under key ${key} could not be returned`);
  }
}

function notBought(reason) {
  console.log(reason);
  return 3;
}

async function buy(sku, quantity, customer, key) {
  async function reserve() {
    const { rows: [answer] } = await client.query(
      `SELECT reservation_id, status, available
         FROM inv.inv_try_reserve($1, $2, key => $3, customer => $4,
                                  ttl => '15 minutes')`,
      [sku, quantity, key, customer]);
    if (answer.reservation_id === null) return answer;
    const { rows: [{ total }] } = await client.query(
      'SELECT total FROM inv.inv_reservation_status($1)', [answer.reservation_id]);
    return { ...answer, total };
  }

  // Rows of your own that go with the order are written in here as well.
  async function confirm() {
    const { rows: [{ order_id }] } = await client.query(
      `SELECT order_id
         FROM inv.inv_confirm($1, key => $2, customer => $3,
                              payment_status => 'paid', retake => true)`,
      [hold, key, customer]);
    return order_id;
  }

  function cancel() {
    return client.query('SELECT inv.inv_cancel($1, key => $2, customer => $3)',
      [hold, key, customer]);
  }

  console.log('key', key);
  const { reservation_id: hold, status, available, total } = await transaction(reserve);
  if (hold === null) return notBought(`sold out, ${available} left`);
  console.log('held', hold);
  if (['cancelled', 'expired'].includes(status)) {
    // An earlier run came as far as this; it may have been paid.
    refund(key, total);
    return notBought(`${status}, begin anew with another key`);
  }

  // Paid between the transactions: nobody waits for stock meanwhile.
  if (!payment('charge', key, total)) {
    await transaction(cancel);
    return notBought('payment declined, hold cancelled');
  }
  console.log('paid', total);
  try {
    console.log('sold', await transaction(confirm));
  } catch (error) {
    if (!GONE.includes(error.code)) throw error;
    refund(key, total);
    return notBought('too late, payment returned');
  }
  return 0;
}

const [sku, quantity, customer, key = randomUUID()] = process.argv.slice(2);
if (customer === undefined) {
  console.error('usage: node purchase.js SKU QUANTITY CUSTOMER [KEY]');
  process.exit(1);
}
try {
  process.exitCode = await buy(sku, quantity, customer, key);
} finally {
  await client?.end();
}
