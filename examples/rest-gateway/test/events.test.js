// GET /events: each event once, in the order of the feed, to any number of
// clients, however often they are cut off.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { clientOf, done, follow, sql, startGateway, until } from './support.js';

let gateway, client;
before(async () => {
  gateway = await startGateway();
  client = clientOf(gateway);
  await sql(`SELECT inv_add_item('FEED'), inv_receive('FEED', 100000)`);
});
after(() => gateway.stop());

async function buy(times) {
  for (let i = 0; i < times; i++) {
    const { reservationId } = done(await client.post('/inventory/reserve', { sku: 'FEED' }), 201);
    if (i % 2 === 0) done(await client.post('/checkout/confirm', { reservationId }));
  }
}
// All cursors after one, as the database has them.
async function feed(after) {
  return (await sql('SELECT cursor FROM inv_events($1, 1000000)', [after])).map((row) => row.cursor);
}
// The feed itself waits for transactions that are older.
const newest = async () => (await sql('SELECT inv_newest_event() AS cursor'))[0].cursor;
const caughtUp = (stream) =>
  until('the stream has all', async () => {
    const last = stream.events.at(-1)?.id ?? stream.ready;
    return last === (await newest());
  });

test('one begins with the present, and is told what happens', async () => {
  const stream = await follow(gateway);
  const begin = stream.ready;
  await buy(5);
  await caughtUp(stream);
  stream.close();
  const ids = stream.events.map((event) => event.id);
  assert.deepEqual(ids, await feed(begin));
  const operations = stream.events
    .filter((event) => event.data.sku === 'FEED')
    .map((event) => event.data.operation);
  assert.deepEqual(operations.filter((name) => name === 'reserve').length, 5);
  assert.deepEqual(operations.filter((name) => name === 'confirm').length, 3);
});

test('cut off again and again, each event comes once', async () => {
  const begin = await newest();
  const got = [];
  let last = begin;
  const buying = Promise.all([buy(60), buy(60), buy(60)]);
  let finished = false;
  buying.then(() => (finished = true), () => (finished = true));
  while (!finished || last !== (await newest())) {
    const stream = await follow(gateway, { 'Last-Event-ID': last });
    assert.equal(stream.ready, last);
    await until('something comes', () => stream.events.length > 0 || finished);
    stream.close();
    await stream.ended;
    got.push(...stream.events.map((event) => event.id));
    last = got.at(-1) ?? begin;
  }
  await buying;
  assert.deepEqual(got, await feed(begin));
  assert.ok(got.length >= 180 + 90);
});

test('from the oldest on, more than a page at a time, to many at once', async () => {
  await sql(`SELECT inv_reserve_batch(array_agg('FEED'::text), array_agg(1::bigint)) FROM generate_series(1, 2000)`);
  const streams = await Promise.all([1, 2, 3, 4, 5].map(() => follow(gateway, {}, '/events?after=oldest')));
  for (const stream of streams) {
    await caughtUp(stream);
    stream.close();
  }
  const all = await feed(null);
  assert.ok(all.length > 2000);
  for (const stream of streams) {
    assert.deepEqual(stream.events.map((event) => event.id), all);
  }
});

test('a gateway that is killed: one resumes at the next', async () => {
  const stream = await follow(gateway);
  const begin = stream.ready;
  await buy(3);
  await until('some events', () => stream.events.length > 1);
  await gateway.stop('SIGKILL');
  await stream.ended;
  gateway = await startGateway();
  client = clientOf(gateway);
  await buy(3);
  const second = await follow(gateway, { 'Last-Event-ID': stream.events.at(-1).id });
  await caughtUp(second);
  second.close();
  const ids = [...stream.events, ...second.events].map((event) => event.id);
  assert.deepEqual(ids, await feed(begin));
});

test('the number of clients is bounded', async () => {
  const small = await startGateway({ GATEWAY_EVENT_CLIENTS: '2' });
  const streams = [await follow(small), await follow(small)];
  assert.equal((await clientOf(small).get('/events')).status, 503);
  streams[0].close();
  await until('there is room again', async () => {
    const response = await fetch(`${small.url}/events`);
    await response.body.cancel();
    return response.status === 200;
  });
  await small.stop();
});
