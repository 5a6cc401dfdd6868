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
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/catalog.h"
#include "catalog/extension.h"

#define LEDGER_SEQUENCE "inv_ledger_entry_id_seq"

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
	[INDEX_CUSTOMER_LINE] = {"inv_customer_line_pkey", TABLE_CUSTOMER_LINE},
};

/* Tables that only SQL statements read and write. */
static const char *const other_tables[] = {
	"inv_backorder",
	"inv_ledger_epoch",
	"inv_ledger_hour",
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

/* The first of the others, which an earlier version lacks. */
#define OTHER_BACKORDER 0

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

/* Look the tables up. */
static void
find_places(Places *found)
{
	Oid			stock;

	memset(found, 0, sizeof(Places));
	extension_find_tables(&found->schema, found->tables);
	for (int i = 0; i < lengthof(other_tables); i++)
		found->others[i] = get_relname_relid(other_tables[i], found->schema);

	stock = found->tables[TABLE_STOCK];
	for (int i = 0; i < NUM_TABLES; i++)
		extension_check_owner(found->tables[i], stock);
	for (int i = 0; i < lengthof(other_tables); i++)
		extension_check_owner(found->others[i], stock);
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
 * there, or lacks what this library needs, or the extension is newer, or too
 * old to have it.
 */
Relation
catalog_open_table(TableId table, int lockmode)
{
	Oid			relid;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		ensure_valid();
		relid = places.tables[table];
		if (!OidIsValid(relid))
			extension_report_unusable(known_tables[table].name);
		LockRelationOid(relid, lockmode);

		/* taking the lock may have told us that the OID is out of date */
		ensure_valid();
		if (places.tables[table] == relid)
			break;
		UnlockRelationOid(relid, lockmode);
	}
	return table_open(relid, NoLock);
}

/* Is there a table that the extension may be too old to have? */
bool
catalog_has_table(TableId table)
{
	ensure_valid();
	return OidIsValid(places.tables[table]);
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
			extension_report_unusable(known->name);
		places.indexes[index] = relid;
	}
	return index_open(places.indexes[index], lockmode);
}

/*
 * Is there a table of backorders?  An extension of an earlier version has none,
 * until ALTER EXTENSION UPDATE.
 */
bool
catalog_has_backorders(void)
{
	ensure_valid();
	return OidIsValid(places.others[OTHER_BACKORDER]);
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
			extension_report_unusable(LEDGER_SEQUENCE);
		places.ledger_sequence = relid;
	}
	return places.ledger_sequence;
}
