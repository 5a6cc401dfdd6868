// The REST routes, as data: what each takes from the request, and the one
// statement that is its answer.
//
// A statement returns one row, or none for what is not there.  Its column `data`
// of type json becomes the answer's "data"; it may have a column `replayed`: whether it repeats the answer to
// an earlier request with the same Idempotency-Key.  Statuses are in capitals,
// as in the systems that this API comes from.
import { Refusal } from './errors.js';

// The values of a body, path or query: strings and numbers, which PostgreSQL
// parses.  What is absent is null, which takes a default or is refused by it.
function scalar(from, name) {
  const value = from?.[name];
  if (value === undefined || value === null) {
    return null;
  }
  if (typeof value !== 'string' && typeof value !== 'number') {
    throw new Refusal(400, `${name} must be a string or a number`);
  }
  return String(value);
}

const body = (name) => (request) => scalar(request.body, name);
const path = (name) => (request) => scalar(request.params, name);
const query = (name) => (request) => scalar(request.query, name);
const header = (name) => (request) => request.get(name) ?? null;
const key = header('Idempotency-Key');

// How many of a list: 1 to `most`.
const pageSize = (most) => (request) => {
  const limit = scalar(request.query, 'limit') ?? '50';
  if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > most) {
    throw new Refusal(400, `limit must be a number from 1 to ${most}`);
  }
  return limit;
};

// An item with the sum of its stock over all locations.  One that has no limit
// of backorders has 2^53 units available, and so has the sum.
const itemColumns = `
  sku, name AS "productName", unit_price AS price, currency, on_sale AS "onSale",
  sum(on_hand) AS "totalQuantity",
  sum(reserved - dead) AS "reservedQuantity",
  least(sum(available), 9007199254740992) AS "availableQuantity"`;

// The lines of a reservation's or an order's status, in our spelling.
const statusLines = `
  (SELECT json_agg(json_build_object(
            'sku', line ->> 'sku', 'location', line ->> 'location',
            'quantity', line -> 'quantity', 'unitPrice', line -> 'unit_price',
            'returned', coalesce(line -> 'returned', '0')) ORDER BY place)
     FROM jsonb_array_elements(lines) WITH ORDINALITY AS line (line, place))`;

// Those of a hold.
const holdLines = (id) => `
  (SELECT json_agg(json_build_object(
            'sku', sku, 'quantity', quantity, 'unitPrice', unit_price) ORDER BY line_no)
     FROM inv_reservation_lines AS line WHERE line.reservation_id = ${id})`;

const cancelReservation = {
  sql: `
    SELECT replayed, json_build_object(
             'reservationId', reservation_id, 'status', upper(status)) AS data
      FROM inv_cancel($1::uuid, key => $2, customer => $3)`,
  values: [body('reservationId'), key, body('userId')],
};

// inv_cancel_order() does not say whether it repeats.
const cancelOrder = {
  sql: `
    SELECT json_build_object(
             'orderId', order_id, 'reservationId', reservation_id, 'status', upper(status),
             'paymentStatus', upper(payment_status)) AS data
      FROM inv_cancel_order($1::uuid, $2, key => $3)`,
  values: [body('orderId'), body('reason'), key],
};

export const routes = [
  {
    method: 'get',
    path: '/inventory',
    // One item more than asked for tells whether there is another page.
    statement: {
      sql: `
        WITH page AS (
          SELECT ${itemColumns}, row_number() OVER (ORDER BY sku) AS place
            FROM inv_availability
           WHERE ($1::text IS NULL OR sku > $1) AND ($3::text IS NULL OR starts_with(upper(sku), upper($3)))
           GROUP BY sku, name, unit_price, currency, on_sale
           ORDER BY sku LIMIT $2::integer + 1)
        SELECT json_build_object(
                 'items', coalesce(json_agg(to_jsonb(page) - 'place' ORDER BY place)
                                   FILTER (WHERE place <= $2::integer), '[]'),
                 'next', CASE WHEN count(*) > $2::integer
                              THEN max(sku) FILTER (WHERE place = $2::integer) END) AS data
          FROM page`,
      values: [query('after'), pageSize(500), query('prefix')],
    },
  },
  {
    method: 'post',
    path: '/inventory',
    status: 201,
    message: 'item created',
    // A SKU can be created once: a repeat is refused, with or without a key.  The
    // second call refers to the first, so that it comes after it.
    statement: {
      sql: `
        SELECT json_build_object(
                 'sku', stock.sku, 'productName', $2::text, 'price', coalesce($3::numeric, 0),
                 'currency', $4::text, 'onSale', true, 'totalQuantity', stock.on_hand,
                 'reservedQuantity', stock.reserved, 'availableQuantity', stock.available) AS data
          FROM inv_add_item($1, $2, coalesce($3::numeric, 0), $4) AS item_id
         CROSS JOIN LATERAL
               inv_set_stock(CASE WHEN item_id IS NOT NULL THEN $1 END, $5::bigint,
                             reason => 'opening stock') AS stock`,
      values: [
        body('sku'), body('productName'), body('price'), body('currency'), body('quantity'),
      ],
    },
  },
  {
    method: 'get',
    path: '/inventory/:sku',
    // Functions know by themselves what uppercase_sku does; a view does not.
    statement: {
      sql: `
        SELECT to_json(item) AS data
          FROM (SELECT ${itemColumns},
                       json_agg(json_build_object(
                         'location', location, 'totalQuantity', on_hand,
                         'reservedQuantity', reserved - dead, 'availableQuantity', available)
                         ORDER BY location) AS locations
                  FROM inv_availability
                 WHERE sku = CASE current_setting('inventory_reservation.uppercase_sku', true)
                             WHEN 'on' THEN upper($1 COLLATE "C") ELSE $1 END
                 GROUP BY sku, name, unit_price, currency, on_sale) AS item`,
      values: [path('sku')],
    },
  },
  {
    method: 'post',
    path: '/inventory/reserve',
    status: 201,
    message: 'stock reserved',
    statement: {
      sql: `
        SELECT replayed, json_build_object(
                 'reservationId', reservation_id, 'userId', $4::text, 'sku', $1::text,
                 'quantity', coalesce($2::bigint, 1), 'status', upper(status),
                 'expiresAt', expires_at,
                 'expiresIn', greatest(ceil(extract(epoch FROM expires_at - clock_timestamp())), 0),
                 'availableQuantity', available) AS data
          FROM inv_reserve($1, coalesce($2::bigint, 1), key => $3, customer => $4,
                           ttl => make_interval(secs => $5::double precision),
                           location => $6, reference => $7)`,
      values: [
        body('sku'), body('quantity'), key, body('userId'), body('ttlSeconds'), body('location'),
        body('reference'),
      ],
    },
  },
  {
    method: 'post',
    path: '/inventory/reserve/cancel',
    message: 'reservation cancelled',
    statement: cancelReservation,
  },
  {
    method: 'get',
    path: '/reservation/:id',
    // Reservations of one line, the only ones that this API makes, have sku and
    // quantity at the top as well.
    statement: {
      sql: `
        SELECT json_build_object(
                 'reservationId', reservation_id, 'userId', customer, 'reference', reference,
                 'sku', lines -> 0 -> 'sku', 'quantity', lines -> 0 -> 'quantity',
                 'status', upper(status), 'createdAt', created_at, 'expiresAt', expires_at,
                 'expiresIn', CASE WHEN status = 'active' THEN
                   ceil(extract(epoch FROM expires_at - clock_timestamp())) ELSE 0 END,
                 'closedAt', closed_at, 'totalPrice', total, 'currency', currency,
                 'orderId', order_id, 'lines', ${statusLines}) AS data
          FROM inv_reservation_status($1::uuid)`,
      values: [path('id')],
    },
  },
  {
    method: 'post',
    path: '/checkout/confirm',
    message: 'checkout confirmed',
    statement: {
      sql: `
        SELECT replayed, json_build_object(
                 'orderId', order_id, 'reservationId', $1::uuid, 'status', upper(status),
                 'totalPrice', total) AS data
          FROM inv_confirm($1::uuid, key => $2, customer => $3)`,
      values: [body('reservationId'), key, body('userId')],
    },
  },
  {
    method: 'post',
    path: '/checkout/cancel',
    message: 'checkout cancelled',
    // An order, if the body names one, else a reservation.
    statement: (request) => (body('orderId')(request) ? cancelOrder : cancelReservation),
  },
  {
    method: 'get',
    path: '/order/:id',
    statement: {
      sql: `
        SELECT json_build_object(
                 'orderId', order_id, 'reservationId', reservation_id, 'userId', customer,
                 'reference', reference, 'sku', lines -> 0 -> 'sku',
                 'quantity', lines -> 0 -> 'quantity', 'status', upper(status),
                 'paymentStatus', upper(payment_status), 'totalPrice', total,
                 'currency', currency, 'createdAt', created_at, 'updatedAt', updated_at,
                 'completedAt', completed_at, 'cancelledAt', cancelled_at,
                 'lines', ${statusLines}) AS data
          FROM inv_order_status($1::uuid)`,
      values: [path('id')],
    },
  },

  // For the live page

  {
    method: 'get',
    path: '/holds',
    // Newest first; the ids of reservations are in the order of their making.
    statement: {
      sql: `
        WITH live AS MATERIALIZED (SELECT * FROM inv_active_holds),
        page AS (
          SELECT reservation_id AS "reservationId", customer AS "userId", units,
                 total AS "totalPrice", currency, created_at AS "createdAt",
                 expires_at AS "expiresAt", extract(epoch FROM time_left) AS "expiresIn",
                 extract(epoch FROM expires_at - created_at) AS "lifetime",
                 ${holdLines('live.reservation_id')} AS lines,
                 row_number() OVER (ORDER BY reservation_id DESC) AS place
            FROM live WHERE $1::uuid IS NULL OR reservation_id < $1::uuid
           ORDER BY reservation_id DESC LIMIT $2::integer + 1)
        SELECT json_build_object(
                 'holds', coalesce(json_agg(to_jsonb(page) - 'place' - 'more' ORDER BY place)
                                   FILTER (WHERE place <= $2::integer), '[]'),
                 'total', (SELECT count(*) FROM live),
                 'units', (SELECT coalesce(sum(units), 0) FROM live),
                 'next', max("reservationId"::text)
                   FILTER (WHERE place = $2::integer AND more)) AS data
          FROM (SELECT *, count(*) OVER () > $2::integer AS more FROM page) AS page`,
      values: [query('after'), pageSize(500)],
    },
  },
  {
    method: 'get',
    path: '/sales',
    // In the order of their holds, which has an index.
    statement: {
      sql: `
        SELECT json_build_object('sales', coalesce(json_agg(sale ORDER BY sale."soldAt" DESC), '[]')) AS data
          FROM (SELECT reservation_id AS "reservationId", line_no AS line, customer AS "userId",
                       sku, quantity, returned, unit_price AS "unitPrice",
                       quantity * unit_price AS "totalPrice", currency, closed_at AS "soldAt"
                  FROM inv_reservation_lines
                 WHERE status = 'confirmed'
                 ORDER BY reservation_id DESC, line_no DESC LIMIT $1::integer) AS sale`,
      values: [pageSize(500)],
    },
  },
  {
    method: 'get',
    path: '/health',
    statement: {
      sql: `
        SELECT json_build_object(
                 'now', clock_timestamp(), 'counting', counting, 'reserves', reserves,
                 'confirms', confirms, 'cancels', cancels, 'replays', replays,
                 'refused', rejected_insufficient_stock,
                 'expired', expired_by_sweep + expired_by_reclaim,
                 'lockWaits', lock_waits, 'workerRuns', worker_runs,
                 'workerFailures', worker_failures, 'workerLastRun', worker_last_run,
                 'workerLastError', worker_last_error, 'driftsFound', drifts_found,
                 'oldestDeadHold', extract(epoch FROM oldest_dead_hold_age),
                 'since', stats_reset) AS data
          FROM inv_stat`,
      values: [],
    },
  },
  {
    method: 'get',
    path: '/check',
    // Reads every row: the answers of one run serve all who ask meanwhile.
    shared: true,
    statement: {
      sql: `
        SELECT json_build_object(
                 'at', statement_timestamp(),
                 'violations', coalesce(json_agg(json_build_object(
                   'violation', violation, 'sku', sku, 'location', location, 'stripe', stripe,
                   'reservationId', reservation_id, 'orderId', order_id, 'found', found,
                   'expected', expected)), '[]')) AS data
          FROM inv_check()`,
      values: [],
    },
  },
];
