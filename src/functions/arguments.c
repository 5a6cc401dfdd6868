/*
 * arguments.c
 *		Reading and checking the arguments of SQL functions, and returning
 *		their results.
 *
 * Every function is called with nulls rather than declared STRICT: a null
 * where none is allowed is a mistake that the caller should hear of, not a
 * null result that looks like "no stock".
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "functions/arguments.h"
#include "records/duration.h"
#include "settings.h"

/* 22023 for a null. */
void
report_null_argument(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must not be null", argument)));
}

/* Raise 22023 unless "value" has 1 to MAX_NAME_BYTES bytes. */
void
check_name(const char *value, const char *argument)
{
	size_t		length = strlen(value);

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", argument)));
	if (length > MAX_NAME_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", argument),
				 errdetail("It has %zu bytes; at most %d are allowed.",
						   length, MAX_NAME_BYTES)));
}

/*
 * A text of 1 to MAX_NAME_BYTES bytes; NULL if it is null.
 */
char *
argument_optional_name(FunctionCallInfo fcinfo, int number,
					   const char *argument)
{
	char	   *value;

	if (PG_ARGISNULL(number))
		return NULL;
	value = text_to_cstring(PG_GETARG_TEXT_PP(number));
	check_name(value, argument);
	return value;
}

/* As above, but null raises 22023. */
char *
argument_name(FunctionCallInfo fcinfo, int number, const char *argument)
{
	if (PG_ARGISNULL(number))
		report_null_argument(argument);
	return argument_optional_name(fcinfo, number, argument);
}

/*
 * Make a SKU as it came from a caller what the shop calls it: in capital
 * letters, where the setting uppercase_sku is on.  That is done byte by byte,
 * to "a" to "z" and nothing else, so that it is the same on every server.
 */
char *
normalize_sku(char *sku)
{
	if (setting_uppercase_sku)
	{
		for (char *letter = sku; *letter != '\0'; letter++)
			*letter = (char) pg_ascii_toupper((unsigned char) *letter);
	}
	return sku;
}

/* The argument "sku".  Raises 22023 if it is null, empty or too long. */
char *
argument_sku(FunctionCallInfo fcinfo, int number)
{
	return normalize_sku(argument_name(fcinfo, number, "sku"));
}

/* Any text; NULL if it is null. */
char *
argument_optional_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL
		: text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* Raise 22023 below 1 and 22003 above MAX_QUANTITY units. */
int64
check_quantity(int64 value, const char *argument)
{
	if (value <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be greater than zero", argument),
				 errdetail("It is " INT64_FORMAT ".", value)));
	if (value > MAX_QUANTITY)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s is out of range", argument),
				 errdetail("It is " INT64_FORMAT "; at most " INT64_FORMAT " is allowed.",
						   value, MAX_QUANTITY)));
	return value;
}

/* As above, but none at all is allowed: what a count can be. */
int64
check_count(int64 value, const char *argument)
{
	if (value < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", argument),
				 errdetail("It is " INT64_FORMAT ".", value)));
	return value == 0 ? value : check_quantity(value, argument);
}

/* Units of stock, 1 to MAX_QUANTITY. */
int64
argument_quantity(FunctionCallInfo fcinfo, int number, const char *argument)
{
	return check_quantity(argument_int64(fcinfo, number, argument), argument);
}

int64
argument_int64(FunctionCallInfo fcinfo, int number, const char *argument)
{
	if (PG_ARGISNULL(number))
		report_null_argument(argument);
	return PG_GETARG_INT64(number);
}

bool
argument_bool(FunctionCallInfo fcinfo, int number, const char *argument)
{
	if (PG_ARGISNULL(number))
		report_null_argument(argument);
	return PG_GETARG_BOOL(number);
}

Datum
argument_uuid(FunctionCallInfo fcinfo, int number, const char *argument)
{
	if (PG_ARGISNULL(number))
		report_null_argument(argument);
	return PG_GETARG_DATUM(number);
}

/*
 * A time to live in microseconds; 0 if it is null.  Raises 22023 unless it is
 * positive and finite.
 */
int64
argument_optional_ttl(FunctionCallInfo fcinfo, int number,
					  const char *argument)
{
	Interval   *ttl;

	if (PG_ARGISNULL(number))
		return 0;
	ttl = PG_GETARG_INTERVAL_P(number);
	if (duration_is_infinite(ttl))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be finite", argument)));
	if (duration_of(ttl) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be greater than zero", argument)));
	return duration_of(ttl);
}

/*
 * Read an array of text or bigint into its elements.  Where "nulls_out" is
 * NULL none may be null.
 */
Datum *
argument_array(FunctionCallInfo fcinfo, int number, const char *argument,
			   Oid element_type, int *count, bool **nulls_out)
{
	ArrayType  *array;
	Datum	   *elements;
	bool	   *nulls;

	if (PG_ARGISNULL(number))
		report_null_argument(argument);
	array = PG_GETARG_ARRAYTYPE_P(number);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array", argument)));
	if (element_type == TEXTOID)
		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &nulls, count);
	else
		deconstruct_array(array, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
						  &elements, &nulls, count);
	if (nulls_out != NULL)
		*nulls_out = nulls;
	for (int i = 0; i < *count && nulls_out == NULL; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must not contain nulls", argument),
					 errdetail("Element %d is null.", i + 1)));
	}
	return elements;
}

/* Which of many lines an error is about. */
static void
line_context(void *place)
{
	errcontext("element %d of skus and quantities", *(const int *) place + 1);
}

/*
 * Read SKUs and their numbers of units, two arrays of one length.  "check" is
 * check_quantity() or check_count().
 */
void
argument_lines(FunctionCallInfo fcinfo, int64 (*check) (int64, const char *),
			   int *count, char ***skus, int64 **quantities)
{
	int			quantity_count;
	int			place;
	ErrorContextCallback context = {error_context_stack, line_context, &place};
	Datum	   *sku_values = argument_array(fcinfo, 0, "skus", TEXTOID, count,
											NULL);
	Datum	   *quantity_values = argument_array(fcinfo, 1, "quantities",
												 INT8OID, &quantity_count, NULL);

	if (*count != quantity_count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("skus and quantities must have the same number of elements"),
				 errdetail("skus has %d, quantities has %d.", *count,
						   quantity_count)));
	if (*count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("skus must not be empty")));

	*skus = palloc(*count * sizeof(char *));
	*quantities = palloc(*count * sizeof(int64));
	error_context_stack = &context;
	for (place = 0; place < *count; place++)
	{
		(*skus)[place] = normalize_sku(TextDatumGetCString(sku_values[place]));
		check_name((*skus)[place], "sku");
		(*quantities)[place] = check(DatumGetInt64(quantity_values[place]),
									 "quantity");
	}
	error_context_stack = context.previous;
}

/*
 * The result of a function whose type is one of our row types: "count" values
 * and null flags, in the type's order.  Attributes that a newer version of the
 * type has after them are null.  The result outlives the call.
 */
Datum
result_row(Call *call, FunctionCallInfo fcinfo, const Datum *values,
		   const bool *nulls, int count)
{
	MemoryContext old_context = MemoryContextSwitchTo(call->caller_context);
	Oid			type = get_func_rettype(fcinfo->flinfo->fn_oid);
	TupleDesc	tupdesc = lookup_rowtype_tupdesc_noerror(type, -1, true);
	Datum	   *all_values;
	bool	   *all_nulls;
	int			all_count;
	Datum		result;

	if (tupdesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s is not declared to return a row type",
						call->name)));

	all_count = Max(tupdesc->natts, count);
	all_values = palloc0(all_count * sizeof(Datum));
	all_nulls = palloc(all_count * sizeof(bool));
	memset(all_nulls, true, all_count * sizeof(bool));
	memcpy(all_values, values, count * sizeof(Datum));
	memcpy(all_nulls, nulls, count * sizeof(bool));

	/* this may copy too: a value that is stored out of line is fetched */
	result = HeapTupleGetDatum(heap_form_tuple(tupdesc, all_values, all_nulls));
	ReleaseTupleDesc(tupdesc);
	MemoryContextSwitchTo(old_context);
	return result;
}

/*
 * Add a row to the result of a set-returning function: "count" values and null
 * flags, in the order of its row type.  Attributes that a newer version of the
 * type has after them are null.
 */
void
result_put(ReturnSetInfo *set, const Datum *values, const bool *nulls,
		   int count)
{
	int			columns = Max(set->setDesc->natts, count);
	Datum	   *all_values = palloc0(columns * sizeof(Datum));
	bool	   *all_nulls = palloc(columns * sizeof(bool));

	memset(all_nulls, true, columns * sizeof(bool));
	memcpy(all_values, values, count * sizeof(Datum));
	memcpy(all_nulls, nulls, count * sizeof(bool));
	tuplestore_putvalues(set->setResult, set->setDesc, all_values, all_nulls);
}
