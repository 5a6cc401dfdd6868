/*
 * reserve_functions.c
 *		inv_reserve() and its kin, and inv_available().
 *
 * Five functions, one rule: they differ in how the lines are given and in
 * whether short stock is an error.  Single reserves share a scope of
 * idempotency keys, carts another.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "errors.h"
#include "functions/arguments.h"
#include "rules/reserve_steps.h"
#include "rules/sourcing.h"
#include "statistics/statistics.h"

PG_FUNCTION_INFO_V1(inv_reserve);
PG_FUNCTION_INFO_V1(inv_try_reserve);
PG_FUNCTION_INFO_V1(inv_reserve_cart);
PG_FUNCTION_INFO_V1(inv_try_reserve_cart);
PG_FUNCTION_INFO_V1(inv_reserve_lines);
PG_FUNCTION_INFO_V1(inv_available);

/*
 * Read the arguments that all five have in common; "first" is the number of
 * the first of them, "key".  The lines are read already.
 */
static void
read_request(FunctionCallInfo fcinfo, int first, const char *scope,
			 ReserveRequest *request)
{
	char	   *key = argument_optional_name(fcinfo, first, "key");

	request->customer = argument_optional_name(fcinfo, first + 1, "customer");
	request->ttl = argument_optional_ttl(fcinfo, first + 2, "ttl");
	request->location = argument_optional_name(fcinfo, first + 3, "location");
	request->reference = argument_optional_name(fcinfo, first + 4, "reference");
	request->metadata = PG_ARGISNULL(first + 5) ? (Datum) 0
		: PG_GETARG_DATUM(first + 5);
	request->split = argument_bool(fcinfo, first + 6, "split");

	key_begin(&request->keyed, scope, key);
	if (key == NULL)
		return;
	key_argument_text(&request->keyed, "customer", request->customer);
	if (request->ttl > 0)
		key_argument_int64(&request->keyed, "ttl", request->ttl);
	key_argument_text(&request->keyed, "location", request->location);
	key_argument_text(&request->keyed, "reference", request->reference);
	if (request->metadata != (Datum) 0)
		key_argument_jsonb(&request->keyed, "metadata",
						   DatumGetJsonbP(request->metadata));
	/* left out where it is false: keys may be older than it */
	if (request->split)
		key_argument_text(&request->keyed, "split", "true");
}

/* Add the lines of a cart to what its key remembers. */
static void
remember_lines(ReserveRequest *request)
{
	key_argument_texts(&request->keyed, "skus", request->skus, request->count);
	key_argument_int64s(&request->keyed, "quantities", request->quantities,
						request->count);
}

/*
 * [{"sku", "location", "requested", "available"}]; the location is the one that
 * has so many, null where several have them together.
 */
static Datum
shortages_jsonb(Call *call, const ReserveResult *result)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < result->shortage_count; i++)
	{
		const Shortage *shortage = &result->shortages[i];

		appendStringInfoString(&json, i == 0 ? "[{\"sku\":" : ",{\"sku\":");
		escape_json(&json, shortage->sku);
		appendStringInfoString(&json, ",\"location\":");
		if (shortage->of_several)
			appendStringInfoString(&json, "null");
		else
			escape_json(&json, location_code(call, shortage->location_id));
		appendStringInfo(&json, ",\"requested\":" INT64_FORMAT
						 ",\"available\":" INT64_FORMAT "}",
						 shortage->requested, shortage->available);
	}
	appendStringInfoChar(&json, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* Run the rule and return an inv_hold or, with shortages, an inv_cart_hold. */
static Datum
run_reserve(FunctionCallInfo fcinfo, const char *name, ReserveRequest *request,
			bool may_be_short, bool return_shortages)
{
	Call	   *call = call_begin(name, CALL_WRITES);
	ReserveResult result;
	Datum		values[6] = {0};
	bool		nulls[6] = {true, true, true, false, false, true};
	Datum		row;

	reserve(call, request, &result);
	if (!result.held && !may_be_short)
		reserve_report_shortage(&result);

	if (result.held)
	{
		values[0] = UUIDPGetDatum(&result.reservation_id);
		values[1] = CStringGetTextDatum(reservation_status_name(result.status));
		values[2] = TimestampTzGetDatum(result.expires_at);
		nulls[0] = nulls[1] = nulls[2] = false;
	}
	else if (return_shortages)
	{
		values[5] = shortages_jsonb(call, &result);
		nulls[5] = false;
	}
	values[3] = BoolGetDatum(result.replayed);
	values[4] = Int64GetDatum(result.available);
	row = result_row(call, fcinfo, values, nulls, return_shortages ? 6 : 5);
	call_end(call);

	if (!result.held)
		statistics_count_rejection(ERRCODE_INV_INSUFFICIENT_STOCK);
	else
		statistics_count(result.replayed ? COUNT_REPLAYS : COUNT_RESERVES, 1);
	return row;
}

/* inv_reserve() and inv_try_reserve(). */
static Datum
reserve_one(FunctionCallInfo fcinfo, const char *name, bool may_be_short)
{
	ReserveRequest request = {0};
	char	   *sku = argument_sku(fcinfo, 0);
	int64		quantity = argument_quantity(fcinfo, 1, "quantity");

	request.count = 1;
	request.skus = &sku;
	request.quantities = &quantity;
	read_request(fcinfo, 2, "reserve", &request);
	key_argument_text(&request.keyed, "sku", sku);
	key_argument_int64(&request.keyed, "quantity", quantity);
	return run_reserve(fcinfo, name, &request, may_be_short, false);
}

Datum
inv_reserve(PG_FUNCTION_ARGS)
{
	return reserve_one(fcinfo, "inv_reserve()", false);
}

Datum
inv_try_reserve(PG_FUNCTION_ARGS)
{
	return reserve_one(fcinfo, "inv_try_reserve()", true);
}

/* inv_reserve_cart() and inv_try_reserve_cart(). */
static Datum
reserve_many(FunctionCallInfo fcinfo, const char *name, bool may_be_short)
{
	ReserveRequest request = {0};

	argument_lines(fcinfo, check_quantity, &request.count, &request.skus,
				   &request.quantities);
	read_request(fcinfo, 2, "reserve_cart", &request);
	remember_lines(&request);
	return run_reserve(fcinfo, name, &request, may_be_short, may_be_short);
}

Datum
inv_reserve_cart(PG_FUNCTION_ARGS)
{
	return reserve_many(fcinfo, "inv_reserve_cart()", false);
}

Datum
inv_try_reserve_cart(PG_FUNCTION_ARGS)
{
	return reserve_many(fcinfo, "inv_try_reserve_cart()", true);
}

/* 22023 for a cart in JSON that is not what it should be. */
static void
report_bad_lines(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("lines must be an array of objects"),
			 errdetail_internal("%s", why),
			 errhint("For example: [{\"sku\": \"A\", \"quantity\": 2}].")));
}

/* Read one field of a line. */
static void
read_field(const JsonbValue *name, const JsonbValue *value, char **sku,
		   int64 *quantity)
{
	const char *field = name->val.string.val;
	int			length = name->val.string.len;

	if (length == 3 && strncmp(field, "sku", 3) == 0)
	{
		if (value->type != jbvString)
			report_bad_lines("\"sku\" must be a string.");
		*sku = pnstrdup(value->val.string.val, value->val.string.len);
		check_name(*sku, "sku");
		*sku = normalize_sku(*sku);
	}
	else if (length == 8 && strncmp(field, "quantity", 8) == 0)
	{
		Datum		number;
		Datum		whole;

		if (value->type != jbvNumeric)
			report_bad_lines("\"quantity\" must be a number.");
		number = NumericGetDatum(value->val.numeric);
		whole = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));
		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)))
			report_bad_lines("\"quantity\" must be a whole number.");
		/* beyond bigint this raises 22003 */
		*quantity = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
		check_quantity(*quantity, "quantity");
	}
	else
		report_bad_lines(psprintf("Field \"%s\" is not known.",
								  pnstrdup(field, length)));
}

/* Read one line of a cart given as JSON. */
static void
read_json_line(const JsonbValue *element, char **sku, int64 *quantity)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	name = {0};
	JsonbValue	value;

	if (element->type != jbvBinary ||
		!JsonContainerIsObject(element->val.binary.data))
		report_bad_lines("An element is not an object.");

	/* nested values arrive whole, as jbvBinary, and read_field() refuses them */
	*sku = NULL;
	*quantity = 0;
	iterator = JsonbIteratorInit(element->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = value;
		else if (token == WJB_VALUE)
			read_field(&name, &value, sku, quantity);
	}
	if (*sku == NULL || *quantity == 0)
		report_bad_lines("Each line needs \"sku\" and \"quantity\".");
}

/* Read a cart given as JSON. */
static void
read_json_lines(Jsonb *lines, ReserveRequest *request)
{
	if (!JB_ROOT_IS_ARRAY(lines) || JB_ROOT_IS_SCALAR(lines))
		report_bad_lines("It is not an array.");
	if (JB_ROOT_COUNT(lines) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lines must not be empty")));

	request->count = JB_ROOT_COUNT(lines);
	request->skus = palloc(request->count * sizeof(char *));
	request->quantities = palloc(request->count * sizeof(int64));
	for (int i = 0; i < request->count; i++)
		read_json_line(getIthJsonbValueFromContainer(&lines->root, i),
					   &request->skus[i], &request->quantities[i]);
}

Datum
inv_reserve_lines(PG_FUNCTION_ARGS)
{
	ReserveRequest request = {0};

	if (PG_ARGISNULL(0))
		report_null_argument("lines");
	read_json_lines(PG_GETARG_JSONB_P(0), &request);
	read_request(fcinfo, 1, "reserve_cart", &request);
	remember_lines(&request);
	return run_reserve(fcinfo, "inv_reserve_lines()", &request, false, false);
}

/*
 * Units of a SKU that could be held now, at one location or, with split, at all
 * of them together.  Raises IV004, IV010.
 */
Datum
inv_available(PG_FUNCTION_ARGS)
{
	char	   *sku = argument_sku(fcinfo, 0);
	char	   *location = argument_optional_name(fcinfo, 1, "location");
	Call	   *call = call_begin("inv_available()", CALL_READS);
	CatalogueItem item;
	Sources		sources;
	int64		units;

	item_require(call, sku, &item);
	sources_of(call, location, true, &sources);
	units = sourcing_available(call, &sources, item.item_id);
	call_end(call);
	PG_RETURN_INT64(units);
}
