/*
 * stock_load.c
 *		Counts of many SKUs at once: a million of them, in one transaction.
 *
 * What costs is what is done for each SKU, so there is as little as can be:
 *
 * 1. New SKUs are added, and the ids of all found, in one statement each.
 * 2. Stock that is there is read, without a lock.  A SKU that has as many units
 *    as were counted is done with: nothing is locked or written.  A load that
 *    is repeated changes nothing.
 * 3. SKUs without stock at the location get their rows, in one statement.
 * 4. The others are locked in the lock order, decided upon as they are then,
 *    and written.  Rows of items that are new here are nobody's to wait for:
 *    they are written with their units, many at a time.
 *
 * What must never happen: that two loads, or a load and a cart, wait for each
 * other in a circle.  Whoever makes stock rows does so while he has none locked,
 * in the order of their keys; whoever locks them does so after that, in the same
 * order.  SKUs are added before either, in the order of their names.
 *
 * Memory: some 300 bytes a SKU, most of them the caller's arrays, taken apart,
 * and a LoadLine.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "rules/reserve_steps.h"
#include "rules/stock_load.h"
#include "rules/waitlist.h"
#include "settings.h"
#include "table/row.h"
#include "table/sql.h"

/* $1 SKUs; the ids of those that were added */
static SqlStatement add_items = {
	"WITH added AS ("
	" INSERT INTO inv_item (sku, name)"
	" SELECT DISTINCT wanted.sku, wanted.sku FROM"
	"  (SELECT sku COLLATE \"C\" AS sku FROM pg_catalog.unnest($1) AS sku) AS wanted"
	" WHERE NOT EXISTS (SELECT FROM inv_item AS item"
	"  WHERE item.sku = wanted.sku)"
	" ORDER BY 1 ON CONFLICT DO NOTHING RETURNING item_id"
	") SELECT pg_catalog.array_agg(item_id ORDER BY item_id) FROM added",
	SPI_OK_SELECT, 1, {TEXTARRAYOID}
};

/* $1 SKUs; their ids in the same order, null for one that is not there */
static SqlStatement find_items = {
	"SELECT pg_catalog.array_agg(item.item_id ORDER BY wanted.place)"
	" FROM (SELECT sku COLLATE \"C\" AS sku, place"
	"  FROM pg_catalog.unnest($1) WITH ORDINALITY AS wanted (sku, place)) AS wanted"
	" LEFT JOIN inv_item AS item ON item.sku = wanted.sku",
	SPI_OK_SELECT, 1, {TEXTARRAYOID}
};

/* The array of numbers that a statement has returned, taken apart. */
static Datum *
read_numbers(bool **nulls, int *count)
{
	bool		isnull;
	Datum		array = sql_value(0, 1, &isnull);
	Datum	   *numbers = NULL;

	*count = 0;
	if (!isnull)
		deconstruct_array(DatumGetArrayTypeP(array), INT8OID, 8,
						  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &numbers, nulls,
						  count);
	return numbers;
}

static int
compare_numbers(const void *left, const void *right)
{
	int64		a = DatumGetInt64(*(const Datum *) left);
	int64		b = DatumGetInt64(*(const Datum *) right);

	return a < b ? -1 : a > b;
}

/* Add the SKUs that are new, and find out the ids of all. */
static void
find_or_add_items(Call *call, LoadLine *lines, char **skus, int count)
{
	Datum	   *elements;
	Datum		array;
	Datum	   *added;
	Datum	   *ids;
	bool	   *nulls;
	int			added_count;
	int			id_count;

	sql_begin(call);
	elements = MemoryContextAllocHuge(CurrentMemoryContext,
									  count * sizeof(Datum));
	for (int i = 0; i < count; i++)
		elements[i] = CStringGetTextDatum(skus[i]);
	array = PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false,
											TYPALIGN_INT));
	for (int i = 0; i < count; i++)
		pfree(DatumGetPointer(elements[i]));

	(void) sql_run(call, &add_items, &array, NULL);
	added = read_numbers(&nulls, &added_count);
	(void) sql_run(call, &find_items, &array, NULL);
	ids = read_numbers(&nulls, &id_count);
	for (int i = 0; i < count; i++)
	{
		/* somebody has deleted it, or given it another name, meanwhile */
		if (i >= id_count || nulls[i])
		{
			CatalogueItem item;

			item_require(call, skus[i], &item);
			row_report_conflict();
		}
		lines[i].item_id = DatumGetInt64(ids[i]);
		lines[i].created = added_count > 0 &&
			bsearch(&ids[i], added, added_count, sizeof(Datum),
					compare_numbers) != NULL;
	}
	sql_end(call);
	call_next_command(call);
}

/* The lock order: by item. */
static int
compare_items(const void *left, const void *right)
{
	const LoadLine *a = left;
	const LoadLine *b = right;

	if (a->item_id != b->item_id)
		return a->item_id < b->item_id ? -1 : 1;
	return a->place - b->place;
}

static int
compare_places(const void *left, const void *right)
{
	return ((const LoadLine *) left)->place - ((const LoadLine *) right)->place;
}

/* Raise 22023 if a SKU is named twice; the lines are in order of items. */
static void
check_unique(const LoadLine *lines, char **skus, int count)
{
	for (int i = 1; i < count; i++)
	{
		if (lines[i].item_id == lines[i - 1].item_id)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("SKU \"%s\" is named twice", skus[lines[i].place]),
					 errdetail("It is element %d and element %d.",
							   lines[i - 1].place + 1, lines[i].place + 1)));
	}
}

/* Read the stock of a SKU as the call's snapshot sees it, without a lock. */
static void
look_at(Call *call, LoadLine *line, const CatalogueItem *item,
		int32 location_id)
{
	StockSet	stock = {0};

	if (line->created)
		return;
	stock_add_sku(call, &stock, line->item_id, location_id);
	if (stock.count == 0)
	{
		line->state = LOAD_MISSING;
		return;
	}
	stock_sum(&stock, item, location_id, &line->level);
	if (line->level.on_hand != line->count)
		return;
	line->state = LOAD_AS_COUNTED;
	line->level.available = available_now(call, &stock, line->item_id,
										  location_id, UNLIMITED_UNITS);
}

/* Set the units of a SKU whose stock is there already. */
static void
set_count(Call *call, LoadLine *line, const CatalogueItem *item,
		  int32 location_id, const char *reason)
{
	StockSet	stock = {0};
	int64		delta;

	stock_lock_or_create(call, &stock, line->item_id, location_id);
	stock_sum(&stock, item, location_id, &line->level);
	delta = line->count - line->level.on_hand;
	line->changed = delta != 0;
	if (line->changed)
	{
		stock_post_delta(call, item, &stock, delta, false, "load_stock",
						 reason);
		stock_write(call, &stock);
		waitlist_serve(call, &stock);
	}
	if (line->level.reserved > 0 || stock.rows[0].waiting)
	{
		/* some of it may have been dead, and freed just now, or be offered */
		call_next_command(call);
		stock_level(call, item, location_id, &line->level);
		return;
	}
	stock_sum(&stock, item, location_id, &line->level);
	line->level.available = Max(stock_spare(stock.rows, stock.count), 0);
}

static int
compare_stripes(const void *left, const void *right)
{
	return *(const int32 *) left - *(const int32 *) right;
}

/* Make the stock of a SKU that this call has added, evenly over "stripes". */
static void
make_stock(Call *call, LoadLine *line, const CatalogueItem *item,
		   int32 location_id, const int32 *stripes, int stripe_count,
		   const char *reason)
{
	Posting		posting = {"load_stock", NULL, NULL, reason};

	for (int i = 0; i < stripe_count; i++)
	{
		StockKey	key = {line->item_id, location_id, stripes[i]};

		stock_append_new(call, &key, line->count / stripe_count +
						 (i < line->count % stripe_count ? 1 : 0), &posting);
	}
	line->changed = line->count != 0;
	line->level.sku = item->sku;
	line->level.location_id = location_id;
	line->level.on_hand = line->level.available = line->count;
	line->level.version = stock_new_version(line->count);
}

/* Make stock rows for the SKUs that were there, but have none. */
static void
make_missing(Call *call, const LoadLine *lines, int count, int32 location_id)
{
	int64	   *item_ids = MemoryContextAllocHuge(call->context,
												  (count + 1) * sizeof(int64));
	int			item_count = 0;

	for (int i = 0; i < count; i++)
	{
		if (lines[i].state == LOAD_MISSING)
			item_ids[item_count++] = lines[i].item_id;
	}
	stock_create_many(call, item_ids, item_count, location_id);
	pfree(item_ids);
}

/* The places of the stripes that new stock is spread over, in lock order. */
static int32 *
new_stripes(int *count)
{
	int32	   *stripes = palloc(setting_default_stripes * sizeof(int32));

	*count = setting_default_stripes;
	for (int i = 0; i < *count; i++)
		stripes[i] = stock_stripe_place(i);
	qsort(stripes, *count, sizeof(int32), compare_stripes);
	return stripes;
}

/*
 * Set on_hand of "count" SKUs at a location, adding those that are new.  The
 * caller has no stock locked.  Returns a line for each, in their order.  Raises
 * 22023 for a SKU that is named twice, IV012 naming the holds for a count below
 * what is held, 22003, 40001.
 */
LoadLine *
stock_load(Call *call, char **skus, const int64 *counts, int count,
		   int32 location_id, const char *reason)
{
	LoadLine   *lines = MemoryContextAllocHuge(call->context,
											   count * sizeof(LoadLine));
	int			stripe_count;
	int32	   *stripes = new_stripes(&stripe_count);
	MemoryContext line_context;
	MemoryContext old_context;

	memset(lines, 0, count * sizeof(LoadLine));
	for (int i = 0; i < count; i++)
	{
		lines[i].place = i;
		lines[i].count = counts[i];
	}
	find_or_add_items(call, lines, skus, count);
	qsort(lines, count, sizeof(LoadLine), compare_items);
	check_unique(lines, skus, count);

	line_context = AllocSetContextCreate(call->context, "line of a load",
										 ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(line_context);
	for (int i = 0; i < count; i++)
	{
		CatalogueItem item = {lines[i].item_id, skus[lines[i].place]};

		CHECK_FOR_INTERRUPTS();
		look_at(call, &lines[i], &item, location_id);
		MemoryContextReset(line_context);
	}
	make_missing(call, lines, count, location_id);
	for (int i = 0; i < count; i++)
	{
		CatalogueItem item = {lines[i].item_id, skus[lines[i].place]};

		CHECK_FOR_INTERRUPTS();
		if (lines[i].created)
			make_stock(call, &lines[i], &item, location_id, stripes,
					   stripe_count, reason);
		else if (lines[i].state != LOAD_AS_COUNTED)
			set_count(call, &lines[i], &item, location_id, reason);
		MemoryContextReset(line_context);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(line_context);

	qsort(lines, count, sizeof(LoadLine), compare_places);
	return lines;
}
