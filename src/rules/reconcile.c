/*
 * reconcile.c
 *		Reconciliation: a run, its phases, and when it is due.
 *
 * inv_check() proves the books on one snapshot and reads every row.  A run
 * finds the same, piece by piece, at a cost that follows what has changed:
 *
 * - what the ledger entries since the last run point at: stock rows,
 *   reservations and with them their orders; and the keys made since;
 * - what the last run has found;
 * - a slice of each table, going round by primary key, for rows that somebody
 *   changed by hand and no ledger entry points at.  A table that is no larger
 *   than a slice is thus looked at whole in each run, one of n slices within n
 *   runs;
 * - holds dead for too long.
 *
 * A complete run begins the sums of the ledger anew (records/ledger_balance.c)
 * and looks at every row.  So does the first.
 *
 * The background worker does a piece in each transaction and leaves the rest to
 * the next; inv_reconcile() does a run in the transaction of its caller.  One at
 * a time: both hold the walk's lock.  inv_reconcile() waits for it, which takes
 * no longer than one piece of a worker's, and begins a run of its own; a
 * worker's that was not at its end is given up, and what it has found is looked
 * at again.
 *
 * What must never happen: that anything which changed is passed over by this run
 * and the next.  Therefore entries are followed up to a place that is taken
 * before anything is looked at, and the next run begins there.  Whoever commits
 * later has his entries behind it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "rules/reconcile.h"
#include "rules/reconcile_run.h"
#include "settings.h"
#include "statistics/statistics.h"
#include "table/sql.h"

/* Rows of each table that a run looks at whatever has changed. */
#define SLICE 10000

/*
 * Ledger entries that are added to the balances in one piece; all in one where
 * there is one transaction, in which every piece would leave a version of each
 * balance behind.  A worker whose pieces took too long has a smaller
 * expire_batch_size the next time, and with it smaller pieces.
 */
#define ENTRIES_A_PIECE Min(10000, 10 * (int64) setting_expire_batch_size)

/* More findings than this: the rest is for the next run. */
#define MAX_FINDINGS 10000

/* How long a repair in the background waits for a stock row. */
#define BACKGROUND_LOCK_TIMEOUT 1000

/* Old results that are deleted with a run. */
#define RESULTS_DELETED 10000

/*
 * Clocks of sessions agree, but a call that made a key may commit later than
 * one that began after it.  What takes longer is left to the slices.
 */
#define KEYS_OVERLAP ((int64) SECS_PER_MINUTE * USECS_PER_SEC)

/*
 * Rows to a piece: adjusted so that one takes about this long, however many
 * holds sit on the rows.
 */
#define PIECE_SHORT 30000		/* microseconds */
#define PIECE_LONG 100000
#define FEWEST_ROWS 50
#define MOST_ROWS 5000

static int64 rows_a_piece = 500;

/*
 * Within one transaction short pieces have no use, and the balances cannot pass
 * its own entries: each piece reads all that was written to the ledger since.
 */
#define ROWS_AT_ONCE 100000

static void
adjust_piece(int64 elapsed)
{
	if (elapsed > PIECE_LONG)
		rows_a_piece = Max(rows_a_piece / 2, FEWEST_ROWS);
	else if (elapsed < PIECE_SHORT)
		rows_a_piece = Min(rows_a_piece * 3 / 2, MOST_ROWS);
}

/* Number of the newest run that has left a result. */
static int64
newest_result(Call *call)
{
	static SqlStatement find_newest = {
		"SELECT coalesce(max(run), 0::bigint) FROM inv_reconciliation",
		SPI_OK_SELECT
	};
	int64		number;
	bool		isnull;

	sql_begin(call);
	(void) sql_run(call, &find_newest, NULL, NULL);
	number = DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
	return number;
}

/* Begin a run, giving up one that is not at its end. */
static void
begin_run(Call *call, ReconcileRun *run, bool repair, bool complete)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		newest = newest_result(call);

	run->number = Max(run->number, newest) + 1;
	run->repair = repair;
	run->complete = complete || !run->balanced;
	run->began_at = now;
	run->checked = run->findings = run->repaired = 0;
	run->trying = run->attempts = 0;
	run->again_run = run->last_ended - 1;
	run->again_row = PG_INT32_MAX;
	run->phase = RECONCILE_LEDGER;
	if (run->complete)
	{
		run->balanced = false;
		memset(&run->balances, 0, sizeof(LedgerBalances));
		run->balances.generation = run->number;
		run->stock = before_all_stock;
		run->phase = RECONCILE_OPENING;
	}
}

/* Let the walk over the table of this phase begin at its first row. */
static void
begin_at_first_row(ReconcileRun *run)
{
	switch (run->phase)
	{
		case RECONCILE_STOCK:
			run->stock = before_all_stock;
			break;
		case RECONCILE_RESERVATIONS:
			memset(&run->reservation, 0, sizeof(pg_uuid_t));
			break;
		case RECONCILE_ORDERS:
			memset(&run->order, 0, sizeof(pg_uuid_t));
			break;
		case RECONCILE_KEYS:
			run->scope = run->key = "";
			break;
		default:
			break;				/* walks over no table */
	}
}

/* Begin the next phase. */
static void
next_phase(ReconcileRun *run)
{
	run->phase++;
	/* a complete run has no need of these: it looks at everything */
	while (run->complete && (run->phase == RECONCILE_CHANGES ||
							 run->phase == RECONCILE_NEW_KEYS ||
							 run->phase == RECONCILE_AGAIN))
		run->phase++;
	/* reads a table from end to end */
	if (run->phase == RECONCILE_TWIN_KEYS && !(run->complete && run->at_once))
		run->phase++;
	run->left = run->complete ? PG_INT64_MAX : SLICE;
	if (run->complete)
		begin_at_first_row(run);
}

/* Delete results that are as old as reservations may be. */
static void
delete_old_results(Call *call, const ReconcileRun *run)
{
	static SqlStatement delete_results = {
		"DELETE FROM inv_reconciliation WHERE ctid = ANY (ARRAY("
		" SELECT oldest.place FROM (SELECT ctid AS place, at, run"
		"  FROM inv_reconciliation ORDER BY run, \"row\" LIMIT $3) AS oldest"
		" WHERE oldest.at < $1 AND oldest.run < $2))",
		SPI_OK_DELETE, 3, {TIMESTAMPTZOID, INT8OID, INT8OID}
	};

	if (setting_reservation_retention < 0)
		return;
	sql_begin(call);
	sql_plan_by_index(call);
	(void) sql_run(call, &delete_results,
				   SQL_VALUES(TimestampTzGetDatum(GetCurrentTimestamp() -
												  (int64) setting_reservation_retention * USECS_PER_SEC),
							  Int64GetDatum(run->number),
							  Int64GetDatum(RESULTS_DELETED)), NULL);
	sql_end(call);
}

/*
 * What is still as wrong as the run before has found it, and was not repaired,
 * is one drift and not two: the row of this run takes the place of the earlier
 * one, and its "since".  Else a drift that is left for a person would fill the
 * table, a row a run.  There are no others to look for: each run looks again at
 * what the last one that ended has found, and those that were given up since.
 */
static void
replace_earlier_findings(Call *call, const ReconcileRun *run)
{
	static SqlStatement replace_findings = {
		"WITH drifts AS MATERIALIZED ("
		" SELECT max(\"row\") FILTER (WHERE run = $1) AS \"row\","
		"  min(since) AS since,"
		"  pg_catalog.array_agg(ctid) FILTER (WHERE run < $1) AS earlier"
		" FROM inv_reconciliation"
		" WHERE run >= $2 AND run <= $1 AND (run = $1 OR action IS NULL"
		"  OR action LIKE 'none%' OR action LIKE 'left %' OR action LIKE 'not %')"
		" GROUP BY finding, item_id, location_id, stripe, reservation_id,"
		"  order_id, scope, key"
		" HAVING bool_or(run = $1) AND bool_or(run < $1)"
		"), gone AS ("
		" DELETE FROM inv_reconciliation WHERE ctid = ANY (ARRAY("
		"  SELECT unnest(drifts.earlier) FROM drifts))"
		") UPDATE inv_reconciliation AS found SET since = drifts.since"
		" FROM drifts WHERE found.run = $1 AND found.\"row\" = drifts.\"row\"",
		SPI_OK_UPDATE, 2, {INT8OID, INT8OID}
	};

	if (run->findings == 0)
		return;
	sql_begin(call);
	sql_plan_by_index(call);
	(void) sql_run(call, &replace_findings,
				   SQL_VALUES(Int64GetDatum(run->number),
							  Int64GetDatum(run->last_ended)), NULL);
	sql_end(call);
}

static void
end_run(Call *call, ReconcileRun *run)
{
	replace_earlier_findings(call, run);
	/* of a complete one; else the walk over the changes has come here */
	if (run->findings < MAX_FINDINGS)
	{
		run->looked_at = run->until;
		run->keys_since = run->began_at - KEYS_OVERLAP;
		run->last_ended = run->number;
	}
	run->ended_at = GetCurrentTimestamp();
	run->phase = RECONCILE_RESTING;
	delete_old_results(call, run);
	statistics_count(COUNT_RECONCILIATIONS, 1);
	statistics_progress(NULL, 0);
}

/* Bring the balances up to now; false if there is more to add. */
static bool
catch_up(Call *call, ReconcileRun *run)
{
	return !ledger_balances_advance(call, &run->balances, run->at_once
									? ALL_ENTRIES : ENTRIES_A_PIECE);
}

/*
 * A piece of a walk over a slice: "find" has looked at "seen" rows.  Begins the
 * next phase where the slice ends, or the table; at its end the next slice
 * begins at the first row again.
 */
static void
count_slice(ReconcileRun *run, int64 seen, int64 wanted)
{
	run->left -= seen;
	if (seen < wanted)
		begin_at_first_row(run);
	if (seen < wanted || run->left <= 0)
		next_phase(run);
}

/* A piece of looking.  Returns the number of rows it has looked at. */
static int64
look(Call *call, ReconcileRun *run)
{
	int64		budget = run->at_once ? ROWS_AT_ONCE : rows_a_piece;
	int64		slice = Min(budget, run->left);
	int64		seen = 0;

	switch (run->phase)
	{
		case RECONCILE_CHANGES:
			seen = find_in_changes(call, run, budget);
			break;
		case RECONCILE_NEW_KEYS:
			seen = find_in_new_keys(call, run, budget);
			break;
		case RECONCILE_AGAIN:
			seen = find_again(call, run, budget);
			break;
		case RECONCILE_STOCK:
			seen = find_in_stock(call, run, slice);
			break;
		case RECONCILE_RESERVATIONS:
			seen = find_in_reservations(call, run, slice);
			break;
		case RECONCILE_ORDERS:
			seen = find_in_orders(call, run, slice);
			break;
		case RECONCILE_KEYS:
			seen = find_in_keys(call, run, slice);
			break;
		case RECONCILE_TWIN_KEYS:
			find_twin_keys(call, run);
			break;
		case RECONCILE_DEAD_HOLDS:
			find_dead_holds(call, run);
			break;
		default:
			elog(ERROR, "unexpected phase %d of a reconciliation",
				 (int) run->phase);
	}

	if (run->phase >= RECONCILE_STOCK && run->phase <= RECONCILE_KEYS)
		count_slice(run, seen, slice);
	else if (seen < budget)
		next_phase(run);
	return seen;
}

/* A piece of a run.  Returns the number of rows it has looked at. */
static int64
step(Call *call, ReconcileRun *run)
{
	int64		seen = 0;

	statistics_progress(reconcile_phase_name(run->phase), run->checked);
	switch (run->phase)
	{
		case RECONCILE_OPENING:
			if (ledger_balances_open(call, &run->balances, &run->stock,
									 ENTRIES_A_PIECE) < ENTRIES_A_PIECE)
				next_phase(run);
			break;
		case RECONCILE_LEDGER:
			if (catch_up(call, run))
			{
				run->balanced = true;
				run->until = run->balances.place;
				next_phase(run);
			}
			break;
		case RECONCILE_REPAIRING:
			if (!repair_next(call, run))
				end_run(call, run);
			break;
		default:
			/* few entries may be left behind the place: each look adds them */
			if (!catch_up(call, run))
				break;
			if (run->findings >= MAX_FINDINGS)
				run->phase = RECONCILE_REPAIRING;
			else
			{
				TimestampTz looked_at = GetCurrentTimestamp();

				seen = look(call, run);
				if (!run->at_once)
					adjust_piece(GetCurrentTimestamp() - looked_at);
			}
			break;
	}
	run->checked += seen;
	return seen;
}

/* Lest a repair waits for long. */
static void
limit_waits(Call *call)
{
	if (LockTimeout > 0 && LockTimeout <= BACKGROUND_LOCK_TIMEOUT)
		return;
	call_pin_search_path(call); /* from here on call_end() restores settings */
	(void) set_config_option("lock_timeout",
							 psprintf("%d", BACKGROUND_LOCK_TIMEOUT),
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * Is there anything to reconcile?  Of a dump, inv_stock is restored after
 * whatever a run would write into, with which the restore would collide.
 */
static bool
has_stock(Call *call)
{
	static SqlStatement find_stock = {
		"SELECT FROM inv_stock LIMIT 1", SPI_OK_SELECT
	};
	bool		found;

	sql_begin(call);
	found = sql_run(call, &find_stock, NULL, NULL) > 0;
	sql_end(call);
	return found;
}

/*
 * Has the last run ended long enough ago?  Also if it ended in the future: the
 * clock has been put back, and nobody shall wait for it to come there again.
 */
static bool
is_due(const ReconcileRun *run)
{
	TimestampTz now = GetCurrentTimestamp();

	return run->ended_at > now ||
		now - run->ended_at >= (int64) setting_reconcile_interval * USECS_PER_SEC;
}

/*
 * The background worker's step: a piece of the run that is due, or has begun.
 * Returns whether there is more to do at once.
 */
bool
reconcile_in_background(Call *call, int64 *rows)
{
	ReconcileRun run;

	if (!ledger_try_task(call, LEDGER_BALANCES))
		return false;
	reconcile_load(call, &run);
	if (run.number == 0 && !has_stock(call))
		return false;
	if (run.balances.generation == 0)
		run.phase = RECONCILE_RESTING;	/* the purge took the balances away */
	if (run.phase == RECONCILE_RESTING)
	{
		if (run.balanced && !is_due(&run))
			return false;
		begin_run(call, &run, setting_reconcile_repair, false);
	}
	limit_waits(call);
	*rows += step(call, &run);
	reconcile_save(call, &run);
	return run.phase != RECONCILE_RESTING;
}

/*
 * A whole run in this transaction.  Returns its number.  Waits for whoever else
 * reconciles.  Raises 40001.
 */
int64
reconcile_at_once(Call *call, bool repair, bool complete)
{
	ReconcileRun run;

	ledger_wait_for_task(call, LEDGER_BALANCES);
	/* what whoever had it has left */
	call_see_now(call);
	reconcile_load(call, &run);
	begin_run(call, &run, repair, complete);
	run.at_once = true;
	while (run.phase != RECONCILE_RESTING)
	{
		CHECK_FOR_INTERRUPTS();
		(void) step(call, &run);
	}
	reconcile_save(call, &run);
	return run.number;
}
