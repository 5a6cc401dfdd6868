-- uppercase_sku: SKUs in capital letters, however they are written.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

-- as it comes, each is another SKU
SELECT inv.inv_add_item('mug') IS NOT NULL AS added, inv.inv_add_item('Mug') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{mug,Mug}', '{5,5}');
SELECT outcome($$SELECT inv.inv_reserve('MUG')$$);

ALTER SYSTEM SET inventory_reservation.uppercase_sku = on;
SELECT pg_reload_conf();
SELECT pg_sleep(1);
SHOW inventory_reservation.uppercase_sku;
SELECT outcome($$SET inventory_reservation.uppercase_sku = off$$);

-- every call that takes a SKU
SELECT inv.inv_add_item('tea', 'Tea', 2) IS NOT NULL AS added;
SELECT outcome($$SELECT inv.inv_add_item('Tea')$$);
SELECT inv.inv_set_item('tEa', unit_price => 3) IS NOT NULL AS set;
SELECT sku, on_hand FROM inv.inv_receive('tea', 20, key => 'delivery');
SELECT sku, on_hand, replayed FROM inv.inv_receive('TEA', 20, key => 'delivery');
SELECT sku, on_hand FROM inv.inv_adjust('teA', -1);
SELECT sku, on_hand FROM inv.inv_set_stock('tea', 30);
SELECT sku, on_hand, created FROM inv.inv_load_stock('{tea,cake}', '{30,9}');
SELECT sku, available FROM inv.inv_set_policy('tea', 10);
SELECT inv.inv_set_stripes('tea', 1);
SELECT inv.inv_available('Tea'), inv.inv_available('cAkE');
SELECT reservation_id AS hold, status FROM inv.inv_reserve('tea', 3, 'k', ttl => '1 hour') \gset
SELECT reservation_id = :'hold' AS same, replayed FROM inv.inv_reserve('TEA', 3, 'k', ttl => '1 hour');
SELECT status, available FROM inv.inv_try_reserve('Tea', ttl => '1 hour');
SELECT status, available, error FROM inv.inv_reserve_batch('{tea,Cake,pie}', '{1,1,1}');
-- a SKU that is named twice is one line
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{cake,CAKE}', '{1,2}', ttl => '1 hour') \gset
SELECT sku, quantity FROM inv.inv_reservation_lines WHERE reservation_id = :'cart';
SELECT shortages FROM inv.inv_try_reserve_cart('{tea,cake}', '{100,1}');
SELECT status FROM inv.inv_reserve_lines('[{"sku": "tea", "quantity": 1}]', ttl => '1 hour');
SELECT status FROM inv.inv_release(:'cart', 'cake', 1);
SELECT order_id AS sale FROM inv.inv_confirm(:'hold') \gset
SELECT status FROM inv.inv_return(:'sale', 'tea', 1);
SELECT outcome($$SELECT inv.inv_reserve('pie')$$);
SELECT sku FROM inv.inv_item ORDER BY item_id;

-- other letters stay as they are, and lengths are as before
SELECT inv.inv_add_item('straße-ä') IS NOT NULL AS added;
SELECT inv.inv_available('STRAßE-ä');
SELECT outcome($$SELECT inv.inv_available('STRASSE-Ä')$$);
SELECT outcome($$SELECT inv.inv_available('')$$);

-- what was there in small letters can be renamed, and nothing else
SELECT outcome($$SELECT inv.inv_available('mug')$$);
SELECT inv.inv_rename_item('mug', 'mug') IS NOT NULL AS renamed;
SELECT inv.inv_available('mug');
SELECT outcome($$SELECT inv.inv_rename_item('Mug', 'mug')$$);
SELECT inv.inv_rename_item('Mug', 'big mug') IS NOT NULL AS renamed;
SELECT sku FROM inv.inv_item ORDER BY item_id;
-- the route is that of the SKU as it is kept
SELECT inv.inv_route_id(:'hold') = inv.inv_route_sku('TEA') AS as_kept,
       inv.inv_route_id(:'hold') = inv.inv_route_sku('tea') AS as_written;

ALTER SYSTEM RESET inventory_reservation.uppercase_sku;
SELECT pg_reload_conf();
SELECT * FROM inv.inv_check();
