/*
 * stock.c
 *		What stock rows say; making and writing them.
 *
 * Everybody who changes stock does it in the same three steps:
 *
 * 1. lock the rows (stock_lock.c), SKU by SKU in the order of their keys: two
 *    calls that want the same rows wait for one another, never in a circle;
 * 2. decide on the numbers as they are *now*, under the locks, and post each
 *    change with stock_post(), which counts and writes the ledger entry;
 * 3. stock_write(): one update a row, however many changes it took.  What is
 *    there now and was not before goes to backorders (backorder.c).
 *
 * What must never happen: a decision on numbers read before the lock; a
 * change without its ledger entry.
 *
 * Stripes.  A SKU's stock at a location may be spread over several rows, so
 * that many transactions commit a sale of it at once; the sum is the truth.
 * Where no row has as many units as are wanted, they are gathered from several
 * (stock_gather()), so that a hold sits on one.  Which rows there are changes
 * only under the lock of the first stripe: who has locked that one, and then
 * takes a new snapshot, knows them all.  (A retired one may go without it.)
 *
 * A retired stripe takes no new holds.  Units that come free on it still count
 * in the sum; stock_write() moves them to a stripe that lives, if the caller
 * has one locked, and deletes the row when nothing is left on it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "records/backorder.h"
#include "records/item.h"
#include "records/stock_rows.h"
#include "settings.h"
#include "statistics/statistics.h"
#include "table/row.h"
#include "table/sql.h"

/* $1 to $3 a key; does nothing if the row is there */
static SqlStatement insert_stock = {
	"INSERT INTO inv_stock (item_id, location_id, stripe,"
	" backorder_unlimited, version)"
	" SELECT $1, $2, $3,"
	" coalesce(pg_catalog.bool_or(backorder_unlimited), false),"
	" ($3 = 0)::integer"
	" FROM inv_stock WHERE item_id = $1 AND location_id = $2"
	" ON CONFLICT DO NOTHING",
	SPI_OK_INSERT, 3, {INT8OID, INT4OID, INT4OID}
};

static SqlStatement insert_default_location = {
	"INSERT INTO inv_location (location_id, code, name)"
	" VALUES (0, 'default', 'Default location') ON CONFLICT DO NOTHING",
	SPI_OK_INSERT
};

/*
 * Make the first "stripes" stock rows of a SKU, where they are not there yet,
 * and the default location.  For the shop's calls; buyers find no row and are
 * told that there is no stock.
 */
void
stock_create(Call *call, int64 item_id, int32 location_id, int stripes)
{
	sql_begin(call);
	if (location_id == DEFAULT_LOCATION_ID)
		sql_run(call, &insert_default_location, NULL, NULL);
	for (int i = 0; i < stripes; i++)
	{
		Datum		values[3] = {
			Int64GetDatum(item_id), Int32GetDatum(location_id),
			Int32GetDatum(stock_stripe_place(i))
		};

		sql_run(call, &insert_stock, values, NULL);
	}
	sql_end(call);
	call_next_command(call);
}

/*
 * Make a stock row that is missing, empty: for reconciliation, which then says
 * what is on it.  The caller has locked the first stripe, if that is there.
 * False if somebody else has made it meanwhile.
 */
bool
stock_restore(Call *call, StockKey key)
{
	Datum		values[3] = {
		Int64GetDatum(key.item_id), Int32GetDatum(key.location_id),
		Int32GetDatum(key.stripe)
	};
	bool		made;

	sql_begin(call);
	made = sql_run(call, &insert_stock, values, NULL) > 0;
	sql_end(call);
	call_next_command(call);
	return made;
}

/*
 * Make the stock rows of a SKU at a location if there are none.  For who is
 * about to lock stock elsewhere too: rows are made while none is locked.
 */
void
stock_make_sure(Call *call, int64 item_id, int32 location_id)
{
	StockRow	first = {{item_id, location_id, FIRST_STRIPE}};

	if (!stock_find_row(call, &first))
		stock_create(call, item_id, location_id, setting_default_stripes);
}

/*
 * Make stock rows, empty, for those of many items that have none at a location:
 * as many stripes as the settings say.  $1 the items, $2 the location, $3 the
 * stripes.
 */
static SqlStatement insert_missing_stock = {
	"INSERT INTO inv_stock (item_id, location_id, stripe, version)"
	" SELECT item_id, $2, stripe, (stripe = 0)::integer"
	" FROM pg_catalog.unnest($1) AS item_id,"
	"  pg_catalog.unnest($3) AS stripe"
	" WHERE NOT EXISTS (SELECT FROM inv_stock AS stock"
	"  WHERE stock.item_id = item_id.item_id AND stock.location_id = $2)"
	" ORDER BY item_id, stripe ON CONFLICT DO NOTHING",
	SPI_OK_INSERT, 3, {INT8ARRAYOID, INT4OID, INT4ARRAYOID}
};

/*
 * The same for "count" items at once; and the default location.  The caller has
 * no stock locked.
 */
void
stock_create_many(Call *call, const int64 *item_ids, int count,
				  int32 location_id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "new stock rows",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	int			stripes = setting_default_stripes;
	Datum	   *elements = MemoryContextAllocHuge(context, Max(count, stripes) *
												  sizeof(Datum));
	Datum		values[3];

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(item_ids[i]);
	values[0] = PointerGetDatum(construct_array(elements, count, INT8OID, 8,
												FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[1] = Int32GetDatum(location_id);
	for (int i = 0; i < stripes; i++)
		elements[i] = Int32GetDatum(stock_stripe_place(i));
	values[2] = PointerGetDatum(construct_array(elements, stripes, INT4OID, 4,
												true, TYPALIGN_INT));
	sql_begin(call);
	if (location_id == DEFAULT_LOCATION_ID)
		sql_run(call, &insert_default_location, NULL, NULL);
	if (count > 0)
		sql_run(call, &insert_missing_stock, values, NULL);
	sql_end(call);
	call_next_command(call);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

/*
 * Make a stock row with so many units, and enter them into the ledger.  Only
 * for an item that this call has added: nobody else can see it, so nobody can
 * make such a row meanwhile, or wait for it.  The row is written with others,
 * see row_append().
 */
void
stock_append_new(Call *call, const StockKey *key, int64 on_hand,
				 const Posting *posting)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);

	row_begin_insert(call, table);
	row_set(table, STOCK_ITEM_ID, Int64GetDatum(key->item_id));
	row_set(table, STOCK_LOCATION_ID, Int32GetDatum(key->location_id));
	row_set(table, STOCK_STRIPE, Int32GetDatum(key->stripe));
	row_set(table, STOCK_ON_HAND, Int64GetDatum(on_hand));
	row_set(table, STOCK_RESERVED, Int64GetDatum(0));
	row_set(table, STOCK_MIN_AVAILABLE, Int64GetDatum(0));
	row_set(table, STOCK_BACKORDER_UNLIMITED, BoolGetDatum(false));
	row_set(table, STOCK_RETIRED, BoolGetDatum(false));
	row_set(table, STOCK_VERSION,
			Int64GetDatum(key->stripe == FIRST_STRIPE
						  ? stock_new_version(on_hand) : 0));
	row_set(table, STOCK_UPDATED_AT,
			TimestampTzGetDatum(GetCurrentTimestamp()));
	row_set(table, STOCK_EARLIEST_EXPIRY, TimestampTzGetDatum(DT_NOEND));
	if (stock_knows_waiting(table->next))
		row_set(table, STOCK_WAITING, BoolGetDatum(false));
	row_append(call, table);
	if (on_hand != 0)
		ledger_append(call, posting, key->item_id, key->location_id,
					  key->stripe, on_hand, 0, on_hand, 0);
}

/*
 * Lock all rows of a SKU at a location and add them, making them if there are
 * none.  Raises 40001.
 */
void
stock_lock_or_create(Call *call, StockSet *set, int64 item_id,
					 int32 location_id)
{
	stock_lock_sku(call, set, item_id, location_id);
	if (set->count == 0)
	{
		stock_create(call, item_id, location_id, setting_default_stripes);
		stock_lock_sku(call, set, item_id, location_id);
	}
	if (set->count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stock row was deleted by hand"),
				 errdetail("Item " INT64_FORMAT ", location %d.", item_id,
						   location_id)));
}

/*
 * Units on a row that nobody has been promised; negative when overdrawn.
 * Those of a retired stripe too, though they must move before they are held.
 */
int64
stock_row_spare(const StockRow *row)
{
	if (row->backorder_unlimited)
		return UNLIMITED_UNITS;
	return row->on_hand - row->reserved - row->min_available;
}

/* The same, of "count" rows. */
int64
stock_spare(const StockRow *rows, int count)
{
	int64		units = 0;

	for (int i = 0; i < count; i++)
		units += stock_row_spare(&rows[i]);
	return Min(units, UNLIMITED_UNITS);
}

/*
 * Units of a row that are promised, to holds or by sales, without being there.
 * Whoever has read the row knows with it how many units of it are in
 * inv_backorder: as many.
 */
int64
stock_row_shortfall(const StockRow *row)
{
	return Max(row->reserved - row->on_hand, 0);
}

/* May units of a row be promised without being there? */
bool
stock_row_takes_backorders(const StockRow *row)
{
	return row->backorder_unlimited || row->min_available < 0;
}

/*
 * Are the units of "count" rows of a SKU kept for those who wait for it?  Then
 * nobody else may be promised any.
 */
bool
stock_kept_for_line(const StockRow *rows, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (rows[i].waiting)
			return setting_waitlist_first;
	}
	return false;
}

/*
 * Note on all rows of a SKU, which are locked, whether somebody waits for it.
 * stock_write() must follow.
 */
void
stock_set_waiting(StockRow *rows, int count, bool waiting)
{
	for (int i = 0; i < count; i++)
	{
		if (rows[i].waiting == waiting)
			continue;
		rows[i].waiting = waiting;
		rows[i].changed = true;
	}
}

/*
 * Change the counters of a locked row, in units, and enter it into the ledger.
 * stock_write() must follow.  Raises 22003 where there is no room: for units
 * that come back, or for holds of what need not be there.
 */
void
stock_post(Call *call, StockRow *row, int64 delta_on_hand,
		   int64 delta_reserved, const Posting *posting)
{
	row->on_hand += delta_on_hand;
	row->reserved += delta_reserved;
	if (row->on_hand > MAX_QUANTITY || row->on_hand < -MAX_QUANTITY ||
		row->reserved > MAX_QUANTITY)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("stock of SKU \"%s\" would be out of range",
						item_sku(call, row->key.item_id)),
				 errdetail("At most " INT64_FORMAT " units can be on hand, and as many held.",
						   MAX_QUANTITY)));
	if (row->reserved == 0)
		row->earliest_expiry = DT_NOEND;
	row->changed = true;
	ledger_append(call, posting, row->key.item_id, row->key.location_id,
				  row->key.stripe, delta_on_hand, delta_reserved,
				  row->on_hand, row->reserved);
}

/*
 * Put the counters of a locked row right, and the ledger with them: the entry is
 * what brings the sums of the row's entries, "booked", to the new counters.
 * stock_write() must follow.
 */
void
stock_correct(Call *call, StockRow *row, int64 on_hand, int64 reserved,
			  int64 booked_on_hand, int64 booked_reserved,
			  const Posting *posting)
{
	row->on_hand = on_hand;
	row->reserved = reserved;
	row->changed = true;
	ledger_append(call, posting, row->key.item_id, row->key.location_id,
				  row->key.stripe, on_hand - booked_on_hand,
				  reserved - booked_reserved, on_hand, reserved);
}

/* Post a hold of so many units, which dies at a moment. */
void
stock_post_hold(Call *call, StockRow *row, int64 units, TimestampTz expires_at,
				const Posting *posting)
{
	Assert(units > 0 && !row->retired && stock_row_spare(row) >= units);
	row->earliest_expiry = Min(row->earliest_expiry, expires_at);
	stock_post(call, row, 0, units, posting);
}

/* The moment before which no hold on any of the rows dies. */
TimestampTz
stock_earliest_expiry(const StockRow *rows, int count)
{
	TimestampTz earliest = DT_NOEND;

	for (int i = 0; i < count; i++)
		earliest = Min(earliest, rows[i].earliest_expiry);
	return earliest;
}

/* Move units that are on hand from one stripe of a SKU to another. */
static void
move_units(Call *call, StockRow *from, StockRow *to, int64 units)
{
	Posting		posting = {"restripe", NULL, NULL, NULL};

	stock_post(call, from, -units, 0, &posting);
	stock_post(call, to, units, 0, &posting);
}

/* Of some rows the one that takes holds and has most to spare. */
static StockRow *
richest(StockRow *rows, int count)
{
	StockRow   *best = NULL;

	for (int i = 0; i < count; i++)
	{
		if (!rows[i].retired &&
			(best == NULL || stock_row_spare(&rows[i]) > stock_row_spare(best)))
			best = &rows[i];
	}
	return best;
}

/*
 * All stripes of a SKU at a location are retired.  Nothing of ours retires the
 * first.
 */
void
stock_report_retired(Call *call, int64 item_id, int32 location_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stock rows of SKU \"%s\" were changed by hand",
					item_sku(call, item_id)),
			 errdetail("No stripe takes holds at location \"%s\".",
					   location_code(call, location_id)),
			 errhint("inv_check() tells what is wrong.")));
}

/*
 * A row of a SKU with "units" to spare, into which units are moved from the
 * others if there is none.  The rows in the set are locked, and have as many
 * in all.
 */
StockRow *
stock_gather(Call *call, StockSet *set, int64 item_id, int32 location_id,
			 int64 units)
{
	int			count;
	StockRow   *rows = stock_of_sku(set, item_id, location_id, &count);
	StockRow   *into = richest(rows, count);
	bool		gathered = false;

	if (into == NULL)
		stock_report_retired(call, item_id, location_id);
	Assert(stock_spare(rows, count) >= units);
	for (int i = 0; i < count && stock_row_spare(into) < units; i++)
	{
		int64		moved = Min(stock_row_spare(&rows[i]),
								units - stock_row_spare(into));

		if (&rows[i] != into && moved > 0)
		{
			move_units(call, &rows[i], into, moved);
			gathered = true;
		}
	}
	Assert(stock_row_spare(into) >= units);
	if (gathered)
		statistics_count(COUNT_STRIPE_GATHERS, 1);
	return into;
}

/* Move what has come free on retired stripes to one that takes holds. */
static void
empty_retired(Call *call, StockSet *set)
{
	for (int i = 0; i < set->count; i++)
	{
		StockRow   *row = &set->rows[i];
		int			count;
		StockRow   *others;
		StockRow   *into;

		if (!row->retired || row->on_hand == row->reserved)
			continue;
		others = stock_of_sku(set, row->key.item_id, row->key.location_id,
							  &count);
		into = richest(others, count);
		if (into != NULL)
			move_units(call, row, into, row->on_hand - row->reserved);
	}
}

/*
 * Write the rows that stock_post() changed.  Raises 23514 should a counter
 * leave its range, whatever a rule thought.
 */
void
stock_write(Call *call, StockSet *set)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);

	stock_set_sort(set);
	empty_retired(call, set);
	for (int i = 0; i < set->count; i++)
	{
		StockRow   *row = &set->rows[i];

		if (!row->changed)
			continue;
		backorder_fill(call, row);
		row->changed = false;
		if (row->retired && row->on_hand == 0 && row->reserved == 0)
		{
			row_delete(call, table, &row->tid);
			continue;
		}
		row_begin_update(call, table, &row->tid);
		if (row_get_int64(table->next, STOCK_ITEM_ID) != row->key.item_id ||
			row_get_int32(table->next, STOCK_LOCATION_ID) != row->key.location_id ||
			row_get_int32(table->next, STOCK_STRIPE) != row->key.stripe)
			elog(ERROR, "another stock row is about to be overwritten");
		Assert(row_is_ours(table->found));
		row_set(table, STOCK_ON_HAND, Int64GetDatum(row->on_hand));
		row_set(table, STOCK_RESERVED, Int64GetDatum(row->reserved));
		row_set(table, STOCK_MIN_AVAILABLE, Int64GetDatum(row->min_available));
		row_set(table, STOCK_BACKORDER_UNLIMITED,
				BoolGetDatum(row->backorder_unlimited));
		row_set(table, STOCK_RETIRED, BoolGetDatum(row->retired));
		row_set(table, STOCK_VERSION, Int64GetDatum(row->version));
		row_set(table, STOCK_UPDATED_AT,
				TimestampTzGetDatum(GetCurrentTimestamp()));
		row_set(table, STOCK_EARLIEST_EXPIRY,
				TimestampTzGetDatum(row->earliest_expiry));
		if (stock_knows_waiting(table->next))
			row_set(table, STOCK_WAITING, BoolGetDatum(row->waiting));
		row_update(call, table);
	}
}
