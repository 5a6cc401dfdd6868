/*
 * stripes.c
 *		Over how many rows the stock of a SKU is spread.
 *
 * The shop says so, or buyers who queue do.
 *
 * When the shop does, all rows of the SKU are locked, the first stripe before
 * the others, as by anybody who needs them all: buyers who take one row that
 * has enough go on until it is the turn of theirs.  A stripe that is taken
 * away keeps what is held on it, and goes with its last hold; one that is
 * wanted again before that is simply no longer retired.
 *
 * With the setting auto_stripes, a buyer who has waited for stock that is in
 * one piece, and sees others wait behind him, spreads it before he takes his
 * own.  He has the only row there is locked, so he waits for nobody; those
 * behind him still come in their order, those who come later begin at stripes
 * of their own.  When the SKU has been calm for a while inv_maintain() makes
 * one row of it again.
 *
 * What nobody has been promised is always shared out evenly.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "records/item.h"
#include "rules/stripes.h"
#include "settings.h"
#include "table/sql.h"

/* Automatic stripes pay only where each gets so many units. */
#define FEWEST_UNITS 4

/* Is a place one of the first "stripes"? */
static bool
is_among(int32 place, int stripes)
{
	for (int i = 0; i < stripes; i++)
	{
		if (stock_stripe_place(i) == place)
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
 * Share what is loose out over the rows of a SKU that take holds.  Where more
 * has been promised than there is, the first has the whole shortfall.
 */
void
share_evenly(Call *call, StockRow *rows, int count)
{
	Posting		posting = {"restripe", NULL, NULL, NULL};
	int64		loose = 0;
	int64		unshared PG_USED_FOR_ASSERTS_ONLY;
	int			stripes = 0;
	int			given = 0;

	for (int i = 0; i < count; i++)
	{
		loose += loose_units(&rows[i]);
		stripes += rows[i].retired ? 0 : 1;
	}
	/* their units would be on no row, and nobody would know */
	if (count > 0 && stripes == 0)
		stock_report_retired(call, rows->key.item_id, rows->key.location_id);
	unshared = loose;
	for (int i = 0; i < count; i++)
	{
		StockRow   *row = &rows[i];
		int64		share = 0;

		if (!row->retired && loose < 0)
			share = row->key.stripe == FIRST_STRIPE ? loose : 0;
		else if (!row->retired)
			share = loose / stripes + (given++ < loose % stripes ? 1 : 0);
		unshared -= share;
		if (share != loose_units(row))
			stock_post(call, row, share - loose_units(row), 0, &posting);
	}
	Assert(unshared == 0);
}

/*
 * Spread the stock of a SKU at a location over a number of stripes, 1 to
 * MAX_STRIPES.  Raises IV008 where it takes backorders, which stand in the queue
 * of one row; 40001.
 */
void
set_stripes(Call *call, int64 item_id, int32 location_id, int stripes)
{
	StockSet	stock = {0};

	stock_lock_or_create(call, &stock, item_id, location_id);
	if (stripes > 1 && stock_row_takes_backorders(&stock.rows[0]))
		ereport(ERROR,
				(rejection(ERRCODE_INV_NOT_ALLOWED),
				 errmsg("cannot spread SKU \"%s\" over stripes while it takes backorders",
						item_sku(call, item_id)),
				 errdetail("Backorders stand in one queue, that of one stock row."),
				 errhint("Stripes are for stock that is there: see inv_set_policy().")));
	stock_create(call, item_id, location_id, stripes);
	stock.count = 0;
	stock_lock_sku(call, &stock, item_id, location_id);

	for (int i = 0; i < stock.count; i++)
	{
		/* the first changes in any case: it is what others wait for */
		stock.rows[i].retired = !is_among(stock.rows[i].key.stripe, stripes);
		stock.rows[i].changed = true;
	}
	if (stock.count > 0)
		stock_set_waiting(stock.rows, stock.count, stock.rows[0].waiting);
	share_evenly(call, stock.rows, stock.count);
	stock_write(call, &stock);
}

/*
 * If buyers queue for a SKU whose stock is in one piece, which the caller has
 * locked, spread it as auto_stripes says.  The new rows are added to the set;
 * stock_write() must follow.
 */
void
spread_if_contested(Call *call, StockSet *stock, int64 item_id,
					int32 location_id)
{
	StockSet	all = {0};
	int			count;
	StockRow   *rows = stock_of_sku(stock, item_id, location_id, &count);

	if (setting_auto_stripes == 1 || count != 1 || !rows->contested ||
		rows->key.stripe != FIRST_STRIPE || stock_row_takes_backorders(rows) ||
		stock_row_spare(rows) < (int64) setting_auto_stripes * FEWEST_UNITS)
		return;
	/* who was here before us, and has only just gone, may have done it */
	call_see_now(call);
	stock_add_sku(call, &all, item_id, location_id);
	if (all.count != 1)
		return;

	stock_create(call, item_id, location_id, setting_auto_stripes);
	all.count = 0;
	stock_add_sku(call, &all, item_id, location_id);
	for (int i = 0; i < all.count; i++)
	{
		if (all.rows[i].key.stripe != FIRST_STRIPE)
			stock_add_row(stock, &all.rows[i]);
	}
	rows = stock_of_sku(stock, item_id, location_id, &count);
	stock_set_waiting(rows, count, rows->waiting);
	share_evenly(call, rows, count);
}

/*
 * Find a SKU that is in stripes, though auto_stripes would not give them to it
 * now: nobody has touched its stock for some minutes.  False if there is none,
 * or if stripes are the shop's own affair.
 */
bool
calm_stripes(Call *call, int64 *item_id, int32 *location_id)
{
	/* whatever is in stripes has the second one; index inv_stock_striped */
	static SqlStatement find_calm = {
		"SELECT second.item_id, second.location_id FROM inv_stock AS second"
		" WHERE second.stripe = 2048 AND NOT second.retired"
		"  AND (SELECT max(any_of_them.updated_at) FROM inv_stock AS any_of_them"
		"        WHERE any_of_them.item_id = second.item_id"
		"          AND any_of_them.location_id = second.location_id)"
		"      < clock_timestamp() - interval '5 minutes'"
		" LIMIT 1",
		SPI_OK_SELECT
	};
	bool		found;
	bool		isnull;

	if (setting_auto_stripes == 1)
		return false;
	sql_begin(call);
	found = sql_run(call, &find_calm, NULL, NULL) > 0;
	if (found)
	{
		*item_id = DatumGetInt64(sql_value(0, 1, &isnull));
		*location_id = DatumGetInt32(sql_value(0, 2, &isnull));
	}
	sql_end(call);
	return found;
}
