/*
 * retake.c
 *		Taking the stock of a dead hold again, to sell it.
 *
 * A payment may arrive after its hold has died.  Then inv_confirm() with
 * "retake" sells what the hold held, all of it or nothing, if it can still be
 * had.  Whether somebody has swept the hold meanwhile makes one difference only:
 *
 * - A line that nobody has freed still has its units on its stock row.  They are
 *   sold from there, even if safety stock was raised since.
 * - A line that was freed has none.  Its units are taken as by a buyer: those to
 *   spare, and those of other dead holds.  They may sit on another stripe now.
 *
 * The reservation is locked, so no line changes while this waits for stock.  Of
 * a SKU of which a line was freed all rows are locked, and for one order of locks
 * those of the other lines too.  No line of the reservation itself is among the
 * dead ones that are reclaimed: it has no two lines on the stock of one SKU.
 */
#include "postgres.h"

#include "records/item.h"
#include "rules/reclaim.h"
#include "rules/reserve.h"
#include "rules/reserve_steps.h"
#include "rules/retake.h"

/* Has the line lost units? */
static bool
was_freed(const ReservationLine *line)
{
	return line->status == RESERVATION_EXPIRED && line->quantity > 0;
}

/* Does selling the reservation take more stock than its lines sit on? */
bool
retake_needs_stock(const Reservation *reservation)
{
	for (int i = 0; i < reservation->count; i++)
	{
		if (was_freed(&reservation->lines[i]))
			return true;
	}
	return false;
}

static int
compare_stock(const void *left, const void *right)
{
	return stock_key_compare(&(*(ReservationLine *const *) left)->stock,
							 &(*(ReservationLine *const *) right)->stock);
}

/*
 * Lock all stock rows of the SKUs of a reservation that the caller has locked,
 * and add them.  Raises 40001.
 */
void
retake_lock(Call *call, const Reservation *reservation, StockSet *stock)
{
	ReservationLine **lines = palloc(reservation->count * sizeof(ReservationLine *));
	int			count = 0;

	for (int i = 0; i < reservation->count; i++)
	{
		if (reservation->lines[i].quantity > 0)
			lines[count++] = &reservation->lines[i];
	}
	qsort(lines, count, sizeof(ReservationLine *), compare_stock);
	for (int i = 0; i < count; i++)
		stock_lock_sku(call, stock, lines[i]->stock.item_id,
					   lines[i]->stock.location_id);
}

/* Raise IV006 unless all that the reservation holds is on sale. */
static void
check_on_sale(Call *call, const Reservation *reservation, TimestampTz now)
{
	for (int i = 0; i < reservation->count; i++)
	{
		const ReservationLine *line = &reservation->lines[i];
		CatalogueItem item;

		if (line->quantity > 0 &&
			item_find_by_id(call, line->stock.item_id, &item))
			item_require_on_sale(&item, now);
	}
}

/*
 * Make sure of the units that were freed, of which some may be under other dead
 * holds: they are in "dead", locked.  Raises IV001 if some cannot be had.
 */
static void
find_units(Call *call, const Reservation *reservation, StockSet *stock,
		   TimestampTz now, LineList *dead)
{
	ReserveResult result = {0};

	result.shortages = palloc(reservation->count * sizeof(Shortage));
	for (int i = 0; i < reservation->count; i++)
	{
		const ReservationLine *line = &reservation->lines[i];
		Shortage   *shortage = &result.shortages[result.shortage_count];
		int64		units;

		result.lines += line->quantity > 0 ? 1 : 0;
		if (!was_freed(line))
			continue;
		units = reclaim_units(call, stock, line->stock.item_id,
							  line->stock.location_id, line->quantity, now,
							  dead);
		if (units >= line->quantity)
			continue;
		shortage->sku = item_sku(call, line->stock.item_id);
		shortage->requested = line->quantity;
		shortage->available = Max(units, 0);
		result.shortage_count++;
	}
	if (result.shortage_count > 0)
		reserve_report_shortage(&result);
}

/*
 * Take a dead hold's units again, so that it can be sold: all that it holds is
 * reserved on the stock rows of its lines afterwards, and the lines that had been
 * freed are confirmed.  The reservation is locked, and its stock is in the set,
 * locked, by retake_lock() if it needs any.  The caller sells the units and
 * writes the stock.  Raises IV001, IV006, 40001, XX001.
 */
void
retake_expired(Call *call, Reservation *reservation, StockSet *stock,
			   TimestampTz now)
{
	Posting		posting = {"retake", &reservation->id, NULL, NULL};
	LineList	dead = {0};

	check_on_sale(call, reservation, now);
	find_units(call, reservation, stock, now, &dead);
	reclaim_free(call, stock, &dead, now);
	for (int i = 0; i < reservation->count; i++)
	{
		ReservationLine *line = &reservation->lines[i];
		StockKey	key = line->stock;

		if (line->status != RESERVATION_EXPIRED)
			continue;
		if (line->quantity > 0)
		{
			StockRow   *row = stock_gather(call, stock, key.item_id,
										   key.location_id, line->quantity);

			stock_post(call, row, 0, line->quantity, &posting);
			key = row->key;
		}
		line_sell_expired(call, line, &key, now);
	}
}
