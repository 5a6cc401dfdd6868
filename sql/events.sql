-- The ledger as a feed, and what is told of SKUs that sell out or come back.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

-- events wait for every older transaction that writes, ANALYZE included
ALTER SYSTEM SET autovacuum = off;
SELECT pg_reload_conf();

-- what happened, in the order of the feed; cursors differ from run to run
CREATE VIEW public.feed AS
SELECT event.operation, event.sku, event.location, event.stripe, event.delta_on_hand AS on_hand,
       event.delta_reserved AS reserved, event.on_hand_after, event.reserved_after
  FROM inv.inv_events() WITH ORDINALITY AS event ORDER BY event.ordinality;
-- errors without the numbers in cursors
CREATE FUNCTION public.cursor_outcome(statement text) RETURNS SETOF text LANGUAGE sql AS $$
SELECT regexp_replace(line, '\d+/\d+/\d+', '<cursor>', 'g') FROM outcome(statement) AS line
$$;

--
-- Nothing has happened yet
--
SELECT * FROM inv.inv_events();
SELECT inv.inv_newest_event();
-- nor is anything noted, which would be in the way of a dump to be restored
CALL inv.inv_maintain();
SELECT count(*) FROM inv.inv_progress;
SELECT inv.inv_add_item('A', unit_price => 10) IS NOT NULL AS added;
SELECT * FROM inv.inv_events();

--
-- Every operation, in order, once
--
SELECT on_hand FROM inv.inv_receive('A', 10, reason => 'first delivery');
SELECT reservation_id AS sold FROM inv.inv_reserve('A', 4) \gset
SELECT inv.inv_newest_event() AS after_reserve \gset
SELECT status FROM inv.inv_release(:'sold', 'A', 1);
SELECT order_id AS sale FROM inv.inv_confirm(:'sold') \gset
SELECT status FROM inv.inv_return(:'sale', 'A', 1);
SELECT status FROM inv.inv_cancel((inv.inv_reserve('A')).reservation_id);
SELECT dead_hold('A', 2) IS NOT NULL AS died;
SELECT inv.inv_expire();
TABLE feed;
-- whom, whose, why
SELECT event.operation, event.reservation_id = :'sold' AS sold, event.order_id = :'sale' AS sale,
       event.login_role = session_user AS login, event.caller_role = current_user AS caller,
       event.reason, event.item_id = item.item_id AS item,
       event.at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS now
  FROM inv.inv_events(max_count => 5) AS event JOIN inv.inv_item AS item USING (sku);
-- the cursor is the entry's key
SELECT bool_and(event.cursor = format('%s/%s/%s', entry.epoch, entry.xid, entry.entry_id)) AS same, count(*)
  FROM inv.inv_events() AS event FULL JOIN inv.inv_ledger AS entry USING (entry_id);
SELECT inv.inv_newest_event() = (SELECT cursor FROM inv.inv_events() WITH ORDINALITY ORDER BY ordinality DESC LIMIT 1) AS newest;

--
-- From a cursor on, page by page
--
SELECT operation FROM inv.inv_events(:'after_reserve', 3);
SELECT count(*) FROM inv.inv_events(inv.inv_newest_event());
WITH RECURSIVE page AS (
    SELECT 1 AS nr, event.* FROM inv.inv_events(NULL, 1) AS event
    UNION ALL
    SELECT page.nr + 1, event.* FROM page CROSS JOIN LATERAL inv.inv_events(page.cursor, 1) AS event)
SELECT count(*), array_agg(cursor ORDER BY nr) = (SELECT array_agg(cursor ORDER BY ordinality)
                                                    FROM inv.inv_events() WITH ORDINALITY) AS same FROM page;
-- a place between two entries will do, too
SELECT operation FROM inv.inv_events('0/0/0', 1);
SELECT operation FROM inv.inv_events(regexp_replace(:'after_reserve', '\d+$', '0'), 1);
-- more than are in memory at a time
SELECT count(*) FROM generate_series(1, 2500) AS nr, LATERAL inv.inv_receive('A', 1 + 0 * nr);
SELECT count(*), count(DISTINCT cursor), bool_and(entry_id > before) AS ascending
  FROM (SELECT cursor, entry_id, lag(entry_id, 1, 0::bigint) OVER (ORDER BY ordinality) AS before
          FROM inv.inv_events(:'after_reserve', 2300) WITH ORDINALITY) AS event;
SELECT count(*) FROM inv.inv_events(:'after_reserve', 2147483647);

--
-- Neither what is not committed nor what never will be
--
SELECT inv.inv_newest_event() AS before \gset
BEGIN;
SELECT on_hand FROM inv.inv_adjust('A', -1);
SELECT count(*) FROM inv.inv_events(:'before');
ROLLBACK;
BEGIN;
SELECT on_hand FROM inv.inv_adjust('A', -2);
SAVEPOINT one;
SELECT on_hand FROM inv.inv_adjust('A', -3);
ROLLBACK TO one;
SAVEPOINT two;
SELECT on_hand FROM inv.inv_adjust('A', -4);
RELEASE two;
SELECT count(*) FROM inv.inv_events(:'before');
SELECT inv.inv_newest_event() = :'before' AS newest;
COMMIT;
SELECT operation, delta_on_hand FROM inv.inv_events(:'before');
-- a read-only transaction reads
BEGIN READ ONLY;
SELECT operation, delta_on_hand FROM inv.inv_events(:'before');
COMMIT;

--
-- What makes no sense
--
SELECT cursor, brief_outcome(format('SELECT inv.inv_events(%L)', cursor))
  FROM unnest('{"",x,1,1/2,1/2/,1/2/3/,1/2/3/4,/2/3,-1/2/3,1/-2/3,1/2/-3,1/ 2/3," 1/2/3","1/2/3 ",+1/2/3,1/2/0x3,1/2/3.0,2147483648/2/3,1/18446744073709551616/3,1/2/9223372036854775808,99999999999999999999999999999/2/3}'::text[]) AS cursor;
SELECT outcome('SELECT inv.inv_events(''nonsense'')');
SELECT outcome(format('SELECT inv.inv_events(%L)', repeat('1', 1000000)));
SELECT count, brief_outcome(format('SELECT inv.inv_events(max_count => %L)', count))
  FROM unnest('{0,-1,-2147483648,NULL}'::integer[]) AS count;
-- a cursor from elsewhere would wait for ever
SELECT cursor_outcome('SELECT inv.inv_events(''7/1/1'')');
SELECT cursor_outcome('SELECT inv.inv_events(''1/18446744073709551615/1'')');

--
-- What was purged is not skipped in silence
--
BEGIN;
SELECT inv.inv_purge('0');
SELECT inv.inv_purge('0') > 0 AS more;
COMMIT;
SELECT cursor_outcome(format('SELECT inv.inv_events(%L)', :'after_reserve'));
SELECT cursor_outcome('SELECT inv.inv_events(''0/0/0'')');
SELECT count(*) = (SELECT count(*) FROM inv.inv_ledger) AS all, count(*) > 0 AS some FROM inv.inv_events();
SELECT count(*) FROM inv.inv_events(:'before');
SELECT count(*) > 0 AS purged FROM generate_series(1, 10) AS nr, LATERAL inv.inv_purge(make_interval(secs => 0 * nr)) AS rows WHERE rows > 0;
SELECT count(*) FROM inv.inv_ledger;
-- the last that went is a good place to begin
SELECT inv.inv_newest_event() = format('%s/%s/%s', epoch, xid, entry_id) AS newest
  FROM inv.inv_progress WHERE task = 'purge';
SELECT count(*) FROM inv.inv_events(inv.inv_newest_event());
SELECT count(*) FROM inv.inv_events();
SELECT inv.inv_newest_event() AS here \gset
SELECT on_hand FROM inv.inv_adjust('A', -1);
SELECT operation FROM inv.inv_events(:'here');
SELECT operation FROM inv.inv_events();
-- a SKU that was renamed reads by its new name, one deleted by hand by none
SELECT inv.inv_rename_item('A', 'Z') IS NOT NULL AS renamed;
SELECT sku FROM inv.inv_events();
BEGIN;
DELETE FROM inv.inv_item;
DELETE FROM inv.inv_location;
SELECT sku, location FROM inv.inv_events();
ROLLBACK;
SELECT inv.inv_rename_item('Z', 'A') IS NOT NULL AS renamed;

--
-- In stock and out of stock.  The first time all stock is looked at
--
CREATE VIEW public.told AS
SELECT operation, sku, stripe, delta_on_hand AS on_hand, delta_reserved AS reserved, on_hand_after, reserved_after
  FROM inv.inv_events(current_setting('test.here')) WITH ORDINALITY AS event
 WHERE operation LIKE '%stock' AND operation <> 'set_stock' AND operation <> 'load_stock' ORDER BY ordinality;
CREATE PROCEDURE public.mark() LANGUAGE sql AS $$
SELECT set_config('test.here', inv.inv_newest_event(), false)
$$;
CALL mark();
SELECT inv.inv_add_item('B') IS NOT NULL AS added, inv.inv_add_item('C') IS NOT NULL AS added;
SELECT on_hand FROM inv.inv_set_stock('C', 0);
SELECT on_hand FROM inv.inv_set_stock('A', 3);
CALL inv.inv_maintain();
TABLE told;
SELECT item.sku, state.in_stock FROM inv.inv_stock_state AS state JOIN inv.inv_item AS item USING (item_id) ORDER BY sku;
-- the first delivery of a SKU
CALL mark();
SELECT on_hand FROM inv.inv_receive('B', 2);
CALL inv.inv_maintain();
TABLE told;
-- sold out, and given back
CALL mark();
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{A,B}', '{3,1}') \gset
CALL inv.inv_maintain();
TABLE told;
CALL mark();
SELECT status FROM inv.inv_cancel(:'cart');
CALL inv.inv_maintain();
TABLE told;
-- a flap between two rounds is nobody's business
CALL mark();
SELECT status FROM inv.inv_cancel((inv.inv_reserve('A', 3)).reservation_id);
CALL inv.inv_maintain();
TABLE told;
-- a dead hold counts as one until it is swept, which inv_maintain() does first
CALL mark();
SELECT dead_hold('A', 3) IS NOT NULL AS died;
CALL inv.inv_maintain();
TABLE told;
-- safety stock is not for sale; stripes add up; units between them are no news
CALL mark();
UPDATE inv.inv_stock SET min_available = 3 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'A');
SELECT reservation_id AS held FROM inv.inv_reserve('B', 1) \gset
SELECT on_hand FROM inv.inv_adjust('A', -1);
CALL inv.inv_maintain();
TABLE told;
CALL mark();
UPDATE inv.inv_stock SET min_available = 0;
SELECT on_hand FROM inv.inv_receive('A', 14);
SELECT inv.inv_set_stripes('A', 8);
CALL inv.inv_maintain();
SELECT inv.inv_set_stripes('A', 2);
CALL inv.inv_maintain();
TABLE told;
CALL mark();
SELECT reservation_id AS held FROM inv.inv_reserve('A', 9) \gset
CALL inv.inv_maintain();
TABLE told;
SELECT available FROM inv.inv_reserve('A', 7);
CALL inv.inv_maintain();
TABLE told;
-- unlimited backorders
CALL mark();
UPDATE inv.inv_stock SET backorder_unlimited = true WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'A');
SELECT available > 1000 AS available FROM inv.inv_reserve('A', 5);
CALL inv.inv_maintain();
TABLE told;
-- an idle round writes nothing, once it has seen its own entries
CALL inv.inv_maintain();
SELECT xmin AS written FROM inv.inv_progress WHERE task = 'edges' \gset
SELECT count(*) AS entries FROM inv.inv_ledger \gset
CALL inv.inv_maintain();
SELECT count(*) FROM inv.inv_progress WHERE task = 'edges' AND xmin = :written;
SELECT count(*) - :entries AS more FROM inv.inv_ledger;
-- what is told of adds up to nothing
SELECT * FROM inv.inv_check();

--
-- Batches: more SKUs, and more entries of one transaction, than are looked at
-- at a time; and a purge that was faster
--
ALTER SYSTEM SET inventory_reservation.expire_batch_size = 3;
SELECT pg_reload_conf();
SELECT pg_sleep(1);
SHOW inventory_reservation.expire_batch_size;
CALL mark();
SELECT count(*) FROM inv.inv_load_stock((SELECT array_agg('L' || nr) FROM generate_series(1, 20) AS nr), array_fill(1::bigint, '{20}'));
CALL inv.inv_maintain();
SELECT operation, count(*), count(DISTINCT sku) FROM told GROUP BY operation;
CALL mark();
SELECT count(*) FROM generate_series(1, 20) AS nr, LATERAL inv.inv_reserve('L' || nr);
CALL inv.inv_maintain();
SELECT operation, count(*), count(DISTINCT sku) FROM told GROUP BY operation;
SELECT count(*) FROM generate_series(1, 20) AS nr, LATERAL inv.inv_receive('L' || nr, 1);
SELECT sum(purged) > 20 AS purged FROM generate_series(1, 300) AS nr, LATERAL inv.inv_purge(make_interval(secs => 0 * nr)) AS purged;
SELECT count(*) FROM inv.inv_ledger;
CALL mark();
CALL inv.inv_maintain();
SELECT operation, count(*), count(DISTINCT sku) FROM told GROUP BY operation;
-- a dump that was made by a copy of this server may bring a place with it which
-- transactions here have not come to
UPDATE inv.inv_progress SET xid = '99999999999' WHERE task = 'edges';
SELECT on_hand FROM inv.inv_adjust('L3', -1);
CALL mark();
CALL inv.inv_maintain();
SELECT operation, sku FROM told;
-- a hand-written change is not in the ledger, so it is told with the SKU's next
-- change, or when all stock is looked at
CALL inv.inv_maintain();
UPDATE inv.inv_stock SET min_available = 100 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'L4');
CALL mark();
CALL inv.inv_maintain();
SELECT operation, sku FROM told;
DELETE FROM inv.inv_progress WHERE task = 'edges';
CALL inv.inv_maintain();
SELECT operation, sku FROM told;
ALTER SYSTEM RESET inventory_reservation.expire_batch_size;
ALTER SYSTEM RESET autovacuum;
SELECT pg_reload_conf();
SELECT * FROM inv.inv_check();

DROP VIEW public.feed, public.told;
DROP PROCEDURE public.mark;
DROP FUNCTION public.cursor_outcome;
