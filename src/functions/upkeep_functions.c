/*
 * upkeep_functions.c
 *		Deleting what is old: inv_purge(), and inv_maintain(), which also
 *		sweeps.
 *
 * Every batch is small, and its cost must not grow with the tables: it walks
 * an index from its oldest end.  What must hold after each batch:
 *
 * - A key outlives its retention, and a reservation the key that made it.
 * - A reservation goes as a whole, when all its lines are cancelled or
 *   expired, and under the lock of its line 1, which is never waited for.
 * - The ledger still adds up to the stock.  Of the entries that go, the
 *   newest of each stock row stays, as its opening balance: its deltas become
 *   the sum of them all, an earlier opening balance included.
 *
 * The ledger is walked by entry_id.  An entry is numbered while its stock row
 * is locked, so among the entries of one stock row the order of the numbers is
 * the order of the changes and of the commits: none turns up later below one
 * that we see, and "after" in the newest is the balance of those that go.
 * Among entries of different stock rows one may turn up later; it is then the
 * oldest of its stock row that is left, and the next batch finds it, because
 * each batch begins at the lowest number.
 *
 * Opening balances, at most one a stock row, stay at the lower end.  A batch
 * passes over them: that is the one cost that grows, with the number of stock
 * rows and not with the ledger.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "functions/arguments.h"
#include "records/duration.h"
#include "rules/expire.h"
#include "rules/stripes.h"
#include "settings.h"
#include "table/sql.h"

PG_FUNCTION_INFO_V1(inv_purge);
PG_FUNCTION_INFO_V1(inv_maintain);

/* $1 due before, $2 how many; index inv_idempotency_age */
static SqlStatement delete_keys = {
	.text = "DELETE FROM inv_idempotency WHERE ctid = ANY (ARRAY("
	" SELECT ctid FROM inv_idempotency"
	" WHERE created_at < $1"
	" ORDER BY created_at LIMIT $2"
	" FOR UPDATE SKIP LOCKED))",
	.expected = SPI_OK_DELETE,
	.nargs = 2,
	.argument_types = {TIMESTAMPTZOID, INT8OID}
};

static SqlStatement find_oldest_key = {
	.text = "SELECT min(created_at) FROM inv_idempotency",
	.expected = SPI_OK_SELECT
};

/*
 * $1 due before, $2 how many; index inv_reservation_closed.  Lines and orders
 * are looked up one reservation at a time (OFFSET 0, aggregates), so that no
 * plan reads those tables from end to end.
 */
static SqlStatement delete_reservations = {
	.text = "WITH due AS MATERIALIZED ("
	" SELECT head.reservation_id FROM inv_reservation AS head"
	" WHERE head.status IN ('cancelled', 'expired')"
	"  AND head.closed_at < $1"
	"  AND head.line_no = 1"
	"  AND (SELECT bool_and(line.status IN ('cancelled', 'expired')"
	"                       AND line.closed_at < $1)"
	"         FROM inv_reservation AS line"
	"        WHERE line.reservation_id = head.reservation_id)"
	"  AND (SELECT count(*) FROM inv_order AS sale"
	"        WHERE sale.reservation_id = head.reservation_id) = 0"
	" ORDER BY head.closed_at LIMIT $2"
	" FOR UPDATE OF head SKIP LOCKED)"
	" DELETE FROM inv_reservation WHERE ctid = ANY (ARRAY("
	"  SELECT line.place FROM due CROSS JOIN LATERAL ("
	"   SELECT ctid AS place FROM inv_reservation"
	"   WHERE reservation_id = due.reservation_id OFFSET 0) AS line))",
	.expected = SPI_OK_DELETE,
	.nargs = 2,
	.argument_types = {TIMESTAMPTZOID, INT8OID}
};

/*
 * $1 due before, $2 how many; index inv_ledger_pkey.  Takes the oldest entries
 * up to the first that is not due, so that of each stock row the oldest go.
 * A stock row that has only its opening balance there is left alone.
 */
static SqlStatement fold_ledger = {
	.text = "WITH oldest AS MATERIALIZED ("
	" SELECT entry_id, at FROM inv_ledger"
	" WHERE operation <> 'opening_balance'"
	" ORDER BY entry_id LIMIT $2"
	"), due AS MATERIALIZED ("
	" SELECT max(entry_id) AS last, count(*) AS entries FROM oldest"
	" WHERE entry_id < coalesce("
	"  (SELECT min(entry_id) FROM oldest WHERE at >= $1),"
	"  9223372036854775807)"
	"), balance AS MATERIALIZED ("
	" SELECT item_id, location_id, stripe, max(entry_id) AS newest,"
	"  sum(delta_on_hand)::bigint AS on_hand,"
	"  sum(delta_reserved)::bigint AS reserved"
	" FROM inv_ledger WHERE entry_id <= (SELECT last FROM due)"
	" GROUP BY item_id, location_id, stripe"
	" HAVING bool_or(operation <> 'opening_balance')"
	"), opened AS ("
	" UPDATE inv_ledger AS entry"
	" SET operation = 'opening_balance',"
	"  delta_on_hand = balance.on_hand, delta_reserved = balance.reserved,"
	"  reservation_id = NULL, order_id = NULL, reason = 'opening balance'"
	" FROM balance"
	" WHERE entry.entry_id = balance.newest"
	"  AND entry.entry_id <= (SELECT last FROM due)"
	"), deleted AS ("
	" DELETE FROM inv_ledger AS entry USING balance"
	" WHERE entry.entry_id <= (SELECT last FROM due)"
	"  AND entry.item_id = balance.item_id"
	"  AND entry.location_id = balance.location_id"
	"  AND entry.stripe = balance.stripe"
	"  AND entry.entry_id < balance.newest"
	") SELECT entries FROM due",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {TIMESTAMPTZOID, INT8OID}
};

/*
 * For the rest of the call, have statements planned for the values at hand
 * and by index: the planner knows neither how small a batch is, when it plans
 * for any, nor how far the tables have grown since they were analyzed.  The
 * caller has called sql_begin(), which has settings put back by call_end().
 */
static void
plan_by_index(void)
{
	(void) set_config_option("plan_cache_mode", "force_custom_plan",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	(void) set_config_option("enable_seqscan", "off",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* The moment before which a key is past its retention. */
static TimestampTz
keys_due_before(void)
{
	return GetCurrentTimestamp() -
		(int64) setting_idempotency_retention * USECS_PER_SEC;
}

/* Delete at most "budget" keys; returns how many. */
static int64
purge_keys(Call *call, int64 budget)
{
	Datum		values[] = {TimestampTzGetDatum(keys_due_before()),
	Int64GetDatum(budget)};

	return (int64) sql_run(call, &delete_keys, values, NULL);
}

/*
 * Delete at most "budget" reservations that were closed before "due_before",
 * and returns the number of lines.  The caller has deleted the keys that are
 * due.  Should one be left (its row is busy), whatever was closed since it was
 * made stays as well.
 */
static int64
purge_reservations(Call *call, TimestampTz due_before, int64 budget)
{
	Datum		values[2];
	Datum		oldest_key;
	bool		no_key;

	(void) sql_run(call, &find_oldest_key, NULL, NULL);
	oldest_key = sql_value(0, 1, &no_key);
	if (!no_key)
		due_before = Min(due_before, DatumGetTimestampTz(oldest_key));

	values[0] = TimestampTzGetDatum(due_before);
	values[1] = Int64GetDatum(budget);
	return (int64) sql_run(call, &delete_reservations, values, NULL);
}

/*
 * Fold at most "budget" ledger entries that were made before "due_before" into
 * opening balances, and return how many.  Two batches at a time could make two
 * opening balances of one stock row, so while somebody else is at it, nothing
 * is due.  The lock is on no table: vacuum may run meanwhile.
 */
static int64
purge_ledger(Call *call, TimestampTz due_before, int64 budget)
{
	OpenTable  *table = call_open(call, TABLE_LEDGER);
	LOCKTAG		tag;
	Datum		values[] = {TimestampTzGetDatum(due_before),
	Int64GetDatum(budget)};
	bool		isnull;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   RelationGetRelid(table->relation), 0);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return 0;
	(void) sql_run(call, &fold_ledger, values, NULL);
	return DatumGetInt64(sql_value(0, 1, &isnull));
}

/* The argument older_than in microseconds; see inv_purge(). */
static int64
read_older_than(FunctionCallInfo fcinfo)
{
	Interval   *older_than = PG_GETARG_INTERVAL_P(0);

	if (duration_is_infinite(older_than))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must be finite")));
	if (duration_of(older_than) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must not be negative")));
	return duration_of(older_than);
}

/*
 * inv_purge(older_than)
 *
 * Deletes one batch of keys past their retention; when none is left and
 * older_than is not null, of reservations without an order and of ledger
 * entries that old.  Returns the number of rows, a ledger entry that became an
 * opening balance included: 0 when nothing is due.  Raises 22023 for a
 * negative or infinite older_than.
 */
Datum
inv_purge(PG_FUNCTION_ARGS)
{
	bool		only_keys = PG_ARGISNULL(0);
	int64		older_than = only_keys ? 0 : read_older_than(fcinfo);
	int64		batch = setting_expire_batch_size;
	Call	   *call = call_begin("inv_purge()", CALL_WRITES);
	int64		purged;

	sql_begin(call);
	plan_by_index();
	purged = purge_keys(call, batch);
	if (!only_keys)
	{
		TimestampTz due_before = GetCurrentTimestamp() - older_than;

		if (purged < batch)
			purged += purge_reservations(call,
										 Min(due_before, keys_due_before()),
										 batch - purged);
		if (purged < batch)
			purged += purge_ledger(call, due_before, batch - purged);
	}
	sql_end(call);
	call_end(call);
	PG_RETURN_INT64(purged);
}

/* One batch of inv_maintain(): sweep dead holds.  Returns how many. */
static int64
maintain_holds(int64 batch)
{
	Call	   *call = call_begin("inv_maintain()", CALL_WRITES);
	int64		swept = expire_dead_holds_nowait(call, batch);

	call_end(call);
	return swept;
}

/* One batch of inv_maintain(): delete keys.  Returns how many. */
static int64
maintain_keys(int64 batch)
{
	Call	   *call = call_begin("inv_maintain()", CALL_WRITES);
	int64		deleted;

	sql_begin(call);
	plan_by_index();
	deleted = purge_keys(call, batch);
	sql_end(call);
	call_end(call);
	return deleted;
}

/*
 * One step of inv_maintain(): make one row of the stock of a SKU that needs no
 * stripes any more.  False if there is none.
 */
static bool
maintain_stripes(void)
{
	Call	   *call = call_begin("inv_maintain()", CALL_WRITES);
	int64		item_id;
	int32		location_id;
	bool		found = calm_stripes(call, &item_id, &location_id);

	if (found)
		set_stripes(call, item_id, location_id, 1);
	call_end(call);
	return found;
}

/*
 * inv_maintain()
 *
 * A procedure.  Sweeps, then deletes keys past their retention, then takes
 * automatic stripes away, and commits after each batch.  A batch that was not
 * full is the last: it ends even while holds die as fast as they are swept.
 * Raises 2D000 inside a transaction block.
 *
 * Each batch begins and ends its own call, so that no table, snapshot or
 * setting is held over a commit.
 */
Datum
inv_maintain(PG_FUNCTION_ARGS)
{
	int64		batch = setting_expire_batch_size;

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("inv_maintain() cannot run inside a transaction block"),
				 errhint("It commits after each batch. Inside a transaction, use inv_expire() and inv_purge().")));

	sql_begin_procedure();
	while (maintain_holds(batch) >= batch)
		sql_commit();
	sql_commit();
	while (maintain_keys(batch) >= batch)
		sql_commit();
	sql_commit();
	while (maintain_stripes())
		sql_commit();
	sql_commit();
	sql_end_procedure();
	PG_RETURN_VOID();
}
