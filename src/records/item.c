/*
 * item.c
 *		Items and locations: what is sold and where it is kept.
 *
 * Read, never locked: a shop that closes a listing stops the calls that begin
 * afterwards, not one that has already read the item.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"

#include "errors.h"
#include "records/duration.h"
#include "records/item.h"
#include "table/row.h"

enum ColumnOfItem
{
	ITEM_ITEM_ID = 1,
	ITEM_SKU,
	ITEM_NAME,
	ITEM_UNIT_PRICE,
	ITEM_CURRENCY,
	ITEM_LISTED_UNTIL,
	ITEM_SELLING,
	ITEM_HOLD_TTL,
	ITEM_MAX_PER_CUSTOMER,
	ITEM_LIMIT_WINDOW
};

enum ColumnOfLocation
{
	LOCATION_LOCATION_ID = 1,
	LOCATION_CODE
};

/* Find an item by a unique column; false if there is none. */
static bool
find_item(Call *call, IndexId index, ScanKeyData *key, int column,
		  uint32 hash, CatalogueItem *item)
{
	OpenTable  *table = call_open(call, TABLE_ITEM);
	Datum		value;
	bool		isnull;

	if (!row_find_again(call, table, index, key, column, hash))
		return false;

	item->item_id = row_get_int64(table->found, ITEM_ITEM_ID);
	item->sku = row_get_text(table->found, ITEM_SKU);
	value = row_get(table->found, ITEM_UNIT_PRICE, &isnull);
	item->unit_price = NumericGetDatum(DatumGetNumericCopy(value));
	item->currency = row_get_text(table->found, ITEM_CURRENCY);
	value = row_get(table->found, ITEM_LISTED_UNTIL, &isnull);
	item->listed_until = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	item->selling = row_get_bool(table->found, ITEM_SELLING);
	value = row_get(table->found, ITEM_HOLD_TTL, &isnull);
	item->hold_ttl = isnull ? 0 : duration_of(DatumGetIntervalP(value));
	value = row_get(table->found, ITEM_MAX_PER_CUSTOMER, &isnull);
	item->max_per_customer = isnull ? 0 : DatumGetInt64(value);
	value = row_get(table->found, ITEM_LIMIT_WINDOW, &isnull);
	item->limit_window = isnull ? 0 : duration_of(DatumGetIntervalP(value));
	return true;
}

/* Find an item by its SKU; false if there is none. */
bool
item_find(Call *call, const char *sku, CatalogueItem *item)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(sku));
	return find_item(call, INDEX_ITEM_SKU, &key, ITEM_SKU,
					 hash_bytes((const unsigned char *) sku, (int) strlen(sku)),
					 item);
}

/* Find an item by its id; false if somebody has deleted it by hand. */
bool
item_find_by_id(Call *call, int64 item_id, CatalogueItem *item)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	return find_item(call, INDEX_ITEM_ID, &key, ITEM_ITEM_ID,
					 murmurhash32((uint32) item_id), item);
}

/* Find an item by its SKU; raises IV004 if there is none. */
void
item_require(Call *call, const char *sku, CatalogueItem *item)
{
	if (!item_find(call, sku, item))
		ereport(ERROR,
				(rejection(ERRCODE_INV_SKU_UNKNOWN),
				 errmsg("unknown SKU \"%s\"", sku),
				 errhint("Add it with inv_add_item().")));
}

/* The SKU of an item, for messages and results. */
char *
item_sku(Call *call, int64 item_id)
{
	CatalogueItem item;

	if (!item_find_by_id(call, item_id, &item))
		return psprintf("item " INT64_FORMAT, item_id);
	return item.sku;
}

/*
 * The id of a location; NULL is the default one, which need not have a row
 * yet.  Raises IV010 if there is no such location.
 */
int32
location_require(Call *call, const char *code)
{
	OpenTable  *table;
	ScanKeyData key;

	if (code == NULL || strcmp(code, DEFAULT_LOCATION_CODE) == 0)
		return DEFAULT_LOCATION_ID;

	table = call_open(call, TABLE_LOCATION);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(code));
	if (!row_find(call, table, INDEX_LOCATION_CODE, &key, 1))
		ereport(ERROR,
				(rejection(ERRCODE_INV_LOCATION_UNKNOWN),
				 errmsg("unknown location \"%s\"", code),
				 errhint("Add it with inv_add_location().")));
	return row_get_int32(table->found, LOCATION_LOCATION_ID);
}

/* The code of a location, for messages and results. */
char *
location_code(Call *call, int32 location_id)
{
	OpenTable  *table;
	ScanKeyData key;

	if (location_id == DEFAULT_LOCATION_ID)
		return pstrdup(DEFAULT_LOCATION_CODE);

	table = call_open(call, TABLE_LOCATION);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(location_id));
	if (!row_find(call, table, INDEX_LOCATION_ID, &key, 1))
		return psprintf("location %d", location_id);
	return row_get_text(table->found, LOCATION_CODE);
}
