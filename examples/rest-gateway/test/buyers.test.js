// A rush: a thousand buyers for a hundred units, and a gateway that is killed
// in the middle of one.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { assertDocumented, booksAreRight, sql, startGateway } from './support.js';

// Each request over a connection of its own.
const agent = new http.Agent({ keepAlive: false, maxSockets: Infinity });

// Rejects when the connection breaks before the answer is there.
function reserve(gateway, body, key) {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
    const request = http.request(
      `${gateway.url}/inventory/reserve`,
      { method: 'POST', agent, headers },
      (response) => {
        let text = '';
        response.on('data', (data) => (text += data));
        response.on('error', reject);
        response.on('end', () => {
          const answer = {
            status: response.statusCode,
            replayed: response.headers['idempotent-replayed'] === 'true',
            body: JSON.parse(text),
          };
          assertDocumented('post', '/inventory/reserve', answer);
          resolve(answer);
        });
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

const countBy = (values) =>
  values.reduce((counts, value) => ({ ...counts, [value]: (counts[value] ?? 0) + 1 }), {});
const numbers = (length) => Array.from({ length }, (_, number) => number);

async function holdsOf(sku) {
  const rows = await sql(
    `SELECT reservation_id FROM inv_reservation_lines WHERE sku = $1 AND status = 'active'`, [sku]);
  return rows.map((row) => row.reservation_id).sort();
}

test('1000 buyers at once, 100 units: 100 holds and 900 times 409', async () => {
  await sql(`SELECT inv_add_item('RUSH'), inv_receive('RUSH', 100)`);
  const gateway = await startGateway();
  const answers = await Promise.all(
    numbers(1000).map((i) => reserve(gateway, { sku: 'RUSH', userId: `buyer ${i}` }, `rush ${i}`)),
  );
  assert.deepEqual(countBy(answers.map((answer) => answer.status)), { 201: 100, 409: 900 });
  assert.ok(answers.every((answer) => answer.status === 201 || answer.body.code === 'IV001'));
  const told = answers.filter((answer) => answer.status === 201);
  assert.deepEqual(told.map((answer) => answer.body.data.reservationId).sort(), await holdsOf('RUSH'));
  await booksAreRight();
  await gateway.stop();
});

test('a gateway that is killed loses nothing', async () => {
  await sql(`SELECT inv_add_item('KILLED'), inv_receive('KILLED', 150)`);
  let gateway = await startGateway();
  let answered = 0;
  let inDoubt = 0;

  // Repeats with the same key until there is an answer.
  async function buyer(i) {
    for (;;) {
      try {
        const answer = await reserve(gateway, { sku: 'KILLED', userId: `buyer ${i}` }, `killed ${i}`);
        answered++;
        return answer;
      } catch (error) {
        assert.ok(error.code, String(error));
        inDoubt++;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
  const buyers = Promise.all(numbers(200).map(buyer));
  while (answered < 20) await new Promise((resolve) => setTimeout(resolve, 1));
  await gateway.stop('SIGKILL');
  gateway = await startGateway();
  const answers = await buyers;

  assert.ok(inDoubt > 0, `${inDoubt} answers were lost`);
  assert.deepEqual(countBy(answers.map((answer) => answer.status)), { 201: 150, 409: 50 });
  const told = answers.filter((answer) => answer.status === 201);
  assert.deepEqual(told.map((answer) => answer.body.data.reservationId).sort(), await holdsOf('KILLED'));
  await booksAreRight();
  await gateway.stop();
});
