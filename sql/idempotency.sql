-- Idempotency keys: a repeat gets the first result, in each scope by itself.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 1, currency => 'EUR') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{100,100}');
SELECT inv.inv_add_location('store') > 0 AS added;
SELECT inv.inv_receive('A', 100, 'store') IS NOT NULL AS received;

--
-- Scope reserve
--
SELECT reservation_id AS first, replayed, status FROM inv.inv_reserve(
    'A', 2, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}') \gset
SELECT :'replayed' AS replayed, :'status' AS status;
SELECT reservation_id = :'first' AS same, status, replayed, available FROM inv.inv_reserve(
    'A', 2, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}');
-- the same arguments in other words
SELECT reservation_id = :'first' AS same, status, replayed, available FROM inv.inv_reserve(
    'A', 2, 'k', 'ann', '60 minutes', 'store', 'web-1', '{"b":[2],"a":1}');
-- trying is the same operation
SELECT reservation_id = :'first' AS same, status, replayed FROM inv.inv_try_reserve(
    'A', 2, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}');
-- any other argument is named, a missing one too
SELECT call, outcome
  FROM unnest(ARRAY[
    $$'B', 2, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 3, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'bob', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k',  NULL, '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann', '1 day' , 'store', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann',  NULL   , 'store', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann', '1 hour',  NULL  , 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann', '1 hour', 'store', 'web-2', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann', '1 hour', 'store',  NULL  , '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 2, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann', '1 hour', 'store', 'web-1', NULL$$,
    -- keys come before other checks
    $$'NOSUCH', 2, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 2, 'k', 'ann', '1 hour', 'nowhere', 'web-1', '{"a": 1, "b": [2]}'$$,
    $$'A', 1000, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}'$$]) AS call,
       LATERAL outcome('SELECT inv.inv_reserve(' || call || ')');
SELECT outcome($$SELECT inv.inv_try_reserve('A', 3, 'k', 'ann', '1 hour', 'store', 'web-1', '{"a": 1, "b": [2]}')$$);
-- an argument that was not given and is given now
SELECT status, replayed FROM inv.inv_reserve('A', key => 'plain');
SELECT status, replayed FROM inv.inv_reserve('A', key => 'plain');
SELECT status, replayed FROM inv.inv_reserve('A', 1, 'plain');
SELECT outcome($$SELECT inv.inv_reserve('A', key => 'plain', customer => 'ann')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', key => 'plain', metadata => '{}')$$);
-- one hold, one movement a key
SELECT count(DISTINCT reservation_id) FROM inv.inv_reservation;
SELECT count(*) FROM inv.inv_ledger WHERE operation = 'reserve';
SELECT scope, key, request - 'ttl' AS request, order_id FROM inv.inv_idempotency ORDER BY key;

-- the status is that of now
SELECT reservation_id AS hold FROM inv.inv_reserve('A', key => 'status') \gset
SELECT status FROM inv.inv_cancel(:'hold');
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_reserve('A', key => 'status');
SELECT reservation_id AS hold FROM inv.inv_reserve('A', key => 'sold') \gset
SELECT status FROM inv.inv_confirm(:'hold');
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_reserve('A', key => 'sold');
SELECT reservation_id AS hold FROM inv.inv_reserve('A', key => 'died', ttl => '1 millisecond') \gset
SELECT pg_sleep(0.01);
SELECT reservation_id = :'hold' AS same, status, replayed
  FROM inv.inv_reserve('A', key => 'died', ttl => '1 millisecond');
SELECT reservation_id AS hold FROM inv.inv_reserve('A', key => 'extended', ttl => '1 hour') \gset
SELECT inv.inv_extend(:'hold', '2 hours') AS until \gset
SELECT reservation_id = :'hold' AS same, expires_at::text = :'until' AS as_of_now
  FROM inv.inv_reserve('A', key => 'extended', ttl => '1 hour');

-- nothing that happened since keeps a key from replaying
SELECT inv.inv_set_item('A', selling => false) IS NOT NULL AS changed;
SELECT status, replayed FROM inv.inv_reserve('A', key => 'plain');
SELECT inv.inv_set_item('A', selling => true) IS NOT NULL AS changed;
SELECT inv.inv_rename_item('A', 'A2') IS NOT NULL AS renamed;
SELECT status, replayed FROM inv.inv_reserve('A', key => 'plain');
SELECT inv.inv_rename_item('A2', 'A') IS NOT NULL AS renamed;

-- errors are not remembered
SELECT outcome($$SELECT inv.inv_reserve('B', 101, 'again')$$);
SELECT outcome($$SELECT inv.inv_reserve('NOSUCH', 1, 'again')$$);
SELECT outcome($$SELECT inv.inv_reserve('B', -1, 'again')$$);
SELECT on_hand FROM inv.inv_receive('B', 1);
SELECT status, replayed, available FROM inv.inv_reserve('B', 101, 'again');
SELECT status, replayed, available FROM inv.inv_reserve('B', 101, 'again');
SELECT status FROM inv.inv_cancel((inv.inv_reserve('B', 101, 'again')).reservation_id);
-- and short stock uses no key up
SELECT reservation_id IS NULL AS none, available FROM inv.inv_try_reserve('B', 102, 'short');
SELECT reservation_id IS NULL AS none, available FROM inv.inv_try_reserve('B', 103, 'short');
SELECT count(*) FROM inv.inv_idempotency WHERE key = 'short';
SELECT status, replayed FROM inv.inv_try_reserve('B', 2, 'short');
SELECT status, replayed FROM inv.inv_try_reserve('B', 2, 'short');
-- nor does it where only a lock on the stock tells that it is short
SELECT dead_hold('B', 50) IS NOT NULL AS died;
SELECT reservation_id IS NULL AS none, shortages
  FROM inv.inv_try_reserve_cart('{B}', '{100}', 'short cart');
SELECT count(*) FROM inv.inv_idempotency WHERE key = 'short cart';
SELECT inv.inv_expire();

--
-- Scope reserve_cart
--
SELECT reservation_id AS first FROM inv.inv_reserve_cart(
    '{A,B}', '{1,2}', 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 1}') \gset
SELECT reservation_id = :'first' AS same, status, replayed FROM inv.inv_reserve_cart(
    '{A,B}', '{1,2}', 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 1}');
SELECT reservation_id = :'first' AS same, status, replayed, shortages FROM inv.inv_try_reserve_cart(
    '{A,B}', '{1,2}', 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 1}');
SELECT reservation_id = :'first' AS same, status, replayed FROM inv.inv_reserve_lines(
    '[{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 2}]', 'k', 'ann', '1 hour',
    'default', 'web-1', '{"a": 1}');
SELECT call, outcome
  FROM unnest(ARRAY[
    $$'{A,C}', '{1,2}', 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 1}'$$,
    $$'{B,A}', '{2,1}', 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 1}'$$,
    $$'{A,B}', '{1,3}', 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 1}'$$,
    $$'{A}'  , '{1}'  , 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 1}'$$,
    $$'{A,B}', '{1,2}', 'k', 'bob', '1 hour', 'default', 'web-1', '{"a": 1}'$$,
    $$'{A,B}', '{1,2}', 'k', 'ann', '2 hour', 'default', 'web-1', '{"a": 1}'$$,
    $$'{A,B}', '{1,2}', 'k', 'ann', '1 hour', 'store'  , 'web-1', '{"a": 1}'$$,
    $$'{A,B}', '{1,2}', 'k', 'ann', '1 hour', 'default', 'web-2', '{"a": 1}'$$,
    $$'{A,B}', '{1,2}', 'k', 'ann', '1 hour', 'default', 'web-1', '{"a": 2}'$$]) AS call,
       LATERAL outcome('SELECT inv.inv_reserve_cart(' || call || ')');

--
-- The other scopes: confirm, cancel, release, extend
--
SELECT reservation_id AS one FROM inv.inv_reserve('A', 5, ttl => '1 hour', customer => 'ann') \gset
SELECT reservation_id AS two FROM inv.inv_reserve('A', 5, ttl => '1 hour', customer => 'ann') \gset

SELECT inv.inv_extend(:'one', '2 hours', 'k') AS until \gset
SELECT inv.inv_extend(:'one', '2 hours', 'k')::text = :'until' AS replayed;
SELECT outcome(format('SELECT inv.inv_extend(%L, %L, %L)', :'two', '2 hours', 'k'));
SELECT outcome(format('SELECT inv.inv_extend(%L, %L, %L)', :'one', '3 hours', 'k'));
SELECT outcome(format('SELECT inv.inv_extend(%L, %L, %L)', :'one', NULL, 'k'));
-- a replay answers as of now
SELECT inv.inv_extend(:'one', '3 hours', 'later') AS later \gset
SELECT inv.inv_extend(:'one', '2 hours', 'k')::text = :'later' AS as_of_now;

SELECT status, replayed FROM inv.inv_release(:'one', 'A', 1, 'k');
SELECT status, replayed FROM inv.inv_release(:'one', 'A', 1, 'k');
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1, %L)', :'two', 'A', 'k'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1, %L)', :'one', 'B', 'k'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 2, %L)', :'one', 'A', 'k'));
SELECT quantity FROM inv.inv_reservation WHERE reservation_id = :'one';
-- without a key each release gives back once more
SELECT status, replayed FROM inv.inv_release(:'one', 'A', 1);
SELECT status, replayed FROM inv.inv_release(:'one', 'A', 1);
SELECT quantity FROM inv.inv_reservation WHERE reservation_id = :'one';

SELECT order_id AS sold FROM inv.inv_confirm(:'one', 'k', 'ann', 'paid') \gset
SELECT order_id = :'sold' AS same, status, total, replayed FROM inv.inv_confirm(:'one', 'k', 'ann', 'paid');
SELECT outcome(format('SELECT inv.inv_confirm(%L, %L, %L, %L)', :'two', 'k', 'ann', 'paid'));
SELECT outcome(format('SELECT inv.inv_confirm(%L, %L, %L, %L)', :'one', 'k', 'bob', 'paid'));
SELECT outcome(format('SELECT inv.inv_confirm(%L, %L, %L)', :'one', 'k', 'ann'));
-- another key, or none, for what is done already
SELECT order_id = :'sold' AS same, status, replayed FROM inv.inv_confirm(:'one', 'k2');
SELECT order_id = :'sold' AS same, status, replayed FROM inv.inv_confirm(:'one');

SELECT status, replayed FROM inv.inv_cancel(:'two', 'k', 'ann');
SELECT status, replayed FROM inv.inv_cancel(:'two', 'k', 'ann');
SELECT outcome(format('SELECT inv.inv_cancel(%L, %L, %L)', :'one', 'k', 'ann'));
SELECT outcome(format('SELECT inv.inv_cancel(%L, %L, %L)', :'two', 'k', 'bob'));
SELECT outcome(format('SELECT inv.inv_cancel(%L, %L)', :'two', 'k'));
SELECT status, replayed FROM inv.inv_cancel(:'two', 'k2');

-- a refused confirm leaves its key free
SELECT outcome(format('SELECT inv.inv_confirm(%L, %L)', :'two', 'refused'));
SELECT reservation_id AS three FROM inv.inv_reserve('A') \gset
SELECT status, replayed FROM inv.inv_confirm(:'three', 'refused');

--
-- receive and adjust: keys are what makes them safe to repeat
--
SELECT on_hand AS before FROM inv.inv_availability WHERE sku = 'B' AND location = 'default' \gset
SELECT on_hand - :before AS received, replayed FROM inv.inv_receive('B', 5, reason => 'delivery', key => 'k');
SELECT on_hand - :before AS received, replayed FROM inv.inv_receive('B', 5, reason => 'delivery', key => 'k');
SELECT outcome($$SELECT inv.inv_receive('A', 5, reason => 'delivery', key => 'k')$$);
SELECT outcome($$SELECT inv.inv_receive('B', 6, reason => 'delivery', key => 'k')$$);
SELECT outcome($$SELECT inv.inv_receive('B', 5, 'store', 'delivery', 'k')$$);
SELECT outcome($$SELECT inv.inv_receive('B', 5, reason => 'gift', key => 'k')$$);
SELECT outcome($$SELECT inv.inv_receive('B', 5, key => 'k')$$);
SELECT on_hand - :before AS adjusted, replayed FROM inv.inv_adjust('B', -5, reason => 'lost', key => 'k');
SELECT on_hand - :before AS adjusted, replayed FROM inv.inv_adjust('B', -5, reason => 'lost', key => 'k');
SELECT outcome($$SELECT inv.inv_adjust('A', -5, reason => 'lost', key => 'k')$$);
SELECT outcome($$SELECT inv.inv_adjust('B', 5, reason => 'lost', key => 'k')$$);
SELECT outcome($$SELECT inv.inv_adjust('B', -5, 'store', 'lost', 'k')$$);
SELECT outcome($$SELECT inv.inv_adjust('B', -5, reason => 'stolen', key => 'k')$$);

--
-- cancel_order and return
--
SELECT order_id AS two FROM inv.inv_confirm((inv.inv_reserve('A', 4)).reservation_id) \gset
SELECT on_hand AS before FROM inv.inv_availability WHERE sku = 'A' AND location = 'default' \gset
SELECT status FROM inv.inv_return(:'two', 'A', 1, 'scratched', 'k');
SELECT status FROM inv.inv_return(:'two', 'A', 1, 'scratched', 'k');
SELECT on_hand - :before AS came_back FROM inv.inv_availability WHERE sku = 'A' AND location = 'default';
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 1, %L, %L)', :'sold', 'A', 'scratched', 'k'));
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 1, %L, %L)', :'two', 'B', 'scratched', 'k'));
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 2, %L, %L)', :'two', 'A', 'scratched', 'k'));
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 1, %L, %L)', :'two', 'A', 'broken', 'k'));
SELECT status FROM inv.inv_cancel_order(:'two', 'too late', 'k');
SELECT status FROM inv.inv_cancel_order(:'two', 'too late', 'k');
SELECT on_hand - :before AS came_back FROM inv.inv_availability WHERE sku = 'A' AND location = 'default';
SELECT outcome(format('SELECT inv.inv_cancel_order(%L, %L, %L)', :'sold', 'too late', 'k'));
SELECT outcome(format('SELECT inv.inv_cancel_order(%L, %L, %L)', :'two', 'too early', 'k'));

-- one key, ten scopes, and the ids that came of it
SELECT scope, reservation_id IS NOT NULL AS reservation, order_id IS NOT NULL AS "order"
  FROM inv.inv_idempotency WHERE key = 'k' ORDER BY scope;

--
-- A key is given back with the transaction that used it
--
BEGIN;
SELECT status, replayed FROM inv.inv_reserve('A', key => 'rolled back');
SELECT status, replayed FROM inv.inv_reserve('A', key => 'rolled back');
ROLLBACK;
SELECT status, replayed FROM inv.inv_reserve('A', key => 'rolled back');
-- twice in one statement
SELECT replayed, count(DISTINCT reservation_id)
  FROM generate_series(1, 3) AS nr,
       LATERAL inv.inv_reserve('A', 1 + 0 * nr, key => 'one statement')
 GROUP BY replayed ORDER BY replayed;

-- keys of 255 bytes, keys that differ in case or in blanks
SELECT replayed FROM inv.inv_reserve('A', key => repeat('k', 255));
SELECT replayed FROM inv.inv_reserve('A', key => repeat('k', 255));
SELECT replayed FROM inv.inv_reserve('A', key => repeat('k', 254));
SELECT key, replayed FROM unnest('{K,"k ",k}'::text[]) AS key, LATERAL inv.inv_reserve('B', key => key || '.');
SELECT outcome($$SELECT inv.inv_reserve('A', key => repeat('k', 256))$$);
SELECT outcome($$SELECT inv.inv_reserve('A', key => repeat('ü', 128))$$);
SELECT outcome($$SELECT inv.inv_reserve('A', key => '')$$);

SELECT * FROM inv.inv_check();
