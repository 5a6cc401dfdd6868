// From what went wrong to what the client is told.
//
// The one table that turns an SQLSTATE into an HTTP status.  A code that is not
// in it is looked up by its class, the first two characters; what is not there
// either is our own mistake, 500, and its text stays in our log.

export const statusOfSqlstate = {
  'IV001': 409, // insufficient stock
  'IV002': 410, // the hold has expired
  'IV003': 404, // no such reservation, or somebody else's
  'IV004': 404, // unknown SKU
  'IV005': 422, // key used with other arguments
  'IV006': 409, // not for sale (any more)
  'IV007': 409, // purchase limit
  'IV008': 409, // not allowed in this state
  'IV010': 404, // unknown location
  'IV011': 404, // no such order
  'IV012': 409, // count below what is held
  '22': 400, // an argument that makes no sense: 22023, 22003, 22P02 and the like
  '23505': 409, // the SKU exists
  '0A000': 501, // not built yet
  '08': 503, // connection lost
  '25006': 503, // a standby: the primary is elsewhere
  '40': 503, // lost a race, deadlock: tried again before, see database.js
  '53': 503, // too many connections, out of memory or disk
  '55': 503, // locked, or the extension is being upgraded
  '57': 503, // cancelled by a timeout, server shutting down
};

// What `pg` and Node say when there is no server to ask.
const unreachable = /^(ECONN|ENOENT|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_)|timeout|[Cc]onnection/;

// A request that the gateway itself refuses.
export class Refusal extends Error {
  constructor(statusCode, message) {
    super(message);
    this.statusCode = statusCode;
  }
}

// The answer to an error: { statusCode, body }.  `overrides` is the route's own
// addition to the table.
export function describe(error, overrides = {}) {
  if (error instanceof Refusal) {
    return answer(error.statusCode, error.message);
  }
  // Express and its parsers: malformed JSON or URL, a body that is too large, ...
  if (error.status >= 400 && error.status < 500) {
    return answer(error.status, error.message);
  }
  const sqlstate = error.severity ? error.code : undefined;
  if (sqlstate) {
    const statusCode =
      overrides[sqlstate] ?? statusOfSqlstate[sqlstate] ?? statusOfSqlstate[sqlstate.slice(0, 2)];
    if (statusCode === 503) {
      return answer(503, 'the database cannot answer now, try again', sqlstate);
    }
    if (statusCode) {
      return answer(statusCode, error.message, sqlstate, error.detail);
    }
  } else if (unreachable.test(error.code ?? error.message)) {
    return answer(503, 'the database cannot be reached, try again');
  }
  return answer(500, 'internal error', sqlstate);
}

function answer(statusCode, error, code, detail) {
  return { statusCode, body: { success: false, error, statusCode, code, detail } };
}
