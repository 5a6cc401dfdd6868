// What the tests share: gateways as processes, requests whose answers are held
// against openapi.json, and the database itself.
//
// The environment says where the server is, and names a superuser: PGHOST,
// PGPORT, PGUSER, PGDATABASE.  test/examples/rest_gateway.pl sets it up.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import pg from 'pg';

const serverFile = fileURLToPath(new URL('../server.js', import.meta.url));
export const openapi = JSON.parse(readFileSync(new URL('../openapi.json', import.meta.url)));
const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema(openapi, 'openapi');

// Nothing waits longer than this for something that has to come.
export const patience = 180_000;

export async function until(what, condition) {
  const deadline = Date.now() + patience;
  for (;;) {
    const result = await condition();
    if (result) return result;
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// A statement of the superuser; returns its rows.
export async function sql(text, values, database) {
  const client = new pg.Client({ database });
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

// A test that fails leaves none behind.
const running = new Set();
after(() => running.forEach((child) => child.kill('SIGKILL')));

// A gateway, listening.  It does not give up on a machine that is busy.
export async function startGateway(environment = {}) {
  const child = spawn(process.execPath, [serverFile], {
    env: {
      ...process.env,
      PGUSER: 'gateway',
      GATEWAY_PORT: '0',
      GATEWAY_CONNECT_TIMEOUT: String(patience),
      GATEWAY_STATEMENT_TIMEOUT: String(patience),
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const gateway = { log: '', child };
  running.add(child);
  child.on('exit', () => running.delete(child));
  gateway.ended = new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(signal ?? code));
  });
  child.stderr.on('data', (data) => (gateway.log += data));
  gateway.url = await new Promise((resolve, reject) => {
    child.stdout.on('data', (data) => {
      const [, url] = /listening on (\S+)/.exec(data) ?? [];
      if (url) resolve(url);
    });
    gateway.ended.then(() => reject(new Error(`the gateway ended: ${gateway.log}`)));
  });
  gateway.stop = (signal = 'SIGTERM') => {
    child.kill(signal);
    return gateway.ended;
  };
  return gateway;
}

// "get /inventory 200" and so on: all that openapi.json promises, and what of
// it has been seen.
export const promised = Object.entries(openapi.paths).flatMap(([path, operations]) =>
  Object.entries(operations).flatMap(([method, operation]) =>
    Object.keys(operation.responses).map((status) => `${method} ${path} ${status}`),
  ),
);
export const exercised = new Set();

// The path of openapi.json that a request belongs to: one without a parameter
// comes first.
function template(method, path) {
  const { pathname } = new URL(path, 'http://gateway');
  const paths = Object.keys(openapi.paths).filter((candidate) => openapi.paths[candidate][method]);
  return (
    paths.find((candidate) => candidate === pathname) ??
    paths.find((candidate) =>
      new RegExp(`^${candidate.replace(/\{\w+\}/g, '[^/]+')}$`).test(pathname),
    )
  );
}

// Test that an answer is as openapi.json says.
export function assertDocumented(method, path, answer) {
  const of = template(method, path);
  const status = String(answer.status);
  const documented = openapi.paths[of]?.[method]?.responses[status];
  assert.ok(documented, `${method} ${path}: ${status} is documented: ${JSON.stringify(answer.body)}`);
  exercised.add(`${method} ${of} ${status}`);

  const pointer = documented.$ref
    ? documented.$ref
    : `#/paths/${of.replaceAll('/', '~1')}/${method}/responses/${status}`;
  const schema = `openapi${pointer}/content/application~1json/schema`;
  const validate = ajv.getSchema(encodeURI(schema));
  assert.ok(validate, `there is a schema ${schema}`);
  assert.ok(
    validate(answer.body),
    `${method} ${path} ${status}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(answer.body)}`,
  );
  if (status >= 400) assert.equal(answer.body.statusCode, answer.status);
}

// { get(path), post(path, body, key) }; an answer is { status, headers, body }.
export function clientOf(gateway) {
  async function request(method, path, options) {
    const response = await fetch(gateway.url + path, { method, ...options });
    const answer = {
      status: response.status,
      headers: response.headers,
      body: await response.json(),
    };
    assertDocumented(method.toLowerCase(), path, answer);
    return answer;
  }
  return {
    request,
    get: (path) => request('GET', path),
    post: (path, body, key) =>
      request('POST', path, {
        headers: {
          'Content-Type': 'application/json',
          ...(key === undefined ? {} : { 'Idempotency-Key': key }),
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
  };
}

// Test that an answer is an error of this status, and perhaps this SQLSTATE.
export function refused(answer, status, code) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.success, false);
  assert.equal(answer.body.code, code);
}

// Test that an answer is a success; returns its data.
export function done(answer, status = 200) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.success, true);
  return answer.body.data;
}

export const isReplayed = (answer) => answer.headers.get('idempotent-replayed') === 'true';

export async function booksAreRight(database) {
  assert.deepEqual(await sql('SELECT * FROM inv_check()', [], database), []);
}

// A stream of events: { events, ready, ended, close() }.  An event is { id, data }.
export async function follow(gateway, headers = {}, path = '/events') {
  const abort = new AbortController();
  const response = await fetch(gateway.url + path, { headers, signal: abort.signal });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  exercised.add('get /events 200');
  const validate = ajv.getSchema('openapi#/components/schemas/Event');
  const stream = { events: [], ready: undefined, close: () => abort.abort() };
  const read = async () => {
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of response.body) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const field = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s)));
        if (field.event === 'ready') {
          stream.ready = field.id;
        } else if (field.data) {
          const data = JSON.parse(field.data);
          assert.ok(validate(data), `${ajv.errorsText(validate.errors)}: ${field.data}`);
          stream.events.push({ id: field.id, data });
        }
      }
    }
  };
  stream.ended = read().catch((error) => {
    if (error instanceof assert.AssertionError) throw error;
  });
  await until('the stream begins', () => stream.ready);
  return stream;
}
