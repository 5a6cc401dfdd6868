/*
 * retake.c
 *		Taking the stock of a dead hold again, to sell it.
 *
 * A payment may arrive after its hold has died.  Then inv_confirm() with
 * "retake" sells what the hold held, all of it or nothing, if it can still be
 * had.  Whether somebody has swept the hold meanwhile must make no difference, so
 * what is not freed yet is freed first (rules/hold.c).  Then its units are taken
 * as by a buyer: those to spare, and those of other dead holds.  They may sit on
 * another stripe afterwards.
 *
 * The reservation is locked, so no line changes while this waits for stock.
 */
#include "postgres.h"

#include "records/item.h"
#include "rules/reclaim.h"
#include "rules/reserve.h"
#include "rules/reserve_steps.h"
#include "rules/retake.h"

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
 * Make sure of the units, of which some may be under other dead holds: they are
 * in "dead", locked.  Raises IV001 if some cannot be had.
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

		if (line->quantity == 0)
			continue;
		result.lines++;
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
 * Take the units of an expired reservation again, so that they can be sold: they
 * are reserved on the stock rows of its lines afterwards, and the lines are
 * confirmed.  The reservation is locked, all its lines are expired, and the stock
 * is locked by retake_lock().  The caller sells the units and writes the stock.
 * Raises IV001, IV006, 40001, XX001.
 */
void
retake_units(Call *call, Reservation *reservation, StockSet *stock,
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
