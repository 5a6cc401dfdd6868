-- What a shop adds to the tables: triggers, checks, indexes, columns.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10, currency => 'EUR') IS NOT NULL AS added,
       inv.inv_add_item('B', unit_price => 1, currency => 'EUR') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{10,10}');

--
-- Row triggers: each kind, on the columns that are really changed
--
CREATE TABLE public.fired (nr bigint GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.fired (what)
    VALUES (format('%s: %s %s %s', TG_NAME, TG_WHEN, TG_OP,
            CASE TG_OP
                WHEN 'INSERT' THEN format('%s', CASE TG_TABLE_NAME WHEN 'inv_stock' THEN to_jsonb(NEW) ->> 'on_hand' ELSE to_jsonb(NEW) ->> 'quantity' END)
                WHEN 'UPDATE' THEN (
                    SELECT string_agg(format('%s %s->%s', before.key, before.value, after.value), ', ' ORDER BY before.key)
                      FROM jsonb_each_text(to_jsonb(OLD)) AS before
                      JOIN jsonb_each_text(to_jsonb(NEW)) AS after USING (key)
                     WHERE before.value IS DISTINCT FROM after.value
                       AND key NOT IN ('updated_at', 'earliest_expiry', 'expires_at', 'closed_at'))
            END));
    RETURN NEW;
END
$$;
CREATE TRIGGER stock_before BEFORE INSERT OR UPDATE ON inv.inv_stock
    FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER stock_after AFTER INSERT OR UPDATE ON inv.inv_stock
    FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER stock_on_hand AFTER UPDATE OF on_hand ON inv.inv_stock
    FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER stock_low AFTER UPDATE ON inv.inv_stock
    FOR EACH ROW WHEN (NEW.on_hand - NEW.reserved < 5 AND OLD.on_hand - OLD.reserved >= 5)
    EXECUTE FUNCTION public.note();
CREATE TRIGGER hold_before BEFORE INSERT OR UPDATE ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER hold_after AFTER INSERT OR UPDATE ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER hold_status AFTER UPDATE OF status ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.note();
CREATE TRIGGER hold_sold AFTER UPDATE ON inv.inv_reservation
    FOR EACH ROW WHEN (NEW.status = 'confirmed') EXECUTE FUNCTION public.note();
CREATE VIEW public.firing AS
SELECT what FROM public.fired ORDER BY nr;

SELECT reservation_id AS hold FROM inv.inv_reserve('A', 4) \gset
TABLE public.firing; TRUNCATE public.fired;
SELECT status FROM inv.inv_release(:'hold', 'A', 1);
TABLE public.firing; TRUNCATE public.fired;
SELECT inv.inv_extend(:'hold', '1 hour') IS NOT NULL AS extended;
TABLE public.firing; TRUNCATE public.fired;
SELECT order_id FROM inv.inv_confirm(:'hold') \gset
TABLE public.firing; TRUNCATE public.fired;
SELECT status FROM inv.inv_return(:'order_id', 'A', 1);
TABLE public.firing; TRUNCATE public.fired;
SELECT reservation_id AS cart FROM inv.inv_reserve_cart('{A,B}', '{1,2}') \gset
TABLE public.firing; TRUNCATE public.fired;
SELECT status FROM inv.inv_cancel(:'cart');
TABLE public.firing; TRUNCATE public.fired;
SELECT dead_hold('A', 8) IS NOT NULL AS died;
TRUNCATE public.fired;
SELECT status FROM inv.inv_reserve('A', 1);
TABLE public.firing; TRUNCATE public.fired;
SELECT on_hand FROM inv.inv_receive('A', 1);
SELECT on_hand FROM inv.inv_set_stock('A', 8);
SELECT on_hand, created FROM inv.inv_load_stock('{C}', '{3}');
TABLE public.firing; TRUNCATE public.fired;
-- what is refused fires nothing that lasts
SELECT outcome($$SELECT inv.inv_reserve('A', 100)$$);
SELECT reservation_id IS NULL AS none FROM inv.inv_try_reserve('A', 100);
TABLE public.firing;
DROP TRIGGER stock_before ON inv.inv_stock;
DROP TRIGGER stock_after ON inv.inv_stock;
DROP TRIGGER stock_on_hand ON inv.inv_stock;
DROP TRIGGER stock_low ON inv.inv_stock;
DROP TRIGGER hold_before ON inv.inv_reservation;
DROP TRIGGER hold_after ON inv.inv_reservation;
DROP TRIGGER hold_status ON inv.inv_reservation;
DROP TRIGGER hold_sold ON inv.inv_reservation;
SELECT * FROM inv.inv_check();

-- a trigger that refuses: all of the call is undone
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'not on a Sunday' USING ERRCODE = 'U0001';
END
$$;
CREATE TRIGGER refuse AFTER INSERT ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.refuse();
SELECT reserved FROM inv.inv_availability WHERE sku = 'A';
SELECT outcome($$SELECT inv.inv_reserve('A', 1, 'sunday')$$);
SELECT reserved FROM inv.inv_availability WHERE sku = 'A';
SELECT count(*) FROM inv.inv_idempotency WHERE key = 'sunday';
DROP TRIGGER refuse ON inv.inv_reservation;
SELECT status, replayed FROM inv.inv_reserve('A', 1, 'sunday');

-- a BEFORE trigger that changes what the row says is obeyed
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.metadata := coalesce(NEW.metadata, '{}') || '{"stamped": true}';
    RETURN NEW;
END
$$;
CREATE TRIGGER stamp BEFORE INSERT ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.stamp();
SELECT reservation_id AS hold FROM inv.inv_reserve('A', metadata => '{"a": 1}') \gset
SELECT metadata FROM inv.inv_reservation_status(:'hold');
DROP TRIGGER stamp ON inv.inv_reservation;

-- one that swallows the row must not make stock leak or appear: what is not
-- written is not answered as if it were
CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RETURN NULL; END$$;
BEGIN;
CREATE TRIGGER swallow BEFORE INSERT ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT outcome($$SELECT inv.inv_reserve('B', 1)$$);
ROLLBACK;
BEGIN;
CREATE TRIGGER swallow BEFORE UPDATE ON inv.inv_stock
    FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT outcome($$SELECT inv.inv_reserve('B', 1)$$);
SELECT outcome(format('SELECT inv.inv_cancel(%L)', :'hold'));
ROLLBACK;
BEGIN;
CREATE TRIGGER swallow BEFORE UPDATE ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT outcome(format('SELECT inv.inv_cancel(%L)', :'hold'));
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'hold'));
ROLLBACK;
BEGIN;
CREATE TRIGGER swallow BEFORE INSERT ON inv.inv_ledger
    FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT outcome($$SELECT inv.inv_reserve('B', 1)$$);
ROLLBACK;
BEGIN;
CREATE TRIGGER swallow BEFORE INSERT ON inv.inv_idempotency
    FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT outcome($$SELECT inv.inv_reserve('B', 1, 'swallowed')$$);
ROLLBACK;
BEGIN;
CREATE TRIGGER swallow BEFORE INSERT ON inv.inv_order
    FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'hold'));
ROLLBACK;
SELECT * FROM inv.inv_check();

-- one that calls us again from within
CREATE FUNCTION public.reorder() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM inv.inv_receive('A', 5, reason => 'reordered');
    RETURN NULL;
END
$$;
CREATE TRIGGER reorder AFTER UPDATE ON inv.inv_stock FOR EACH ROW
    WHEN (NEW.on_hand - NEW.reserved = 0 AND OLD.on_hand - OLD.reserved > 0)
    EXECUTE FUNCTION public.reorder();
SELECT inv.inv_available('A') AS left \gset
SELECT status FROM inv.inv_reserve('A', :left);
SELECT inv.inv_available('A');
DROP TRIGGER reorder ON inv.inv_stock;
SELECT * FROM inv.inv_check();

-- but not from before the row is written, on that very row
CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM inv.inv_receive('A', 1, reason => 'meddled');
    RETURN NEW;
END
$$;
CREATE TRIGGER meddle BEFORE INSERT ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.meddle();
SELECT outcome($$SELECT inv.inv_reserve('A')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{B,A}', '{1,1}')$$);
DROP TRIGGER meddle ON inv.inv_reservation;
CREATE TRIGGER meddle BEFORE INSERT ON inv.inv_ledger
    FOR EACH ROW WHEN (NEW.reason IS DISTINCT FROM 'meddled') EXECUTE FUNCTION public.meddle();
SELECT outcome($$SELECT inv.inv_reserve('A')$$);
SELECT outcome(format('SELECT inv.inv_cancel(%L)', :'hold'));
DROP TRIGGER meddle ON inv.inv_ledger;
CREATE TRIGGER meddle BEFORE UPDATE ON inv.inv_reservation
    FOR EACH ROW EXECUTE FUNCTION public.meddle();
SELECT outcome(format('SELECT inv.inv_cancel(%L)', :'hold'));
SELECT outcome(format('SELECT inv.inv_confirm(%L)', :'hold'));
DROP TRIGGER meddle ON inv.inv_reservation;
CREATE TRIGGER meddle BEFORE INSERT ON inv.inv_idempotency
    FOR EACH ROW EXECUTE FUNCTION public.meddle();
SELECT outcome($$SELECT inv.inv_reserve('A', key => 'meddled with')$$);
DROP TRIGGER meddle ON inv.inv_idempotency;
CREATE FUNCTION public.meddle_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inv.inv_stock SET updated_at = now() WHERE item_id = NEW.item_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER meddle BEFORE UPDATE ON inv.inv_stock
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION public.meddle_again();
SELECT outcome($$SELECT inv.inv_reserve('A')$$);
SELECT outcome($$SELECT inv.inv_receive('A', 1)$$);
DROP TRIGGER meddle ON inv.inv_stock;
SELECT * FROM inv.inv_check();

--
-- Checks
--
ALTER TABLE inv.inv_reservation ADD CONSTRAINT at_most_three CHECK (quantity <= 3) NOT VALID;
SELECT outcome($$SELECT inv.inv_reserve('A', 4, 'checked')$$);
SELECT outcome($$SELECT inv.inv_reserve_cart('{B,A}', '{1,4}', 'checked')$$);
SELECT count(*) FROM inv.inv_idempotency WHERE key = 'checked';
SELECT status FROM inv.inv_reserve('A', 3, 'checked');
ALTER TABLE inv.inv_reservation DROP CONSTRAINT at_most_three;
ALTER TABLE inv.inv_stock ADD CONSTRAINT shelf CHECK (on_hand <= 30);
SELECT outcome($$SELECT inv.inv_receive('A', 30)$$);
SELECT outcome($$SELECT inv.inv_load_stock('{B,A}', '{1,31}')$$);
ALTER TABLE inv.inv_stock DROP CONSTRAINT shelf;
SELECT * FROM inv.inv_check();

-- columns with defaults, generated columns, indexes, unique ones too
ALTER TABLE inv.inv_reservation ADD COLUMN channel text NOT NULL DEFAULT 'web';
ALTER TABLE inv.inv_reservation ADD COLUMN worth numeric GENERATED ALWAYS AS (quantity * unit_price) STORED;
CREATE INDEX by_reference ON inv.inv_reservation (lower(reference));
CREATE UNIQUE INDEX one_hold_a_reference ON inv.inv_reservation (reference) WHERE status = 'active';
SELECT reservation_id AS hold FROM inv.inv_reserve('B', 2, reference => 'Web-1') \gset
SELECT channel, worth FROM inv.inv_reservation WHERE reservation_id = :'hold';
SELECT outcome($$SELECT inv.inv_reserve('B', 2, reference => 'Web-1')$$);
SELECT status FROM inv.inv_release(:'hold', 'B', 1);
SELECT channel, worth FROM inv.inv_reservation WHERE reservation_id = :'hold';
SET enable_seqscan = off;
SELECT quantity FROM inv.inv_reservation WHERE lower(reference) = 'web-1';
RESET enable_seqscan;
SELECT status FROM inv.inv_cancel(:'hold');
SELECT status FROM inv.inv_reserve('B', 2, reference => 'Web-1');
ALTER TABLE inv.inv_reservation DROP COLUMN channel, DROP COLUMN worth;
SELECT status FROM inv.inv_reserve('B', 2, reference => 'Web-2');
DROP INDEX inv.by_reference, inv.one_hold_a_reference;

-- nor is what they call looked up by the caller's search_path, whichever of
-- them there is
CREATE FUNCTION public.path_seen() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN current_setting('search_path');
END
$$;
CREATE FUNCTION public.pinned(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF public.path_seen() <> 'pg_catalog, inv, pg_temp' THEN
        RAISE EXCEPTION 'search_path is %', public.path_seen();
    END IF;
    RETURN true;
END
$$;
SET search_path = pg_temp, public;
ALTER TABLE inv.inv_reservation ADD COLUMN path text DEFAULT public.path_seen();
SELECT reservation_id AS hold FROM inv.inv_reserve('B') \gset
SELECT path FROM inv.inv_reservation WHERE reservation_id = :'hold';
ALTER TABLE inv.inv_reservation DROP COLUMN path;
ALTER TABLE inv.inv_ledger ADD CONSTRAINT pinned CHECK (public.pinned(operation)) NOT VALID;
SELECT outcome($$SELECT inv.inv_reserve('B')$$);
ALTER TABLE inv.inv_ledger DROP CONSTRAINT pinned;
CREATE INDEX pinned ON inv.inv_idempotency (public.pinned(key)) WHERE key = 'an index';
SELECT outcome($$SELECT inv.inv_reserve('B', key => 'an index')$$);
DROP INDEX inv.pinned;
RESET search_path;
DROP FUNCTION public.pinned, public.path_seen;

-- foreign keys of the shop's own tables
CREATE TABLE public.shipment (order_id uuid PRIMARY KEY REFERENCES inv.inv_order);
SELECT order_id FROM inv.inv_confirm((inv.inv_reserve('B')).reservation_id) \gset
INSERT INTO public.shipment VALUES (:'order_id');
SELECT status FROM inv.inv_complete_order(:'order_id');
SELECT outcome(format('DELETE FROM inv.inv_order WHERE order_id = %L', :'order_id'));

--
-- Hand-written changes: the tables themselves refuse to oversell
--
SELECT outcome($$UPDATE inv.inv_stock SET reserved = on_hand + 1$$);
SELECT outcome($$UPDATE inv.inv_stock SET on_hand = 0$$);
SELECT outcome($$UPDATE inv.inv_stock SET reserved = -1$$);
SELECT outcome($$UPDATE inv.inv_stock SET on_hand = 9007199254740993$$);
SELECT outcome($$UPDATE inv.inv_reservation SET quantity = -1$$);
SELECT outcome($$UPDATE inv.inv_reservation SET returned = quantity + 1$$);
SELECT outcome($$UPDATE inv.inv_reservation SET status = 'lost'$$);
SELECT outcome($$UPDATE inv.inv_order SET status = 'lost'$$);
SELECT outcome($$UPDATE inv.inv_order SET payment_status = 'lost'$$);
SELECT outcome($$UPDATE inv.inv_item SET unit_price = -1$$);
SELECT outcome($$UPDATE inv.inv_item SET unit_price = 'NaN'$$);
SELECT outcome($$UPDATE inv.inv_item SET currency = 'euro'$$);
SELECT outcome($$UPDATE inv.inv_location SET code = 'other' WHERE location_id = 0$$);
SELECT outcome($$INSERT INTO inv.inv_location (code) VALUES ('default')$$);
-- and inv_check() finds what they do not refuse
BEGIN;
UPDATE inv.inv_stock SET on_hand = on_hand + 1 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'A');
SELECT violation, sku, location, stripe, found::bigint - expected::bigint AS too_many FROM inv.inv_check();
ROLLBACK;
BEGIN;
UPDATE inv.inv_stock SET reserved = reserved - 1 WHERE item_id = (SELECT item_id FROM inv.inv_item WHERE sku = 'A');
SELECT violation, sku, location, stripe, found::bigint - expected::bigint AS too_many FROM inv.inv_check() ORDER BY violation;
ROLLBACK;
BEGIN;
DELETE FROM public.shipment;
DELETE FROM inv.inv_order WHERE order_id = :'order_id';
SELECT violation, found, expected FROM inv.inv_check() ORDER BY violation;
ROLLBACK;
BEGIN;
DELETE FROM inv.inv_item WHERE sku = 'C';
SELECT violation, sku, location FROM inv.inv_check() ORDER BY violation;
ROLLBACK;
BEGIN;
UPDATE inv.inv_reservation SET status = 'cancelled' WHERE reservation_id = (SELECT reservation_id FROM inv.inv_order WHERE order_id = :'order_id');
SELECT violation, found, expected FROM inv.inv_check() ORDER BY violation;
ROLLBACK;

-- a rule that makes something else of a statement is refused
CREATE RULE elsewhere AS ON UPDATE TO inv.inv_item DO INSTEAD DELETE FROM inv.inv_item WHERE false;
SELECT outcome($$SELECT inv.inv_rename_item('A', 'renamed')$$);
DROP RULE elsewhere ON inv.inv_item;

DROP VIEW public.firing;
DROP TABLE public.shipment, public.fired;
DROP FUNCTION public.note, public.refuse, public.stamp, public.swallow, public.reorder,
    public.meddle, public.meddle_again;
SELECT * FROM inv.inv_check();
