-- The whole way of a buyer: catalogue, hold, look, extend, shrink, buy, return.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

--
-- The catalogue
--
SELECT inv.inv_add_item('LAPTOP001', 'Laptop', 1299.99, 'EUR') AS laptop \gset
SELECT item_id = :laptop AS returns_the_item_id, sku, name, unit_price,
       currency, listed_until, selling, hold_ttl, max_per_customer,
       limit_window, attributes
  FROM inv.inv_item;
SELECT inv.inv_add_item(sku => 'PHONE001', name => 'Phone',
                        unit_price => 899.99, currency => 'EUR',
                        listed_until => 'infinity', selling => true,
                        hold_ttl => '2 minutes',
                        attributes => '{"colour": "black"}') IS NOT NULL AS added;
SELECT inv.inv_add_item('STICKER') IS NOT NULL AS added;
SELECT sku, name, unit_price, currency, listed_until, selling, hold_ttl, attributes
  FROM inv.inv_item ORDER BY sku;

-- no stock yet
SELECT inv.inv_available('LAPTOP001');
SELECT status, reservation_id IS NULL AS none, expires_at, replayed, available
  FROM inv.inv_try_reserve('LAPTOP001');

-- the first stock brings the default location into being
SELECT * FROM inv.inv_location;
SELECT * FROM inv.inv_receive('LAPTOP001', 5, reason => 'first delivery');
SELECT location_id, code FROM inv.inv_location;
SELECT * FROM inv.inv_receive('PHONE001', 10);
SELECT * FROM inv.inv_receive('PHONE001', 5);
SELECT * FROM inv.inv_adjust('PHONE001', -5, reason => 'counted twice');
SELECT sku, name, location, on_hand, reserved, dead, available, on_sale,
       unit_price, currency
  FROM inv.inv_availability ORDER BY sku;

--
-- A hold
--
SELECT clock_timestamp() AS before \gset
SELECT * FROM inv.inv_reserve('LAPTOP001', 2) \gset
SELECT :'status' AS status, :'replayed' AS replayed, :'available' AS available,
       :'expires_at'::timestamptz
           BETWEEN :'before'::timestamptz + interval '5 minutes'
               AND clock_timestamp() + interval '5 minutes'
           AS lives_five_minutes;
\set laptop_hold :reservation_id

-- one unit unless told otherwise; the item's own time to live
SELECT clock_timestamp() AS before \gset
SELECT * FROM inv.inv_reserve('PHONE001') \gset
SELECT :'expires_at'::timestamptz
           BETWEEN :'before'::timestamptz + interval '2 minutes'
               AND clock_timestamp() + interval '2 minutes'
           AS lives_two_minutes;
\set phone_hold :reservation_id

-- every argument, by position
SELECT clock_timestamp() AS before \gset
SELECT * FROM inv.inv_reserve('PHONE001', 3, 'key-1', 'ann', '1 hour', 'default',
                              'web-4711', '{"campaign": "spring"}', false) \gset
SELECT :'status' AS status, :'replayed' AS replayed, :'available' AS available,
       :'expires_at'::timestamptz
           BETWEEN :'before'::timestamptz + interval '1 hour'
               AND clock_timestamp() + interval '1 hour'
           AS lives_an_hour;
\set ann_hold :reservation_id

SELECT status, customer, reference, expires_at > now() AS alive,
       created_at <= clock_timestamp() AS created, closed_at, total, currency,
       order_id, metadata, jsonb_pretty(lines) AS lines
  FROM inv.inv_reservation_status(:'ann_hold');
SELECT reservation_id = :'ann_hold' AS same_id
  FROM inv.inv_reservation_status(:'ann_hold');
SELECT reservation_id = :'ann_hold' AS ann, customer, reference, lines, units,
       total, currency, time_left > interval '59 minutes' AS time_left
  FROM inv.inv_active_holds ORDER BY units DESC;
SELECT sku, line_no, location, quantity, returned, unit_price, currency, status,
       customer, reference, closed_at
  FROM inv.inv_reservation_lines ORDER BY sku, quantity;
SELECT inv.inv_available('PHONE001'), inv.inv_available('PHONE001', 'default');
SELECT sku, on_hand, reserved, available FROM inv.inv_availability ORDER BY sku;

-- the price at the moment of the hold is the price that is paid
SELECT inv.inv_set_item('PHONE001', unit_price => 949.99) IS NOT NULL AS changed;
SELECT total FROM inv.inv_reservation_status(:'ann_hold');

--
-- Extend, shrink, buy
--
SELECT inv.inv_extend(:'ann_hold', '2 hours') AS extended \gset
SELECT :'extended'::timestamptz > :'expires_at'::timestamptz AS longer,
       :'extended' = expires_at::text AS as_returned
  FROM inv.inv_reservation_status(:'ann_hold');
-- never shorter
SELECT inv.inv_extend(:'ann_hold', '1 minute')::text = :'extended' AS unchanged;
-- without a ttl: as long as a new hold would live
SELECT inv.inv_extend(:'phone_hold') > now() AS extended;

SELECT reservation_id = :'ann_hold' AS same_id, status, replayed
  FROM inv.inv_release(:'ann_hold', 'PHONE001', 1);
SELECT total, lines -> 0 -> 'quantity' AS quantity
  FROM inv.inv_reservation_status(:'ann_hold');
SELECT inv.inv_available('PHONE001');

SELECT * FROM inv.inv_confirm(:'ann_hold', customer => 'ann') \gset
SELECT :'status' AS status, :'total' AS total, :'replayed' AS replayed;
\set ann_order :order_id
SELECT order_id = :'ann_order' AS same_id, status, total, replayed
  FROM inv.inv_confirm(:'ann_hold', customer => 'ann');
SELECT status, order_id = :'ann_order' AS has_its_order,
       closed_at <= clock_timestamp() AS closed, total, lines -> 0 ->> 'status' AS line
  FROM inv.inv_reservation_status(:'ann_hold');
SELECT order_id = :'ann_order' AS same_id, reservation_id = :'ann_hold' AS its_hold,
       status, payment_status, customer, reference, total, currency,
       created_at <= updated_at AS times, completed_at, cancelled_at, metadata,
       jsonb_pretty(lines) AS lines
  FROM inv.inv_order_status(:'ann_order');
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'PHONE001';

--
-- Pay, deliver, return
--
SELECT status, payment_status FROM inv.inv_record_payment(:'ann_order', 'paid');
SELECT status, payment_status, completed_at IS NOT NULL AS completed
  FROM inv.inv_complete_order(:'ann_order');
SELECT status, payment_status, total FROM inv.inv_return(:'ann_order', 'PHONE001', 1, 'scratched');
SELECT status, payment_status FROM inv.inv_record_payment(:'ann_order', 'refunded');
SELECT status, payment_status, lines -> 0 -> 'quantity' AS quantity,
       lines -> 0 -> 'returned' AS returned
  FROM inv.inv_order_status(:'ann_order');
SELECT quantity, returned FROM inv.inv_reservation_lines WHERE reservation_id = :'ann_hold';
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'PHONE001';

--
-- Change one's mind
--
SELECT reservation_id = :'laptop_hold' AS same_id, status, replayed
  FROM inv.inv_cancel(:'laptop_hold');
SELECT status, replayed FROM inv.inv_cancel(:'laptop_hold');
SELECT status, closed_at <= clock_timestamp() AS closed
  FROM inv.inv_reservation_status(:'laptop_hold');
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'LAPTOP001';

-- giving the last unit back is cancelling
SELECT * FROM inv.inv_reserve('LAPTOP001', 3) \gset
SELECT status, replayed FROM inv.inv_release(:'reservation_id', 'LAPTOP001', 2);
SELECT status, replayed FROM inv.inv_release(:'reservation_id', 'LAPTOP001', 1);
SELECT status FROM inv.inv_reservation_status(:'reservation_id');

-- an order that is not to be: what was not returned comes back
SELECT * FROM inv.inv_reserve('LAPTOP001', 3) \gset
SELECT * FROM inv.inv_confirm(:'reservation_id', payment_status => 'paid') \gset
SELECT inv.inv_available('LAPTOP001');
SELECT status, payment_status FROM inv.inv_return(:'order_id', 'LAPTOP001', 1);
SELECT inv.inv_available('LAPTOP001');
SELECT status, payment_status, cancelled_at IS NOT NULL AS cancelled
  FROM inv.inv_cancel_order(:'order_id', 'changed his mind');
SELECT inv.inv_available('LAPTOP001');
SELECT status, payment_status FROM inv.inv_cancel_order(:'order_id', 'changed his mind');
SELECT inv.inv_available('LAPTOP001');

-- the last units, to the last; then sold out is an answer or an error
SELECT status, available FROM inv.inv_reserve('LAPTOP001', 5);
SELECT reservation_id IS NULL AS none, status, expires_at, replayed, available
  FROM inv.inv_try_reserve('LAPTOP001', 1);
SELECT outcome($$SELECT inv.inv_reserve('LAPTOP001', 1)$$);

--
-- The shop's side of an item
--
-- what is not given stays
SELECT inv.inv_set_item('PHONE001', name => 'Smartphone') IS NOT NULL AS changed;
SELECT sku, name, unit_price, currency, listed_until, selling, hold_ttl, attributes
  FROM inv.inv_item WHERE sku = 'PHONE001';
-- 'infinity' and '0' remove what NULL leaves
SELECT inv.inv_set_item('PHONE001', listed_until => 'infinity', hold_ttl => '0') IS NOT NULL AS changed;
SELECT listed_until, hold_ttl FROM inv.inv_item WHERE sku = 'PHONE001';

-- no new holds while it is not on sale, but those that exist can be confirmed
SELECT * FROM inv.inv_reserve('PHONE001') \gset
SELECT inv.inv_set_item('PHONE001', selling => false) IS NOT NULL AS changed;
SELECT on_sale FROM inv.inv_availability WHERE sku = 'PHONE001';
SELECT outcome($$SELECT inv.inv_reserve('PHONE001')$$);
SELECT outcome($$SELECT inv.inv_try_reserve('PHONE001')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{STICKER,PHONE001}', '{1,1}')$$);
SELECT status FROM inv.inv_confirm(:'reservation_id');
SELECT inv.inv_set_item('PHONE001', selling => true,
                        listed_until => now() - interval '1 second') IS NOT NULL AS changed;
SELECT on_sale FROM inv.inv_availability WHERE sku = 'PHONE001';
SELECT outcome($$SELECT inv.inv_reserve('PHONE001')$$);
SELECT outcome($$SELECT inv.inv_try_reserve('PHONE001')$$);
SELECT inv.inv_set_item('PHONE001', listed_until => now() + interval '1 hour') IS NOT NULL AS changed;
SELECT on_sale FROM inv.inv_availability WHERE sku = 'PHONE001';
SELECT status FROM inv.inv_reserve('PHONE001');

-- another SKU for the same item: holds, orders and stock stay with it
SELECT inv.inv_rename_item('PHONE001', 'PHONE001-BLACK') IS NOT NULL AS renamed;
SELECT outcome($$SELECT inv.inv_available('PHONE001')$$);
SELECT inv.inv_available('PHONE001-BLACK');
SELECT lines -> 0 -> 'sku' AS sku FROM inv.inv_order_status(:'ann_order');
SELECT inv.inv_rename_item('PHONE001-BLACK', 'PHONE001') IS NOT NULL AS renamed;

--
-- Places
--
SELECT inv.inv_add_location('store', 'The store in town', 10) > 0 AS added;
SELECT code, name, priority FROM inv.inv_location ORDER BY code;
SELECT * FROM inv.inv_receive('STICKER', 100);
SELECT * FROM inv.inv_receive('STICKER', 7, 'store');
SELECT inv.inv_available('STICKER'), inv.inv_available('STICKER', 'store');
SELECT status, available FROM inv.inv_reserve('STICKER', 5, location => 'store');
SELECT inv.inv_available('STICKER'), inv.inv_available('STICKER', 'store');
SELECT outcome($$SELECT inv.inv_reserve('STICKER', 3, location => 'store')$$);
SELECT inv.inv_available('LAPTOP001', 'store');

-- the default location can also be added by hand, where it is not there yet
BEGIN;
DELETE FROM inv.inv_location WHERE code = 'default';
SELECT inv.inv_add_location('default', 'Main warehouse', 5);
SELECT location_id, code, name, priority FROM inv.inv_location WHERE code = 'default';
ROLLBACK;

--
-- The books
--
SELECT entry.operation, entry.delta_on_hand, entry.delta_reserved,
       entry.on_hand_after, entry.reserved_after,
       entry.reservation_id IS NOT NULL AS for_reservation,
       entry.order_id IS NOT NULL AS for_order,
       entry.login_role = session_user AND entry.caller_role = current_user AS by_me,
       entry.xid IS NOT NULL AND entry.at <= clock_timestamp() AS dated,
       entry.reason
  FROM inv.inv_ledger AS entry
  JOIN inv.inv_item AS item USING (item_id)
 WHERE item.sku = 'PHONE001'
 ORDER BY entry.entry_id;

SELECT * FROM inv.inv_check();
