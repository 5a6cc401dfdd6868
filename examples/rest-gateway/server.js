// The gateway as a process: settings from the environment, one line when it
// listens, and an end without loss on SIGTERM or SIGINT.
import { createServer } from 'node:http';
import { openDatabase } from './database.js';
import { createGateway } from './gateway.js';

// A whole number from the environment.
function number(name, otherwise, least = 1) {
  const text = process.env[name] ?? String(otherwise);
  if (!/^\d{1,9}$/.test(text) || Number(text) < least) {
    console.error(`${name} must be a whole number from ${least} on, not "${text}"`);
    process.exit(2);
  }
  return Number(text);
}

const host = process.env.GATEWAY_HOST ?? '127.0.0.1';
const port = number('GATEWAY_PORT', 8080, 0);
const database = openDatabase({
  connections: number('GATEWAY_CONNECTIONS', 10),
  connectTimeout: number('GATEWAY_CONNECT_TIMEOUT', 10000),
  statementTimeout: number('GATEWAY_STATEMENT_TIMEOUT', 10000),
});
const gateway = createGateway(database, {
  bodyLimit: number('GATEWAY_BODY_LIMIT', 65536),
  eventClients: number('GATEWAY_EVENT_CLIENTS', 100),
  eventInterval: number('GATEWAY_EVENT_INTERVAL', 250),
});

const server = createServer(gateway.app);
// A request has to arrive in this time; its answer may take as long as it takes.
server.headersTimeout = 10000;
server.requestTimeout = 30000;
server.on('error', (error) => {
  console.error(`cannot listen on ${host}:${port}: ${error.message}`);
  process.exit(1);
});
// A thousand buyers may call at the same moment.
server.listen({ host, port, backlog: 1024 }, () => {
  console.log(`listening on http://${host}:${server.address().port}`);
});

// No new connections; requests that are here get their answers; then the
// database is left.  Who is not done after ten seconds is cut off.
let stopping = false;
function stop() {
  if (stopping) {
    return;
  }
  stopping = true;
  setTimeout(() => process.exit(1), 10000).unref();
  server.close(async () => {
    await database.close();
    process.exit(0);
  });
  gateway.close();
  // Connections that are kept alive become idle one after the other.
  server.closeIdleConnections();
  setInterval(() => server.closeIdleConnections(), 50);
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
