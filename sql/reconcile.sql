-- inv_reconcile(): each kind of row is tampered with in turn.  A dry run tells
-- and changes nothing of the shop's; a repair repairs what a machine can decide
-- and says what is left for a person; a second one finds nothing more of what
-- the first repaired.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

CREATE TABLE public.named (id uuid PRIMARY KEY, name text NOT NULL);
-- Everything that belongs to the shop, as one value.
CREATE FUNCTION public.shop() RETURNS text LANGUAGE sql AS $$
SELECT md5(string_agg(line, E'\n' ORDER BY line)) FROM (
    SELECT 'stock ' || t::text AS line FROM inv.inv_stock AS t
    UNION ALL SELECT 'line ' || t::text FROM inv.inv_reservation AS t
    UNION ALL SELECT 'order ' || t::text FROM inv.inv_order AS t
    UNION ALL SELECT 'key ' || t::text FROM inv.inv_idempotency AS t
    UNION ALL SELECT 'ledger ' || t::text FROM inv.inv_ledger AS t) AS everything
$$;
-- A run, with names for ids.
CREATE FUNCTION public.run(repair boolean, complete boolean DEFAULT false)
RETURNS TABLE (finding text, sku text, location text, stripe integer, reservation text,
               "order" text, found text, expected text, action text) LANGUAGE sql AS $$
SELECT finding, sku, location, stripe,
       (SELECT name FROM public.named WHERE id = reservation_id),
       (SELECT name FROM public.named WHERE id = order_id),
       public.masked(found), public.masked(expected), public.masked(action)
  FROM inv.inv_reconcile(repair, complete)
 ORDER BY finding COLLATE "C", sku COLLATE "C", stripe, reservation_id
$$;
CREATE FUNCTION public.item(wanted text) RETURNS bigint LANGUAGE sql AS $$
SELECT item_id FROM inv.inv_item WHERE sku = wanted
$$;
-- Dry run, dry run again, repair, and what is left: the findings of the two dry
-- runs must be the same, and the shop too.
CREATE PROCEDURE public.dry_runs() LANGUAGE plpgsql AS $$
DECLARE
    before text := public.shop();
    incremental text;
    whole text;
BEGIN
    SELECT string_agg(d::text, E'\n' ORDER BY d::text) INTO incremental FROM inv.inv_reconcile() AS d;
    SELECT string_agg(d::text, E'\n' ORDER BY d::text) INTO whole FROM inv.inv_reconcile(complete => true) AS d;
    IF incremental IS DISTINCT FROM whole THEN
        RAISE WARNING 'incremental: %', incremental;
        RAISE WARNING 'complete: %', whole;
    END IF;
    IF public.shop() <> before THEN
        RAISE WARNING 'a dry run has changed something';
    END IF;
END
$$;
\set show_ledger 'SELECT operation, delta_on_hand, delta_reserved, on_hand_after, reserved_after, reason FROM inv.inv_ledger WHERE operation = ''reconcile'' ORDER BY entry_id DESC LIMIT 1;'

SELECT sku, inv.inv_add_item(sku, unit_price => 1) AS item_id
  FROM unnest('{alone,cart 1,cart 2,dead,keyed,sold,store,striped}'::text[]) AS sku;
SELECT inv.inv_add_location('store') AS location_id;
SELECT count(inv.inv_receive(sku, 10))
  FROM unnest('{alone,cart 1,cart 2,dead,keyed,sold,striped}'::text[]) AS sku;
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

-- nothing is wrong; the first run is a complete one
SELECT * FROM run(false);
SELECT detail -> 'complete' AS complete, detail ->> 'phase' AS phase FROM inv.inv_progress WHERE task = 'reconcile';
SELECT * FROM run(true);
SELECT detail -> 'complete' AS complete, detail ->> 'phase' AS phase FROM inv.inv_progress WHERE task = 'reconcile';
-- the balances agree with what the ledger adds up to
SELECT count(*) FROM inv.inv_ledger_balance AS balance
  FULL JOIN (SELECT item_id, location_id, stripe, sum(delta_on_hand) AS on_hand, sum(delta_reserved) AS reserved
               FROM inv.inv_ledger GROUP BY item_id, location_id, stripe) AS entry USING (item_id, location_id, stripe)
 WHERE ROW(balance.on_hand, balance.reserved) IS DISTINCT FROM ROW(entry.on_hand, entry.reserved);
SELECT public.outcome($$SELECT * FROM inv.inv_reconcile(NULL)$$);
SELECT public.outcome($$SELECT * FROM inv.inv_reconcile(complete => NULL)$$);

--
-- Counters
--
-- reserved too high: units that nobody can buy
UPDATE inv.inv_stock SET reserved = reserved + 2 WHERE item_id = item('alone');
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
:show_ledger
SELECT on_hand, reserved FROM inv.inv_stock WHERE item_id = item('alone');
SELECT * FROM inv.inv_check();

-- reserved too low: units that two may buy
UPDATE inv.inv_stock SET reserved = 0 WHERE item_id = item('alone');
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
:show_ledger
SELECT * FROM inv.inv_check();

-- so many are held by now that there are not as many: for a person
UPDATE inv.inv_stock SET reserved = 0, on_hand = 2 WHERE item_id = item('alone');
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
UPDATE inv.inv_stock SET reserved = 3, on_hand = 10 WHERE item_id = item('alone');
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();

-- on_hand: buyers were promised what the counter says
UPDATE inv.inv_stock SET on_hand = on_hand + 5 WHERE item_id = item('alone');
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
:show_ledger
SELECT on_hand, reserved FROM inv.inv_stock WHERE item_id = item('alone');
SELECT * FROM inv.inv_check();

-- earliest_expiry
UPDATE inv.inv_stock SET earliest_expiry = 'infinity' WHERE item_id = item('alone');
SELECT * FROM run(false);
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();

--
-- The ledger
--
-- an entry that is new, and an old one that was rewritten: only a complete run
-- reads that again
UPDATE inv.inv_ledger SET delta_reserved = delta_reserved - 1
 WHERE operation = 'reserve' AND item_id = item('alone');
SELECT * FROM run(true);
SELECT * FROM run(true, true);
:show_ledger
SELECT * FROM run(true, true);
SELECT * FROM inv.inv_check();
DELETE FROM inv.inv_ledger WHERE operation = 'receive' AND item_id = item('alone');
SELECT * FROM run(true, true);
:show_ledger
SELECT * FROM inv.inv_check();
-- one that nobody has followed yet
INSERT INTO inv.inv_ledger (at, xid, operation, item_id, location_id, stripe, delta_on_hand, delta_reserved,
    on_hand_after, reserved_after, login_role, caller_role, epoch)
SELECT now(), pg_current_xact_id(), 'adjust', item('alone'), 0, 0, 7, 0, 17, 3, 'nobody', 'nobody', max(epoch)
  FROM inv.inv_ledger;
SELECT * FROM run(true);
SELECT * FROM run(true, true);
SELECT * FROM inv.inv_check();

--
-- Stock rows
--
-- deleted, under a hold
DELETE FROM inv.inv_stock WHERE item_id = item('alone');
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
:show_ledger
SELECT on_hand, reserved, version, retired, earliest_expiry = 'infinity' AS never FROM inv.inv_stock WHERE item_id = item('alone');
SELECT * FROM inv.inv_check();
SELECT status FROM inv.inv_cancel(:'alone');
-- a stripe
DELETE FROM inv.inv_stock WHERE item_id = item('striped') AND stripe = 2048;
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();
-- the first
DELETE FROM inv.inv_stock WHERE item_id = item('striped') AND stripe = 0;
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();
-- the first retired
UPDATE inv.inv_stock SET retired = true WHERE item_id = item('striped') AND stripe = 0;
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();
-- one that is in no ledger
INSERT INTO inv.inv_stock (item_id, location_id, on_hand) SELECT item('alone'), location_id, 5
  FROM inv.inv_location WHERE code = 'store';
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
:show_ledger
SELECT * FROM inv.inv_check();
-- of an item that is unknown
BEGIN;
DELETE FROM inv.inv_item WHERE sku = 'dead';
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;

--
-- Lines
--
-- moved to a stock row that is not there
BEGIN;
UPDATE inv.inv_reservation SET stripe = 7 WHERE reservation_id = :'keyed';
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;
-- a line that holds more than it did
UPDATE inv.inv_reservation SET quantity = 3 WHERE reservation_id = :'keyed';
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();
-- being confirmed it is still held
BEGIN;
UPDATE inv.inv_reservation SET status = 'confirming' WHERE reservation_id = :'keyed';
SELECT * FROM run(true);
ROLLBACK;
-- what differs within a reservation
BEGIN;
UPDATE inv.inv_reservation SET expires_at = expires_at + interval '1 second' WHERE reservation_id = :'cart' AND line_no = 2;
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;
BEGIN;
UPDATE inv.inv_reservation SET status = 'cancelled' WHERE reservation_id = :'cart' AND line_no = 2;
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;
BEGIN;
DELETE FROM inv.inv_reservation WHERE reservation_id = :'cart' AND line_no = 1;
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;

--
-- Orders: whether it was paid or shipped only a person can know
--
BEGIN;
DELETE FROM inv.inv_order;
CALL dry_runs();
SELECT * FROM run(true);
SELECT violation, found FROM inv.inv_check();
ROLLBACK;
BEGIN;
UPDATE inv.inv_reservation SET status = 'cancelled' WHERE reservation_id = :'sold';
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;
BEGIN;
DELETE FROM inv.inv_reservation WHERE reservation_id = :'sold';
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;
BEGIN;
ALTER TABLE inv.inv_order DROP CONSTRAINT inv_order_reservation_id_key;
INSERT INTO inv.inv_order SELECT :'other', reservation_id, customer, reference, total, currency, status,
    payment_status, created_at, updated_at FROM inv.inv_order;
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;

--
-- Keys
--
DELETE FROM inv.inv_reservation WHERE reservation_id = :'keyed';
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();
SELECT status, replayed FROM inv.inv_reserve('keyed', 1, 'hold', ttl => '1 hour');
BEGIN;
INSERT INTO inv.inv_idempotency SELECT scope, 'twin', request, reservation_id, order_id, created_at
  FROM inv.inv_idempotency WHERE key = 'cart';
CALL dry_runs();
SELECT * FROM run(true);
ROLLBACK;

--
-- Dead holds
--
SELECT dead_hold('dead', 4) AS dead \gset
INSERT INTO public.named VALUES (:'dead', 'dead');
SELECT * FROM run(true);
BEGIN;
UPDATE inv.inv_reservation SET expires_at = now() - interval '2 hours' WHERE reservation_id = :'dead';
UPDATE inv.inv_stock SET earliest_expiry = now() - interval '2 hours' WHERE item_id = item('dead');
COMMIT;
CALL dry_runs();
SELECT * FROM run(true);
SELECT * FROM run(true);
SELECT operation, delta_reserved FROM inv.inv_ledger WHERE reservation_id = :'dead' ORDER BY entry_id;
SELECT * FROM inv.inv_check();
-- with its stock row it is gone, and comes back
SELECT dead_hold('dead', 4) AS dead \gset
UPDATE inv.inv_reservation SET expires_at = now() - interval '2 hours' WHERE reservation_id = :'dead';
DELETE FROM inv.inv_stock WHERE item_id = item('dead');
SELECT finding, sku, action FROM run(true);
SELECT finding, sku, action FROM run(true);
SELECT * FROM inv.inv_check();

--
-- What a run leaves
--
-- results, by run
SELECT count(DISTINCT run) > 10 AS runs, count(*) FILTER (WHERE action IS NULL) AS pending,
       bool_and(at BETWEEN now() - interval '1 hour' AND now() + interval '1 hour') AS at
  FROM inv.inv_reconciliation;
-- as old as reservations are kept
UPDATE inv.inv_reconciliation SET at = now() - interval '31 days' WHERE run < 10;
SELECT * FROM run(true);
SELECT min(run) >= 10 AS young FROM inv.inv_reconciliation;
-- a drift that stays has one row, that of the newest run, and is as old as it is
SELECT count(*) FROM run(true);
UPDATE inv.inv_reconciliation SET at = at - interval '1 day', since = since - interval '1 day';
UPDATE inv.inv_stock SET reserved = reserved + 1 WHERE item_id = item('store');
CREATE TABLE public.lost AS SELECT * FROM inv.inv_order WHERE order_id = :'sale';
DELETE FROM inv.inv_order WHERE order_id = :'sale';
UPDATE inv.inv_reservation SET expires_at = expires_at + interval '1 second'
 WHERE reservation_id = :'cart' AND line_no = 1;
CREATE VIEW public.kept AS
SELECT run - (SELECT max(run) FROM inv.inv_reconciliation) AS run, finding, found, action,
       since < now() - interval '1 hour' AS old, since <= at AS since
  FROM inv.inv_reconciliation WHERE at > now() - interval '1 hour';
SELECT finding, action FROM run(false, true);
SELECT * FROM kept ORDER BY run, finding COLLATE "C";
UPDATE inv.inv_reconciliation SET since = since - interval '2 hours' WHERE at > now() - interval '1 hour';
-- another figure is the same drift
UPDATE inv.inv_stock SET reserved = reserved + 1 WHERE item_id = item('store');
SELECT count(*) FROM run(false);
SELECT count(*) FROM run(false, true);
SELECT count(*) FROM run(false);
SELECT * FROM kept ORDER BY run, finding COLLATE "C";
-- what was repaired stays, though it is found again, and what is gone
SELECT count(*) FROM run(true);
UPDATE inv.inv_stock SET reserved = reserved + 1 WHERE item_id = item('store');
UPDATE inv.inv_reservation SET expires_at = expires_at - interval '1 second'
 WHERE reservation_id = :'cart' AND line_no = 1;
SELECT count(*) FROM run(true);
SELECT * FROM kept ORDER BY run, finding COLLATE "C";
INSERT INTO inv.inv_order SELECT * FROM public.lost;
SELECT * FROM run(true);
DROP VIEW public.kept;
DROP TABLE public.lost;

--
-- The purge and the balances
--
-- what reconciliation has not followed stays
SELECT count(*) FROM run(true);
SELECT reservation_id AS later FROM inv.inv_reserve('store', 1, location => 'store') \gset
SELECT count(*) > 0 AS purged FROM (SELECT inv.inv_purge('0')) AS done;
SELECT inv.inv_purge('0') AS purged;
SELECT count(*) FROM inv.inv_ledger;
SELECT count(*) FROM run(true);
SELECT * FROM inv.inv_check();
UPDATE inv.inv_stock SET on_hand = on_hand + 1 WHERE item_id = item('store');
SELECT * FROM run(true);
SELECT * FROM inv.inv_check();
-- a complete run adds up what was purged and what was not
SELECT * FROM run(true, true);
-- abandoned for an hour, the balances are given up
SELECT count(inv.inv_cancel(:'later'));
UPDATE inv.inv_progress SET updated_at = now() - interval '61 minutes' WHERE task IN ('reconcile', 'ledger balance');
SELECT inv.inv_purge('0') > 0 AS purged;
SELECT count(*) FROM inv.inv_ledger;
SELECT task FROM inv.inv_progress ORDER BY task;
SELECT * FROM run(true);
SELECT detail -> 'complete' AS complete FROM inv.inv_progress WHERE task = 'reconcile';
SELECT * FROM inv.inv_check();
