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
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/catalog.h"

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
 * The schema the extension was created in.  PostgreSQL exports a function for
 * this only from version 16 on.
 */
static Oid
find_extension_schema(Oid extension)
{
	Relation	pg_extension;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			schema = InvalidOid;

	pg_extension = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(pg_extension, ExtensionOidIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(pg_extension, AccessShareLock);

	return schema;
}

/* The error for an extension that is there only in part. */
static void
report_missing(const char *relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("relation \"%s\" of extension \"%s\" is missing",
					relation, EXTENSION_NAME),
			 errhint("Somebody may be dropping the extension at this moment; if not, restore the relation from a backup, or drop and create the extension.")));
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

	memset(found, 0, sizeof(Places));
	if (OidIsValid(extension))
		found->schema = find_extension_schema(extension);
	if (!OidIsValid(found->schema))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is not installed in this database",
						EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s.", EXTENSION_NAME)));

	for (int i = 0; i < NUM_TABLES; i++)
	{
		Oid			relid = get_relname_relid(known_tables[i].name,
											  found->schema);

		if (!OidIsValid(relid) ||
			getExtensionOfObject(RelationRelationId, relid) != extension)
			report_missing(known_tables[i].name);
		found->tables[i] = relid;
	}
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
	HeapTuple	tuple;

	if (!OidIsValid(extension))
		return false;
	*schema = find_extension_schema(extension);
	tuple = SearchSysCache1(RELOID,
							ObjectIdGetDatum(get_relname_relid(table, *schema)));
	if (!HeapTupleIsValid(tuple))
		report_missing(table);
	*owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return true;
}

/*
 * Open and lock one of the extension's tables.  Raises 55000 if it is not
 * there, or older than this library.
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
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is older than the library of extension \"%s\"",
						known_tables[table].name, EXTENSION_NAME),
				 errhint("Run ALTER EXTENSION %s UPDATE.", EXTENSION_NAME)));
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
			report_missing(known->name);
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
			report_missing(LEDGER_SEQUENCE);
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
