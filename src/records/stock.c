/*
 * stock.c
 *		Stock rows: the counters of units on hand and reserved.
 *
 * Everybody who changes stock does it in the same three steps:
 *
 * 1. lock the rows (see below), SKU by SKU in the order of their keys: two
 *    calls that want the same rows wait for one another, never in a circle;
 * 2. decide on the numbers as they are *now*, under the locks, and post each
 *    change with stock_post(), which counts and writes the ledger entry;
 * 3. stock_write(): one update a row, however many changes it took.
 *
 * What must never happen: a decision on numbers read before the lock; a
 * change without its ledger entry; a wait for a row while a later one in the
 * order is held.
 *
 * Stripes.  A SKU's stock at a location may be spread over several rows, so
 * that many transactions commit a sale of it at once; the sum is the truth.
 * Who wants units takes one row that has them all, if there is such a row:
 * stock_lock_enough() begins at this backend's own place on the ring, passes
 * over rows that are busy, waits for one if all are, and has nothing locked
 * when it finds none.  Only then all rows are locked, in their order, and
 * units gathered from several (stock_lock_sku(), stock_gather()).  Which rows
 * there are changes only under the lock of the first stripe, so that who
 * has locked that one first knows them all.
 *
 * A retired stripe takes no new holds.  Units that come free on it still count
 * in the sum; stock_write() moves them to a stripe that lives, if the caller
 * has one locked, and deletes the row when nothing is left on it.
 *
 * Queues.  Whoever wants a row stands in a queue of ours, a heavyweight lock
 * on its key.  PostgreSQL's own queue stands at a version of the row, and
 * breaks up whenever the row is updated: then the waiters race for the next
 * version, the last may be first, and with hundreds of them each commit wakes
 * them all.  In ours the first keeps his place until his transaction ends,
 * and that end wakes the second, who then finds the row free: first come,
 * first served, one wake-up a transaction.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "records/item.h"
#include "records/stock.h"
#include "settings.h"
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
	STOCK_UPDATED_AT,
	STOCK_EARLIEST_EXPIRY
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
	row->earliest_expiry = row_get_int64(slot, STOCK_EARLIEST_EXPIRY);
	row->changed = false;
	row->current = false;
	row->contested = false;
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

/* The scan keys of a SKU at a location, up to a place on the ring. */
static void
keys_up_to(ScanKeyData *keys, int64 item_id, int32 location_id, int32 place)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(location_id));
	ScanKeyInit(&keys[2], 3, BTLessEqualStrategyNumber, F_INT4LE,
				Int32GetDatum(place));
}

/*
 * Where the last version of a stripe was seen that took long to find: while
 * some old snapshot lives, the versions of a hot row are many and stand in the
 * index in no particular order.  From the last one seen the chain of versions
 * leads to the one of today.  Any of these places may be wrong, forgotten or
 * another row's by now; then the index is asked again.
 */
#define PLACES_REMEMBERED 256

typedef struct RememberedPlace
{
	Oid			relation;		/* InvalidOid: nothing */
	int64		item_id;
	int32		location_id;
	int32		place;			/* on the ring, as asked for */
	ItemPointerData tid;
} RememberedPlace;

static RememberedPlace remembered_places[PLACES_REMEMBERED];

static RememberedPlace *
remembered_place(OpenTable *table, int64 item_id, int32 location_id,
				 int32 place, bool *valid)
{
	uint32		hash = hash_combine(murmurhash32((uint32) item_id),
									murmurhash32((uint32) place));
	RememberedPlace *remembered = &remembered_places[hash % PLACES_REMEMBERED];

	*valid = remembered->relation == RelationGetRelid(table->relation) &&
		remembered->item_id == item_id &&
		remembered->location_id == location_id &&
		remembered->place == place;
	return remembered;
}

static void
remember_place(OpenTable *table, const StockRow *row, int32 place)
{
	bool		valid;
	RememberedPlace *remembered = remembered_place(table, row->key.item_id,
												   row->key.location_id, place,
												   &valid);

	remembered->relation = RelationGetRelid(table->relation);
	remembered->item_id = row->key.item_id;
	remembered->location_id = row->key.location_id;
	remembered->place = place;
	remembered->tid = row->tid;
}

/*
 * Find a stripe that has come since, between one and a place on the ring.  If
 * there are several, the last of them.
 */
static void
find_later(Call *call, OpenTable *table, StockRow *row, int32 place)
{
	ScanKeyData keys[4];

	if (row->key.stripe == place)
		return;
	keys_up_to(keys, row->key.item_id, row->key.location_id, place);
	ScanKeyInit(&keys[3], 3, BTGreaterStrategyNumber, F_INT4GT,
				Int32GetDatum(row->key.stripe));
	if (row_find(call, table, INDEX_STOCK, keys, 4))
		read_row(row, table->found);
}

/*
 * Find the last stripe at or before a place on the ring, as the call's snapshot
 * sees it.
 */
static bool
find_up_to(Call *call, int64 item_id, int32 location_id, int32 place,
		   StockRow *row)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	RememberedPlace *remembered;
	ScanKeyData keys[3];
	bool		valid;

	remembered = remembered_place(table, item_id, location_id, place, &valid);
	if (valid)
	{
		remembered->relation = InvalidOid;
		if (row_find_from(table, &remembered->tid))
		{
			read_row(row, table->found);
			if (row->key.item_id == item_id &&
				row->key.location_id == location_id &&
				row->key.stripe <= place)
			{
				remembered->relation = RelationGetRelid(table->relation);
				remembered->tid = row->tid;
				find_later(call, table, row, place);
				return true;
			}
		}
	}

	keys_up_to(keys, item_id, location_id, place);
	if (!row_find(call, table, INDEX_STOCK, keys, 3))
		return false;
	read_row(row, table->found);
	if (table->tangled)
		remember_place(table, row, place);
	return true;
}

/* Add the stock rows of a SKU from a place on the ring to its end. */
static void
add_from(Call *call, StockSet *set, int64 item_id, int32 location_id,
		 int32 from)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	ScanKeyData keys[4];
	RowWalk		walk;
	StockRow	row;
	int32		place = RING_PLACES - 1;

	/* in one go, if it can be done */
	keys_up_to(keys, item_id, location_id, place);
	ScanKeyInit(&keys[3], 3, BTGreaterEqualStrategyNumber, F_INT4GE,
				Int32GetDatum(from));
	row_walk_back(&walk, call, table, INDEX_STOCK, keys, 4);
	while (place >= from && row_walk_next(&walk))
	{
		read_row(&row, walk.slot);
		add_row(set, &row);
		place = row.key.stripe - 1;
	}
	row_walk_end(&walk);

	/* else, from there on, stripe by stripe */
	while (walk.tangled && place >= from &&
		   find_up_to(call, item_id, location_id, place, &row) &&
		   row.key.stripe >= from)
	{
		add_row(set, &row);
		place = row.key.stripe - 1;
	}
}

/*
 * Add all the stock rows of a SKU at a location, as the call's snapshot sees
 * them.  There may be none: nothing was ever received there.
 */
void
stock_add_sku(Call *call, StockSet *set, int64 item_id, int32 location_id)
{
	add_from(call, set, item_id, location_id, FIRST_STRIPE);
}

/* The same as of this instant, to be locked by row_lock_version(). */
static bool
find_latest_up_to(Call *call, int64 item_id, int32 location_id, int32 place,
				  StockRow *row)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	ScanKeyData keys[3];
	bool		remembered;

	(void) remembered_place(table, item_id, location_id, place, &remembered);
	keys_up_to(keys, item_id, location_id, place);
	if (remembered || !row_find_latest(call, table, INDEX_STOCK, keys, 3))
		return find_up_to(call, item_id, location_id, place, row);
	read_row(row, table->found);
	if (table->tangled)
		remember_place(table, row, place);
	return true;
}

/* The first "RING_PLACES" numbers, each bit by bit in reverse. */
static int32
reverse_bits(uint32 number)
{
	int32		reversed = 0;

	for (int bit = 1; bit < RING_PLACES; bit <<= 1)
	{
		reversed = reversed << 1 | (number & 1);
		number >>= 1;
	}
	return reversed;
}

/*
 * The place of the n-th stripe: 0, then half the ring, then its quarters, so
 * that any number of them stands evenly.
 */
int32
stock_stripe_place(int n)
{
	return reverse_bits(n);
}

/* This backend's place on the ring: neighbours in time stand far apart. */
static int32
own_place(void)
{
	return reverse_bits(MyProc - ProcGlobal->allProcs);
}

/*
 * The stripe that this backend begins at, as of this instant; false if there is
 * no stock at all.
 */
bool
stock_near(Call *call, int64 item_id, int32 location_id, StockRow *row)
{
	return find_latest_up_to(call, item_id, location_id, own_place(), row);
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

/* The scan keys of a row. */
static void
keys_of(ScanKeyData *keys, const StockKey *key)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(key->item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(key->location_id));
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(key->stripe));
}

/* Read a row anew by its key; false if the call's snapshot sees none. */
static bool
find_row(Call *call, OpenTable *table, StockRow *row)
{
	ScanKeyData keys[3];

	keys_of(keys, &row->key);
	if (!row_find(call, table, INDEX_STOCK, keys, 3))
		return false;
	read_row(row, table->found);
	return true;
}

/*
 * The same as of this instant, to be locked at once.  May take a new snapshot.
 */
static bool
find_latest(Call *call, OpenTable *table, StockRow *row)
{
	ScanKeyData keys[3];
	StockKey	key = row->key;
	bool		remembered;

	(void) remembered_place(table, key.item_id, key.location_id, key.stripe,
							&remembered);
	keys_of(keys, &key);
	if (remembered || !row_find_latest(call, table, INDEX_STOCK, keys, 3))
	{
		call_see_now(call);
		return find_up_to(call, key.item_id, key.location_id, key.stripe, row) &&
			row->key.stripe == key.stripe;
	}
	read_row(row, table->found);
	if (table->tangled)
		remember_place(table, row, key.stripe);
	return true;
}

/* A row that a hold sits on, which must be there. */
static void
require_row(Call *call, OpenTable *table, StockRow *row)
{
	if (!find_row(call, table, row))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a reservation refers to a stock row that does not exist"),
				 errdetail("SKU \"%s\", location \"%s\", stripe %d.",
						   item_sku(call, row->key.item_id),
						   location_code(call, row->key.location_id),
						   row->key.stripe),
				 errhint("inv_check() tells what else is wrong.")));
}

/*
 * Add the rows on which units can be put that were sold from "key" some time
 * ago: that one, if it is still there, and the first.
 */
void
stock_add_home(Call *call, StockSet *set, StockKey key)
{
	StockRow	row = {0};

	row.key = key;
	if (key.stripe != FIRST_STRIPE &&
		find_row(call, call_open(call, TABLE_STOCK), &row))
		add_row(set, &row);
	key.stripe = FIRST_STRIPE;
	stock_add_key(set, key);
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

/* The last transaction of this session that has locked stock. */
static struct
{
	TransactionId transaction;
	uint64		first_call;		/* the first of its calls to do so */
	int			places_kept;	/* in queues, see may_keep_place() */
}			locker;

/*
 * A wait this many times as long as deadlock_timeout makes even a transaction
 * that is innocent look for a deadlock.
 */
#define PATIENCE 60

/*
 * Wait for a place in a queue.
 *
 * PostgreSQL looks for a deadlock when a wait has lasted for deadlock_timeout:
 * with the whole lock table locked, and in time that grows with the square of
 * the queue.  A thousand waiters who do that each second keep the queue from
 * moving, and it never recovers.  And where two transactions do block each
 * other, whoever looks first is the one to die, which may be anybody who only
 * stands behind them.
 *
 * So a call does not look if no earlier one of its transaction has locked
 * stock.  Within a call the order holds, therefore a circle has in it somebody
 * who waits for something else than a queue, or who has stock from an earlier
 * call; and he looks in time.
 */
static LockAcquireResult
wait_in_queue(Call *call, const LOCKTAG *tag)
{
	LockAcquireResult result;
	int			level;

	if (TransactionIdIsValid(locker.transaction) &&
		locker.transaction == GetTopTransactionIdIfAny() &&
		locker.first_call != call->serial)
		return LockAcquire(tag, ExclusiveLock, false, false);

	level = NewGUCNestLevel();
	(void) set_config_option("deadlock_timeout",
							 psprintf("%dms", (int) Min((int64) DeadlockTimeout *
														PATIENCE, INT_MAX)),
							 PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	result = LockAcquire(tag, ExclusiveLock, false, false);
	AtEOXact_GUC(true, level);
	return result;
}

/*
 * A place in a queue is in the shared lock table, which is not made for
 * transactions that hold thousands: beyond so many rows a transaction gives
 * its places up as soon as it has the rows.  The next in the queue then waits
 * for the transaction instead, and is woken twice.
 */
#define MAX_PLACES_KEPT 16

static bool
may_keep_place(void)
{
	return locker.places_kept++ < MAX_PLACES_KEPT;
}

/* A row has been locked. */
static void
note_lock(Call *call)
{
	TransactionId transaction = GetTopTransactionId();

	if (locker.transaction == transaction)
		return;
	locker.transaction = transaction;
	locker.first_call = call->serial;
	locker.places_kept = 0;
}

/* Can it be that this transaction has locked a stock row before? */
static bool
may_have_row(const Call *call)
{
	return call->wrote_before ||
		(TransactionIdIsValid(locker.transaction) &&
		 locker.transaction == GetTopTransactionIdIfAny());
}

/* Whatever the row has, the caller wants it. */
#define ANY_UNITS (-1)

/*
 * Stand in a row's queue and lock it, if "needed" units are to be had of it:
 * ROW_CHANGED says that they are not, and then nothing is locked.  Else the
 * row is read as it is now, which may be newer than the call's snapshot.
 */
static RowLock
lock_row(Call *call, OpenTable *table, StockRow *row, RowWait wait,
		 int64 needed)
{
	LOCKTAG		tag;
	LockAcquireResult place;
	RowLock		result = ROW_CHANGED;
	ItemPointerData seen;
	bool		waited = false;
	bool		stale = false;

	queue_tag(&tag, &row->key);
	place = LockAcquire(&tag, ExclusiveLock, false, true);
	if (place == LOCKACQUIRE_NOT_AVAIL)
	{
		if (wait == ROW_SKIP_BUSY)
			return ROW_BUSY;
		/* who has the row must not stand behind those who wait for him */
		if (may_have_row(call) && find_row(call, table, row) &&
			row_is_ours(table->found))
		{
			result = row_lock(call, table, &row->tid, ROW_WAIT);
			read_row(row, table->found);
			return result;
		}
		ExecClearTuple(table->found);
		place = wait_in_queue(call, &tag);
		waited = stale = true;
	}
	while (result == ROW_CHANGED)
	{
		if (stale)
		{
			/* begin at the row as it is now, not at the version we knew */
			if (!find_latest(call, table, row))
			{
				result = ROW_GONE;
				break;
			}
		}
		seen = row->tid;
		if (needed == ANY_UNITS)
			result = row_lock(call, table, &row->tid, wait);
		else if (row->retired || stock_row_spare(row) < needed)
			break;
		else
			result = row_lock_version(call, table, &row->tid, wait);
		stale = true;
	}
	if (result == ROW_LOCKED)
	{
		note_lock(call);
		read_row(row, table->found);
		row->current = !waited && ItemPointerEquals(&seen, &row->tid);
		row->contested = waited && LockHasWaiters(&tag, ExclusiveLock, false);
	}
	if (place == LOCKACQUIRE_ALREADY_HELD || result != ROW_LOCKED ||
		!may_keep_place())
		LockRelease(&tag, ExclusiveLock, false);
	return result;
}

/* Lock the rows from "first" on and read them; those that are gone leave. */
static void
lock_rows(Call *call, StockSet *set, int first)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	int			kept = first;

	for (int i = first; i < set->count; i++)
	{
		if (lock_row(call, table, &set->rows[i], ROW_WAIT, ANY_UNITS) != ROW_LOCKED)
			continue;
		if (kept != i)
			set->rows[kept] = set->rows[i];
		kept++;
	}
	set->count = kept;
}

/*
 * Lock the rows that holds sit on, added with stock_add_key(), in order,
 * waiting as long as it takes, and read them as they are now; with a retired
 * stripe the first one, for what comes free.  The caller holds no stock row
 * yet.  Raises 40001 where the transaction's snapshot is out of date.
 */
void
stock_lock(Call *call, StockSet *set)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	int			wanted;

	sort_set(set);
	wanted = set->count;
	for (int i = 0; i < wanted; i++)
	{
		StockKey	first = set->rows[i].key;

		if (!ItemPointerIsValid(&set->rows[i].tid))
			require_row(call, table, &set->rows[i]);
		first.stripe = FIRST_STRIPE;
		if (set->rows[i].retired)
			stock_add_key(set, first);
	}
	sort_set(set);
	for (int i = 0; i < set->count; i++)
	{
		if (!ItemPointerIsValid(&set->rows[i].tid))
			require_row(call, table, &set->rows[i]);
	}
	lock_rows(call, set, 0);

	/* a stripe may have been retired while we waited for it */
	wanted = set->count;
	for (int i = 0; i < wanted; i++)
	{
		StockRow	first = {set->rows[i].key};

		first.key.stripe = FIRST_STRIPE;
		if (set->rows[i].retired && stock_find(set, first.key) == NULL &&
			stock_try_lock(call, &first))
			add_row(set, &first);
	}
	sort_set(set);
}

/*
 * Lock all rows of a SKU at a location and add them.  The caller holds no row
 * of it, nor of one that comes later.  Raises 40001.
 */
void
stock_lock_sku(Call *call, StockSet *set, int64 item_id, int32 location_id)
{
	StockSet	rows = {0};
	StockRow	first = {{item_id, location_id, FIRST_STRIPE}};

	if (!find_row(call, call_open(call, TABLE_STOCK), &first))
		return;
	add_row(&rows, &first);
	rows.sorted = true;
	lock_rows(call, &rows, 0);
	if (rows.count == 0)
		return;					/* deleted by hand meanwhile */

	/* from here on there are neither more rows nor others */
	call_see_now(call);
	add_from(call, &rows, item_id, location_id, FIRST_STRIPE + 1);
	sort_set(&rows);
	lock_rows(call, &rows, 1);
	for (int i = 0; i < rows.count; i++)
		add_row(set, &rows.rows[i]);
}

/* How many busy stripes are passed over before one is waited for. */
#define MAX_PASSED 4

/* How often a row that was waited for may turn out to have too little. */
#define MAX_WAITS 3

/*
 * Lock one row of a SKU that has "units" to spare, and add it.  False if there
 * is none: then nothing of the SKU is locked.  "near" is what stock_near() has
 * found, or NULL.  The caller holds no row of the SKU, nor of one that comes
 * later.  Raises 40001.
 */
bool
stock_lock_enough(Call *call, StockSet *set, int64 item_id, int32 location_id,
				  int64 units, const StockRow *near)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);

	for (int waits = 0; waits < MAX_WAITS; waits++)
	{
		int32		begin = own_place();
		int32		place = begin;
		bool		wrapped = false;
		int			passed = 0;
		StockRow	row;
		StockRow	busy;

		bool		found = waits == 0 && near != NULL;

		if (found)
			row = *near;

		/* down the ring, and round */
		while (passed < MAX_PASSED &&
			   (found ||
				find_latest_up_to(call, item_id, location_id, place, &row)) &&
			   !(wrapped && row.key.stripe <= begin))
		{
			found = false;
			if (!row.retired && stock_row_spare(&row) >= units)
			{
				switch (lock_row(call, table, &row, ROW_SKIP_BUSY, units))
				{
					case ROW_LOCKED:
						add_row(set, &row);
						return true;
					case ROW_BUSY:
						if (passed++ == 0)
							busy = row;
						break;
					default:
						break;
				}
			}
			if (row.key.stripe == FIRST_STRIPE)
			{
				if (wrapped)
					break;
				wrapped = true;
				place = RING_PLACES - 1;
			}
			else
				place = row.key.stripe - 1;
		}
		if (passed == 0)
			return false;
		if (lock_row(call, table, &busy, ROW_WAIT, units) == ROW_LOCKED)
		{
			add_row(set, &busy);
			return true;
		}
	}
	return false;
}

/*
 * Lock one row, whose key is given, out of order, that is without waiting;
 * false if it is busy, or gone.
 */
bool
stock_try_lock(Call *call, StockRow *row)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);

	return find_row(call, table, row) &&
		lock_row(call, table, row, ROW_SKIP_BUSY, ANY_UNITS) == ROW_LOCKED;
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
 * Make the first "stripes" stock rows of a SKU, where they are not there yet,
 * and the default location.  For the shop's calls; buyers find no row and are
 * told that there is no stock.
 */
void
stock_create(Call *call, int64 item_id, int32 location_id, int stripes)
{
	static SqlStatement insert_location = {
		"INSERT INTO inv_location (location_id, code, name)"
		" VALUES (0, 'default', 'Default location') ON CONFLICT DO NOTHING",
		SPI_OK_INSERT
	};
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

	sql_begin(call);
	if (location_id == DEFAULT_LOCATION_ID)
		sql_run(call, &insert_location, NULL, NULL);
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
 * Change the counters of a locked row, in units, and enter it into the ledger.
 * stock_write() must follow.
 */
void
stock_post(Call *call, StockRow *row, int64 delta_on_hand,
		   int64 delta_reserved, const Posting *posting)
{
	row->on_hand += delta_on_hand;
	row->reserved += delta_reserved;
	if (row->reserved == 0)
		row->earliest_expiry = DT_NOEND;
	row->changed = true;
	ledger_append(call, posting, row->key.item_id, row->key.location_id,
				  row->key.stripe, delta_on_hand, delta_reserved,
				  row->on_hand, row->reserved);
}

/* Post a hold of so many units, which dies at a moment. */
void
stock_post_hold(Call *call, StockRow *row, int64 units, TimestampTz expires_at,
				const Posting *posting)
{
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

	if (into == NULL || stock_spare(rows, count) < units)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stock rows of SKU \"%s\" were changed by hand",
						item_sku(call, item_id)),
				 errdetail("No stripe takes holds at location \"%s\".",
						   location_code(call, location_id)),
				 errhint("inv_check() tells what is wrong.")));
	for (int i = 0; i < count && stock_row_spare(into) < units; i++)
	{
		int64		moved = Min(stock_row_spare(&rows[i]),
								units - stock_row_spare(into));

		if (&rows[i] != into && moved > 0)
			move_units(call, &rows[i], into, moved);
	}
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

	sort_set(set);
	empty_retired(call, set);
	for (int i = 0; i < set->count; i++)
	{
		StockRow   *row = &set->rows[i];

		if (!row->changed)
			continue;
		row->changed = false;
		if (row->retired && row->on_hand == 0 && row->reserved == 0)
		{
			row_delete(call, table, &row->tid);
			continue;
		}
		row_begin_update(call, table, &row->tid);
		row_set(table, STOCK_ON_HAND, Int64GetDatum(row->on_hand));
		row_set(table, STOCK_RESERVED, Int64GetDatum(row->reserved));
		row_set(table, STOCK_RETIRED, BoolGetDatum(row->retired));
		row_set(table, STOCK_VERSION, Int64GetDatum(row->version));
		row_set(table, STOCK_UPDATED_AT,
				TimestampTzGetDatum(GetCurrentTimestamp()));
		row_set(table, STOCK_EARLIEST_EXPIRY,
				TimestampTzGetDatum(row->earliest_expiry));
		row_update(call, table);
	}
}
