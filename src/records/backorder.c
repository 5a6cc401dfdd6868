/*
 * backorder.c
 *		Backorders: units that a line has been promised and that are not there.
 *
 * The shortfall of a stock row, by which reserved exceeds on_hand, belongs to
 * somebody.  inv_backorder says to whom: a row for each line that is owed units,
 * be it held or sold.  What is promised last is owed; what comes, or comes back,
 * goes to those who have waited longest.  What must always hold:
 *
 * - The rows of a SKU add up to the shortfall of its stock row.  Who has read
 *   the stock row therefore knows how many units are backordered, and where
 *   there are none nobody looks into inv_backorder, nor locks anything for it:
 *   see "backordered" in StockRow.
 * - Rows are written only by who has the stock row locked, so that lock is all
 *   they need.  That is why a SKU that takes backorders is in one piece: in
 *   stripes nobody who has one of them knows what is on the others, let alone
 *   whose turn it is (rules/policy.c, rules/stripes.c).
 *
 * Whoever changes a locked row keeps "backordered" up with it: what he promises
 * is added after it is posted (backorder_promised()), what a line gives up goes
 * before that is posted (backorder_given_up()), and stock_write() gives what is
 * left over to the queue (backorder_fill()).
 *
 * The place of a line in the queue is when it was promised the units; for a hold
 * that the shop has made a backorder of, when it was made.  Under the lock later
 * places follow earlier ones, whatever the clock does.
 *
 * What becomes of a backorder is told in the ledger, by entries that change no
 * counter: "backorder" and "fill_backorder".  Their reason is jsonb: the line,
 * how many units it is about, how many of the line are backordered then.
 *
 * An extension of an earlier version has no such table.  Then nobody is told.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "records/backorder.h"
#include "table/sql.h"

/* How many places of a queue are looked at together. */
#define BATCH 100

/* A change of what a line is owed, or could be. */
typedef struct BackorderChange
{
	pg_uuid_t	reservation_id;
	int32		line_no;
	int64		units;
	int64		left;			/* owed afterwards */
	pg_uuid_t	order_id;
	bool		has_order;
	TimestampTz created_at;
} BackorderChange;

/*
 * $1 and $2 the line, $3 and $4 its SKU, $5 units, $6 since when, $7 behind all
 * others; index inv_backorder_queue
 */
static SqlStatement add = {
	.text = "INSERT INTO inv_backorder AS owed"
	" (reservation_id, line_no, item_id, location_id, quantity, since)"
	" SELECT $1, $2, $3, $4, $5, CASE WHEN $7 THEN greatest($6,"
	"  (SELECT waiting.since + '1 microsecond'::interval"
	"     FROM inv_backorder AS waiting"
	"    WHERE waiting.item_id = $3 AND waiting.location_id = $4"
	"    ORDER BY waiting.since DESC LIMIT 1)) ELSE $6 END"
	" ON CONFLICT (reservation_id, line_no)"
	" DO UPDATE SET quantity = owed.quantity + excluded.quantity"
	" RETURNING quantity",
	.expected = SPI_OK_INSERT_RETURNING,
	.nargs = 7,
	.argument_types = {UUIDOID, INT4OID, INT8OID, INT4OID, INT8OID,
	TIMESTAMPTZOID, BOOLOID}
};

/* $1 and $2 the line, $3 units; index inv_backorder_pkey */
static SqlStatement give_up = {
	.text = "WITH owed AS MATERIALIZED ("
	" SELECT quantity FROM inv_backorder"
	" WHERE reservation_id = $1 AND line_no = $2"
	"), gone AS ("
	" DELETE FROM inv_backorder"
	" WHERE reservation_id = $1 AND line_no = $2 AND quantity <= $3"
	"), lowered AS ("
	" UPDATE inv_backorder SET quantity = quantity - $3"
	" WHERE reservation_id = $1 AND line_no = $2 AND quantity > $3"
	") SELECT least(quantity, $3) FROM owed",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {UUIDOID, INT4OID, INT8OID}
};

/*
 * $1 and $2 the SKU, $3 units, $4 how many places; index inv_backorder_queue.
 * Serves those whose units are not all taken by who stands before them.
 */
static SqlStatement fill = {
	.text = "WITH queue AS MATERIALIZED ("
	" SELECT owed.reservation_id, owed.line_no, owed.quantity, owed.since,"
	"  sum(owed.quantity) OVER (ORDER BY owed.since, owed.reservation_id,"
	"   owed.line_no) - owed.quantity::numeric AS ahead"
	" FROM (SELECT reservation_id, line_no, quantity, since FROM inv_backorder"
	"  WHERE item_id = $1 AND location_id = $2"
	"  ORDER BY since, reservation_id, line_no LIMIT $4) AS owed"
	"), served AS MATERIALIZED ("
	" SELECT reservation_id, line_no, quantity, since,"
	"  least(quantity, ($3::numeric - ahead)::bigint) AS units"
	" FROM queue WHERE ahead < $3::numeric"
	"), filled AS ("
	" DELETE FROM inv_backorder AS owed USING served"
	" WHERE owed.reservation_id = served.reservation_id"
	"  AND owed.line_no = served.line_no AND served.units = served.quantity"
	"), lowered AS ("
	" UPDATE inv_backorder AS owed SET quantity = served.quantity - served.units"
	" FROM served WHERE owed.reservation_id = served.reservation_id"
	"  AND owed.line_no = served.line_no AND served.units < served.quantity"
	") SELECT reservation_id, line_no, units, quantity - units,"
	" (SELECT sale.order_id FROM inv_order AS sale"
	"   WHERE sale.reservation_id = served.reservation_id)"
	" FROM served ORDER BY since, reservation_id, line_no",
	.expected = SPI_OK_SELECT,
	.nargs = 4,
	.argument_types = {INT8OID, INT4OID, INT8OID, INT8OID}
};

/* $1 to $3 a stock row, $4 how many lines; index inv_reservation_held */
static SqlStatement find_newest = {
	.text = "SELECT line.reservation_id, line.line_no, line.created_at,"
	" line.quantity - coalesce(owed.quantity, 0::bigint)"
	" FROM inv_reservation AS line"
	" LEFT JOIN inv_backorder AS owed"
	"  ON owed.reservation_id = line.reservation_id"
	"   AND owed.line_no = line.line_no"
	" WHERE line.item_id = $1 AND line.location_id = $2 AND line.stripe = $3"
	"  AND line.status = 'active'"
	"  AND line.quantity > coalesce(owed.quantity, 0::bigint)"
	" ORDER BY line.created_at DESC, line.reservation_id DESC,"
	"  line.line_no DESC LIMIT $4",
	.expected = SPI_OK_SELECT,
	.nargs = 4,
	.argument_types = {INT8OID, INT4OID, INT4OID, INT8OID}
};

/*
 * $1 and $2 the SKU: units backordered in all, those of them that are sold, and
 * those sold by orders that are not completed
 */
static SqlStatement count_units = {
	.text = "SELECT coalesce(sum(owed.quantity), 0::numeric)::bigint,"
	" coalesce(sum(owed.quantity) FILTER (WHERE sale.status IS NOT NULL),"
	"  0::numeric)::bigint,"
	" coalesce(sum(owed.quantity) FILTER (WHERE sale.status = 'confirmed'),"
	"  0::numeric)::bigint"
	" FROM inv_backorder AS owed LEFT JOIN inv_order AS sale"
	"  ON sale.reservation_id = owed.reservation_id"
	" WHERE owed.item_id = $1 AND owed.location_id = $2",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {INT8OID, INT4OID}
};

/* Enter a change into the ledger.  The row's counters are as they are now. */
static void
tell(Call *call, const StockRow *row, const char *operation,
	 const BackorderChange *change)
{
	Posting		posting = {operation, &change->reservation_id, NULL, NULL};

	if (change->has_order)
		posting.order_id = &change->order_id;
	posting.reason = psprintf("{\"line\": %d, \"units\": " INT64_FORMAT
							  ", \"backordered\": " INT64_FORMAT "}",
							  change->line_no, change->units, change->left);
	ledger_append(call, &posting, row->key.item_id, row->key.location_id,
				  row->key.stripe, 0, 0, row->on_hand, row->reserved);
}

/*
 * Owe units of a locked row to a line, at its place in the queue; a line that is
 * owed some already keeps the place it has.
 */
static void
owe(Call *call, StockRow *row, BackorderChange *change, TimestampTz since,
	bool behind_all)
{
	bool		isnull;

	sql_begin(call);
	(void) sql_run(call, &add,
				   SQL_VALUES(UUIDPGetDatum(&change->reservation_id),
							  Int32GetDatum(change->line_no),
							  Int64GetDatum(row->key.item_id),
							  Int32GetDatum(row->key.location_id),
							  Int64GetDatum(change->units),
							  TimestampTzGetDatum(since),
							  BoolGetDatum(behind_all)), NULL);
	change->left = DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
	row->backordered += change->units;
	tell(call, row, "backorder", change);
}

/*
 * Units have been promised to a line and posted to its row, which is locked:
 * those that are not there are backordered.  The queue was filled before, so
 * what the row lacks beyond that is this line's.
 */
void
backorder_promised(Call *call, StockRow *row, const ReservationLine *line,
				   TimestampTz now)
{
	BackorderChange change = {line->reservation_id, line->line_no};

	change.units = Min(stock_row_shortfall(row) - row->backordered,
					   line->quantity);
	if (change.units <= 0 || !catalog_has_backorders())
		return;
	owe(call, row, &change, now, true);
}

/*
 * A line is about to give up units of its row, which is locked: those first
 * that are not there.
 */
void
backorder_given_up(Call *call, StockRow *row, const ReservationLine *line,
				   int64 units)
{
	bool		isnull;

	if (row->backordered == 0 || units == 0 || !catalog_has_backorders())
		return;
	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &give_up,
				SQL_VALUES(UUIDPGetDatum(&line->reservation_id),
						   Int32GetDatum(line->line_no),
						   Int64GetDatum(units)), NULL) > 0)
		row->backordered -= DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
}

/* Serve the first in the queue of a row with some units; returns how many. */
static int
serve(Call *call, const StockRow *row, int64 units, BackorderChange *changes)
{
	int			count;
	bool		isnull;

	sql_begin(call);
	sql_plan_by_index(call);
	count = (int) sql_run(call, &fill,
						  SQL_VALUES(Int64GetDatum(row->key.item_id),
									 Int32GetDatum(row->key.location_id),
									 Int64GetDatum(units),
									 Int64GetDatum(BATCH)), NULL);
	for (int i = 0; i < count; i++)
	{
		BackorderChange *change = &changes[i];
		Datum		order_id;

		change->reservation_id = *DatumGetUUIDP(sql_value(i, 1, &isnull));
		change->line_no = DatumGetInt32(sql_value(i, 2, &isnull));
		change->units = DatumGetInt64(sql_value(i, 3, &isnull));
		change->left = DatumGetInt64(sql_value(i, 4, &isnull));
		order_id = sql_value(i, 5, &isnull);
		change->has_order = !isnull;
		if (!isnull)
			change->order_id = *DatumGetUUIDP(order_id);
	}
	sql_end(call);
	return count;
}

/*
 * Give the units of a locked row that are there now and were not before to
 * those who have waited longest, and tell the feed.
 */
void
backorder_fill(Call *call, StockRow *row)
{
	int64		units = row->backordered - stock_row_shortfall(row);
	BackorderChange *changes;
	int			count = 0;

	if (units <= 0)
		return;
	row->backordered -= units;
	if (!catalog_has_backorders())
		return;
	changes = palloc(BATCH * sizeof(BackorderChange));
	do
	{
		count = serve(call, row, units, changes);
		for (int i = 0; i < count; i++)
		{
			units -= changes[i].units;
			tell(call, row, "fill_backorder", &changes[i]);
		}
	} while (units > 0 && count > 0);
	pfree(changes);
}

/*
 * The shop has taken units of a locked row away from under what is held there:
 * make backorders of the newest holds.  Returns how many units are left for
 * which there is no hold.
 */
int64
backorder_newest_holds(Call *call, StockRow *row)
{
	int64		units = stock_row_shortfall(row) - row->backordered;
	BackorderChange *changes;
	int			count = 0;

	if (units <= 0 || !catalog_has_backorders())
		return 0;
	changes = palloc(BATCH * sizeof(BackorderChange));
	do
	{
		bool		isnull;

		sql_begin(call);
		sql_plan_by_index(call);
		count = (int) sql_run(call, &find_newest,
							  SQL_VALUES(Int64GetDatum(row->key.item_id),
										 Int32GetDatum(row->key.location_id),
										 Int32GetDatum(row->key.stripe),
										 Int64GetDatum(BATCH)), NULL);
		for (int i = 0; i < count; i++)
		{
			memset(&changes[i], 0, sizeof(BackorderChange));
			changes[i].reservation_id = *DatumGetUUIDP(sql_value(i, 1, &isnull));
			changes[i].line_no = DatumGetInt32(sql_value(i, 2, &isnull));
			changes[i].created_at = DatumGetTimestampTz(sql_value(i, 3, &isnull));
			changes[i].units = DatumGetInt64(sql_value(i, 4, &isnull));
		}
		sql_end(call);
		for (int i = 0; i < count && units > 0; i++)
		{
			changes[i].units = Min(changes[i].units, units);
			units -= changes[i].units;
			owe(call, row, &changes[i], changes[i].created_at, false);
		}
	} while (units > 0 && count > 0);
	pfree(changes);
	return units;
}

/*
 * Units of a SKU at a location, whose stock row is locked, that are backordered,
 * those of them that are sold, and those sold by orders that are not completed.
 */
void
backorder_count(Call *call, const StockKey *key, BackorderCount *units)
{
	bool		isnull;

	memset(units, 0, sizeof(BackorderCount));
	if (!catalog_has_backorders())
		return;
	sql_begin(call);
	sql_plan_by_index(call);
	(void) sql_run(call, &count_units,
				   SQL_VALUES(Int64GetDatum(key->item_id),
							  Int32GetDatum(key->location_id)), NULL);
	units->in_all = DatumGetInt64(sql_value(0, 1, &isnull));
	units->sold = DatumGetInt64(sql_value(0, 2, &isnull));
	units->sold_open = DatumGetInt64(sql_value(0, 3, &isnull));
	sql_end(call);
}
