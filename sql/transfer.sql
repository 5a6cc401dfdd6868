-- Transfers between locations.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 1) IS NOT NULL AS added, inv.inv_add_item('OWED') IS NOT NULL AS added;
SELECT inv.inv_add_location('store') > 0 AS added, inv.inv_add_location('depot') > 0 AS added;
SELECT on_hand FROM inv.inv_receive('A', 10);
CREATE VIEW public.books AS
SELECT sku, location, on_hand, reserved, available FROM inv.inv_availability ORDER BY sku, location;

-- there was no stock in the store before
SELECT * FROM inv.inv_transfer('A', 4, 'default', 'store', 'for the shop window');
-- null is the default location
SELECT location, on_hand, version FROM inv.inv_transfer('A', 1, 'store', NULL);
SELECT location, on_hand FROM inv.inv_transfer('A', 2, NULL, 'depot');
SELECT * FROM public.books;
-- a pair of entries, of one transaction
SELECT location.code, entry.operation, entry.delta_on_hand, entry.delta_reserved,
       entry.on_hand_after, entry.reason,
       entry.xid = lag(entry.xid) OVER (ORDER BY entry_id) AS together
  FROM inv.inv_ledger AS entry JOIN inv.inv_location AS location USING (location_id)
 WHERE operation = 'transfer' ORDER BY entry_id;
SELECT * FROM inv.inv_check();

--
-- Under a key
--
SELECT location, on_hand, replayed FROM inv.inv_transfer('A', 1, 'store', 'depot', 'van', 'van 1');
SELECT location, on_hand, replayed FROM inv.inv_transfer('A', 1, 'store', 'depot', 'van', 'van 1');
SELECT outcome($$SELECT inv.inv_transfer('A', 1, 'depot', 'store', 'van', 'van 1')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', 2, 'store', 'depot', 'van', 'van 1')$$);

--
-- Only what is there, and nobody holds
--
SELECT outcome($$SELECT inv.inv_transfer('A', 6, 'default', 'store')$$);
SELECT status FROM inv.inv_reserve('A', 3, ttl => '1 hour');
SELECT outcome($$SELECT inv.inv_transfer('A', 3, 'default', 'store')$$);
SELECT location, on_hand, reserved, available FROM inv.inv_transfer('A', 2, 'default', 'store');
-- dead holds do not count
SELECT location, on_hand FROM inv.inv_transfer('A', 1, 'store', 'default');
SELECT dead_hold('A', 1) IS NOT NULL AS died;
SELECT location, on_hand, reserved FROM inv.inv_transfer('A', 1, 'default', 'store');
-- safety stock is the shop's own
SELECT available FROM inv.inv_set_policy('A', 2, location => 'store');
SELECT location, on_hand, available FROM inv.inv_transfer('A', 4, 'store', 'depot');
SELECT location, on_hand, available FROM inv.inv_transfer('A', 3, 'depot', 'store');
-- what may be promised without being there cannot go
SELECT available FROM inv.inv_set_policy('OWED', backorder_limit => 5);
SELECT outcome($$SELECT inv.inv_transfer('OWED', 1, 'default', 'store')$$);
SELECT inv.inv_receive('OWED', 2) IS NOT NULL AS received;
SELECT status FROM inv.inv_reserve('OWED', 1, ttl => '1 hour');
SELECT outcome($$SELECT inv.inv_transfer('OWED', 2, 'default', 'store')$$);
SELECT location, on_hand, reserved, available FROM inv.inv_transfer('OWED', 1, 'default', 'store');
-- but what comes makes up for it
SELECT status FROM inv.inv_reserve('OWED', 4, ttl => '1 hour');
SELECT location, on_hand, reserved, available FROM inv.inv_transfer('OWED', 1, 'store', 'default');
SELECT * FROM inv.inv_check();

--
-- Stripes at both ends
--
SELECT inv.inv_receive('A', 20, 'depot') IS NOT NULL AS received;
SELECT inv.inv_set_stripes('A', 4, 'depot'), inv.inv_set_stripes('A', 2, 'store');
SELECT location, on_hand, available FROM inv.inv_transfer('A', 15, 'depot', 'store');
SELECT location.code, stripe, on_hand FROM inv.inv_stock AS stock
  JOIN inv.inv_location AS location USING (location_id) JOIN inv.inv_item USING (item_id)
 WHERE sku = 'A' ORDER BY code, stripe;
SELECT location, on_hand FROM inv.inv_transfer('A', 9, 'depot', 'default');
SELECT * FROM public.books;
SELECT * FROM inv.inv_check();

--
-- What makes no sense
--
SELECT outcome($$SELECT inv.inv_transfer('A', 1, 'store', 'store')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', 1, NULL, 'default')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', 0, 'store', 'depot')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', -1, 'store', 'depot')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', NULL, 'store', 'depot')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', 9007199254740993, 'store', 'depot')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', 1, 'store', 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', 1, 'nowhere', 'store')$$);
SELECT outcome($$SELECT inv.inv_transfer('NOSUCH', 1, 'store', 'depot')$$);
SELECT outcome($$SELECT inv.inv_transfer(NULL, 1, 'store', 'depot')$$);
SELECT outcome($$SELECT inv.inv_transfer('A', 1, '', 'depot')$$);
-- no room there
SELECT inv.inv_set_stock('A', 9007199254740992, 'depot') IS NOT NULL AS counted;
SELECT outcome($$SELECT inv.inv_transfer('A', 1, 'store', 'depot')$$);
SELECT * FROM inv.inv_check();

DROP VIEW public.books;
