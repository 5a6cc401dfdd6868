/*
 * catalog.c
 *		Where the extension's tables are.
 *
 * Tables are found by OID, through the extension: pg_extension says which
 * schema it was created in, whatever that schema is called by now, and a
 * relation counts only if it belongs to the extension, an index only if it is
 * one of that table.  A schema that bears the name of ours, or a table put
 * beside ours, changes nothing.
 *
 * The OIDs are remembered for the session.  The hard part is to forget them
 * in time:
 *
 * - DROP EXTENSION, DROP TABLE and REINDEX CONCURRENTLY send relcache
 *   invalidations, which a session takes in when it locks a relation.  The
 *   callback only sets flags; the next lookup fills the cache again.
 * - An invalidation may arrive while the cache is being filled.  The flag is
 *   therefore cleared before filling, and what was found is used only if the
 *   flag is still clear afterwards.
 * - Between looking an OID up and locking it the table may be dropped and
 *   made anew.  catalog_open_table() then looks again.
 * - An index is looked up only while its table is locked, which keeps
 *   REINDEX CONCURRENTLY from dropping it under us.
 * - That the extension is *not* there is never remembered: nothing would tell
 *   this session when it comes.
 *
 * The library and the tables may be of different versions.  What must never
 * happen is that one writes what the other does not understand:
 *
 * - An extension newer than this library is refused altogether, whatever its
 *   tables look like: what an earlier version does to them may not be all
 *   that they need.  So it is after ALTER EXTENSION UPDATE in a session that
 *   has loaded the library before, and after a downgrade of the package.
 * - An older one is served where its tables have what this library reads, and
 *   refused where they lack it.  That is how a server is until somebody gets
 *   round to ALTER EXTENSION UPDATE.  Columns are known by number, so upgrades
 *   add them at the end, in the order in which the install script has them.
 * - When the version changes under a session, it has to notice.  pg_extension
 *   has no invalidations of its own, so each upgrade script locks inv_stock,
 *   with which every call begins, and changes its entry in pg_class.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/catalog.h"
#include "catalog/version.h"

#define LEDGER_SEQUENCE "inv_ledger_entry_id_seq"

typedef struct KnownTable
{
	const char *name;
	int			columns;		/* columns that this library reads */
	int			indexes;		/* indexes, checks that the install script */
	int			checks;			/* makes: more are somebody else's */
} KnownTable;

static const KnownTable known_tables[NUM_TABLES] = {
	[TABLE_ITEM] = {"inv_item", 12, 2, 6},
	[TABLE_LOCATION] = {"inv_location", 5, 2, 2},
	[TABLE_STOCK] = {"inv_stock", 11, 2, 2},
	[TABLE_RESERVATION] = {"inv_reservation", 16, 5, 3},
	[TABLE_IDEMPOTENCY] = {"inv_idempotency", 6, 2, 1},
	[TABLE_ORDER] = {"inv_order", 12, 3, 2},
	[TABLE_LEDGER] = {"inv_ledger", 17, 1, 0},
};

typedef struct KnownIndex
{
	const char *name;
	TableId		table;
} KnownIndex;

static const KnownIndex known_indexes[NUM_INDEXES] = {
	[INDEX_ITEM_ID] = {"inv_item_pkey", TABLE_ITEM},
	[INDEX_ITEM_SKU] = {"inv_item_sku_key", TABLE_ITEM},
	[INDEX_LOCATION_ID] = {"inv_location_pkey", TABLE_LOCATION},
	[INDEX_LOCATION_CODE] = {"inv_location_code_key", TABLE_LOCATION},
	[INDEX_STOCK] = {"inv_stock_pkey", TABLE_STOCK},
	[INDEX_RESERVATION] = {"inv_reservation_pkey", TABLE_RESERVATION},
	[INDEX_RESERVATION_EXPIRY] = {"inv_reservation_expiry", TABLE_RESERVATION},
	[INDEX_RESERVATION_HELD] = {"inv_reservation_held", TABLE_RESERVATION},
	[INDEX_IDEMPOTENCY] = {"inv_idempotency_pkey", TABLE_IDEMPOTENCY},
	[INDEX_ORDER_ID] = {"inv_order_pkey", TABLE_ORDER},
	[INDEX_ORDER_RESERVATION] = {"inv_order_reservation_id_key", TABLE_ORDER},
};

/* Tables that only SQL statements read and write. */
static const char *const other_tables[] = {
	"inv_ledger_epoch",
	"inv_opening_balance",
	"inv_stock_state",
	"inv_ledger_balance",
	"inv_progress",
	"inv_waitlist",
	"inv_reconciliation",
};

typedef struct Places
{
	Oid			schema;
	Oid			tables[NUM_TABLES];
	Oid			others[lengthof(other_tables)]; /* InvalidOid: not there */
	Oid			indexes[NUM_INDEXES];	/* InvalidOid: not looked up yet */
	Oid			ledger_sequence;	/* likewise */
} Places;

static Places places;
static bool places_valid = false;
static bool disturbed = false;	/* an invalidation came: see ensure_valid() */

/* Is this one of the relations that we remember? */
static bool
is_remembered(Oid relid)
{
	for (int i = 0; i < NUM_TABLES; i++)
	{
		if (places.tables[i] == relid)
			return true;
	}
	for (int i = 0; i < NUM_INDEXES; i++)
	{
		if (places.indexes[i] == relid)
			return true;
	}
	for (int i = 0; i < lengthof(other_tables); i++)
	{
		if (places.others[i] == relid)
			return true;
	}
	return places.ledger_sequence == relid;
}

/* A change of a relation, or (InvalidOid) of any: only set flags. */
static void
forget_relations(Datum arg, Oid relid)
{
	disturbed = true;
	if (places_valid && (!OidIsValid(relid) || is_remembered(relid)))
		places_valid = false;
}

/* Register for invalidations.  Called once, from _PG_init. */
void
catalog_init(void)
{
	CacheRegisterRelcacheCallback(forget_relations, (Datum) 0);
}

/*
 * The schema the extension was created in, for which PostgreSQL exports a
 * function only from version 16 on, and its version, for which it has none.
 * False if the extension is not in this database.
 */
static bool
read_extension(Oid extension, Oid *schema, char **version)
{
	Relation	pg_extension;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		found;

	pg_extension = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(pg_extension, ExtensionOidIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(pg_extension),
										 &isnull);

		*schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		*version = isnull ? pstrdup("") : TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(pg_extension, AccessShareLock);

	return found;
}

/*
 * What to say of a relation that is not there, or not as this library needs it,
 * in an extension of that version; "relation" NULL: what to say of the version
 * alone.
 */
static Misfit
describe_misfit(const char *version, const char *relation)
{
	Misfit		misfit;

	if (version_is_newer(version, library_version()))
	{
		misfit.message = psprintf("extension \"%s\" is of version %s, but the library in this session of version %s",
								  EXTENSION_NAME, version, library_version());
		misfit.hint = psprintf("Connect again. Where the library is preloaded, restart the server, with version %s installed.",
							   version);
	}
	else if (version_is_newer(library_version(), version))
	{
		misfit.message = psprintf("relation \"%s\" of extension \"%s\" is of version %s, which the library, of version %s, cannot use",
								  relation, EXTENSION_NAME, version,
								  library_version());
		misfit.hint = psprintf("Run ALTER EXTENSION %s UPDATE.",
							   EXTENSION_NAME);
	}
	else
	{
		misfit.message = psprintf("relation \"%s\" of extension \"%s\" is missing, or lacks columns",
								  relation, EXTENSION_NAME);
		misfit.hint = pstrdup("Somebody may be dropping the extension at this moment; if not, restore the relation from a backup, or drop and create the extension.");
	}
	return misfit;
}

static void
report_misfit(const Misfit *misfit)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_internal("%s", misfit->message),
			 errhint("%s", misfit->hint)));
}

/* The error for a relation that is not there, or not as it has to be. */
static void
report_unusable(const char *relation)
{
	Oid			schema;
	char	   *version;
	Misfit		misfit;

	if (!read_extension(get_extension_oid(EXTENSION_NAME, true), &schema,
						&version))
		version = pstrdup(library_version());
	misfit = describe_misfit(version, relation);
	report_misfit(&misfit);
}

/* Is there a table of the extension's, with the columns that we read? */
static bool
find_table(TableId table, Oid extension, Oid schema, Oid *relid)
{
	*relid = get_relname_relid(known_tables[table].name, schema);
	return OidIsValid(*relid) &&
		getExtensionOfObject(RelationRelationId, *relid) == extension &&
		SearchSysCacheExists2(ATTNUM, ObjectIdGetDatum(*relid),
							  Int16GetDatum(known_tables[table].columns));
}

/*
 * Look the tables up in an extension of that version.  False if this library
 * cannot work with them; with any of them, for a hold that is made and cannot
 * be confirmed helps nobody.
 */
static bool
find_tables(Oid extension, Oid schema, const char *version, Oid *tables,
			Misfit *misfit)
{
	if (version_is_newer(version, library_version()))
	{
		*misfit = describe_misfit(version, NULL);
		return false;
	}
	for (int i = 0; i < NUM_TABLES; i++)
	{
		if (!find_table(i, extension, schema, &tables[i]))
		{
			*misfit = describe_misfit(version, known_tables[i].name);
			return false;
		}
	}
	return true;
}

/* The owner of a relation; InvalidOid if it is just being dropped. */
static Oid
find_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * Calls write to all tables as the owner of one of them, and what triggers do
 * is up to the owner of theirs.  He must have nothing to gain by that: be the
 * same role, or a superuser.
 */
static void
check_owner(Oid relid, Oid stock)
{
	Oid			owner = find_owner(relid);
	Oid			expected = find_owner(stock);

	if (owner == expected || !OidIsValid(owner) || superuser_arg(owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("tables of extension \"%s\" belong to different roles",
					EXTENSION_NAME),
			 errdetail("Table \"%s\" belongs to role \"%s\", table \"%s\" to role \"%s\".",
					   get_rel_name(relid), GetUserNameFromId(owner, true),
					   get_rel_name(stock), GetUserNameFromId(expected, true)),
			 errhint("Make one role the owner of all of them.")));
}

/* Look the tables up. */
static void
find_places(Places *found)
{
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);
	char	   *version;
	Misfit		misfit;

	memset(found, 0, sizeof(Places));
	if (!OidIsValid(extension) ||
		!read_extension(extension, &found->schema, &version))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is not installed in this database",
						EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s.", EXTENSION_NAME)));
	if (!find_tables(extension, found->schema, version, found->tables, &misfit))
		report_misfit(&misfit);
	pfree(version);

	for (int i = 0; i < lengthof(other_tables); i++)
		found->others[i] = get_relname_relid(other_tables[i], found->schema);

	for (int i = 0; i < NUM_TABLES; i++)
		check_owner(found->tables[i], found->tables[TABLE_STOCK]);
	for (int i = 0; i < lengthof(other_tables); i++)
		check_owner(found->others[i], found->tables[TABLE_STOCK]);
}

/* Fill the cache, again and again until nothing interferes. */
static void
ensure_valid(void)
{
	while (!places_valid)
	{
		Places		found;

		disturbed = false;
		find_places(&found);
		if (!disturbed)
		{
			places = found;
			places_valid = true;
		}
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * OID of the schema that holds the extension.  Raises 55000 if the extension
 * is not installed in this database.
 */
Oid
catalog_schema(void)
{
	ensure_valid();
	return places.schema;
}

/*
 * Who owns the extension's tables, and where they are; false if the extension
 * is not in this database.  Locks nothing and remembers nothing, so what it
 * says may have changed when it returns.  Raises 55000 if the extension is
 * there without its tables.
 */
bool
catalog_find_owner(Oid *owner, Oid *schema)
{
	const char *table = known_tables[TABLE_STOCK].name;
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);
	char	   *version;
	HeapTuple	tuple;

	if (!OidIsValid(extension) || !read_extension(extension, schema, &version))
		return false;
	tuple = SearchSysCache1(RELOID,
							ObjectIdGetDatum(get_relname_relid(table, *schema)));
	if (!HeapTupleIsValid(tuple))
		report_unusable(table);
	*owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return true;
}

/*
 * Can this library work with the extension as it is in this database?  If not,
 * says why.  Locks nothing and remembers nothing; the caller has seen that the
 * extension is there.
 */
bool
catalog_fits(Misfit *misfit)
{
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);
	Oid			tables[NUM_TABLES];
	Oid			schema;
	char	   *version;

	return !OidIsValid(extension) ||
		!read_extension(extension, &schema, &version) ||
		find_tables(extension, schema, version, tables, misfit);
}

/* Is the extension in this database of an earlier version than the library? */
bool
catalog_is_older(void)
{
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);
	Oid			schema;
	char	   *version;

	return OidIsValid(extension) &&
		read_extension(extension, &schema, &version) &&
		version_is_newer(library_version(), version);
}

/*
 * Open and lock one of the extension's tables.  Raises 55000 if it is not
 * there, or lacks what this library needs, or the extension is newer.
 */
Relation
catalog_open_table(TableId table, int lockmode)
{
	Relation	relation;
	Oid			relid;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		ensure_valid();
		relid = places.tables[table];
		LockRelationOid(relid, lockmode);

		/* taking the lock may have told us that the OID is out of date */
		ensure_valid();
		if (places.tables[table] == relid)
			break;
		UnlockRelationOid(relid, lockmode);
	}
	relation = table_open(relid, NoLock);

	if (RelationGetNumberOfAttributes(relation) < known_tables[table].columns)
		report_unusable(known_tables[table].name);
	return relation;
}

/*
 * Open and lock one of the extension's indexes.  The caller has its table
 * open.  Raises 55000 if it is not there.
 */
Relation
catalog_open_index(IndexId index, int lockmode)
{
	ensure_valid();
	if (!OidIsValid(places.indexes[index]))
	{
		const KnownIndex *known = &known_indexes[index];
		Oid			relid = get_relname_relid(known->name, places.schema);

		/* not what somebody has put in its place */
		if (!OidIsValid(relid) ||
			IndexGetRelation(relid, true) != places.tables[known->table])
			report_unusable(known->name);
		places.indexes[index] = relid;
	}
	return index_open(places.indexes[index], lockmode);
}

/*
 * OID of the sequence behind inv_ledger.entry_id.  The caller has the ledger
 * open.  Raises 55000 if it is not there.
 */
Oid
catalog_ledger_sequence(void)
{
	ensure_valid();
	if (!OidIsValid(places.ledger_sequence))
	{
		Oid			relid = get_relname_relid(LEDGER_SEQUENCE, places.schema);

		if (!OidIsValid(relid) ||
			getExtensionOfObject(RelationRelationId, relid) !=
			get_extension_oid(EXTENSION_NAME, true))
			report_unusable(LEDGER_SEQUENCE);
		places.ledger_sequence = relid;
	}
	return places.ledger_sequence;
}

/* Number of columns that the install script gives a table. */
int
catalog_known_columns(TableId table)
{
	return known_tables[table].columns;
}

/* A function that did not come with PostgreSQL. */
static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/* Does an expression call such a function? */
static bool
calls_foreign_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, is_foreign_function, context) ||
		expression_tree_walker(node, calls_foreign_function, context);
}

/* Does maintaining an index run code of the shop's? */
static bool
index_has_foreign_code(Oid index_id)
{
	Relation	index = index_open(index_id, AccessShareLock);
	bool		foreign;

	/* what the install script makes are B-trees on columns */
	foreign = index->rd_rel->relam != BTREE_AM_OID ||
		RelationGetIndexExpressions(index) != NIL ||
		calls_foreign_function((Node *) RelationGetIndexPredicate(index), NULL);
	for (AttrNumber i = 1; i <= IndexRelationGetNumberOfKeyAttributes(index); i++)
		foreign = foreign ||
			is_foreign_function(index_getprocid(index, i, BTORDER_PROC), NULL);
	index_close(index, AccessShareLock);
	return foreign;
}

/*
 * Does writing to this table run code that the install script did not put
 * there: a trigger, a check, an index or a column of the shop's own?  Who has
 * removed some of ours, and put as many of his own in their place, is found
 * out by the functions they call.
 */
bool
catalog_has_foreign_code(TableId table, Relation relation)
{
	const KnownTable *known = &known_tables[table];
	TupleDesc	tupdesc = RelationGetDescr(relation);
	TupleConstr *constraints = tupdesc->constr;
	int			checks = constraints == NULL ? 0 : constraints->num_check;
	List	   *indexes = RelationGetIndexList(relation);
	bool		foreign = relation->trigdesc != NULL ||
		list_length(indexes) != known->indexes || checks != known->checks;

	for (int i = known->columns; i < tupdesc->natts && !foreign; i++)
		foreign = !TupleDescAttr(tupdesc, i)->attisdropped;
	for (int i = 0; i < checks && !foreign; i++)
		foreign = calls_foreign_function(stringToNode(constraints->check[i].ccbin),
										 NULL);
	for (int i = 0; i < list_length(indexes) && !foreign; i++)
		foreign = index_has_foreign_code(list_nth_oid(indexes, i));

	list_free(indexes);
	return foreign;
}
