-- Carts: all lines or none.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item(sku, unit_price => price, currency => 'EUR') IS NOT NULL AS added
  FROM (VALUES ('A', 10.00), ('B', 2.50), ('C', 0.99)) AS item (sku, price);
SELECT sku, on_hand, available, version, created
  FROM inv.inv_load_stock('{A,B,C}', '{10,10,10}');
CREATE VIEW public.stock AS
SELECT sku, location, on_hand, reserved, available
  FROM inv.inv_availability ORDER BY sku, location;

-- lines keep the buyer's order; available: of the line that has least left
SELECT * FROM inv.inv_reserve_cart('{C,A,B}', '{1,4,2}', customer => 'ann',
                                   reference => 'web-1',
                                   metadata => '{"gift": true}') \gset
SELECT :'status' AS status, :'replayed' AS replayed, :'available' AS available;
SELECT line_no, sku, quantity, unit_price, currency, status, customer, reference
  FROM inv.inv_reservation_lines ORDER BY line_no;
SELECT line_no, metadata FROM inv.inv_reservation ORDER BY line_no;
SELECT status, customer, reference, total, currency, metadata, jsonb_pretty(lines) AS lines
  FROM inv.inv_reservation_status(:'reservation_id');
SELECT lines, units, total FROM inv.inv_active_holds;
TABLE stock;

-- the whole cart is sold
SELECT * FROM inv.inv_confirm(:'reservation_id') \gset
SELECT :'total' AS total;
SELECT total, metadata, jsonb_pretty(lines) AS lines FROM inv.inv_order_status(:'order_id');
TABLE stock;
-- and comes back as a whole
SELECT status FROM inv.inv_cancel_order(:'order_id');
TABLE stock;

-- a SKU named twice is summed, at its first place
SELECT * FROM inv.inv_reserve_cart('{B,A,B}', '{1,2,3}') \gset
SELECT line_no, sku, quantity FROM inv.inv_reservation_lines
 WHERE reservation_id = :'reservation_id' ORDER BY line_no;
SELECT status FROM inv.inv_cancel(:'reservation_id');
-- and judged by its sum
SELECT outcome($$SELECT inv.inv_reserve_cart('{B,B}', '{6,5}')$$);

-- the same as JSON
SELECT * FROM inv.inv_reserve_lines('[{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]') \gset
SELECT :'status' AS status, :'available' AS available;
SELECT line_no, sku, quantity FROM inv.inv_reservation_lines
 WHERE reservation_id = :'reservation_id' ORDER BY line_no;
SELECT status FROM inv.inv_cancel(:'reservation_id');
SELECT * FROM inv.inv_reserve_lines('[{"sku": "B", "quantity": 1}, {"quantity": 2, "sku": "B"}]') \gset
SELECT line_no, sku, quantity FROM inv.inv_reservation_lines
 WHERE reservation_id = :'reservation_id' ORDER BY line_no;
SELECT status FROM inv.inv_cancel(:'reservation_id');
TABLE stock;

-- all or none: every short line is named, nothing is held
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B,C}', '{11,10,12}')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "A", "quantity": 1}, {"sku": "C", "quantity": 11}]')$$);
SELECT reservation_id IS NULL AS none, status, expires_at, replayed, available,
       jsonb_pretty(shortages) AS shortages
  FROM inv.inv_try_reserve_cart('{A,B,C}', '{11,10,12}');
TABLE stock;
SELECT count(*) FROM inv.inv_active_holds;
-- enough: no shortages
SELECT reservation_id IS NOT NULL AS held, status, replayed, available, shortages
  FROM inv.inv_try_reserve_cart('{A,B}', '{10,1}');
SELECT jsonb_pretty(shortages) AS shortages
  FROM inv.inv_try_reserve_cart('{A,B}', '{1,9}');
TABLE stock;

-- a cart at a place
SELECT inv.inv_add_location('store') > 0 AS added;
SELECT inv.inv_receive('C', 3, 'store') IS NOT NULL AS received;
SELECT status, available FROM inv.inv_reserve_cart('{C}', '{2}', location => 'store');
SELECT jsonb_pretty(shortages) AS shortages
  FROM inv.inv_try_reserve_cart('{A,C}', '{1,2}', location => 'store');
TABLE stock;

-- giving back a part: one SKU at a time, the last unit cancels
SELECT * FROM inv.inv_reserve_cart('{B,C}', '{2,3}') \gset
SELECT status FROM inv.inv_release(:'reservation_id', 'B', 2);
SELECT line_no, sku, quantity, status FROM inv.inv_reservation_lines
 WHERE reservation_id = :'reservation_id' ORDER BY line_no;
SELECT lines, units, total FROM inv.inv_active_holds WHERE reservation_id = :'reservation_id';
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1)', :'reservation_id', 'B'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 4)', :'reservation_id', 'C'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1)', :'reservation_id', 'A'));
SELECT status FROM inv.inv_release(:'reservation_id', 'C', 1);
-- confirm sells the rest
SELECT * FROM inv.inv_confirm(:'reservation_id') \gset
SELECT :'total' AS total;
SELECT jsonb_pretty(lines) AS lines FROM inv.inv_order_status(:'order_id');
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 1)', :'order_id', 'B'));
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 3)', :'order_id', 'C'));
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 1)', :'order_id', 'A'));
SELECT status FROM inv.inv_return(:'order_id', 'C', 2);
TABLE stock;

SELECT * FROM inv.inv_reserve_cart('{B,C}', '{2,3}') \gset
SELECT status FROM inv.inv_release(:'reservation_id', 'B', 2);
SELECT status FROM inv.inv_release(:'reservation_id', 'C', 3);
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'reservation_id'));
TABLE stock;

-- one currency a cart
SELECT inv.inv_add_item('USD', unit_price => 1, currency => 'USD') IS NOT NULL AS added,
       inv.inv_add_item('NONE', unit_price => 1) IS NOT NULL AS added;
SELECT inv.inv_receive('USD', 5) IS NOT NULL AS received,
       inv.inv_receive('NONE', 5) IS NOT NULL AS received;
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,USD}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_try_reserve_cart('{A,USD}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,NONE}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{NONE,A}', '{1,1}')$$);
SELECT status FROM inv.inv_reserve_cart('{NONE}', '{1}');

-- carts that are none
SELECT outcome($$SELECT inv.inv_reserve_cart('{}', '{}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,NULL}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{1,NULL}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{{A,B}}', '{{1,1}}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{1,0}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,NOSUCH}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('{"sku": "A", "quantity": 1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "A"}]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"quantity": 1}]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "A", "quantity": 1.5}]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "A", "quantity": "1"}]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": 5, "quantity": 1}]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "A", "quantity": 1, "colour": "red"}]')$$);
-- sums that do not fit
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,A}', '{9007199254740992,9007199254740992}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,A}', '{9223372036854775807,9223372036854775807}')$$);

-- a large cart: 200 SKUs
SELECT count(*) FROM inv.inv_load_stock(
    ARRAY(SELECT 'S' || i FROM generate_series(1, 200) AS i),
    ARRAY(SELECT i::bigint FROM generate_series(1, 200) AS i));
SELECT * FROM inv.inv_reserve_cart(
    ARRAY(SELECT 'S' || i FROM generate_series(200, 1, -1) AS i),
    ARRAY(SELECT i::bigint FROM generate_series(200, 1, -1) AS i)) \gset
SELECT lines, units FROM inv.inv_active_holds WHERE reservation_id = :'reservation_id';
SELECT sum(available) FROM inv.inv_availability WHERE sku ~ '^S\d';
SELECT status FROM inv.inv_cancel(:'reservation_id');
SELECT sum(available) FROM inv.inv_availability WHERE sku ~ '^S\d';

DROP VIEW public.stock;
SELECT * FROM inv.inv_check();
