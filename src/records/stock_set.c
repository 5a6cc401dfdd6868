/*
 * stock_set.c
 *		Sets of stock rows: in lock order, none twice.
 *
 * Rows are added in any order, and more than once: carts name SKUs as they
 * like, a sweep meets rows as their holds died.  A set is put right when it is
 * asked for, so that adding n rows costs no more than sorting them.
 */
#include "postgres.h"

#include "records/stock_rows.h"

/* The lock order. */
int
stock_key_compare(const void *left, const void *right)
{
	const StockKey *a = left;
	const StockKey *b = right;

	if (a->item_id != b->item_id)
		return a->item_id < b->item_id ? -1 : 1;
	if (a->location_id != b->location_id)
		return a->location_id < b->location_id ? -1 : 1;
	if (a->stripe != b->stripe)
		return a->stripe < b->stripe ? -1 : 1;
	return 0;
}

/* By key; of two with one key the one that has been read comes first. */
static int
compare_rows(const void *left, const void *right)
{
	const StockRow *a = left;
	const StockRow *b = right;
	int			order = stock_key_compare(&a->key, &b->key);

	if (order != 0)
		return order;
	return (int) ItemPointerIsValid(&b->tid) - (int) ItemPointerIsValid(&a->tid);
}

/* Bring a set into lock order, each row once. */
void
stock_set_sort(StockSet *set)
{
	int			kept = 0;

	if (set->sorted || set->count == 0)
		return;
	qsort(set->rows, set->count, sizeof(StockRow), compare_rows);
	for (int i = 1; i < set->count; i++)
	{
		if (stock_key_compare(&set->rows[i].key, &set->rows[kept].key) != 0)
			set->rows[++kept] = set->rows[i];
	}
	set->count = kept + 1;
	set->sorted = true;
}

/*
 * The place of "key" in the set: of its row if it is there, else of the row
 * that it would stand before.
 */
static int
search(StockSet *set, const StockKey *key, bool *found)
{
	int			low = 0;
	int			high;

	stock_set_sort(set);
	high = set->count;
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (stock_key_compare(&set->rows[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < set->count &&
		stock_key_compare(&set->rows[low].key, key) == 0;
	return low;
}

/* Add a row; whether it was there before is sorted out later. */
void
stock_add_row(StockSet *set, const StockRow *row)
{
	if (set->count == set->capacity)
	{
		set->capacity = Max(4, set->capacity * 2);
		set->rows = set->rows == NULL
			? palloc(set->capacity * sizeof(StockRow))
			: repalloc_huge(set->rows, set->capacity * sizeof(StockRow));
	}
	set->rows[set->count++] = *row;
	set->sorted = false;
}

/* Add the stock row that a reservation's line sits on. */
void
stock_add_key(StockSet *set, StockKey key)
{
	StockRow	row = {0};

	row.key = key;
	ItemPointerSetInvalid(&row.tid);
	stock_add_row(set, &row);
}

/* The row with a key; NULL if it is not in the set. */
StockRow *
stock_find(StockSet *set, StockKey key)
{
	bool		found;
	int			place = search(set, &key, &found);

	return found ? &set->rows[place] : NULL;
}

/* The row with a key, which the caller has locked. */
StockRow *
stock_require(StockSet *set, StockKey key)
{
	StockRow   *row = stock_find(set, key);

	if (row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stock row was deleted by hand"),
				 errdetail("Item " INT64_FORMAT ", location %d, stripe %d.",
						   key.item_id, key.location_id, key.stripe),
				 errhint("inv_check() tells what else is wrong.")));
	return row;
}

/* The first of the rows of a SKU at a location, and how many there are. */
StockRow *
stock_of_sku(StockSet *set, int64 item_id, int32 location_id, int *count)
{
	StockKey	key = {item_id, location_id, PG_INT32_MIN};
	bool		found;
	int			first = search(set, &key, &found);
	int			after = first;

	while (after < set->count &&
		   set->rows[after].key.item_id == item_id &&
		   set->rows[after].key.location_id == location_id)
		after++;
	*count = after - first;
	return &set->rows[first];
}

/* The row on which to put units that were sold from "key". */
StockRow *
stock_home(StockSet *set, StockKey key)
{
	StockRow   *row = stock_find(set, key);

	if (row != NULL && !row->retired)
		return row;
	key.stripe = FIRST_STRIPE;
	return stock_require(set, key);
}
