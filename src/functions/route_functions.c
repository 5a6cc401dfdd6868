/*
 * route_functions.c
 *		inv_route_sku() and inv_route_id().
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "functions/arguments.h"
#include "records/route.h"

PG_FUNCTION_INFO_V1(inv_route_sku);
PG_FUNCTION_INFO_V1(inv_route_id);

Datum
inv_route_sku(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(route_of_sku(argument_name(fcinfo, 0, "sku")));
}

Datum
inv_route_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(route_of_id(PG_GETARG_UUID_P(0)));
}
