/*
 * catalogue_functions.c
 *		The shop's catalogue: items and locations.
 *
 * What is wrong with an argument is said before a constraint of the table
 * would say it less well.  The exception is a name that somebody else is
 * taking at the same moment: there the unique index decides, and
 * INSERT ... ON CONFLICT DO NOTHING tells us.
 *
 * An item is found by its SKU once, when the call begins, and changed by its
 * item_id: it may be renamed meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "functions/arguments.h"
#include "records/item.h"
#include "records/location_list.h"
#include "table/sql.h"

PG_FUNCTION_INFO_V1(inv_add_item);
PG_FUNCTION_INFO_V1(inv_set_item);
PG_FUNCTION_INFO_V1(inv_rename_item);
PG_FUNCTION_INFO_V1(inv_add_location);
PG_FUNCTION_INFO_V1(inv_location_changed);

/* Arguments of inv_add_item() and inv_set_item(), which have the same ones. */
enum ItemArgument
{
	ARGUMENT_SKU,
	ARGUMENT_NAME,
	ARGUMENT_UNIT_PRICE,
	ARGUMENT_CURRENCY,
	ARGUMENT_LISTED_UNTIL,
	ARGUMENT_SELLING,
	ARGUMENT_HOLD_TTL,
	ARGUMENT_MAX_PER_CUSTOMER,
	ARGUMENT_LIMIT_WINDOW,
	ARGUMENT_ATTRIBUTES
};

#define NUM_ITEM_PARAMETERS (ARGUMENT_ATTRIBUTES + 1)

static SqlStatement insert_item = {
	.text = "INSERT INTO inv_item (sku, name, unit_price, currency,"
	" listed_until, selling, hold_ttl, max_per_customer, limit_window,"
	" attributes)"
	" VALUES ($1, $2, $3, $4, nullif($5, 'infinity'), $6, $7, $8, $9, $10)"
	" ON CONFLICT (sku) DO NOTHING"
	" RETURNING item_id",
	.expected = SPI_OK_INSERT_RETURNING,
	.nargs = NUM_ITEM_PARAMETERS,
	.argument_types = {TEXTOID, TEXTOID, NUMERICOID, TEXTOID, TIMESTAMPTZOID,
	BOOLOID, INTERVALOID, INT8OID, INTERVALOID, JSONBOID}
};

static SqlStatement update_item = {
	.text = "UPDATE inv_item"
	" SET name = coalesce($2, name),"
	" unit_price = coalesce($3, unit_price),"
	" currency = coalesce($4, currency),"
	" listed_until = nullif(coalesce($5, listed_until), 'infinity'),"
	" selling = coalesce($6, selling),"
	" hold_ttl = nullif(coalesce($7, hold_ttl), interval '0'),"
	" max_per_customer = nullif(coalesce($8, max_per_customer), 0),"
	" limit_window = nullif(coalesce($9, limit_window), interval '0'),"
	" attributes = coalesce($10, attributes)"
	" WHERE item_id = $1",
	.expected = SPI_OK_UPDATE,
	.nargs = NUM_ITEM_PARAMETERS,
	.argument_types = {INT8OID, TEXTOID, NUMERICOID, TEXTOID, TIMESTAMPTZOID,
	BOOLOID, INTERVALOID, INT8OID, INTERVALOID, JSONBOID}
};

/* FOR UPDATE, because the SKU is a key that others may refer to. */
static SqlStatement lock_item = {
	.text = "SELECT FROM inv_item WHERE item_id = $1 AND sku = $2 FOR UPDATE",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {INT8OID, TEXTOID}
};

static SqlStatement find_sku = {
	.text = "SELECT FROM inv_item WHERE sku = $1",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {TEXTOID}
};

static SqlStatement rename_item = {
	.text = "UPDATE inv_item SET sku = $2 WHERE item_id = $1",
	.expected = SPI_OK_UPDATE,
	.nargs = 2,
	.argument_types = {INT8OID, TEXTOID}
};

static SqlStatement insert_location = {
	.text = "INSERT INTO inv_location (code, name, priority)"
	" VALUES ($1, $2, $3)"
	" ON CONFLICT (code) DO NOTHING"
	" RETURNING location_id",
	.expected = SPI_OK_INSERT_RETURNING,
	.nargs = 3,
	.argument_types = {TEXTOID, TEXTOID, INT4OID}
};

static SqlStatement insert_default_location = {
	.text = "INSERT INTO inv_location (location_id, code, name, priority)"
	" VALUES ($4, $1, $2, $3)"
	" ON CONFLICT (code) DO NOTHING"
	" RETURNING location_id",
	.expected = SPI_OK_INSERT_RETURNING,
	.nargs = 4,
	.argument_types = {TEXTOID, TEXTOID, INT4OID, INT4OID}
};

/* 23505. */
static void
report_taken(const char *sku)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("SKU \"%s\" already exists", sku)));
}

/* 40001: the item is not what it was when the call began. */
static void
report_changed(const char *sku)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("item with SKU \"%s\" was changed by somebody else at the same time",
					sku),
			 errhint("Try again.")));
}

/* Raise 22023 for a negative price and 22003 for one that is no number. */
static void
check_price(Numeric price)
{
	if (numeric_is_nan(price) || numeric_is_inf(price))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("unit_price is out of range"),
				 errdetail("It is %s.",
						   DatumGetCString(DirectFunctionCall1(numeric_out,
															   NumericGetDatum(price))))));
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(price),
										 NumericGetDatum(int64_to_numeric(0)))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unit_price must not be negative"),
				 errdetail("It is %s.",
						   DatumGetCString(DirectFunctionCall1(numeric_out,
															   NumericGetDatum(price))))));
}

/* Raise 22023 unless it looks like a code of ISO 4217. */
static void
check_currency(const char *currency)
{
	if (strlen(currency) != 3 ||
		strspn(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("currency must be a code of three capital letters"),
				 errhint("Use the code of ISO 4217, for example EUR.")));
}

/* Raise 22023 or 22003 for an interval that is not null and no ttl. */
static void
check_duration(FunctionCallInfo fcinfo, int argument, const char *name,
			   bool zero_allowed)
{
	Interval	zero = {0};

	if (PG_ARGISNULL(argument) ||
		(zero_allowed &&
		 DatumGetBool(DirectFunctionCall2(interval_eq,
										  PG_GETARG_DATUM(argument),
										  IntervalPGetDatum(&zero)))))
		return;
	(void) argument_optional_ttl(fcinfo, argument, name);
}

/*
 * Check the arguments that inv_add_item() and inv_set_item() share, the SKU
 * apart, and make them the parameters of their statements; nulls stay null.
 * "zeros" says whether zero is allowed for what it would remove.
 */
static void
read_item_arguments(FunctionCallInfo fcinfo, bool zeros, Datum *values,
					char *nulls)
{
	if (!PG_ARGISNULL(ARGUMENT_UNIT_PRICE))
		check_price(PG_GETARG_NUMERIC(ARGUMENT_UNIT_PRICE));
	if (!PG_ARGISNULL(ARGUMENT_CURRENCY))
		check_currency(argument_optional_text(fcinfo, ARGUMENT_CURRENCY));
	check_duration(fcinfo, ARGUMENT_HOLD_TTL, "hold_ttl", zeros);
	check_duration(fcinfo, ARGUMENT_LIMIT_WINDOW, "limit_window", zeros);
	if (!PG_ARGISNULL(ARGUMENT_MAX_PER_CUSTOMER) &&
		!(zeros && PG_GETARG_INT64(ARGUMENT_MAX_PER_CUSTOMER) == 0))
		(void) argument_quantity(fcinfo, ARGUMENT_MAX_PER_CUSTOMER,
								 "max_per_customer");

	for (int i = 0; i < NUM_ITEM_PARAMETERS; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
}

/* Raise 55000 for a purchase limit where there is no table to see to it. */
static void
require_customer_lines(FunctionCallInfo fcinfo, Call *call)
{
	if (!PG_ARGISNULL(ARGUMENT_MAX_PER_CUSTOMER))
		(void) call_open(call, TABLE_CUSTOMER_LINE);
}

/*
 * inv_add_item(sku, name, unit_price, currency, listed_until, selling,
 * hold_ttl, max_per_customer, limit_window, attributes)
 *
 * Returns the new item's id.  Raises 23505 if the SKU is taken, 22023 and
 * 22003 for arguments that make no sense, 55000 for a purchase limit in an
 * extension that has not been updated to 0.2.0.
 */
Datum
inv_add_item(PG_FUNCTION_ARGS)
{
	char	   *sku = argument_sku(fcinfo, ARGUMENT_SKU);
	Datum		values[NUM_ITEM_PARAMETERS];
	char		nulls[NUM_ITEM_PARAMETERS];
	Call	   *call;
	int64		item_id;
	bool		isnull;

	if (PG_ARGISNULL(ARGUMENT_UNIT_PRICE))
		report_null_argument("unit_price");
	if (PG_ARGISNULL(ARGUMENT_SELLING))
		report_null_argument("selling");
	read_item_arguments(fcinfo, false, values, nulls);
	values[0] = CStringGetTextDatum(sku);

	call = call_begin("inv_add_item()", CALL_WRITES);
	require_customer_lines(fcinfo, call);
	sql_begin(call);
	if (sql_run(call, &insert_item, values, nulls) == 0)
		report_taken(sku);
	item_id = DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
	call_end(call);
	PG_RETURN_INT64(item_id);
}

/*
 * inv_set_item(...as inv_add_item()...)
 *
 * Changes what is not null and returns the item's id; listed_until 'infinity',
 * hold_ttl '0', max_per_customer 0 and limit_window '0' remove the value.
 * Raises IV004 for an unknown SKU, else as inv_add_item().
 */
Datum
inv_set_item(PG_FUNCTION_ARGS)
{
	char	   *sku = argument_sku(fcinfo, ARGUMENT_SKU);
	Datum		values[NUM_ITEM_PARAMETERS];
	char		nulls[NUM_ITEM_PARAMETERS];
	Call	   *call;
	CatalogueItem item;
	int64		item_id;

	read_item_arguments(fcinfo, true, values, nulls);

	call = call_begin("inv_set_item()", CALL_WRITES);
	require_customer_lines(fcinfo, call);
	item_require(call, sku, &item);
	item_id = item.item_id;
	values[0] = Int64GetDatum(item_id);
	sql_begin(call);
	if (sql_run(call, &update_item, values, nulls) == 0)
		report_changed(sku);
	sql_end(call);
	call_end(call);
	PG_RETURN_INT64(item_id);
}

/*
 * inv_rename_item(old, new)
 *
 * Returns the item's id.  Raises IV004 if there is no SKU "old", 23505 if
 * there is a SKU "new" already; both the same changes nothing.  "old" is taken
 * as it is, so that what is in small letters can still be renamed when
 * uppercase_sku has been turned on.
 */
Datum
inv_rename_item(PG_FUNCTION_ARGS)
{
	char	   *old_sku = argument_name(fcinfo, 0, "old");
	char	   *new_sku = normalize_sku(argument_name(fcinfo, 1, "new"));
	Datum		old_value = PG_GETARG_DATUM(0);
	Datum		new_value = CStringGetTextDatum(new_sku);
	Call	   *call = call_begin("inv_rename_item()", CALL_WRITES);
	CatalogueItem item;
	int64		item_id;

	item_require(call, old_sku, &item);
	item_id = item.item_id;
	if (strcmp(old_sku, new_sku) != 0)
	{
		Datum		lock_values[] = {Int64GetDatum(item_id), old_value};
		Datum		rename_values[] = {Int64GetDatum(item_id), new_value};

		sql_begin(call);
		if (sql_run(call, &lock_item, lock_values, NULL) == 0)
		{
			/* renamed while we waited: mostly, the old name is unknown now */
			call_see_now(call);
			item_require(call, old_sku, &item);
			report_changed(old_sku);
		}
		if (sql_run(call, &find_sku, &new_value, NULL) > 0)
			report_taken(new_sku);
		if (sql_run(call, &rename_item, rename_values, NULL) == 0)
			report_changed(old_sku);
		sql_end(call);
	}
	call_end(call);
	PG_RETURN_INT64(item_id);
}

/*
 * inv_add_location(code, name, priority)
 *
 * Returns the new location's id.  Raises 23505 if the code is taken.
 */
Datum
inv_add_location(PG_FUNCTION_ARGS)
{
	char	   *code = argument_name(fcinfo, 0, "code");
	SqlStatement *statement = &insert_location;
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	Call	   *call;
	int32		location_id;
	bool		isnull;

	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	if (PG_ARGISNULL(1))
		nulls[1] = 'n';
	if (PG_ARGISNULL(2))
		report_null_argument("priority");
	values[2] = PG_GETARG_DATUM(2);
	if (strcmp(code, DEFAULT_LOCATION_CODE) == 0)
	{
		statement = &insert_default_location;
		values[3] = Int32GetDatum(DEFAULT_LOCATION_ID);
	}

	call = call_begin("inv_add_location()", CALL_WRITES);
	sql_begin(call);
	if (sql_run(call, statement, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("location \"%s\" already exists", code)));
	location_id = DatumGetInt32(sql_value(0, 1, &isnull));
	sql_end(call);
	/* version 0.1.0 of the extension has no trigger that would tell */
	location_list_changed(call_open(call, TABLE_LOCATION)->relation);
	call_end(call);
	PG_RETURN_INT32(location_id);
}

/*
 * A trigger, fired by every statement that changes rows of inv_location:
 * sessions read the list of locations again.  Raises 39P01 for any other call.
 */
Datum
inv_location_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("inv_location_changed() can only be called as a trigger")));
	location_list_changed(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}
