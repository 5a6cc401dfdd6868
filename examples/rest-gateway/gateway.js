// The HTTP side: an Express application made of the table of routes.
//
// What must never happen: an answer that says less than what was done.  An
// answer is sent after its statement has committed, and a request whose fate is
// unknown is 503, never success.
import express from 'express';
import { fileURLToPath } from 'node:url';
import { describe, Refusal } from './errors.js';
import { eventStream } from './events.js';
import { routes } from './routes.js';

const page = fileURLToPath(new URL('page', import.meta.url));

// `settings`: bodyLimit in bytes, and those of events.js.  Returns the
// application, and close(), which ends the streams of events.
export function createGateway(database, settings) {
  const app = express();
  const events = eventStream(database, settings);

  app.disable('x-powered-by');
  app.set('etag', false);
  app.use(safetyHeaders);
  app.use(express.json({ limit: settings.bodyLimit }));

  // An answer is true for the moment it is given.
  const noStore = (request, response, next) => {
    response.set('Cache-Control', 'no-store');
    next();
  };
  for (const route of routes) {
    const run = route.shared ? sharing(database) : database.query;
    app[route.method](route.path, noStore, async (request, response) => {
      await serve(route, run, request, response);
    });
  }
  app.get('/events', (request, response, next) => {
    // A cursor whose events have been purged: begin with the present.
    response.locals.statuses = { 55000: 410 };
    events.handle(request, response).catch(next);
  });

  app.use(express.static(page));
  app.use((request) => {
    throw new Refusal(404, `no such route: ${request.method} ${request.path}`);
  });
  app.use(sendError);
  return { app, close: events.close };
}

async function serve(route, run, request, response) {
  if (route.method === 'post' && !request.is('application/json')) {
    throw new Refusal(415, 'the body must be JSON, with Content-Type: application/json');
  }
  const statement =
    typeof route.statement === 'function' ? route.statement(request) : route.statement;
  const values = statement.values.map((value) => value(request));
  const [row] = await run(statement.sql, values);
  if (!row) {
    throw new Refusal(404, 'not found');
  }
  if (row.replayed) {
    response.set('Idempotent-Replayed', 'true');
  }
  const message = route.message ? `"message":${JSON.stringify(route.message)},` : '';
  response
    .status(route.status ?? 200)
    .type('json')
    .send(`{"success":true,${message}"data":${row.data}}`);
}

// Those who ask while a statement runs wait for that one.
function sharing(database) {
  let running;
  return (sql, values) => {
    running ??= database.query(sql, values).finally(() => (running = undefined));
    return running;
  };
}

// The page runs nothing but its own script, whatever a SKU is called.
function safetyHeaders(request, response, next) {
  response.set({
    'Content-Security-Policy': "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
  });
  next();
}

// Express knows it by its four arguments.
function sendError(error, request, response, next) {
  const { statusCode, body } = describe(error, response.locals.statuses);
  if (statusCode >= 500) {
    console.error(`${request.method} ${request.path}: ${error.code ?? ''} ${error.message}`);
  }
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (statusCode === 503) {
    response.set('Retry-After', '1');
  }
  response.status(statusCode).json(body);
}
