-- Locations to choose from: by priority, all of a line from one, or split.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_location('near', priority => -1) > 0 AS added,
       inv.inv_add_location('far', priority => 5) > 0 AS added,
       inv.inv_add_location('farther', priority => 5) > 0 AS added,
       inv.inv_add_location('bare', priority => -2) > 0 AS added;
SELECT inv.inv_add_item('A', unit_price => 9.99, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 0.30, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('C', currency => 'EUR') IS NOT NULL AS added;
CREATE VIEW public.books AS
SELECT sku, string_agg(format('%s %s/%s', location, reserved, on_hand), ', ' ORDER BY location) AS "reserved/on hand"
  FROM inv.inv_availability GROUP BY sku ORDER BY sku;
-- Where a reservation is, line by line.
CREATE FUNCTION public.places(uuid) RETURNS text
LANGUAGE SQL VOLATILE AS $$
    SELECT string_agg(format('%s: %s %s at %s', line_no, quantity, sku, location), ', ' ORDER BY line_no)
      FROM inv.inv_reservation_lines WHERE reservation_id = $1
$$;
-- Everything as new: so many A near, at the default location, far and farther, of B and C half.
CREATE FUNCTION public.fill(near bigint, here bigint, far bigint, farther bigint) RETURNS void
LANGUAGE SQL AS $$
    SELECT inv.inv_cancel(reservation_id) FROM inv.inv_active_holds;
    SELECT inv.inv_expire();
    SELECT inv.inv_set_stock(sku, units / part, location)
      FROM (VALUES ('A', 1), ('B', 2)) AS item (sku, part),
           (VALUES ('near', near), ('default', here), ('far', far), ('farther', farther)) AS stock (location, units)
$$;

--
-- The first by priority that has it all
--
SELECT fill(3, 5, 8, 8);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 3);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 1);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 5);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 4);
-- of one priority the older one
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 8);
SELECT inv.inv_available('A'), inv.inv_available('A', 'default'), inv.inv_available('A', 'far');
-- one location has 3, and 3 others 0
SELECT outcome($$SELECT inv.inv_reserve('A', 4)$$);
SELECT reservation_id, status, available FROM inv.inv_try_reserve('A', 4);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 3);
SELECT * FROM public.books;
SELECT * FROM inv.inv_check();
-- several have some, and together they would have enough
SELECT fill(3, 5, 8, 2);
SELECT outcome($$SELECT inv.inv_reserve('A', 9)$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 19)$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{9,5}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{9,99}')$$);
SELECT shortages FROM inv.inv_try_reserve_cart('{A,B,C}', '{9,1,2}');
SELECT available FROM inv.inv_try_reserve('A', 9);

--
-- A location that is named, as ever
--
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 3, location => 'default');
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 3, location => 'far', split => true);
SELECT outcome($$SELECT inv.inv_reserve('A', 3, location => 'default')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 3, location => 'default', split => true)$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 1, location => 'bare')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 1, location => 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A}', '{1}', location => 'nowhere', split => true)$$);
SELECT outcome($$SELECT inv.inv_available('A', 'nowhere')$$);
SELECT shortages FROM inv.inv_try_reserve_cart('{A,B}', '{6,4}', location => 'far', split => true);

--
-- Split: only where no location has it all, and then by priority
--
SELECT fill(3, 5, 8, 2);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 8, split => true);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 9, split => true);
SELECT * FROM public.books;
SELECT outcome($$SELECT inv.inv_reserve('A', 2, split => true)$$);
SELECT available FROM inv.inv_try_reserve('A', 2, split => true);
SELECT fill(3, 5, 8, 2);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 10, split => true);
SELECT outcome($$SELECT inv.inv_reserve('A', 9, split => true)$$);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 8, split => true);
SELECT * FROM inv.inv_check();

--
-- Carts: each line from its own
--
SELECT fill(3, 5, 8, 2);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve_cart('{B,A}', '{2,6}');
SELECT status, available, places(reservation_id)
  FROM inv.inv_reserve_lines('[{"sku": "B", "quantity": 1}, {"sku": "A", "quantity": 10}]', metadata => '{"a": 1}', split => true);
SELECT line_no, metadata FROM inv.inv_reservation WHERE metadata IS NOT NULL;
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B,C}', '{3,5,1}', split => true)$$);
SELECT available, shortages FROM inv.inv_try_reserve_cart('{A,B,C}', '{3,4,1}', split => true);
SELECT available, shortages FROM inv.inv_try_reserve_cart('{A,B}', '{1,5}');
SELECT * FROM public.books;
-- a SKU that is named twice is one line
SELECT fill(3, 5, 8, 2);
SELECT status, places(reservation_id) FROM inv.inv_reserve_cart('{A,B,A}', '{3,1,3}');
SELECT status, places(reservation_id) FROM inv.inv_reserve_cart('{A,B,A}', '{3,1,6}', split => true);
SELECT * FROM inv.inv_check();

--
-- What is done with split lines
--
SELECT fill(3, 5, 8, 2);
SELECT reservation_id AS hold FROM inv.inv_reserve_cart('{B,A}', '{1,12}', customer => 'ann', split => true) \gset
SELECT status, total, currency FROM inv.inv_reservation_status(:'hold');
SELECT line->>'line' AS line, line->>'sku' AS sku, line->>'location' AS location, line->>'quantity' AS quantity, line->>'unit_price' AS unit_price
  FROM inv.inv_reservation_status(:'hold'), jsonb_array_elements(lines) AS line;
SELECT DISTINCT unit_price, currency FROM inv.inv_reservation JOIN inv.inv_item USING (item_id, unit_price, currency)
 WHERE reservation_id = :'hold' AND sku = 'A';
-- the last lines first
SELECT status FROM inv.inv_release(:'hold', 'A', 5);
SELECT places(:'hold');
SELECT outcome(format($$SELECT inv.inv_release(%L, 'A', 8)$$, :'hold'));
SELECT inv.inv_extend(:'hold', '1 hour') > now() AS extended;
SELECT order_id AS sale, total FROM inv.inv_confirm(:'hold') \gset
SELECT :total AS total;
SELECT * FROM public.books;
SELECT line->>'line' AS line, line->>'sku' AS sku, line->>'location' AS location, line->>'quantity' AS quantity, line->>'returned' AS returned
  FROM inv.inv_order_status(:'sale'), jsonb_array_elements(lines) AS line;
-- where it came from, the first lines first
SELECT status FROM inv.inv_return(:'sale', 'A', 4);
SELECT outcome(format($$SELECT inv.inv_return(%L, 'A', 4)$$, :'sale'));
SELECT * FROM public.books;
SELECT status FROM inv.inv_cancel_order(:'sale');
SELECT * FROM public.books;
SELECT operation, sku, location.code, delta_on_hand, delta_reserved
  FROM inv.inv_ledger JOIN inv.inv_item USING (item_id) JOIN inv.inv_location AS location USING (location_id)
 WHERE :'hold' = reservation_id ORDER BY entry_id;
-- all of it
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 12, split => true) \gset
SELECT status FROM inv.inv_release(:'hold', 'A', 12);
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 12, split => true) \gset
SELECT status FROM inv.inv_cancel(:'hold');
SELECT * FROM public.books;
-- a count that leaves no room for one part takes the others with it
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 12, split => true) \gset
SELECT outcome($$SELECT inv.inv_set_stock('A', 4, 'default')$$);
SELECT location, on_hand, reserved FROM inv.inv_set_stock('A', 4, 'default', force => true);
SELECT status FROM inv.inv_reservation_status(:'hold');
SELECT * FROM public.books;
SELECT * FROM inv.inv_check();

--
-- Dead holds are free, each at its own location
--
SELECT fill(3, 5, 8, 2);
SELECT count(inv.inv_reserve('A', 3, ttl => '1 millisecond', location => 'near')),
       count(inv.inv_reserve('A', 4, ttl => '1 millisecond', location => 'default')),
       count(inv.inv_reserve('A', 8, ttl => '1 millisecond', location => 'far'));
SELECT pg_sleep(0.01);
SELECT inv.inv_available('A');
-- nothing is freed where nothing is taken
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 5);
SELECT location, reserved, dead, available FROM inv.inv_availability WHERE sku = 'A' ORDER BY location;
-- nor where it is refused
SELECT outcome($$SELECT inv.inv_reserve('A', 9)$$);
SELECT location, reserved, dead, available FROM inv.inv_availability WHERE sku = 'A' ORDER BY location;
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 11, split => true);
SELECT location, reserved, dead, available FROM inv.inv_availability WHERE sku = 'A' ORDER BY location;
SELECT * FROM inv.inv_check();
-- a split hold that died is taken again where it was
SELECT fill(3, 5, 8, 2);
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 12, ttl => '1 millisecond', split => true) \gset
SELECT pg_sleep(0.01);
SELECT status, places(reservation_id) FROM inv.inv_reserve('A', 1);
SELECT outcome(format($$SELECT inv.inv_confirm(%L, retake => true)$$, :'hold'));
SELECT inv.inv_adjust('A', 1, 'near') IS NOT NULL AS adjusted;
SELECT status, total FROM inv.inv_confirm(:'hold', retake => true);
SELECT places(:'hold');
SELECT * FROM public.books;
SELECT * FROM inv.inv_check();

--
-- Safety stock, backorders, stripes
--
SELECT fill(3, 5, 8, 2);
SELECT available FROM inv.inv_set_policy('A', safety_stock => 2, location => 'near');
SELECT available FROM inv.inv_set_policy('A', safety_stock => 9, location => 'default');
SELECT inv.inv_set_stripes('A', 4, 'far');
SELECT inv.inv_available('A');
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 3);
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 7, split => true);
SELECT available FROM inv.inv_set_policy('A', backorder_limit => 4, location => 'farther');
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 3);
SELECT available FROM inv.inv_set_policy('A', backorder_limit => NULL, location => 'far');
SELECT inv.inv_available('A');
SELECT status, available, places(reservation_id) FROM inv.inv_reserve('A', 1000, split => true);
SELECT * FROM inv.inv_check();
SELECT count(inv.inv_set_policy('A', location => location)) FROM inv.inv_availability
 WHERE sku = 'A' AND (SELECT count(inv.inv_cancel(reservation_id)) FROM inv.inv_active_holds) > 0;
SELECT inv.inv_set_stripes('A', 1, 'far');

--
-- Keys: what was asked for, not what it came to
--
SELECT fill(3, 5, 8, 2);
SELECT status, replayed, available, places(reservation_id) FROM inv.inv_reserve('A', 12, 'k1', split => true);
SELECT status, replayed, available, places(reservation_id) FROM inv.inv_reserve('A', 12, 'k1', split => true);
SELECT outcome($$SELECT inv.inv_reserve('A', 12, 'k1')$$);
SELECT status, places(reservation_id) FROM inv.inv_reserve('A', 1, 'k2');
SELECT outcome($$SELECT inv.inv_reserve('A', 1, 'k2', location => 'far')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 1, 'k2', split => true)$$);
SELECT request FROM inv.inv_idempotency WHERE key IN ('k1', 'k2') ORDER BY key;
SELECT status, replayed, available FROM inv.inv_reserve_cart('{B,A}', '{1,1}', 'k3', 'ann', '1 hour', NULL, 'order 1', '{}', true);
SELECT status, replayed, available FROM inv.inv_reserve_cart('{B,A}', '{1,1}', 'k3', 'ann', '1 hour', NULL, 'order 1', '{}', true);

--
-- Batches
--
SELECT fill(3, 5, 8, 2);
CREATE TEMP TABLE answers AS
SELECT * FROM inv.inv_reserve_batch('{A,A,A,A,A,B,A}', '{2,5,2,9,1,5,6}') WITH ORDINALITY;
SELECT ordinality, status, error, available, places(reservation_id) FROM answers ORDER BY ordinality;
SELECT * FROM public.books;
SELECT fill(3, 5, 8, 2);
-- dead holds: not those of one location for what must come from another
SELECT count(inv.inv_reserve('A', units, ttl => '1 millisecond', location => location))
  FROM (VALUES ('near', 2), ('default', 4), ('far', 8)) AS wanted (location, units);
SELECT pg_sleep(0.01);
SELECT status, error, available, places(reservation_id) FROM inv.inv_reserve_batch('{A,A,A}', '{8,9,2}');
SELECT * FROM inv.inv_check();

--
-- Locations that come, go, and change: known at once
--
SELECT fill(3, 5, 8, 2);
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
BEGIN;
UPDATE inv.inv_location SET priority = -3 WHERE code = 'farther';
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
SAVEPOINT closer;
UPDATE inv.inv_location SET priority = -4 WHERE code = 'far';
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
ROLLBACK TO closer;
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
ROLLBACK;
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
BEGIN;
SELECT inv.inv_add_location('next door', priority => -9) > 0 AS added;
SELECT inv.inv_receive('A', 1, 'next door') IS NOT NULL AS received;
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
SELECT inv.inv_available('A');
ROLLBACK;
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
SELECT inv.inv_available('A');
UPDATE inv.inv_location SET priority = 9 WHERE code IN ('near', 'bare');
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
-- the default location may stand anywhere too
UPDATE inv.inv_location SET priority = 7 WHERE code = 'default';
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
-- a location without stock goes
DELETE FROM inv.inv_location WHERE code = 'bare';
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
SELECT fill(3, 5, 0, 0);
SELECT places(reservation_id) FROM inv.inv_reserve('A', 5);
SELECT places(reservation_id) FROM inv.inv_reserve('A', 1);
SELECT outcome($$SELECT inv.inv_location_changed()$$);
SELECT * FROM inv.inv_check();

--
-- Over all locations
--
SELECT fill(3, 5, 8, 2);
SELECT inv.inv_add_item('D', 'Never received') IS NOT NULL AS added;
SELECT inv.inv_available('D'), inv.inv_available('D', 'far');
SELECT status FROM inv.inv_reserve('A', 8);
SELECT status FROM inv.inv_reserve('B', 1, ttl => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT sku, locations, on_hand, reserved, dead, available, available_at_one, on_sale, unit_price, currency
  FROM inv.inv_total_availability ORDER BY sku;
SELECT sku, available = inv.inv_available(sku) AS same FROM inv.inv_total_availability ORDER BY sku;
SELECT outcome($$SELECT inv.inv_reserve('A', available_at_one + 1) FROM inv.inv_total_availability WHERE sku = 'A'$$);
SELECT status FROM inv.inv_total_availability, inv.inv_reserve('A', available, split => true) WHERE sku = 'A';
SELECT inv.inv_available('A');
SELECT * FROM inv.inv_check();
