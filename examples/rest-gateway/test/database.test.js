// The pool: what is tried again and what is not, timeouts, and a gateway that
// ends.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openDatabase } from '../database.js';
import { describe, statusOfSqlstate } from '../errors.js';
import { clientOf, done, patience, refused, sql, startGateway, until } from './support.js';

const settings = { connections: 2, connectTimeout: patience, statementTimeout: patience };
let database;
before(async () => {
  database = openDatabase(settings);
  // Fails the first `times` times.  A sequence remembers what is rolled back.
  await sql(`
    CREATE SEQUENCE attempts;
    CREATE FUNCTION flaky(times integer, sqlstate_ text) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
      attempt bigint := nextval('attempts');
    BEGIN
      IF attempt <= times THEN
        RAISE EXCEPTION USING ERRCODE = sqlstate_, MESSAGE = 'attempt ' || attempt;
      END IF;
      RETURN attempt;
    END $$`);
});
after(() => database.close());

async function flaky(times, sqlstate) {
  await sql('ALTER SEQUENCE attempts RESTART');
  return (await database.query('SELECT flaky($1, $2) AS attempt', [times, sqlstate]))[0].attempt;
}

test('what lost a race is tried again, five times in all', async () => {
  for (const sqlstate of ['40001', '40P01']) {
    assert.equal(await flaky(4, sqlstate), '5');
    await assert.rejects(flaky(9, sqlstate), /attempt 5/);
  }
});

test('nothing else is tried again', async () => {
  for (const sqlstate of ['IV001', '57014', '08006', '40003']) {
    await assert.rejects(flaky(9, sqlstate), /attempt 1$/);
  }
});

test('an error is told by its SQLSTATE, by its class, or not at all', () => {
  const told = (code) => describe({ code, severity: 'ERROR', message: 'text', detail: 'more' });
  for (const [code, statusCode] of Object.entries(statusOfSqlstate)) {
    const answer = told(code.padEnd(5, '9'));
    assert.equal(answer.statusCode, statusCode, code);
    assert.equal(answer.body.error === 'text', statusCode !== 503, code);
  }
  assert.deepEqual(told('XX000'), {
    statusCode: 500,
    body: { success: false, error: 'internal error', statusCode: 500, code: 'XX000', detail: undefined },
  });
  assert.equal(describe(new TypeError('a mistake of ours')).statusCode, 500);
});

test('a statement that takes too long is 503, and has done nothing', async () => {
  await sql(`SELECT inv_add_item('SLOW'), inv_receive('SLOW', 5)`);
  const gateway = await startGateway({ GATEWAY_STATEMENT_TIMEOUT: '500' });
  const client = clientOf(gateway);
  const { default: pg } = await import('pg');
  const other = new pg.Client();
  await other.connect();
  await other.query(`BEGIN; SELECT inv_reserve('SLOW', 1)`);
  const body = { sku: 'SLOW', quantity: 1, userId: 'ada' };
  refused(await client.post('/inventory/reserve', body, 'slow'), 503, '57014');
  await other.query('ROLLBACK');
  // The same key, tried again as the answer says.
  await until('it is held', async () => {
    const answer = await client.post('/inventory/reserve', body, 'slow');
    return answer.status === 201 && done(answer, 201);
  });
  assert.equal(done(await client.get('/inventory/SLOW')).availableQuantity, 4);
  await other.end();
  await gateway.stop();
});

test('on SIGTERM requests are answered, streams end, and the process does', async () => {
  await sql(`SELECT inv_add_item('LAST'), inv_receive('LAST', 1)`);
  const gateway = await startGateway();
  const client = clientOf(gateway);
  const { default: pg } = await import('pg');
  const other = new pg.Client();
  await other.connect();
  await other.query(`BEGIN; SELECT inv_reserve('LAST', 1)`);
  const waiting = client.post('/inventory/reserve', { sku: 'LAST', quantity: 1 });
  const stream = await fetch(`${gateway.url}/events`);
  await until('the request waits for the stock', async () => {
    const [row] = await sql(`SELECT count(*) FROM pg_stat_activity
      WHERE application_name = 'rest-gateway' AND wait_event_type = 'Lock'`);
    return row.count === '1';
  });
  gateway.child.kill('SIGTERM');
  await stream.text();
  await until('nobody else is let in', () => fetch(`${gateway.url}/health`).then(() => false, () => true));
  await other.query('ROLLBACK');
  done(await waiting, 201);
  assert.equal(await gateway.ended, 0);
  await other.end();
});
