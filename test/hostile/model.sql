/*
 * The catalog as the generator is to see it.  Run in a copy of the shop, on
 * a server that does nothing else: queries are made up there, and sent to the
 * real one.
 *
 * Whoever picks at random out of all that PostgreSQL has meets us once in a
 * thousand calls, and most of what he puts together fails in the parser, for
 * want of the type that a polymorphic operator needs.  So
 *
 * - operators that take such types, or types that no column of the shop has,
 *   go;
 * - a view named as the catalog, in schema focused, has our functions that take
 *   arguments, and a few of PostgreSQL's that make more of the same types;
 * - another, in schema whole, has everything but what ends the test rather
 *   than the server: signals, sleeps, locks for a session, files, slots,
 *   settings of the server, and sequences set back, which no rollback undoes.
 */
CREATE SCHEMA focused;
GRANT USAGE ON SCHEMA focused TO PUBLIC;
CREATE VIEW focused.pg_proc AS
SELECT * FROM pg_catalog.pg_proc
 WHERE pronamespace IN ('inv'::regnamespace, 'smith'::regnamespace)
   AND pronargs > 0 AND proname NOT IN ('make_call', 'yes')
UNION ALL
SELECT * FROM pg_catalog.pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace
   AND (proname IN ('count', 'max', 'sum', 'array_agg', 'row_number', 'lead')
		OR oid IN ('lower(text)'::regprocedure, 'md5(text)'::regprocedure, 'repeat(text, int4)'::regprocedure,
				   'abs(int8)'::regprocedure, 'length(text)'::regprocedure, 'current_setting(text)'::regprocedure));

CREATE SCHEMA whole;
GRANT USAGE ON SCHEMA whole TO PUBLIC;
CREATE VIEW whole.pg_proc AS
SELECT * FROM pg_catalog.pg_proc
 WHERE proname !~ ('terminate_backend|cancel_backend|reload_conf|rotate_logfile|promote|sleep|advisory|_slot|backup'
				   || '|restore_point|switch_wal|wal_replay|^lo_|^lo|file|pg_ls_|_dir$|binary_upgrade|setval|nextval'
				   || '|stat_reset|pg_stat_clear|emit_message|replication_origin|pg_replication|pg_logical|nextoid'
				   || '|pg_import|_to_xml|dblink|pg_relation_|set_config|pg_stop|pg_start|pg_export|pg_notify'
				   || '|log_backend|_recv$|^inv_schedule$|^inv_grant$')
   AND pronamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'cron');
GRANT SELECT ON focused.pg_proc, whole.pg_proc TO PUBLIC;

-- The tables that each role may see, but not the views above.  Kept as rows: the
-- view that is meant needs operators that go.
CREATE SCHEMA model;
GRANT USAGE ON SCHEMA model TO PUBLIC;
CREATE TABLE model.visible AS SELECT current_user AS by, * FROM information_schema.tables WHERE false;
GRANT SELECT, INSERT ON model.visible TO PUBLIC;
DO $$
DECLARE
	role name;
BEGIN
	FOREACH role IN ARRAY ARRAY['smith_buyer', 'smith_operator', current_user] LOOP
		EXECUTE format('SET LOCAL ROLE %I', role);
		INSERT INTO model.visible
		SELECT current_user, * FROM information_schema.tables
		 WHERE table_schema NOT IN ('focused', 'whole', 'model');
		RESET ROLE;
	END LOOP;
END
$$;
ALTER VIEW information_schema.tables RENAME TO all_tables;
CREATE VIEW information_schema.tables AS
SELECT * FROM model.visible WHERE by = current_user;
GRANT SELECT ON information_schema.tables TO PUBLIC;

-- The last thing, for it needs operators itself.  The planner does as well, to
-- read the catalog with: those of the types there stay.
SET allow_system_table_mods = on;
WITH needed AS (
	SELECT unnest('{text,int8,int4,uuid,interval,bool,jsonb,numeric,timestamptz,text[],int8[],oid,name,"char"}'::regtype[]) AS type
)
DELETE FROM pg_catalog.pg_operator
 WHERE oprresult = 'bool'::regtype
   AND (oprleft NOT IN (SELECT type FROM needed) OR oprright NOT IN (SELECT type FROM needed)
		OR oprnamespace = 'pg_catalog'::regnamespace AND oprname LIKE '%~%'
		   AND oprleft <> 'name'::regtype);
