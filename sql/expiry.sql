-- Holds whose time is over.  Nothing sweeps here unless a line says so: a hold
-- is dead from its expires_at on, whoever notices.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 1, currency => 'EUR') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{5,5}');

--
-- What a dead hold looks like before anything touched it
--
SELECT dead_hold('A', 5) AS dead \gset
SELECT status, quantity FROM inv.inv_reservation WHERE reservation_id = :'dead';
SELECT status, closed_at, lines -> 0 ->> 'status' AS line, order_id
  FROM inv.inv_reservation_status(:'dead');
SELECT status FROM inv.inv_reservation_lines WHERE reservation_id = :'dead';
SELECT count(*) FROM inv.inv_active_holds;
SELECT on_hand, reserved, dead, available FROM inv.inv_availability WHERE sku = 'A';
SELECT inv.inv_available('A');

-- it cannot be sold, prolonged or shrunk
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'dead'));
SELECT outcome(format('SELECT inv.inv_confirm(%L, %L)', :'dead', 'a key'));
SELECT outcome(format('SELECT inv.inv_extend(%L, %L)', :'dead', '1 hour'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1)', :'dead', 'A'));
SELECT status FROM inv.inv_reservation WHERE reservation_id = :'dead';
-- giving it back frees it and says how it ended
SELECT reservation_id = :'dead' AS same_id, status, replayed FROM inv.inv_cancel(:'dead');
SELECT status, closed_at IS NOT NULL AS closed FROM inv.inv_reservation WHERE reservation_id = :'dead';
SELECT on_hand, reserved, dead, available FROM inv.inv_availability WHERE sku = 'A';
SELECT status, replayed FROM inv.inv_cancel(:'dead');
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'dead'));

--
-- The next buyer gets the stock: no more dead holds are freed than he needs
--
SELECT dead_hold('A', 2) AS dead1, dead_hold('A', 1) AS dead2, dead_hold('A', 2) AS dead3 \gset
SELECT dead, available FROM inv.inv_availability WHERE sku = 'A';
SELECT status, available FROM inv.inv_reserve('A', 1);
SELECT status, quantity FROM inv.inv_reservation
 WHERE reservation_id IN (:'dead1', :'dead2', :'dead3') ORDER BY expires_at;
SELECT on_hand, reserved, dead, available FROM inv.inv_availability WHERE sku = 'A';
SELECT status, available FROM inv.inv_try_reserve('A', 3);
SELECT status, quantity FROM inv.inv_reservation
 WHERE reservation_id IN (:'dead1', :'dead2', :'dead3') ORDER BY expires_at;
SELECT outcome($$SELECT inv.inv_reserve('A', 2)$$);
SELECT reservation_id IS NULL AS none, available FROM inv.inv_try_reserve('A', 2);
SELECT status, available FROM inv.inv_reserve('A', 1);
SELECT count(*) FILTER (WHERE status = 'active') AS live,
       count(*) FILTER (WHERE status = 'expired') AS expired
  FROM inv.inv_reservation_lines;
SELECT operation, delta_on_hand, delta_reserved, reserved_after
  FROM inv.inv_ledger ORDER BY entry_id DESC LIMIT 6;
SELECT count(*) FROM (SELECT inv.inv_cancel(reservation_id)
                        FROM inv.inv_active_holds) AS cancelled;

-- of two equal calls in one statement the second sees the first
SELECT dead_hold('A', 5) IS NOT NULL AS died;
SELECT status, available
  FROM generate_series(1, 6) AS nr, LATERAL inv.inv_try_reserve('A', 1 + 0 * nr);
SELECT count(*) FROM (SELECT inv.inv_cancel(reservation_id)
                        FROM inv.inv_active_holds) AS cancelled;

--
-- A dead cart, freed in part, is expired for ever
--
SELECT reservation_id AS cart, expires_at AS cart_expires
  FROM inv.inv_reserve_cart('{A,B}', '{5,5}', ttl => '1 millisecond') \gset
SELECT pg_sleep(0.01);
SELECT status FROM inv.inv_reserve('A', 1);
SELECT sku, line.status AS stored, shown.status AS shown
  FROM inv.inv_reservation AS line
  JOIN inv.inv_reservation_lines AS shown USING (reservation_id, line_no)
 WHERE reservation_id = :'cart' ORDER BY line_no;
SELECT * FROM inv.inv_check();
SELECT status, jsonb_path_query_array(lines, '$[*].status') AS lines
  FROM inv.inv_reservation_status(:'cart');
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'cart'));
SELECT outcome(format('SELECT inv.inv_extend(%L)', :'cart'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1)', :'cart', 'B'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1)', :'cart', 'A'));
-- giving it back frees what is left of it
SELECT sku, on_hand, reserved, dead, available FROM inv.inv_availability ORDER BY sku;
SELECT status, replayed FROM inv.inv_cancel(:'cart');
SELECT sku, on_hand, reserved, dead, available FROM inv.inv_availability ORDER BY sku;
SELECT status, count(*) FROM inv.inv_reservation WHERE reservation_id = :'cart' GROUP BY status;
-- so does a sweep
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{A,B}', '{4,5}', ttl => '1 millisecond') \gset
SELECT pg_sleep(0.01);
SELECT status FROM inv.inv_reserve('B', 2);
SELECT inv.inv_expire();
SELECT status, count(*) FROM inv.inv_reservation WHERE reservation_id = :'cart' GROUP BY status;
SELECT sku, reserved, dead, available FROM inv.inv_availability ORDER BY sku;
SELECT inv.inv_expire();
SELECT count(*) FROM (SELECT inv.inv_cancel(reservation_id)
                        FROM inv.inv_active_holds) AS cancelled;

-- a cart gets what is dead, on each of its SKUs; a short one frees nothing for good
SELECT dead_hold('A', 5) IS NOT NULL AS died, dead_hold('B', 4) IS NOT NULL AS died;
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{5,6}')$$);
SELECT reservation_id IS NULL AS none, shortages FROM inv.inv_try_reserve_cart('{A,B}', '{6,5}');
SELECT status, available FROM inv.inv_reserve_cart('{A,B}', '{5,5}');
SELECT inv.inv_expire();
SELECT count(*) FROM (SELECT inv.inv_cancel(reservation_id)
                        FROM inv.inv_active_holds) AS cancelled;

--
-- The sweep
--
SELECT dead_hold('A') IS NOT NULL AS died FROM generate_series(1, 5);
SELECT status FROM inv.inv_reserve('B', 5, ttl => '1 hour');
SELECT inv.inv_expire(2);
SELECT reserved, dead, available FROM inv.inv_availability WHERE sku = 'A';
SELECT inv.inv_expire(max_count => 2);
SELECT inv.inv_expire();
SELECT inv.inv_expire();
-- the longest dead go first, the living stay
SELECT count(*) FROM inv.inv_active_holds;
SELECT sku, reserved, dead, available FROM inv.inv_availability ORDER BY sku;
SELECT outcome('SELECT inv.inv_expire(0)');
SELECT outcome('SELECT inv.inv_expire(-1)');
SELECT operation, delta_on_hand, delta_reserved, reserved_after
  FROM inv.inv_ledger ORDER BY entry_id DESC LIMIT 2;
SELECT count(*) FROM (SELECT inv.inv_cancel(reservation_id)
                        FROM inv.inv_active_holds) AS cancelled;

-- a cart is one hold to the sweep, however many its lines
SELECT status FROM inv.inv_reserve_cart('{A,B}', '{1,1}', ttl => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT inv.inv_expire();

-- a released line of a dead hold holds nothing
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{A,B}', '{1,1}', ttl => '1 second') \gset
SELECT status FROM inv.inv_release(:'cart', 'A', 1);
SELECT pg_sleep(1.1);
SELECT status FROM inv.inv_reservation_status(:'cart');
SELECT inv.inv_expire();
SELECT line_no, quantity, status FROM inv.inv_reservation WHERE reservation_id = :'cart' ORDER BY line_no;

--
-- A hold that was extended in time outlives its first expires_at
--
SELECT reservation_id AS kept FROM inv.inv_reserve('A', 5, ttl => '1 second') \gset
SELECT inv.inv_extend(:'kept', '1 hour') > now() + interval '59 minutes' AS extended;
SELECT pg_sleep(1.1);
SELECT inv.inv_expire();
SELECT outcome($$SELECT inv.inv_reserve('A', 1)$$);
SELECT status FROM inv.inv_confirm(:'kept');
SELECT on_hand FROM inv.inv_receive('A', 5);

-- the extended cart: all its lines
SELECT reservation_id AS kept FROM inv.inv_reserve_cart('{A,B}', '{5,5}', ttl => '1 second') \gset
SELECT inv.inv_extend(:'kept', '1 hour') > now() + interval '59 minutes' AS extended;
SELECT count(DISTINCT expires_at), count(*) FROM inv.inv_reservation WHERE reservation_id = :'kept';
SELECT pg_sleep(1.1);
SELECT inv.inv_expire();
SELECT status FROM inv.inv_cancel(:'kept');

-- max_ttl counts from the creation, for new holds and for extended ones
SHOW inventory_reservation.max_ttl;
SELECT reservation_id AS long FROM inv.inv_reserve('A', 1, ttl => '10 years') \gset
SELECT expires_at - created_at <= interval '24 hours' AS capped,
       expires_at - created_at > interval '24 hours' - interval '1 second' AS fully
  FROM inv.inv_reservation WHERE reservation_id = :'long';
SELECT inv.inv_extend(:'long', '10 years') = expires_at AS not_later
  FROM inv.inv_reservation_status(:'long');
SELECT reservation_id AS longer FROM inv.inv_reserve('A', 1, ttl => '1 hour') \gset
SELECT inv.inv_extend(:'longer', '10 years') <= created_at + interval '24 hours' AS capped
  FROM inv.inv_reservation_status(:'longer');

-- no sweep of a hold in a transaction that started before it died, either:
-- the clock decides, not now()
BEGIN;
SELECT now() < expires_at AS alive_by_the_transaction
  FROM inv.inv_reserve('B', 5, ttl => '20 milliseconds') \gset
SELECT pg_sleep(0.03);
SELECT :'alive_by_the_transaction' AS alive_by_the_transaction, inv.inv_available('B');
SELECT status FROM inv.inv_reserve('B', 5);
COMMIT;

-- the dead count in full where what is left without them is less than the
-- safety stock
SELECT inv.inv_add_item('kept back') IS NOT NULL AS added;
SELECT on_hand FROM inv.inv_receive('kept back', 10);
SELECT status FROM inv.inv_reserve('kept back', 8, ttl => '1 millisecond');
UPDATE inv.inv_stock SET min_available = 5
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'kept back');
SELECT pg_sleep(0.01);
SELECT inv.inv_available('kept back');
SELECT on_hand, available FROM inv.inv_receive('kept back', 1);
SELECT status, available FROM inv.inv_reserve('kept back', 6);

SELECT * FROM inv.inv_check();
