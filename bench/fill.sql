-- Makes holds by the million, as if they had been reserved one by one, with
-- their ledger rows and counters.  (search_path names the peer.)
--
-- psql variables: holds, how many; expires_at; skus, how many SKUs they are
-- of, the first of the catalogue.
--
-- Hold n has the id ...-(100000000000 + n), which a load can compute.  Which
-- SKU and stripe it sits on is scattered, as buyers would.
BEGIN;
INSERT INTO inv_reservation (reservation_id, line_no, item_id, location_id,
                             stripe, quantity, unit_price, status, customer,
                             expires_at, created_at)
SELECT ('00000000-0000-7000-8000-' || 100000000000 + n)::uuid, 1,
       shelf.item_id, 0,
       shelf.stripes[1 + (hashint8(-n) & 2147483647) % cardinality(shelf.stripes)],
       1, 0, 'active', (n % 1000000)::text, timestamptz :'expires_at',
       timestamptz :'expires_at' - interval '5 minutes'
  FROM generate_series(0, :holds - 1::bigint) AS n
  JOIN (SELECT item_id, array_agg(stripe) AS stripes
          FROM inv_stock GROUP BY item_id) AS shelf
    ON shelf.item_id = 1 + (hashint8(n) & 2147483647) % :skus;
INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
                        delta_on_hand, delta_reserved, on_hand_after,
                        reserved_after, reservation_id, login_role,
                        caller_role)
SELECT created_at, pg_current_xact_id(), 'reserve', item_id, location_id,
       stripe, 0, quantity, 0, 0, reservation_id, session_user, current_user
  FROM inv_reservation;
UPDATE inv_stock AS stock
   SET reserved = held.units, earliest_expiry = :'expires_at'
  FROM (SELECT item_id, location_id, stripe, sum(quantity)::bigint AS units
          FROM inv_reservation GROUP BY 1, 2, 3) AS held
 WHERE stock.item_id = held.item_id AND stock.location_id = held.location_id
   AND stock.stripe = held.stripe;
COMMIT;
