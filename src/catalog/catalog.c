/*
 * catalog.c
 *		Where the extension's tables are.
 *
 * Tables are found by OID, through the extension: pg_extension says which
 * schema it was created in, whatever that schema is called by now, and a
 * relation counts only if it belongs to the extension.  A schema that bears
 * the name of ours, or a table put beside ours, changes nothing.
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
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

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
	[TABLE_STOCK] = {"inv_stock", 10, 1, 2},
	[TABLE_RESERVATION] = {"inv_reservation", 16, 4, 3},
	[TABLE_IDEMPOTENCY] = {"inv_idempotency", 6, 2, 1},
	[TABLE_ORDER] = {"inv_order", 12, 3, 2},
	[TABLE_LEDGER] = {"inv_ledger", 16, 1, 0},
};

static const char *const known_indexes[NUM_INDEXES] = {
	[INDEX_ITEM_ID] = "inv_item_pkey",
	[INDEX_ITEM_SKU] = "inv_item_sku_key",
	[INDEX_LOCATION_ID] = "inv_location_pkey",
	[INDEX_LOCATION_CODE] = "inv_location_code_key",
	[INDEX_STOCK] = "inv_stock_pkey",
	[INDEX_RESERVATION] = "inv_reservation_pkey",
	[INDEX_RESERVATION_EXPIRY] = "inv_reservation_expiry",
	[INDEX_RESERVATION_HELD] = "inv_reservation_held",
	[INDEX_IDEMPOTENCY] = "inv_idempotency_pkey",
	[INDEX_ORDER_ID] = "inv_order_pkey",
	[INDEX_ORDER_RESERVATION] = "inv_order_reservation_id_key",
};

typedef struct Places
{
	Oid			schema;
	Oid			tables[NUM_TABLES];
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
 * Open and lock one of the extension's tables.  Raises 55000 if it is not
 * there, or older than this library.
 */
Relation
catalog_open_table(TableId table, int lockmode)
{
	Relation	relation;

	for (;;)
	{
		Oid			relid;

		CHECK_FOR_INTERRUPTS();
		ensure_valid();
		relid = places.tables[table];
		relation = try_table_open(relid, lockmode);
		if (relation == NULL)
		{
			places_valid = false;
			continue;
		}

		/* taking the lock may have told us that the OID is out of date */
		ensure_valid();
		if (places.tables[table] == relid)
			break;
		table_close(relation, lockmode);
	}

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
		Oid			relid = get_relname_relid(known_indexes[index], places.schema);

		if (!OidIsValid(relid))
			report_missing(known_indexes[index]);
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

		if (!OidIsValid(relid))
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

/*
 * Does writing to this table run code that the install script did not put
 * there: a trigger, a check, an index or a column of the shop's own?
 */
bool
catalog_has_foreign_code(TableId table, Relation relation)
{
	const KnownTable *known = &known_tables[table];
	TupleConstr *constraints = RelationGetDescr(relation)->constr;
	List	   *indexes = RelationGetIndexList(relation);
	int			index_count = list_length(indexes);

	list_free(indexes);
	return relation->trigdesc != NULL ||
		index_count != known->indexes ||
		RelationGetNumberOfAttributes(relation) != known->columns ||
		(constraints != NULL && constraints->num_check != known->checks);
}
