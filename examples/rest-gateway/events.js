// GET /events: the feed of the extension, inv_events(), as server-sent events.
//
// The id of each event is its cursor, so a client that was cut off resumes by
// the Last-Event-ID that its browser sends: nothing is left out, nothing comes
// twice.  For the same reason nothing is buffered here: each client reads on
// from its own cursor, and only when it has taken what it got.
//
// One look a moment at the newest cursor, for all clients, finds out that there
// is something to read.  An event is shown once no older transaction can
// commit any more, so that look comes before the reading, never after it.
import { Refusal } from './errors.js';

const page = 500;
// The cursor before the first event.
const oldest = 'oldest';

const eventsAfter = `
  SELECT cursor, json_build_object(
           'operation', operation, 'sku', sku, 'location', location, 'at', at,
           'deltaOnHand', delta_on_hand, 'deltaReserved', delta_reserved,
           'onHandAfter', on_hand_after, 'reservedAfter', reserved_after,
           'reservationId', reservation_id, 'orderId', order_id) AS event
    FROM inv_events($1, $2)`;
const newestEvent = `SELECT inv_newest_event() AS cursor`;

// `settings`: eventClients, how many at a time; eventInterval, milliseconds
// between two looks.  Returns the handler of the route, and close().
export function eventStream(database, settings) {
  const clients = new Set();
  let timer;
  let newest;
  let failing = false;
  let closed = false;

  async function look() {
    try {
      const [{ cursor }] = await database.query(newestEvent);
      if (cursor !== newest) {
        newest = cursor;
        clients.forEach((client) => client.wake());
      }
      failing = false;
    } catch (error) {
      if (!failing) {
        console.error(`events: ${error.message}`);
      }
      failing = true;
    }
    timer = clients.size > 0 && !closed ? setTimeout(look, settings.eventInterval) : undefined;
  }

  function join(client) {
    clients.add(client);
    timer ??= setTimeout(look, settings.eventInterval);
  }

  async function handle(request, response) {
    if (clients.size >= settings.eventClients) {
      throw new Refusal(503, 'too many clients follow the events');
    }
    const after = request.get('Last-Event-ID') ?? request.query.after;
    if (after !== undefined && typeof after !== 'string') {
      throw new Refusal(400, 'after must be a cursor');
    }
    const client = new Client(database, response);
    // Joined before its place is known: what comes meanwhile wakes it.
    join(client);
    response.on('close', () => {
      clients.delete(client);
      client.wake();
    });
    try {
      await client.begin(after);
    } catch (error) {
      clients.delete(client);
      throw error;
    }
    await client.follow();
  }

  return {
    handle,
    close() {
      closed = true;
      clearTimeout(timer);
      clients.forEach((client) => client.end());
    },
  };
}

class Client {
  constructor(database, response) {
    this.database = database;
    this.response = response;
    this.woken = false;
    this.wake = () => {
      this.woken = true;
      this.resolve?.();
    };
  }

  // Find our place, and say so: a client that is cut off before the first event
  // has an id to come back with.  Raises what is wrong with `after`.
  async begin(after) {
    const { database, response } = this;
    const cursor = after ?? (await database.query(newestEvent))[0].cursor ?? oldest;
    this.cursor = cursor;
    this.waiting = await this.read();
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
    });
    response.write(`retry: 1000\nevent: ready\nid: ${cursor}\ndata: {}\n\n`);
    // So that proxies, and we, find out that somebody has gone.
    this.heartbeat = setInterval(() => response.write(': here\n\n'), 15000);
    response.on('close', () => clearInterval(this.heartbeat));
  }

  async follow() {
    const { response } = this;
    while (!response.destroyed && !response.writableEnded) {
      for (const { cursor, event } of this.waiting) {
        this.cursor = cursor;
        response.write(`id: ${cursor}\ndata: ${event}\n\n`);
      }
      while (response.writableNeedDrain && !response.destroyed) {
        await once(response, 'drain', 'close');
      }
      if (this.waiting.length < page && !this.woken) {
        await new Promise((resolve) => (this.resolve = resolve));
      }
      this.woken = false;
      try {
        this.waiting = await this.read();
      } catch (error) {
        // It comes back with its cursor, and is told then.
        console.error(`events: ${error.message}`);
        this.end();
      }
    }
  }

  read() {
    const after = this.cursor === oldest ? null : this.cursor;
    return this.database.query(eventsAfter, [after, page]);
  }

  end() {
    this.response.end();
    this.wake();
  }
}

// Wait for any of these events.
function once(emitter, ...names) {
  return new Promise((resolve) => {
    const done = () => {
      names.forEach((name) => emitter.off(name, done));
      resolve();
    };
    names.forEach((name) => emitter.on(name, done));
  });
}
