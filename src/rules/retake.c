/*
 * retake.c
 *		Taking the stock of a dead hold again, to sell it.
 *
 * A payment may arrive after its hold has died.  Then inv_confirm() with
 * "retake" sells what the hold held, all of it or nothing, if it can still be
 * had.  Whether somebody has swept the hold meanwhile must make no difference, so
 * what is not freed yet is freed first (rules/hold.c).  Then its units are taken
 * as by a buyer: those to spare, and those of other dead holds, within the
 * purchase limits of today.  They may sit on another stripe afterwards.
 *
 * The reservation is locked, so no line changes while this waits for stock.
 */
#include "postgres.h"

#include "records/backorder.h"
#include "records/customer_holds.h"
#include "records/item.h"
#include "rules/purchase_limit.h"
#include "rules/reclaim.h"
#include "rules/reserve.h"
#include "rules/reserve_steps.h"
#include "rules/retake.h"

/*
 * The items of a reservation that have a purchase limit, each once, and the
 * units of them; none if nobody knows the customer.
 */
static int
limited_items(Call *call, const Reservation *reservation,
			  CatalogueItem *items, int64 *units)
{
	int			count = 0;

	if (reservation->lines[0].customer == NULL)
		return 0;
	for (int i = 0; i < reservation->count; i++)
	{
		const ReservationLine *line = &reservation->lines[i];
		int			place = 0;

		while (place < count && items[place].item_id != line->stock.item_id)
			place++;
		if (place == count)
		{
			if (!item_find_by_id(call, line->stock.item_id, &items[count]) ||
				items[count].max_per_customer == 0)
				continue;
			units[count++] = 0;
		}
		units[place] += line->quantity;
	}
	return count;
}

/*
 * Before a reservation is locked whose units may be taken again: keep other
 * calls of its customer for items with a purchase limit waiting.
 */
void
retake_lock_customer(Call *call, const pg_uuid_t *id)
{
	Reservation reservation;
	CatalogueItem *items;
	ItemCustomer *locks;
	int64	   *units;
	int			count;

	if (!reservation_find(call, id, &reservation))
		return;
	items = palloc(reservation.count * sizeof(CatalogueItem));
	units = palloc(reservation.count * sizeof(int64));
	locks = palloc(reservation.count * sizeof(ItemCustomer));
	count = limited_items(call, &reservation, items, units);
	for (int i = 0; i < count; i++)
	{
		locks[i].item_id = items[i].item_id;
		locks[i].customer = reservation.lines[0].customer;
	}
	if (count > 0)
		customers_lock(call, locks, count);
}

/*
 * Raise IV007 unless the customer may have what the reservation held; if so, it
 * counts for him again.
 */
static void
check_limits(Call *call, const Reservation *reservation, TimestampTz now)
{
	CatalogueItem *items = palloc(reservation->count * sizeof(CatalogueItem));
	int64	   *units = palloc(reservation->count * sizeof(int64));
	int			count = limited_items(call, reservation, items, units);

	for (int i = 0; i < count; i++)
	{
		CustomerHolds holds;

		purchase_limit_count(call, &items[i], reservation->lines[0].customer,
							 now, false, &holds);
		purchase_limit_check(&items[i], &holds, units[i]);
		for (int j = 0; j < reservation->count; j++)
		{
			if (reservation->lines[j].stock.item_id == items[i].item_id)
				customer_remember_again(call, &reservation->lines[j]);
		}
	}
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
 * Make sure of the units, of which some may be under other dead holds: they are
 * in "dead", locked.  Raises IV001 if some cannot be had.
 */
static void
find_units(Call *call, const Reservation *reservation, StockSet *stock,
		   TimestampTz now, LineList *dead)
{
	ReserveResult result = {0};

	result.shortages = palloc0(reservation->count * sizeof(Shortage));
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
		shortage->location_id = line->stock.location_id;
		shortage->available = shortage->in_all = Max(units, 0);
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
 * Raises IV001, IV006, IV007, 40001, XX001.
 */
void
retake_units(Call *call, Reservation *reservation, StockSet *stock,
			 TimestampTz now)
{
	Posting		posting = {"retake", &reservation->id, NULL, NULL};
	LineList	dead = {0};

	check_on_sale(call, reservation, now);
	check_limits(call, reservation, now);
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

			backorder_fill(call, row);
			stock_post(call, row, 0, line->quantity, &posting);
			backorder_promised(call, row, line, now);
			key = row->key;
		}
		line_sell_expired(call, line, &key, now);
	}
}
