/*
 * reconcile_repair.c
 *		Putting right what reconciliation has found.
 *
 * A finding is old when its repair begins, so nothing is done on its word.  A
 * stock row is locked in the queue of the buyers and in their order, then read
 * anew, with its lines and its ledger, which nobody else can change while we
 * have it; what is wrong then is put right:
 *
 * - reserved becomes what the active lines hold: they are what buyers have been
 *   promised;
 * - what is lacking then is backordered, by the newest holds, and what is not
 *   lacking any more goes to the oldest;
 * - on_hand stays: buyers have been answered by it, and only a stock-take can
 *   know better.  Of a row that is missing it is what the ledger says;
 * - the ledger gets one entry more, "reconcile", which brings its sums to the
 *   counters, with a reason.  No entry is ever changed or deleted.
 *
 * What must never happen: units that are promised to nobody's hold, or twice.
 * Where the counters that the lines ask for would oversell, they stay, and the
 * finding is left for a person, as is all that only a person can know:
 *
 * - A confirmed reservation without its order: whether it was paid, shipped,
 *   cancelled or refunded stands in the order.  One made anew as if nothing had
 *   happened could be charged or shipped twice.
 * - An order without a confirmed reservation, or two of one reservation; lines
 *   that differ; several keys of one reservation.
 *
 * What is noted about a finding begins with "none", "left" or "not" where
 * nothing was repaired, and with nothing of that kind where something was:
 * reconcile.c keeps the latter as history.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "records/backorder.h"
#include "rules/expire.h"
#include "rules/reconcile_run.h"
#include "settings.h"
#include "statistics/statistics.h"
#include "table/sql.h"

/* $1 the run, $2 how many: stock rows with something to be done, in lock order */
static SqlStatement find_pending_stock = {
	.text = "SELECT item_id, location_id, stripe, min(\"row\")"
	" FROM inv_reconciliation"
	" WHERE run = $1 AND action IS NULL AND item_id IS NOT NULL"
	"  AND reservation_id IS NULL"
	" GROUP BY item_id, location_id, stripe"
	" ORDER BY item_id, location_id, stripe LIMIT $2",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {INT8OID, INT8OID}
};

/* $1 the run: another finding with something to be done */
static SqlStatement find_pending = {
	.text = "SELECT \"row\", scope, key FROM inv_reconciliation"
	" WHERE run = $1 AND action IS NULL"
	" ORDER BY \"row\" LIMIT 1",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {INT8OID}
};

/* $1 the run, $2 the action, $3 to $5 the stock row */
static SqlStatement note_stock = {
	.text = "UPDATE inv_reconciliation SET action = $2"
	" WHERE run = $1 AND item_id = $3 AND location_id = $4 AND stripe = $5"
	"  AND reservation_id IS NULL AND action IS NULL",
	.expected = SPI_OK_UPDATE,
	.nargs = 5,
	.argument_types = {INT8OID, TEXTOID, INT8OID, INT4OID, INT4OID}
};

/* $1 the run, $2 the action, $3 the row; 0: all about stock that have none */
static SqlStatement note_row = {
	.text = "UPDATE inv_reconciliation SET action = $2"
	" WHERE run = $1 AND action IS NULL"
	"  AND (\"row\" = $3::integer OR ($3 = 0::bigint"
	"   AND item_id IS NOT NULL AND reservation_id IS NULL))",
	.expected = SPI_OK_UPDATE,
	.nargs = 3,
	.argument_types = {INT8OID, TEXTOID, INT8OID}
};

/* $1 the run; what became of dead holds, from the state of their lines */
static SqlStatement note_dead_holds = {
	.text = "UPDATE inv_reconciliation AS finding"
	" SET action = CASE WHEN (SELECT count(*) FROM inv_reservation AS line"
	"   WHERE line.reservation_id = finding.reservation_id"
	"    AND line.item_id = finding.item_id"
	"    AND line.location_id = finding.location_id"
	"    AND line.stripe = finding.stripe AND line.status = 'active') = 0::bigint"
	"  THEN 'swept' ELSE 'not swept: somebody has it or its stock row locked,"
	" or the stock row is missing' END"
	" WHERE finding.run = $1 AND finding.reservation_id IS NOT NULL"
	"  AND finding.item_id IS NOT NULL AND finding.action IS NULL",
	.expected = SPI_OK_UPDATE,
	.nargs = 1,
	.argument_types = {INT8OID}
};

/* $1 scope, $2 key; again if it points nowhere */
static SqlStatement delete_key = {
	.text = "DELETE FROM inv_idempotency WHERE ctid = ANY (ARRAY("
	" SELECT made.ctid FROM inv_idempotency AS made"
	" WHERE made.scope = $1 AND made.key = $2"
	"  AND ((made.order_id IS NOT NULL"
	"    AND NOT EXISTS (SELECT FROM inv_order AS sale"
	"     WHERE sale.order_id = made.order_id))"
	"   OR (made.scope IN ('reserve', 'reserve_cart')"
	"    AND NOT EXISTS (SELECT FROM inv_reservation AS line"
	"     WHERE line.reservation_id = made.reservation_id)))"
	" FOR UPDATE SKIP LOCKED))",
	.expected = SPI_OK_DELETE,
	.nargs = 2,
	.argument_types = {TEXTOID, TEXTOID}
};

/* Would the table take these counters? */
static bool
are_allowed(const StockRow *row, int64 on_hand, int64 reserved)
{
	return reserved >= 0 && reserved <= MAX_QUANTITY &&
		on_hand >= -MAX_QUANTITY && on_hand <= MAX_QUANTITY &&
		(row->backorder_unlimited ||
		 on_hand - reserved >= Min(row->min_available, 0));
}

/* Begin another part of what was done. */
static void
next_part(StringInfo action)
{
	if (action->len > 0)
		appendStringInfoString(action, "; ");
}

/*
 * Put counters, ledger and hints of a locked row right, and say what was done.
 * Returns false if it was left as it is.
 */
static bool
correct(Call *call, StockRow *row, bool is_new, const StockFigures *figures,
		StringInfo action)
{
	int64		on_hand = is_new ? figures->booked_on_hand : row->on_hand;
	int64		old_reserved = row->reserved;
	StringInfoData reason;
	Posting		posting = {"reconcile", NULL, NULL, NULL};

	if (!figures->is_sane || !are_allowed(row, on_hand, figures->held))
	{
		appendStringInfo(action, "left for a person: with on_hand "
						 INT64_FORMAT " and " INT64_FORMAT
						 " held it would be oversold",
						 on_hand, figures->held);
		return false;
	}
	/* they may be the ones that this row lacks: nobody may buy their units */
	if (figures->held < old_reserved && figures->holds_are_lost)
	{
		appendStringInfoString(action,
							   "left for a person: holds of the SKU are on a stripe that is missing");
		return false;
	}
	initStringInfo(&reason);
	if (is_new)
		appendStringInfo(&reason, "stock row was missing; ");
	appendStringInfo(&reason, "reserved was " INT64_FORMAT ", active lines hold "
					 INT64_FORMAT ", ledger had " INT64_FORMAT
					 "; on_hand was " INT64_FORMAT ", ledger had " INT64_FORMAT,
					 old_reserved, figures->held, figures->booked_reserved,
					 row->on_hand, figures->booked_on_hand);
	posting.reason = reason.data;

	if (is_new)
		appendStringInfo(action, "made anew with on_hand " INT64_FORMAT
						 ", reserved " INT64_FORMAT, on_hand, figures->held);
	else if (old_reserved != figures->held)
		appendStringInfo(action, "reserved set to " INT64_FORMAT,
						 figures->held);
	if (on_hand != figures->booked_on_hand ||
		figures->held != figures->booked_reserved)
	{
		next_part(action);
		appendStringInfo(action, "ledger corrected by " INT64_FORMAT
						 " on hand, " INT64_FORMAT " reserved",
						 on_hand - figures->booked_on_hand,
						 figures->held - figures->booked_reserved);
	}
	if (action->len > 0)
		stock_correct(call, row, on_hand, figures->held,
					  figures->booked_on_hand, figures->booked_reserved,
					  &posting);

	if (figures->held_until < row->earliest_expiry)
	{
		row->earliest_expiry = figures->held_until;
		row->changed = true;
		next_part(action);
		appendStringInfoString(action, "earliest_expiry lowered");
	}
	if (row->key.stripe == FIRST_STRIPE && row->retired)
	{
		row->retired = false;
		row->changed = true;
		next_part(action);
		appendStringInfoString(action, "takes holds again");
	}
	return row->changed;
}

/* Note what was done at all findings about a stock row; returns how many. */
static int64
note_at_stock(Call *call, const ReconcileRun *run, const StockKey *key,
			  const char *action)
{
	int64		noted;

	sql_begin(call);
	noted = (int64) sql_run(call, &note_stock,
							SQL_VALUES(Int64GetDatum(run->number),
									   CStringGetTextDatum(action),
									   Int64GetDatum(key->item_id),
									   Int32GetDatum(key->location_id),
									   Int32GetDatum(key->stripe)), NULL);
	sql_end(call);
	return noted;
}

/*
 * Lock stock rows in order, those that are missing by their first stripe: who
 * has that decides which rows there are.  Then make those, unless what would be
 * on them cannot be right anyhow.
 */
static void
lock_and_restore(Call *call, const StockKey *keys, int count,
				 const StockFigures *figures, StockSet *set, bool *is_new)
{
	StockSet	made = {0};

	for (int i = 0; i < count; i++)
	{
		StockKey	key = keys[i];

		is_new[i] = false;
		if (!figures[i].is_there)
			key.stripe = FIRST_STRIPE;
		if (figures[i].is_there || figures[i].has_first)
			stock_add_key(set, key);
	}
	stock_lock(call, set);
	for (int i = 0; i < count; i++)
	{
		StockRow	nothing = {keys[i]};

		if (figures[i].is_there || !figures[i].is_sane ||
			!are_allowed(&nothing, figures[i].booked_on_hand, figures[i].held))
			continue;
		is_new[i] = stock_restore(call, keys[i]);
		stock_add_key(&made, keys[i]);
	}
	stock_lock(call, &made);
	for (int i = 0; i < made.count; i++)
		stock_add_row(set, &made.rows[i]);
}

/*
 * How many units of a row are backordered cannot be told from counters that are
 * wrong.  Other stripes than the first have none.
 */
static void
read_backorders(Call *call, StockRow *row)
{
	BackorderCount units = {0};

	if (row->key.stripe == FIRST_STRIPE)
		backorder_count(call, &row->key, &units);
	row->backordered = units.in_all;
}

/*
 * Repair stock rows, whose keys are in order.  Waits for them as a buyer would,
 * and has them until the transaction ends.  All are read in one go, for the
 * ledger behind the balances is read for it.
 */
static void
repair_stock(Call *call, ReconcileRun *run, const StockKey *keys, int count)
{
	StockFigures *figures = palloc(count * sizeof(StockFigures));
	bool	   *is_new = palloc(count * sizeof(bool));
	StockSet	set = {0};

	read_stock_figures(call, run, keys, count, figures);
	call_see_now(call);
	lock_and_restore(call, keys, count, figures, &set, is_new);

	/* from here on nobody else changes what we compare */
	read_stock_figures(call, run, keys, count, figures);
	for (int i = 0; i < count; i++)
	{
		StockRow   *row = stock_find(&set, keys[i]);
		StringInfoData action;

		initStringInfo(&action);
		if (row != NULL)
			read_backorders(call, row);
		if (row == NULL)
			(void) note_at_stock(call, run, &keys[i],
								 "left for a person: the stock row made anew would be oversold");
		else if (correct(call, row, is_new[i], &figures[i], &action))
		{
			(void) backorder_newest_holds(call, row);
			run->repaired++;
			statistics_count(COUNT_DRIFTS_REPAIRED,
							 note_at_stock(call, run, &keys[i], action.data));
		}
		else
			(void) note_at_stock(call, run, &keys[i], action.len > 0
								 ? action.data : "none: it was right when it was locked");
	}
	stock_write(call, &set);
	call_next_command(call);
}

/* Note what was done about one finding, or (0) about all stock that is left. */
static void
note(Call *call, const ReconcileRun *run, int64 row, const char *action)
{
	sql_begin(call);
	(void) sql_run(call, &note_row,
				   SQL_VALUES(Int64GetDatum(run->number),
							  CStringGetTextDatum(action), Int64GetDatum(row)),
				   NULL);
	sql_end(call);
}

/* Delete a key that points nowhere: a repeat is a new call then. */
static void
repair_key(Call *call, ReconcileRun *run, int64 row, Datum scope, Datum key)
{
	bool		deleted;

	sql_begin(call);
	deleted = sql_run(call, &delete_key, SQL_VALUES(scope, key), NULL) > 0;
	sql_end(call);
	if (deleted)
	{
		run->repaired++;
		statistics_count(COUNT_DRIFTS_REPAIRED, 1);
	}
	note(call, run, row, deleted ? "key deleted"
		 : "not deleted: it has gone meanwhile, or somebody has it locked");
}

/* Sweep what has been dead for so long, and note all of it. */
static void
repair_dead_holds(Call *call, ReconcileRun *run)
{
	int64		swept = expire_dead_holds_nowait(call,
												 setting_expire_batch_size);

	call_next_command(call);
	sql_begin(call);
	(void) sql_run(call, &note_dead_holds,
				   SQL_VALUES(Int64GetDatum(run->number)), NULL);
	sql_end(call);
	run->repaired += swept;
	statistics_count(COUNT_DRIFTS_REPAIRED, swept);
}

/*
 * Sessions, that of a background worker too, lose their transaction when a
 * repair fails: the stock row is locked for longer than lock_timeout, a trigger
 * of the shop's does not want it.  Lest a run stay there for ever, it commits
 * what it is about to try; whoever finds that it was tried goes on.  (A worker
 * that ended just then has not tried, which is no harm: the next run will.)  A
 * failure makes workers wait longer for each other, so there are not many.
 */
#define MAX_ATTEMPTS 1

/* What this session has announced; not this transaction. */
static int64 announced_run = 0;
static int64 announced_row = 0;

/* May this attempt be made in this transaction? */
static bool
may_attempt(ReconcileRun *run, int64 row)
{
	bool		announced = announced_run == run->number &&
		announced_row == row && run->trying == row;

	announced_run = announced_row = 0;
	if (run->at_once || announced)
		return true;
	run->attempts = run->trying == row ? run->attempts + 1 : 1;
	run->trying = row;
	announced_run = run->number;
	announced_row = row;
	return false;
}

/* Make up for a failure, or try. */
static bool
attempt(Call *call, ReconcileRun *run, int64 row)
{
	if (may_attempt(run, row))
	{
		run->attempts = 0;
		return true;
	}
	if (run->attempts > MAX_ATTEMPTS)
	{
		note(call, run, row,
			 "not repaired: the attempt failed, or was interrupted, see the server's log; the next run tries again");
		run->attempts = 0;
	}
	return false;
}

/*
 * Repair the next stock row; at once, a batch of them: they stay locked, so
 * there can be no second one, which would be out of order.  Returns whether
 * there was one.
 */
static bool
repair_next_stock(Call *call, ReconcileRun *run)
{
	int64		budget = run->at_once ? setting_expire_batch_size : 1;
	StockKey   *keys = palloc(budget * sizeof(StockKey));
	int64		row = 0;
	int			count;
	bool		isnull;

	sql_begin(call);
	sql_plan_by_index(call);
	count = (int) sql_run(call, &find_pending_stock,
						  SQL_VALUES(Int64GetDatum(run->number),
									 Int64GetDatum(budget)), NULL);
	for (int i = 0; i < count; i++)
	{
		keys[i].item_id = DatumGetInt64(sql_value(i, 1, &isnull));
		keys[i].location_id = DatumGetInt32(sql_value(i, 2, &isnull));
		keys[i].stripe = DatumGetInt32(sql_value(i, 3, &isnull));
		row = DatumGetInt32(sql_value(i, 4, &isnull));
	}
	sql_end(call);
	if (count == 0)
		return false;
	if (attempt(call, run, row))
		repair_stock(call, run, keys, count);
	if (run->at_once)
		note(call, run, 0,
			 "left for the next run: this one has repaired as many stock rows as expire_batch_size");
	return true;
}

/* Take the next action that is pending.  Returns whether there was one. */
bool
repair_next(Call *call, ReconcileRun *run)
{
	MemoryContext old_context = MemoryContextSwitchTo(call->context);
	Datum		scope = (Datum) 0;
	Datum		key = (Datum) 0;
	int64		row = 0;
	bool		found;
	bool		is_hold = false;
	bool		isnull;

	if (repair_next_stock(call, run))
	{
		MemoryContextSwitchTo(old_context);
		return true;
	}
	sql_begin(call);
	sql_plan_by_index(call);
	found = sql_run(call, &find_pending, SQL_VALUES(Int64GetDatum(run->number)),
					NULL) > 0;
	if (found)
	{
		MemoryContext spi_context;

		row = DatumGetInt32(sql_value(0, 1, &isnull));
		scope = sql_value(0, 2, &is_hold);
		spi_context = MemoryContextSwitchTo(call->context);
		if (!is_hold)
		{
			scope = PointerGetDatum(DatumGetTextPCopy(scope));
			key = PointerGetDatum(DatumGetTextPCopy(sql_value(0, 3, &isnull)));
		}
		MemoryContextSwitchTo(spi_context);
	}
	sql_end(call);

	if (found && attempt(call, run, row))
	{
		if (is_hold)
			repair_dead_holds(call, run);
		else
			repair_key(call, run, row, scope, key);
	}
	MemoryContextSwitchTo(old_context);
	return found;
}
