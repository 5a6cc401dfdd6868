/*
 * statistics_functions.c
 *		The counters as SQL sees them: inv_stat_counters(), inv_stat_reset().
 *
 * They read and write nothing but shared memory, so they work on a standby and
 * in a read-only transaction too.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "functions/arguments.h"
#include "statistics/statistics.h"

PG_FUNCTION_INFO_V1(inv_stat_counters);
PG_FUNCTION_INFO_V1(inv_stat_reset);

/* counting, the counters, and what is told of the worker */
#define COLUMNS_OF_STATISTICS (1 + NUM_COUNTERS + 8)

/* A row being made, column after column. */
typedef struct RowMaker
{
	int			columns;
	Datum		values[COLUMNS_OF_STATISTICS];
	bool		nulls[COLUMNS_OF_STATISTICS];
} RowMaker;

static void
put(RowMaker *row, Datum value, bool isnull)
{
	Assert(row->columns < COLUMNS_OF_STATISTICS);
	row->values[row->columns] = isnull ? (Datum) 0 : value;
	row->nulls[row->columns] = isnull;
	row->columns++;
}

static void
put_time(RowMaker *row, TimestampTz at)
{
	put(row, TimestampTzGetDatum(at), at == 0);
}

static void
put_text(RowMaker *row, const char *text)
{
	put(row, CStringGetTextDatum(text), text[0] == '\0');
}

static Datum
milliseconds(int64 microseconds)
{
	return Float8GetDatum((double) microseconds / 1000.0);
}

/* The counters from "first" to "last", in their order. */
static void
put_counters(RowMaker *row, const Statistics *statistics, Counter first,
			 Counter last)
{
	for (int i = first; i <= last; i++)
		put(row, i == COUNT_LOCK_WAIT_TIME
			? milliseconds(statistics->counters[i])
			: Int64GetDatum(statistics->counters[i]), false);
}

/*
 * inv_stat_counters(): one row.  Where nothing is counted, because the library
 * was not preloaded, all columns but the first are null.
 */
Datum
inv_stat_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Statistics	statistics;
	RowMaker	row = {0};

	InitMaterializedSRF(fcinfo, 0);
	put(&row, BoolGetDatum(statistics_read(&statistics)), false);
	if (DatumGetBool(row.values[0]))
	{
		const UpkeepState *upkeep = &statistics.upkeep;
		bool		never = upkeep->last_run == 0;

		put_counters(&row, &statistics, 0, COUNT_WORKER_ROWS);
		put_time(&row, upkeep->last_run);
		put(&row, milliseconds(upkeep->last_duration), never);
		put(&row, Int64GetDatum(upkeep->last_rows), never);
		put_text(&row, upkeep->last_error);
		put_time(&row, upkeep->last_error_at);
		put_counters(&row, &statistics, COUNT_RECONCILIATIONS,
					 COUNT_DRIFTS_REPAIRED);
		put_text(&row, upkeep->activity);
		put(&row, Int64GetDatum(upkeep->activity_done),
			upkeep->activity[0] == '\0');
		put_time(&row, statistics.reset_at);
	}
	while (row.columns < COLUMNS_OF_STATISTICS)
		put(&row, (Datum) 0, true);
	result_put(set, row.values, row.nulls, row.columns);
	return (Datum) 0;
}

/* inv_stat_reset(): the counters of the current database begin at zero. */
Datum
inv_stat_reset(PG_FUNCTION_ARGS)
{
	statistics_reset();
	PG_RETURN_VOID();
}
