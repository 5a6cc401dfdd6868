/*
 * expire.c
 *		The sweep: gives back what dead holds still hold.
 *
 * Any number of sweeps may run at once, beside buyers.  A sweep goes by stock
 * rows: it walks over the dead lines, longest dead first, only to learn which
 * rows they sit on; it locks such a row, frees all dead lines on it, and
 * writes it once, however many there were.  It waits neither for a row nor for
 * a reservation, so it may take rows in any order, and sweeps that run at once
 * share the work: what one has, the others pass over.
 *
 * Passed over for ever would be a row that is always busy, of a SKU that is
 * being fought over.  So one sweep at a time begins by standing in the queue
 * for the row of the longest dead hold, like any buyer, while it has nothing
 * locked.  It is the first of the sweeps until its transaction ends: the next
 * one would only wait for what this one is freeing.
 *
 * What a call does is in one transaction: a crash loses nothing, and the next
 * sweep finds what is left.  A cart may lose its lines to several calls; with
 * the first it is expired for ever.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "rules/expire.h"
#include "rules/reclaim.h"
#include "rules/waitlist.h"
#include "settings.h"
#include "statistics/statistics.h"

/* All that one sweep works on. */
typedef struct Sweep
{
	Call	   *call;
	TimestampTz now;
	int64		max_count;		/* reservations */
	int64		lines;			/* freed */
	HTAB	   *reservations;	/* ids of those that lost a line */
	HTAB	   *met;			/* keys of stock rows, locked or passed over */
	StockSet	stock;			/* those locked, to be written */
	MemoryContext scratch;		/* for one line */
} Sweep;

static HTAB *
make_set(const char *name, Size key_size)
{
	HASHCTL		info = {0};

	info.keysize = key_size;
	info.entrysize = key_size;
	info.hcxt = CurrentMemoryContext;
	return hash_create(name, 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static bool
is_full(const Sweep *sweep)
{
	return hash_get_num_entries(sweep->reservations) >= sweep->max_count;
}

/*
 * Take a dead line and free it, if nobody else has it.  Its stock row, which
 * is locked, may be NULL for a line that holds no units.  Returns whether it
 * is free now.
 */
static bool
free_line(Sweep *sweep, ReservationLine *line, StockRow *row)
{
	MemoryContext old_context = MemoryContextSwitchTo(sweep->scratch);
	bool		ours;
	bool		freed;

	/* of a reservation that lost a line to us we have the lock */
	(void) hash_search(sweep->reservations, &line->reservation_id, HASH_FIND,
					   &ours);
	freed = line_lock_dead(sweep->call, line, ours, sweep->now) == ROW_LOCKED;
	if (freed)
	{
		line_give_back(sweep->call, line, row, RESERVATION_EXPIRED, NULL,
					   sweep->now);
		(void) hash_search(sweep->reservations, &line->reservation_id,
						   HASH_ENTER, NULL);
		sweep->lines++;
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(sweep->scratch);
	return freed;
}

/*
 * Free the dead lines on a stock row that has been locked.  If that is all of
 * them the row remembers when the next hold dies: until then nobody looks.
 */
static void
free_lines(Sweep *sweep, StockRow *row)
{
	RowWalk		walk;
	bool		all = row->current;
	TimestampTz next = DT_NOEND;

	held_lines_walk(&walk, sweep->call, &row->key, DT_NOEND);
	while (next == DT_NOEND && row_walk_next(&walk))
	{
		ReservationLine line;

		line_read_units(&line, walk.slot);
		if (line.quantity == 0)
			continue;
		if (line.expires_at > sweep->now)
			next = line.expires_at;
		else if (is_full(sweep))
		{
			all = false;
			break;
		}
		else if (!free_line(sweep, &line, row))
			all = false;
	}
	row_walk_end(&walk);
	if (all && next > row->earliest_expiry)
	{
		row->earliest_expiry = next;
		row->changed = true;
	}
}

/* A stock row is met: true for the first time in this sweep. */
static bool
meet(Sweep *sweep, const StockKey *key)
{
	bool		met_before;

	(void) hash_search(sweep->met, key, HASH_ENTER, &met_before);
	return !met_before;
}

/*
 * Sweep a stock row that was not met before, if it is free.  With a retired
 * one goes the first stripe, to which stock_write() moves what comes free.
 */
static void
sweep_stock(Sweep *sweep, StockKey key)
{
	StockRow	row = {key};

	if (!meet(sweep, &key) || !stock_try_lock(sweep->call, &row))
		return;
	free_lines(sweep, &row);
	stock_add_row(&sweep->stock, &row);
	if (row.retired)
	{
		key.stripe = FIRST_STRIPE;
		sweep_stock(sweep, key);
	}
}

/* Become the first of the sweeps; false if another one is. */
static bool
become_first(void)
{
	LOCKTAG		tag;

	/* beside the queues of stock_lock.c, and no row has item 0 */
	memset(&tag, 0, sizeof(LOCKTAG));
	tag.locktag_field1 = MyDatabaseId;
	tag.locktag_type = LOCKTAG_USERLOCK;
	tag.locktag_lockmethodid = USER_LOCKMETHOD;
	return LockAcquire(&tag, ExclusiveLock, false, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Wait for the stock row of the longest dead hold and sweep it, nothing being
 * locked yet.
 */
static void
sweep_first_row(Sweep *sweep)
{
	StockSet	first = {0};
	RowWalk		walk;

	dead_lines_walk(&walk, sweep->call, sweep->now);
	while (first.count == 0 && row_walk_next(&walk))
	{
		ReservationLine line;

		line_read_units(&line, walk.slot);
		if (line.quantity > 0)
			stock_add_key(&first, line.stock);
	}
	row_walk_end(&walk);
	if (first.count == 0)
		return;

	stock_lock(sweep->call, &first);

	/* holds may have died, or been freed, while we waited */
	call_see_now(sweep->call);
	sweep->now = GetCurrentTimestamp();
	for (int i = 0; i < first.count; i++)
	{
		(void) meet(sweep, &first.rows[i].key);
		first.rows[i].current = true;
		free_lines(sweep, &first.rows[i]);
		stock_add_row(&sweep->stock, &first.rows[i]);
	}
}

/*
 * Expire at most "max_count" reservations that are dead now, the longest dead
 * first and with each what is dead on the same stock row.  Returns how many:
 * less than max_count if others have locked what is left.  Raises 40001.
 */
static int64
run_sweep(Call *call, int64 max_count, bool may_wait)
{
	Sweep		sweep = {call, GetCurrentTimestamp(), max_count};
	RowWalk		walk;

	sweep.reservations = make_set("reservations of a sweep", sizeof(pg_uuid_t));
	sweep.met = make_set("stock rows of a sweep", sizeof(StockKey));
	sweep.scratch = AllocSetContextCreate(CurrentMemoryContext, "swept line",
										  ALLOCSET_DEFAULT_SIZES);
	if (may_wait && become_first())
		sweep_first_row(&sweep);

	dead_lines_walk(&walk, call, sweep.now);
	while (!is_full(&sweep) && row_walk_next(&walk))
	{
		ReservationLine line;

		line_read_units(&line, walk.slot);
		if (line.quantity > 0)
			sweep_stock(&sweep, line.stock);
		else
			free_line(&sweep, &line, NULL);
	}
	row_walk_end(&walk);
	stock_write(call, &sweep.stock);
	statistics_count(COUNT_EXPIRED_BY_SWEEP, sweep.lines);
	return hash_get_num_entries(sweep.reservations);
}

/*
 * Sweep, and offer what has come free to those who wait for it.  Waits for the
 * stock row of the longest dead hold, if no other such sweep is at work.
 */
int64
expire_dead_holds(Call *call, int64 max_count)
{
	int64		expired = run_sweep(call, max_count, true);
	int64		lines = 0;

	(void) waitlist_serve_due(call, setting_expire_batch_size, &lines);
	return expired;
}

/* Sweep what nobody has locked. */
int64
expire_dead_holds_nowait(Call *call, int64 max_count)
{
	return run_sweep(call, max_count, false);
}
