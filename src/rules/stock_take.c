/*
 * stock_take.c
 *		The shop's own changes of stock: receive, adjust, stock-takes.
 *
 * What must never happen is that units which a buyer holds are taken from
 * under him unasked.  A change that would do so first frees dead holds, as a
 * buyer would, then raises IV012, naming the holds; only a stock-take with
 * "force" cancels them, the newest first.
 *
 * Forcing goes against the lock order (stock is locked, reservations are
 * wanted), so it takes only what it can lock without waiting: a hold that is
 * being confirmed at that moment is passed over, and if too little is left
 * IV012 tells which.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "records/backorder.h"
#include "rules/reclaim.h"
#include "rules/reserve_steps.h"
#include "rules/stock_take.h"
#include "rules/stripes.h"
#include "rules/waitlist.h"
#include "statistics/statistics.h"
#include "table/sql.h"

/* How many holds IV012 names. */
#define HOLDS_NAMED 10

/*
 * Units that the shop can take from a row without touching what is held.
 * Safety stock is the shop's own; a backorder cap stays one.
 */
static int64
removable_units(const StockRow *row)
{
	if (row->backorder_unlimited)
		return UNLIMITED_UNITS;
	return row->on_hand - row->reserved - Min(row->min_available, 0);
}

static int64
removable_in_all(const StockSet *stock)
{
	int64		units = 0;

	for (int i = 0; i < stock->count; i++)
		units += removable_units(&stock->rows[i]);
	return units;
}

static int64
on_hand_in_all(const StockSet *stock)
{
	int64		units = 0;

	for (int i = 0; i < stock->count; i++)
		units += stock->rows[i].on_hand;
	return units;
}

/* Free dead holds of so many units, or all that there are. */
static void
free_dead_holds(Call *call, StockSet *stock, int64 units, TimestampTz now)
{
	LineList	dead = {0};

	(void) reclaim_collect(call, stock->rows, stock->count, units, now, &dead);
	reclaim_free(call, stock, &dead, now);
}

/* The active lines on the rows of a set. */
static void
list_holds(Call *call, const StockSet *stock, LineList *held)
{
	for (int i = 0; i < stock->count; i++)
	{
		RowWalk		walk;

		held_lines_walk(&walk, call, &stock->rows[i].key, DT_NOEND);
		while (row_walk_next(&walk))
		{
			ReservationLine line;

			line_read(&line, walk.slot);
			if (line.quantity > 0)
				line_list_add(held, &line);
		}
		row_walk_end(&walk);
	}
}

/* The newest first. */
static int
compare_age(const void *left, const void *right)
{
	const ReservationLine *a = left;
	const ReservationLine *b = right;

	if (a->created_at != b->created_at)
		return a->created_at > b->created_at ? -1 : 1;
	return memcmp(&b->reservation_id, &a->reservation_id, sizeof(pg_uuid_t));
}

/*
 * IV012, naming the newest holds: of "wanted" units of all rows of a SKU only
 * "free" can be taken.
 */
void
stock_report_held(Call *call, const CatalogueItem *item, const StockSet *stock,
				  int64 wanted, int64 free)
{
	LineList	held = {0};
	StringInfoData detail;

	call_next_command(call);
	list_holds(call, stock, &held);
	if (held.count > 1)
		qsort(held.lines, held.count, sizeof(ReservationLine), compare_age);

	initStringInfo(&detail);
	appendStringInfo(&detail,
					 INT64_FORMAT " to take off, " INT64_FORMAT " not held.",
					 wanted, Max(free, 0));
	for (int i = 0; i < held.count && i < HOLDS_NAMED; i++)
		appendStringInfo(&detail, "%s %s (" INT64_FORMAT ")",
						 i == 0 ? " Held by" : ",",
						 uuid_text(&held.lines[i].reservation_id),
						 held.lines[i].quantity);
	if (held.count > HOLDS_NAMED)
		appendStringInfo(&detail, " and %d more", held.count - HOLDS_NAMED);
	if (held.count > 0)
		appendStringInfoChar(&detail, '.');

	ereport(ERROR,
			(rejection(ERRCODE_INV_BELOW_HELD),
			 errmsg("stock of SKU \"%s\" would fall below what is held",
					item->sku),
			 errdetail_internal("%s", detail.data),
			 held.count > 0
			 ? errhint("Cancel the holds, or use inv_set_stock() with force => true.")
			 : 0));
}

/*
 * IV012: units are to be taken off that nobody holds, so that no hold of them
 * can become a backorder.  They would be missing to what is sold, or to nobody.
 */
pg_noreturn static void report_nobody_holds(const CatalogueItem *item,
											const StockRow *row);

static void
report_nobody_holds(const CatalogueItem *item, const StockRow *row)
{
	ereport(ERROR,
			(rejection(ERRCODE_INV_BELOW_HELD),
			 errmsg("more units of SKU \"%s\" would be taken off than there are",
					item->sku),
			 errdetail("On hand would be " INT64_FORMAT ", " INT64_FORMAT
					   " held: only units under holds can become backorders.",
					   row->on_hand, row->reserved)));
}

/*
 * Lock the stock rows of a hold that are in neither set, without waiting, and
 * add them to "others".  False if one is busy.
 */
static bool
try_lock_others(Call *call, const Reservation *reservation, StockSet *stock,
				StockSet *others)
{
	StockSet	wanted = {0};

	reservation_add_stock(reservation, &wanted);
	for (int i = 0; i < wanted.count; i++)
	{
		StockRow   *row = &wanted.rows[i];

		if (stock_find(stock, row->key) != NULL ||
			stock_find(others, row->key) != NULL)
			continue;
		if (!stock_try_lock(call, row))
			return false;
		stock_add_row(others, row);
	}
	return true;
}

/*
 * Cancel one hold, whatever else is in it, without waiting for anything.  Does
 * nothing to one that is busy.  Rows of stock that it has elsewhere are locked
 * out of order, hence only tried, and end up in "others".
 */
static void
cancel_by_force(Call *call, StockSet *stock, StockSet *others,
				const pg_uuid_t *id, const char *reason, TimestampTz now)
{
	Reservation reservation;
	ReservationStatus status = RESERVATION_CANCELLED;

	if (reservation_lock(call, id, ROW_SKIP_BUSY, &reservation) != ROW_LOCKED ||
		!try_lock_others(call, &reservation, stock, others))
		return;
	/* one expired line makes it expired for ever */
	if (reservation_status(&reservation, now) == RESERVATION_EXPIRED)
		status = RESERVATION_EXPIRED;

	for (int i = 0; i < reservation.count; i++)
	{
		ReservationLine *line = &reservation.lines[i];
		StockRow   *row = stock_find(stock, line->stock);

		if (line->status != RESERVATION_ACTIVE)
			continue;
		if (row == NULL && line->quantity > 0)
			row = stock_require(others, line->stock);
		line_give_back(call, line, row, status, reason, now);
		if (status == RESERVATION_EXPIRED)
			statistics_count(COUNT_EXPIRED_BY_RECLAIM, 1);
	}
}

/* Cancel holds, the newest first, until "wanted" units can be removed. */
static void
force_holds(Call *call, StockSet *stock, int64 wanted, const char *reason,
			TimestampTz now)
{
	LineList	held = {0};
	StockSet	others = {0};

	call_next_command(call);
	list_holds(call, stock, &held);
	if (held.count > 1)
		qsort(held.lines, held.count, sizeof(ReservationLine), compare_age);
	for (int i = 0; i < held.count && removable_in_all(stock) < wanted; i++)
	{
		/* a cart may have several lines here: the first cancels them all */
		if (i > 0 && memcmp(&held.lines[i].reservation_id,
							&held.lines[i - 1].reservation_id,
							sizeof(pg_uuid_t)) == 0)
			continue;
		cancel_by_force(call, stock, &others, &held.lines[i].reservation_id,
						reason, now);
	}
	stock_write(call, &others);
}

/* A row and how far it is to be raised. */
typedef struct Share
{
	StockRow   *row;
	int64		level;			/* units */
	int64		units;			/* to be added to that */
} Share;

static int
compare_levels(const void *left, const void *right)
{
	const Share *a = left;
	const Share *b = right;

	if (a->level != b->level)
		return a->level < b->level ? -1 : 1;
	return stock_key_compare(&a->row->key, &b->row->key);
}

/* Share units out so that the lowest levels rise first, and all together. */
static void
share_out(Share *shares, int count, int64 units)
{
	int			raised = 1;

	qsort(shares, count, sizeof(Share), compare_levels);
	while (raised < count &&
		   units >= (shares[raised].level - shares[raised - 1].level) * raised)
	{
		units -= (shares[raised].level - shares[raised - 1].level) * raised;
		raised++;
	}
	for (int i = 0; i < raised; i++)
		shares[i].units = shares[raised - 1].level - shares[i].level +
			units / raised + (i < units % raised ? 1 : 0);
}

/*
 * Post a change of on_hand, evenly over the stripes: what comes goes to those
 * that have least, what goes comes from those that can spare most.
 */
static void
post_evenly(Call *call, StockSet *stock, int64 delta, const Posting *posting)
{
	Share	   *shares = palloc0(stock->count * sizeof(Share));
	int			count = 0;

	for (int i = 0; i < stock->count; i++)
	{
		StockRow   *row = &stock->rows[i];

		if (delta >= 0 && row->retired)
			continue;
		shares[count].row = row;
		shares[count].level = delta >= 0 ? stock_row_spare(row)
			: -removable_units(row);
		count++;
	}
	/* what has come would be on no row, and nobody would know */
	if (count == 0)
		stock_report_retired(call, stock->rows[0].key.item_id,
							 stock->rows[0].key.location_id);
	share_out(shares, count, delta >= 0 ? delta : -delta);

	for (int i = 0; i < count; i++)
	{
		StockRow   *row = shares[i].row;
		int64		units = delta >= 0 ? shares[i].units : -shares[i].units;

		/* one that does not change still counts as looked at by the shop */
		if (row->key.stripe == FIRST_STRIPE)
			row->version++;
		if (units != 0 || row->key.stripe == FIRST_STRIPE)
			stock_post(call, row, units, 0, posting);
	}

	/* what the first lacks of its safety stock, the others must not sell */
	if (delta < 0 && stock->count > 1 && stock_row_spare(&stock->rows[0]) < 0)
		share_evenly(call, stock->rows, stock->count);
}

/*
 * Change on_hand of all the rows of a SKU, which are locked, by "delta" units,
 * and post it.  "force" cancels holds that are in the way.  stock_write() must
 * follow.  Raises IV012, 22003, 40001.
 */
void
stock_post_delta(Call *call, const CatalogueItem *item, StockSet *stock,
				 int64 delta, bool force, const char *operation,
				 const char *reason)
{
	Posting		posting = {operation, NULL, NULL, reason};
	int64		on_hand;

	if (pg_add_s64_overflow(on_hand_in_all(stock), delta, &on_hand) ||
		on_hand > MAX_QUANTITY || on_hand < -MAX_QUANTITY)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("stock of SKU \"%s\" would be out of range", item->sku),
				 errdetail("At most " INT64_FORMAT " units can be on hand.",
						   MAX_QUANTITY)));

	if (delta < 0 && removable_in_all(stock) < -delta)
	{
		TimestampTz now = GetCurrentTimestamp();

		free_dead_holds(call, stock, -delta - removable_in_all(stock), now);
		if (force && removable_in_all(stock) < -delta)
			force_holds(call, stock, -delta, reason, now);
		if (removable_in_all(stock) < -delta)
			stock_report_held(call, item, stock, -delta,
							  removable_in_all(stock));
	}

	/* what comes is not for those who have let their holds die */
	if (delta > 0 && stock->rows[0].backordered > 0)
		free_dead_holds(call, stock, stock->rows[0].backordered,
						GetCurrentTimestamp());
	post_evenly(call, stock, delta, &posting);
	if (backorder_newest_holds(call, &stock->rows[0]) > 0)
		report_nobody_holds(item, &stock->rows[0]);
}

/* Sum rows up; what is available is left to the caller. */
void
stock_sum(const StockSet *stock, const CatalogueItem *item, int32 location_id,
		  StockLevel *level)
{
	memset(level, 0, sizeof(StockLevel));
	level->sku = item->sku;
	level->location_id = location_id;
	for (int i = 0; i < stock->count; i++)
	{
		level->on_hand += stock->rows[i].on_hand;
		level->reserved += stock->rows[i].reserved;
		level->version += stock->rows[i].version;
	}
}

/*
 * Stock of a SKU at a location as the call's snapshot sees it, dead holds
 * counted as available.
 */
void
stock_level(Call *call, const CatalogueItem *item, int32 location_id,
			StockLevel *level)
{
	StockSet	stock = {0};

	stock_add_sku(call, &stock, item->item_id, location_id);
	stock_sum(&stock, item, location_id, level);
	level->available = available_now(call, &stock, item->item_id, location_id,
									 UNLIMITED_UNITS);
}

/*
 * Change what is on hand by "delta" units.  Raises IV012, 22003, 40001.
 */
void
stock_change(Call *call, const CatalogueItem *item, int32 location_id,
			 int64 delta, const char *operation, const char *reason,
			 StockLevel *level)
{
	StockSet	stock = {0};

	stock_lock_or_create(call, &stock, item->item_id, location_id);
	stock_post_delta(call, item, &stock, delta, false, operation, reason);
	stock_write(call, &stock);
	waitlist_serve(call, &stock);
	call_next_command(call);
	stock_level(call, item, location_id, level);
}

/* Units of a SKU at a location that are sold and still on the shelf. */
static int64
sold_on_shelf(Call *call, int64 item_id, int32 location_id)
{
	static SqlStatement count_units = {
		"SELECT coalesce(sum(line.quantity - line.returned), 0)::bigint"
		"  FROM inv_order AS sale"
		"  JOIN inv_reservation AS line"
		"    ON line.reservation_id = sale.reservation_id"
		" WHERE sale.status = 'confirmed'"
		"   AND line.item_id = $1 AND line.location_id = $2",
		SPI_OK_SELECT, 2, {INT8OID, INT4OID}
	};
	Datum		values[2] = {Int64GetDatum(item_id), Int32GetDatum(location_id)};
	bool		isnull;
	int64		units;

	sql_begin(call);
	sql_run(call, &count_units, values, NULL);
	units = DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
	return units;
}

/*
 * Set what is on hand to what was counted.  Raises IV008 for another version
 * than the one expected, IV012 for a count below what is held, 22023 for one
 * below what is sold and on the shelf, 40001.
 */
void
stock_take(Call *call, const CatalogueItem *item, int32 location_id,
		   const StockTake *take, StockLevel *level)
{
	StockSet	stock = {0};
	BackorderCount backordered = {0};
	int64		target = take->count;

	stock_lock_or_create(call, &stock, item->item_id, location_id);
	stock_sum(&stock, item, location_id, level);
	if (take->check_version && level->version != take->expected_version)
		ereport(ERROR,
				(rejection(ERRCODE_INV_NOT_ALLOWED),
				 errmsg("stock of SKU \"%s\" has changed since it was read",
						item->sku),
				 errdetail("Expected version " INT64_FORMAT ", found " INT64_FORMAT ".",
						   take->expected_version, level->version),
				 errhint("Read the stock again, then decide anew.")));

	/* what is sold and is not there cannot be counted */
	if (stock.rows[0].backordered > 0)
		backorder_count(call, &stock.rows[0].key, &backordered);
	if (take->on_shelf)
	{
		/* no sale of it can commit now: see those that have */
		int64		sold;

		call_see_now(call);
		sold = sold_on_shelf(call, item->item_id, location_id) -
			backordered.sold_open;
		if (sold > target)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("count of SKU \"%s\" is below what is sold and not completed",
							item->sku),
					 errdetail(INT64_FORMAT " counted, " INT64_FORMAT " sold.",
							   target, sold),
					 errhint("Complete the orders whose goods have left, or count without on_shelf.")));
		target -= sold;
	}
	target -= backordered.sold;

	stock_post_delta(call, item, &stock, target - on_hand_in_all(&stock),
					 take->force, "set_stock", take->reason);
	stock_write(call, &stock);
	waitlist_serve(call, &stock);
	call_next_command(call);
	stock_level(call, item, location_id, level);
}
