-- Every SQLSTATE of the extension with message, DETAIL and HINT.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 10, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('USD', unit_price => 10, currency => 'USD') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B,USD}', '{3,3,3}');
SELECT inv.inv_add_location('store') > 0 AS added;

-- IV001: insufficient stock
SELECT outcome($$SELECT inv.inv_reserve('A', 4)$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 1, location => 'store')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{4,5}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{3,5}')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "B", "quantity": 4}]')$$);

-- IV002: reservation expired
SELECT dead_hold('A') AS dead \gset
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'dead'));
SELECT outcome(format('SELECT inv.inv_extend(%L)', :'dead'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1)', :'dead', 'A'));
SELECT inv.inv_expire();
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'dead'));

-- IV003: reservation not found
SELECT outcome(format('SELECT inv.inv_confirm(%L)', gen_random_uuid()));
SELECT outcome(format('SELECT inv.inv_reservation_status(%L)', gen_random_uuid()));

-- IV004: unknown SKU
SELECT outcome($$SELECT inv.inv_reserve('NOSUCH')$$);
SELECT outcome($$SELECT inv.inv_reserve('a')$$);
SELECT outcome($$SELECT inv.inv_try_reserve('NOSUCH')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,NOSUCH,NEITHER}', '{1,1,1}')$$);
SELECT outcome($$SELECT inv.inv_try_reserve_cart('{A,NOSUCH}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_available('NOSUCH')$$);
SELECT outcome($$SELECT inv.inv_receive('NOSUCH', 1)$$);
SELECT outcome($$SELECT inv.inv_adjust('NOSUCH', 1)$$);
SELECT outcome($$SELECT inv.inv_set_stock('NOSUCH', 1)$$);
SELECT outcome($$SELECT inv.inv_set_stripes('NOSUCH', 2)$$);
SELECT outcome($$SELECT inv.inv_set_item('NOSUCH', 'x')$$);
SELECT outcome($$SELECT inv.inv_rename_item('NOSUCH', 'x')$$);

-- IV005: key reused with other arguments
SELECT status FROM inv.inv_reserve('A', key => 'k');
SELECT outcome($$SELECT inv.inv_reserve('B', key => 'k')$$);

-- IV006: listing closed
SELECT inv.inv_set_item('B', selling => false) IS NOT NULL AS changed;
SELECT outcome($$SELECT inv.inv_reserve('B')$$);
SELECT outcome($$SELECT inv.inv_try_reserve('B')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{1,1}')$$);
SELECT inv.inv_set_item('B', selling => true, listed_until => '2020-01-01') IS NOT NULL AS changed;
SELECT outcome($$SELECT inv.inv_reserve('B')$$);
SELECT inv.inv_set_item('B', listed_until => 'infinity') IS NOT NULL AS changed;

-- IV008: not allowed in this state
SELECT reservation_id AS sold FROM inv.inv_reserve('A') \gset
SELECT order_id FROM inv.inv_confirm(:'sold') \gset
SELECT outcome(format('SELECT inv.inv_cancel(%L)', :'sold'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 1)', :'sold', 'A'));
SELECT outcome(format('SELECT inv.inv_extend(%L)', :'sold'));
SELECT outcome(format('SELECT inv.inv_record_payment(%L, %L)', :'order_id', 'refunded'));
SELECT status FROM inv.inv_complete_order(:'order_id');
SELECT outcome(format('SELECT inv.inv_cancel_order(%L)', :'order_id'));
SELECT reservation_id AS gone FROM inv.inv_reserve('A') \gset
SELECT status FROM inv.inv_cancel(:'gone');
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'gone'));
SELECT outcome($$SELECT inv.inv_set_stock('A', 3, expected_version => 99)$$);

-- IV010: unknown location
SELECT outcome($$SELECT inv.inv_reserve('A', location => 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_try_reserve('A', location => 'Store')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A}', '{1}', location => 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_available('A', 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_receive('A', 1, 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_adjust('A', 1, 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_set_stock('A', 1, 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_load_stock('{A}', '{1}', 'nowhere')$$);
SELECT outcome($$SELECT inv.inv_set_stripes('A', 2, 'nowhere')$$);

-- IV011: order not found
SELECT outcome(format('SELECT inv.inv_order_status(%L)', gen_random_uuid()));
SELECT outcome(format('SELECT inv.inv_cancel_order(%L)', gen_random_uuid()));

-- IV012: count below what is held
SELECT status FROM inv.inv_reserve('USD', 2);
SELECT outcome($$SELECT inv.inv_set_stock('USD', 1)$$);
SELECT outcome($$SELECT inv.inv_adjust('USD', -2)$$);
SELECT outcome($$SELECT inv.inv_load_stock('{USD}', '{1}')$$);
-- the list of holds stays readable however many there are
SELECT inv.inv_receive('B', 100) IS NOT NULL AS received;
SELECT count(*) FROM generate_series(1, 50) AS nr, LATERAL inv.inv_reserve('B', 1 + 0 * nr);
SELECT lines[1] AS first_line, array_length(lines, 1) BETWEEN 2 AND 3 AS few_lines,
       (SELECT max(length(line)) FROM unnest(lines) AS line) < 2000 AS short_lines
  FROM (SELECT ARRAY(SELECT outcome($$SELECT inv.inv_set_stock('B', 1)$$)) AS lines) AS said;

-- 22023: arguments that make no sense
SELECT outcome($$SELECT inv.inv_reserve(NULL)$$);
SELECT outcome($$SELECT inv.inv_reserve('')$$);
SELECT outcome($$SELECT inv.inv_reserve(repeat('x', 256))$$);
SELECT outcome($$SELECT inv.inv_reserve('A', NULL)$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 0)$$);
SELECT outcome($$SELECT inv.inv_reserve('A', -1)$$);
SELECT outcome($$SELECT inv.inv_reserve('A', key => '')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', customer => '')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', customer => repeat('x', 256))$$);
SELECT outcome($$SELECT inv.inv_reserve('A', ttl => '0')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', ttl => '-1 second')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', location => '')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', reference => '')$$);
SELECT outcome($$SELECT inv.inv_reserve('A', reference => repeat('x', 256))$$);
SELECT outcome($$SELECT inv.inv_reserve('A', split => NULL)$$);
SELECT outcome($$SELECT inv.inv_reserve_cart(NULL, '{1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A}', NULL)$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{}', '{}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,B}', '{1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,USD}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines(NULL)$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('"A"')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[1]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "A", "quantity": 0}]')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku": "A", "qty": 1}]')$$);
SELECT outcome($$SELECT inv.inv_confirm(NULL)$$);
SELECT outcome(format('SELECT inv.inv_confirm(%L, payment_status => %L)', :'gone', 'maybe'));
SELECT outcome($$SELECT inv.inv_cancel(NULL)$$);
SELECT outcome($$SELECT inv.inv_release(NULL, 'A', 1)$$);
SELECT outcome(format('SELECT inv.inv_release(%L, NULL, 1)', :'gone'));
SELECT outcome(format('SELECT inv.inv_release(%L, %L, 0)', :'gone', 'A'));
SELECT outcome($$SELECT inv.inv_extend(NULL)$$);
SELECT outcome(format('SELECT inv.inv_extend(%L, %L)', :'gone', '-1 hour'));
SELECT outcome($$SELECT inv.inv_available(NULL)$$);
SELECT outcome($$SELECT inv.inv_reservation_status(NULL)$$);
SELECT outcome($$SELECT inv.inv_order_status(NULL)$$);
SELECT outcome($$SELECT inv.inv_cancel_order(NULL)$$);
SELECT outcome(format('SELECT inv.inv_return(%L, %L, 0)', :'order_id', 'A'));
SELECT outcome($$SELECT inv.inv_complete_order(NULL)$$);
SELECT outcome(format('SELECT inv.inv_record_payment(%L, %L)', :'order_id', 'gold'));
SELECT outcome($$SELECT inv.inv_add_item(NULL)$$);
SELECT outcome($$SELECT inv.inv_add_item('')$$);
SELECT outcome($$SELECT inv.inv_add_item('X', unit_price => -1)$$);
SELECT outcome($$SELECT inv.inv_add_item('X', unit_price => 'NaN')$$);
SELECT outcome($$SELECT inv.inv_add_item('X', unit_price => 'Infinity')$$);
SELECT outcome($$SELECT inv.inv_add_item('X', currency => 'euro')$$);
SELECT outcome($$SELECT inv.inv_add_item('X', hold_ttl => '-1 minute')$$);
SELECT outcome($$SELECT inv.inv_set_item('A', unit_price => -1)$$);
SELECT outcome($$SELECT inv.inv_set_item('A', currency => 'eur')$$);
SELECT outcome($$SELECT inv.inv_set_item('A', hold_ttl => '-1 minute')$$);
SELECT outcome($$SELECT inv.inv_add_location('')$$);
SELECT outcome($$SELECT inv.inv_receive('A', 0)$$);
SELECT outcome($$SELECT inv.inv_receive('A', -1)$$);
SELECT outcome($$SELECT inv.inv_set_stock('A', -1)$$);
SELECT outcome($$SELECT inv.inv_set_stripes(NULL, 2)$$);
SELECT outcome($$SELECT inv.inv_set_stripes('A', NULL)$$);
SELECT outcome($$SELECT inv.inv_set_stripes('A', 0)$$);
SELECT outcome($$SELECT inv.inv_set_stripes('A', -1)$$);
SELECT outcome($$SELECT inv.inv_purge('-1 day')$$);
SELECT outcome($$SELECT inv.inv_grant('postgres', 'king')$$);
SELECT outcome($$SELECT inv.inv_grant(NULL, 'buyer')$$);

-- names that are taken, or that nobody has
SELECT outcome($$SELECT inv.inv_add_item('A')$$);
SELECT outcome($$SELECT inv.inv_rename_item('A', 'B')$$);
SELECT outcome($$SELECT inv.inv_rename_item('A', 'A')$$);
SELECT outcome($$SELECT inv.inv_add_location('store')$$);
SELECT outcome($$SELECT inv.inv_add_location('default')$$);
SELECT outcome($$SELECT inv.inv_grant('regress_inv_no_such_role', 'buyer')$$);

-- 22003: out of range
SELECT outcome($$SELECT inv.inv_reserve('A', 9007199254740993)$$);
SELECT outcome($$SELECT inv.inv_reserve('A', 9223372036854775807)$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{A,A}', '{9007199254740992,1}')$$);
SELECT outcome($$SELECT inv.inv_receive('A', 9007199254740993)$$);
SELECT outcome($$SELECT inv.inv_receive('A', 9007199254740992)$$);
SELECT outcome($$SELECT inv.inv_adjust('A', -9223372036854775808)$$);
SELECT outcome($$SELECT inv.inv_set_stock('A', 9007199254740993)$$);
SELECT outcome($$SELECT inv.inv_set_stripes('A', 257)$$);

-- 25006: every call that may write, in a transaction that may not; the others do
SELECT reservation_id AS live FROM inv.inv_reserve('A') \gset
BEGIN READ ONLY;
SELECT masked(call) AS call, outcome
  FROM unnest(ARRAY[
    $$inv_reserve('A')$$,
    $$inv_reserve('A', key => 'k')$$,
    $$inv_try_reserve('A', 1000)$$,
    $$inv_reserve_cart('{A}', '{1}')$$,
    $$inv_try_reserve_cart('{A}', '{1}')$$,
    $$inv_reserve_lines('[{"sku": "A", "quantity": 1}]')$$,
    $$inv_confirm('$$ || :'live' || $$')$$,
    $$inv_cancel('$$ || :'live' || $$')$$,
    $$inv_release('$$ || :'live' || $$', 'A', 1)$$,
    $$inv_extend('$$ || :'live' || $$')$$,
    $$inv_cancel_order('$$ || :'order_id' || $$')$$,
    $$inv_return('$$ || :'order_id' || $$', 'A', 1)$$,
    $$inv_complete_order('$$ || :'order_id' || $$')$$,
    $$inv_record_payment('$$ || :'order_id' || $$', 'paid')$$,
    $$inv_add_item('X')$$,
    $$inv_set_item('A', 'x')$$,
    $$inv_rename_item('A', 'X')$$,
    $$inv_add_location('x')$$,
    $$inv_receive('A', 1)$$,
    $$inv_adjust('A', 1)$$,
    $$inv_set_stock('A', 1)$$,
    $$inv_load_stock('{A}', '{1}')$$,
    $$inv_set_stripes('A', 1)$$,
    $$inv_join_waitlist('A', 1, 'ann')$$,
    $$inv_leave_waitlist('A', 'ann')$$,
    $$inv_expire()$$,
    $$inv_purge()$$,
    $$inv_schedule()$$,
    $$inv_unschedule()$$,
    $$inv_grant('postgres', 'buyer')$$,
    $$inv_available('A')$$,
    $$inv_reservation_status('$$ || :'live' || $$')$$,
    $$inv_order_status('$$ || :'order_id' || $$')$$,
    $$inv_waitlist_status('A', 'ann')$$,
    $$inv_check()$$,
    $$inv_route_sku('A')$$]) WITH ORDINALITY AS calls (call, nr),
       LATERAL brief_outcome('SELECT inv.' || call) AS outcome
 ORDER BY nr;
SELECT outcome('CALL inv.inv_maintain()');
SELECT outcome('SELECT * FROM inv.inv_availability');
COMMIT;

SELECT * FROM inv.inv_check();
