/*
 * stock.c
 *		Stock rows: the counters of units on hand and reserved.
 *
 * Everybody who changes stock does it in the same three steps:
 *
 * 1. say which rows (stock_add_sku(), stock_add_key()) and lock them all with
 *    stock_lock(), which takes them in the order of their keys: two calls that
 *    want the same rows wait for one another, never in a circle;
 * 2. decide on the numbers as they are *now*, under the locks, and post each
 *    change with stock_post(), which counts and writes the ledger entry;
 * 3. stock_write(): one update a row, however many changes it took.
 *
 * Whoever waits for a row waits in a queue of ours, a heavyweight lock on its
 * key that is held only until the row itself is locked.  PostgreSQL's own
 * queue stands at a version of the row, and breaks up whenever the row is
 * updated: then the waiters race for the next version, the last may be first,
 * and with hundreds of them each commit wakes them all.  With ours, one waits
 * for the row and the others, in the order they came, for him.  Who has the
 * row already, by an earlier call of his transaction, must not queue behind
 * those who wait for him.
 *
 * What must never happen: a decision on numbers read before the lock; a
 * change without its ledger entry; a second lock taken with a row held.
 *
 * A SKU's stock at a location may be spread over several rows (stripes); the
 * sum is the truth.  The rows of one SKU are neighbours in a StockSet, see
 * stock_of_sku(), and callers take from them in turn.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "records/item.h"
#include "records/stock.h"
#include "table/row.h"
#include "table/sql.h"

enum ColumnOfStock
{
	STOCK_ITEM_ID = 1,
	STOCK_LOCATION_ID,
	STOCK_STRIPE,
	STOCK_ON_HAND,
	STOCK_RESERVED,
	STOCK_MIN_AVAILABLE,
	STOCK_BACKORDER_UNLIMITED,
	STOCK_RETIRED,
	STOCK_VERSION,
	STOCK_UPDATED_AT
};

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

static void
read_row(StockRow *row, TupleTableSlot *slot)
{
	row->tid = slot->tts_tid;
	row->key.item_id = row_get_int64(slot, STOCK_ITEM_ID);
	row->key.location_id = row_get_int32(slot, STOCK_LOCATION_ID);
	row->key.stripe = row_get_int32(slot, STOCK_STRIPE);
	row->on_hand = row_get_int64(slot, STOCK_ON_HAND);
	row->reserved = row_get_int64(slot, STOCK_RESERVED);
	row->min_available = row_get_int64(slot, STOCK_MIN_AVAILABLE);
	row->backorder_unlimited = row_get_bool(slot, STOCK_BACKORDER_UNLIMITED);
	row->retired = row_get_bool(slot, STOCK_RETIRED);
	row->version = row_get_int64(slot, STOCK_VERSION);
	row->changed = false;
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
static void
sort_set(StockSet *set)
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

	sort_set(set);
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
static void
add_row(StockSet *set, const StockRow *row)
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

/*
 * Add all the stock rows of a SKU at a location, as the call's snapshot sees
 * them.  There may be none: nothing was ever received there.
 */
void
stock_add_sku(Call *call, StockSet *set, int64 item_id, int32 location_id)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	ScanKeyData keys[2];
	RowWalk		walk;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(location_id));
	row_walk_begin(&walk, call, table, INDEX_STOCK, keys, 2);
	while (row_walk_next(&walk))
	{
		StockRow	row;

		read_row(&row, walk.slot);
		add_row(set, &row);
	}
	row_walk_end(&walk);
}

/* Add the stock row that a reservation's line sits on. */
void
stock_add_key(StockSet *set, StockKey key)
{
	StockRow	row = {0};

	row.key = key;
	ItemPointerSetInvalid(&row.tid);
	add_row(set, &row);
}

/* Look a row up that was added by key only. */
static void
find_row(Call *call, OpenTable *table, StockRow *row)
{
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(row->key.item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(row->key.location_id));
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(row->key.stripe));
	if (!row_find(call, table, INDEX_STOCK, keys, 3))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a reservation refers to a stock row that does not exist"),
				 errdetail("SKU \"%s\", location \"%s\", stripe %d.",
						   item_sku(call, row->key.item_id),
						   location_code(call, row->key.location_id),
						   row->key.stripe),
				 errhint("inv_check() tells what else is wrong.")));
	read_row(row, table->found);
}

/*
 * The queue in front of a stock row.  The tag must be another for each row: two
 * rows with one tag could make two carts wait for each other.  It is as long
 * as there are less than 2^48 items, 2^20 locations and 2^12 stripes.
 */
static void
queue_tag(LOCKTAG *tag, const StockKey *key)
{
	memset(tag, 0, sizeof(LOCKTAG));
	tag->locktag_field1 = MyDatabaseId;
	tag->locktag_field2 = (uint32) key->item_id;
	tag->locktag_field3 = (uint32) (key->item_id >> 32) << 16 |
		((uint32) key->location_id >> 4 & 0xffff);
	tag->locktag_field4 = (uint16) (key->location_id << 12 |
									(key->stripe & 0xfff));
	tag->locktag_type = LOCKTAG_USERLOCK;
	tag->locktag_lockmethodid = USER_LOCKMETHOD;
}

/*
 * Wait for a row in the queue and lock it.  False if it is gone.  Takes a new
 * snapshot if there were others before us.
 */
static bool
queue_for_row(Call *call, OpenTable *table, StockRow *row)
{
	LOCKTAG		tag;
	RowLock		result;

	queue_tag(&tag, &row->key);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		find_row(call, table, row);
		if (row_is_ours(table->found))
			return row_lock(call, table, &row->tid, ROW_WAIT) == ROW_LOCKED;

		(void) LockAcquire(&tag, ExclusiveLock, false, false);

		/* begin at the row as it is now, not at the version we knew */
		call_see_now(call);
		find_row(call, table, row);
	}
	result = row_lock(call, table, &row->tid, ROW_WAIT);
	LockRelease(&tag, ExclusiveLock, false);
	return result == ROW_LOCKED;
}

/* Lock one row and read it again; false if it is busy or gone. */
static bool
lock_row(Call *call, OpenTable *table, StockRow *row, RowWait wait)
{
	bool		locked;

	if (!ItemPointerIsValid(&row->tid))
		find_row(call, table, row);
	if (wait == ROW_WAIT)
		locked = queue_for_row(call, table, row);
	else
		locked = row_lock(call, table, &row->tid, wait) == ROW_LOCKED;
	if (locked)
		read_row(row, table->found);
	return locked;
}

/*
 * Lock every row of the set, in order, waiting as long as it takes, and read
 * it as it is now.  A row that is gone leaves the set.  The caller holds no
 * stock row yet.  Raises 40001 where the transaction's snapshot is out of
 * date.
 */
void
stock_lock(Call *call, StockSet *set)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	int			kept = 0;

	sort_set(set);
	for (int i = 0; i < set->count; i++)
	{
		if (!lock_row(call, table, &set->rows[i], ROW_WAIT))
			continue;
		if (kept != i)
			set->rows[kept] = set->rows[i];
		kept++;
	}
	set->count = kept;
}

/* Lock one row out of order, without waiting; false if it is busy. */
bool
stock_try_lock(Call *call, StockRow *row)
{
	return lock_row(call, call_open(call, TABLE_STOCK), row, ROW_SKIP_BUSY);
}

/* Add a row that has been locked with stock_try_lock(). */
void
stock_add_locked(StockSet *set, const StockRow *row)
{
	add_row(set, row);
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

/*
 * Make the stock row, and the default location, unless they are there.  For
 * the shop's calls; buyers find no row and are told that there is no stock.
 */
void
stock_create(Call *call, int64 item_id, int32 location_id)
{
	static SqlStatement insert_location = {
		"INSERT INTO inv_location (location_id, code, name)"
		" VALUES (0, 'default', 'Default location') ON CONFLICT DO NOTHING",
		SPI_OK_INSERT
	};
	static SqlStatement insert_stock = {
		"INSERT INTO inv_stock (item_id, location_id, stripe)"
		" VALUES ($1, $2, 0) ON CONFLICT DO NOTHING",
		SPI_OK_INSERT, 2, {INT8OID, INT4OID}
	};
	Datum		values[2] = {Int64GetDatum(item_id), Int32GetDatum(location_id)};

	sql_begin(call);
	if (location_id == DEFAULT_LOCATION_ID)
		sql_run(call, &insert_location, NULL, NULL);
	sql_run(call, &insert_stock, values, NULL);
	sql_end(call);
	call_next_command(call);
}

/* Units that the row could still give to a hold; negative when overdrawn. */
int64
stock_row_available(const StockRow *row)
{
	if (row->retired)
		return 0;
	if (row->backorder_unlimited)
		return UNLIMITED_UNITS;
	return row->on_hand - row->reserved - row->min_available;
}

/*
 * Change the counters of a locked row, in units, and enter it into the ledger.
 * stock_write() must follow.
 */
void
stock_post(Call *call, StockRow *row, int64 delta_on_hand,
		   int64 delta_reserved, const Posting *posting)
{
	row->on_hand += delta_on_hand;
	row->reserved += delta_reserved;
	row->changed = true;
	ledger_append(call, posting, row->key.item_id, row->key.location_id,
				  row->key.stripe, delta_on_hand, delta_reserved,
				  row->on_hand, row->reserved);
}

/*
 * Write the rows that stock_post() changed.  Raises 23514 should a counter
 * leave its range, whatever a rule thought.
 */
void
stock_write(Call *call, StockSet *set)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);

	for (int i = 0; i < set->count; i++)
	{
		StockRow   *row = &set->rows[i];

		if (!row->changed)
			continue;
		row_begin_update(call, table, &row->tid);
		row_set(table, STOCK_ON_HAND, Int64GetDatum(row->on_hand));
		row_set(table, STOCK_RESERVED, Int64GetDatum(row->reserved));
		row_set(table, STOCK_VERSION, Int64GetDatum(row->version));
		row_set(table, STOCK_UPDATED_AT,
				TimestampTzGetDatum(GetCurrentTimestamp()));
		row_update(call, table);
		row->changed = false;
	}
}
