/*
 * order_functions.c
 *		inv_cancel_order(), inv_return(), inv_complete_order(),
 *		inv_record_payment(): each returns the order's row as it is afterwards.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "functions/arguments.h"
#include "rules/order_rules.h"

PG_FUNCTION_INFO_V1(inv_cancel_order);
PG_FUNCTION_INFO_V1(inv_return);
PG_FUNCTION_INFO_V1(inv_complete_order);
PG_FUNCTION_INFO_V1(inv_record_payment);

static const pg_uuid_t *
read_order_id(FunctionCallInfo fcinfo)
{
	return DatumGetUUIDP(argument_uuid(fcinfo, 0, "order_id"));
}

Datum
inv_cancel_order(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *order_id = read_order_id(fcinfo);
	char	   *reason = argument_optional_text(fcinfo, 1);
	KeyedCall	keyed;
	Call	   *call;
	Datum		row;

	key_begin(&keyed, "cancel_order", argument_optional_name(fcinfo, 2, "key"));
	key_argument_text(&keyed, "order_id", uuid_text(order_id));
	key_argument_text(&keyed, "reason", reason);

	call = call_begin("inv_cancel_order()", CALL_WRITES);
	cancel_order(call, &keyed, order_id, reason);
	row = order_result(call, order_id);
	call_end(call);
	return row;
}

Datum
inv_return(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *order_id = read_order_id(fcinfo);
	char	   *sku = argument_sku(fcinfo, 1);
	int64		quantity = argument_quantity(fcinfo, 2, "quantity");
	char	   *reason = argument_optional_text(fcinfo, 3);
	KeyedCall	keyed;
	Call	   *call;
	Datum		row;

	key_begin(&keyed, "return", argument_optional_name(fcinfo, 4, "key"));
	key_argument_text(&keyed, "order_id", uuid_text(order_id));
	key_argument_text(&keyed, "sku", sku);
	key_argument_int64(&keyed, "quantity", quantity);
	key_argument_text(&keyed, "reason", reason);

	call = call_begin("inv_return()", CALL_WRITES);
	return_units(call, &keyed, order_id, sku, quantity, reason);
	row = order_result(call, order_id);
	call_end(call);
	return row;
}

Datum
inv_complete_order(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *order_id = read_order_id(fcinfo);
	Call	   *call = call_begin("inv_complete_order()", CALL_WRITES);
	Datum		row;

	complete_order(call, order_id);
	row = order_result(call, order_id);
	call_end(call);
	return row;
}

Datum
inv_record_payment(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *order_id = read_order_id(fcinfo);
	char	   *name = argument_name(fcinfo, 1, "status");
	PaymentStatus status = payment_status_parse(name, "status");
	Call	   *call = call_begin("inv_record_payment()", CALL_WRITES);
	Datum		row;

	record_payment(call, order_id, status);
	row = order_result(call, order_id);
	call_end(call);
	return row;
}
