-- Stripes: the stock of a SKU over several rows, and nobody may tell.
--
-- At which stripe a buyer begins depends on his process.  So that the output
-- does not, quantities are such that a stripe has room for one hold, or the
-- sum is what counts.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT count(inv.inv_add_item(sku, unit_price => 1))
  FROM unnest('{A,new,sold,big,held,dead,cart,plain,shop,order,safe}'::text[]) AS sku;
SELECT inv.inv_add_location('store') > 0 AS added;

CREATE OR REPLACE VIEW public.stripes AS
SELECT item.sku, location.code AS location, stock.stripe, stock.on_hand,
       stock.reserved, stock.retired, stock.version
  FROM inv.inv_stock AS stock
  JOIN inv.inv_item AS item USING (item_id)
  JOIN inv.inv_location AS location USING (location_id)
 ORDER BY sku, location, stripe;

-- The three ways to ask what there is, which must agree, and the proof.
CREATE OR REPLACE FUNCTION public.available(sku text, OUT units bigint, OUT agree boolean,
                                            OUT violations bigint)
LANGUAGE sql AS $$
SELECT inv.inv_available(sku),
       inv.inv_available(sku) = (SELECT sum(view.available) FROM inv.inv_availability AS view
                                  WHERE view.sku = $1 AND view.location = 'default')
       AND inv.inv_available(sku) = (SELECT available FROM inv.inv_try_reserve(sku, 4000000000000)),
       (SELECT count(*) FROM inv.inv_check())
$$;

-- A hold on a stripe: there must be one.
CREATE OR REPLACE FUNCTION public.hold_on(sku text, stripe integer)
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
BEGIN
    SELECT line.reservation_id INTO STRICT id
      FROM inv.inv_reservation AS line JOIN inv.inv_item AS item USING (item_id)
     WHERE item.sku = hold_on.sku AND line.stripe = hold_on.stripe
       AND line.status = 'active' AND line.quantity > 0
     LIMIT 1;
    RETURN id;
END
$$;

--
-- Up and down: even shares, on places of a ring that stand far apart
--
SELECT on_hand, version FROM inv.inv_receive('A', 100);
SELECT inv.inv_set_stripes('A', 4);
TABLE stripes;
SELECT inv.inv_set_stripes('A', 2);
TABLE stripes;
SELECT inv.inv_set_stripes('A', 3);
TABLE stripes;
SELECT inv.inv_set_stripes('A', 256);
-- with less units than stripes some have none
SELECT on_hand, count(*), min(stripe), max(stripe), bool_and(stripe % 16 = 0) AS evenly
  FROM stripes GROUP BY on_hand ORDER BY on_hand;
SELECT * FROM available('A');
SELECT inv.inv_set_stripes('A', 5);
TABLE stripes;
-- asking for the same again moves nothing
SELECT count(*) AS entries FROM inv.inv_ledger \gset
SELECT inv.inv_set_stripes('A', 5);
SELECT count(*) - :entries AS more_entries FROM inv.inv_ledger;
SELECT inv.inv_set_stripes('A', 1);
TABLE stripes;
SELECT * FROM available('A');
-- all of it within the SKU
SELECT operation, sum(delta_on_hand) AS on_hand, sum(delta_reserved) AS reserved
  FROM inv.inv_ledger GROUP BY operation ORDER BY operation;
-- undone with the transaction
BEGIN;
SELECT inv.inv_set_stripes('A', 8);
ROLLBACK;
TABLE stripes;
SELECT outcome($$SELECT inv.inv_set_stripes('A', 0)$$);
SELECT outcome($$SELECT inv.inv_set_stripes('A', 257)$$);
TABLE stripes;

--
-- One location at a time
--
SELECT on_hand FROM inv.inv_receive('A', 10, 'store');
SELECT inv.inv_set_stripes('A', 2, 'store');
TABLE stripes;
SELECT inv.inv_set_stripes('A', 2);
SELECT inv.inv_set_stripes('A', 1, 'store');
TABLE stripes;

--
-- A SKU that has no stock yet
--
SELECT inv.inv_set_stripes('new', 4);
SELECT * FROM stripes WHERE sku = 'new';
SELECT * FROM available('new');
SELECT on_hand, version FROM inv.inv_receive('new', 10);
SELECT * FROM stripes WHERE sku = 'new';

--
-- Sold out is what the sum says
--
SELECT on_hand FROM inv.inv_receive('sold', 8);
SELECT inv.inv_set_stripes('sold', 4);
SELECT count(reservation_id)
  FROM generate_series(1, 8) AS nr, LATERAL inv.inv_reserve('sold', 1 + 0 * nr);
SELECT outcome($$SELECT inv.inv_reserve('sold')$$);
SELECT reservation_id, status, available FROM inv.inv_try_reserve('sold');
SELECT * FROM stripes WHERE sku = 'sold';
SELECT * FROM available('sold');
-- what comes back somewhere is for sale
SELECT status FROM inv.inv_cancel((SELECT reservation_id FROM inv.inv_reservation
                                    WHERE stripe = 3072 LIMIT 1));
SELECT * FROM available('sold');
SELECT status FROM inv.inv_reserve('sold');
SELECT status FROM inv.inv_try_reserve('sold');

--
-- More than any stripe has: gathered, and still one line on one stripe
--
SELECT on_hand FROM inv.inv_receive('big', 20);
SELECT inv.inv_set_stripes('big', 4);
SELECT reservation_id AS most FROM inv.inv_reserve('big', 12) \gset
SELECT reservation_id AS rest FROM inv.inv_reserve('big', 8) \gset
SELECT outcome($$SELECT inv.inv_reserve('big', 1)$$);
SELECT count(*), sum(quantity), count(DISTINCT stripe) AS stripes
  FROM inv.inv_reservation WHERE reservation_id IN (:'most', :'rest');
-- units only ever move from row to row
SELECT sum(delta_on_hand) AS on_hand, sum(delta_reserved) AS reserved, count(*) > 0 AS moved
  FROM inv.inv_ledger JOIN inv.inv_item USING (item_id)
 WHERE operation = 'restripe' AND sku = 'big';
SELECT count(*) FILTER (WHERE on_hand = reserved) AS full_stripes, sum(on_hand) AS on_hand,
       sum(reserved) AS reserved
  FROM stripes WHERE sku = 'big';
SELECT * FROM available('big');
SELECT status FROM inv.inv_confirm(:'rest');
SELECT status FROM inv.inv_cancel(:'most');
SELECT * FROM available('big');
SELECT outcome($$SELECT inv.inv_reserve('big', 13)$$);
SELECT reservation_id AS all_of_it FROM inv.inv_reserve('big', 12) \gset
SELECT status FROM inv.inv_release(:'all_of_it', 'big', 11);
SELECT * FROM available('big');
SELECT status FROM inv.inv_reserve('big', 11);
SELECT * FROM available('big');

--
-- Stripes that are taken away keep what is held on them, and go with it
--
SELECT on_hand FROM inv.inv_receive('held', 40);
SELECT inv.inv_set_stripes('held', 8);
SELECT count(reservation_id)
  FROM generate_series(1, 8) AS nr, LATERAL inv.inv_reserve('held', 5 + 0 * nr);
SELECT inv.inv_set_stripes('held', 1);
SELECT * FROM stripes WHERE sku = 'held';
SELECT * FROM available('held');
SELECT outcome($$SELECT inv.inv_reserve('held')$$);
-- sold
SELECT total FROM inv.inv_confirm(hold_on('held', 2048));
SELECT * FROM available('held');
-- given back: at once on the stripe that stays
SELECT status FROM inv.inv_cancel(hold_on('held', 1024));
SELECT * FROM stripes WHERE sku = 'held';
SELECT * FROM available('held');
-- given back by and by
SELECT status FROM inv.inv_release(hold_on('held', 3072), 'held', 2);
SELECT * FROM stripes WHERE sku = 'held' AND stripe IN (0, 3072);
SELECT status FROM inv.inv_release(hold_on('held', 3072), 'held', 3);
SELECT * FROM stripes WHERE sku = 'held' AND stripe IN (0, 3072);
SELECT * FROM available('held');
-- whoever holds from now on does so on the stripe that stays
SELECT status FROM inv.inv_reserve('held', 10);
SELECT * FROM stripes WHERE sku = 'held';
-- extended, and it is still there
SELECT inv.inv_extend(hold_on('held', 512), '1 hour') > now() + interval '30 minutes' AS longer;
-- sold in part
SELECT status FROM inv.inv_release(hold_on('held', 512), 'held', 1);
SELECT total FROM inv.inv_confirm(hold_on('held', 512));
SELECT * FROM stripes WHERE sku = 'held';
-- wanted again: no longer retired, and new stock is shared out over it
SELECT inv.inv_set_stripes('held', 6);
SELECT * FROM stripes WHERE sku = 'held';
SELECT on_hand FROM inv.inv_receive('held', 5);
SELECT * FROM stripes WHERE sku = 'held';
SELECT inv.inv_set_stripes('held', 1);
SELECT count(*) FILTER (WHERE retired) AS retired, count(*) FROM stripes WHERE sku = 'held';
-- the last ones
SELECT count(status)
  FROM (SELECT DISTINCT reservation_id FROM inv.inv_reservation
          JOIN inv.inv_item USING (item_id)
         WHERE sku = 'held' AND status = 'active') AS held,
       LATERAL inv.inv_cancel(held.reservation_id);
SELECT * FROM stripes WHERE sku = 'held';
SELECT * FROM available('held');

--
-- Dead holds on many stripes
--
SELECT on_hand FROM inv.inv_receive('dead', 20);
SELECT inv.inv_set_stripes('dead', 4);
SELECT count(dead_hold('dead', 5)) FROM generate_series(1, 4);
SELECT on_hand, reserved, stripe FROM stripes WHERE sku = 'dead';
SELECT * FROM available('dead');
-- the next buyer frees as many as he needs, wherever they are
SELECT status FROM inv.inv_reserve('dead', 17);
SELECT outcome($$SELECT inv.inv_reserve('dead', 4)$$);
SELECT status FROM inv.inv_reserve('dead', 3);
SELECT operation, count(*), sum(delta_reserved) AS reserved
  FROM inv.inv_ledger JOIN inv.inv_item USING (item_id)
 WHERE sku = 'dead' AND operation IN ('reserve', 'expire') GROUP BY operation ORDER BY operation;
SELECT * FROM available('dead');
-- those on stripes that were taken away: by a sweep, and by a buyer
SELECT on_hand, reserved FROM inv.inv_set_stock('dead', 0, force => true);
SELECT on_hand FROM inv.inv_set_stock('dead', 20);
SELECT count(dead_hold('dead', 5)) FROM generate_series(1, 4);
SELECT inv.inv_set_stripes('dead', 1);
SELECT * FROM available('dead');
SELECT inv.inv_expire();
SELECT * FROM stripes WHERE sku = 'dead';
SELECT * FROM available('dead');
SELECT inv.inv_set_stripes('dead', 4);
SELECT count(dead_hold('dead', 5)) FROM generate_series(1, 4);
SELECT inv.inv_set_stripes('dead', 2);
SELECT status FROM inv.inv_reserve('dead', 20);
SELECT count(*) FILTER (WHERE retired) AS retired, count(*), sum(reserved) AS reserved
  FROM stripes WHERE sku = 'dead';
SELECT * FROM available('dead');

--
-- Carts over SKUs of one stripe and of many
--
SELECT count(*) FROM inv.inv_load_stock('{cart,plain}', '{12,12}');
SELECT inv.inv_set_stripes('cart', 4);
SELECT reservation_id AS basket FROM inv.inv_reserve_cart('{plain,cart,plain}', '{4,10,2}') \gset
SELECT line_no, sku, quantity FROM inv.inv_reservation_lines
 WHERE reservation_id = :'basket' ORDER BY line_no;
SELECT outcome($$SELECT inv.inv_reserve_cart('{plain,cart}', '{7,3}')$$);
SELECT reservation_id, shortages FROM inv.inv_try_reserve_cart('{cart,plain}', '{3,6}');
SELECT * FROM available('cart');
SELECT inv.inv_set_stripes('cart', 2);
SELECT status FROM inv.inv_release(:'basket', 'cart', 4);
SELECT inv.inv_set_stripes('cart', 1);
SELECT total FROM inv.inv_confirm(:'basket');
SELECT * FROM stripes WHERE sku IN ('cart', 'plain');
SELECT * FROM available('cart');

--
-- The shop's own changes: evenly, and version counts them once
--
SELECT inv.inv_set_stripes('shop', 4);
SELECT on_hand, version FROM inv.inv_receive('shop', 10);
SELECT on_hand, version FROM inv.inv_receive('shop', 2);
SELECT * FROM stripes WHERE sku = 'shop';
SELECT on_hand, version FROM inv.inv_adjust('shop', -5);
SELECT * FROM stripes WHERE sku = 'shop';
SELECT on_hand, version FROM inv.inv_adjust('shop', 1);
SELECT on_hand, version FROM inv.inv_set_stock('shop', 40, reason => 'counted');
SELECT * FROM stripes WHERE sku = 'shop';
-- stripes are not what the shop counts
SELECT inv.inv_set_stripes('shop', 2);
SELECT outcome($$SELECT inv.inv_set_stock('shop', 40, expected_version => 5)$$);
SELECT on_hand, version FROM inv.inv_set_stock('shop', 39, expected_version => 6);
SELECT outcome($$SELECT inv.inv_set_stock('shop', 38, expected_version => 6)$$);
SELECT sku, on_hand, version FROM inv.inv_load_stock('{shop,plain}', '{24,7}');
SELECT inv.inv_set_stripes('shop', 4);
SELECT * FROM stripes WHERE sku = 'shop';
-- below what is held: the sum again, and holds of all stripes are named
SELECT count(reservation_id)
  FROM generate_series(1, 4) AS nr, LATERAL inv.inv_reserve('shop', 5 + 0 * nr);
SELECT outcome($$SELECT inv.inv_adjust('shop', -5)$$);
SELECT on_hand, reserved, available FROM inv.inv_adjust('shop', -4);
SELECT on_hand, reserved FROM stripes WHERE sku = 'shop';
SELECT outcome($$SELECT inv.inv_set_stock('shop', 19)$$);
SELECT on_hand, reserved, available FROM inv.inv_set_stock('shop', 12, force => true);
SELECT * FROM available('shop');
SELECT inv.inv_set_stripes('shop', 1);
SELECT on_hand, reserved, available FROM inv.inv_set_stock('shop', 0, force => true);
SELECT * FROM stripes WHERE sku = 'shop';

--
-- What is sold comes back, whether its stripe is there, retired or gone
--
SELECT on_hand FROM inv.inv_receive('order', 40);
SELECT inv.inv_set_stripes('order', 4);
SELECT count(reservation_id)
  FROM generate_series(1, 4) AS nr, LATERAL inv.inv_reserve('order', 10 + 0 * nr);
SELECT order_id AS first_order FROM inv.inv_confirm(hold_on('order', 2048)) \gset
SELECT order_id AS second_order FROM inv.inv_confirm(hold_on('order', 3072)) \gset
SELECT count(*) FROM inv.inv_return(:'first_order', 'order', 1);
SELECT * FROM stripes WHERE sku = 'order';
SELECT inv.inv_set_stripes('order', 1);
SELECT * FROM stripes WHERE sku = 'order';
SELECT count(*) FROM inv.inv_return(:'first_order', 'order', 2);
SELECT status FROM inv.inv_cancel_order(:'first_order');
SELECT status FROM inv.inv_cancel(hold_on('order', 1024));
SELECT inv.inv_set_stripes('order', 2);
SELECT status FROM inv.inv_cancel_order(:'second_order');
SELECT status FROM inv.inv_cancel(hold_on('order', 0));
SELECT inv.inv_set_stripes('order', 2);
SELECT * FROM stripes WHERE sku = 'order';
SELECT * FROM available('order');
-- not on the stripe it was sold from while that is retired
SELECT count(reservation_id)
  FROM generate_series(1, 4) AS nr, LATERAL inv.inv_reserve('order', 10 + 0 * nr);
SELECT order_id AS third_order FROM inv.inv_confirm(hold_on('order', 2048)) \gset
SELECT inv.inv_set_stripes('order', 1);
SELECT status FROM inv.inv_cancel_order(:'third_order');
SELECT * FROM stripes WHERE sku = 'order';
SELECT * FROM available('order');

--
-- Safety stock: the sum of all rows is what can be promised
--
SELECT on_hand FROM inv.inv_receive('safe', 20);
UPDATE inv.inv_stock SET min_available = 5
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'safe');
SELECT inv.inv_set_stripes('safe', 3);
SELECT * FROM stripes WHERE sku = 'safe';
SELECT * FROM available('safe');
SELECT outcome($$SELECT inv.inv_reserve('safe', 16)$$);
SELECT reservation_id AS all_of_it FROM inv.inv_reserve('safe', 15) \gset
SELECT outcome($$SELECT inv.inv_reserve('safe', 1)$$);
SELECT inv.inv_set_stripes('safe', 1);
SELECT outcome($$SELECT inv.inv_reserve('safe', 1)$$);
SELECT status FROM inv.inv_cancel(:'all_of_it');
SELECT * FROM stripes WHERE sku = 'safe';
SELECT * FROM available('safe');
-- the shop may take of its safety stock; what is left is not for sale, wherever
-- a buyer begins
SELECT inv.inv_set_stripes('safe', 16);
SELECT on_hand, available FROM inv.inv_adjust('safe', -17);
SELECT max(on_hand - reserved - min_available) AS most_on_a_stripe
  FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'safe';
SELECT outcome($$SELECT inv.inv_reserve('safe')$$);
SELECT on_hand, available FROM inv.inv_receive('safe', 5);
SELECT * FROM available('safe');
-- a SKU that takes backorders is in one piece: see backorder.sql

--
-- The books, before and after what is old in them is folded away
--
CREATE TABLE public.books AS
SELECT item_id, location_id, stripe, sum(delta_on_hand) AS on_hand,
       sum(delta_reserved) AS reserved
  FROM inv.inv_ledger GROUP BY item_id, location_id, stripe;
-- whatever was ever on a stripe that is gone has left it
SELECT count(*) > 0 AS some_gone, bool_and(on_hand = 0 AND reserved = 0) AS with_nothing
  FROM public.books
 WHERE NOT EXISTS (SELECT FROM inv.inv_stock AS stock
                    WHERE stock.item_id = books.item_id
                      AND stock.location_id = books.location_id
                      AND stock.stripe = books.stripe);
SELECT operation, sum(delta_on_hand) AS on_hand, sum(delta_reserved) AS reserved
  FROM inv.inv_ledger GROUP BY operation ORDER BY operation;
SELECT inv.inv_purge('0') > 0 AS folded;
SELECT count(*) AS differences FROM
 (SELECT item_id, location_id, stripe, sum(delta_on_hand), sum(delta_reserved)
    FROM (SELECT item_id, location_id, stripe, delta_on_hand, delta_reserved FROM inv.inv_ledger
          UNION ALL TABLE inv.inv_opening_balance) AS entry GROUP BY item_id, location_id, stripe
  EXCEPT TABLE public.books) AS changed;
SELECT count(*) = (SELECT count(*) FROM public.books) AS one_a_row
  FROM inv.inv_opening_balance;
SELECT * FROM inv.inv_check();
-- and stripes come and go as before
SELECT inv.inv_set_stripes('A', 3), inv.inv_set_stripes('held', 3);
SELECT inv.inv_set_stripes('A', 1), inv.inv_set_stripes('held', 1);
SELECT * FROM inv.inv_check();
DROP TABLE public.books;
DROP VIEW public.stripes;
DROP FUNCTION public.available, public.hold_on;
