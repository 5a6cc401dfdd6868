/*
 * reclaim.c
 *		Freeing dead holds that sit on locked stock.
 *
 * The next buyer does not wait for a sweep: short of stock, he frees the dead
 * holds on the stock rows he has locked, as many as he needs.
 *
 * He holds stock and wants reservations, which is against the lock order, so
 * he never waits for one: a dead hold that somebody else has locked (a sweep,
 * or a confirm that is about to be refused) does not count as free.
 *
 * Collecting and freeing are two steps, so that a caller who finds too little
 * has changed nothing.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "records/backorder.h"
#include "rules/reclaim.h"
#include "statistics/statistics.h"

/* Add a line to a list. */
void
line_list_add(LineList *dead, const ReservationLine *line)
{
	ReservationLine *added;

	if (dead->count == dead->capacity)
	{
		Size		size;

		dead->capacity = Max(8, dead->capacity * 2);
		size = dead->capacity * sizeof(ReservationLine);
		if (dead->context == NULL)
			dead->context = CurrentMemoryContext;
		dead->lines = dead->lines == NULL
			? MemoryContextAllocHuge(dead->context, size)
			: repalloc_huge(dead->lines, size);
	}
	added = &dead->lines[dead->count++];
	*added = *line;
	added->unit_price = (Datum) 0;
	added->currency = added->customer = added->reference = NULL;
}

/*
 * Lock dead lines on a stock row until they hold at least "wanted" units or
 * there are no more, and add them to the list.  Returns the units found.
 */
static int64
collect_on_row(Call *call, const StockRow *row, int64 wanted, TimestampTz now,
			   LineList *dead)
{
	RowWalk		walk;
	int64		found = 0;

	if (row->earliest_expiry > now)
		return 0;
	held_lines_walk(&walk, call, &row->key, now);
	while (found < wanted && row_walk_next(&walk))
	{
		ReservationLine line;

		line_read_units(&line, walk.slot);
		if (line.quantity == 0 ||
			line_lock_dead(call, &line, false, now) != ROW_LOCKED)
			continue;
		line_list_add(dead, &line);
		found += line.quantity;
	}
	row_walk_end(&walk);
	return found;
}

/*
 * Lock dead lines on "count" stock rows, which the caller has locked, until
 * they hold at least "wanted" units or there are no more, and add them to the
 * list.  Returns the units found.  Raises 40001.
 */
int64
reclaim_collect(Call *call, const StockRow *rows, int count, int64 wanted,
				TimestampTz now, LineList *dead)
{
	int64		found = 0;

	if (wanted <= 0)
		return 0;
	/* holds may have been made, and have died, while the caller waited */
	call_see_now(call);
	for (int i = 0; i < count && found < wanted; i++)
		found += collect_on_row(call, &rows[i], wanted - found, now, dead);
	return found;
}

/*
 * Units of a SKU that can be had on its stock rows in the set, which the caller
 * has locked: those to spare and, where they are fewer than "wanted", those of
 * dead holds, as above.  None while they are kept for those who wait.
 */
int64
reclaim_units(Call *call, StockSet *stock, int64 item_id, int32 location_id,
			  int64 wanted, TimestampTz now, LineList *dead)
{
	int			count;
	StockRow   *rows = stock_of_sku(stock, item_id, location_id, &count);
	int64		units = stock_spare(rows, count);

	if (stock_kept_for_line(rows, count))
		return 0;
	return units + reclaim_collect(call, rows, count, wanted - units, now, dead);
}

/*
 * Close an active line as cancelled or expired and give its units back to its
 * stock row, which the caller has locked as he has the reservation; a line
 * that holds none needs no row.  stock_write() must follow.
 */
void
line_give_back(Call *call, ReservationLine *line, StockRow *row,
			   ReservationStatus status, const char *reason, TimestampTz now)
{
	Posting		posting = {
		status == RESERVATION_EXPIRED ? "expire" : "cancel",
		&line->reservation_id, NULL, reason
	};

	Assert(line->quantity == 0 ||
		   stock_key_compare(&row->key, &line->stock) == 0);
	line_close(call, line, status, now);
	if (line->quantity == 0)
		return;
	backorder_given_up(call, row, line, line->quantity);
	stock_post(call, row, 0, -line->quantity, &posting);
}

/*
 * Expire the lines of the list and give their units back to their stock rows,
 * which are in the set and locked.  stock_write() must follow.
 */
void
reclaim_free(Call *call, StockSet *set, LineList *dead, TimestampTz now)
{
	MemoryContext scratch;

	if (dead->count == 0)
		return;
	scratch = AllocSetContextCreate(CurrentMemoryContext, "freed line",
									ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < dead->count; i++)
	{
		ReservationLine *line = &dead->lines[i];
		MemoryContext old_context = MemoryContextSwitchTo(scratch);

		line_give_back(call, line,
					   line->quantity > 0 ? stock_require(set, line->stock) : NULL,
					   RESERVATION_EXPIRED, NULL, now);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	statistics_count(COUNT_EXPIRED_BY_RECLAIM, dead->count);
}
