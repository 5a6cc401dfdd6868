/*
 * later_functions.c
 *		Functions that are part of the interface and come in a later version.
 *
 * Their signatures are final, so that applications can be written against
 * them; until then they raise 0A000.
 */
#include "postgres.h"

#include "fmgr.h"

#include "functions/arguments.h"
#include "records/item.h"

PG_FUNCTION_INFO_V1(inv_join_waitlist);
PG_FUNCTION_INFO_V1(inv_leave_waitlist);
PG_FUNCTION_INFO_V1(inv_set_policy);
PG_FUNCTION_INFO_V1(inv_set_stripes);

/* inv_join_waitlist(sku, quantity, customer, key): raises 0A000. */
Datum
inv_join_waitlist(PG_FUNCTION_ARGS)
{
	report_not_built("inv_join_waitlist()");
}

/* inv_leave_waitlist(sku, customer, key): raises 0A000. */
Datum
inv_leave_waitlist(PG_FUNCTION_ARGS)
{
	report_not_built("inv_leave_waitlist()");
}

/* inv_set_policy(sku, safety_stock, backorder_limit, location): 0A000. */
Datum
inv_set_policy(PG_FUNCTION_ARGS)
{
	report_not_built("inv_set_policy()");
}

/*
 * inv_set_stripes(sku, stripes, location)
 *
 * Stock is in one piece, so asking for one stripe changes nothing; returns 1.
 * Raises 0A000 for more, 22023 for less, IV004 and IV010 for an unknown SKU
 * or location.
 */
Datum
inv_set_stripes(PG_FUNCTION_ARGS)
{
	char	   *sku = argument_name(fcinfo, 0, "sku");
	char	   *location = argument_optional_name(fcinfo, 2, "location");
	int32		stripes;
	Call	   *call;
	CatalogueItem item;

	if (PG_ARGISNULL(1))
		report_null_argument("stripes");
	stripes = PG_GETARG_INT32(1);
	(void) check_quantity(stripes, "stripes");
	if (stripes > 1)
		report_not_built("more than one stripe");

	call = call_begin("inv_set_stripes()", CALL_WRITES);
	item_require(call, sku, &item);
	(void) location_require(call, location);
	call_end(call);
	PG_RETURN_INT32(stripes);
}
