-- Many requests in one call: each has its own answer, and none spoils another.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

-- The answers to a batch without what differs from run to run.  An answer is
-- a hold with all that belongs to it, or none of that.
CREATE FUNCTION pg_temp.batch(skus text[], quantities bigint[], keys text[] DEFAULT NULL,
                              customers text[] DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS TABLE (request bigint, answer text, status text, replayed boolean, available bigint, error text)
LANGUAGE sql AS $$
SELECT request,
       CASE num_nulls(reservation_id, hold.status, expires_at, hold.available)
           WHEN 0 THEN 'held'
           ELSE CASE WHEN num_nonnulls(reservation_id, hold.status, expires_at) = 0 THEN 'refused' ELSE 'half' END
       END,
       hold.status, hold.replayed, hold.available, hold.error
  FROM inv.inv_reserve_batch(skus, quantities, keys, customers, ttl) WITH ORDINALITY
       AS hold (reservation_id, status, expires_at, replayed, available, error, request)
$$;

-- How many rows a statement writes.
CREATE FUNCTION pg_temp.written(statement text)
RETURNS TABLE (stock_updates bigint, holds bigint, keys bigint, entries bigint)
LANGUAGE plpgsql AS $$
DECLARE
    stock_before bigint := pg_stat_get_xact_tuples_updated('inv.inv_stock'::regclass);
    holds_before bigint := pg_stat_get_xact_tuples_inserted('inv.inv_reservation'::regclass);
    keys_before bigint := pg_stat_get_xact_tuples_inserted('inv.inv_idempotency'::regclass);
    entries_before bigint := pg_stat_get_xact_tuples_inserted('inv.inv_ledger'::regclass);
BEGIN
    EXECUTE statement;
    RETURN QUERY SELECT pg_stat_get_xact_tuples_updated('inv.inv_stock'::regclass) - stock_before,
                        pg_stat_get_xact_tuples_inserted('inv.inv_reservation'::regclass) - holds_before,
                        pg_stat_get_xact_tuples_inserted('inv.inv_idempotency'::regclass) - keys_before,
                        pg_stat_get_xact_tuples_inserted('inv.inv_ledger'::regclass) - entries_before;
END
$$;

SELECT inv.inv_add_item('A', unit_price => 10, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 2.50, currency => 'USD', hold_ttl => '1 hour') IS NOT NULL AS added,
       inv.inv_add_item('CLOSED', selling => false) IS NOT NULL AS added,
       inv.inv_add_item('PAST', listed_until => '2020-01-01') IS NOT NULL AS added,
       inv.inv_add_item('EMPTY') IS NOT NULL AS added,
       inv.inv_add_item('ELSEWHERE') IS NOT NULL AS added;
SELECT inv.inv_add_location('store') > 0 AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B,CLOSED,PAST}', '{100,100,100,100}');
SELECT inv.inv_receive('ELSEWHERE', 100, 'store') IS NOT NULL AS received;

--
-- One bad request never spoils the others
--
SELECT reservation_id AS single FROM inv.inv_reserve('A', 2, 'used', 'ann', '1 hour') \gset
CREATE TEMP TABLE wanted (
    request int, what text, sku text, quantity bigint, key text, customer text, expected text);
INSERT INTO wanted
SELECT row_number() OVER (), list.* FROM (VALUES
    ('good', 'A', 1, NULL, NULL, NULL),
    ('no SKU', NULL, 1, NULL, NULL, '22023'),
    ('empty SKU', '', 1, NULL, NULL, '22023'),
    ('long SKU', repeat('x', 256), 1, NULL, NULL, '22023'),
    ('longest SKU', repeat('x', 255), 1, NULL, NULL, 'IV004'),
    ('unknown SKU', 'NOSUCH', 1, NULL, NULL, 'IV004'),
    ('SKU in small letters', 'a', 1, NULL, NULL, 'IV004'),
    ('good with key and customer', 'B', 2, 'new', 'ann', NULL),
    ('no quantity', 'A', NULL, NULL, NULL, '22023'),
    ('zero', 'A', 0, NULL, NULL, '22023'),
    ('negative', 'A', -1, NULL, NULL, '22023'),
    ('most negative', 'A', '-9223372036854775808', NULL, NULL, '22023'),
    ('too many', 'A', 9007199254740993, NULL, NULL, '22003'),
    ('most', 'A', 9223372036854775807, NULL, NULL, '22003'),
    ('as many as may be', 'A', 9007199254740992, NULL, NULL, 'IV001'),
    ('good with customer', 'A', 3, NULL, 'bob', NULL),
    ('empty key', 'A', 1, '', NULL, '22023'),
    ('long key', 'A', 1, repeat('k', 256), NULL, '22023'),
    ('long key in bytes', 'A', 1, repeat('ü', 128), NULL, '22023'),
    ('longest key', 'A', 1, repeat('k', 255), NULL, NULL),
    ('empty customer', 'A', 1, NULL, '', '22023'),
    ('long customer', 'A', 1, NULL, repeat('c', 256), '22023'),
    ('longest customer', 'A', 1, NULL, repeat('c', 255), NULL),
    ('listing closed', 'CLOSED', 1, NULL, NULL, 'IV006'),
    ('listing over', 'PAST', 1, NULL, NULL, 'IV006'),
    ('never any stock', 'EMPTY', 1, NULL, NULL, 'IV001'),
    ('stock elsewhere', 'ELSEWHERE', 1, NULL, NULL, NULL),
    ('short', 'B', 101, NULL, NULL, 'IV001'),
    ('key used for another SKU', 'B', 2, 'used', 'ann', 'IV005'),
    ('key used for another quantity', 'A', 3, 'used', 'ann', 'IV005'),
    ('key used for another customer', 'A', 2, 'used', 'bob', 'IV005'),
    ('key used for a customer', 'A', 2, 'used', NULL, 'IV005'),
    ('key used comes before an unknown SKU', 'NOSUCH', 2, 'used', 'ann', 'IV005'),
    ('key used with another ttl', 'A', 2, 'used', 'ann', 'IV005'),
    ('injected', E'A''; DROP TABLE inv.inv_stock; --', 1, NULL, NULL, 'IV004'),
    ('good again', 'B', 1, 'last', NULL, NULL)
    ) AS list (what, sku, quantity, key, customer, expected);

-- each alone: what inv_reserve() makes of it, a batch of one makes of it too
SELECT what, expected, single, batch
  FROM wanted,
       LATERAL (SELECT left(public.brief_outcome(format(
                    'DO $do$BEGIN PERFORM inv.inv_reserve(%L, %L, %L, %L); RAISE division_by_zero; END$do$',
                    sku, quantity, key, customer)), 5) AS single) AS alone,
       LATERAL (SELECT public.brief_outcome(format(
                    'DO $do$DECLARE error text; BEGIN SELECT batch.error INTO error'
                    ' FROM inv.inv_reserve_batch(ARRAY[%L], ARRAY[%L::bigint], ARRAY[%L], ARRAY[%L]) AS batch;'
                    ' RAISE ''%%'', coalesce(error, ''22012''); END$do$',
                    sku, quantity, key, customer)) AS batch) AS in_batch
 WHERE single <> coalesce(expected, '22012')
    OR batch <> 'P0001: ' || coalesce(expected, '22012');

-- all in one
CREATE TEMP TABLE answered AS
SELECT hold.*
  FROM (SELECT array_agg(sku ORDER BY request) AS skus,
               array_agg(quantity ORDER BY request) AS quantities,
               array_agg(key ORDER BY request) AS keys,
               array_agg(customer ORDER BY request) AS customers
          FROM wanted) AS arrays,
       inv.inv_reserve_batch(skus, quantities, keys, customers) WITH ORDINALITY
           AS hold (reservation_id, status, expires_at, replayed, available, error, request);
SELECT request, what, expected, status, replayed, available, error
  FROM wanted FULL JOIN answered USING (request) ORDER BY request;
SELECT request FROM wanted JOIN answered USING (request)
 WHERE error IS DISTINCT FROM expected
    OR (error IS NULL) <> (num_nulls(reservation_id, status, expires_at, answered.available) = 0)
    OR (error IS NOT NULL) <> (num_nonnulls(reservation_id, status, expires_at) = 0)
    OR (available IS NULL) <> coalesce(error <> 'IV001', false);

-- what was held is what was asked for, and whoever asked has it
SELECT wanted.request, line.line_no, line.sku = wanted.sku AS sku, location, line.quantity = wanted.quantity AS quantity,
       left(line.customer, 5) AS customer, line.unit_price, line.currency, line.status,
       line.reference, line.metadata, line.expires_at = answered.expires_at AS expires_at,
       line.expires_at - line.created_at AS time
  FROM wanted JOIN answered USING (request)
  JOIN (SELECT reservation_id, line_no, item.sku, location.code AS location, quantity, customer, line.unit_price,
               line.currency, status, reference, metadata, expires_at, line.created_at
          FROM inv.inv_reservation AS line JOIN inv.inv_item AS item USING (item_id)
          JOIN inv.inv_location AS location USING (location_id)) AS line USING (reservation_id)
 ORDER BY wanted.request;
SELECT count(*) AS others FROM inv.inv_reservation
 WHERE reservation_id NOT IN (SELECT reservation_id FROM answered WHERE reservation_id IS NOT NULL)
   AND reservation_id <> :'single';
SELECT operation, delta_on_hand, delta_reserved, reserved_after, answered.request
  FROM inv.inv_ledger JOIN answered USING (reservation_id) ORDER BY entry_id;
SELECT left(key, 5) AS key, scope, made.request - 'customer' AS request, answered.request AS nr
  FROM inv.inv_idempotency AS made LEFT JOIN answered USING (reservation_id)
 WHERE key <> 'used' ORDER BY nr;
-- the id says where its SKU is kept
SELECT bool_and(inv.inv_route_id(reservation_id) = inv.inv_route_sku(sku)) AS routed,
       count(DISTINCT reservation_id) = count(*) AS different
  FROM wanted JOIN answered USING (request) WHERE error IS NULL;
-- and they can be sold and given back one by one
SELECT now.status, total FROM answered, inv.inv_confirm(reservation_id, customer => 'bob') AS now WHERE request = 16;
SELECT now.status FROM answered, inv.inv_cancel(reservation_id) AS now WHERE request = 1;
SELECT request, now.status FROM answered, inv.inv_reservation_status(reservation_id) AS now
 WHERE error IS NULL ORDER BY request;
SELECT * FROM inv.inv_check();

--
-- Keys are those of inv_reserve()
--
CREATE TEMP TABLE first AS
SELECT * FROM inv.inv_reserve_batch('{A,B,A}', '{1,2,3}', '{k1,k2,k3}', '{ann,NULL,bob}', '2 hours') WITH ORDINALITY
       AS hold (reservation_id, status, expires_at, replayed, available, error, request);
SELECT request, status, replayed, available, error FROM first ORDER BY request;
-- a retry of the whole
SELECT request, again.reservation_id = first.reservation_id AS same, again.expires_at = first.expires_at AS as_it_was,
       again.status, again.replayed, again.available, again.error
  FROM inv.inv_reserve_batch('{A,B,A}', '{1,2,3}', '{k1,k2,k3}', '{ann,NULL,bob}', '120 minutes') WITH ORDINALITY
       AS again (reservation_id, status, expires_at, replayed, available, error, request) JOIN first USING (request)
 ORDER BY request;
-- in another order, with a new one among them
SELECT nr, again.reservation_id = first.reservation_id AS same, again.status, again.replayed, again.error
  FROM inv.inv_reserve_batch('{A,B,A,B}', '{3,5,1,2}', '{k3,k4,k1,k2}', '{bob,NULL,ann,NULL}', '2 hours') WITH ORDINALITY
       AS again (reservation_id, status, expires_at, replayed, available, error, nr)
  LEFT JOIN first ON request = ('{3,NULL,1,2}'::int[])[nr]
 ORDER BY nr;
-- one by one
SELECT hold.reservation_id = first.reservation_id AS same, hold.status, hold.replayed
  FROM first, inv.inv_reserve('A', 3, 'k3', 'bob', '2 hours') AS hold WHERE request = 3;
SELECT hold.reservation_id = first.reservation_id AS same, hold.status, hold.replayed
  FROM first, inv.inv_try_reserve('B', 2, 'k2', ttl => '2 hours') AS hold WHERE request = 2;
SELECT outcome($$SELECT inv.inv_reserve('A', 3, 'k3', 'bob')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 3, 'k3', 'bob', '2 hours', 'default')$$);
-- and one by one first
SELECT reservation_id = :'single' AS same, status, replayed, error
  FROM inv.inv_reserve_batch('{A}', '{2}', '{used}', '{ann}', '1 hour');
SELECT reservation_id AS other FROM inv.inv_reserve('A', 1, 'elsewhere', location => 'default') \gset
SELECT * FROM pg_temp.batch('{A}', '{1}', '{elsewhere}');
-- the status is that of now
SELECT now.status FROM first, inv.inv_cancel(reservation_id) AS now WHERE request = 1;
SELECT now.status FROM first, inv.inv_confirm(reservation_id) AS now WHERE request = 2;
SELECT answer, status, replayed, error
  FROM pg_temp.batch('{A,B,A}', '{1,2,3}', '{k1,k2,k3}', '{ann,NULL,bob}', '2 hours');
SELECT answer, status, replayed, error FROM pg_temp.batch('{A}', '{1}', '{died}', ttl => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT answer, status, replayed, error FROM pg_temp.batch('{A}', '{1}', '{died}', ttl => '1 millisecond');
-- a hold that somebody deleted, and with it what the key stood for
BEGIN;
DELETE FROM inv.inv_reservation WHERE reservation_id = (SELECT reservation_id FROM first WHERE request = 1);
SELECT answer, replayed, error FROM pg_temp.batch('{A,B,A}', '{1,1,1}', '{k1,beside,k1}', '{ann,ann,ann}', '2 hours');
ROLLBACK;
-- nothing that happened to the SKU since keeps a key from replaying
SELECT inv.inv_set_item('A', selling => false) IS NOT NULL AS changed;
SELECT answer, status, replayed, error FROM pg_temp.batch('{A,A}', '{3,1}', '{k3,NULL}', '{bob,bob}', '2 hours');
SELECT inv.inv_set_item('A', selling => true) IS NOT NULL AS changed;
-- a key of another scope is another key
SELECT on_hand FROM inv.inv_receive('B', 1, key => 'delivery');
SELECT answer, replayed, error FROM pg_temp.batch('{B}', '{1}', '{delivery}');

-- a key twice in one batch: the second gets the first's answer, whatever it is
CREATE TEMP TABLE twice AS
SELECT * FROM inv.inv_reserve_batch(
    '{A,  A,  B,  A,  B,   B,   A,   A,  NOSUCH,NOSUCH,A,    A}',
    '{1,  1,  1,  2,  1000,1000,1000,1,  1,     1,     0,    1}',
    '{t1, t1, t1, t1, t2,  t2,  t3,  t3, t4,    t4,    t5,   t5}') WITH ORDINALITY
       AS hold (reservation_id, status, expires_at, replayed, available, error, request);
SELECT request, reservation_id = first_value(reservation_id) OVER (ORDER BY request) AS as_first, status, replayed,
       available IS NOT NULL AS available, error
  FROM twice ORDER BY request;
SELECT key FROM inv.inv_idempotency WHERE key ~ '^t\d' ORDER BY key;
SELECT answer, replayed, error FROM pg_temp.batch('{A,A,B}', '{1,1,1}', '{t1,t1,t1}');
-- a third that asks as the first does, after one that does not
SELECT answer, replayed, error FROM pg_temp.batch('{A,A,A}', '{1,2,1}', '{t6,t6,t6}');
SELECT count(*) FROM inv.inv_reservation JOIN inv.inv_idempotency USING (reservation_id) WHERE key = 't6';
-- one that asks what an earlier call has asked, after one that does not
SELECT answer, replayed, error FROM pg_temp.batch('{A}', '{1}', '{t7}');
SELECT answer, replayed, error FROM pg_temp.batch('{A,A,A,A}', '{2,1,1,2}', '{t7,t7,t7,t7}');
-- far apart, and each of many
SELECT count(*), count(DISTINCT reservation_id), count(*) FILTER (WHERE replayed) AS replayed, max(error) AS error
  FROM inv.inv_reserve_batch(
       ARRAY(SELECT CASE WHEN nr % 10 < 5 THEN 'A' ELSE 'B' END FROM generate_series(0, 29) AS nr),
       ARRAY(SELECT nr % 10 % 3 + 1 FROM generate_series(0, 29) AS nr),
       ARRAY(SELECT 'far ' || nr % 10 FROM generate_series(0, 29) AS nr));

-- errors use up no key
SELECT error FROM inv.inv_reserve_batch('{B,NOSUCH,CLOSED,A,EMPTY}', '{1000,1,1,-1,1}', '{e1,e2,e3,e4,e5}');
SELECT count(*) FROM inv.inv_idempotency WHERE key LIKE 'e_';
SELECT answer, replayed, error FROM pg_temp.batch('{A,A,A,A,A}', '{1,1,1,1,1}', '{e1,e2,e3,e4,e5}');
-- a batch that is taken back leaves nothing of any
BEGIN;
SELECT answer, error FROM pg_temp.batch('{A,B}', '{1,1}', '{undone 1,undone 2}');
SAVEPOINT inner_one;
SELECT answer, replayed, error FROM pg_temp.batch('{B,B,A}', '{1,1,1}', '{undone 3,undone 2,undone 1}');
ROLLBACK TO inner_one;
SELECT answer, replayed, error FROM pg_temp.batch('{B}', '{1}', '{undone 3}');
ROLLBACK;
SELECT answer, replayed, error FROM pg_temp.batch('{A,B,B}', '{1,1,1}', '{undone 1,undone 2,undone 3}');
SELECT * FROM inv.inv_check();

--
-- Too little for all: those who come first are served first, and a smaller
-- request may get what a larger one before it could not
--
SELECT inv.inv_add_item('S') IS NOT NULL AS added, inv.inv_add_item('T') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{S,T}', '{10,1}');
SELECT * FROM pg_temp.batch('{S,T,S,S,T,S,S,S}', '{4,1,5,3,1,1,1,11}', '{s1,s2,s3,s4,s5,s6,s7,s8}');
SELECT key FROM inv.inv_idempotency WHERE key ~ '^s\d' ORDER BY key;
SELECT sku, on_hand, reserved, available FROM inv.inv_availability WHERE sku IN ('S', 'T') ORDER BY sku;
-- sold out; the keys of those who went without are free
SELECT * FROM pg_temp.batch('{S,T}', '{1,1}', '{s4,s5}');
SELECT on_hand FROM inv.inv_receive('S', 3);
SELECT * FROM pg_temp.batch('{S,T,S,S}', '{3,1,5,4}', '{s4,s5,s3,s1}');
-- each can have it, together they cannot; the order is that of the batch, not
-- of size, SKU, key or customer
SELECT on_hand FROM inv.inv_receive('S', 5);
SELECT on_hand FROM inv.inv_receive('T', 5);
SELECT * FROM pg_temp.batch('{T,S,T,S,T,S}', '{2,3,4,3,3,2}', '{z,y,x,w,v,u}', '{f,e,d,c,b,a}');

-- dead holds are had, as many as it takes
SELECT inv.inv_add_item('D') IS NOT NULL AS added, inv.inv_receive('D', 10) IS NOT NULL AS received;
SELECT count(dead_hold('D', 2)) FROM generate_series(1, 5);
SELECT * FROM pg_temp.batch('{D,D,D,D}', '{3,5,1,1}');
SELECT status, count(*), sum(quantity) FROM inv.inv_reservation JOIN inv.inv_item USING (item_id)
 WHERE sku = 'D' GROUP BY status ORDER BY status;
-- and no more than it takes
SELECT inv.inv_add_item('E') IS NOT NULL AS added, inv.inv_receive('E', 10) IS NOT NULL AS received;
SELECT count(dead_hold('E', 2)) FROM generate_series(1, 4);
SELECT * FROM pg_temp.batch('{E,A,E}', '{2,1,3}');
SELECT status, count(*), sum(quantity) FROM inv.inv_reservation JOIN inv.inv_item USING (item_id)
 WHERE sku = 'E' GROUP BY status ORDER BY status;
SELECT * FROM inv.inv_check();

--
-- A stock row is written once, however many it serves
--
SELECT * FROM pg_temp.written($$SELECT inv.inv_reserve_batch('{A,A,A,A}', '{1,1,1,1}')$$);
SELECT * FROM pg_temp.written($$SELECT inv.inv_reserve_batch('{A,B,A,B,A,NOSUCH}', '{1,1,1,1,1,1}', '{w1,w2,w3,w4,NULL,w5}')$$);
SELECT * FROM pg_temp.written($$SELECT inv.inv_reserve_batch(array_fill('B'::text, '{40}'), array_fill(1::bigint, '{40}'))$$);
-- replays and refusals write nothing
SELECT * FROM pg_temp.written($$SELECT inv.inv_reserve_batch('{A,B,NOSUCH,EMPTY}', '{1,1,1,1}', '{w1,w2,w3,w4}')$$);
-- and, where all are refused, take not even a transaction id
BEGIN;
SELECT error FROM inv.inv_reserve_batch(
    '{EMPTY,EMPTY,NOSUCH,CLOSED,B,A,EMPTY,NULL}', '{1,1,1,1,1000,2,1,1}', '{n1,n2,n3,n4,n5,used,n1,n7}', NULL, '1 hour');
SELECT replayed, error FROM inv.inv_reserve_batch('{A,A,EMPTY}', '{2,2,1}', '{used,used,NULL}', '{ann,ann,ann}', '1 hour');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
BEGIN;
SELECT count(*) FROM inv.inv_reserve_batch('{}', '{}');
SELECT count(*) FROM inv.inv_reserve_batch('{}', '{}', '{}', '{}', '1 hour');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;

--
-- Stripes
--
SELECT inv.inv_add_item('H') IS NOT NULL AS added, inv.inv_receive('H', 40) IS NOT NULL AS received;
SELECT inv.inv_set_stripes('H', 4);
-- a batch that one stripe has enough for takes from one
SELECT request, answer, error FROM pg_temp.batch('{H,H,H}', '{1,2,3}');
SELECT on_hand, reserved FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'H' ORDER BY reserved;
-- more than any stripe has together, and more than any has in one request
SELECT request, answer, error FROM pg_temp.batch('{H,A,H,H}', '{9,1,9,13}');
SELECT sum(on_hand) AS on_hand, sum(reserved) AS reserved, count(*) AS stripes
  FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'H';
SELECT * FROM inv.inv_check();
-- sold out when the sum says so, and only then
SELECT request, answer, error, available FROM pg_temp.batch('{H,H,H,H}', '{2,4,2,1}');
SELECT inv.inv_available('H');
-- dead holds on all of them
SELECT count(inv.inv_cancel(reservation_id)) FROM inv.inv_reservation JOIN inv.inv_item USING (item_id)
 WHERE sku = 'H' AND status = 'active';
SELECT count(dead_hold('H', 5)) FROM generate_series(1, 8);
SELECT request, answer, error FROM pg_temp.batch('{H,H,H}', '{30,11,10}');
-- a stripe is written once as well, and there are four
SELECT count(inv.inv_cancel(reservation_id)) FROM inv.inv_reservation JOIN inv.inv_item USING (item_id)
 WHERE sku = 'H' AND status = 'active';
SELECT stock_updates <= 4 AS once_each, holds
  FROM pg_temp.written($$SELECT inv.inv_reserve_batch(array_fill('H'::text, '{20}'), array_fill(2::bigint, '{20}'))$$);
SELECT inv.inv_available('H');
SELECT * FROM inv.inv_check();

--
-- How long
--
CREATE VIEW pg_temp.newest AS
SELECT sku, line.expires_at - line.created_at AS time
  FROM inv.inv_reservation AS line JOIN inv.inv_item AS item USING (item_id)
 WHERE customer = 'clock';
SELECT count(*) FROM inv.inv_reserve_batch('{A,B}', '{1,1}', customers => '{clock,clock}');
TABLE pg_temp.newest ORDER BY sku;
SELECT count(inv.inv_cancel(reservation_id)) FROM inv.inv_reservation WHERE customer = 'clock';
DELETE FROM inv.inv_reservation WHERE customer = 'clock';
SET inventory_reservation.default_ttl = '30min';
SELECT count(*) FROM inv.inv_reserve_batch('{A,B}', '{1,1}', customers => '{clock,clock}');
TABLE pg_temp.newest ORDER BY sku;
RESET inventory_reservation.default_ttl;
SELECT count(inv.inv_cancel(reservation_id)) FROM inv.inv_reservation WHERE customer = 'clock';
DELETE FROM inv.inv_reservation WHERE customer = 'clock';
-- no longer than the shop allows
SELECT count(*) FROM inv.inv_reserve_batch('{A,B}', '{1,1}', customers => '{clock,clock}', ttl => '1 year');
TABLE pg_temp.newest ORDER BY sku;

--
-- Arguments that make no batch
--
SELECT outcome($$SELECT inv.inv_reserve_batch(NULL, '{1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A}', NULL)$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A,A}', '{1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{}', '{1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A,A}', '{1,1}', '{k}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A,A}', '{1,1}', '{}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A,A}', '{1,1}', '{a,b}', '{ann,ann,ann}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{{A,A}}', '{{1,1}}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A,A}', '{1,1}', '{{a,b}}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A}', '{1}', ttl => '0')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A}', '{1}', ttl => '-1 hour')$$);
BEGIN READ ONLY;
SELECT outcome($$SELECT inv.inv_reserve_batch('{A}', '{1}')$$);
COMMIT;
-- arrays may begin where they like
SELECT * FROM pg_temp.batch('[5:6]={NOSUCH,A}', '[-3:-2]={1,100}', '[0:1]={NULL,bounds}', '[7:8]={ann,NULL}');
-- and be in any place where a table may
SELECT (inv.inv_reserve_batch('{NOSUCH,EMPTY}', '{1,1}')).error;
SELECT error FROM inv.inv_reserve_batch('{NOSUCH,EMPTY,CLOSED}', '{1,1,1}') LIMIT 1;
SELECT count(*), count(error) FROM generate_series(1, 3), LATERAL inv.inv_reserve_batch('{A,NOSUCH}', '{1,1}');
SELECT * FROM inv.inv_check();
