-- Settings: what a session may choose, and what it may not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A') IS NOT NULL AS added,
       inv.inv_add_item('QUICK', hold_ttl => '1 minute') IS NOT NULL AS added,
       inv.inv_add_item('FOREVER', hold_ttl => '10 years') IS NOT NULL AS added;
SELECT count(*) FROM inv.inv_load_stock('{A,QUICK,FOREVER}', '{1000,1000,1000}');

-- how long a new hold lives, in whole seconds
CREATE FUNCTION public.lives(sku text, ttl interval DEFAULT NULL) RETURNS interval
LANGUAGE plpgsql AS $$
DECLARE
    hold inv.inv_hold := inv.inv_reserve(sku, ttl => ttl);
BEGIN
    RETURN (SELECT date_trunc('second', expires_at - created_at + interval '0.5 second')
              FROM inv.inv_reservation WHERE reservation_id = hold.reservation_id);
END
$$;

SELECT name, setting, unit, context, min_val, max_val, boot_val
  FROM pg_settings WHERE name LIKE 'inventory\_reservation.%' ORDER BY name;
-- every one of them says what it is for
SELECT name FROM pg_settings
 WHERE name LIKE 'inventory\_reservation.%' AND coalesce(short_desc, '') = '';

-- default_ttl is the session's own; the item's and the call's come before it
SELECT lives('A'), lives('QUICK');
SET inventory_reservation.default_ttl = '2min';
SELECT lives('A'), lives('QUICK'), lives('A', '42 seconds');
BEGIN;
SET LOCAL inventory_reservation.default_ttl = 7;
SELECT lives('A');
COMMIT;
SELECT lives('A');
SELECT reservation_id FROM inv.inv_reserve('A', ttl => '1 minute') \gset
SELECT date_trunc('minute', inv.inv_extend(:'reservation_id') - created_at) AS extended_to
  FROM inv.inv_reservation WHERE reservation_id = :'reservation_id';
-- max_ttl caps each of the three
SET inventory_reservation.default_ttl = '30d';
SELECT lives('A'), lives('FOREVER'), lives('A', '10 years');
RESET inventory_reservation.default_ttl;
SELECT lives('A');
-- (17 and later add units to the range that the message ends with)
SELECT split_part(outcome($$SET inventory_reservation.default_ttl = 0$$), ' (', 1) AS outcome;
SELECT split_part(outcome($$SET inventory_reservation.default_ttl = -1$$), ' (', 1) AS outcome;
SELECT outcome($$SET inventory_reservation.default_ttl = 'soon'$$);

-- the shop's limits are not the session's
SELECT outcome($$SET inventory_reservation.max_ttl = '30d'$$);
SELECT outcome($$SET inventory_reservation.idempotency_retention = 1$$);
SELECT outcome($$SET inventory_reservation.expire_batch_size = 1$$);
SELECT outcome($$SELECT set_config('inventory_reservation.max_ttl', '30d', true)$$);
CREATE ROLE regress_inv_buyer LOGIN;
SELECT outcome($$ALTER ROLE regress_inv_buyer SET inventory_reservation.max_ttl = '30d'$$);
SELECT inv.inv_grant('regress_inv_buyer', 'buyer');
SET ROLE regress_inv_buyer;
SELECT outcome($$SET inventory_reservation.max_ttl = '30d'$$);
SELECT outcome($$ALTER ROLE regress_inv_buyer SET inventory_reservation.max_ttl = '30d'$$);
RESET ROLE;

-- a misspelt one is refused
SELECT outcome($$SET inventory_reservation.defualt_ttl = 1$$);
SELECT outcome($$SELECT current_setting('inventory_reservation.defualt_ttl')$$);

--
-- Nor when they are set before the session has loaded the library.  Whether
-- that is refused at once (shared_preload_libraries) or undone by the first
-- call, with a warning, the limit stands.
--
SET client_min_messages = error;
\c -
SET client_min_messages = error;
DO $$
DECLARE
    setting text;
BEGIN
    FOREACH setting IN ARRAY '{max_ttl,idempotency_retention,expire_batch_size,defualt_ttl}'::text[] LOOP
        BEGIN
            PERFORM set_config('inventory_reservation.' || setting, '2592000', false);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    PERFORM set_config('inventory_reservation.default_ttl', '600', false);
END
$$;
SELECT lives('A'), lives('A', '10 years');
SHOW inventory_reservation.max_ttl;
SHOW inventory_reservation.idempotency_retention;
SHOW inventory_reservation.expire_batch_size;
SELECT current_setting('inventory_reservation.defualt_ttl', true) AS misspelt;

-- what a connection brings along
\set superuser :USER
\set connection 'dbname=' :DBNAME ' user=' :superuser ' options=''-c client_min_messages=error -c inventory_reservation.default_ttl=600'''
\c :connection
SET SESSION AUTHORIZATION regress_inv_buyer;
SELECT status FROM inv.inv_reserve('A', reference => 'ten minutes');
SELECT status FROM inv.inv_reserve('A', ttl => '10 years', reference => 'as long as possible');
SHOW inventory_reservation.max_ttl;
SHOW inventory_reservation.default_ttl;
\set connection 'dbname=' :DBNAME ' user=' :superuser
\c :connection
SELECT reference, date_trunc('second', expires_at - created_at + interval '0.5 second') AS lives
  FROM inv.inv_reservation_lines WHERE reference IS NOT NULL ORDER BY created_at;

DROP FUNCTION public.lives;
DROP OWNED BY regress_inv_buyer;
DROP ROLE regress_inv_buyer;
SELECT * FROM inv.inv_check();
