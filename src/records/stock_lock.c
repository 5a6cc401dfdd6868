/*
 * stock_lock.c
 *		Locking stock rows: the queue in front of each, one row or all.
 *
 * Queues.  Whoever wants a row stands in a queue of ours, a heavyweight lock
 * on its key.  PostgreSQL's own queue stands at a version of the row, and
 * breaks up whenever the row is updated: then the waiters race for the next
 * version, the last may be first, and with hundreds of them each commit wakes
 * them all.  In ours the first keeps his place until his transaction ends,
 * and that end wakes the second, who then finds the row free: first come,
 * first served, one wake-up a transaction.
 *
 * One row or all.  Who wants units takes one row that has them all, if there
 * is such a row: he begins at his backend's own place on the ring, passes over
 * rows that are busy, waits for one if all are, and has nothing locked when he
 * finds none.  Only then all rows are locked, in their order.
 *
 * What must never happen: a wait for a row while one is held that is later in
 * the order; a wait in a queue for a row that this transaction has already.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/guc.h"

#include "records/item.h"
#include "records/stock_rows.h"
#include "statistics/statistics.h"
#include "table/row.h"

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
	tag->locktag_field4 = (uint16) ((uint32) key->location_id << 12 |
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
 * A wait this many times as long as deadlock_timeout makes everybody look for a
 * deadlock.
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
 * So a call leaves looking to others if no earlier one of its transaction has
 * locked stock.  Within a call the order holds, therefore a circle has in it
 * somebody who waits for something else than a queue, or who has stock from an
 * earlier call.  He looks once, when he has waited for deadlock_timeout.  If the
 * circle is closed later than that, by a lock of the shop's own, it is for the
 * one who closed it to find, after PATIENCE.
 */
static LockAcquireResult
wait_patiently(Call *call, const LOCKTAG *tag)
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

/* As above; the time of a wait that is broken off counts too. */
static LockAcquireResult
wait_in_queue(Call *call, const LOCKTAG *tag)
{
	volatile LockAcquireResult result;
	int64		began = statistics_wait_begins();

	PG_TRY();
	{
		result = wait_patiently(call, tag);
	}
	PG_FINALLY();
	{
		statistics_wait_ended(began);
	}
	PG_END_TRY();
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

	/* by now there may be another row at its place, see call_see_now() */
	bool		stale = row->view != call->view;

	queue_tag(&tag, &row->key);
	place = LockAcquire(&tag, ExclusiveLock, false, true);
	if (place == LOCKACQUIRE_NOT_AVAIL)
	{
		/* who has the row must not stand behind those who wait for him */
		if (may_have_row(call) && stock_find_row(call, row) &&
			row_is_ours(table->found))
		{
			if (needed != ANY_UNITS &&
				(row->retired || stock_row_spare(row) < needed))
				return ROW_CHANGED;
			result = row_lock(call, table, &row->tid, ROW_WAIT);
			if (result == ROW_LOCKED)
				stock_read_row(call, row, table->found);
			return result;
		}
		if (wait == ROW_SKIP_BUSY)
			return ROW_BUSY;
		ExecClearTuple(table->found);
		place = wait_in_queue(call, &tag);
		waited = stale = true;
	}
	while (result == ROW_CHANGED)
	{
		if (stale)
		{
			/* begin at the row as it is now, not at the version we knew */
			if (!stock_find_latest_row(call, row))
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
		bool		same = ItemPointerEquals(&seen, &row->tid);

		note_lock(call);
		/* of a version nothing changes, so it need not be read again */
		if (!same)
			stock_read_row(call, row, table->found);
		row->current = same && !waited;
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
		Assert(i == 0 || stock_key_compare(&set->rows[i - 1].key,
										   &set->rows[i].key) < 0);
		if (lock_row(call, table, &set->rows[i], ROW_WAIT, ANY_UNITS) != ROW_LOCKED)
			continue;
		if (kept != i)
			set->rows[kept] = set->rows[i];
		kept++;
	}
	set->count = kept;
}

/* A row that a hold sits on, which must be there. */
static void
require_row(Call *call, StockRow *row)
{
	if (!stock_find_row(call, row))
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
 * Lock the rows that units are to be put on or taken from, in order, waiting as
 * long as it takes, and read them as they are now; with a retired
 * stripe the first one, for what comes free.  The caller holds no stock row
 * yet.  Raises 40001 where the transaction's snapshot is out of date.
 */
void
stock_lock(Call *call, StockSet *set)
{
	StockSet	firsts = {0};
	int			wanted;

	stock_set_sort(set);
	wanted = set->count;
	for (int i = 0; i < wanted; i++)
	{
		StockKey	first = set->rows[i].key;

		if (!ItemPointerIsValid(&set->rows[i].tid))
			require_row(call, &set->rows[i]);
		first.stripe = FIRST_STRIPE;
		if (set->rows[i].retired)
			stock_add_key(set, first);
	}
	stock_set_sort(set);
	for (int i = 0; i < set->count; i++)
	{
		if (!ItemPointerIsValid(&set->rows[i].tid))
			require_row(call, &set->rows[i]);
	}
	lock_rows(call, set, 0);

	/* a stripe may have been retired while we waited for it */
	for (int i = 0; i < set->count; i++)
	{
		StockRow	first = {set->rows[i].key};

		first.key.stripe = FIRST_STRIPE;
		if (set->rows[i].retired && stock_find(set, first.key) == NULL &&
			stock_find(&firsts, first.key) == NULL &&
			stock_try_lock(call, &first))
			stock_add_row(&firsts, &first);
	}
	for (int i = 0; i < firsts.count; i++)
		stock_add_row(set, &firsts.rows[i]);
}

/*
 * The same for who gives units back: of a SKU that somebody waits for all rows,
 * so that he can be served.  Where the first to wait has come only while this
 * waited itself, they are not all locked; see rules/waitlist.c.
 */
void
stock_lock_to_give(Call *call, StockSet *set)
{
	int			wanted;

	stock_set_sort(set);
	wanted = set->count;
	for (int i = 0; i < wanted; i++)
	{
		StockKey	key = set->rows[i].key;

		if (!ItemPointerIsValid(&set->rows[i].tid))
			require_row(call, &set->rows[i]);
		if (set->rows[i].waiting)
			stock_add_sku(call, set, key.item_id, key.location_id);
	}
	stock_lock(call, set);
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
	StockKey	others = {item_id, location_id, FIRST_STRIPE + 1};

	/* the row may have come after the call began */
	call_see_now(call);
	if (!stock_find_row(call, &first))
		return;
	stock_add_row(&rows, &first);
	rows.sorted = true;
	lock_rows(call, &rows, 0);
	if (rows.count == 0)
		return;					/* deleted by hand meanwhile */

	/* from here on there are neither more rows nor others */
	call_see_now(call);
	stock_add_from(call, &rows, others);
	stock_set_sort(&rows);
	lock_rows(call, &rows, 1);
	for (int i = 0; i < rows.count; i++)
		stock_add_row(set, &rows.rows[i]);
}

/* A walk over the stripes of a SKU, down the ring from one's own place. */
typedef struct RingWalk
{
	StockKey	next;			/* the next is the last stripe up to here */
	int32		begin;			/* ends when it comes here again */
	bool		wrapped;
	const StockRow *near;		/* the first, if it is known */
} RingWalk;

/* The next stripe of the walk as of this instant; false after the last. */
static bool
ring_next(Call *call, RingWalk *ring, StockRow *row)
{
	if (ring->near != NULL)
	{
		*row = *ring->near;
		ring->near = NULL;
	}
	else if (!stock_find_latest_up_to(call, ring->next, row))
		return false;
	if (ring->wrapped && row->key.stripe <= ring->begin)
		return false;

	ring->next.stripe = row->key.stripe - 1;
	if (row->key.stripe == FIRST_STRIPE)
	{
		ring->wrapped = true;
		ring->next.stripe = RING_PLACES - 1;
	}
	return true;
}

/* How many busy stripes are passed over before one is waited for. */
#define MAX_PASSED 4

/* How often a row that was waited for may turn out to have too little. */
#define MAX_WAITS 3

/*
 * Lock one row of a SKU at a location that has "units" to spare, and add it.
 * False if there is none: then no more of the SKU is locked than was before.
 * "near" is what stock_near() has found, or NULL.  The caller holds no row of
 * the SKU, nor of one that comes later.  Raises 40001.
 */
bool
stock_lock_enough(Call *call, StockSet *set, int64 item_id, int32 location_id,
				  int64 units, const StockRow *near)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);

	for (int waits = 0; waits < MAX_WAITS; waits++)
	{
		int32		begin = stock_own_place();
		RingWalk	ring = {{item_id, location_id, begin}, begin, false, near};
		int			passed = 0;
		StockRow	row;
		StockRow	busy;

		near = NULL;
		while (passed < MAX_PASSED && ring_next(call, &ring, &row))
		{
			RowLock		result;

			if (row.retired || stock_row_spare(&row) < units)
				continue;
			result = lock_row(call, table, &row, ROW_SKIP_BUSY, units);
			if (result == ROW_LOCKED)
			{
				stock_add_row(set, &row);
				statistics_count(COUNT_STRIPE_PASSES, passed);
				return true;
			}
			if (result == ROW_BUSY && passed++ == 0)
				busy = row;
		}
		if (passed == 0)
			return false;
		/* the one that is waited for is not passed over */
		statistics_count(COUNT_STRIPE_PASSES, passed - 1);
		if (lock_row(call, table, &busy, ROW_WAIT, units) == ROW_LOCKED)
		{
			stock_add_row(set, &busy);
			return true;
		}
	}
	return false;
}

/*
 * Lock stock of a SKU for a buyer of so many units, and add it: one row that
 * has them, or else all rows, which may have fewer.  "near" is what
 * stock_near() has found, or NULL.  The caller holds no row of the SKU, nor of
 * one that comes later.  Raises 40001.
 */
void
stock_lock_units(Call *call, StockSet *set, int64 item_id, int32 location_id,
				 int64 units, const StockRow *near)
{
	if (!stock_lock_enough(call, set, item_id, location_id, units, near))
		stock_lock_sku(call, set, item_id, location_id);
}

/*
 * Lock one row, whose key is given, out of order, that is without waiting;
 * false if it is busy, or gone.
 */
bool
stock_try_lock(Call *call, StockRow *row)
{
	return stock_find_row(call, row) &&
		lock_row(call, call_open(call, TABLE_STOCK), row, ROW_SKIP_BUSY, ANY_UNITS) == ROW_LOCKED;
}

/*
 * Lock all rows of a SKU at a location, out of order, that is without waiting,
 * and add them; false if one is busy, or there is none.
 */
bool
stock_try_lock_sku(Call *call, StockSet *set, int64 item_id, int32 location_id)
{
	StockRow	first = {{item_id, location_id, FIRST_STRIPE}};
	StockKey	others = {item_id, location_id, FIRST_STRIPE + 1};
	StockSet	rows = {0};

	if (!stock_try_lock(call, &first))
		return false;
	stock_add_row(set, &first);

	/* from here on there are no more rows, though a retired one may go */
	call_see_now(call);
	stock_add_from(call, &rows, others);
	for (int i = 0; i < rows.count; i++)
	{
		if (!stock_try_lock(call, &rows.rows[i]))
			return false;
		stock_add_row(set, &rows.rows[i]);
	}
	return true;
}
