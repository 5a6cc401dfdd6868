/*
 * hold_functions.c
 *		What SQL calls for holds: confirm, cancel, release, extend, expire.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "functions/arguments.h"
#include "rules/expire.h"
#include "rules/hold.h"
#include "settings.h"
#include "statistics/statistics.h"

PG_FUNCTION_INFO_V1(inv_confirm);
PG_FUNCTION_INFO_V1(inv_cancel);
PG_FUNCTION_INFO_V1(inv_release);
PG_FUNCTION_INFO_V1(inv_extend);
PG_FUNCTION_INFO_V1(inv_expire);

/* Read argument 0, the reservation, and begin to describe the keyed call. */
static const pg_uuid_t *
begin_keyed(FunctionCallInfo fcinfo, int key_number, const char *scope,
			KeyedCall *keyed)
{
	const pg_uuid_t *id = DatumGetUUIDP(argument_uuid(fcinfo, 0,
													  "reservation_id"));

	key_begin(keyed, scope, argument_optional_name(fcinfo, key_number, "key"));
	key_argument_text(keyed, "reservation_id", uuid_text(id));
	return id;
}

/* Count a call that has done what it is for, or found that it was done. */
static void
count_call(Counter counter, bool replayed)
{
	statistics_count(replayed ? COUNT_REPLAYS : counter, 1);
}

/* An inv_cancellation. */
static Datum
cancellation_row(Call *call, FunctionCallInfo fcinfo, const pg_uuid_t *id,
				 const HoldChange *change)
{
	bool		nulls[3] = {false};
	Datum		values[3];

	values[0] = UUIDPGetDatum(id);
	values[1] = CStringGetTextDatum(reservation_status_name(change->status));
	values[2] = BoolGetDatum(change->replayed);
	return result_row(call, fcinfo, values, nulls, lengthof(values));
}

Datum
inv_confirm(PG_FUNCTION_ARGS)
{
	KeyedCall	keyed;
	const pg_uuid_t *id = begin_keyed(fcinfo, 1, "confirm", &keyed);
	char	   *customer = argument_optional_name(fcinfo, 2, "customer");
	char	   *payment = argument_name(fcinfo, 3, "payment_status");
	PaymentStatus payment_status = payment_status_parse(payment,
														"payment_status");
	Call	   *call;
	Order		order;
	bool		nulls[4] = {false};
	Datum		values[4];
	Datum		row;
	bool		retake = argument_bool(fcinfo, 4, "retake");
	bool		replayed;

	if (payment_status == PAYMENT_REFUNDED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an order cannot begin with payment refunded")));
	key_argument_text(&keyed, "customer", customer);
	key_argument_text(&keyed, "payment_status", payment);
	if (retake)
		key_argument_text(&keyed, "retake", "true");

	call = call_begin("inv_confirm()", CALL_WRITES);
	replayed = confirm_hold(call, &keyed, id, customer, payment_status, retake,
							&order);
	values[0] = UUIDPGetDatum(&order.order_id);
	values[1] = CStringGetTextDatum(order_status_name(order.status));
	values[2] = order.total;
	values[3] = BoolGetDatum(replayed);
	row = result_row(call, fcinfo, values, nulls, lengthof(values));
	call_end(call);
	count_call(COUNT_CONFIRMS, replayed);
	return row;
}

Datum
inv_cancel(PG_FUNCTION_ARGS)
{
	KeyedCall	keyed;
	const pg_uuid_t *id = begin_keyed(fcinfo, 1, "cancel", &keyed);
	char	   *customer = argument_optional_name(fcinfo, 2, "customer");
	Call	   *call;
	HoldChange	change;
	Datum		row;

	key_argument_text(&keyed, "customer", customer);
	call = call_begin("inv_cancel()", CALL_WRITES);
	cancel_hold(call, &keyed, id, customer, &change);
	row = cancellation_row(call, fcinfo, id, &change);
	call_end(call);
	/* to cancel a dead one is to expire it, which is counted there */
	if (change.replayed || change.status == RESERVATION_CANCELLED)
		count_call(COUNT_CANCELS, change.replayed);
	return row;
}

Datum
inv_release(PG_FUNCTION_ARGS)
{
	KeyedCall	keyed;
	const pg_uuid_t *id = begin_keyed(fcinfo, 3, "release", &keyed);
	char	   *sku = argument_sku(fcinfo, 1);
	int64		quantity = argument_quantity(fcinfo, 2, "quantity");
	Call	   *call;
	HoldChange	change;
	Datum		row;

	key_argument_text(&keyed, "sku", sku);
	key_argument_int64(&keyed, "quantity", quantity);
	call = call_begin("inv_release()", CALL_WRITES);
	release_units(call, &keyed, id, sku, quantity, &change);
	row = cancellation_row(call, fcinfo, id, &change);
	call_end(call);
	count_call(COUNT_RELEASES, change.replayed);
	return row;
}

Datum
inv_extend(PG_FUNCTION_ARGS)
{
	KeyedCall	keyed;
	const pg_uuid_t *id = begin_keyed(fcinfo, 2, "extend", &keyed);
	int64		ttl = argument_optional_ttl(fcinfo, 1, "ttl");
	Call	   *call;
	TimestampTz expires_at;
	bool		replayed;

	if (ttl > 0)
		key_argument_int64(&keyed, "ttl", ttl);
	call = call_begin("inv_extend()", CALL_WRITES);
	replayed = extend_hold(call, &keyed, id, ttl, &expires_at);
	call_end(call);
	count_call(COUNT_EXTENSIONS, replayed);
	PG_RETURN_TIMESTAMPTZ(expires_at);
}

/* The sweep.  Raises 22023 for a max_count below 1, 40001. */
Datum
inv_expire(PG_FUNCTION_ARGS)
{
	int64		max_count = setting_expire_batch_size;
	Call	   *call;
	int64		expired;

	if (!PG_ARGISNULL(0))
	{
		max_count = PG_GETARG_INT64(0);
		if (max_count <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("max_count must be greater than zero"),
					 errdetail("It is " INT64_FORMAT ".", max_count)));
	}

	call = call_begin("inv_expire()", CALL_WRITES);
	expired = expire_dead_holds(call, Min(max_count, MAX_EXPIRE_BATCH));
	call_end(call);
	PG_RETURN_INT64(expired);
}
