-- The shop's side of stock: receive, adjust, count, load.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item(sku, unit_price => 1) IS NOT NULL AS added
  FROM unnest('{A,B,C}'::text[]) AS sku;
SELECT inv.inv_add_location('store') > 0 AS added;

--
-- Receive and adjust.  version counts these, not what buyers do.
--
SELECT * FROM inv.inv_receive('A', 10, reason => 'delivery 1');
SELECT * FROM inv.inv_receive('A', 5, 'store');
SELECT * FROM inv.inv_adjust('A', 2, reason => 'found behind the shelf');
SELECT * FROM inv.inv_adjust('A', -4, reason => 'broken');
SELECT status FROM inv.inv_reserve('A', 3, customer => 'ann');
SELECT * FROM inv.inv_receive('A', 1);
-- nothing to adjust
SELECT outcome($$SELECT inv.inv_adjust('A', 0)$$);
-- down to what is held, no further
SELECT outcome($$SELECT inv.inv_adjust('A', -7)$$);
SELECT * FROM inv.inv_adjust('A', -6);
SELECT * FROM inv.inv_adjust('A', 1);
-- stock that never was
SELECT outcome($$SELECT inv.inv_adjust('B', -1)$$);
SELECT * FROM inv.inv_adjust('B', 1);
SELECT * FROM inv.inv_adjust('B', -1);
SELECT on_hand, reserved, version FROM inv.inv_stock ORDER BY item_id, location_id;
SELECT item.sku, entry.location_id = 0 AS at_default, entry.operation,
       entry.delta_on_hand, entry.delta_reserved, entry.on_hand_after,
       entry.reserved_after, entry.reason
  FROM inv.inv_ledger AS entry JOIN inv.inv_item AS item USING (item_id)
 ORDER BY entry.entry_id;

-- 2^53 units are the most, whichever way one gets there
SELECT (inv.inv_receive('C', 9007199254740992)).on_hand;
SELECT outcome($$SELECT inv.inv_receive('C', 1)$$);
SELECT outcome($$SELECT inv.inv_adjust('C', 1)$$);
SELECT outcome($$SELECT inv.inv_set_stock('C', 9007199254740993)$$);
SELECT (inv.inv_reserve('C', 9007199254740992)).available;
SELECT outcome($$SELECT inv.inv_adjust('C', -9223372036854775808)$$);
SELECT outcome($$SELECT inv.inv_adjust('C', 9223372036854775807)$$);

--
-- A stock-take
--
SELECT inv.inv_add_item('T', unit_price => 5) IS NOT NULL AS added;
-- of what was never received
SELECT * FROM inv.inv_set_stock('T', 20, reason => 'first count');
SELECT * FROM inv.inv_set_stock('T', 15, reason => 'shrinkage');
-- counting the same again changes no units
SELECT * FROM inv.inv_set_stock('T', 15);
SELECT operation, delta_on_hand, on_hand_after, reason
  FROM inv.inv_ledger JOIN inv.inv_item USING (item_id)
 WHERE sku = 'T' ORDER BY entry_id;

-- only if nobody else of the shop was there meanwhile; buyers may have been
SELECT version FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'T' \gset
SELECT status FROM inv.inv_reserve('T', 1, reference => 'first', ttl => '1 hour');
SELECT on_hand, reserved, available, version - :version AS later
  FROM inv.inv_set_stock('T', 16, expected_version => :version);
SELECT outcome(format($$SELECT inv.inv_set_stock('T', 17, expected_version => %s)$$, :version));
SELECT on_hand FROM inv.inv_availability WHERE sku = 'T';

-- below what is held: the holds are named
SELECT status FROM inv.inv_reserve('T', 2, reference => 'second', customer => 'bob', ttl => '1 hour');
SELECT status FROM inv.inv_reserve('T', 3, reference => 'third', ttl => '1 hour');
SELECT status FROM inv.inv_reserve_cart('{A,T}', '{1,4}', reference => 'cart', ttl => '1 hour');
SELECT on_hand, reserved, available FROM inv.inv_set_stock('T', 10);
SELECT outcome($$SELECT inv.inv_set_stock('T', 9)$$);
SELECT outcome($$SELECT inv.inv_set_stock('T', 0)$$);
SELECT outcome($$SELECT inv.inv_adjust('T', -1)$$);
SELECT reference, units FROM inv.inv_active_holds WHERE reference IS NOT NULL ORDER BY created_at;
-- force: the newest holds go first, whole, and no more than needed
SELECT on_hand, reserved, available FROM inv.inv_set_stock('T', 9, force => true);
SELECT reference, sku, quantity, status
  FROM inv.inv_reservation_lines WHERE reference IS NOT NULL
 ORDER BY created_at, line_no;
SELECT on_hand, reserved, available FROM inv.inv_set_stock('T', 2, force => true, reason => 'fire');
SELECT reference, sku, quantity, status
  FROM inv.inv_reservation_lines WHERE reference IS NOT NULL
 ORDER BY created_at, line_no;
SELECT on_hand, reserved, available FROM inv.inv_set_stock('T', 0, force => true);
SELECT count(*) FROM inv.inv_active_holds WHERE reference IS NOT NULL;

-- dead holds hold nothing
SELECT on_hand FROM inv.inv_set_stock('T', 10);
SELECT dead_hold('T', 10) AS dead \gset
SELECT on_hand, reserved, available FROM inv.inv_set_stock('T', 3);
SELECT status FROM inv.inv_reservation_status(:'dead');
SELECT dead_hold('T', 3) AS dead \gset
SELECT on_hand, available FROM inv.inv_adjust('T', -3);

-- on_shelf: the count includes what is sold and has not left yet
SELECT on_hand FROM inv.inv_set_stock('T', 20);
SELECT reservation_id AS sold FROM inv.inv_reserve('T', 3) \gset
SELECT order_id AS order_sold FROM inv.inv_confirm(:'sold') \gset
SELECT reservation_id AS gone FROM inv.inv_reserve('T', 4) \gset
SELECT order_id AS order_gone FROM inv.inv_confirm(:'gone') \gset
SELECT status FROM inv.inv_complete_order(:'order_gone');
SELECT on_hand FROM inv.inv_availability WHERE sku = 'T';
-- 13 on hand and 3 sold ones stand on the shelf
SELECT on_hand FROM inv.inv_set_stock('T', 16, on_shelf => true);
SELECT on_hand FROM inv.inv_set_stock('T', 18, on_shelf => true);
-- a unit that came back is on hand again
SELECT status FROM inv.inv_return(:'order_sold', 'T', 1);
SELECT on_hand FROM inv.inv_availability WHERE sku = 'T';
SELECT on_hand FROM inv.inv_set_stock('T', 18, on_shelf => true);
-- a cancelled order's units are on hand, too
SELECT status FROM inv.inv_cancel_order(:'order_sold');
SELECT on_hand FROM inv.inv_availability WHERE sku = 'T';
SELECT on_hand FROM inv.inv_set_stock('T', 18, on_shelf => true);
-- fewer on the shelf than are sold
SELECT reservation_id AS sold FROM inv.inv_reserve('T', 5) \gset
SELECT order_id AS order_sold FROM inv.inv_confirm(:'sold') \gset
SELECT outcome($$SELECT inv.inv_set_stock('T', 4, on_shelf => true)$$);
SELECT on_hand FROM inv.inv_set_stock('T', 5, on_shelf => true);
SELECT on_hand, available FROM inv.inv_set_stock('T', 6, on_shelf => true);
-- only the place that was counted
SELECT on_hand FROM inv.inv_set_stock('T', 6, 'store', on_shelf => true);

SELECT outcome($$SELECT inv.inv_set_stock('T', -1)$$);
SELECT outcome($$SELECT inv.inv_set_stock('T', NULL)$$);
SELECT outcome($$SELECT inv.inv_set_stock('NOSUCH', 1)$$);
SELECT outcome($$SELECT inv.inv_set_stock('T', 1, 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_set_stock('T', 1, expected_version => 9223372036854775807)$$);

--
-- Many SKUs at once
--
SELECT * FROM inv.inv_load_stock('{NEW1,A,NEW2}', '{7,100,0}', reason => 'import');
-- safe to repeat
SELECT * FROM inv.inv_load_stock('{NEW1,A,NEW2}', '{7,100,0}', reason => 'import');
SELECT item.sku, entry.operation, entry.delta_on_hand, entry.on_hand_after, entry.reason
  FROM inv.inv_ledger AS entry JOIN inv.inv_item AS item USING (item_id)
 WHERE entry.operation = 'load_stock' ORDER BY entry.entry_id;
SELECT sku, location, on_hand, created FROM inv.inv_load_stock('{NEW1,A}', '{1,2}', 'store');
-- all or nothing
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3,NEW4}', '{1,-1}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3,A}', '{1,1}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3}', '{1}', 'nowhere')$$);
SELECT count(*) FROM inv.inv_item WHERE sku IN ('NEW3', 'NEW4');
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3,NEW3}', '{1,2}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3,NEW4}', '{1}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3,NULL}', '{1,1}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3,NEW4}', '{1,NULL}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{""}', '{1}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{}', '{}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{A,NEW3,A}', '{1,2,3}')$$);
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{NEW3,NEW4}', '{1,9007199254740993}')$$);
-- in a million lines one wants to know which
\set SHOW_CONTEXT always
SELECT * FROM inv.inv_load_stock('{NEW3,NEW4,NEW5}', '{1,1,-1}');
\set SHOW_CONTEXT errors

SELECT count(*), sum(on_hand), count(*) FILTER (WHERE created)
  FROM inv.inv_load_stock(ARRAY(SELECT 'BULK' || i FROM generate_series(1, 2000) AS i),
                          ARRAY(SELECT i::bigint FROM generate_series(1, 2000) AS i));

-- SKUs that are in the catalogue, and have no stock yet, beside ones that are
-- new: the order is the caller's, whatever that of the items
SELECT inv.inv_add_item('OLD' || i, unit_price => i) > 0 AS added FROM generate_series(1, 3) AS i;
SELECT sku, on_hand, available, version, created, changed
  FROM inv.inv_load_stock('{OLD3,ADDED,OLD1,BULK7,OLD2,EMPTY}', '{3,4,1,7,0,0}', reason => 'mixed');
SELECT sku, name, unit_price FROM inv.inv_item WHERE sku IN ('OLD3', 'ADDED') ORDER BY sku;
SELECT item.sku, entry.delta_on_hand, entry.on_hand_after
  FROM inv.inv_ledger AS entry JOIN inv.inv_item AS item USING (item_id)
 WHERE entry.reason = 'mixed' ORDER BY item.sku;

-- what dead holds held can go, what live ones hold cannot
SELECT dead_hold('BULK9', 4) AS dead \gset
SELECT status FROM inv.inv_reserve('BULK9', 2, ttl => '1 hour');
SELECT on_hand, reserved, available, changed FROM inv.inv_load_stock('{BULK9}', '{9}');
SELECT outcome($$SELECT * FROM inv.inv_load_stock('{BULK8,BULK9}', '{1,1}')$$);
SELECT on_hand, reserved, available, changed FROM inv.inv_load_stock('{BULK9}', '{2}');
SELECT status FROM inv.inv_reservation_status(:'dead');
SELECT on_hand FROM inv.inv_availability WHERE sku = 'BULK8';

-- stripes: the sum is what counts
SELECT inv.inv_set_stripes('BULK10', 4);
SELECT on_hand, changed FROM inv.inv_load_stock('{BULK10}', '{10}');
SELECT on_hand, changed FROM inv.inv_load_stock('{BULK10}', '{21}');
SELECT array_agg(on_hand ORDER BY stripe) FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'BULK10';
SELECT on_hand, changed FROM inv.inv_load_stock('{BULK10}', '{3}');
SELECT array_agg(on_hand ORDER BY stripe) FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'BULK10';

--
-- Safety stock and backorders are two columns
--
UPDATE inv.inv_stock SET min_available = 98
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'NEW2') AND location_id = 0;
SELECT on_hand, reserved, available FROM inv.inv_set_stock('NEW2', 100);
SELECT inv.inv_available('NEW2');
SELECT outcome($$SELECT inv.inv_reserve('NEW2', 3)$$);
SELECT status, available FROM inv.inv_reserve('NEW2', 2);
UPDATE inv.inv_stock SET min_available = -3
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'NEW2') AND location_id = 0;
SELECT inv.inv_available('NEW2');
SELECT status, available FROM inv.inv_reserve('NEW2', 101);
SELECT outcome($$SELECT inv.inv_reserve('NEW2', 1)$$);
UPDATE inv.inv_stock SET backorder_unlimited = true
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'NEW2') AND location_id = 0;
SELECT status FROM inv.inv_reserve('NEW2', 1000000);
SELECT available, on_hand, reserved FROM inv.inv_availability WHERE sku = 'NEW2' AND location = 'default';
SELECT inv.inv_available('NEW2');

SELECT * FROM inv.inv_check();
