/*
 * What hostile input is thrown at: a shop in use, and the words with which to
 * ask for it.
 *
 * A generator of random SQL puts together what the catalog offers.  By itself
 * it would hardly ever name a SKU that exists, it calls no function that
 * returns rows, and its conditions are hardly ever true, so that nothing at
 * all is called.  So schema smith has
 *
 * - views whose columns are arguments worth passing, live ones (the newest
 *   holds and orders, whatever the queries before made of them) and bad ones;
 * - each function of ours once more, in a savepoint of its own, and functions
 *   around those that it could not call;
 * - functions that make arrays, carts and times of what it has;
 * - operators that are always true, in schema public;
 * - a table that everybody may write to, because it insists on one.
 */
CREATE ROLE smith_buyer LOGIN;
CREATE ROLE smith_operator LOGIN;
SELECT inv.inv_grant('smith_buyer', 'buyer'), inv.inv_grant('smith_operator', 'operator');

-- Stock in one row and in stripes, plenty and none, at two places; on sale and
-- not; holds that live, that are dead and swept, or dead and not; orders in
-- every status.
SELECT inv.inv_add_item(sku, 'Thing ' || sku, price, currency, closes, selling, lives)
  FROM (VALUES ('A', 10.50, 'EUR', NULL::timestamptz, true, NULL::interval),
			   ('B', 0, 'EUR', NULL, true, NULL),
			   ('STRIPED', 19.99, 'EUR', NULL, true, NULL),
			   ('HOT', 1, 'EUR', NULL, true, '1 second'),
			   ('NONE', 7, 'EUR', NULL, true, NULL),
			   ('ONE', 7, 'EUR', NULL, true, NULL),
			   ('FULL', 1e20, NULL, NULL, true, NULL),
			   ('USD', 3, 'USD', NULL, true, NULL),
			   ('CLOSED', 3, 'EUR', NULL, false, NULL),
			   ('PAST', 3, 'EUR', '2020-01-01', true, NULL),
			   ('ümlaut ''quoted'' "twice"', 3, 'EUR', NULL, true, NULL))
	   AS item (sku, price, currency, closes, selling, lives);
SELECT inv.inv_add_location('store');
SELECT inv.inv_load_stock('{A,B,STRIPED,HOT,NONE,ONE,FULL,USD,CLOSED,PAST}',
						  '{100000,100000,100000,50,0,1,9007199254740992,1000,5,5}');
SELECT inv.inv_load_stock('{A,STRIPED}', '{50,50}', 'store');
SELECT inv.inv_set_stripes('STRIPED', 16), inv.inv_set_stripes('HOT', 3),
	   inv.inv_set_stripes('STRIPED', 4, 'store');
SELECT inv.inv_reserve('A', 2, 'k' || n, 'ann', '20 hours') FROM generate_series(1, 5) AS n;
SELECT inv.inv_reserve_cart('{A,B,STRIPED}', '{1,2,3}', 'c' || n, 'bob') FROM generate_series(1, 5) AS n;
SELECT inv.inv_reserve('STRIPED', 3, ttl => '1 millisecond'), inv.inv_reserve('HOT', 1, ttl => '1 millisecond')
  FROM generate_series(1, 10) AS n;
SELECT pg_sleep(0.01);
SELECT inv.inv_expire(3);
SELECT inv.inv_confirm((inv.inv_reserve('A', n)).reservation_id, payment_status => 'paid')
  FROM generate_series(1, 6) AS n;
SELECT inv.inv_complete_order(order_id) FROM (SELECT order_id FROM inv.inv_order LIMIT 2) AS gone;
SELECT inv.inv_cancel_order(order_id)
  FROM (SELECT order_id FROM inv.inv_order WHERE status = 'confirmed' LIMIT 1) AS regretted;
SELECT inv.inv_cancel((inv.inv_reserve('B', 2)).reservation_id);

CREATE SCHEMA smith;
GRANT USAGE ON SCHEMA smith TO smith_buyer, smith_operator;

-- Arguments worth passing; views, because of tables it takes samples, which are
-- mostly empty.
CREATE VIEW smith.sku (sku, quantity, count) AS
VALUES ('A', 1::bigint, 1), ('STRIPED', 3, 4), ('HOT', 1, 2), ('ONE', 1, 1), ('FULL', 9007199254740992, 3);
CREATE VIEW smith.cart (skus, quantities, keys, lines) AS
VALUES ('{A,B,STRIPED}'::text[], '{1,2,3}'::bigint[], '{k1,b1,NULL}'::text[],
		'[{"sku": "A", "quantity": 1}, {"sku": "STRIPED", "quantity": 4}]'::jsonb),
	   ('{STRIPED,HOT,A,A}', '{1,1,1,5}', '{k2,k2,b2,b3}', '[{"sku": "HOT", "quantity": 1}]'),
	   ('{A,NULL,NOSUCH}', '{0,NULL,-1}', '{NULL,"",k1}', '{"sku": "A"}'),
	   ('{}', '{}', '{}', '[]');
CREATE VIEW smith.word (key, customer, location, ttl, flag, priority) AS
VALUES ('k1', 'ann', 'default', '1 minute'::interval, false, 1),
	   ('k2', 'bob', NULL, '1 millisecond', NULL, 0),
	   (NULL, NULL, 'store', NULL, true, -1),
	   ('', 'x', '', '-1 day', false, 100);
CREATE VIEW smith.bad (text, number, integer, money, moment, span, json, id, flag) AS
VALUES (NULL, NULL::bigint, NULL::integer, NULL::numeric, NULL::timestamptz, NULL::interval, NULL::jsonb, NULL::uuid, NULL::boolean),
	   ('', 0, 0, 0, '-infinity', '0', 'null', '00000000-0000-0000-0000-000000000000', true),
	   (repeat('x', 256), -9223372036854775808, -2147483648, 'NaN', 'infinity', '-178000000 years', '{}',
		'ffffffff-ffff-ffff-ffff-ffffffffffff', false),
	   (repeat('ü', 127), 9223372036854775807, 2147483647, 'Infinity', '294276-12-31', '178000000 years',
		'[[1,{"sku":1e400}]]', NULL, NULL),
	   (repeat('x', 5000), 9007199254740993, 257, -1, '4713-01-01 BC', '1 month -30 days',
		'[{"sku":"A","quantity":1.5}]', NULL, false);
CREATE VIEW smith.hold AS
SELECT line.reservation_id, item.sku, line.quantity
  FROM (SELECT * FROM inv.inv_reservation ORDER BY reservation_id DESC, line_no LIMIT 8) AS line
  JOIN inv.inv_item AS item USING (item_id);
CREATE VIEW smith.sold AS
SELECT order_id, reservation_id, status, payment_status FROM inv.inv_order ORDER BY order_id DESC LIMIT 6;
CREATE TABLE smith.scratch (sku text, quantity bigint, id uuid, metadata jsonb, at timestamptz DEFAULT clock_timestamp());
INSERT INTO smith.scratch (sku, quantity, metadata) SELECT 'A', n, '{}' FROM generate_series(1, 500) AS n;
GRANT SELECT ON ALL TABLES IN SCHEMA smith TO smith_buyer, smith_operator;
GRANT INSERT, UPDATE, DELETE ON smith.scratch TO smith_buyer, smith_operator;

-- what makes arguments of other types
CREATE FUNCTION smith.number(integer) RETURNS bigint LANGUAGE sql AS 'SELECT $1::bigint - 1';
CREATE FUNCTION smith.span(integer) RETURNS interval LANGUAGE sql AS
'SELECT pg_catalog.make_interval(secs => $1 / 10.0 - 0.5)';
CREATE FUNCTION smith.texts(text, text, text) RETURNS text[] LANGUAGE sql AS 'SELECT ARRAY[$1, $2, $3]';
CREATE FUNCTION smith.numbers(bigint, bigint, integer) RETURNS bigint[] LANGUAGE sql AS 'SELECT ARRAY[$1, $2, $3]';
CREATE FUNCTION smith.square(text[]) RETURNS text[] LANGUAGE sql AS 'SELECT ARRAY[$1, $1]';
CREATE FUNCTION smith.line(text, integer) RETURNS jsonb LANGUAGE sql AS
$$SELECT pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('sku', $1, 'quantity', $2))$$;
CREATE FUNCTION smith.a_key(integer) RETURNS text LANGUAGE sql AS $$SELECT 'k' || $1::text$$;
CREATE FUNCTION smith.a_sku(integer) RETURNS text LANGUAGE sql AS $$SELECT ('{A,B,STRIPED,HOT,ONE,NONE}'::text[])[$1 % 7]$$;
CREATE FUNCTION smith.a_hold(integer) RETURNS uuid LANGUAGE sql AS
'SELECT reservation_id FROM smith.hold LIMIT 1 OFFSET abs($1) % 8';
CREATE FUNCTION smith.an_order(integer) RETURNS uuid LANGUAGE sql AS
'SELECT order_id FROM smith.sold LIMIT 1 OFFSET abs($1) % 6';

-- Functions that return rows, called through something else.
CREATE FUNCTION smith.batch(text[], bigint[], text[], text[], interval) RETURNS text LANGUAGE sql AS
'SELECT pg_catalog.string_agg(hold::text, '';'') FROM inv.inv_reserve_batch($1, $2, $3, $4, $5) AS hold';
CREATE FUNCTION smith.load_stock(text[], bigint[], text, text) RETURNS bigint LANGUAGE sql AS
'SELECT count(*) FROM inv.inv_load_stock($1, $2, $3, $4)';
CREATE FUNCTION smith.events(text, integer) RETURNS text LANGUAGE sql AS
'SELECT max(cursor) FROM inv.inv_events($1, $2)';
CREATE FUNCTION smith.check_books(integer) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM inv.inv_check()';
CREATE FUNCTION smith.reconcile(boolean, boolean) RETURNS bigint LANGUAGE sql AS
'SELECT count(*) FROM inv.inv_reconcile($1, $2)';

-- Calls in a savepoint: what one refuses does not keep the rest of the query
-- from being run.  An internal error is let through.
CREATE FUNCTION smith.make_call(name text, takes text, gives text, call text) RETURNS void LANGUAGE plpgsql AS $make$
BEGIN
	EXECUTE format($create$
		CREATE FUNCTION smith.%1$I(%2$s) RETURNS %3$s LANGUAGE plpgsql AS $$
		DECLARE
			result %3$s;
		BEGIN
			SELECT * INTO result FROM inv.%4$s;
			RETURN result;
		EXCEPTION WHEN OTHERS THEN
			IF SQLSTATE LIKE 'XX%%' THEN
				RAISE;
			END IF;
			RETURN NULL;
		END $$ $create$, name, takes, gives, call);
END
$make$;

-- each of our functions as it is
SELECT smith.make_call(proname, oidvectortypes(proargtypes), prorettype::regtype::text,
					   (SELECT format('%I(%s)', proname, string_agg('$' || n, ', ')) FROM generate_series(1, pronargs) AS n))
  FROM pg_proc
 WHERE pronamespace = 'inv'::regnamespace AND prokind = 'f' AND NOT proretset AND pronargs > 0
   AND prorettype <> 'void'::regtype;

-- Calls that mostly succeed: the numbers it knows become what is needed.  Several
-- of each, for it picks by name.
SELECT smith.make_call(name || '_' || copy, takes, gives, call)
  FROM generate_series(1, 4) AS copy, (VALUES
	('reserve', 'integer, integer', 'inv.inv_hold', 'inv_reserve(smith.a_sku($1), abs($2) % 7 + 1)'),
	('reserve_dying', 'integer, integer', 'inv.inv_hold', 'inv_try_reserve(smith.a_sku($1), abs($2) % 7 + 1, ttl => ''1 millisecond'')'),
	('reserve_by_key', 'integer, integer', 'inv.inv_hold', 'inv_try_reserve(smith.a_sku($1), abs($2) % 3 + 1, smith.a_key($1 + $2 * 100))'),
	('reserve_there', 'integer, integer', 'inv.inv_hold', 'inv_reserve(smith.a_sku($1), abs($2) % 7 + 1, location => ''store'')'),
	('reserve_cart', 'integer, integer', 'inv.inv_cart_hold', 'inv_try_reserve_cart(ARRAY[smith.a_sku($1), smith.a_sku($2), ''HOT''], ARRAY[$1 % 3 + 1, 2, 1])'),
	('reserve_line', 'integer, integer', 'inv.inv_hold', 'inv_reserve_lines(smith.line(smith.a_sku($1), abs($2) % 7 + 1))'),
	('confirm', 'integer, boolean', 'inv.inv_confirmation', 'inv_confirm(smith.a_hold($1), payment_status => CASE WHEN $2 THEN ''paid'' ELSE ''pending'' END)'),
	('cancel', 'integer', 'inv.inv_cancellation', 'inv_cancel(smith.a_hold($1))'),
	('release', 'integer, integer', 'inv.inv_cancellation', 'inv_release(smith.a_hold($1), smith.a_sku($2), 1)'),
	('extend', 'integer, integer', 'timestamptz', 'inv_extend(smith.a_hold($1), smith.span(abs($2) + 6))'),
	('available', 'integer', 'bigint', 'inv_available(smith.a_sku($1))'),
	('hold_status', 'integer', 'inv.inv_reservation_state', 'inv_reservation_status(smith.a_hold($1))'),
	('order_status', 'integer', 'inv.inv_order_state', 'inv_order_status(smith.an_order($1))'),
	('cancel_order', 'integer', 'inv.inv_order', 'inv_cancel_order(smith.an_order($1))'),
	('return', 'integer, integer', 'inv.inv_order', 'inv_return(smith.an_order($1), smith.a_sku($2), 1)'),
	('complete', 'integer', 'inv.inv_order', 'inv_complete_order(smith.an_order($1))'),
	('pay', 'integer', 'inv.inv_order', 'inv_record_payment(smith.an_order($1), ''paid'')'),
	('receive', 'integer, integer', 'inv.inv_stock_level', 'inv_receive(smith.a_sku($1), abs($2) + 1)'),
	('adjust', 'integer, integer', 'inv.inv_stock_level', 'inv_adjust(smith.a_sku($1), $2 - 30)'),
	('set_stock', 'integer, integer, boolean', 'inv.inv_stock_level', 'inv_set_stock(smith.a_sku($1), $2 * 1000, force => $3)'),
	('set_stripes', 'integer, integer', 'integer', 'inv_set_stripes(smith.a_sku($1), abs($2) % 20 + 1)'),
	('rename', 'integer, integer', 'bigint', 'inv_rename_item(''ümlaut ''''quoted'''' "twice"'', smith.a_key($2))'),
	('sweep', 'integer', 'bigint', 'inv_expire(abs($1) % 5 + 1)'),
	('purge', 'integer', 'bigint', 'inv_purge(smith.span(abs($1) + 6))'))
	   AS call (name, takes, gives, call);

-- who takes a row that one of ours returns, so that it calls that
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN
		SELECT typname FROM pg_type JOIN pg_class ON pg_class.oid = typrelid
		 WHERE relnamespace = 'inv'::regnamespace AND (relkind = 'c' OR relname = 'inv_order')
	LOOP
		EXECUTE format('CREATE FUNCTION smith.told(inv.%I) RETURNS text LANGUAGE sql AS ''SELECT $1::text''', name);
	END LOOP;
END
$$;
CREATE FUNCTION smith.id_of(inv.inv_hold) RETURNS uuid LANGUAGE sql AS 'SELECT $1.reservation_id';
CREATE FUNCTION smith.id_of(inv.inv_confirmation) RETURNS uuid LANGUAGE sql AS 'SELECT $1.order_id';

-- conditions that are true
DO $$
DECLARE
	type text;
	name text;
BEGIN
	FOREACH type IN ARRAY '{text,int8,int4,uuid,interval,bool,jsonb,numeric,timestamptz,text[],int8[]}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION smith.yes(%1$s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT true''', type);
		FOREACH name IN ARRAY '{===,=~=,~==,~=~}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = smith.yes)', name, type, type);
		END LOOP;
	END LOOP;
END
$$;
