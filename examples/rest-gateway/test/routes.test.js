// Every route and every status of openapi.json, over HTTP; what comes back is
// held against its schema by the client in support.js.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
  booksAreRight, clientOf, done, exercised, isReplayed, openapi, promised, refused, sql,
  startGateway, until,
} from './support.js';

let gateway, client;
before(async () => {
  gateway = await startGateway();
  client = clientOf(gateway);
});
after(() => gateway.stop());

async function newItem(sku, quantity = 10, more = {}) {
  return done(
    await client.post('/inventory', { sku, productName: `Item ${sku}`, price: 12.5, quantity, ...more }),
    201,
  );
}
const reserve = (sku, quantity, userId, key, more) =>
  client.post('/inventory/reserve', { sku, quantity, userId, ...more }, key);
async function held(sku, quantity, userId) {
  return done(await reserve(sku, quantity, userId), 201).reservationId;
}
const stock = async (sku) => {
  const item = done(await client.get(`/inventory/${encodeURIComponent(sku)}`));
  return [item.totalQuantity, item.reservedQuantity, item.availableQuantity];
};

test('an item is created, and read', async () => {
  const created = await newItem('NEW', 3, { price: 19.99, currency: 'EUR' });
  assert.deepEqual(
    [created.sku, created.price, created.currency, created.availableQuantity],
    ['NEW', 19.99, 'EUR', 3],
  );
  const read = done(await client.get('/inventory/NEW'));
  assert.deepEqual([read.productName, read.price, read.locations.length], ['Item NEW', 19.99, 1]);
  refused(await client.post('/inventory', { sku: 'NEW', quantity: 9 }), 409, '23505');
  assert.deepEqual(await stock('NEW'), [3, 0, 3]);
  await newItem('NONE', 0);
  assert.deepEqual(await stock('NONE'), [0, 0, 0]);
  refused(await client.get('/inventory/UNKNOWN'), 404);
});

test('any SKU can be asked for by its URL', async () => {
  for (const sku of ['a/b?c#d', '<script>', 'Käse & Brot', '100%', 'reserve', '..', '%2F']) {
    await newItem(sku, 1);
    const path = `/inventory/${encodeURIComponent(sku).replace(/^\.\.$/, '%2E%2E')}`;
    // URLs are normalised by clients, ".." in any spelling.
    if (sku !== '..') assert.equal(done(await client.get(path)).sku, sku);
  }
});

test('a price is the number that was given', async () => {
  const text = '{"sku":"EXACT","quantity":1,"price":"12345678901234567890.10"}';
  await client.post('/inventory', text);
  const answer = await (await fetch(`${gateway.url}/inventory/EXACT`)).text();
  assert.match(answer, /"price":12345678901234567890\.10,/);
});

test('items are listed in pages', async () => {
  for (let i = 0; i < 7; i++) await newItem(`PAGE${i}`, i + 1);
  const seen = [];
  let next = null;
  for (let page = 0; page === 0 || next !== null; page++) {
    const query = new URLSearchParams({ limit: 3, prefix: 'page' });
    if (next !== null) query.set('after', next);
    const list = done(await client.get(`/inventory?${query}`));
    assert.ok(list.items.length <= 3);
    seen.push(...list.items.map((item) => item.sku));
    next = list.next;
  }
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6].map((i) => `PAGE${i}`));
  const exact = done(await client.get('/inventory?limit=7&prefix=PAGE'));
  assert.deepEqual([exact.items.length, exact.next], [7, null]);
  assert.ok(done(await client.get('/inventory')).items.length > 7);
  for (const limit of ['0', '-1', '501', 'x', '1e2', '1&limit=2']) {
    refused(await client.get(`/inventory?limit=${limit}`), 400);
    refused(await client.get(`/holds?limit=${limit}`), 400);
    refused(await client.get(`/sales?limit=${limit}`), 400);
  }
});

test('a hold: made, read, sold, read, cancelled', async () => {
  await newItem('SOLD', 5);
  const hold = done(await reserve('SOLD', 2, 'ada'), 201);
  assert.deepEqual(
    [hold.sku, hold.quantity, hold.userId, hold.status, hold.availableQuantity],
    ['SOLD', 2, 'ada', 'ACTIVE', 3],
  );
  assert.ok(hold.expiresIn > 0 && hold.expiresIn <= 300);
  const { reservationId } = hold;
  let reservation = done(await client.get(`/reservation/${reservationId}`));
  assert.deepEqual(
    [reservation.status, reservation.totalPrice, reservation.lines[0].unitPrice],
    ['ACTIVE', 25, 12.5],
  );

  refused(await client.post('/checkout/confirm', { reservationId, userId: 'bob' }), 404, 'IV003');
  const sale = done(await client.post('/checkout/confirm', { reservationId, userId: 'ada' }));
  assert.deepEqual([sale.status, sale.totalPrice], ['CONFIRMED', 25]);
  assert.deepEqual(await stock('SOLD'), [3, 0, 3]);
  const again = await client.post('/checkout/confirm', { reservationId });
  assert.ok(isReplayed(again));
  assert.equal(done(again).orderId, sale.orderId);

  const order = done(await client.get(`/order/${sale.orderId}`));
  assert.deepEqual(
    [order.userId, order.sku, order.quantity, order.status, order.paymentStatus, order.totalPrice],
    ['ada', 'SOLD', 2, 'CONFIRMED', 'PENDING', 25],
  );
  reservation = done(await client.get(`/reservation/${reservationId}`));
  assert.deepEqual([reservation.status, reservation.orderId], ['CONFIRMED', sale.orderId]);

  // What is sold is no hold any more: its order can be cancelled.
  refused(await client.post('/inventory/reserve/cancel', { reservationId }), 409, 'IV008');
  refused(await client.post('/checkout/cancel', { reservationId }), 409, 'IV008');
  const cancelled = done(await client.post('/checkout/cancel', { orderId: sale.orderId, reservationId }));
  assert.deepEqual([cancelled.status, cancelled.orderId], ['CANCELLED', sale.orderId]);
  assert.deepEqual(await stock('SOLD'), [5, 0, 5]);
  assert.equal(done(await client.get(`/order/${sale.orderId}`)).status, 'CANCELLED');
});

test('a hold is cancelled, by either route', async () => {
  await newItem('CANCEL', 5);
  for (const route of ['/inventory/reserve/cancel', '/checkout/cancel']) {
    const reservationId = await held('CANCEL', 4, 'ada');
    refused(await client.post(route, { reservationId, userId: 'bob' }), 404, 'IV003');
    const first = await client.post(route, { reservationId, userId: 'ada' });
    assert.equal(done(first).status, 'CANCELLED');
    assert.ok(!isReplayed(first));
    assert.ok(isReplayed(await client.post(route, { reservationId, userId: 'ada' })));
    assert.deepEqual(await stock('CANCEL'), [5, 0, 5]);
    refused(await client.post('/checkout/confirm', { reservationId }), 409, 'IV008');
  }
});

test('too little stock, unknown SKU, unknown location, not for sale', async () => {
  await newItem('FEW', 3);
  const short = await reserve('FEW', 4, 'ada');
  refused(short, 409, 'IV001');
  assert.match(short.body.detail, /4 requested, 3 available/);
  refused(await reserve('UNKNOWN', 1, 'ada'), 404, 'IV004');
  refused(await reserve('FEW', 1, 'ada', undefined, { location: 'nowhere' }), 404, 'IV010');
  await sql(`SELECT inv_set_item('FEW', max_per_customer => 2)`);
  done(await reserve('FEW', 2, 'eve'), 201);
  refused(await reserve('FEW', 1, 'eve'), 409, 'IV007');
  await sql(`SELECT inv_set_item('FEW', selling => false)`);
  refused(await reserve('FEW', 1, 'ada'), 409, 'IV006');
  assert.deepEqual(await stock('FEW'), [3, 2, 1]);
});

test('a hold whose time is over', async () => {
  await newItem('LATE', 1);
  const { reservationId } = done(await reserve('LATE', 1, 'ada', undefined, { ttlSeconds: 0.05 }), 201);
  await until('the hold dies', async () => {
    return done(await client.get(`/reservation/${reservationId}`)).status === 'EXPIRED';
  });
  refused(await client.post('/checkout/confirm', { reservationId }), 410, 'IV002');
  await held('LATE', 1, 'bob');
  const late = done(await client.post('/inventory/reserve/cancel', { reservationId }));
  assert.equal(late.status, 'EXPIRED');
});

test('a key is replayed, and kept apart for each operation', async () => {
  await newItem('KEYED', 10);
  const key = 'the same everywhere';
  const first = await reserve('KEYED', 2, 'ada', key);
  const { reservationId } = done(first, 201);
  assert.ok(!isReplayed(first));
  const second = await reserve('KEYED', 2, 'ada', key);
  assert.ok(isReplayed(second));
  assert.equal(done(second, 201).reservationId, reservationId);
  assert.deepEqual(await stock('KEYED'), [10, 2, 8]);
  refused(await reserve('KEYED', 3, 'ada', key), 422, 'IV005');
  refused(await reserve('KEYED', 2, 'bob', key), 422, 'IV005');

  const other = await held('KEYED', 1, 'bob');
  const confirm = (id) => client.post('/checkout/confirm', { reservationId: id }, key);
  assert.ok(!isReplayed(await confirm(reservationId)));
  assert.ok(isReplayed(await confirm(reservationId)));
  refused(await confirm(other), 422, 'IV005');
  const { orderId } = done(await confirm(reservationId));

  const cancel = (id) => client.post('/inventory/reserve/cancel', { reservationId: id }, key);
  assert.ok(!isReplayed(await cancel(other)));
  assert.ok(isReplayed(await cancel(other)));
  refused(await cancel(reservationId), 422, 'IV005');

  const cancelOrder = (reason) => client.post('/checkout/cancel', { orderId, reason }, key);
  assert.equal(done(await cancelOrder('wrong colour')).status, 'CANCELLED');
  assert.equal(done(await cancelOrder('wrong colour')).status, 'CANCELLED');
  refused(await cancelOrder('too late'), 422, 'IV005');
  assert.deepEqual(await stock('KEYED'), [10, 0, 10]);

  // An error uses up no key.
  refused(await reserve('KEYED', 11, 'ada', 'later'), 409, 'IV001');
  done(await reserve('KEYED', 10, 'ada', 'later'), 201);
});

test('bad values are 400, whatever they are', async () => {
  await newItem('BAD', 5);
  for (const body of [
    {}, { sku: null }, { sku: '' }, { sku: ['BAD'] }, { sku: { a: 1 } }, { sku: 'x'.repeat(256) },
    { sku: 'BAD', quantity: 0 }, { sku: 'BAD', quantity: -1 }, { sku: 'BAD', quantity: 1.5 },
    { sku: 'BAD', quantity: 'two' }, { sku: 'BAD', quantity: true }, { sku: 'BAD', quantity: 1e30 },
    { sku: 'BAD', quantity: 2 ** 60 }, { sku: 'BAD', ttlSeconds: -1 }, { sku: 'BAD', ttlSeconds: 'soon' },
    { sku: 'B\0D' }, { sku: 'BAD', userId: '' }, { sku: 'BAD', userId: {} },
  ]) {
    const answer = await client.post('/inventory/reserve', body);
    assert.equal(answer.status, 400, JSON.stringify([body, answer.body]));
  }
  refused(await client.post('/inventory/reserve', '{"sku":'), 400);
  refused(await client.post('/inventory/reserve', '"BAD"'), 400);
  refused(await client.post('/inventory/reserve', '[]'), 400, '22023');
  refused(await reserve('BAD', 1, 'ada', 'k'.repeat(256)), 400, '22023');
  for (const body of [{ sku: 'BAD2' }, { sku: 'BAD2', quantity: -1 }, { sku: 'BAD2', quantity: 1, price: -1 }]) {
    assert.equal((await client.post('/inventory', body)).status, 400, JSON.stringify(body));
  }
  refused(await client.get('/inventory/BAD2'), 404);
  refused(await client.get('/inventory/%00'), 400, '22021');
  refused(await client.get('/inventory/%E0%A4%A'), 400);
  for (const route of ['/inventory/reserve/cancel', '/checkout/confirm', '/checkout/cancel']) {
    refused(await client.post(route, { reservationId: 'not an id' }), 400, '22P02');
    refused(await client.post(route, {}), 400, '22023');
  }
  refused(await client.get('/reservation/1'), 400, '22P02');
  refused(await client.get('/order/1'), 400, '22P02');
  refused(await client.get('/holds?after=1'), 400, '22P02');
  assert.deepEqual(await stock('BAD'), [5, 0, 5]);
});

test('what is not there is 404', async () => {
  const id = randomUUID();
  refused(await client.get(`/reservation/${id}`), 404, 'IV003');
  refused(await client.get(`/order/${id}`), 404, 'IV011');
  for (const route of ['/inventory/reserve/cancel', '/checkout/confirm', '/checkout/cancel']) {
    refused(await client.post(route, { reservationId: id }), 404, 'IV003');
  }
  refused(await client.post('/checkout/cancel', { orderId: id }), 404, 'IV011');
  const nowhere = await fetch(`${gateway.url}/nowhere`);
  assert.equal(nowhere.status, 404);
  assert.deepEqual(await nowhere.json(), { success: false, error: 'no such route: GET /nowhere', statusCode: 404 });
});

test('bodies are JSON, and bounded', async () => {
  const posts = Object.keys(openapi.paths).filter((path) => openapi.paths[path].post);
  for (const path of posts) {
    refused(await client.post(path, { sku: 'x'.repeat(70_000) }), 413);
    const headers = { 'Content-Type': 'text/plain' };
    refused(await client.request('POST', path, { headers, body: '{"sku":"BAD"}' }), 415);
    refused(await client.request('POST', path, {}), 415);
  }
});

test('the SKU is found as it is kept, with uppercase_sku', async () => {
  await newItem('CAPITALS', 2);
  refused(await client.get('/inventory/capitals'), 404);
  await sql(`ALTER SYSTEM SET inventory_reservation.uppercase_sku = on`);
  await sql(`SELECT pg_reload_conf()`);
  try {
    await until('the setting is there', async () => (await client.get('/inventory/capitals')).status === 200);
    await held('Capitals', 1, 'ada');
    assert.deepEqual(await stock('capitals'), [2, 1, 1]);
  } finally {
    await sql(`ALTER SYSTEM RESET inventory_reservation.uppercase_sku`);
    await sql(`SELECT pg_reload_conf()`);
  }
});

test('lists of holds and sales', async () => {
  await newItem('LISTED', 10);
  const ids = [];
  for (const user of ['ada', 'bob', 'cleo']) ids.push(await held('LISTED', 2, user));
  const first = done(await client.get('/holds?limit=2'));
  assert.deepEqual(first.holds.map((hold) => hold.reservationId), [ids[2], ids[1]]);
  assert.deepEqual(first.holds[0].lines, [{ sku: 'LISTED', quantity: 2, unitPrice: 12.5 }]);
  assert.ok(first.total >= 3 && first.units >= 6);
  const rest = done(await client.get(`/holds?limit=500&after=${first.next}`));
  assert.equal(rest.holds[0].reservationId, ids[0]);
  assert.equal(rest.next, null);
  assert.equal(first.holds.length + rest.holds.length, first.total);
  done(await client.post('/checkout/confirm', { reservationId: ids[2] }));
  const [sale] = done(await client.get('/sales?limit=1')).sales;
  assert.deepEqual([sale.reservationId, sale.quantity, sale.totalPrice], [ids[2], 2, 25]);
});

test('health, and the books', async () => {
  const health = done(await client.get('/health'));
  assert.equal(health.counting, true);
  assert.ok(health.reserves > 0 && health.confirms > 0 && health.refused > 0);
  assert.deepEqual(done(await client.get('/check')).violations, []);
  // Those who ask at the same time get the answer of one run.
  await until('four have asked at the same time', async () => {
    const checks = await Promise.all([1, 2, 3, 4].map(() => client.get('/check')));
    return new Set(checks.map((check) => done(check).at)).size === 1;
  });
  await booksAreRight();

  const change = (units) =>
    sql(`UPDATE inv_stock SET on_hand = on_hand + $1 FROM inv_item
          WHERE inv_stock.item_id = inv_item.item_id AND sku = 'NEW'`, [units]);
  await change(1);
  try {
    const [found, ...more] = done(await client.get('/check')).violations;
    assert.deepEqual([found.sku, found.found, found.expected, more], ['NEW', '4', '3', []]);
  } finally {
    await change(-1);
  }
  await booksAreRight();
});

test('a cursor that is none, and one that is gone', async () => {
  refused(await client.get('/events?after=nonsense'), 400, '22023');
  refused(await client.get('/events?after=1&after=2'), 400);
  refused(await client.get('/events?after=999/1/1'), 410, '55000');
  const stream = await fetch(`${gateway.url}/events`);
  assert.equal(stream.status, 200);
  exercised.add('get /events 200');
  await stream.body.cancel();
});

// All operations of openapi.json, with ids that make them go as far as the database.
async function askEverything(of) {
  const body = { sku: 'NEW2', quantity: 1, reservationId: randomUUID() };
  const answers = [];
  for (const [path, operations] of Object.entries(openapi.paths)) {
    for (const method of Object.keys(operations)) {
      const url = path.replace('{id}', randomUUID()).replace('{sku}', 'NEW');
      answers.push(await (method === 'get' ? of.get(url) : of.post(url, body)));
    }
  }
  return answers;
}

test('no database: 503, and when to come back', async () => {
  const lonely = await startGateway({ PGHOST: '/nonexistent' });
  for (const answer of await askEverything(clientOf(lonely))) {
    refused(answer, 503);
    assert.equal(answer.headers.get('retry-after'), '1');
    assert.ok(!JSON.stringify(answer.body).includes('nonexistent'), 'and no word of where it is');
  }
  await lonely.stop();
});

test('a role without the profile: 500, and no word of why', async () => {
  await sql('CREATE ROLE stranger LOGIN');
  const stranger = await startGateway({ PGUSER: 'stranger' });
  for (const answer of await askEverything(clientOf(stranger))) {
    assert.equal(answer.status, 500);
    assert.equal(answer.body.error, 'internal error');
  }
  assert.match(stranger.log, /permission denied|does not exist/);
  await stranger.stop();
});

test('the role is an ordinary one', async () => {
  const [role] = await sql(`SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'gateway'`);
  assert.deepEqual(role, { rolsuper: false, rolcreaterole: false, rolcreatedb: false });
});

// Last: all that is promised has been seen.
test('every route and status of openapi.json was exercised', () => {
  assert.deepEqual(promised.filter((promise) => !exercised.has(promise)), []);
});
