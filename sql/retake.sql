-- Late payment: a dead hold is sold if its stock can still be had.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item(sku, unit_price => 10) IS NOT NULL AS added
  FROM unnest('{A,B,C,STRIPED,OWED}'::text[]) AS sku;
SELECT count(*) FROM inv.inv_load_stock('{A,B,C,STRIPED}', '{10,10,10,12}');
CREATE VIEW public.books AS
SELECT sku, on_hand, reserved, available FROM inv.inv_availability ORDER BY sku;
-- what happened to a reservation, line by line
CREATE FUNCTION public.story(uuid) RETURNS TABLE (line_no int, status text, entries text)
LANGUAGE sql AS $$
SELECT line.line_no, line.status,
       (SELECT string_agg(format('%s %s/%s', operation, delta_on_hand, delta_reserved),
                          ', ' ORDER BY entry_id)
          FROM inv.inv_ledger AS entry
         WHERE entry.reservation_id = line.reservation_id AND entry.item_id = line.item_id)
  FROM inv.inv_reservation AS line WHERE line.reservation_id = $1 ORDER BY line_no
$$;
-- a dead cart of 2 A and 3 B
CREATE FUNCTION public.dead_cart() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    hold inv.inv_hold := inv.inv_reserve_cart('{A,B}', '{2,3}', ttl => '1 millisecond');
BEGIN
    PERFORM pg_sleep(0.002);
    RETURN hold.reservation_id;
END
$$;

--
-- Not swept: it is freed first
--
SELECT dead_hold('A', 4) AS hold \gset
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'hold'));
SELECT order_id AS sale, status, total, replayed FROM inv.inv_confirm(:'hold', retake => true) \gset
SELECT :'status' AS status, :'total' AS total, :'replayed' AS replayed;
SELECT * FROM story(:'hold');
SELECT order_id = :'sale' AS same, replayed FROM inv.inv_confirm(:'hold', retake => true);
SELECT order_id = :'sale' AS same, replayed FROM inv.inv_confirm(:'hold');
SELECT status, order_id = :'sale' AS same FROM inv.inv_reservation_status(:'hold');

--
-- Swept: its units are taken again, at the price that was agreed
--
SELECT dead_hold('A', 4) AS hold \gset
SELECT inv.inv_expire();
SELECT inv.inv_set_item('A', unit_price => 99) IS NOT NULL AS set;
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'hold'));
SELECT order_id AS sale FROM inv.inv_confirm(:'hold', retake => true) \gset
SELECT * FROM story(:'hold');
SELECT total, lines FROM inv.inv_order_status(:'sale');
SELECT * FROM public.books WHERE sku = 'A';
-- and can be given back like any other
SELECT status FROM inv.inv_cancel_order(:'sale');
SELECT * FROM public.books WHERE sku = 'A';
SELECT * FROM inv.inv_check();

--
-- Gone: nothing happens
--
SELECT dead_hold('A', 4) AS hold \gset
SELECT reservation_id AS other FROM inv.inv_reserve('A', 4, ttl => '1 hour') \gset
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'hold'));
SELECT * FROM story(:'hold');
SELECT count(*) FROM inv.inv_order WHERE reservation_id = :'hold';
-- what another dead hold has can be had
SELECT inv.inv_cancel(:'other') IS NOT NULL AS cancelled;
SELECT dead_hold('A', 6) IS NOT NULL AS died;
SELECT status, total FROM inv.inv_confirm(:'hold', retake => true);
SELECT * FROM public.books WHERE sku = 'A';
SELECT * FROM inv.inv_check();

--
-- A cart: all of it or nothing, whoever has freed what
--
SELECT inv.inv_set_stock('A', 10) IS NOT NULL AS counted;
SELECT dead_cart() AS cart \gset
SELECT reservation_id AS other FROM inv.inv_reserve('A', 10, ttl => '1 hour') \gset
SELECT * FROM story(:'cart');
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'cart'));
SELECT * FROM story(:'cart');
SELECT inv.inv_cancel(:'other') IS NOT NULL AS cancelled;
SELECT status, total FROM inv.inv_confirm(:'cart', retake => true);
SELECT * FROM story(:'cart');
SELECT * FROM public.books WHERE sku IN ('A', 'B');
-- several lines short
SELECT dead_cart() AS cart \gset
SELECT inv.inv_expire();
SELECT inv.inv_reserve_cart('{A,B}', '{8,7}', ttl => '1 hour') IS NOT NULL AS held;
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'cart'));
SELECT inv.inv_receive('A', 2) IS NOT NULL AS received;
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'cart'));
SELECT inv.inv_receive('B', 3) IS NOT NULL AS received;
SELECT status FROM inv.inv_confirm(:'cart', retake => true);
SELECT * FROM story(:'cart');
SELECT * FROM public.books WHERE sku IN ('A', 'B');
-- only what was not released
SELECT inv.inv_receive('B', 3) IS NOT NULL AS received, inv.inv_receive('A', 1) IS NOT NULL AS received;
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{A,B}', '{1,3}', ttl => '1 hour') \gset
SELECT status FROM inv.inv_release(:'cart', 'A', 1);
SELECT status FROM inv.inv_release(:'cart', 'B', 1);
UPDATE inv.inv_reservation SET expires_at = now() - interval '1 second' WHERE reservation_id = :'cart';
UPDATE inv.inv_stock SET earliest_expiry = now() - interval '1 second' WHERE reserved > 0;
SELECT inv.inv_expire();
SELECT status, total FROM inv.inv_confirm(:'cart', retake => true);
SELECT * FROM story(:'cart');
SELECT * FROM inv.inv_check();

--
-- What is no dead hold, and who is not its customer
--
SELECT reservation_id AS live FROM inv.inv_reserve('C', 1, ttl => '1 hour') \gset
SELECT status FROM inv.inv_confirm(:'live', retake => true);
SELECT * FROM story(:'live');
SELECT reservation_id AS given FROM inv.inv_reserve('C', 1, ttl => '1 hour') \gset
SELECT status FROM inv.inv_cancel(:'given');
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'given'));
SELECT outcome($$SELECT inv.inv_confirm('00000000-0000-7000-8000-000000000000', retake => true)$$);
SELECT reservation_id AS anns FROM inv.inv_reserve('C', 1, customer => 'ann', ttl => '1 millisecond') \gset
SELECT pg_sleep(0.002);
SELECT outcome(format('SELECT inv.inv_confirm(%L, customer => ''bob'', retake => true)', :'anns'));
-- a cancelled dead one is expired, and was not given back
SELECT status FROM inv.inv_cancel(:'anns');
SELECT status FROM inv.inv_confirm(:'anns', customer => 'ann', retake => true);
SELECT customer, total FROM inv.inv_order WHERE reservation_id = :'anns';
SELECT * FROM story(:'anns');

--
-- No longer on sale: as for a new hold, swept or not
--
SELECT dead_hold('C', 1) AS hold \gset
SELECT inv.inv_set_item('C', selling => false) IS NOT NULL AS set;
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'hold'));
SELECT inv.inv_expire();
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'hold'));
SELECT inv.inv_set_item('C', selling => true) IS NOT NULL AS set;
SELECT status FROM inv.inv_confirm(:'hold', retake => true);

--
-- Under a key
--
SELECT dead_hold('C', 1) AS hold \gset
SELECT inv.inv_expire();
SELECT outcome(format('SELECT inv.inv_confirm(%L, ''late'')', :'hold'));
SELECT replayed FROM inv.inv_confirm(:'hold', 'late', retake => true);
SELECT replayed FROM inv.inv_confirm(:'hold', 'late', retake => true);
SELECT outcome(format('SELECT inv.inv_confirm(%L, ''late'')', :'hold'));
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => NULL)', :'hold'));

--
-- Stripes: another one may have the units, or several
--
SELECT inv.inv_set_stripes('STRIPED', 4);
SELECT dead_hold('STRIPED', 3) AS hold \gset
SELECT inv.inv_expire();
SELECT inv.inv_set_stripes('STRIPED', 2);
SELECT status FROM inv.inv_confirm(:'hold', retake => true);
SELECT * FROM public.books WHERE sku = 'STRIPED';
SELECT dead_hold('STRIPED', 9) AS hold \gset
SELECT inv.inv_expire();
SELECT inv.inv_set_stripes('STRIPED', 4);
SELECT status FROM inv.inv_confirm(:'hold', retake => true);
SELECT * FROM public.books WHERE sku = 'STRIPED';

--
-- Backorders count, and safety stock does not
--
SELECT available FROM inv.inv_set_policy('OWED', backorder_limit => 2);
SELECT dead_hold('OWED', 2) AS hold \gset
SELECT inv.inv_expire();
SELECT status FROM inv.inv_confirm(:'hold', retake => true);
SELECT * FROM public.books WHERE sku = 'OWED';
SELECT inv.inv_receive('OWED', 4) IS NOT NULL AS received;
SELECT available FROM inv.inv_set_policy('OWED');
SELECT dead_hold('OWED', 2) AS hold \gset
SELECT inv.inv_expire();
SELECT available FROM inv.inv_set_policy('OWED', 1);
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'hold'));
-- swept or not
SELECT available FROM inv.inv_set_policy('OWED');
SELECT dead_hold('OWED', 2) AS hold \gset
SELECT available FROM inv.inv_set_policy('OWED', 1);
SELECT outcome(format('SELECT inv.inv_confirm(%L, retake => true)', :'hold'));
SELECT inv.inv_receive('OWED', 1) IS NOT NULL AS received;
SELECT status FROM inv.inv_confirm(:'hold', retake => true);
SELECT * FROM story(:'hold');

SELECT * FROM inv.inv_check();
DROP FUNCTION public.story, public.dead_cart;
DROP VIEW public.books;
