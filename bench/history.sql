-- Years of sales: closed reservations, their orders and their ledger.
-- (search_path names the schema; psql variable: closed, how many.)
--
-- Seven of ten were sold, two expired, one was cancelled.  Each has the
-- ledger row of its beginning and that of its end.
INSERT INTO inv_reservation (reservation_id, line_no, item_id, location_id,
                             stripe, quantity, unit_price, status, customer,
                             expires_at, created_at, closed_at)
SELECT ('00000000-0000-7000-8000-' || 100000000000 + n)::uuid, 1,
       1 + (hashint8(n) & 2147483647) % 10000, 0, 0, 1, 0,
       CASE WHEN n % 10 < 7 THEN 'confirmed' WHEN n % 10 < 9 THEN 'expired'
            ELSE 'cancelled' END,
       (n % 1000000)::text, moment + interval '5 minutes', moment,
       moment + interval '1 minute'
  FROM generate_series(0, :closed - 1::bigint) AS n,
       LATERAL (SELECT now() - interval '2 years'
                       + n * (interval '700 days' / :closed) AS moment) AS past;
INSERT INTO inv_order (order_id, reservation_id, customer, total, status,
                       payment_status, created_at, updated_at, completed_at)
SELECT reservation_id, reservation_id, customer, 0, 'completed', 'paid',
       closed_at, closed_at, closed_at
  FROM inv_reservation WHERE status = 'confirmed';
INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
                        delta_on_hand, delta_reserved, on_hand_after,
                        reserved_after, reservation_id, order_id, login_role,
                        caller_role)
SELECT created_at, pg_current_xact_id(), 'reserve', item_id, 0, 0, 0, 1, 0, 0,
       reservation_id, NULL, session_user, current_user
  FROM inv_reservation
UNION ALL
SELECT closed_at, pg_current_xact_id(),
       CASE status WHEN 'confirmed' THEN 'confirm' WHEN 'expired' THEN 'expire'
                   ELSE 'cancel' END,
       item_id, 0, 0, CASE status WHEN 'confirmed' THEN -1 ELSE 0 END, -1, 0,
       0, reservation_id,
       CASE status WHEN 'confirmed' THEN reservation_id END,
       session_user, current_user
  FROM inv_reservation;
UPDATE inv_stock AS stock
   SET on_hand = stock.on_hand - sold.units
  FROM (SELECT item_id, count(*) AS units FROM inv_reservation
         WHERE status = 'confirmed' GROUP BY item_id) AS sold
 WHERE stock.item_id = sold.item_id;
