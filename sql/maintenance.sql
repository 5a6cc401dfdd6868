-- Upkeep: what goes when, and that the books stay right without it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10) IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 10) IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{100,100}');
CREATE VIEW public.kept AS
SELECT (SELECT count(*) FROM inv.inv_idempotency) AS keys,
       (SELECT count(*) FROM inv.inv_reservation) AS lines,
       (SELECT count(*) FROM inv.inv_order) AS orders,
       (SELECT count(*) FROM inv.inv_ledger) AS entries,
       (SELECT count(*) FROM inv.inv_opening_balance) AS balances;
-- makes everything look so much older
CREATE PROCEDURE public.make_older(by_this interval) LANGUAGE sql AS $$
UPDATE inv.inv_idempotency SET created_at = created_at - by_this;
UPDATE inv.inv_reservation SET created_at = created_at - by_this,
       closed_at = closed_at - by_this, expires_at = expires_at - by_this;
UPDATE inv.inv_order SET created_at = created_at - by_this, updated_at = updated_at - by_this;
UPDATE inv.inv_stock SET earliest_expiry = earliest_expiry - by_this;
UPDATE inv.inv_ledger SET at = at - by_this;
$$;

--
-- Keys past their retention
--
SELECT status FROM inv.inv_reserve('A', key => 'old', ttl => '20 hours');
SELECT inv.inv_purge();
TABLE kept;
CALL make_older('23 hours 50 minutes');
SELECT inv.inv_purge();
CALL make_older('20 minutes');
SELECT status, replayed FROM inv.inv_reserve('A', key => 'young');
SELECT inv.inv_purge();
TABLE kept;
SELECT key FROM inv.inv_idempotency;
-- a purged key is new again
SELECT status, replayed FROM inv.inv_reserve('A', key => 'old', ttl => '20 hours');
SELECT * FROM inv.inv_check();

--
-- Holds that came to nothing, and the ledger behind its opening balances
--
SELECT inv.inv_expire();
SELECT order_id FROM inv.inv_confirm((inv.inv_reserve('A', 3, 'sold')).reservation_id) \gset
SELECT status FROM inv.inv_cancel((inv.inv_reserve('A', 5, 'cancelled')).reservation_id);
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{A,B}', '{1,2}', 'cancelled cart') \gset
SELECT status FROM inv.inv_cancel(:'cart');
SELECT dead_hold('B', 7) IS NOT NULL AS died;
SELECT inv.inv_expire();
TABLE kept;
SELECT sku, on_hand, reserved, available FROM inv.inv_availability ORDER BY sku;
-- only what was here before is old
SELECT inv.inv_purge('1 hour');
TABLE kept;
CALL make_older('2 days');
SELECT status FROM inv.inv_reserve('B', 1, ttl => '1 hour');
SELECT inv.inv_purge('3 days') > 0 AS keys_went;
SELECT inv.inv_purge('3 days');
TABLE kept;
SELECT * FROM inv.inv_check();
SELECT inv.inv_purge(older_than => '1 day') > 0 AS rows_went;
SELECT inv.inv_purge('1 day');
TABLE kept;
SELECT status, count(*) FROM inv.inv_reservation GROUP BY status ORDER BY status;
SELECT item.sku, entry.operation, entry.delta_on_hand, entry.delta_reserved,
       entry.on_hand_after, entry.reserved_after
  FROM inv.inv_ledger AS entry JOIN inv.inv_item AS item USING (item_id) ORDER BY entry_id;
SELECT item.sku, opening.on_hand, opening.reserved
  FROM inv.inv_opening_balance AS opening JOIN inv.inv_item AS item USING (item_id) ORDER BY sku;
-- what has read the ledger this far can tell
SELECT count(*) FROM inv.inv_ledger AS entry JOIN inv.inv_progress AS purge ON purge.task = 'purge'
 WHERE (entry.epoch, entry.xid, entry.entry_id) <= (purge.epoch, purge.xid, purge.entry_id);
SELECT * FROM inv.inv_check();
SELECT sku, on_hand, reserved, available FROM inv.inv_availability ORDER BY sku;
-- an order keeps its lines however old it is
SELECT total, lines FROM inv.inv_order_status(:'order_id');
SELECT status FROM inv.inv_cancel_order(:'order_id');
CALL make_older('2 days');
SELECT inv.inv_purge('1 day') > 0 AS rows_went;
SELECT lines -> 0 -> 'quantity' AS quantity FROM inv.inv_order_status(:'order_id');
SELECT * FROM inv.inv_check();

-- a reservation stays as long as the key that made it, whatever is asked for
SELECT status FROM inv.inv_cancel((inv.inv_reserve('A', 1, 'young cancelled')).reservation_id);
CALL make_older('3 hours');
SELECT inv.inv_purge('1 hour') > 0 AS rows_went;
SELECT inv.inv_purge('1 hour');
SELECT inv.inv_receive('A', 1) IS NOT NULL AS received;
SELECT inv.inv_purge('0') > 0 AS rows_went;
SELECT * FROM inv.inv_check();
SELECT status, replayed FROM inv.inv_reserve('A', 1, 'young cancelled');
SELECT count(*) FROM inv.inv_ledger;

-- the purge goes on from a balance it made itself
SELECT count(*) FROM generate_series(1, 3) AS nr, LATERAL inv.inv_receive('A', 1 + 0 * nr);
CALL make_older('2 days');
SELECT inv.inv_expire() > 0 AS expired;
CALL make_older('2 days');
SELECT inv.inv_purge('1 day') > 0 AS rows_went;
TABLE kept;
SELECT * FROM inv.inv_check();
SELECT outcome($$SELECT inv.inv_purge('-1 day')$$);

--
-- One batch at a time, and inv_maintain() all of them
--
ALTER SYSTEM SET inventory_reservation.expire_batch_size = 3;
SELECT pg_reload_conf();
SELECT pg_sleep(1);
SHOW inventory_reservation.expire_batch_size;
SELECT count(*) FROM generate_series(1, 10) AS nr,
       LATERAL inv.inv_reserve('A', 1 + 0 * nr, 'batch ' || nr, ttl => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT inv.inv_expire();
SELECT inv.inv_expire();
UPDATE inv.inv_idempotency SET created_at = created_at - interval '25 hours';
SELECT inv.inv_purge();
SELECT count(*) FROM inv.inv_reservation WHERE status = 'active';
CALL inv.inv_maintain();
SELECT count(*) FROM inv.inv_reservation WHERE status = 'active';
SELECT count(*) FROM inv.inv_idempotency;
-- it commits, so it has to be called by itself
BEGIN;
SELECT outcome('CALL inv.inv_maintain()');
ROLLBACK;
ALTER SYSTEM RESET inventory_reservation.expire_batch_size;
SELECT pg_reload_conf();
SELECT * FROM inv.inv_check();

--
-- Scheduling where there is no pg_cron is no error (see the TAP tests for
-- servers that have it)
--
SET client_min_messages = warning;
SELECT outcome('SELECT inv.inv_schedule()');
SELECT outcome('SELECT inv.inv_unschedule()');
SELECT inv.inv_unschedule();
RESET client_min_messages;

DROP VIEW public.kept;
DROP PROCEDURE public.make_older;
SELECT * FROM inv.inv_check();
