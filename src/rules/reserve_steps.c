/*
 * reserve_steps.c
 *		The steps that reserving for one buyer and for many have in common.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "errors.h"
#include "records/backorder.h"
#include "rules/purchase_limit.h"
#include "rules/reclaim.h"
#include "rules/reserve_steps.h"
#include "rules/stripes.h"
#include "settings.h"

/* May an item be held at a moment? */
bool
item_on_sale(const CatalogueItem *item, TimestampTz now)
{
	return item->selling && now < item->listed_until;
}

/* Raise IV006 unless an item may be held at a moment. */
void
item_require_on_sale(const CatalogueItem *item, TimestampTz now)
{
	if (!item_on_sale(item, now))
		ereport(ERROR,
				(rejection(ERRCODE_INV_LISTING_CLOSED),
				 errmsg("SKU \"%s\" is not on sale", item->sku),
				 item->selling
				 ? errdetail("Its listing closed at %s.",
							 timestamptz_to_str(item->listed_until))
				 : errdetail("The shop has stopped selling it.")));
}

/* How long a hold of an item lives if the caller does not say; microseconds. */
int64
default_ttl(const CatalogueItem *item)
{
	return item->hold_ttl > 0 ? item->hold_ttl
		: (int64) setting_default_ttl * USECS_PER_SEC;
}

/* When a hold of "ttl" microseconds that begins at "from" ends at most. */
TimestampTz
hold_expiry(TimestampTz from, int64 ttl)
{
	return from + Min(ttl, (int64) setting_max_ttl * USECS_PER_SEC);
}

/* Units of a SKU that nobody has been promised, dead holds not counted. */
static int64
spare_units(StockSet *stock, int64 item_id, int32 location_id)
{
	int			count;
	StockRow   *rows = stock_of_sku(stock, item_id, location_id, &count);

	return stock_kept_for_line(rows, count) ? 0 : stock_spare(rows, count);
}

/*
 * Units of a SKU that could be held now, dead holds counted as free, as the
 * call's snapshot sees them: at least 0, and no more while they are kept for
 * those who wait.  "stock" holds the SKU's rows.  Stops counting dead holds when
 * there are "enough".
 */
int64
available_now(Call *call, StockSet *stock, int64 item_id, int32 location_id,
			  int64 enough)
{
	int			count;
	StockRow   *rows = stock_of_sku(stock, item_id, location_id, &count);
	int64		units = stock_spare(rows, count);

	if (stock_kept_for_line(rows, count))
		return 0;
	if (units < enough)
		units += dead_units(call, item_id, location_id,
							stock_earliest_expiry(rows, count),
							GetCurrentTimestamp(), enough - units);
	return Max(units, 0);
}

/*
 * Does a hold hold what is asked for, no more and no less, for the same
 * reference?  "wanted" names each item once.  Raises 40001 if the snapshot of
 * the transaction does not see the hold.
 */
bool
hold_is_same(Call *call, const pg_uuid_t *id, const WantedUnits *wanted,
			 int count, const char *reference)
{
	Reservation reservation;
	const char *its_reference;
	int64		missing = 0;

	if (!reservation_find(call, id, &reservation))
		row_report_conflict();
	its_reference = reservation.lines[0].reference;
	if ((reference == NULL) != (its_reference == NULL) ||
		(reference != NULL && strcmp(reference, its_reference) != 0))
		return false;

	for (int i = 0; i < reservation.count; i++)
		missing -= reservation.lines[i].quantity;
	for (int i = 0; i < count; i++)
	{
		int64		units = 0;

		for (int j = 0; j < reservation.count; j++)
		{
			const ReservationLine *line = &reservation.lines[j];

			if (line->stock.item_id == wanted[i].item_id &&
				(!wanted[i].at_location ||
				 line->stock.location_id == wanted[i].location_id))
				units += line->quantity;
		}
		if (units != wanted[i].quantity)
			return false;
		missing += units;
	}
	return missing == 0;
}

/*
 * The first result of a key that has been used, its status as of now; false if
 * that reservation has been purged.
 */
bool
reserve_replay(Call *call, const KeyedCall *keyed, ReserveResult *result)
{
	Reservation reservation;
	StockSet	stock = {0};

	result->reservation_id = keyed->reservation_id;
	if (!reservation_find(call, &result->reservation_id, &reservation))
		return false;

	result->held = true;
	result->replayed = true;
	result->status = reservation_status(&reservation, GetCurrentTimestamp());
	result->expires_at = reservation.lines[0].expires_at;
	result->lines = reservation.count;
	result->available = PG_INT64_MAX;
	for (int i = 0; i < reservation.count; i++)
		stock_add_sku(call, &stock, reservation.lines[i].stock.item_id,
					  reservation.lines[i].stock.location_id);
	for (int i = 0; i < reservation.count;)
	{
		int64		item_id = reservation.lines[i].stock.item_id;
		int64		left = 0;

		/* lines of one SKU, from several locations, follow each other */
		for (; i < reservation.count &&
			 reservation.lines[i].stock.item_id == item_id; i++)
			left += Max(spare_units(&stock, item_id,
									reservation.lines[i].stock.location_id), 0);
		result->available = Min(result->available, left);
	}
	return true;
}

/*
 * Write a line of a new hold, and take its units from the stock rows of the
 * SKU: they are in the set, locked, and have so many to spare.  The caller has
 * filled in "line" but for what comes from the item and the stock; "operation" is
 * what the ledger calls it.  stock_write() must follow.
 */
void
take_units(Call *call, StockSet *stock, const CatalogueItem *item,
		   int32 location_id, ReservationLine *line, const char *operation)
{
	Posting		posting = {operation, &line->reservation_id, NULL, NULL};
	StockRow   *row;

	spread_if_contested(call, stock, item->item_id, location_id);
	row = stock_gather(call, stock, item->item_id, location_id, line->quantity);
	/* what dead holds have given up goes to those who wait for it already */
	backorder_fill(call, row);
	line->stock = row->key;
	line->unit_price = item->unit_price;
	line->currency = item->currency;
	line_insert(call, line);
	if (limits_customers(item) && line->customer != NULL)
		customer_remember_line(call, line);
	stock_post_hold(call, row, line->quantity, line->expires_at, &posting);
	backorder_promised(call, row, line, line->created_at);
}
