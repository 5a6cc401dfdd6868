/*
 * feed_functions.c
 *		inv_events() and inv_newest_event(): the ledger as a feed.
 *
 * Read-only: they work on a standby, and see what the caller's statement sees.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "functions/arguments.h"
#include "rules/feed.h"
#include "table/sql.h"

PG_FUNCTION_INFO_V1(inv_events);
PG_FUNCTION_INFO_V1(inv_newest_event);

/* So many events are in memory at a time, whatever is asked for. */
#define EVENTS_AT_ONCE 1000

/* Longer texts than this are no cursor, and not worth repeating. */
#define LONGEST_CURSOR 64

/* The argument "after"; raises 22023 for what is no cursor. */
static void
read_cursor(FunctionCallInfo fcinfo, LedgerPlace *place)
{
	char	   *cursor = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!ledger_place_parse(cursor, place))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 strlen(cursor) <= LONGEST_CURSOR
				 ? errmsg("after is not a cursor: \"%s\"", cursor)
				 : errmsg("after is not a cursor"),
				 errhint("Give the cursor of the last event that you have dealt with, or null to begin with the oldest.")));
}

/* The argument "max_count"; raises 22023 unless it is positive. */
static int32
read_max_count(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		report_null_argument("max_count");
	return (int32) check_quantity(PG_GETARG_INT32(1), "max_count");
}

/* Add the events of the current result, already counted, to the set. */
static void
put_events(ReturnSetInfo *set, int count)
{
	for (int row = 0; row < count; row++)
	{
		Datum		values[COLUMNS_OF_EVENT];
		bool		nulls[COLUMNS_OF_EVENT];

		for (int i = 0; i < COLUMNS_OF_EVENT; i++)
			values[i] = sql_value(row, i + 1, &nulls[i]);
		result_put(set, values, nulls, COLUMNS_OF_EVENT);
	}
}

/*
 * inv_events(after, max_count)
 *
 * Returns inv_event rows in the order of the feed.  Raises 22023 for an
 * argument that makes no sense, 55000 for a cursor after which something has
 * been purged, or that was never in this ledger.
 */
Datum
inv_events(PG_FUNCTION_ARGS)
{
	bool		from_oldest = PG_ARGISNULL(0);
	LedgerPlace after;
	int			left = read_max_count(fcinfo);
	int			found;
	FeedReader	reader;
	Call	   *call;

	if (!from_oldest)
		read_cursor(fcinfo, &after);
	InitMaterializedSRF(fcinfo, 0);

	call = call_begin("inv_events()", CALL_READS);
	feed_begin(call, &reader, from_oldest ? NULL : &after);
	do
	{
		CHECK_FOR_INTERRUPTS();
		sql_begin(call);
		found = feed_read(call, &reader, Min(left, EVENTS_AT_ONCE));
		put_events((ReturnSetInfo *) fcinfo->resultinfo, found);
		sql_end(call);
		left -= found;
	} while (found > 0 && left > 0);
	call_end(call);
	return (Datum) 0;
}

/*
 * inv_newest_event()
 *
 * The cursor of the newest event that inv_events() would return; null if there
 * has been none.
 */
Datum
inv_newest_event(PG_FUNCTION_ARGS)
{
	Call	   *call = call_begin("inv_newest_event()", CALL_READS);
	LedgerPlace newest;
	bool		found = feed_newest(call, &newest);

	call_end(call);
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(ledger_place_text(&newest)));
}
