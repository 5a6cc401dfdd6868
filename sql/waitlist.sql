-- The waitlist: first come, first served.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup
SET search_path = inv, public;

-- What the buyers of a test see.  Ids and times are not shown.
CREATE FUNCTION pg_temp.stands(text, text) RETURNS text
STABLE RETURN (SELECT concat_ws(' ', state, position, 'x' || quantity,
								CASE WHEN reservation_id IS NOT NULL THEN 'hold' END,
								CASE WHEN expires_at > now() THEN 'lives' END)
				 FROM inv_waitlist_status($1, $2));
CREATE FUNCTION pg_temp.offer(text, text) RETURNS uuid
STABLE RETURN (SELECT reservation_id FROM inv_waitlist_status($1, $2));
CREATE VIEW pg_temp.line AS
SELECT sku, position, customer, quantity FROM inv_waiting ORDER BY sku, position;
CREATE VIEW pg_temp.stock AS
SELECT sku, on_hand, reserved, available FROM inv_availability ORDER BY sku;

SELECT inv_add_item('A', hold_ttl => '1 hour') > 0, inv_add_item('B') > 0, inv_add_item('never received') > 0;
SELECT on_hand FROM inv_receive('A', 2);
SELECT reservation_id AS first FROM inv_reserve('A', 1, customer => 'first') \gset
SELECT reservation_id AS second FROM inv_reserve('A', 1, customer => 'second') \gset

-- joining: one's place in line
SELECT inv_join_waitlist('A', 1, 'ann');
SELECT inv_join_waitlist('A', 2, 'bob');
SELECT inv_join_waitlist('A', 1, 'cid', 'cid joins');
TABLE pg_temp.line;
TABLE pg_temp.stock;
-- again: the same place
SELECT inv_join_waitlist('A', 2, 'bob');
SELECT inv_join_waitlist('A', 1, 'cid', 'cid joins');
SELECT outcome($$SELECT inv_join_waitlist('A', 1, 'bob')$$);
SELECT outcome($$SELECT inv_join_waitlist('A', 2, 'cid', 'cid joins')$$);
SELECT pg_temp.stands('A', 'ann'), pg_temp.stands('A', 'bob'), pg_temp.stands('A', 'dan'), pg_temp.stands('B', 'ann');

-- a unit comes back, and is the first's; his hold can be sold
SELECT status FROM inv_cancel(:'first');
SELECT pg_temp.stands('A', 'ann'), pg_temp.stands('A', 'bob');
TABLE pg_temp.line;
TABLE pg_temp.stock;
SELECT inv_join_waitlist('A', 1, 'ann'), inv_join_waitlist('A', 2, 'bob');
SELECT customer, quantity, expires_at - created_at FROM inv_reservation WHERE reservation_id = pg_temp.offer('A', 'ann');
SELECT outcome($$SELECT inv_join_waitlist('A', 7, 'ann')$$);
SELECT status FROM inv_confirm(pg_temp.offer('A', 'ann'), customer => 'ann');
SELECT pg_temp.stands('A', 'ann');

-- nobody is served past the first, and nobody else gets what he waits for
SELECT status FROM inv_cancel(:'second');
TABLE pg_temp.stock;
SELECT status, available FROM inv_try_reserve('A');
SELECT outcome($$SELECT inv_reserve('A')$$);
SELECT inv_available('A');
SELECT reservation_id, shortages FROM inv_try_reserve_cart('{A,B}', '{1,1}');
SELECT status, available, error FROM inv_reserve_batch('{A,A}', '{1,2}');
SELECT * FROM inv_check();
-- a key of before still replays
SELECT on_hand, available FROM inv_receive('A', 1, key => 'delivery');
SELECT on_hand, available, replayed FROM inv_receive('A', 1, key => 'delivery');
SELECT pg_temp.stands('A', 'bob'), pg_temp.stands('A', 'cid');

-- an offer that is not taken is passed on
SELECT status FROM inv_release(pg_temp.offer('A', 'bob'), 'A', 1);
SELECT pg_temp.stands('A', 'bob'), pg_temp.stands('A', 'cid');
TABLE pg_temp.stock;
SELECT inv_join_waitlist('A', 1, 'dan'), inv_join_waitlist('A', 1, 'eve');
SELECT status FROM inv_cancel(pg_temp.offer('A', 'bob'));
SELECT pg_temp.stands('A', 'bob'), pg_temp.stands('A', 'cid'), pg_temp.stands('A', 'dan'), pg_temp.stands('A', 'eve');
-- and so is one that has lapsed
UPDATE inv_reservation SET expires_at = created_at + interval '1 microsecond'
 WHERE reservation_id = pg_temp.offer('A', 'cid');
UPDATE inv_stock SET earliest_expiry = '-infinity' WHERE reserved > 0;
SELECT pg_temp.stands('A', 'cid');
SELECT status, available FROM inv_try_reserve('A');
SELECT inv_expire();
SELECT pg_temp.stands('A', 'cid'), pg_temp.stands('A', 'dan'), pg_temp.stands('A', 'eve');
TABLE pg_temp.line;
TABLE pg_temp.stock;
SELECT * FROM inv_check();
-- he may join anew, behind the others; the key of then does not
SELECT inv_join_waitlist('A', 1, 'cid', 'cid joins') IS NULL AS over, inv_join_waitlist('A', 1, 'fay'), inv_join_waitlist('A', 1, 'cid');

-- leaving
SELECT inv_leave_waitlist('A', 'fay', 'fay leaves');
SELECT inv_leave_waitlist('A', 'fay') IS NULL AS gone, inv_leave_waitlist('A', 'fay', 'fay leaves') IS NULL AS replayed;
SELECT inv_join_waitlist('A', 1, 'fay'), inv_leave_waitlist('A', 'fay', 'fay leaves') IS NULL AS late_repeat;
SELECT inv_leave_waitlist('A', 'eve') IS NULL AS has_an_offer, inv_leave_waitlist('never received', 'eve') IS NULL AS never_joined;
TABLE pg_temp.line;

-- what the shop does: receiving, adjusting, counting, returns, transfers, policy
SELECT pg_temp.stands('A', 'dan'), pg_temp.stands('A', 'eve');
SELECT inv_join_waitlist('A', 1, 'w' || n) FROM generate_series(1, 6) AS n;
SELECT on_hand, reserved, available FROM inv_adjust('A', 1);
SELECT on_hand, reserved, available FROM inv_set_stock('A', (SELECT on_hand + 1 FROM inv_availability WHERE sku = 'A'));
TABLE pg_temp.line;
SELECT order_id AS sale FROM inv_order LIMIT 1 \gset
SELECT status FROM inv_return(:'sale', 'A', 1);
TABLE pg_temp.line;
SELECT status AS sold FROM inv_confirm(pg_temp.offer('A', 'w1'));
SELECT status FROM inv_cancel_order((SELECT order_id FROM inv_order WHERE customer = 'w1'));
SELECT inv_add_location('store') > 0;
SELECT on_hand FROM inv_receive('A', 5, 'store');
SELECT location, on_hand, reserved, available FROM inv_transfer('A', 1, 'store', 'default');
SELECT on_hand FROM inv_set_stock('A', 0, 'store');
SELECT sku, on_hand, available FROM inv_load_stock('{A}', ARRAY[(SELECT on_hand + 1 FROM inv_availability WHERE sku = 'A' AND location = 'default')]);
TABLE pg_temp.line;
SELECT available FROM inv_set_policy('A', backorder_limit => 1);
TABLE pg_temp.line;
SELECT * FROM inv_check();

-- the line is empty: everybody may buy
SELECT available FROM inv_receive('A', 3);
SELECT count(*) FILTER (WHERE waiting) FROM inv_stock;
SELECT status FROM inv_reserve('A');

-- units that are free go to who joins, if nobody is before him
SELECT inv_join_waitlist('A', 1, 'gus');
SELECT pg_temp.stands('A', 'gus');
-- more than there are: he waits, and leaving frees what was kept for him
SELECT available FROM inv_receive('A', 3);
SELECT inv_join_waitlist('A', 4, 'hal');
SELECT inv_available('A');
SELECT inv_leave_waitlist('A', 'hal');
SELECT inv_available('A');
-- who leaves makes way for the next
SELECT inv_join_waitlist('A', 4, 'hal'), inv_join_waitlist('A', 3, 'ida');
SELECT inv_leave_waitlist('A', 'hal');
SELECT pg_temp.stands('A', 'ida'), inv_available('A');
SELECT inv_join_waitlist('A', 1, 'jon');

-- while it is not sold the line stands still, and nobody joins it
SELECT inv_set_item('A', selling => false) > 0;
SELECT status FROM inv_cancel(pg_temp.offer('A', 'ida'));
SELECT pg_temp.stands('A', 'jon'), inv_join_waitlist('A', 1, 'jon');
SELECT outcome($$SELECT inv_join_waitlist('A', 1, 'kim')$$);
CALL inv_maintain();
SELECT pg_temp.stands('A', 'jon');
SELECT inv_set_item('A', selling => true) > 0;
CALL inv_maintain();
SELECT pg_temp.stands('A', 'jon'), inv_available('A');

-- one who has nothing to wait for yet
SELECT inv_join_waitlist('never received', 1, 'lea');
SELECT available FROM inv_receive('never received', 1);
SELECT pg_temp.stands('never received', 'lea');

-- a hold that died and is paid late does not overtake the line
SELECT on_hand FROM inv_receive('B', 1);
SELECT reservation_id AS late FROM inv_reserve('B', ttl => '1 millisecond') \gset
SELECT pg_sleep(0.01);
SELECT inv_join_waitlist('B', 2, 'mia');
SELECT outcome(format('SELECT inv_confirm(%L, retake => true)', :'late'));
SELECT inv_leave_waitlist('B', 'mia');
SELECT status FROM inv_confirm(:'late', retake => true);
-- who joins is served from dead holds
SELECT on_hand FROM inv_receive('B', 1);
SELECT status FROM inv_reserve('B', ttl => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT inv_join_waitlist('B', 1, 'mia');

-- carts and stripes: the line is served on whatever stripes units come back
SELECT on_hand FROM inv_set_stock('B', 8, force => true);
SELECT inv_set_stripes('B', 4);
SELECT status FROM inv_cancel(pg_temp.offer('B', 'mia'));
SELECT reservation_id AS cart FROM inv_reserve_cart('{B}', '{8}') \gset
SELECT inv_join_waitlist('B', 3, 'n1'), inv_join_waitlist('B', 5, 'n2'), inv_join_waitlist('B', 1, 'n3');
SELECT count(*), bool_and(waiting) FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = 'B';
SELECT inv_set_stripes('B', 8);
SELECT count(*), bool_and(waiting) FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = 'B';
SELECT status FROM inv_release(:'cart', 'B', 2);
SELECT status FROM inv_release(:'cart', 'B', 1);
SELECT pg_temp.stands('B', 'n1'), pg_temp.stands('B', 'n2');
SELECT status FROM inv_cancel(:'cart');
SELECT pg_temp.stands('B', 'n1'), pg_temp.stands('B', 'n2'), pg_temp.stands('B', 'n3');
SELECT * FROM inv_check();

-- many at once: a delivery serves no more than a batch, upkeep the rest
SELECT max(inv_join_waitlist('B', 1, 'crowd ' || n)) FROM generate_series(1, 1100) AS n;
SELECT available FROM inv_receive('B', 1200);
SELECT count(*), min(position), min(customer) FROM pg_temp.line WHERE sku = 'B';
CALL inv_maintain();
SELECT count(*) FROM pg_temp.line WHERE sku = 'B';
SELECT inv_available('B');
SELECT bool_and(later) AS in_order
  FROM (SELECT line.created_at >= lag(line.created_at) OVER (ORDER BY entry.entry_id) AS later
		  FROM inv_waitlist AS entry JOIN inv_reservation AS line USING (reservation_id)
		 WHERE entry.customer LIKE 'crowd %') AS offers;
SELECT * FROM inv_check();

-- the feed tells of joining, leaving and offers
SELECT operation, sign(delta_reserved) AS sign, reservation_id IS NOT NULL AS hold, count(*) > 1 AS several
  FROM inv_ledger WHERE operation ~ 'waitlist|offer' GROUP BY 1, 2, 3 ORDER BY 1;

-- the whole of a transaction is undone
BEGIN;
SELECT inv_join_waitlist('A', 9, 'undone');
ROLLBACK;
SELECT inv_waitlist_status('A', 'undone') IS NOT NULL AS answers, pg_temp.stands('A', 'undone') AS stands, inv_available('A');

-- an entry goes with the hold it was offered
SELECT count(*) > 0 FROM inv_waitlist WHERE reservation_id = pg_temp.offer('B', 'mia');
UPDATE inv_reservation SET closed_at = '2001-01-01' WHERE customer = 'mia';
INSERT INTO inv_idempotency VALUES ('reserve', 'old', '{}', NULL, NULL, '2002-01-01');
SELECT inv_purge(interval '10 years') > 0;
SELECT count(*) FROM inv_waitlist WHERE customer = 'mia';
SELECT * FROM inv_check();

-- a purchase limit counts when one joins, and an offer counts for it
SELECT inv_add_item('few', max_per_customer => 2) > 0;
SELECT outcome($$SELECT inv_join_waitlist('few', 3, 'ann')$$);
SELECT inv_join_waitlist('few', 1, 'ann');
SELECT available FROM inv_receive('few', 9);
SELECT outcome($$SELECT inv_join_waitlist('few', 2, 'ann')$$);
SELECT outcome($$SELECT inv_reserve('few', 2, customer => 'ann')$$);
SELECT status FROM inv_confirm(pg_temp.offer('few', 'ann'));
SELECT outcome($$SELECT inv_join_waitlist('few', 2, 'ann')$$);
SELECT inv_join_waitlist('few', 1, 'ann');
SELECT * FROM inv_check();

-- a load is a delivery too, and a transfer
SELECT inv_add_item('bulk') > 0, inv_add_location('depot') > 0;
SELECT on_hand FROM inv_receive('bulk', 4, 'depot');
SELECT inv_join_waitlist('bulk', 3, 'ann'), inv_join_waitlist('bulk', 2, 'bob');
SELECT on_hand, reserved, available FROM inv_load_stock('{bulk}', '{3}');
SELECT pg_temp.stands('bulk', 'ann') AS ann, pg_temp.stands('bulk', 'bob') AS bob;
SELECT location, on_hand, reserved FROM inv_transfer('bulk', 2, 'depot', 'default') ORDER BY 1;
SELECT pg_temp.stands('bulk', 'bob') AS bob;
SELECT * FROM inv_check();

-- units that are promised before they are there can be offered: they are owed
SELECT inv_add_item('soon') > 0;
SELECT inv_join_waitlist('soon', 2, 'ann'), inv_join_waitlist('soon', 3, 'bob');
SELECT on_hand, reserved FROM inv_receive('soon', 1);
SELECT available FROM inv_set_policy('soon', backorder_limit => 3);
SELECT pg_temp.stands('soon', 'ann') AS ann, pg_temp.stands('soon', 'bob') AS bob;
SELECT customer, quantity, backordered FROM inv_reservation_lines WHERE sku = 'soon';
SELECT * FROM inv_check();
-- what is received goes to who is owed it, and then to the line
SELECT on_hand, reserved FROM inv_receive('soon', 2);
SELECT pg_temp.stands('soon', 'bob') AS bob;
SELECT customer, quantity, backordered FROM inv_reservation_lines WHERE sku = 'soon' ORDER BY 1;
SELECT operation, reason FROM inv_ledger
 WHERE item_id = (SELECT item_id FROM inv_item WHERE sku = 'soon') ORDER BY entry_id;
SELECT * FROM inv_check();

-- bad input
SELECT outcome($$SELECT inv_join_waitlist('A')$$);
SELECT outcome($$SELECT inv_join_waitlist('A', customer => '')$$);
SELECT outcome($$SELECT inv_join_waitlist('A', 0, 'ann')$$);
SELECT outcome($$SELECT inv_join_waitlist('no such', 1, 'ann')$$);
SELECT outcome($$SELECT inv_leave_waitlist('A')$$);
SELECT outcome($$SELECT inv_leave_waitlist('no such', 'ann')$$);
SELECT outcome($$SELECT inv_waitlist_status('no such', 'ann')$$);
SELECT outcome($$SELECT inv_waitlist_status('A', NULL)$$);

-- inv_check() sees what does not fit
BEGIN;
SELECT inv_join_waitlist('A', 9000, 'ann');
UPDATE inv_stock SET waiting = NOT waiting WHERE item_id = (SELECT item_id FROM inv_item WHERE sku = 'A');
DELETE FROM inv_reservation WHERE reservation_id = pg_temp.offer('A', 'gus');
SELECT violation, sku, location, found, expected FROM inv_check() WHERE violation ~ 'wait|offer' ORDER BY 1, 3, 2;
ROLLBACK;
