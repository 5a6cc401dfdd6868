/*
 * batch_functions.c
 *		inv_reserve_batch().
 *
 * What is wrong with a request is told in its row, so the arguments of a
 * request are checked here one by one and nothing is raised for them; only the
 * arrays themselves must fit together.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "errors.h"
#include "functions/arguments.h"
#include "rules/reserve_batch.h"
#include "statistics/statistics.h"

PG_FUNCTION_INFO_V1(inv_reserve_batch);

/* An array of texts that may contain nulls, or be null as a whole. */
typedef struct TextArray
{
	Datum	   *values;			/* NULL: all are null */
	bool	   *nulls;
} TextArray;

/* Raise 22023 unless an array has as many elements as skus. */
static void
check_length(const char *argument, int length, int expected)
{
	if (length != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("skus and %s must have the same number of elements",
						argument),
				 errdetail("skus has %d, %s has %d.", expected, argument,
						   length)));
}

/* Read an array argument that may be null. */
static void
read_texts(FunctionCallInfo fcinfo, int number, const char *argument,
		   int expected, TextArray *array)
{
	int			count;

	array->values = NULL;
	if (PG_ARGISNULL(number))
		return;
	array->values = argument_array(fcinfo, number, argument, TEXTOID, &count,
								   &array->nulls);
	check_length(argument, count, expected);
}

/*
 * An element, NULL if it is null.  A text of a length that no name has makes
 * *error 22023.
 */
static char *
read_name(const TextArray *array, int place, int *error)
{
	char	   *name;
	size_t		length;

	if (array->values == NULL || array->nulls[place])
		return NULL;
	name = TextDatumGetCString(array->values[place]);
	length = strlen(name);
	if (length == 0 || length > MAX_NAME_BYTES)
		*error = ERRCODE_INVALID_PARAMETER_VALUE;
	return name;
}

/* Read the requests.  Those that make no sense get their error. */
static BatchRequest *
read_requests(FunctionCallInfo fcinfo, int64 ttl, int *count)
{
	TextArray	skus;
	TextArray	keys;
	TextArray	customers;
	Datum	   *quantities;
	bool	   *quantity_nulls;
	int			quantity_count;
	BatchRequest *requests;

	skus.values = argument_array(fcinfo, 0, "skus", TEXTOID, count,
								 &skus.nulls);
	quantities = argument_array(fcinfo, 1, "quantities", INT8OID,
								&quantity_count, &quantity_nulls);
	check_length("quantities", quantity_count, *count);
	read_texts(fcinfo, 2, "keys", *count, &keys);
	read_texts(fcinfo, 3, "customers", *count, &customers);

	requests = MemoryContextAllocHuge(CurrentMemoryContext,
									  *count * sizeof(BatchRequest));
	memset(requests, 0, *count * sizeof(BatchRequest));
	for (int i = 0; i < *count; i++)
	{
		BatchRequest *request = &requests[i];
		char	   *key;

		request->sku = read_name(&skus, i, &request->error);
		key = read_name(&keys, i, &request->error);
		request->customer = read_name(&customers, i, &request->error);
		request->quantity = quantity_nulls[i] ? 0
			: DatumGetInt64(quantities[i]);
		if (request->sku == NULL || request->quantity <= 0)
			request->error = ERRCODE_INVALID_PARAMETER_VALUE;
		else if (request->error == 0 && request->quantity > MAX_QUANTITY)
			request->error = ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		if (request->error != 0)
			continue;
		request->sku = normalize_sku(request->sku);

		/* as inv_reserve() would remember it */
		key_begin(&request->keyed, "reserve", key);
		request->keyed.answers_differ = true;
		key_argument_text(&request->keyed, "customer", request->customer);
		if (ttl > 0)
			key_argument_int64(&request->keyed, "ttl", ttl);
		key_argument_text(&request->keyed, "sku", request->sku);
		key_argument_int64(&request->keyed, "quantity", request->quantity);
	}
	return requests;
}

/* Add the row of a request to the result. */
static void
put_row(ReturnSetInfo *set, const BatchRequest *request)
{
	const ReserveResult *result = &request->result;
	Datum		values[6] = {0};
	bool		nulls[6] = {true, true, true, false, true, true};

	if (request->error == 0)
	{
		values[0] = UUIDPGetDatum(&result->reservation_id);
		values[1] = CStringGetTextDatum(reservation_status_name(result->status));
		values[2] = TimestampTzGetDatum(result->expires_at);
		nulls[0] = nulls[1] = nulls[2] = false;
	}
	else
	{
		values[5] = CStringGetTextDatum(unpack_sql_state(request->error));
		nulls[5] = false;
	}
	values[3] = BoolGetDatum(result->replayed);
	if (request->error == 0 ||
		request->error == ERRCODE_INV_INSUFFICIENT_STOCK ||
		request->error == ERRCODE_INV_PURCHASE_LIMIT)
	{
		values[4] = Int64GetDatum(result->available);
		nulls[4] = false;
	}
	result_put(set, values, nulls, lengthof(values));
}

/* Count the answers. */
static void
count_answers(const BatchRequest *requests, int count)
{
	int64		reserves = 0;
	int64		replays = 0;

	for (int i = 0; i < count; i++)
	{
		if (requests[i].error != 0)
			statistics_count_rejection(requests[i].error);
		else if (requests[i].result.replayed)
			replays++;
		else
			reserves++;
	}
	statistics_count(COUNT_RESERVES, reserves);
	statistics_count(COUNT_REPLAYS, replays);
}

/*
 * inv_reserve_batch(skus, quantities, keys, customers, ttl): a row a request,
 * in their order.  Raises 22023 for arrays that do not fit together, 40001.
 */
Datum
inv_reserve_batch(PG_FUNCTION_ARGS)
{
	int64		ttl = argument_optional_ttl(fcinfo, 4, "ttl");
	int			count;
	BatchRequest *requests = read_requests(fcinfo, ttl, &count);
	MemoryContext row_context;
	Call	   *call;

	InitMaterializedSRF(fcinfo, 0);
	call = call_begin("inv_reserve_batch()", CALL_WRITES);
	reserve_batch(call, requests, count, ttl);

	row_context = AllocSetContextCreate(call->context, "row of a batch",
										ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < count; i++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(row_context);

		put_row((ReturnSetInfo *) fcinfo->resultinfo, &requests[i]);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	call_end(call);
	count_answers(requests, count);
	return (Datum) 0;
}
