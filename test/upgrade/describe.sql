-- What PostgreSQL's catalogs say of an extension, a line for each property of
-- each object, in a form that is the same in two databases if the extension is.
--
-- What must never happen is that a property is left out: then an upgrade script
-- could forget it, and nobody would notice.  So no list of properties is kept.
-- Every column of every catalog row that belongs to an object is told, those
-- of later PostgreSQL versions too, but for what is physical.  Expression trees
-- are told as SQL; object ids as descriptions, by the foreign keys that
-- PostgreSQL knows between its catalogs.
--
-- Physical, and left out: where and how large relations are, transaction ids,
-- and whether the rows of a table were written before a column was added.
-- Column numbers are told: the library reads columns by number.
--
-- Gives pg_temp.describe_extension(name).

SET search_path = pg_catalog;
SET client_min_messages = warning;

-- The extension's members, and what goes with each of them.
CREATE FUNCTION pg_temp.objects_of(extension oid)
RETURNS TABLE (classid oid, objid oid)
LANGUAGE sql AS $$
	WITH RECURSIVE object(classid, objid) AS (
		SELECT depend.classid, depend.objid
		  FROM pg_depend AS depend
		 WHERE depend.refclassid = 'pg_extension'::regclass
		   AND depend.refobjid = extension AND depend.deptype = 'e'
		UNION
		SELECT depend.classid, depend.objid
		  FROM object
		  JOIN pg_depend AS depend
			ON depend.refclassid = object.classid
		   AND depend.refobjid = object.objid AND depend.deptype IN ('i', 'a')
	)
	-- what keeps long values has the number of its table in its name
	SELECT object.classid, object.objid
	  FROM object
	 WHERE pg_describe_object(object.classid, object.objid, 0) !~ '\mpg_toast\.'
$$;

-- Columns of catalogs that hold ids of others' rows; those with expressions.
CREATE TEMP TABLE id_columns AS
	SELECT keys.fktable AS catalog, keys.fkcols[1] AS name, keys.pktable::oid AS target
	  FROM pg_get_catalog_foreign_keys() AS keys
	 WHERE cardinality(keys.fkcols) = 1 AND keys.pkcols = '{oid}';
CREATE TEMP TABLE tree_columns AS
	SELECT attribute.attrelid AS catalog, array_agg(attribute.attname::text) AS names
	  FROM pg_attribute AS attribute
	 WHERE attribute.atttypid = 'pg_node_tree'::regtype
	 GROUP BY attribute.attrelid;

CREATE FUNCTION pg_temp.described_id(target oid, id jsonb)
RETURNS text
LANGUAGE sql AS $$
	SELECT CASE WHEN id #>> '{}' = '0' THEN '-'
				-- regproc and the like
				WHEN id #>> '{}' !~ '^\d+$' THEN id #>> '{}'
				ELSE coalesce(pg_describe_object(target, (id #>> '{}')::oid, 0),
							  'no object') END
$$;

-- A row without what is physical, its ids described.
CREATE FUNCTION pg_temp.canonical(catalog regclass, catalog_row jsonb)
RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	reference record;
	value jsonb;
	physical text[] := '{oid,relfilenode,relpages,reltuples,relallvisible,
		relallfrozen,relfrozenxid,relminmxid,reltoastrelid,atthasmissing,
		attmissingval,objoid,classoid}';
	trees text[] := coalesce((SELECT names FROM tree_columns
							   WHERE tree_columns.catalog = canonical.catalog), '{}');
	rights text[] := '{relacl,attacl,proacl,typacl,initprivs,nspacl,lanacl}';
	name text;
BEGIN
	catalog_row := catalog_row - physical - trees;
	FOR reference IN SELECT * FROM id_columns
					  WHERE id_columns.catalog = canonical.catalog
	LOOP
		value := catalog_row -> reference.name;
		IF value IS NULL OR value = 'null' THEN
			CONTINUE;
		ELSIF jsonb_typeof(value) = 'array' THEN
			value := (SELECT jsonb_agg(pg_temp.described_id(reference.target, id)
									   ORDER BY place)
						FROM jsonb_array_elements(value) WITH ORDINALITY AS ids(id, place));
		ELSE
			value := to_jsonb(pg_temp.described_id(reference.target, value));
		END IF;
		catalog_row := jsonb_set(catalog_row, ARRAY[reference.name],
								 coalesce(value, '[]'));
	END LOOP;

	-- in whatever order they were granted
	FOREACH name IN ARRAY rights
	LOOP
		IF jsonb_typeof(catalog_row -> name) = 'array' THEN
			catalog_row := jsonb_set(catalog_row, ARRAY[name],
				(SELECT coalesce(jsonb_agg(granted ORDER BY granted::text), '[]')
				   FROM jsonb_array_elements(catalog_row -> name) AS rights(granted)));
		END IF;
	END LOOP;

	-- PostgreSQL numbers changes of columns here (minor versions of 2026)
	IF jsonb_typeof(catalog_row -> 'attoptions') = 'array' THEN
		catalog_row := jsonb_set(catalog_row, '{attoptions}',
			(SELECT coalesce(jsonb_agg(option ORDER BY option), '[]')
			   FROM jsonb_array_elements_text(catalog_row -> 'attoptions') AS options(option)
			  WHERE option NOT LIKE 'pg_attver=%'));
	END IF;
	IF catalog_row -> 'attoptions' = '[]' THEN
		catalog_row := jsonb_set(catalog_row, '{attoptions}', 'null');
	END IF;
	RETURN catalog_row;
END
$$;

-- Where the rows of an object are: in a catalog of its kind, and in further
-- ones.  "part" tells its rows in one catalog apart.
CREATE TEMP TABLE further_rows (kind regclass, catalog regclass, part text, condition text);
INSERT INTO further_rows VALUES
	('pg_class', 'pg_attribute', 't.attname', 't.attrelid = object.objid AND t.attnum > 0'),
	('pg_class', 'pg_index', $$''$$, 't.indexrelid = object.objid'),
	('pg_class', 'pg_sequence', $$''$$, 't.seqrelid = object.objid'),
	('pg_class', 'pg_inherits', 't.inhseqno', 't.inhrelid = object.objid'),
	('pg_class', 'pg_partitioned_table', $$''$$, 't.partrelid = object.objid'),
	('pg_proc', 'pg_aggregate', $$''$$, 't.aggfnoid = object.objid'),
	('pg_type', 'pg_enum', 't.enumlabel', 't.enumtypid = object.objid'),
	('pg_type', 'pg_range', $$''$$, 't.rngtypid = object.objid'),
	(NULL, 'pg_description', 't.objsubid', 't.classoid = object.classid AND t.objoid = object.objid'),
	(NULL, 'pg_seclabel', 't.objsubid', 't.classoid = object.classid AND t.objoid = object.objid'),
	(NULL, 'pg_init_privs', 't.objsubid', 't.classoid = object.classid AND t.objoid = object.objid');

-- Expression trees, as SQL.
CREATE FUNCTION pg_temp.definition(classid oid, objid oid)
RETURNS text
LANGUAGE sql AS $$
	SELECT CASE classid
		WHEN 'pg_proc'::regclass THEN
			CASE WHEN (SELECT prokind FROM pg_proc WHERE oid = objid) IN ('f', 'p')
				 THEN pg_get_functiondef(objid) END
		WHEN 'pg_class'::regclass THEN
			CASE (SELECT relkind FROM pg_class WHERE oid = objid)
				WHEN 'i' THEN pg_get_indexdef(objid)
				WHEN 'v' THEN pg_get_viewdef(objid)
				WHEN 'm' THEN pg_get_viewdef(objid)
			END
		WHEN 'pg_constraint'::regclass THEN pg_get_constraintdef(objid)
		WHEN 'pg_attrdef'::regclass THEN
			(SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE oid = objid)
		WHEN 'pg_rewrite'::regclass THEN pg_get_ruledef(objid)
		WHEN 'pg_trigger'::regclass THEN pg_get_triggerdef(objid)
		WHEN 'pg_policy'::regclass THEN
			(SELECT concat_ws(' / ', pg_get_expr(polqual, polrelid),
							  pg_get_expr(polwithcheck, polrelid))
			   FROM pg_policy WHERE oid = objid)
		WHEN 'pg_statistic_ext'::regclass THEN pg_get_statisticsobjdef(objid)
	END
$$;

CREATE FUNCTION pg_temp.describe_extension(extension_name name)
RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	extension oid := (SELECT oid FROM pg_extension WHERE extname = extension_name);
	source record;
BEGIN
	-- the extension itself
	RETURN QUERY
		SELECT format('extension %s = %s', property.key, property.value)
		  FROM pg_extension AS t,
			   jsonb_each(pg_temp.canonical('pg_extension', to_jsonb(t))
						  - 'extconfig' - 'extcondition') AS property
		 WHERE t.oid = extension;
	RETURN QUERY
		SELECT format('extension dumps %s where %s', config.relation::regclass, config.condition)
		  FROM pg_extension AS t,
			   unnest(t.extconfig, t.extcondition) AS config(relation, condition)
		 WHERE t.oid = extension;
	RETURN QUERY
		SELECT format('extension comment = %s', obj_description(extension, 'pg_extension'));

	DROP TABLE IF EXISTS objects;
	CREATE TEMP TABLE objects AS
		SELECT of.classid, of.objid,
			   pg_describe_object(of.classid, of.objid, 0) AS name
		  FROM pg_temp.objects_of(extension) AS of;

	FOR source IN
		SELECT DISTINCT classid::regclass AS kind, classid::regclass AS catalog,
			   $part$''$part$ AS part, 't.oid = object.objid' AS condition
		  FROM objects
		UNION ALL
		SELECT kind, catalog, part, condition FROM further_rows
	LOOP
		RETURN QUERY EXECUTE format(
			$query$
			SELECT concat_ws(' ', object.name, %L, %s, property.key, '=', property.value)
			  FROM objects AS object
			  JOIN %s AS t ON %s,
				   jsonb_each(pg_temp.canonical(%L, to_jsonb(t))) AS property
			 WHERE %L::oid IS NULL OR object.classid = %L::oid
			$query$, source.catalog, source.part, source.catalog,
			source.condition, source.catalog, source.kind::oid, source.kind::oid);
	END LOOP;

	RETURN QUERY
		SELECT concat_ws(' ', object.name, 'definition =',
						 to_jsonb(pg_temp.definition(object.classid, object.objid)))
		  FROM objects AS object;
	-- membership is a dependency too
	RETURN QUERY
		SELECT format('%s part %s depends (%s) on %s', object.name, depend.objsubid,
					  depend.deptype,
					  pg_describe_object(depend.refclassid, depend.refobjid, depend.refobjsubid))
		  FROM objects AS object
		  JOIN pg_depend AS depend USING (classid, objid);
	RETURN QUERY
		SELECT format('%s part %s depends (%s) on %s', object.name, depend.objsubid,
					  depend.deptype,
					  pg_describe_object(depend.refclassid, depend.refobjid, 0))
		  FROM objects AS object
		  JOIN pg_shdepend AS depend USING (classid, objid)
		 WHERE depend.dbid = (SELECT oid FROM pg_database
							   WHERE datname = current_database());
	RETURN QUERY
		SELECT format('%s long values: %s', object.name,
					  coalesce(toast.reloptions::text, 'no options'))
		  FROM objects AS object
		  JOIN pg_class AS relation ON relation.oid = object.objid
		  JOIN pg_class AS toast ON toast.oid = relation.reltoastrelid
		 WHERE object.classid = 'pg_class'::regclass;
END
$$;
