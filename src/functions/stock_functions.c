/*
 * stock_functions.c
 *		inv_receive(), inv_adjust(), inv_set_stock(), inv_set_stripes(),
 *		inv_set_policy(), inv_transfer(), inv_load_stock().
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "functions/arguments.h"
#include "records/idempotency.h"
#include "rules/policy.h"
#include "rules/stock_load.h"
#include "rules/stock_take.h"
#include "rules/stripes.h"
#include "rules/transfer.h"
#include "settings.h"
#include "statistics/statistics.h"

PG_FUNCTION_INFO_V1(inv_receive);
PG_FUNCTION_INFO_V1(inv_adjust);
PG_FUNCTION_INFO_V1(inv_set_stock);
PG_FUNCTION_INFO_V1(inv_set_stripes);
PG_FUNCTION_INFO_V1(inv_set_policy);
PG_FUNCTION_INFO_V1(inv_transfer);
PG_FUNCTION_INFO_V1(inv_load_stock);

/* The columns of an inv_stock_level, but the last. */
static void
level_values(Call *call, const StockLevel *level, Datum *values)
{
	values[0] = CStringGetTextDatum(level->sku);
	values[1] = CStringGetTextDatum(location_code(call, level->location_id));
	values[2] = Int64GetDatum(level->on_hand);
	values[3] = Int64GetDatum(level->reserved);
	values[4] = Int64GetDatum(level->available);
	values[5] = Int64GetDatum(level->version);
}

/* An inv_stock_level. */
static Datum
level_row(Call *call, FunctionCallInfo fcinfo, const StockLevel *level,
		  bool replayed)
{
	bool		nulls[7] = {false};
	Datum		values[7];

	level_values(call, level, values);
	values[6] = BoolGetDatum(replayed);
	return result_row(call, fcinfo, values, nulls, lengthof(values));
}

/* inv_receive() and inv_adjust(), which differ in the sign they allow. */
static Datum
change_stock(FunctionCallInfo fcinfo, const char *name, const char *operation,
			 const char *quantity_argument, int64 delta)
{
	char	   *sku = argument_sku(fcinfo, 0);
	char	   *location = argument_optional_name(fcinfo, 2, "location");
	char	   *reason = argument_optional_text(fcinfo, 3);
	KeyedCall	keyed;
	Call	   *call;
	CatalogueItem item;
	StockLevel	level;
	int32		location_id;
	bool		replayed;
	Datum		row;

	key_begin(&keyed, operation, argument_optional_name(fcinfo, 4, "key"));
	key_argument_text(&keyed, "sku", sku);
	key_argument_int64(&keyed, quantity_argument, delta);
	key_argument_text(&keyed, "location", location);
	key_argument_text(&keyed, "reason", reason);

	call = call_begin(name, CALL_WRITES);
	replayed = key_replays(call, &keyed);
	item_require(call, sku, &item);
	location_id = location_require(call, location);
	if (!replayed)
		replayed = !key_claim(call, &keyed);
	if (replayed)
		stock_level(call, &item, location_id, &level);
	else
		stock_change(call, &item, location_id, delta, operation, reason,
					 &level);
	row = level_row(call, fcinfo, &level, replayed);
	call_end(call);
	if (replayed)
		statistics_count(COUNT_REPLAYS, 1);
	return row;
}

Datum
inv_receive(PG_FUNCTION_ARGS)
{
	return change_stock(fcinfo, "inv_receive()", "receive", "quantity",
						argument_quantity(fcinfo, 1, "quantity"));
}

Datum
inv_adjust(PG_FUNCTION_ARGS)
{
	int64		delta = argument_int64(fcinfo, 1, "delta");

	if (delta == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("delta must not be zero")));
	if (delta > MAX_QUANTITY || delta < -MAX_QUANTITY)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("delta is out of range"),
				 errdetail("It is " INT64_FORMAT "; at most " INT64_FORMAT
						   " either way is allowed.", delta, MAX_QUANTITY)));
	return change_stock(fcinfo, "inv_adjust()", "adjust", "delta", delta);
}

Datum
inv_set_stock(PG_FUNCTION_ARGS)
{
	StockTake	take = {0};
	char	   *sku = argument_sku(fcinfo, 0);
	char	   *location = argument_optional_name(fcinfo, 2, "location");
	Call	   *call;
	CatalogueItem item;
	StockLevel	level;
	int32		location_id;
	Datum		row;

	take.count = check_count(argument_int64(fcinfo, 1, "on_hand"), "on_hand");
	take.check_version = !PG_ARGISNULL(3);
	take.expected_version = take.check_version ? PG_GETARG_INT64(3) : 0;
	take.reason = argument_optional_text(fcinfo, 4);
	take.on_shelf = argument_bool(fcinfo, 5, "on_shelf");
	take.force = argument_bool(fcinfo, 6, "force");

	call = call_begin("inv_set_stock()", CALL_WRITES);
	item_require(call, sku, &item);
	location_id = location_require(call, location);
	stock_take(call, &item, location_id, &take, &level);
	row = level_row(call, fcinfo, &level, false);
	call_end(call);
	return row;
}

/*
 * inv_set_stripes(sku, stripes, location): returns "stripes".  Raises 22023
 * and 22003 for a number that is out of range, IV004, IV010, 40001.
 */
Datum
inv_set_stripes(PG_FUNCTION_ARGS)
{
	char	   *sku = argument_sku(fcinfo, 0);
	char	   *location = argument_optional_name(fcinfo, 2, "location");
	int32		stripes;
	Call	   *call;
	CatalogueItem item;

	if (PG_ARGISNULL(1))
		report_null_argument("stripes");
	stripes = PG_GETARG_INT32(1);
	(void) check_quantity(stripes, "stripes");
	if (stripes > MAX_STRIPES)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("stripes is out of range"),
				 errdetail("It is %d; at most %d is allowed.", stripes,
						   MAX_STRIPES)));

	call = call_begin("inv_set_stripes()", CALL_WRITES);
	item_require(call, sku, &item);
	set_stripes(call, item.item_id, location_require(call, location), stripes);
	call_end(call);
	PG_RETURN_INT32(stripes);
}

/*
 * inv_set_policy(sku, safety_stock, backorder_limit, location): the stock as it
 * is then.  Raises 22023 and 22003 for numbers that are out of range, 22023 for
 * safety stock together with backorders, IV004, IV010, IV012, 40001.
 */
Datum
inv_set_policy(PG_FUNCTION_ARGS)
{
	StockPolicy policy = {0};
	char	   *sku = argument_sku(fcinfo, 0);
	char	   *location = argument_optional_name(fcinfo, 3, "location");
	Call	   *call;
	CatalogueItem item;
	StockLevel	level;
	int32		location_id;
	Datum		row;

	policy.safety_stock = check_count(argument_int64(fcinfo, 1, "safety_stock"),
									  "safety_stock");
	policy.backorder_unlimited = PG_ARGISNULL(2);
	if (!policy.backorder_unlimited)
		policy.backorder_limit = check_count(PG_GETARG_INT64(2),
											 "backorder_limit");
	if (policy.safety_stock > 0 &&
		(policy.backorder_unlimited || policy.backorder_limit > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a SKU cannot have both safety stock and backorders"),
				 errdetail("Safety stock is never promised; a backorder is promised without being there.")));

	call = call_begin("inv_set_policy()", CALL_WRITES);
	item_require(call, sku, &item);
	location_id = location_require(call, location);
	set_policy(call, &item, location_id, &policy, &level);
	row = level_row(call, fcinfo, &level, false);
	call_end(call);
	return row;
}

/*
 * inv_transfer(sku, quantity, from_location, to_location, reason, key): the stock
 * at both, a row each.  Raises 22023 for one and the same location, 22003, IV004,
 * IV005, IV010, IV012, 40001.
 */
Datum
inv_transfer(PG_FUNCTION_ARGS)
{
	Transfer	wanted = {0};
	char	   *sku = argument_sku(fcinfo, 0);
	char	   *from = argument_optional_name(fcinfo, 2, "from_location");
	char	   *to = argument_optional_name(fcinfo, 3, "to_location");
	char	   *reason = argument_optional_text(fcinfo, 4);
	KeyedCall	keyed;
	Call	   *call;
	CatalogueItem item;
	StockLevel	levels[2];
	bool		replayed;

	wanted.quantity = argument_quantity(fcinfo, 1, "quantity");
	wanted.reason = reason;
	key_begin(&keyed, "transfer", argument_optional_name(fcinfo, 5, "key"));
	key_argument_text(&keyed, "sku", sku);
	key_argument_int64(&keyed, "quantity", wanted.quantity);
	key_argument_text(&keyed, "from_location", from);
	key_argument_text(&keyed, "to_location", to);
	key_argument_text(&keyed, "reason", reason);

	InitMaterializedSRF(fcinfo, 0);
	call = call_begin("inv_transfer()", CALL_WRITES);
	replayed = key_replays(call, &keyed);
	item_require(call, sku, &item);
	wanted.from = location_require(call, from);
	wanted.to = location_require(call, to);
	if (wanted.from == wanted.to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("from_location and to_location must not be the same")));
	if (!replayed)
		replayed = !key_claim(call, &keyed);
	if (replayed)
	{
		stock_level(call, &item, wanted.from, &levels[0]);
		stock_level(call, &item, wanted.to, &levels[1]);
	}
	else
		transfer_units(call, &item, &wanted, &levels[0], &levels[1]);
	for (int i = 0; i < lengthof(levels); i++)
	{
		Datum		values[7];
		bool		nulls[7] = {false};

		level_values(call, &levels[i], values);
		values[6] = BoolGetDatum(replayed);
		result_put((ReturnSetInfo *) fcinfo->resultinfo, values, nulls,
				   lengthof(values));
	}
	call_end(call);
	if (replayed)
		statistics_count(COUNT_REPLAYS, 1);
	return (Datum) 0;
}

/*
 * Set on_hand of many SKUs, adding those that are new.  Raises 22023 for a SKU
 * that is named twice, 22003, IV010, IV012, 40001.
 */
Datum
inv_load_stock(PG_FUNCTION_ARGS)
{
	int			count;
	char	  **skus;
	int64	   *quantities;
	char	   *location = argument_optional_name(fcinfo, 2, "location");
	char	   *reason = argument_optional_text(fcinfo, 3);
	Call	   *call;
	int32		location_id;
	LoadLine   *lines;
	Datum		values[8];
	bool		nulls[8] = {false};
	MemoryContext row_context;

	argument_lines(fcinfo, check_count, &count, &skus, &quantities);

	InitMaterializedSRF(fcinfo, 0);
	call = call_begin("inv_load_stock()", CALL_WRITES);
	location_id = location_require(call, location);
	lines = stock_load(call, skus, quantities, count, location_id, reason);

	row_context = AllocSetContextCreate(call->context, "loaded row",
										ALLOCSET_DEFAULT_SIZES);
	values[1] = CStringGetTextDatum(location_code(call, location_id));
	(void) MemoryContextSwitchTo(row_context);
	for (int i = 0; i < count; i++)
	{
		const StockLevel *level = &lines[i].level;

		values[0] = CStringGetTextDatum(skus[i]);
		values[2] = Int64GetDatum(level->on_hand);
		values[3] = Int64GetDatum(level->reserved);
		values[4] = Int64GetDatum(level->available);
		values[5] = Int64GetDatum(level->version);
		values[6] = BoolGetDatum(lines[i].created);
		values[7] = BoolGetDatum(lines[i].changed);
		result_put((ReturnSetInfo *) fcinfo->resultinfo, values, nulls,
				   lengthof(values));
		MemoryContextReset(row_context);
	}
	call_end(call);
	return (Datum) 0;
}
