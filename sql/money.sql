-- Prices and totals: exact, whatever their digits, in the currency and at the
-- price of the moment when the hold was made.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

CREATE FUNCTION pg_temp.sale(sku text, quantity bigint) RETURNS TABLE (told numeric, ordered numeric, code text)
LANGUAGE plpgsql AS $$
DECLARE
    sold inv.inv_confirmation;
BEGIN
    sold := inv.inv_confirm((inv.inv_reserve(sku, quantity, ttl => '1 hour')).reservation_id);
    RETURN QUERY SELECT sold.total, sale.total, sale.currency FROM inv.inv_order_status(sold.order_id) AS sale;
END
$$;

SELECT sku, inv.inv_add_item(sku, unit_price => price, currency => 'EUR') > 0 AS added,
       (inv.inv_receive(sku, 9007199254740992)).on_hand
  FROM (VALUES ('dime', 0.1), ('scale', 0.10), ('micro', 0.000001), ('third', 33.333333),
               ('long', 12345678901234567890.123456789012345678901234567890),
               ('free', 0), ('huge', 1e100::numeric)) AS item (sku, price);

-- no float in between, and no digit less than there is
SELECT * FROM pg_temp.sale('dime', 3);
SELECT * FROM pg_temp.sale('scale', 3);
SELECT * FROM pg_temp.sale('third', 3);
SELECT * FROM pg_temp.sale('long', 7);
SELECT * FROM pg_temp.sale('free', 7);
SELECT * FROM pg_temp.sale('micro', 9007199254740991);
SELECT * FROM pg_temp.sale('micro', 1);
SELECT ordered = 9007199254740992::numeric * 1e100::numeric AS exact FROM pg_temp.sale('huge', 9007199254740992);
-- of a cart, too
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{dime,third,long,scale}', '{3,9,1,1}', ttl => '1 hour') \gset
SELECT total, currency FROM inv.inv_active_holds WHERE reservation_id = :'cart';
SELECT total, currency FROM inv.inv_reservation_status(:'cart');
SELECT total = 0.3 + 299.999997 + 12345678901234567890.123456789012345678901234567890 + 0.10 AS exact, total
  FROM inv.inv_confirm(:'cart');
SELECT line ->> 'sku' AS sku, line -> 'unit_price' AS unit_price
  FROM inv.inv_reservation_status(:'cart'), jsonb_array_elements(lines) AS line;
-- returns do not touch what was agreed
SELECT order_id AS sale FROM inv.inv_confirm(:'cart') \gset
SELECT total FROM inv.inv_return(:'sale', 'third', 1);

-- the price and the currency of the hold stay, whatever the shop does meanwhile
SELECT reservation_id AS hold FROM inv.inv_reserve('dime', 3, ttl => '1 hour') \gset
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{dime,scale}', '{1,1}', ttl => '1 hour') \gset
SELECT inv.inv_set_item('dime', unit_price => 9.99, currency => 'USD') > 0 AS set;
SELECT total, currency FROM inv.inv_reservation_status(:'hold');
SELECT total FROM inv.inv_confirm(:'hold');
SELECT total, currency FROM inv.inv_order WHERE reservation_id = :'hold';
SELECT total FROM inv.inv_confirm(:'cart');
SELECT total, currency FROM inv.inv_order WHERE reservation_id = :'cart';
SELECT * FROM pg_temp.sale('dime', 1);
-- and of a dead one that is paid late
SELECT dead_hold('dime', 2) AS late \gset
SELECT inv.inv_set_item('dime', unit_price => 1, currency => 'EUR') > 0 AS set;
SELECT total FROM inv.inv_confirm(:'late', retake => true);
SELECT currency FROM inv.inv_order WHERE reservation_id = :'late';

-- what is no price
SELECT outcome($$SELECT inv.inv_add_item('X', unit_price => 'NaN')$$);
SELECT outcome($$SELECT inv.inv_add_item('X', unit_price => 'Infinity')$$);
SELECT outcome($$SELECT inv.inv_add_item('X', unit_price => '-Infinity')$$);
SELECT outcome($$SELECT inv.inv_add_item('X', unit_price => -0.000001)$$);
SELECT outcome($$SELECT inv.inv_set_item('dime', unit_price => 'NaN')$$);
SELECT outcome($$SELECT inv.inv_set_item('dime', unit_price => 'Infinity')$$);
SELECT outcome($$SELECT inv.inv_set_item('dime', unit_price => '-Infinity')$$);
SELECT outcome($$SELECT inv.inv_set_item('dime', unit_price => -0.000001)$$);
SELECT outcome($$SELECT inv.inv_set_item('dime', currency => 'euro')$$);
SELECT outcome($$UPDATE inv.inv_item SET unit_price = 'NaN' WHERE sku = 'dime'$$);
SELECT unit_price, currency FROM inv.inv_item WHERE sku = 'dime';

--
-- A SKU is renamed, and its selling stopped, while it is held
--
SELECT inv.inv_add_item('old', unit_price => 5, currency => 'EUR') > 0 AS added, (inv.inv_receive('old', 10)).on_hand;
SELECT reservation_id AS hold FROM inv.inv_reserve('old', 2, key => 'first', ttl => '1 hour') \gset
SELECT inv.inv_rename_item('old', 'new') > 0 AS renamed;
SELECT inv.inv_set_item('new', selling => false) > 0 AS stopped;
SELECT outcome($$SELECT inv.inv_reserve('old', 1)$$);
SELECT outcome($$SELECT inv.inv_reserve('new', 1)$$);
SELECT outcome($$SELECT inv.inv_try_reserve('new', 1)$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{dime,new}', '{1,1}')$$);
SELECT error FROM inv.inv_reserve_batch('{new}', '{1}');
SELECT on_sale, available FROM inv.inv_availability WHERE sku = 'new';
-- what is held can be shrunk, extended and sold, under the new name
SELECT status FROM inv.inv_release(:'hold', 'new', 1);
SELECT inv.inv_extend(:'hold', '2 hours') > now() + interval '1 hour' AS extended;
SELECT total FROM inv.inv_confirm(:'hold');
SELECT line ->> 'sku' AS sku FROM inv.inv_order_status((SELECT order_id FROM inv.inv_order WHERE reservation_id = :'hold')), jsonb_array_elements(lines) AS line;
SELECT on_hand, reserved FROM inv.inv_availability WHERE sku = 'new';
-- and selling goes on
SELECT inv.inv_set_item('new', selling => true) > 0 AS resumed;
SELECT status FROM inv.inv_reserve('new', 1);
-- the old name is free, and means another item
SELECT inv.inv_add_item('old', unit_price => 1) > 0 AS added;
SELECT outcome($$SELECT inv.inv_reserve('old', 1)$$);

--
-- Compare and set: of two systems that have read one version, one writes
--
SELECT version AS read FROM inv.inv_receive('old', 3) \gset
SELECT on_hand, version - :read AS later FROM inv.inv_set_stock('old', 7, expected_version => :read);
SELECT outcome(format($$SELECT inv.inv_set_stock('old', 9, expected_version => %s)$$, :read));
SELECT on_hand FROM inv.inv_availability WHERE sku = 'old';
-- a load that changes nothing is no change, one that does is
SELECT version AS read FROM inv.inv_load_stock('{old}', '{7}') \gset
SELECT version - :read AS later FROM inv.inv_load_stock('{old}', '{7}');
SELECT version - :read AS later FROM inv.inv_load_stock('{old}', '{8}');
SELECT outcome(format($$SELECT inv.inv_set_stock('old', 9, expected_version => %s)$$, :read));
SELECT * FROM inv.inv_check();
