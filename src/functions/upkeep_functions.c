/*
 * upkeep_functions.c
 *		inv_purge() and inv_maintain().
 */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "utils/timestamp.h"

#include "functions/arguments.h"
#include "records/duration.h"
#include "rules/purge.h"
#include "rules/upkeep.h"
#include "settings.h"
#include "table/sql.h"

PG_FUNCTION_INFO_V1(inv_purge);
PG_FUNCTION_INFO_V1(inv_maintain);

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
 * entries that old.  Returns the number of rows: 0 when nothing is due.
 * Raises 22023 for a negative or infinite older_than.
 */
Datum
inv_purge(PG_FUNCTION_ARGS)
{
	bool		only_keys = PG_ARGISNULL(0);
	int64		older_than = only_keys ? 0 : read_older_than(fcinfo);
	int64		batch = setting_expire_batch_size;
	Call	   *call = call_begin("inv_purge()", CALL_WRITES);
	int64		purged = purge_keys(call, batch);

	if (!only_keys)
	{
		TimestampTz due_before = GetCurrentTimestamp() - older_than;

		if (purged < batch)
			purged += purge_reservations(call, due_before, batch - purged);
		if (purged < batch)
			purged += purge_ledger(call, due_before, batch - purged);
	}
	call_end(call);
	PG_RETURN_INT64(purged);
}

/* One batch of a step of inv_maintain().  Returns whether there is more. */
static bool
maintain(const UpkeepStep *step)
{
	Call	   *call = call_begin("inv_maintain()", CALL_WRITES);
	int64		rows = 0;
	bool		more = step->run(call, &rows);

	call_end(call);
	return more;
}

/*
 * inv_maintain()
 *
 * A procedure.  Goes through the steps of upkeep and commits after each batch.
 * A batch that was not full is a step's last: it ends even while holds die as
 * fast as they are swept.  Raises 2D000 inside a transaction block.
 *
 * Each batch begins and ends its own call, so that no table, snapshot or
 * setting is held over a commit.
 */
Datum
inv_maintain(PG_FUNCTION_ARGS)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("inv_maintain() cannot run inside a transaction block"),
				 errhint("It commits after each batch. Inside a transaction, use inv_expire() and inv_purge().")));

	sql_begin_procedure();
	for (int i = 0; i < upkeep_step_count; i++)
	{
		if (upkeep_steps[i].worker_only)
			continue;
		while (maintain(&upkeep_steps[i]))
			sql_commit();
		sql_commit();
	}
	sql_end_procedure();
	PG_RETURN_VOID();
}
