/*
 * stripes.c
 *		Over how many rows the stock of a SKU is spread.
 *
 * All rows of the SKU are locked, the first stripe before the others, as by
 * anybody who needs them all: buyers who take one row that has enough go on
 * until it is the turn of theirs.  A stripe that is taken away keeps what is
 * held on it, and goes with its last hold; one that is wanted again before
 * that is simply no longer retired.
 *
 * What nobody has been promised is shared out evenly.
 */
#include "postgres.h"

#include "records/stock.h"
#include "rules/stripes.h"

/* Is this one of the first "count" places? */
static bool
is_among(const int32 *places, int count, int32 place)
{
	for (int i = 0; i < count; i++)
	{
		if (places[i] == place)
			return true;
	}
	return false;
}

/* Units on a row that nobody has been promised, backorders or not. */
static int64
loose_units(const StockRow *row)
{
	return row->on_hand - row->reserved - row->min_available;
}

/*
 * Share what is loose out over the rows that take holds.  Where more has been
 * promised than there is, the first has the whole shortfall.
 */
static void
share_evenly(Call *call, StockSet *stock, int stripes)
{
	Posting		posting = {"restripe", NULL, NULL, NULL};
	int64		loose = 0;
	int			given = 0;

	for (int i = 0; i < stock->count; i++)
		loose += loose_units(&stock->rows[i]);

	for (int i = 0; i < stock->count; i++)
	{
		StockRow   *row = &stock->rows[i];
		int64		share = 0;

		if (!row->retired && loose < 0)
			share = row->key.stripe == FIRST_STRIPE ? loose : 0;
		else if (!row->retired)
			share = loose / stripes + (given++ < loose % stripes ? 1 : 0);
		if (share != loose_units(row))
			stock_post(call, row, share - loose_units(row), 0, &posting);
	}
}

/*
 * Spread the stock of a SKU at a location over a number of stripes, 1 to
 * MAX_STRIPES.  Raises 40001.
 */
void
set_stripes(Call *call, int64 item_id, int32 location_id, int stripes)
{
	StockSet	stock = {0};
	int32	   *places = palloc(stripes * sizeof(int32));

	for (int i = 0; i < stripes; i++)
		places[i] = stock_stripe_place(i);

	stock_lock_or_create(call, &stock, item_id, location_id);
	stock_create(call, item_id, location_id, places, stripes);
	stock.count = 0;
	stock_lock_sku(call, &stock, item_id, location_id);

	for (int i = 0; i < stock.count; i++)
	{
		StockRow   *row = &stock.rows[i];

		/* the first changes in any case: it is what others wait for */
		row->retired = !is_among(places, stripes, row->key.stripe);
		row->changed = true;
	}
	share_evenly(call, &stock, stripes);
	stock_write(call, &stock);
}
