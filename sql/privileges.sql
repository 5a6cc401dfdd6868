-- EXECUTE is the privilege: who may call what, and what nobody gains by it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

CREATE ROLE regress_inv_nobody;
CREATE ROLE regress_inv_buyer;
CREATE ROLE regress_inv_operator;
CREATE ROLE regress_inv_auditor;
CREATE ROLE regress_inv_owner;
SELECT inv.inv_add_item('A', unit_price => 10) IS NOT NULL AS added,
       inv.inv_receive('A', 1000) IS NOT NULL AS received;

CREATE VIEW public.routines AS
SELECT proc.oid, proc.proname AS name,
       CASE proc.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END
       || proc.oid::regproc || '('
       || (SELECT coalesce(string_agg(CASE format_type(type, NULL)
                                          WHEN 'text' THEN $$'A'::text$$
                                          WHEN 'uuid' THEN 'gen_random_uuid()'
                                          ELSE 'NULL::' || format_type(type, NULL)
                                      END, ', '), '')
             FROM unnest(proc.proargtypes::oid[]) AS type)
       || ')' AS call
  FROM pg_depend AS depend
  JOIN pg_proc AS proc ON proc.oid = depend.objid
 WHERE depend.classid = 'pg_proc'::regclass
   AND depend.refclassid = 'pg_extension'::regclass
   AND depend.refobjid = (SELECT oid FROM pg_extension
                           WHERE extname = 'inventory_reservation')
   AND depend.deptype = 'e';
GRANT SELECT ON public.routines TO PUBLIC;

--
-- Nobody may by default, not even look
--
GRANT USAGE ON SCHEMA inv TO regress_inv_nobody;
SET ROLE regress_inv_nobody;
SELECT count(*) > 30 AS all_of_them,
       count(*) FILTER (WHERE brief_outcome(call) LIKE '42501: permission denied for %') = count(*) AS all_refused
  FROM public.routines;
SELECT class.relname, outcome
  FROM pg_class AS class, LATERAL outcome(format('SELECT FROM %s', class.oid::regclass)) AS outcome
 WHERE relnamespace = 'inv'::regnamespace AND relkind IN ('r', 'v', 'S')
   AND outcome NOT LIKE '42501: permission denied for %';
SELECT outcome($$CREATE TRIGGER mine BEFORE INSERT ON inv.inv_stock EXECUTE FUNCTION suppress_redundant_updates_trigger()$$);
RESET ROLE;
REVOKE USAGE ON SCHEMA inv FROM regress_inv_nobody;
SET ROLE regress_inv_nobody;
SELECT outcome($$SELECT inv.inv_available('A')$$);
RESET ROLE;

--
-- Profiles
--
SELECT inv.inv_grant('regress_inv_buyer', 'buyer');
SELECT inv.inv_grant('regress_inv_operator', 'operator');
SELECT inv.inv_grant('regress_inv_auditor', 'auditor');
-- granting again changes nothing
SELECT inv.inv_grant('regress_inv_buyer', 'buyer');
SELECT name,
       has_function_privilege('regress_inv_buyer', oid, 'EXECUTE') AS buyer,
       has_function_privilege('regress_inv_operator', oid, 'EXECUTE') AS operator,
       has_function_privilege('regress_inv_auditor', oid, 'EXECUTE') AS auditor,
       has_function_privilege('regress_inv_nobody', oid, 'EXECUTE') AS nobody
  FROM public.routines ORDER BY name;
SELECT relname, role, privilege
  FROM pg_class,
       unnest('{regress_inv_buyer,regress_inv_operator,regress_inv_auditor}'::text[])
           WITH ORDINALITY AS roles (role, role_nr),
       unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[])
           WITH ORDINALITY AS privileges (privilege, privilege_nr)
 WHERE relnamespace = 'inv'::regnamespace AND relkind IN ('r', 'v')
   AND has_table_privilege(role, pg_class.oid, privilege)
 ORDER BY role_nr, relname, privilege_nr;
SELECT role, relname
  FROM pg_class,
       unnest('{regress_inv_buyer,regress_inv_operator,regress_inv_auditor}'::text[]) AS role
 WHERE relnamespace = 'inv'::regnamespace AND relkind = 'S'
   AND has_sequence_privilege(role, pg_class.oid, 'USAGE, UPDATE');
SELECT role, privilege, has_schema_privilege(role, 'inv', privilege)
  FROM unnest('{regress_inv_buyer,regress_inv_operator,regress_inv_auditor}'::text[]) AS role,
       unnest('{USAGE,CREATE}'::text[]) AS privilege;
-- nobody can pass on what he was given
SELECT role, name
  FROM public.routines,
       unnest('{regress_inv_buyer,regress_inv_operator,regress_inv_auditor}'::text[]) AS role
 WHERE has_function_privilege(role, oid, 'EXECUTE WITH GRANT OPTION');
-- only who may give it away can give it away
SET ROLE regress_inv_operator;
SELECT outcome($$SELECT inv.inv_grant('regress_inv_nobody', 'buyer')$$);
RESET ROLE;
SELECT count(*) FROM public.routines WHERE has_function_privilege('regress_inv_nobody', oid, 'EXECUTE');

--
-- A buyer buys, without a right on any table
--
SET ROLE regress_inv_buyer;
SELECT reservation_id AS hold, status, available FROM inv.inv_reserve('A', 2, 'buyer', 'ann') \gset
SELECT :'status' AS status, :'available' AS available;
SELECT status FROM inv.inv_try_reserve('A', 2);
SELECT status FROM inv.inv_reserve_cart('{A}', '{2}');
SELECT status FROM inv.inv_try_reserve_cart('{A}', '{2}');
SELECT status FROM inv.inv_reserve_lines('[{"sku": "A", "quantity": 2}]');
SELECT status, error FROM inv.inv_reserve_batch('{A,NOSUCH}', '{2,1}', '{batch,NULL}', '{ann,bob}');
SELECT status FROM inv.inv_release(:'hold', 'A', 1);
SELECT inv.inv_extend(:'hold', '1 hour') > now() AS extended;
SELECT status FROM inv.inv_reservation_status(:'hold');
SELECT inv.inv_available('A');
SELECT order_id FROM inv.inv_confirm(:'hold') \gset
SELECT status FROM inv.inv_order_status(:'order_id');
SELECT status FROM inv.inv_cancel((inv.inv_reserve('A')).reservation_id);
SELECT outcome($$SELECT * FROM inv.inv_stock$$);
SELECT outcome($$SELECT * FROM inv.inv_reservation$$);
SELECT outcome($$UPDATE inv.inv_stock SET on_hand = 1000000$$);
SELECT outcome($$DELETE FROM inv.inv_idempotency$$);
SELECT outcome($$SELECT nextval('inv.inv_ledger_entry_id_seq')$$);
SELECT outcome($$SELECT inv.inv_receive('A', 1)$$);
SELECT outcome(format('SELECT inv.inv_cancel_order(%L)', :'order_id'));
SELECT outcome($$SELECT inv.inv_check()$$);
SELECT outcome($$SELECT inv.inv_grant('regress_inv_buyer', 'operator')$$);
RESET ROLE;
-- the ledger knows who logged in and who called
SELECT DISTINCT login_role = session_user AS logged_in, caller_role
  FROM inv.inv_ledger WHERE operation <> 'receive';

-- an operator runs the shop
SET ROLE regress_inv_operator;
SELECT inv.inv_add_item('OP') IS NOT NULL AS added, inv.inv_add_location('shelf') > 0 AS added;
SELECT on_hand FROM inv.inv_receive('OP', 5);
SELECT on_hand FROM inv.inv_adjust('OP', -1);
SELECT on_hand FROM inv.inv_set_stock('OP', 7, force => true);
SELECT count(*) FROM inv.inv_load_stock('{OP,OP2}', '{8,9}');
SELECT inv.inv_rename_item('OP2', 'OP3') IS NOT NULL AS renamed, inv.inv_set_item('OP3', 'x') IS NOT NULL AS changed;
SELECT payment_status FROM inv.inv_record_payment(:'order_id', 'paid');
SELECT status FROM inv.inv_return(:'order_id', 'A', 1);
SELECT status FROM inv.inv_cancel_order(:'order_id');
SELECT inv.inv_expire();
SELECT inv.inv_purge();
SELECT count(*) FROM inv.inv_reconcile(true);
CALL inv.inv_maintain();
SELECT count(*) FROM inv.inv_check();
SELECT status FROM inv.inv_reserve('OP');
SELECT outcome($$UPDATE inv.inv_stock SET on_hand = 1000000$$);
RESET ROLE;

-- an auditor reads everything and changes nothing
SET ROLE regress_inv_auditor;
SELECT count(*) > 0 AS rows FROM inv.inv_ledger;
SELECT count(*) > 0 AS rows FROM inv.inv_availability;
SELECT count(*) > 0 AS rows FROM inv.inv_active_holds;
SELECT count(*) > 0 AS rows FROM inv.inv_reservation_lines;
SELECT count(*) FROM inv.inv_check();
SELECT inv.inv_available('OP');
SELECT status FROM inv.inv_order_status(:'order_id');
SELECT outcome($$SELECT inv.inv_reserve('A')$$);
SELECT outcome($$SELECT inv.inv_reserve_batch('{A}', '{1}')$$);
SELECT outcome($$SELECT inv.inv_expire()$$);
SELECT outcome($$DELETE FROM inv.inv_ledger$$);
RESET ROLE;

--
-- What a caller can put in the way changes nothing: tables, functions,
-- operators and types of the same names, in front of ours and PostgreSQL's
--
CREATE SCHEMA regress_inv_evil AUTHORIZATION regress_inv_buyer;
SET ROLE regress_inv_buyer;
CREATE FUNCTION regress_inv_evil.caught() RETURNS boolean LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'caught as %', current_user; END$$;
DO $$
DECLARE
    table_name text;
    type_name text;
    function_name text;
    op text;
BEGIN
    FOREACH table_name IN ARRAY '{inv_item,inv_location,inv_stock,inv_reservation,inv_idempotency,inv_order,inv_ledger,inv_availability,pg_class,pg_extension,pg_proc,pg_roles,job}'::text[] LOOP
        EXECUTE format('CREATE TABLE regress_inv_evil.%I (evil boolean DEFAULT regress_inv_evil.caught())', table_name);
        EXECUTE format('CREATE TEMP TABLE %I (evil boolean DEFAULT regress_inv_evil.caught())', table_name);
    END LOOP;
    FOREACH type_name IN ARRAY '{text,int8,int4,uuid,jsonb,numeric,timestamptz,interval}'::text[] LOOP
        FOREACH op IN ARRAY '{=,<>,<,<=,>,>=,+,-,*,||}'::text[] LOOP
            function_name := 'evil_' || md5(op || type_name);
            EXECUTE format('CREATE FUNCTION regress_inv_evil.%I(pg_catalog.%I, pg_catalog.%I) RETURNS boolean LANGUAGE sql AS ''SELECT regress_inv_evil.caught()''',
                           function_name, type_name, type_name);
            EXECUTE format('CREATE OPERATOR regress_inv_evil.%s (LEFTARG = pg_catalog.%I, RIGHTARG = pg_catalog.%I, FUNCTION = regress_inv_evil.%I)',
                           op, type_name, type_name, function_name);
        END LOOP;
    END LOOP;
    FOREACH function_name IN ARRAY ARRAY[
        'now()', 'clock_timestamp()', 'statement_timestamp()', 'count(int8)', 'sum(int8)',
        'min(text)', 'max(int8)', 'min(timestamptz)', 'nextval(regclass)', 'format(text)',
        'quote_ident(text)', 'array_agg(text)', 'jsonb_agg(jsonb)', 'jsonb_build_object(text)',
        'bool_and(bool)', 'generate_series(int8, int8)', 'unnest(text[])', 'current_setting(text)',
        'has_function_privilege(name, text, text)', 'inv_expire(int8)', 'inv_check()',
        'inv_events(text, int4)', 'inv_available(text, text)', 'inv_reserve(text, int8)'] LOOP
        EXECUTE format('CREATE FUNCTION regress_inv_evil.%s RETURNS boolean LANGUAGE sql AS ''SELECT regress_inv_evil.caught()''',
                       function_name);
    END LOOP;
END
$$;
SET search_path = pg_temp, regress_inv_evil, pg_catalog;
-- (the trap is set)
SELECT public.outcome('SELECT now()');
SELECT public.outcome('SELECT 1::int8 = 1::int8');
SELECT reservation_id AS hold FROM inv.inv_reserve('A', 2, 'evil', 'ann', '1 hour', 'default', 'r', '{"a": 1}') \gset
SELECT replayed FROM inv.inv_reserve('A', 2, 'evil', 'ann', '1 hour', 'default', 'r', '{"a": 1}');
SELECT status FROM inv.inv_try_reserve('A');
SELECT status FROM inv.inv_reserve_cart('{A,OP}', '{1,1}');
SELECT status FROM inv.inv_reserve_lines('[{"sku": "A", "quantity": 1}]');
SELECT status, replayed, error FROM inv.inv_reserve_batch('{A,OP,A,NOSUCH}', '{1,1,1,1}', '{evil 1,evil 2,evil 1,evil 3}');
SELECT inv.inv_available('OP');
SELECT status FROM inv.inv_release(:'hold', 'A', 1);
SELECT inv.inv_extend(:'hold', '2 hours') IS NOT NULL AS extended;
SELECT status, customer, reference, total, lines FROM inv.inv_reservation_status(:'hold');
SELECT order_id FROM inv.inv_confirm(:'hold') \gset
SELECT status, total, lines FROM inv.inv_order_status(:'order_id');
SELECT status FROM inv.inv_cancel((inv.inv_reserve('A')).reservation_id);
RESET ROLE;
-- the same path for those who may do more, a superuser among them
SELECT status FROM inv.inv_return(:'order_id', 'A', 1, 'evil', 'evil');
SELECT status FROM inv.inv_complete_order(:'order_id');
SELECT payment_status FROM inv.inv_record_payment(:'order_id', 'paid');
SELECT status FROM inv.inv_cancel_order((inv.inv_confirm((inv.inv_reserve('A')).reservation_id)).order_id);
SELECT inv.inv_add_item('EVIL', 'evil', 1, 'EUR', attributes => '{}') IS NOT NULL AS added;
SELECT inv.inv_set_item('EVIL', 'evil', 2, 'EUR', hold_ttl => '1 hour') IS NOT NULL AS changed;
SELECT inv.inv_rename_item('EVIL', 'LIVE') IS NOT NULL AS renamed;
SELECT inv.inv_add_location('evil') IS NOT NULL AS added;
SELECT on_hand FROM inv.inv_receive('LIVE', 5, 'evil', 'evil', 'evil');
SELECT on_hand FROM inv.inv_adjust('LIVE', 5, 'evil', 'evil', 'evil');
SELECT on_hand FROM inv.inv_set_stock('LIVE', 5, 'evil', reason => 'evil', on_shelf => true);
SELECT status FROM inv.inv_reserve('LIVE', 5, location => 'evil', reference => 'evil');
SELECT public.outcome($$SELECT inv.inv_set_stock('LIVE', 1, 'evil')$$);
SELECT on_hand FROM inv.inv_set_stock('LIVE', 1, 'evil', force => true);
SELECT on_hand, created FROM inv.inv_load_stock('{LIVE,EVIL}', '{6,7}', 'evil', 'evil');
SELECT inv.inv_expire();
SELECT inv.inv_purge('1 day');
CALL inv.inv_maintain();
SELECT operation FROM inv.inv_events(NULL, 1);
SELECT inv.inv_newest_event() IS NOT NULL AS there;
SELECT operation FROM inv.inv_events(inv.inv_newest_event(), 1);
SELECT inv.inv_route_sku('A');
SELECT inv.inv_grant('regress_inv_buyer', 'buyer');
SELECT inv.inv_unschedule();
SELECT * FROM inv.inv_check();
-- and nothing lasts
SHOW search_path;
RESET search_path;
SELECT current_user = session_user AS myself;
DISCARD TEMP;
SET client_min_messages = error;
DROP SCHEMA regress_inv_evil CASCADE;
RESET client_min_messages;

--
-- An owner who is no superuser.  What belongs to the extension is handed to
-- him as the README says.
--
GRANT USAGE ON SCHEMA inv TO regress_inv_owner;
DO $$
DECLARE
    member record;
BEGIN
    FOR member IN
        SELECT object.type, object.identity
          FROM pg_depend AS depend
          JOIN pg_extension AS extension ON extension.oid = depend.refobjid
         CROSS JOIN pg_identify_object(depend.classid, depend.objid, 0) AS object
         WHERE extension.extname = 'inventory_reservation'
           AND depend.refclassid = 'pg_extension'::regclass
           AND depend.deptype = 'e'
           AND object.type IN ('table', 'view', 'function', 'procedure')
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO regress_inv_owner', member.type, member.identity);
    END LOOP;
END
$$;
SELECT count(*) FROM pg_class
 WHERE relnamespace = 'inv'::regnamespace AND relkind IN ('r', 'v', 'S', 'i')
   AND relowner <> 'regress_inv_owner'::regrole;
SELECT count(*) FROM pg_proc
 WHERE pronamespace = 'inv'::regnamespace AND proowner <> 'regress_inv_owner'::regrole;

-- everything goes on
SET ROLE regress_inv_buyer;
SELECT reservation_id AS hold, status FROM inv.inv_reserve('A', 2, 'owned', 'ann') \gset
SELECT :'status' AS status;
SELECT status, replayed FROM inv.inv_reserve('A', 2, 'owned', 'ann');
SELECT status FROM inv.inv_reserve_cart('{A,OP}', '{1,1}');
SELECT status, replayed FROM inv.inv_reserve_batch('{A,A}', '{1,2}', '{NULL,owned}', '{ann,ann}');
SELECT status FROM inv.inv_release(:'hold', 'A', 1);
SELECT inv.inv_extend(:'hold', '1 hour') > now() AS extended;
SELECT status FROM inv.inv_reservation_status(:'hold');
SELECT inv.inv_available('A') > 0 AS available;
SELECT order_id FROM inv.inv_confirm(:'hold') \gset
SELECT status FROM inv.inv_order_status(:'order_id');
SELECT status FROM inv.inv_cancel((inv.inv_reserve('A')).reservation_id);
RESET ROLE;
SET ROLE regress_inv_operator;
SELECT on_hand FROM inv.inv_receive('OP', 5);
SELECT inv.inv_add_item('OWNED') IS NOT NULL AS added, inv.inv_add_location('owned') > 0 AS added;
SELECT count(*) FROM inv.inv_load_stock('{OWNED,OWNED2}', '{1,2}');
SELECT on_hand FROM inv.inv_set_stock('OWNED', 3);
SELECT status FROM inv.inv_cancel_order(:'order_id');
SELECT inv.inv_expire();
SELECT inv.inv_purge('1 day');
CALL inv.inv_maintain();
SELECT count(*) FROM inv.inv_check();
RESET ROLE;
SET ROLE regress_inv_auditor;
SELECT count(*) > 0 AS rows FROM inv.inv_availability;
RESET ROLE;
-- the owner himself, and the grants he can make
GRANT USAGE ON SCHEMA inv TO regress_inv_nobody;
SET ROLE regress_inv_owner;
SELECT count(*) > 0 AS rows FROM inv.inv_availability;
SELECT status FROM inv.inv_reserve('A');
SELECT inv.inv_grant('regress_inv_nobody', 'buyer');
RESET ROLE;
SELECT count(*) FROM public.routines WHERE has_function_privilege('regress_inv_nobody', oid, 'EXECUTE');
SET ROLE regress_inv_nobody;
SELECT status FROM inv.inv_reserve('A');
RESET ROLE;

--
-- His triggers run as he, even when a superuser calls, and cannot get out
--
GRANT CREATE ON SCHEMA public TO regress_inv_owner;
SET ROLE regress_inv_owner;
CREATE TABLE public.seen (by_whom name, search_path text, attempt text, outcome text);
CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    attempt text;
BEGIN
    FOREACH attempt IN ARRAY ARRAY[
        'SELECT 1',
        'CREATE ROLE regress_inv_king SUPERUSER',
        'ALTER ROLE regress_inv_owner SUPERUSER',
        'SET ROLE postgres',
        'SET SESSION AUTHORIZATION DEFAULT',
        'RESET ROLE',
        'SELECT rolpassword FROM pg_catalog.pg_authid',
        'CREATE TEMP TABLE trap ()',
        'SELECT pg_catalog.pg_read_file(''PG_VERSION'')'] LOOP
        INSERT INTO public.seen
        VALUES (current_user, current_setting('search_path'), attempt, public.brief_outcome(attempt));
    END LOOP;
    RETURN NEW;
END
$$;
CREATE TRIGGER spy AFTER UPDATE ON inv.inv_stock FOR EACH ROW EXECUTE FUNCTION public.spy();
RESET ROLE;
SET search_path = pg_temp, public;
SELECT status FROM inv.inv_reserve('A');
SELECT DISTINCT by_whom, search_path FROM public.seen;
SELECT attempt, CASE WHEN outcome LIKE '42501%' THEN '42501' ELSE outcome END AS outcome
  FROM public.seen ORDER BY attempt;
SHOW search_path;
RESET search_path;
SELECT current_user = session_user AS still_myself;
SELECT count(*) FROM pg_roles WHERE rolname = 'regress_inv_king';
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_inv_owner';
DROP TRIGGER spy ON inv.inv_stock;

SELECT * FROM inv.inv_check();

DROP VIEW public.routines;
DROP FUNCTION public.spy;
DROP TABLE public.seen;
SET client_min_messages = error;
DROP SCHEMA inv CASCADE;
DROP OWNED BY regress_inv_nobody, regress_inv_buyer, regress_inv_operator, regress_inv_auditor, regress_inv_owner;
DROP ROLE regress_inv_nobody, regress_inv_buyer, regress_inv_operator, regress_inv_auditor, regress_inv_owner;
