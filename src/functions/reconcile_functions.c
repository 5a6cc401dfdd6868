/*
 * reconcile_functions.c
 *		inv_reconcile().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/ipc.h"

#include "functions/arguments.h"
#include "rules/reconcile.h"
#include "statistics/statistics.h"
#include "table/sql.h"

PG_FUNCTION_INFO_V1(inv_reconcile);

#define COLUMNS_OF_DRIFT 9

/* $1 the run; columns as in type inv_drift */
static SqlStatement read_results = {
	.text = "SELECT result.finding, item.sku, location.code, result.stripe,"
	" result.reservation_id, result.order_id, result.found, result.expected,"
	" result.action"
	" FROM inv_reconciliation AS result"
	" LEFT JOIN inv_item AS item ON item.item_id = result.item_id"
	" LEFT JOIN inv_location AS location"
	"  ON location.location_id = result.location_id"
	" WHERE result.run = $1 ORDER BY result.\"row\"",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {INT8OID}
};

/* A run that is broken off, or whose session is ended, is not at work any more. */
static void
broken_off(int code, Datum arg)
{
	statistics_progress(NULL, 0);
}

/*
 * inv_reconcile(repair, complete)
 *
 * A row for each finding of a run, which is done here and now.  Waits for
 * another that is under way.  Raises 22023 for null, 40001.
 */
Datum
inv_reconcile(PG_FUNCTION_ARGS)
{
	bool		repair = argument_bool(fcinfo, 0, "repair");
	bool		complete = argument_bool(fcinfo, 1, "complete");
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Call	   *call;
	Datum		run;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	call = call_begin("inv_reconcile()", CALL_WRITES);
	PG_ENSURE_ERROR_CLEANUP(broken_off, (Datum) 0);
	{
		run = Int64GetDatum(reconcile_at_once(call, repair, complete));
	}
	PG_END_ENSURE_ERROR_CLEANUP(broken_off, (Datum) 0);
	sql_begin(call);
	count = (int) sql_run(call, &read_results, &run, NULL);
	for (int i = 0; i < count; i++)
	{
		Datum		values[COLUMNS_OF_DRIFT];
		bool		nulls[COLUMNS_OF_DRIFT];

		for (int j = 0; j < COLUMNS_OF_DRIFT; j++)
			values[j] = sql_value(i, j + 1, &nulls[j]);
		result_put(set, values, nulls, COLUMNS_OF_DRIFT);
	}
	sql_end(call);
	call_end(call);
	return (Datum) 0;
}
