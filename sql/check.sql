-- inv_check() finds each kind of violation that it knows of, and nothing else.
--
-- Each case breaks the books by hand in a transaction that is rolled back, with
-- as little as brings the one violation about.  At the end every violation in
-- the text of inv_check() must have been seen here.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

-- What is wrong, with names for ids: those of this test, or 'other'.
CREATE TABLE public.named (id uuid PRIMARY KEY, name text NOT NULL);
CREATE VIEW public.wrong AS
SELECT violation, sku, location, stripe,
       CASE WHEN reservation_id IS NOT NULL THEN coalesce(
           (SELECT name FROM public.named WHERE id = reservation_id), 'other') END AS reservation,
       CASE WHEN order_id IS NOT NULL THEN coalesce(
           (SELECT name FROM public.named WHERE id = order_id), 'other') END AS "order",
       public.masked(found) AS found, public.masked(expected) AS expected
  FROM inv.inv_check()
 ORDER BY violation COLLATE "C", sku COLLATE "C", location COLLATE "C", stripe;
-- What was seen so far is kept where ROLLBACK does not reach, in a variable of
-- psql.
\set seen '{}'
CREATE FUNCTION public.and_seen(before text[]) RETURNS text[] LANGUAGE sql AS $$
SELECT before || array(SELECT violation FROM public.wrong)
$$;

SELECT sku, inv.inv_add_item(sku, unit_price => 1) AS item_id
  FROM unnest('{alone,cart 1,cart 2,dead 1,dead 2,idle,keyed,sold,store,striped}'::text[]) AS sku;
SELECT inv.inv_add_location('store') AS location_id;
SELECT count(inv.inv_receive(sku, 10))
  FROM unnest('{alone,cart 1,cart 2,dead 1,dead 2,idle,keyed,sold}'::text[]) AS sku;
SELECT (inv.inv_receive('store', 10, 'store')).on_hand;
SELECT inv.inv_set_stripes('striped', 2);
SELECT reservation_id AS alone FROM inv.inv_reserve('alone', 3, ttl => '1 hour') \gset
SELECT reservation_id AS cart
  FROM inv.inv_reserve_cart('{cart 1,cart 2}', '{1,2}', 'cart', ttl => '1 hour') \gset
SELECT reservation_id AS keyed FROM inv.inv_reserve('keyed', 1, 'hold', ttl => '1 hour') \gset
SELECT reservation_id AS sold FROM inv.inv_reserve('sold', 4, 'sale') \gset
SELECT order_id AS sale FROM inv.inv_confirm(:'sold', key => 'sale') \gset
INSERT INTO public.named VALUES (:'alone', 'alone'), (:'cart', 'cart'), (:'keyed', 'keyed'),
    (:'sold', 'sold'), (:'sale', 'sale');
\set other 00000000-0000-7000-8000-000000000000
TABLE wrong;

--
-- Oversold
--
-- more promised than there is, and the books agree about it
BEGIN;
UPDATE inv.inv_stock SET backorder_unlimited = true
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'idle');
SELECT status FROM inv.inv_reserve('idle', 11);
-- as long as that is allowed, nothing is wrong
TABLE wrong;
UPDATE inv.inv_stock SET backorder_unlimited = false, min_available = -1
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'idle');
TABLE wrong;
ALTER TABLE inv.inv_stock DROP CONSTRAINT inv_stock_never_oversold;
UPDATE inv.inv_stock SET min_available = 0
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'idle');
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
-- what is backordered is, to the unit, what is lacking
BEGIN;
UPDATE inv.inv_stock SET backorder_unlimited = true
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'idle');
SELECT reservation_id AS backordered FROM inv.inv_reserve('idle', 12) \gset
SELECT quantity FROM inv.inv_backorder;
SAVEPOINT as_it_is;
UPDATE inv.inv_backorder SET quantity = 1;
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK TO as_it_is;
DELETE FROM inv.inv_backorder;
TABLE wrong;
ROLLBACK TO as_it_is;
-- at the right SKU
UPDATE inv.inv_backorder
   SET item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'alone');
TABLE wrong;
ROLLBACK TO as_it_is;
-- of a line that holds or has sold as many
UPDATE inv.inv_backorder SET reservation_id = :'keyed';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK TO as_it_is;
UPDATE inv.inv_backorder SET reservation_id = :'other';
TABLE wrong;
ROLLBACK;
-- safety stock that was eaten into is not oversold
BEGIN;
UPDATE inv.inv_stock SET min_available = 9
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'alone');
TABLE wrong;
ROLLBACK;
-- less than nothing promised: neither lines nor ledger can agree with that
BEGIN;
ALTER TABLE inv.inv_stock DROP CONSTRAINT inv_stock_never_oversold;
UPDATE inv.inv_stock SET reserved = -1
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'idle');
TABLE wrong;
ROLLBACK;

--
-- Counters against lines and ledger
--
BEGIN;
UPDATE inv.inv_reservation SET quantity = quantity + 1 WHERE reservation_id = :'alone';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
-- a line on a stock row that is not there is missing on the one that is
BEGIN;
UPDATE inv.inv_reservation SET stripe = 1 WHERE reservation_id = :'alone';
TABLE wrong;
ROLLBACK;
-- being confirmed it is still held
BEGIN;
UPDATE inv.inv_reservation SET status = 'confirming' WHERE reservation_id = :'alone';
TABLE wrong;
ROLLBACK;
BEGIN;
UPDATE inv.inv_stock SET on_hand = on_hand + 1
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'alone');
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
-- the ledger of a stock row that is gone
BEGIN;
DELETE FROM inv.inv_stock
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'idle');
TABLE wrong;
ROLLBACK;
-- a stock row that is in no ledger
BEGIN;
INSERT INTO inv.inv_stock (item_id, location_id, on_hand)
SELECT item_id, location_id, 5 FROM inv.inv_item, inv.inv_location
 WHERE sku = 'idle' AND code = 'store';
TABLE wrong;
ROLLBACK;
BEGIN;
UPDATE inv.inv_ledger SET delta_reserved = delta_reserved - 1
 WHERE operation = 'reserve' AND reservation_id = :'alone';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;

--
-- What nobody would look for
--
BEGIN;
UPDATE inv.inv_stock SET earliest_expiry = 'infinity'
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'alone');
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
-- a line of which all was given back holds nothing that could die
BEGIN;
SELECT status FROM inv.inv_release(:'cart', 'cart 2', 2);
SELECT earliest_expiry FROM inv.inv_stock
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'cart 2');
TABLE wrong;
ROLLBACK;
BEGIN;
DELETE FROM inv.inv_stock
 WHERE stripe = 0 AND item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'striped');
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
UPDATE inv.inv_stock SET retired = true
 WHERE stripe = 0 AND item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'striped');
TABLE wrong;
ROLLBACK;
-- any other may be retired
BEGIN;
UPDATE inv.inv_stock SET retired = true
 WHERE stripe <> 0 AND item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'striped');
TABLE wrong;
ROLLBACK;
BEGIN;
DELETE FROM inv.inv_item WHERE sku = 'idle';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
DELETE FROM inv.inv_location WHERE code = 'store';
TABLE wrong;
ROLLBACK;

--
-- Reservations in themselves
--
BEGIN;
UPDATE inv.inv_reservation SET status = 'confirming' WHERE reservation_id = :'cart' AND line_no = 2;
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
-- sold by half: it has no order, and the line sold is no longer held
BEGIN;
UPDATE inv.inv_reservation SET status = 'confirmed' WHERE reservation_id = :'cart' AND line_no = 2;
TABLE wrong;
ROLLBACK;
-- of a dead cart the next buyer takes only the line he needs; of a live one he
-- must not
BEGIN;
SELECT reservation_id AS dead
  FROM inv.inv_reserve_cart('{dead 1,dead 2}', '{10,1}', ttl => '1 millisecond') \gset
SELECT pg_sleep(0.01);
SELECT status FROM inv.inv_reserve('dead 1');
SELECT line_no, status FROM inv.inv_reservation WHERE reservation_id = :'dead' ORDER BY line_no;
TABLE wrong;
UPDATE inv.inv_reservation SET expires_at = expires_at + interval '1 hour'
 WHERE reservation_id = :'dead';
TABLE wrong;
ROLLBACK;
BEGIN;
UPDATE inv.inv_reservation SET expires_at = expires_at + interval '1 second'
 WHERE reservation_id = :'cart' AND line_no = 2;
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
UPDATE inv.inv_reservation SET line_no = 3 WHERE reservation_id = :'cart' AND line_no = 1;
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;

--
-- Reservations and orders
--
-- the key of the sale, which would miss its order as well, is out of the way
BEGIN;
DELETE FROM inv.inv_idempotency WHERE order_id = :'sale';
DELETE FROM inv.inv_order WHERE order_id = :'sale';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
UPDATE inv.inv_reservation SET status = 'cancelled' WHERE reservation_id = :'sold';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
-- no reservation at all, and no key that made one
BEGIN;
DELETE FROM inv.inv_idempotency WHERE scope = 'reserve' AND reservation_id = :'sold';
DELETE FROM inv.inv_reservation WHERE reservation_id = :'sold';
TABLE wrong;
ROLLBACK;

--
-- Keys
--
BEGIN;
INSERT INTO inv.inv_idempotency (scope, key, request, reservation_id, created_at)
SELECT 'reserve_cart', key, request, reservation_id, created_at
  FROM inv.inv_idempotency WHERE key = 'hold';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
UPDATE inv.inv_idempotency SET order_id = :'other' WHERE order_id = :'sale';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
UPDATE inv.inv_idempotency SET reservation_id = gen_random_uuid() WHERE key IN ('hold', 'cart');
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
-- one customer may have asked for one hold under several keys, if he may have one
BEGIN;
UPDATE inv.inv_idempotency SET request = request || '{"customer": "ann"}' WHERE key = 'hold';
INSERT INTO inv.inv_idempotency (scope, key, request, reservation_id, created_at)
SELECT scope, key || ' again', request, reservation_id, created_at
  FROM inv.inv_idempotency WHERE key = 'hold';
TABLE wrong;
UPDATE inv.inv_idempotency SET request = request || '{"customer": "bob"}' WHERE key = 'hold again';
TABLE wrong;
ROLLBACK;
-- what counts for a customer is a line of his
BEGIN;
INSERT INTO inv.inv_customer_line (item_id, customer, reservation_id, line_no)
SELECT item_id, 'ann', reservation_id, line_no FROM inv.inv_reservation
 WHERE line_no = 1 AND customer IS DISTINCT FROM 'ann' ORDER BY reservation_id LIMIT 1;
SELECT violation, found, expected FROM inv.inv_check();
SELECT and_seen(:'seen') AS seen \gset
UPDATE inv.inv_reservation AS line SET customer = 'ann' FROM inv.inv_customer_line AS mention
 WHERE (line.reservation_id, line.line_no) = (mention.reservation_id, mention.line_no);
TABLE wrong;
ROLLBACK;
TABLE wrong;

--
-- The waitlist
--
BEGIN;
UPDATE inv.inv_stock SET waiting = true
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'idle');
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
SELECT inv.inv_join_waitlist('striped', 5, 'ann');
TABLE wrong;
UPDATE inv.inv_stock SET waiting = false WHERE stripe = 2048;
TABLE wrong;
ROLLBACK;
BEGIN;
SELECT inv.inv_join_waitlist('idle', 50, 'ann');
INSERT INTO inv.inv_waitlist (item_id, quantity, customer, joined_at, state)
SELECT item_id, quantity, customer, joined_at, state FROM inv.inv_waitlist;
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
BEGIN;
SELECT inv.inv_join_waitlist('idle', 1, 'ann');
TABLE wrong;
UPDATE inv.inv_reservation SET customer = 'bob' WHERE customer = 'ann';
TABLE wrong;
SELECT and_seen(:'seen') AS seen \gset
ROLLBACK;
TABLE wrong;

--
-- What callers are told whose SKU has no stripe that takes holds, because the
-- only one was retired by hand
--
BEGIN;
UPDATE inv.inv_stock SET retired = true
 WHERE item_id IN (SELECT item_id FROM inv.inv_item WHERE sku IN ('alone', 'idle', 'keyed'));
TABLE wrong;
SELECT outcome($$SELECT inv.inv_reserve('idle')$$);
SELECT outcome($$SELECT inv.inv_try_reserve('idle')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{sold,idle}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{sold,idle}', '{1,1}')$$);
SELECT outcome($$SELECT inv.inv_reserve('idle', 11)$$);
SELECT inv.inv_available('idle');
-- holds that exist do not mind
SELECT status FROM inv.inv_confirm(:'alone');
SELECT status FROM inv.inv_cancel(:'keyed');
-- what the shop receives or counts has nowhere to go; what it takes away has
SELECT outcome($$SELECT inv.inv_receive('idle', 5)$$);
SELECT outcome($$SELECT inv.inv_set_stock('idle', 15)$$);
SELECT outcome($$SELECT inv.inv_load_stock('{idle}', '{15}')$$);
SELECT on_hand FROM inv.inv_adjust('idle', -1);
-- and the shop can put it right
SELECT inv.inv_set_stripes(sku, 1) FROM unnest('{alone,idle,keyed}'::text[]) AS sku;
TABLE wrong;
SELECT on_hand FROM inv.inv_receive('idle', 5);
SELECT status FROM inv.inv_reserve('idle');
ROLLBACK;
-- nor do units vanish that are counted off two of them, of which the first has
-- too little for its safety stock
BEGIN;
SELECT on_hand FROM inv.inv_set_stock('striped', 20);
UPDATE inv.inv_stock SET retired = true, min_available = CASE stripe WHEN 0 THEN 8 ELSE 0 END
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'striped');
SELECT outcome($$SELECT inv.inv_adjust('striped', -12)$$);
SELECT sum(on_hand) AS on_hand FROM inv.inv_stock
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'striped');
ROLLBACK;
-- with another stripe to go to, buyers do not notice; the retired one goes when
-- it is empty, the first or not, and is then missing
BEGIN;
SELECT on_hand FROM inv.inv_receive('striped', 10);
UPDATE inv.inv_stock SET retired = true
 WHERE stripe = 0 AND item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'striped');
SELECT status FROM inv.inv_reserve('striped', 10);
TABLE wrong;
SELECT inv.inv_set_stripes('striped', 2);
TABLE wrong;
ROLLBACK;

--
-- Every violation that inv_check() can report was seen above.  Each part of its
-- query begins with one.
--
CREATE VIEW public.definition AS
SELECT pg_get_functiondef('inv.inv_check()'::regprocedure) AS text;
CREATE VIEW public.known AS
SELECT part[1] AS violation
  FROM public.definition, regexp_matches(text, 'SELECT ''([^'']+)''::text', 'g') AS part;
SELECT count(*) = (SELECT regexp_count(split_part(text, 'violations AS', 2), 'UNION ALL') + 1
                     FROM public.definition)
       AS one_in_each_part FROM public.known;
SELECT coalesce(known.violation, seen.violation) AS violation,
       known.violation IS NOT NULL AS known, seen.violation IS NOT NULL AS seen
  FROM public.known FULL JOIN unnest(:'seen'::text[]) AS seen (violation) USING (violation)
 WHERE known.violation IS NULL OR seen.violation IS NULL
 ORDER BY 1;

DROP VIEW public.known, public.definition;
DROP FUNCTION public.and_seen;
DROP VIEW public.wrong;
DROP TABLE public.named;
SELECT * FROM inv.inv_check();
