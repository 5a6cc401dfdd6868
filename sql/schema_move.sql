-- The schema moves, goes and comes back under a session that has everything cached.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A', unit_price => 10) IS NOT NULL AS added,
       inv.inv_receive('A', 10) IS NOT NULL AS received;
-- the shop's own functions, bound when they are created, and prepared statements
CREATE FUNCTION public.hold_one() RETURNS bigint LANGUAGE sql
BEGIN ATOMIC
    SELECT available FROM inv.inv_reserve('A');
END;
CREATE VIEW public.shown AS SELECT sku, available FROM inv.inv_availability;
SELECT hold_one();
TABLE shown;
PREPARE hold AS SELECT status, available FROM inv.inv_reserve('A');
PREPARE look AS SELECT available FROM inv.inv_availability;
PREPARE check_books AS SELECT count(*) FROM inv.inv_check();
EXECUTE hold; EXECUTE look; EXECUTE check_books;
SELECT reservation_id AS one FROM inv.inv_reserve('A', key => 'before') \gset
-- what goes through SQL rather than straight to the tables
SELECT status FROM inv.inv_reservation_status(:'one');
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{10,10}');
SELECT inv.inv_expire();
SELECT inv.inv_purge('1 day');

--
-- Renamed, and a schema of the old name with tables of the old names put there
--
ALTER SCHEMA inv RENAME TO "Inventory, moved";
CREATE SCHEMA inv;
CREATE FUNCTION inv.caught() RETURNS boolean LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'caught as %', current_user; END$$;
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class
                 WHERE relnamespace = '"Inventory, moved"'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('CREATE TABLE inv.%I (LIKE "Inventory, moved".%I INCLUDING ALL)', name, name);
        EXECUTE format('CREATE TRIGGER caught BEFORE INSERT ON inv.%I EXECUTE FUNCTION suppress_redundant_updates_trigger()', name);
    END LOOP;
END
$$;
SELECT hold_one();
SELECT * FROM shown ORDER BY sku;
SELECT reservation_id = :'one' AS same, replayed
  FROM "Inventory, moved".inv_reserve('A', key => 'before');
SELECT status FROM "Inventory, moved".inv_reservation_status(:'one');
SELECT status, available FROM "Inventory, moved".inv_reserve_cart('{A,B}', '{1,1}');
SELECT order_id FROM "Inventory, moved".inv_confirm(:'one') \gset
SELECT status FROM "Inventory, moved".inv_order_status(:'order_id');
SELECT status FROM "Inventory, moved".inv_return(:'order_id', 'A', 1);
SELECT status FROM "Inventory, moved".inv_complete_order(:'order_id');
SELECT on_hand FROM "Inventory, moved".inv_receive('B', 1);
SELECT on_hand FROM "Inventory, moved".inv_adjust('B', 1);
SELECT on_hand FROM "Inventory, moved".inv_set_stock('B', 11, on_shelf => true);
SELECT sku, on_hand, created FROM "Inventory, moved".inv_load_stock('{B,C}', '{12,3}');
SELECT "Inventory, moved".inv_available('C');
SELECT "Inventory, moved".inv_add_location('store') > 0 AS added;
SELECT "Inventory, moved".inv_rename_item('C', 'D') IS NOT NULL AS renamed;
SELECT "Inventory, moved".inv_set_item('D', 'D') IS NOT NULL AS changed;
SELECT "Inventory, moved".inv_expire();
SELECT "Inventory, moved".inv_purge('1 day');
CALL "Inventory, moved".inv_maintain();
SELECT sku, location, on_hand, reserved, available FROM "Inventory, moved".inv_availability ORDER BY sku;
SELECT units FROM "Inventory, moved".inv_active_holds ORDER BY created_at;
SELECT count(*) FROM "Inventory, moved".inv_reservation_lines;
-- nothing of it went astray
SELECT relname
  FROM pg_class
 WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
   AND (xpath('/row/count/text()', query_to_xml(format('SELECT count(*) FROM inv.%I', relname), false, true, '')))[1]::text <> '0';
SELECT count(*) FROM "Inventory, moved".inv_check();

-- back again
SET client_min_messages = error;
DROP SCHEMA inv CASCADE;
RESET client_min_messages;
ALTER SCHEMA "Inventory, moved" RENAME TO inv;
EXECUTE hold; EXECUTE look; EXECUTE check_books;
SELECT reservation_id = :'one' AS same, status, replayed FROM inv.inv_reserve('A', key => 'before');

--
-- Gone and made anew in the same session, with other OIDs
--
DROP FUNCTION public.hold_one;
DROP VIEW public.shown;
-- (as in a restore, so that no job is made)
SET xmloption = content;
DROP EXTENSION inventory_reservation;
SELECT outcome('EXECUTE hold');
CREATE EXTENSION inventory_reservation WITH SCHEMA inv;
SELECT inv.inv_add_item('A') IS NOT NULL AS added, inv.inv_receive('A', 3) IS NOT NULL AS received;
SELECT status, available FROM inv.inv_reserve('A');
EXECUTE hold; EXECUTE look; EXECUTE check_books;
SELECT count(*) FROM inv.inv_load_stock('{A,B}', '{10,10}');
SELECT inv.inv_expire();
SELECT count(*) FROM inv.inv_check();

-- in another schema
DROP EXTENSION inventory_reservation;
CREATE SCHEMA regress_inv_other;
CREATE EXTENSION inventory_reservation WITH SCHEMA regress_inv_other;
SELECT regress_inv_other.inv_add_item('A') IS NOT NULL AS added,
       regress_inv_other.inv_receive('A', 3) IS NOT NULL AS received;
SELECT status, available FROM regress_inv_other.inv_reserve('A');
SELECT reservation_id IS NOT NULL AS held
  FROM regress_inv_other.inv_reserve_cart('{A}', '{1}', 'k');
SELECT count(*) FROM regress_inv_other.inv_load_stock('{A,B}', '{10,10}');
SELECT sku, on_hand, reserved FROM regress_inv_other.inv_availability ORDER BY sku;
SELECT regress_inv_other.inv_expire();
SELECT count(*) FROM regress_inv_other.inv_check();
-- it does not move by itself
SELECT outcome('ALTER EXTENSION inventory_reservation SET SCHEMA inv');
-- dropped and made in one transaction, then rolled back
BEGIN;
DROP EXTENSION inventory_reservation;
CREATE EXTENSION inventory_reservation WITH SCHEMA inv;
SELECT inv.inv_add_item('A') IS NOT NULL AS added, inv.inv_receive('A', 7) IS NOT NULL AS received;
SELECT available FROM inv.inv_reserve('A');
ROLLBACK;
SELECT available FROM regress_inv_other.inv_reserve('A');
SELECT count(*) FROM regress_inv_other.inv_check();
-- rolled back to a savepoint
BEGIN;
SAVEPOINT before;
DROP EXTENSION inventory_reservation;
SELECT outcome($$SELECT regress_inv_other.inv_reserve('A')$$);
ROLLBACK TO before;
SELECT available FROM regress_inv_other.inv_reserve('A');
COMMIT;

-- a function that outlived its extension says so
DROP EXTENSION inventory_reservation;
CREATE FUNCTION public.left_over(text, text DEFAULT NULL) RETURNS bigint
    LANGUAGE c AS '$libdir/inventory_reservation', 'inv_available';
SELECT outcome($$SELECT public.left_over('A')$$);
DROP FUNCTION public.left_over;

DROP SCHEMA regress_inv_other;
CREATE EXTENSION inventory_reservation WITH SCHEMA inv;
SELECT inv.inv_add_item('A') IS NOT NULL AS added, inv.inv_receive('A', 3) IS NOT NULL AS received;
EXECUTE hold; EXECUTE look; EXECUTE check_books;
SELECT * FROM inv.inv_check();
