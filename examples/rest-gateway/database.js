// The connections to PostgreSQL: a bounded pool, timeouts, and the retry of what
// lost a race.
//
// What must never happen: a statement that is sent twice although it may have
// been done.  So only 40001 and 40P01 are tried again: the server has rolled
// those back.  After a broken connection nobody knows; that is for the client
// to find out, by repeating the request with its Idempotency-Key.
import pg from 'pg';

// The database makes the JSON, and it is sent as it is: a price is not turned
// into a binary fraction on its way.
const asText = (value) => value;
const types = {
  getTypeParser: (oid, format) =>
    oid === pg.types.builtins.JSON ? asText : pg.types.getTypeParser(oid, format),
};

const attempts = 5;
const lostRace = new Set(['40001', '40P01']);

// `settings`: connections, connectTimeout and statementTimeout in milliseconds.
// Where the server is and who we are is in the environment: PGHOST, PGUSER, ...
export function openDatabase(settings) {
  const pool = new pg.Pool({
    application_name: 'rest-gateway',
    max: settings.connections,
    connectionTimeoutMillis: settings.connectTimeout,
    statement_timeout: settings.statementTimeout,
    // For a server that does not answer at all.
    query_timeout: settings.statementTimeout + 2000,
    types,
  });
  // A connection that breaks while nobody uses it is replaced by the next.
  pool.on('error', (error) => console.error(`idle connection: ${error.message}`));

  return {
    // Run one statement in a transaction of its own; returns its rows.
    async query(sql, values) {
      for (let attempt = 1; ; attempt++) {
        try {
          return (await pool.query(sql, values)).rows;
        } catch (error) {
          if (!lostRace.has(error.code) || attempt === attempts) {
            throw error;
          }
          await pause(Math.random() * 20 * 2 ** attempt);
        }
      }
    },
    close: () => pool.end(),
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
