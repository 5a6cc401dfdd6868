/*
 * Traps in the schema that the extension is created in: an operator or a
 * function for every pair of types that PostgreSQL itself has none for.
 *
 * PostgreSQL prefers what fits the types exactly, wherever in search_path it
 * stands.  So where a script of ours compares an oid with a regclass, or adds a
 * numeric to an integer, and leaves the cast to PostgreSQL, one of these is
 * called instead, as the superuser who creates the extension or as the owner of
 * the tables.  None raises an error; each says in the log that it was called.
 */
CREATE FUNCTION inv.caught(what text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	RAISE LOG 'caught by % as %', what, current_user;
	RETURN NULL;
END
$$;

DO $$
DECLARE
	types regtype[] := '{text,name,"char",bool,int4,int8,numeric,oid,regclass,regproc,regprocedure,timestamptz,interval,uuid,xid8,jsonb,text[]}';
	one regtype;
	other regtype;
	name text;
BEGIN
	FOREACH one IN ARRAY types LOOP
		FOREACH other IN ARRAY types LOOP
			EXECUTE format('CREATE FUNCTION inv.trap(%1$s, %2$s) RETURNS boolean LANGUAGE sql'
						   ' AS $f$SELECT inv.caught(%3$L)$f$', one, other, format('an operator of %s and %s', one, other));
			FOREACH name IN ARRAY '{=,<>,<,<=,>,>=,+,-,*,||,~,->>}'::text[] LOOP
				CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_operator
									   WHERE oprname = name AND oprleft = one AND oprright = other);
				EXECUTE format('CREATE OPERATOR inv.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = inv.trap)',
							   name, one, other);
			END LOOP;
			FOREACH name IN ARRAY '{array_append,array_to_string,format,jsonb_build_object,string_agg,concat,set_config,pg_extension_config_dump,mod,round,date_trunc,generate_series,unnest}'::text[] LOOP
				EXECUTE format('CREATE FUNCTION inv.%1$I(%2$s, %3$s) RETURNS boolean LANGUAGE sql'
							   ' AS $f$SELECT inv.caught(%4$L)$f$', name, one, other,
							   format('%s(%s, %s)', name, one, other));
			END LOOP;
		END LOOP;
		FOREACH name IN ARRAY '{count,min,max,sum,array_agg,bool_or,cardinality,octet_length,length,format,jsonb_agg,to_jsonb,quote_ident,unnest,abs,nextval,concat,jsonb_array_elements,isfinite,current_setting,to_regclass}'::text[] LOOP
			EXECUTE format('CREATE FUNCTION inv.%1$I(%2$s) RETURNS boolean LANGUAGE sql'
						   ' AS $f$SELECT inv.caught(%3$L)$f$', name, one, format('%s(%s)', name, one));
		END LOOP;
	END LOOP;
END
$$;
