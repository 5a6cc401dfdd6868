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

PG_FUNCTION_INFO_V1(inv_join_waitlist);
PG_FUNCTION_INFO_V1(inv_leave_waitlist);

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
