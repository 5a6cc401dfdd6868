/*
 * waitlist_functions.c
 *		inv_join_waitlist(), inv_leave_waitlist() and inv_waitlist_status().
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "functions/arguments.h"
#include "rules/waitlist.h"
#include "statistics/statistics.h"

PG_FUNCTION_INFO_V1(inv_join_waitlist);
PG_FUNCTION_INFO_V1(inv_leave_waitlist);
PG_FUNCTION_INFO_V1(inv_waitlist_status);

static const char *const state_names[] = {
	[WAIT_NONE] = NULL,
	[WAIT_WAITING] = "waiting",
	[WAIT_OFFERED] = "offered",
	[WAIT_TAKEN] = "taken",
	[WAIT_LAPSED] = "lapsed",
};

/*
 * inv_join_waitlist(sku, quantity, customer, key): his place in line, from 1; 0
 * if he has his offer; null where a repeat finds that all is over.  Raises
 * 22023, 22003, IV004, IV005, IV006, IV007, IV008, 40001.
 */
Datum
inv_join_waitlist(PG_FUNCTION_ARGS)
{
	WaitRequest request = {0};
	WaitStatus	status;
	Call	   *call;
	bool		replayed;

	request.sku = argument_sku(fcinfo, 0);
	request.quantity = argument_quantity(fcinfo, 1, "quantity");
	request.customer = argument_name(fcinfo, 2, "customer");
	key_begin(&request.keyed, "join_waitlist",
			  argument_optional_name(fcinfo, 3, "key"));
	key_argument_text(&request.keyed, "sku", request.sku);
	key_argument_int64(&request.keyed, "quantity", request.quantity);
	key_argument_text(&request.keyed, "customer", request.customer);

	call = call_begin("inv_join_waitlist()", CALL_WRITES);
	replayed = waitlist_join(call, &request, &status);
	call_end(call);
	if (replayed)
		statistics_count(COUNT_REPLAYS, 1);
	if (status.state == WAIT_WAITING)
		PG_RETURN_INT64(status.position);
	if (status.state == WAIT_OFFERED)
		PG_RETURN_INT64(0);
	PG_RETURN_NULL();
}

/*
 * inv_leave_waitlist(sku, customer, key): the place he had in line, from 1; null
 * if he was not in it.  Raises 22023, IV004, IV005, 40001.
 */
Datum
inv_leave_waitlist(PG_FUNCTION_ARGS)
{
	WaitRequest request = {0};
	WaitStatus	status;
	Call	   *call;
	bool		replayed;

	request.sku = argument_sku(fcinfo, 0);
	request.customer = argument_name(fcinfo, 1, "customer");
	key_begin(&request.keyed, "leave_waitlist",
			  argument_optional_name(fcinfo, 2, "key"));
	key_argument_text(&request.keyed, "sku", request.sku);
	key_argument_text(&request.keyed, "customer", request.customer);

	call = call_begin("inv_leave_waitlist()", CALL_WRITES);
	replayed = waitlist_leave(call, &request, &status);
	call_end(call);
	if (replayed)
		statistics_count(COUNT_REPLAYS, 1);
	if (status.state == WAIT_WAITING)
		PG_RETURN_INT64(status.position);
	PG_RETURN_NULL();
}

/*
 * inv_waitlist_status(sku, customer): how he stands as of now, by his newest
 * entry.  Raises 22023, IV004.
 */
Datum
inv_waitlist_status(PG_FUNCTION_ARGS)
{
	char	   *sku = argument_sku(fcinfo, 0);
	char	   *customer = argument_name(fcinfo, 1, "customer");
	Call	   *call = call_begin("inv_waitlist_status()", CALL_READS);
	CatalogueItem item;
	WaitStatus	status;
	Datum		values[8] = {0};
	bool		nulls[8] = {false, false, true, true, true, true, true, true};
	Datum		row;

	item_require(call, sku, &item);
	waitlist_status(call, &item, customer, &status);
	values[0] = CStringGetTextDatum(sku);
	values[1] = CStringGetTextDatum(customer);
	if (status.state != WAIT_NONE)
	{
		values[2] = CStringGetTextDatum(state_names[status.state]);
		values[4] = Int64GetDatum(status.entry.quantity);
		values[5] = TimestampTzGetDatum(status.entry.joined_at);
		nulls[2] = nulls[4] = nulls[5] = false;
	}
	if (status.state == WAIT_WAITING)
	{
		values[3] = Int64GetDatum(status.position);
		nulls[3] = false;
	}
	else if (status.state != WAIT_NONE)
	{
		values[6] = UUIDPGetDatum(&status.entry.reservation_id);
		nulls[6] = false;
	}
	if (status.state == WAIT_OFFERED)
	{
		values[7] = TimestampTzGetDatum(status.expires_at);
		nulls[7] = false;
	}
	row = result_row(call, fcinfo, values, nulls, lengthof(values));
	call_end(call);
	return row;
}
