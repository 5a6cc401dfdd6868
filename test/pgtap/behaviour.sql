-- What the extension does, from the first item to the last unit: the main path
-- and the promises that matter most, one assertion each.
BEGIN;
SET client_min_messages = warning;
CREATE SCHEMA inv;
-- as in a restore, so that it makes no cron job and has nothing to say
SET LOCAL xmloption = content;
CREATE EXTENSION inventory_reservation WITH SCHEMA inv;
SET LOCAL search_path = public, inv;

SELECT no_plan();

--
-- Catalogue and stock
--
SELECT lives_ok($$SELECT inv_add_item('LAPTOP001', 'Laptop', 1299.99, 'EUR')$$, 'an item is added');
SELECT throws_ok($$SELECT inv_add_item('LAPTOP001')$$, '23505', NULL, 'but not twice');
SELECT is(inv_available('LAPTOP001'), 0::bigint, 'it has no stock');
SELECT is(on_hand, 5::bigint, 'a delivery puts units on hand') FROM inv_receive('LAPTOP001', 5);
SELECT is(inv_available('LAPTOP001'), 5::bigint, 'which are available');
SELECT is((SELECT code FROM inv_location), 'default', 'at the default location');
SELECT is(count(*), 2::bigint, 'many SKUs can be loaded at once')
  FROM inv_load_stock('{PHONE001,CAMERA001}', '{10,3}');
SELECT bag_eq($$SELECT sku, on_hand, created FROM inv_load_stock('{PHONE001,CAMERA001}', '{10,3}')$$,
              $$VALUES ('PHONE001', 10::bigint, false), ('CAMERA001', 3, false)$$,
              'and again, which changes nothing');
SELECT lives_ok($$SELECT inv_set_item('PHONE001', unit_price => 899.99, currency => 'EUR')$$, 'an item is changed');
SELECT lives_ok($$SELECT inv_set_item('CAMERA001', unit_price => 1599.99, currency => 'EUR')$$, 'and another');

--
-- Hold
--
CREATE TEMP TABLE held AS SELECT * FROM inv_reserve('LAPTOP001', 2, 'order-1', 'ann');
SELECT is(status, 'active', 'a hold is active') FROM held;
SELECT is(replayed, false, 'and new') FROM held;
SELECT is(available, 3::bigint, 'it says what is left') FROM held;
SELECT ok(expires_at BETWEEN clock_timestamp() + interval '4 minutes' AND clock_timestamp() + interval '5 minutes',
          'it lives five minutes') FROM held;
SELECT is(inv_route_id(reservation_id), inv_route_sku('LAPTOP001'), 'its id carries the route of its SKU') FROM held;
SELECT is(inv_available('LAPTOP001'), 3::bigint, 'what is held is not available');
SELECT is(again.reservation_id, held.reservation_id, 'a retry with the same key gets the same hold')
  FROM held, inv_reserve('LAPTOP001', 2, 'order-1', 'ann') AS again;
SELECT is(again.replayed, true, 'and is told so') FROM inv_reserve('LAPTOP001', 2, 'order-1', 'ann') AS again;
SELECT is(inv_available('LAPTOP001'), 3::bigint, 'it took no more stock');
SELECT throws_ok($$SELECT inv_reserve('LAPTOP001', 3, 'order-1', 'ann')$$, 'IV005', NULL,
                 'the same key for something else is refused');
SELECT throws_ok($$SELECT inv_reserve('LAPTOP001', 4)$$, 'IV001', 'insufficient stock of SKU "LAPTOP001"',
                 'more than there is is refused');
SELECT is(reservation_id, NULL, 'or answered, for those who only try') FROM inv_try_reserve('LAPTOP001', 4);
SELECT is(available, 3::bigint, 'with what there is') FROM inv_try_reserve('LAPTOP001', 4);
SELECT throws_ok($$SELECT inv_reserve('NOSUCH')$$, 'IV004', NULL, 'an unknown SKU is refused');
SELECT throws_ok($$SELECT inv_reserve('LAPTOP001', location => 'moon')$$, 'IV010', NULL, 'so is an unknown location');
SELECT throws_ok($$SELECT inv_reserve('LAPTOP001', 0)$$, '22023', NULL, 'and nothing');
SELECT throws_ok($$SELECT inv_reserve('LAPTOP001', 9223372036854775807)$$, '22003', NULL, 'and too much');
SELECT throws_ok($$SELECT inv_reserve('LAPTOP001', 1000, split => true)$$, 'IV001', NULL, 'and more than there is anywhere');

-- many at once, each with its own answer
SELECT results_eq($$SELECT reservation_id IS NOT NULL, replayed, error
                      FROM inv_reserve_batch('{LAPTOP001,NOSUCH,LAPTOP001}', '{2,1,1000}', '{order-1,order-2,order-3}', '{ann,ann,ann}')$$,
                  $$VALUES (true, true, NULL), (false, false, 'IV004'), (false, false, 'IV001')$$,
                  'a batch answers each request by itself');

--
-- Cart
--
SELECT throws_ok($$SELECT inv_reserve_cart('{LAPTOP001,CAMERA001}', '{1,4}')$$, 'IV001', NULL,
                 'a cart is refused for one short line');
SELECT is(inv_available('LAPTOP001'), 3::bigint, 'whole');
SELECT is(shortages, '[{"sku": "CAMERA001", "location": "default", "requested": 4, "available": 3}]',
          'the short lines are named')
  FROM inv_try_reserve_cart('{PHONE001,CAMERA001}', '{1,4}');
CREATE TEMP TABLE cart AS SELECT * FROM inv_reserve_lines('[{"sku": "PHONE001", "quantity": 2}, {"sku": "PHONE001", "quantity": 1}]');
SELECT is((SELECT units FROM inv_active_holds JOIN cart USING (reservation_id)), 3::bigint, 'a SKU named twice is summed');
SELECT is(inv_available('PHONE001'), 7::bigint, 'and held once');

--
-- Change a hold
--
SELECT is((inv_release(reservation_id, 'PHONE001', 1)).status, 'active', 'a hold can shrink') FROM cart;
SELECT is(inv_available('PHONE001'), 8::bigint, 'its units come back');
SELECT throws_ok(format('SELECT inv_release(%L, %L, 5)', reservation_id, 'PHONE001'), '22023', NULL,
                 'but not more than it has') FROM cart;
SELECT ok(inv_extend(reservation_id, '1 hour') > expires_at, 'a hold can be extended') FROM cart;
SELECT ok(inv_extend(reservation_id, '10 years') < clock_timestamp() + interval '1 day', 'not for ever') FROM cart;
SELECT is((inv_cancel(reservation_id)).status, 'cancelled', 'a hold can be cancelled') FROM cart;
SELECT is((inv_cancel(reservation_id)).replayed, true, 'again, too') FROM cart;
SELECT is(inv_available('PHONE001'), 10::bigint, 'its units come back once');
SELECT throws_ok(format('SELECT inv_confirm(%L)', reservation_id), 'IV008', NULL, 'it cannot be sold then') FROM cart;

--
-- Sell
--
SELECT throws_ok(format('SELECT inv_confirm(%L, customer => %L)', reservation_id, 'bob'), 'IV003', NULL,
                 'nobody else sells ann''s hold') FROM held;
CREATE TEMP TABLE sold AS SELECT made.* FROM held, inv_confirm(reservation_id, customer => 'ann') AS made;
SELECT is(total, 2599.98, 'an order has the price at the hold') FROM sold;
SELECT is(again.order_id, sold.order_id, 'a hold is sold once') FROM sold, held, inv_confirm(held.reservation_id) AS again;
SELECT is(inv_route_id(order_id), inv_route_sku('LAPTOP001'), 'the id of an order carries the same route') FROM sold;
SELECT throws_ok(format('SELECT inv_cancel(%L)', reservation_id), 'IV008', NULL, 'what is sold is cancelled as an order') FROM held;
SELECT is((SELECT on_hand FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = 'LAPTOP001'), 3::bigint, 'its units are gone');
SELECT is((inv_order_status(order_id)).payment_status, 'pending', 'it is not paid') FROM sold;
SELECT is((inv_record_payment(order_id, 'paid')).payment_status, 'paid', 'then it is') FROM sold;
SELECT throws_ok(format('SELECT inv_record_payment(%L, %L)', order_id, 'pending'), 'IV008', NULL, 'which cannot be undone') FROM sold;
SELECT is((inv_return(order_id, 'LAPTOP001', 1)).status, 'confirmed', 'a unit can come back') FROM sold;
SELECT is(inv_available('LAPTOP001'), 4::bigint, 'for sale again');
SELECT is((inv_complete_order(order_id)).status, 'completed', 'the rest leaves the house') FROM sold;
SELECT throws_ok(format('SELECT inv_cancel_order(%L)', order_id), 'IV008', NULL, 'then it is too late to cancel') FROM sold;
SELECT throws_ok('SELECT inv_order_status(gen_random_uuid())', 'IV011', NULL, 'an order that is none');

--
-- Expire
--
CREATE TEMP TABLE dead AS SELECT * FROM inv_reserve('CAMERA001', 3, 'short-lived', ttl => '1 millisecond');
SELECT pg_sleep(0.005);
SELECT is((inv_reservation_status(reservation_id)).status, 'expired', 'a hold past its time is expired, unswept') FROM dead;
SELECT is(inv_available('CAMERA001'), 3::bigint, 'its units are free');
SELECT throws_ok(format('SELECT inv_confirm(%L)', reservation_id), 'IV002', NULL, 'it cannot be sold') FROM dead;
SELECT throws_ok(format('SELECT inv_extend(%L)', reservation_id), 'IV002', NULL, 'nor brought back to life') FROM dead;
SELECT is((inv_reserve('CAMERA001', 3)).status, 'active', 'the next buyer gets its units');
SELECT is(inv_expire(), 0::bigint, 'and leaves the sweep nothing to do');
SELECT is((inv_reserve('CAMERA001', 3, 'short-lived', ttl => '1 millisecond')).status, 'expired',
          'a retry with its key does not take more');

--
-- Count
--
SELECT throws_ok($$SELECT inv_set_stock('CAMERA001', 2)$$, 'IV012', NULL, 'a count below what is held is refused');
SELECT is((inv_set_stock('CAMERA001', 2, force => true)).available, 2::bigint, 'unless it is forced');
SELECT throws_ok($$SELECT inv_adjust('CAMERA001', -3)$$, 'IV012', NULL, 'units that are not there cannot be taken off');
SELECT throws_ok($$SELECT inv_set_stock('CAMERA001', 5, expected_version => 1)$$, 'IV008', NULL, 'nor counted on old news');
SELECT throws_ok($$UPDATE inv_stock SET reserved = on_hand + 1$$, '23514', NULL, 'not even by hand can one oversell');

--
-- Close the listing
--
SELECT lives_ok($$SELECT inv_set_item('CAMERA001', selling => false)$$, 'an item is taken off sale');
SELECT throws_ok($$SELECT inv_reserve('CAMERA001')$$, 'IV006', NULL, 'and not sold any more');

--
-- The books
--
SELECT is_empty('SELECT * FROM inv_check()', 'the books are right');
SELECT results_eq($$SELECT operation COLLATE "default", delta_on_hand, delta_reserved, on_hand_after, reserved_after
                      FROM inv_ledger JOIN inv_item USING (item_id)
                     WHERE sku = 'LAPTOP001' ORDER BY entry_id$$,
                  $$VALUES ('receive', 5::bigint, 0::bigint, 5::bigint, 0::bigint),
                           ('reserve', 0, 2, 5, 2),
                           ('confirm', -2, -2, 3, 0),
                           ('return', 1, 0, 4, 0)$$,
                  'the ledger has every movement');
SELECT results_eq($$SELECT sku COLLATE "default", on_hand, reserved, available FROM inv_availability ORDER BY sku$$,
                  $$VALUES ('CAMERA001', 2::bigint, 0::bigint, 2::bigint),
                           ('LAPTOP001', 4, 0, 4),
                           ('PHONE001', 10, 0, 10)$$,
                  'and the stock is what it says');

SELECT * FROM finish();
ROLLBACK;
