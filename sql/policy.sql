-- Safety stock and backorders.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item(sku, unit_price => 1) IS NOT NULL AS added
  FROM unnest('{SAFE,BACK,ENDLESS,STRIPED}'::text[]) AS sku;
SELECT inv.inv_add_location('store') > 0 AS added;
CREATE VIEW public.books AS
SELECT sku, stripe, on_hand, reserved, min_available, backorder_unlimited AS unlimited
  FROM inv.inv_stock JOIN inv.inv_item USING (item_id)
 ORDER BY sku, stripe;

--
-- Safety stock: never promised, but the shop's own
--
SELECT on_hand, available FROM inv.inv_receive('SAFE', 10);
SELECT * FROM inv.inv_set_policy('SAFE', 3);
SELECT outcome($$SELECT inv.inv_reserve('SAFE', 8)$$);
SELECT status, available FROM inv.inv_reserve('SAFE', 7, 'seven', ttl => '1 hour');
SELECT reservation_id, available FROM inv.inv_try_reserve('SAFE');
-- more of it than is free: nothing is available, and what is held stays held
SELECT on_hand, reserved, available, version FROM inv.inv_set_policy('SAFE', 5);
SELECT status FROM inv.inv_cancel((inv.inv_reserve('SAFE', 7, 'seven', ttl => '1 hour')).reservation_id);
SELECT inv.inv_available('SAFE');
SELECT available FROM inv.inv_availability WHERE sku = 'SAFE';
-- the shop takes from it as it likes
SELECT on_hand, available FROM inv.inv_adjust('SAFE', -8);
SELECT outcome($$SELECT inv.inv_reserve('SAFE')$$);
SELECT on_hand, available FROM inv.inv_receive('SAFE', 4);
-- none
SELECT on_hand, available FROM inv.inv_set_policy('SAFE');
-- each location has its own
SELECT location, on_hand, available FROM inv.inv_set_policy('SAFE', 2, location => 'store');
SELECT available FROM inv.inv_receive('SAFE', 3, 'store');
SELECT inv.inv_available('SAFE', 'default') AS here, inv.inv_available('SAFE', 'store') AS there;
SELECT * FROM inv.inv_check();

--
-- Backorders: so many units more than there are
--
SELECT on_hand, available FROM inv.inv_receive('BACK', 2);
SELECT on_hand, available FROM inv.inv_set_policy('BACK', backorder_limit => 5);
SELECT status, available FROM inv.inv_reserve('BACK', 3, 'sold', ttl => '1 hour');
SELECT outcome($$SELECT inv.inv_reserve('BACK', 5)$$);
SELECT status, available FROM inv.inv_reserve('BACK', 4, 'held', ttl => '1 hour');
-- sold without being there: on_hand says how many are owed
SELECT order_id AS sale, total FROM inv.inv_confirm((inv.inv_reserve('BACK', 3, 'sold', ttl => '1 hour')).reservation_id) \gset
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'BACK';
SELECT * FROM inv.inv_check();
-- not fewer than there are
SELECT outcome($$SELECT inv.inv_set_policy('BACK', backorder_limit => 4)$$);
SELECT outcome($$SELECT inv.inv_set_policy('BACK', 1)$$);
SELECT outcome($$SELECT inv.inv_adjust('BACK', -1)$$);
SELECT on_hand, reserved, available FROM inv.inv_receive('BACK', 1);
SELECT on_hand, reserved, available FROM inv.inv_set_policy('BACK', backorder_limit => 4);
-- what is given back, or comes back, counts
SELECT status FROM inv.inv_cancel((inv.inv_reserve('BACK', 4, 'held', ttl => '1 hour')).reservation_id);
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'BACK';
SELECT status FROM inv.inv_cancel_order(:'sale');
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'BACK';
-- dead holds do not stand in the way, even if nobody sweeps
SELECT dead_hold('BACK', 7) IS NOT NULL AS died;
SELECT on_hand, reserved FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'BACK';
SELECT on_hand, reserved, available FROM inv.inv_set_policy('BACK');
SELECT * FROM inv.inv_check();

--
-- Without limit
--
SELECT on_hand, available FROM inv.inv_set_policy('ENDLESS', backorder_limit => NULL);
SELECT status, available FROM inv.inv_reserve('ENDLESS', 1000000, 'many', ttl => '1 hour');
SELECT total FROM inv.inv_confirm((inv.inv_reserve('ENDLESS', 1000000, 'many', ttl => '1 hour')).reservation_id);
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'ENDLESS';
SELECT outcome($$SELECT inv.inv_set_policy('ENDLESS')$$);
SELECT on_hand, available FROM inv.inv_receive('ENDLESS', 1000001);
SELECT on_hand, available FROM inv.inv_set_policy('ENDLESS');
SELECT outcome($$SELECT inv.inv_reserve('ENDLESS', 2)$$);
SELECT * FROM inv.inv_check();

--
-- In stripes the first has the policy, and all of them what may be promised; for
-- backorders they become one
--
SELECT on_hand FROM inv.inv_receive('STRIPED', 20);
SELECT inv.inv_set_stripes('STRIPED', 4);
SELECT on_hand, available FROM inv.inv_set_policy('STRIPED', 4);
SELECT * FROM public.books WHERE sku = 'STRIPED';
SELECT on_hand, available FROM inv.inv_set_policy('STRIPED', backorder_limit => 20);
SELECT * FROM public.books WHERE sku = 'STRIPED';
SELECT outcome($$SELECT inv.inv_reserve('STRIPED', 41)$$);
SELECT status FROM inv.inv_reserve('STRIPED', 39, 'most', ttl => '1 hour');
SELECT outcome($$SELECT inv.inv_reserve('STRIPED', 2)$$);
SELECT status FROM inv.inv_reserve('STRIPED', 1, 'last', ttl => '1 hour');
SELECT * FROM inv.inv_check();
SELECT outcome($$SELECT inv.inv_set_policy('STRIPED', backorder_limit => 19)$$);
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'STRIPED';
SELECT total FROM inv.inv_confirm((inv.inv_reserve('STRIPED', 39, 'most', ttl => '1 hour')).reservation_id);
SELECT status FROM inv.inv_cancel((inv.inv_reserve('STRIPED', 1, 'last', ttl => '1 hour')).reservation_id);
SELECT * FROM public.books WHERE sku = 'STRIPED';
SELECT on_hand, available FROM inv.inv_set_policy('STRIPED', backorder_limit => NULL);
SELECT sum(available) FROM inv.inv_reserve('STRIPED', 100, ttl => '1 hour');
SELECT on_hand, available FROM inv.inv_set_policy('STRIPED', backorder_limit => 120);
SELECT * FROM inv.inv_check();

--
-- What the ledger says, and who follows it
--
SELECT item.sku, entry.location_id = 0 AS at_default, entry.stripe, entry.delta_on_hand,
       entry.delta_reserved, entry.on_hand_after, entry.reserved_after, entry.reason
  FROM inv.inv_ledger AS entry JOIN inv.inv_item AS item USING (item_id)
 WHERE operation = 'set_policy' AND item.sku <> 'STRIPED' ORDER BY entry.entry_id;
SELECT entry.stripe, entry.delta_on_hand, entry.delta_reserved, entry.reason
  FROM inv.inv_ledger AS entry JOIN inv.inv_item AS item USING (item_id)
 WHERE operation = 'set_policy' AND item.sku = 'STRIPED' ORDER BY entry.entry_id;
CALL inv.inv_maintain();
SELECT on_hand, available FROM inv.inv_set_policy('SAFE', 6);
CALL inv.inv_maintain();
SELECT on_hand, available FROM inv.inv_set_policy('SAFE', 5);
CALL inv.inv_maintain();
SELECT sku, location, operation FROM inv.inv_events(max_count => 10000)
 WHERE operation IN ('back_in_stock', 'out_of_stock') AND sku = 'SAFE';

--
-- What is no policy
--
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', 1, 1)$$);
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', 1, NULL)$$);
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', NULL)$$);
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', -1)$$);
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', backorder_limit => -1)$$);
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', 9007199254740993)$$);
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', backorder_limit => 9007199254740993)$$);
SELECT outcome($$SELECT inv.inv_set_policy('NOSUCH', 1)$$);
SELECT outcome($$SELECT inv.inv_set_policy('SAFE', 1, location => 'nowhere')$$);
-- the most there can be
SELECT on_hand, available FROM inv.inv_set_policy('SAFE', 9007199254740992);
SELECT on_hand, available FROM inv.inv_set_policy('SAFE', 0, 9007199254740992);
SELECT * FROM inv.inv_check();

DROP VIEW public.books;
