-- Purchase limits, and one hold a customer.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('SHOE', unit_price => 10, max_per_customer => 3) IS NOT NULL AS added,
       inv.inv_add_item('SOCK', unit_price => 1) IS NOT NULL AS added,
       inv.inv_add_item('DAILY', unit_price => 1, max_per_customer => 2, limit_window => '1 day') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{SHOE,SOCK,DAILY}', '{100,100,100}');
-- what counts for whom, and how
CREATE VIEW public.counted AS
SELECT mention.customer, item.sku, line.line_no, line.quantity, line.status
  FROM inv.inv_customer_line AS mention
  JOIN inv.inv_reservation AS line USING (reservation_id, line_no)
  JOIN inv.inv_item AS item ON item.item_id = mention.item_id
 ORDER BY mention.customer, item.sku, line.created_at, line.line_no;

--
-- What is held, bought and asked for
--
SELECT reservation_id AS first, status FROM inv.inv_reserve('SHOE', 2, customer => 'ann', ttl => '1 hour') \gset
SELECT outcome($$SELECT inv.inv_reserve('SHOE', 2, customer => 'ann')$$);
SELECT outcome($$SELECT inv.inv_try_reserve('SHOE', 2, customer => 'ann')$$);
SELECT outcome($$SELECT inv.inv_reserve_lines('[{"sku":"SOCK","quantity":1},{"sku":"SHOE","quantity":2}]', customer => 'ann')$$);
-- another customer's, and another SKU's, are not his
SELECT status FROM inv.inv_reserve('SHOE', 3, customer => 'bob', ttl => '1 hour');
SELECT status FROM inv.inv_reserve('SOCK', 50, customer => 'ann', ttl => '1 hour');
SELECT reservation_id AS second FROM inv.inv_reserve('SHOE', 1, 'one more', 'ann', ttl => '1 hour') \gset
SELECT * FROM public.counted;
-- a repeat is no second hold; nor do confirming and extending ask
SELECT reservation_id = :'second' AS same, replayed FROM inv.inv_reserve('SHOE', 1, 'one more', 'ann', ttl => '1 hour');
SELECT inv.inv_extend(:'second', '2 hours') > now() AS extended;
SELECT order_id AS sale, status FROM inv.inv_confirm(:'first') \gset
SELECT outcome($$SELECT inv.inv_reserve('SHOE', customer => 'ann')$$);
-- who is unknown cannot be limited
SELECT outcome($$SELECT inv.inv_reserve('SHOE')$$);
SELECT status FROM inv.inv_reserve('SOCK', ttl => '1 hour');
-- more than the limit at once, and a SKU that is named twice
SELECT outcome($$SELECT inv.inv_reserve('SHOE', 4, customer => 'eve')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{SHOE,SHOE}', '{2,2}', customer => 'eve')$$);

--
-- What comes back does not count
--
SELECT status FROM inv.inv_return(:'sale', 'SHOE', 1);
SELECT status FROM inv.inv_cancel(:'second');
SELECT reservation_id AS third, status FROM inv.inv_reserve('SHOE', 2, customer => 'ann', ttl => '1 hour') \gset
SELECT outcome($$SELECT inv.inv_reserve('SHOE', customer => 'ann')$$);
SELECT status FROM inv.inv_release(:'third', 'SHOE', 1);
SELECT status FROM inv.inv_reserve('SHOE', 1, customer => 'ann', ttl => '1 hour');
SELECT status FROM inv.inv_cancel_order(:'sale');
-- a dead hold neither, swept or not
SELECT status FROM inv.inv_reserve('SHOE', 1, customer => 'ann', ttl => '1 millisecond');
SELECT pg_sleep(0.002);
SELECT outcome($$SELECT inv.inv_reserve('SHOE', 2, customer => 'ann')$$);
-- whoever looks forgets what counts no more
SELECT inv.inv_expire();
SELECT * FROM public.counted WHERE customer = 'ann';
SELECT status FROM inv.inv_reserve('SHOE', 1, customer => 'ann', ttl => '1 hour');
SELECT * FROM public.counted WHERE customer = 'ann';
SELECT * FROM inv.inv_check();

--
-- A window: what was bought before it does not count, what is held does
--
SELECT reservation_id AS daily FROM inv.inv_reserve('DAILY', 2, customer => 'ann', ttl => '1 hour') \gset
SELECT status FROM inv.inv_confirm(:'daily');
SELECT outcome($$SELECT inv.inv_reserve('DAILY', customer => 'ann')$$);
UPDATE inv.inv_reservation SET closed_at = closed_at - interval '23:59' WHERE reservation_id = :'daily';
SELECT outcome($$SELECT inv.inv_reserve('DAILY', customer => 'ann')$$);
UPDATE inv.inv_reservation SET closed_at = closed_at - interval '00:01' WHERE reservation_id = :'daily';
SELECT status FROM inv.inv_reserve('DAILY', 2, customer => 'ann', ttl => '1 hour');
SELECT outcome($$SELECT inv.inv_reserve('DAILY', customer => 'ann')$$);

--
-- Changed: up, down, gone, back
--
SELECT inv.inv_set_item('DAILY', max_per_customer => 3) IS NOT NULL AS set;
SELECT status FROM inv.inv_reserve('DAILY', 1, customer => 'ann', ttl => '1 hour');
SELECT inv.inv_set_item('DAILY', max_per_customer => 1) IS NOT NULL AS set;
SELECT outcome($$SELECT inv.inv_reserve('DAILY', customer => 'ann')$$);
SELECT inv.inv_set_item('DAILY', limit_window => '0') IS NOT NULL AS set;
SELECT outcome($$SELECT inv.inv_reserve('DAILY', customer => 'ann')$$);
SELECT inv.inv_set_item('DAILY', max_per_customer => 0) IS NOT NULL AS set;
SELECT max_per_customer, limit_window FROM inv.inv_item WHERE sku = 'DAILY';
SELECT status FROM inv.inv_reserve('DAILY', 50, ttl => '1 hour');
SELECT status FROM inv.inv_reserve('DAILY', 5, customer => 'tom', ttl => '1 hour');
SELECT inv.inv_set_item('DAILY', max_per_customer => 6) IS NOT NULL AS set;
-- what was held without a limit counts for nobody
SELECT status FROM inv.inv_reserve('DAILY', 6, customer => 'tom', ttl => '1 hour');

--
-- A batch: also against what the same call has held
--
SELECT status, available, error FROM inv.inv_reserve_batch(
    '{SHOE,SHOE,SHOE,SHOE,SOCK,SHOE,SHOE}', '{2,2,1,1,1,4,1}',
    customers => '{joe,joe,joe,joe,joe,jim,NULL}', ttl => '1 hour');
SELECT status, replayed, error FROM inv.inv_reserve_batch('{SHOE,SHOE}', '{3,3}', '{b1,b1}', '{kim,kim}', '1 hour');
SELECT status, replayed, error FROM inv.inv_reserve_batch('{SHOE}', '{3}', '{b1}', '{kim}', '1 hour');

--
-- Late payment: the limit of today
--
SELECT reservation_id AS late FROM inv.inv_reserve('SHOE', 2, customer => 'lee', ttl => '1 millisecond') \gset
SELECT pg_sleep(0.002);
SELECT inv.inv_expire();
SELECT reservation_id AS other, status FROM inv.inv_reserve('SHOE', 2, customer => 'lee', ttl => '1 hour') \gset
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'late'));
SELECT status FROM inv.inv_release(:'other', 'SHOE', 1);
SELECT status, total FROM inv.inv_confirm(:'late', retake => true);
SELECT * FROM public.counted WHERE customer = 'lee';
SELECT outcome($$SELECT inv.inv_reserve('SHOE', customer => 'lee')$$);

--
-- Purged reservations are counted no more, sold ones stay
--
SELECT status FROM inv.inv_cancel(:'other');
SELECT count(*) FROM inv.inv_customer_line WHERE reservation_id = :'other';
UPDATE inv.inv_reservation SET created_at = created_at - interval '2 days', closed_at = closed_at - interval '2 days'
 WHERE status IN ('cancelled', 'expired');
UPDATE inv.inv_idempotency SET created_at = created_at - interval '2 days';
SELECT inv.inv_purge('1 day') > 0 AS purged;
SELECT count(*) FROM inv.inv_reservation WHERE status IN ('cancelled', 'expired');
SELECT count(*) FROM inv.inv_customer_line WHERE reservation_id = :'other';
SELECT * FROM public.counted WHERE customer = 'lee';
SELECT * FROM inv.inv_check();

--
-- One hold a customer
--
SELECT outcome($$SET inventory_reservation.one_hold_per_customer = on$$);
SELECT reservation_id AS before FROM inv.inv_reserve('SOCK', customer => 'zoe', ttl => '1 hour') \gset
ALTER SYSTEM SET inventory_reservation.one_hold_per_customer = on;
SELECT pg_reload_conf();
SELECT pg_sleep(1);
SHOW inventory_reservation.one_hold_per_customer;
-- those from before do not count
SELECT reservation_id AS hold FROM inv.inv_reserve('SOCK', 2, customer => 'zoe', reference => 'o-1', ttl => '1 hour') \gset
-- the same again is the same hold, with a key or not
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_reserve('SOCK', 2, customer => 'zoe', reference => 'o-1');
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_try_reserve('SOCK', 2, 'zoe-1', 'zoe', reference => 'o-1');
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_reserve_cart('{SOCK,SOCK}', '{1,1}', customer => 'zoe', reference => 'o-1');
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_reserve('SOCK', 2, customer => 'zoe', reference => 'o-1', location => 'default');
-- anything else is refused
SELECT brief_outcome($$SELECT inv.inv_reserve('SOCK', 1, customer => 'zoe', reference => 'o-1')$$);
SELECT brief_outcome($$SELECT inv.inv_reserve('SOCK', 2, customer => 'zoe')$$);
SELECT brief_outcome($$SELECT inv.inv_reserve_cart('{SOCK,DAILY}', '{2,1}', customer => 'zoe', reference => 'o-1')$$);
-- the key remembers the hold that there was
SELECT status FROM inv.inv_cancel(:'hold');
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_try_reserve('SOCK', 2, 'zoe-1', 'zoe', reference => 'o-1');
SELECT reservation_id = :'hold' AS same, status, replayed FROM inv.inv_reserve('SOCK', 2, customer => 'zoe', reference => 'o-1', ttl => '1 hour');
-- nobody is anybody
SELECT a.reservation_id = b.reservation_id AS same
  FROM inv.inv_reserve('SOCK', ttl => '1 hour') AS a, inv.inv_reserve('SOCK', ttl => '1 hour') AS b;
-- also in a batch, and within one
SELECT replayed, error, count(*) OVER (PARTITION BY reservation_id) AS twins
  FROM inv.inv_reserve_batch('{SOCK,SOCK,SOCK,SOCK}', '{3,3,4,3}', '{x1,x2,x3,NULL}', '{max,max,max,una}', '1 hour')
       WITH ORDINALITY AS t(reservation_id, status, expires_at, replayed, available, error, nr) ORDER BY nr;
SELECT replayed, error FROM inv.inv_reserve_batch('{SOCK,SOCK}', '{3,3}', '{x2,x4}', '{max,max}', '1 hour');
-- sold out for all others is not so for who has it
SELECT inv.inv_add_item('LAST') IS NOT NULL AS added;
SELECT on_hand FROM inv.inv_receive('LAST', 1);
SELECT reservation_id AS last FROM inv.inv_reserve('LAST', customer => 'max', ttl => '1 hour') \gset
SELECT reservation_id = :'last' AS same, replayed FROM inv.inv_try_reserve('LAST', customer => 'max');
SELECT reservation_id = :'last' AS same, replayed, error FROM inv.inv_reserve_batch('{LAST}', '{1}', customers => '{max}');
SELECT status FROM inv.inv_try_reserve('LAST', customer => 'una');
ALTER SYSTEM RESET inventory_reservation.one_hold_per_customer;
SELECT pg_reload_conf();
SELECT pg_sleep(1);
SELECT finding FROM inv.inv_reconcile();
SELECT * FROM inv.inv_check();
