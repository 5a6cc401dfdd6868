-- What a session keeps from call to call for writing to a table is given up the
-- moment that the table changes.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10) IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 10) IS NOT NULL AS added,
       inv.inv_add_item('C', unit_price => 10) IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B,C}', '{1000,1000,1000}');

-- How many rows a condition finds by an index, if there are as many without.
CREATE FUNCTION public.found_by_index(condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    statement text := 'SELECT count(*) FROM inv.' || condition;
    by_index bigint;
    by_scan bigint;
    plan text;
BEGIN
    SET LOCAL enable_seqscan = off;
    EXECUTE 'EXPLAIN (COSTS off, FORMAT json) ' || statement INTO plan;
    EXECUTE statement INTO by_index;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_indexscan = off;
    SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_indexonlyscan = off;
    EXECUTE statement INTO by_scan;
    RETURN CASE WHEN by_index = by_scan AND plan LIKE '%Index%' THEN by_index END;
END
$$;
CREATE TABLE public.fired (nr bigint GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.fired (what) VALUES (TG_NAME);
    RETURN NEW;
END
$$;

-- everything that is written to on the way of a hold to an order
CREATE PROCEDURE public.use_all() LANGUAGE plpgsql AS $$
DECLARE
    hold uuid;
BEGIN
    hold := (inv.inv_reserve_cart('{A,B}', '{1,1}', key => gen_random_uuid()::text)).reservation_id;
    PERFORM inv.inv_confirm(hold, key => gen_random_uuid()::text);
    hold := (inv.inv_reserve('A', key => gen_random_uuid()::text)).reservation_id;
    PERFORM inv.inv_cancel(hold, key => gen_random_uuid()::text);
END
$$;
CALL use_all();

--
-- Checks
--
ALTER TABLE inv.inv_reservation ADD CONSTRAINT at_most_three CHECK (quantity <= 3);
SELECT outcome($$SELECT inv.inv_reserve('A', 4)$$);
SELECT status FROM inv.inv_reserve('A', 3);
ALTER TABLE inv.inv_reservation DROP CONSTRAINT at_most_three;
SELECT status FROM inv.inv_reserve('A', 4);
ALTER TABLE inv.inv_ledger ADD CONSTRAINT no_sales CHECK (operation <> 'confirm') NOT VALID;
SELECT brief_outcome(format('SELECT inv.inv_confirm(%L)', (inv.inv_reserve('A')).reservation_id));
-- in one transaction, and undone with it
BEGIN;
SELECT status FROM inv.inv_reserve('A', 4);
SAVEPOINT before;
ALTER TABLE inv.inv_reservation ADD CONSTRAINT at_most_three CHECK (quantity <= 3) NOT VALID;
SELECT outcome($$SELECT inv.inv_reserve('A', 4)$$);
ROLLBACK TO before;
SELECT status FROM inv.inv_reserve('A', 4);
ALTER TABLE inv.inv_ledger DROP CONSTRAINT no_sales;
CALL use_all();
ROLLBACK;
SELECT brief_outcome(format('SELECT inv.inv_confirm(%L)', (inv.inv_reserve('A')).reservation_id));
ALTER TABLE inv.inv_ledger DROP CONSTRAINT no_sales;
CALL use_all();

--
-- Triggers
--
CREATE TRIGGER key_made BEFORE INSERT ON inv.inv_idempotency FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER hold_made AFTER INSERT ON inv.inv_reservation FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER entry_made AFTER INSERT ON inv.inv_ledger FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER stock_changed BEFORE UPDATE ON inv.inv_stock FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER order_made AFTER INSERT ON inv.inv_order FOR EACH ROW EXECUTE FUNCTION public.note();
CALL use_all();
SELECT what, count(*) FROM public.fired GROUP BY what ORDER BY what;
ALTER TABLE inv.inv_reservation DISABLE TRIGGER hold_made;
DROP TRIGGER key_made ON inv.inv_idempotency;
DROP TRIGGER entry_made ON inv.inv_ledger;
DROP TRIGGER order_made ON inv.inv_order;
TRUNCATE public.fired;
CALL use_all();
SELECT what, count(*) FROM public.fired GROUP BY what ORDER BY what;
ALTER TABLE inv.inv_reservation ENABLE ALWAYS TRIGGER hold_made;
DROP TRIGGER stock_changed ON inv.inv_stock;
TRUNCATE public.fired;
CALL use_all();
SELECT what, count(*) FROM public.fired GROUP BY what ORDER BY what;
DROP TRIGGER hold_made ON inv.inv_reservation;
TRUNCATE public.fired;
CALL use_all();
SELECT what, count(*) FROM public.fired GROUP BY what ORDER BY what;

-- a trigger reads what the call has written to the ledger before
CREATE FUNCTION public.read_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.fired (what)
    SELECT string_agg(format('%s %s %s', operation, delta_on_hand, delta_reserved), ', ' ORDER BY entry_id)
      FROM inv.inv_ledger WHERE item_id = NEW.item_id AND xid = pg_current_xact_id();
    RETURN NEW;
END
$$;
CREATE TRIGGER read_ledger BEFORE UPDATE ON inv.inv_stock FOR EACH ROW EXECUTE FUNCTION public.read_ledger();
SELECT status FROM inv.inv_reserve('A', 2);
SELECT status FROM inv.inv_reserve_cart('{A,B}', '{3,4}');
SELECT what FROM public.fired ORDER BY nr;
DROP TRIGGER read_ledger ON inv.inv_stock;
TRUNCATE public.fired;

--
-- Columns
--
ALTER TABLE inv.inv_ledger ADD COLUMN channel text DEFAULT 'web';
ALTER TABLE inv.inv_reservation ADD COLUMN worth numeric GENERATED ALWAYS AS (quantity * unit_price) STORED;
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 2) \gset
SELECT worth FROM inv.inv_reservation WHERE reservation_id = :'hold';
SELECT channel FROM inv.inv_ledger WHERE reservation_id = :'hold';
ALTER TABLE inv.inv_ledger ALTER COLUMN channel SET DEFAULT 'shop';
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 2) \gset
SELECT channel FROM inv.inv_ledger WHERE reservation_id = :'hold';
ALTER TABLE inv.inv_ledger DROP COLUMN channel;
ALTER TABLE inv.inv_reservation DROP COLUMN worth;
CALL use_all();

--
-- Indexes
--
CREATE UNIQUE INDEX one_hold_a_reference ON inv.inv_reservation (reference) WHERE status = 'active';
SELECT status FROM inv.inv_reserve('A', reference => 'r1');
SELECT outcome($$SELECT inv.inv_reserve('A', reference => 'r1')$$);
SELECT status FROM inv.inv_reserve('A', reference => 'r2');
SELECT found_by_index($$inv_reservation WHERE reference IN ('r1', 'r2') AND status = 'active'$$);
DROP INDEX inv.one_hold_a_reference;
SELECT status FROM inv.inv_reserve('A', reference => 'r1');
CREATE INDEX CONCURRENTLY by_reason ON inv.inv_ledger (reason);
SELECT on_hand FROM inv.inv_receive('C', 1, reason => 'indexed');
SELECT found_by_index($$inv_ledger WHERE reason = 'indexed'$$);
DROP INDEX CONCURRENTLY inv.by_reason;
SELECT on_hand FROM inv.inv_receive('C', 1, reason => 'not indexed');
-- built anew
REINDEX INDEX inv.inv_reservation_pkey;
CALL use_all();
REINDEX TABLE inv.inv_reservation;
CALL use_all();
REINDEX TABLE CONCURRENTLY inv.inv_reservation;
CALL use_all();
REINDEX TABLE CONCURRENTLY inv.inv_ledger;
CALL use_all();
REINDEX INDEX CONCURRENTLY inv.inv_idempotency_pkey;
CALL use_all();
VACUUM FULL inv.inv_stock, inv.inv_ledger, inv.inv_reservation, inv.inv_idempotency, inv.inv_order;
CALL use_all();
CLUSTER inv.inv_ledger USING inv_ledger_pkey;
CALL use_all();
ANALYZE inv.inv_stock, inv.inv_ledger, inv.inv_reservation;
CALL use_all();
ALTER INDEX inv.inv_reservation_closed RENAME TO closed;
CALL use_all();
ALTER INDEX inv.closed RENAME TO inv_reservation_closed;
CALL use_all();
-- and whatever was written meanwhile is in them
SELECT found_by_index($$inv_reservation WHERE reservation_id > '00000000-0000-0000-0000-000000000000'$$) > 0 AS complete;
SELECT found_by_index($$inv_reservation WHERE status = 'active' AND expires_at > '-infinity'$$) > 0 AS complete;
SELECT found_by_index($$inv_reservation WHERE status IN ('cancelled', 'expired') AND closed_at > '-infinity'$$) > 0 AS complete;
SELECT found_by_index($$inv_idempotency WHERE scope > ''$$) > 0 AS complete;
SELECT found_by_index($$inv_ledger WHERE entry_id > 0$$) > 0 AS complete;
SELECT found_by_index($$inv_order WHERE order_id > '00000000-0000-0000-0000-000000000000'$$) > 0 AS complete;

-- A check and an index of the shop's in the place of ours: as many as there
-- were, but what they call is not looked up by the caller's search_path, and
-- not kept.
CREATE FUNCTION public.pinned(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF pg_catalog.current_setting('search_path') <> 'pg_catalog, inv, pg_temp' THEN
        RAISE EXCEPTION 'search_path is %', pg_catalog.current_setting('search_path');
    END IF;
    RETURN true;
END
$$;
SET search_path = public, pg_temp;
BEGIN;
ALTER TABLE inv.inv_reservation DROP CONSTRAINT inv_reservation_status_is_known;
ALTER TABLE inv.inv_reservation ADD CONSTRAINT inv_reservation_status_is_known
    CHECK (public.pinned(status)) NOT VALID;
CALL use_all();
CALL use_all();
ROLLBACK;
BEGIN;
DROP INDEX inv.inv_reservation_closed;
CREATE INDEX inv_reservation_closed ON inv.inv_reservation (closed_at)
    WHERE quantity = 7 AND public.pinned(status);
SELECT status FROM inv.inv_reserve('A', 7);
DROP INDEX inv.inv_reservation_closed;
CREATE INDEX inv_reservation_closed ON inv.inv_reservation ((public.pinned(status)))
    WHERE quantity = 8;
SELECT status FROM inv.inv_reserve('A', 8);
DROP INDEX inv.inv_reservation_closed;
CREATE INDEX inv_reservation_closed ON inv.inv_reservation USING hash (customer);
SELECT status FROM inv.inv_reserve('A', customer => 'hashed');
SELECT found_by_index($$inv_reservation WHERE customer = 'hashed'$$);
ROLLBACK;
RESET search_path;
DROP FUNCTION public.pinned;

--
-- Errors in the middle of writing
--
ALTER TABLE inv.inv_ledger DROP CONSTRAINT inv_ledger_pkey;
CREATE UNIQUE INDEX inv_ledger_pkey ON inv.inv_ledger (entry_id);
SELECT max(entry_id) AS last FROM inv.inv_ledger \gset
SELECT setval('inv.inv_ledger_entry_id_seq', 1, false);
SELECT outcome($$SELECT inv.inv_reserve('A', key => 'again')$$);
BEGIN;
SELECT outcome($$SELECT inv.inv_reserve('A', key => 'again')$$);
SELECT setval('inv.inv_ledger_entry_id_seq', :last);
SELECT status, replayed FROM inv.inv_reserve('A', key => 'again');
SELECT status, replayed FROM inv.inv_reserve('A', key => 'again');
COMMIT;
SELECT outcome($$SELECT inv.inv_reserve('A', key => 'again', quantity => 2)$$);
CALL use_all();
DO $$
BEGIN
    FOR i IN 1..3 LOOP
        PERFORM inv.inv_reserve('A', key => 'thrown away ' || i);
        BEGIN
            PERFORM inv.inv_reserve('A', key => 'thrown away ' || i || ' too');
            RAISE EXCEPTION 'no';
        EXCEPTION WHEN raise_exception THEN
            PERFORM inv.inv_reserve('A', key => 'kept ' || i);
        END;
    END LOOP;
END
$$;
SELECT key FROM inv.inv_idempotency WHERE key ~ '^(thrown|kept)' ORDER BY key;
SELECT * FROM inv.inv_check();

--
-- A trigger calls us again, while the outer call goes on writing; and what
-- both of them write with goes out of date in between
--
CREATE FUNCTION public.call_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.customer IS DISTINCT FROM 'inner' THEN
        PERFORM inv.inv_reserve('C', customer => 'inner', key => gen_random_uuid()::text);
        ANALYZE inv.inv_ledger;
        ANALYZE inv.inv_idempotency;
        ANALYZE inv.inv_stock;
        PERFORM inv.inv_receive('C', 1, reason => 'inner');
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER call_again BEFORE INSERT ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.call_again();
SELECT max(entry_id) AS last FROM inv.inv_ledger \gset
SELECT status FROM inv.inv_reserve_cart('{A,B}', '{1,2}', key => 'nested');
SELECT operation, sku, delta_on_hand, delta_reserved
  FROM inv.inv_ledger JOIN inv.inv_item USING (item_id) WHERE entry_id > :last ORDER BY entry_id;
SELECT outcome($$SELECT inv.inv_reserve_cart('{B,A}', '{1,2000}', key => 'nested and refused')$$);
DROP TRIGGER call_again ON inv.inv_reservation;
CREATE TRIGGER call_again AFTER INSERT ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.call_again();
SELECT status FROM inv.inv_reserve_cart('{A,B}', '{1,2}', key => 'nested after');
DROP TRIGGER call_again ON inv.inv_reservation;
SELECT key, replayed
  FROM unnest('{nested,nested after}'::text[]) AS key, inv.inv_reserve_cart('{A,B}', '{1,2}', key => key);
SELECT * FROM inv.inv_check();

--
-- Many rows at once
--
SELECT count(*) FROM inv.inv_load_stock(
    (SELECT array_agg('many ' || nr) FROM generate_series(1, 1234) AS nr),
    (SELECT array_agg(nr) FROM generate_series(1, 1234) AS nr));
SELECT count(*), count(DISTINCT entry_id), sum(delta_on_hand)
  FROM inv.inv_ledger JOIN inv.inv_item USING (item_id) WHERE sku LIKE 'many %';
SELECT found_by_index($$inv_ledger WHERE entry_id > 0$$) > 1234 AS complete;
SELECT status FROM inv.inv_reserve_cart(
    (SELECT array_agg('many ' || nr) FROM generate_series(1, 1234) AS nr),
    (SELECT array_agg(nr) FROM generate_series(1, 1234) AS nr), ttl => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT inv.inv_expire();
SELECT operation, count(*), sum(delta_reserved), count(DISTINCT entry_id)
  FROM inv.inv_ledger JOIN inv.inv_item USING (item_id)
 WHERE sku LIKE 'many %' GROUP BY operation ORDER BY operation;
-- an entry that is refused when it is written late undoes the call
SELECT max(entry_id) AS last FROM inv.inv_ledger \gset
SELECT setval('inv.inv_ledger_entry_id_seq', :last - 700);
SELECT outcome($$SELECT inv.inv_reserve_cart(
    (SELECT array_agg('many ' || nr) FROM generate_series(1, 1234) AS nr),
    (SELECT array_agg(1) FROM generate_series(1, 1234) AS nr))$$);
SELECT setval('inv.inv_ledger_entry_id_seq', :last);
DROP INDEX inv.inv_ledger_pkey;
ALTER TABLE inv.inv_ledger ADD CONSTRAINT inv_ledger_pkey PRIMARY KEY (epoch, xid, entry_id);
CALL use_all();
SELECT * FROM inv.inv_check();

--
-- The whole extension
--
ALTER SCHEMA inv RENAME TO moved;
SELECT status FROM moved.inv_reserve('A', key => 'moved');
ALTER SCHEMA moved RENAME TO inv;
SELECT status, replayed FROM inv.inv_reserve('A', key => 'moved');
DROP EXTENSION inventory_reservation;
SET client_min_messages = error;
SET xmloption = content;
CREATE EXTENSION inventory_reservation WITH SCHEMA inv;
RESET xmloption;
RESET client_min_messages;
SELECT inv.inv_add_item('A', unit_price => 10) IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 10) IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{10,10}');
CALL use_all();
BEGIN;
DROP EXTENSION inventory_reservation;
SELECT outcome('CALL use_all()');
ROLLBACK;
CALL use_all();
DISCARD ALL;
CALL use_all();
SELECT sku, on_hand, reserved FROM inv.inv_availability ORDER BY sku;
SELECT * FROM inv.inv_check();

DROP PROCEDURE public.use_all;
DROP TABLE public.fired;
DROP FUNCTION public.found_by_index, public.note, public.read_ledger, public.call_again;
