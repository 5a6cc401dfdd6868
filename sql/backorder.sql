-- Backorders: which units a hold or an order still lacks, and whose turn it is
-- when some come.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item(sku, unit_price => 1) IS NOT NULL AS added
  FROM unnest('{A,B,SHRINK,PIECE,LATE,THERE,TURN,MANY}'::text[]) AS sku;
CREATE TABLE public.hold (name text PRIMARY KEY, id uuid, order_id uuid);

CREATE FUNCTION public.hold(name text, sku text, quantity bigint)
RETURNS bigint LANGUAGE sql AS $$
INSERT INTO public.hold SELECT name, reservation_id FROM inv.inv_reserve(sku, quantity, ttl => '1 hour');
SELECT backordered FROM public.hold JOIN LATERAL inv.inv_reservation_status(id) AS state ON true
 WHERE hold.name = $1
$$;
CREATE FUNCTION public.id(name text) RETURNS uuid STABLE
LANGUAGE sql AS $$SELECT id FROM public.hold WHERE name = $1$$;
-- who is owed how many units of a SKU, in the order in which they are served
CREATE FUNCTION public.queue(sku text) RETURNS text STABLE
LANGUAGE sql AS $$
SELECT string_agg(format('%s %s', hold.name, quantity), ', ' ORDER BY since, id, line_no)
  FROM inv.inv_backorder JOIN inv.inv_item USING (item_id)
  LEFT JOIN public.hold ON id = inv_backorder.reservation_id
 WHERE inv_item.sku = $1
$$;
-- what the feed has told of backorders since this was asked last
CREATE TABLE public.heard (entry_id bigint);
INSERT INTO public.heard VALUES (0);
CREATE FUNCTION public.told() RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT format('%s of %s: %s by %s%s', operation, name, reason,
               on_hand_after - reserved_after,
               CASE WHEN entry.order_id = hold.order_id THEN ', sold' END)
      FROM inv.inv_ledger AS entry LEFT JOIN public.hold ON id = entry.reservation_id
     WHERE operation LIKE '%backorder' AND entry_id > (TABLE public.heard)
       AND delta_on_hand = 0 AND delta_reserved = 0
     ORDER BY entry_id;
    UPDATE public.heard SET entry_id = (SELECT max(entry.entry_id) FROM inv.inv_ledger AS entry);
END
$$;

--
-- What is there is held first; the rest of the hold is backordered
--
SELECT on_hand FROM inv.inv_receive('A', 3);
SELECT available FROM inv.inv_set_policy('A', backorder_limit => 20);
SELECT hold('first', 'A', 2), hold('second', 'A', 4), hold('third', 'A', 5);
SELECT queue('A');
SELECT told();
SELECT status, backordered, lines FROM inv.inv_reservation_status(id('second'));
SELECT status, quantity, backordered FROM inv.inv_reservation_lines WHERE reservation_id = id('second');
SELECT backordered FROM inv.inv_reservation_status(id('first'));
-- what comes goes to the oldest first, a part of it if there is no more
SELECT on_hand, reserved, available FROM inv.inv_receive('A', 2);
SELECT queue('A');
SELECT told();
SELECT on_hand, reserved, available FROM inv.inv_receive('A', 3);
SELECT queue('A');
SELECT told();
SELECT * FROM inv.inv_check();

--
-- What comes back does so as well: by a cancel, a release, a death
--
SELECT hold('fourth', 'A', 3), hold('fifth', 'A', 2);
SELECT status FROM inv.inv_cancel(id('first'));
SELECT queue('A');
-- a hold gives up first what is not there
SELECT status FROM inv.inv_release(id('third'), 'A', 1);
SELECT queue('A');
SELECT status FROM inv.inv_release(id('third'), 'A', 2);
SELECT queue('A');
-- the oldest in the queue goes, and with it its place
SELECT status FROM inv.inv_cancel(id('fourth'));
SELECT queue('A');
SELECT told();
SELECT backordered, lines FROM inv.inv_reservation_status(id('fourth'));
SELECT hold('sixth', 'A', 2);
UPDATE inv.inv_reservation SET expires_at = clock_timestamp() - interval '1 minute'
 WHERE reservation_id IN (id('second'), id('sixth'));
UPDATE inv.inv_stock SET earliest_expiry = '-infinity';
SELECT queue('A');
-- dead, not swept
SELECT status, backordered, lines FROM inv.inv_reservation_status(id('sixth'));
SELECT status, backordered FROM inv.inv_reservation_lines WHERE reservation_id = id('sixth');
SELECT inv.inv_expire();
SELECT queue('A');
SELECT told();
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'A';
SELECT * FROM inv.inv_check();

--
-- Sold, and owed all the same
--
SELECT hold('sold', 'A', 8);
SELECT hold('held', 'A', 1);
UPDATE public.hold SET order_id = (inv.inv_confirm(id)).order_id WHERE name = 'sold';
SELECT on_hand, reserved, available FROM inv.inv_availability WHERE sku = 'A';
SELECT queue('A');
SELECT status, backordered, lines FROM inv.inv_order_status((SELECT order_id FROM public.hold WHERE name = 'sold'));
SELECT status, backordered FROM inv.inv_reservation_status(id('sold'));
-- a repeat changes nothing
SELECT replayed FROM inv.inv_confirm(id('sold'));
SELECT on_hand, reserved FROM inv.inv_receive('A', 1);
SELECT told();
-- a return of what is owed
SELECT status FROM inv.inv_return((SELECT order_id FROM public.hold WHERE name = 'sold'), 'A', 1);
SELECT queue('A');
SELECT * FROM inv.inv_check();
SELECT status FROM inv.inv_complete_order((SELECT order_id FROM public.hold WHERE name = 'sold'));
SELECT status, backordered FROM inv.inv_order_status((SELECT order_id FROM public.hold WHERE name = 'sold'));
SELECT on_hand, reserved FROM inv.inv_receive('A', 10);
SELECT queue('A');
SELECT told();
SELECT * FROM inv.inv_check();
-- an order that is cancelled owes nothing, and gives what was there
SELECT on_hand FROM inv.inv_receive('B', 1);
SELECT available FROM inv.inv_set_policy('B', backorder_limit => NULL);
SELECT hold('gone', 'B', 3), hold('waits', 'B', 4);
UPDATE public.hold SET order_id = (inv.inv_confirm(id)).order_id WHERE name = 'gone';
SELECT queue('B');
SELECT status FROM inv.inv_cancel_order((SELECT order_id FROM public.hold WHERE name = 'gone'));
SELECT queue('B');
SELECT backordered FROM inv.inv_order_status((SELECT order_id FROM public.hold WHERE name = 'gone'));
SELECT told();
SELECT * FROM inv.inv_check();

--
-- Carts, batches, several calls of one transaction, and what is rolled back
--
SELECT on_hand FROM inv.inv_receive('THERE', 5);
INSERT INTO public.hold SELECT 'cart', reservation_id FROM inv.inv_reserve_cart('{B,THERE}', '{2,4}', ttl => '1 hour');
SELECT backordered, lines FROM inv.inv_reservation_status(id('cart'));
SELECT reservation_id IS NOT NULL AS held, error FROM inv.inv_reserve_batch('{B,THERE,B}', '{5,9,6}');
INSERT INTO public.hold SELECT format('request of %s', quantity), reservation_id
  FROM inv.inv_reservation JOIN inv.inv_item USING (item_id)
 WHERE sku = 'B' AND quantity IN (5, 6) AND status = 'active';
SELECT queue('B');
BEGIN;
SELECT status FROM inv.inv_cancel(id('waits'));
SAVEPOINT before;
SELECT on_hand FROM inv.inv_receive('B', 5);
SELECT queue('B');
ROLLBACK TO before;
SELECT on_hand FROM inv.inv_receive('B', 1);
SELECT queue('B');
SELECT * FROM inv.inv_check();
ROLLBACK;
SELECT queue('B');
SELECT on_hand, reserved FROM inv.inv_receive('B', 18);
SELECT queue('B');
SELECT told();
SELECT * FROM inv.inv_check();

--
-- What the shop takes off below what is held, the newest holds lack
--
SELECT on_hand FROM inv.inv_receive('SHRINK', 10);
SELECT available FROM inv.inv_set_policy('SHRINK', backorder_limit => 12);
SELECT hold('old', 'SHRINK', 4), hold('middle', 'SHRINK', 3), hold('new', 'SHRINK', 4);
SELECT queue('SHRINK');
SELECT on_hand, reserved, available FROM inv.inv_adjust('SHRINK', -5);
SELECT queue('SHRINK');
SELECT told();
SELECT on_hand, reserved, available FROM inv.inv_receive('SHRINK', 1);
SELECT queue('SHRINK');
SELECT outcome($$SELECT inv.inv_adjust('SHRINK', -7)$$);
-- a count of what is there; sold is what is not
SELECT on_hand, reserved FROM inv.inv_set_stock('SHRINK', 8);
SELECT queue('SHRINK');
UPDATE public.hold SET order_id = (inv.inv_confirm(id)).order_id WHERE name IN ('old', 'new');
SELECT on_hand, reserved FROM inv.inv_availability WHERE sku = 'SHRINK';
SELECT queue('SHRINK');
SELECT on_hand, reserved FROM inv.inv_set_stock('SHRINK', 3);
SELECT queue('SHRINK');
SELECT told();
-- on the shelf are what is there and what of the sold is: 3 + 5
SELECT on_hand, reserved FROM inv.inv_set_stock('SHRINK', 8, on_shelf => true);
SELECT outcome($$SELECT inv.inv_set_stock('SHRINK', 4, on_shelf => true)$$);
SELECT queue('SHRINK');
-- one more is found, one is missing
SELECT on_hand, reserved FROM inv.inv_set_stock('SHRINK', 9, on_shelf => true);
SELECT queue('SHRINK');
SELECT on_hand, reserved FROM inv.inv_adjust('SHRINK', -1);
SELECT queue('SHRINK');
-- by force the newest holds are cancelled; what they lacked, nobody lacks then
SELECT on_hand, reserved FROM inv.inv_receive('SHRINK', 5);
SELECT hold('newer', 'SHRINK', 6);
SELECT available FROM inv.inv_set_policy('SHRINK', backorder_limit => 4);
SELECT outcome($$SELECT inv.inv_set_stock('SHRINK', 0)$$);
SELECT on_hand, reserved FROM inv.inv_set_stock('SHRINK', 0, force => true);
SELECT queue('SHRINK');
SELECT told();
SELECT * FROM inv.inv_check();

--
-- Dead holds are not served while others wait
--
SELECT available FROM inv.inv_set_policy('LATE', backorder_limit => 9);
SELECT hold('dead', 'LATE', 4), hold('alive', 'LATE', 5);
UPDATE inv.inv_reservation SET expires_at = clock_timestamp() - interval '1 minute' WHERE reservation_id = id('dead');
UPDATE inv.inv_stock SET earliest_expiry = '-infinity';
SELECT queue('LATE');
SELECT on_hand, reserved FROM inv.inv_receive('LATE', 3);
SELECT queue('LATE');
-- nor does a buyer who frees one get what others wait for
SELECT hold('dead too', 'LATE', 7);
UPDATE inv.inv_reservation SET expires_at = clock_timestamp() - interval '1 minute' WHERE reservation_id = id('dead too');
UPDATE inv.inv_stock SET earliest_expiry = '-infinity';
SELECT hold('buyer', 'LATE', 5);
SELECT queue('LATE');
-- nor does he get what a dead one had
SELECT on_hand FROM inv.inv_receive('TURN', 3);
SELECT available FROM inv.inv_set_policy('TURN', backorder_limit => 4);
SELECT hold('had it', 'TURN', 3), hold('waits since', 'TURN', 4);
UPDATE inv.inv_reservation SET expires_at = clock_timestamp() - interval '1 minute' WHERE reservation_id = id('had it');
UPDATE inv.inv_stock SET earliest_expiry = '-infinity';
SELECT hold('comes later', 'TURN', 2);
SELECT queue('TURN');
-- a late payment waits behind all who have come meanwhile
SELECT available FROM inv.inv_set_policy('LATE', backorder_limit => 20);
UPDATE public.hold SET order_id = (inv.inv_confirm(id, retake => true)).order_id WHERE name = 'dead';
SELECT queue('LATE');
SELECT told();
SELECT backordered FROM inv.inv_order_status((SELECT order_id FROM public.hold WHERE name = 'dead'));
SELECT * FROM inv.inv_check();

--
-- A queue that is longer than what is looked at together
--
SELECT available FROM inv.inv_set_policy('MANY', backorder_limit => NULL);
SELECT count(hold(nr::text, 'MANY', 2)) FROM generate_series(1, 260) AS nr;
SELECT on_hand FROM inv.inv_receive('MANY', 505);
SELECT queue('MANY');
SELECT count(*), count(*) FILTER (WHERE nr = name::bigint) AS in_order
  FROM (SELECT hold.name, row_number() OVER (ORDER BY entry_id) AS nr
          FROM inv.inv_ledger JOIN inv.inv_item AS item USING (item_id)
          JOIN public.hold ON id = reservation_id
         WHERE sku = 'MANY' AND operation = 'fill_backorder') AS filled (name, nr);
-- and the newest lose theirs
SELECT on_hand FROM inv.inv_adjust('MANY', -300);
SELECT count(*), sum(quantity), min(hold.name::bigint)
  FROM inv.inv_backorder JOIN public.hold ON id = reservation_id
  JOIN inv.inv_item AS item USING (item_id) WHERE sku = 'MANY';
SELECT * FROM inv.inv_check();

--
-- In one piece
--
SELECT on_hand FROM inv.inv_receive('PIECE', 9);
SELECT inv.inv_set_stripes('PIECE', 3);
SELECT count(reservation_id)
  FROM generate_series(1, 3) AS nr, LATERAL inv.inv_reserve('PIECE', 3 + 0 * nr);
SELECT available FROM inv.inv_set_policy('PIECE', backorder_limit => 5);
SELECT stripe, on_hand, reserved, min_available, retired
  FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'PIECE' ORDER BY stripe;
SELECT outcome($$SELECT inv.inv_set_stripes('PIECE', 2)$$);
SELECT hold('much', 'PIECE', 5);
SELECT queue('PIECE');
-- what comes free on a stripe that is going
SELECT status FROM inv.inv_cancel((SELECT reservation_id FROM inv.inv_reservation
   JOIN inv.inv_item USING (item_id) WHERE sku = 'PIECE' AND stripe = 2048));
SELECT queue('PIECE');
SELECT stripe, on_hand, reserved, min_available, retired
  FROM inv.inv_stock JOIN inv.inv_item USING (item_id) WHERE sku = 'PIECE' ORDER BY stripe;
SELECT on_hand FROM inv.inv_receive('PIECE', 2);
SELECT queue('PIECE');
SELECT available FROM inv.inv_set_policy('PIECE');
SELECT inv.inv_set_stripes('PIECE', 2);
SELECT * FROM inv.inv_check();

--
-- What has changed by hand is found
--
BEGIN;
UPDATE inv.inv_backorder SET quantity = quantity + 1 WHERE reservation_id = id('alive');
SELECT violation, sku, found, expected FROM inv.inv_check();
ROLLBACK;
BEGIN;
DELETE FROM inv.inv_reservation WHERE reservation_id = id('alive');
SELECT violation, sku, found, expected FROM inv.inv_check() WHERE violation LIKE 'backorder%';
ROLLBACK;

-- counters that were wrong do not mislead who puts them right
SELECT queue('LATE');
UPDATE inv.inv_stock SET reserved = reserved + 3
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'LATE');
SELECT finding, found, expected, action FROM inv.inv_reconcile(repair => true, complete => true) WHERE sku = 'LATE';
SELECT queue('LATE');
UPDATE inv.inv_stock SET reserved = reserved - 3
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'LATE');
SELECT finding, found, expected, action FROM inv.inv_reconcile(repair => true, complete => true) WHERE sku = 'LATE';
SELECT queue('LATE');
-- nor do rows of the queue that are missing
DELETE FROM inv.inv_backorder WHERE reservation_id = id('buyer');
UPDATE inv.inv_stock SET reserved = reserved + 1
 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'LATE');
SELECT finding, found, expected, action FROM inv.inv_reconcile(repair => true, complete => true) WHERE sku = 'LATE';
SELECT queue('LATE');
SELECT * FROM inv.inv_check();

DROP FUNCTION public.told, public.queue, public.hold, public.id;
DROP TABLE public.hold, public.heard;
