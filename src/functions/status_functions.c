/*
 * status_functions.c
 *		The state of a reservation and of an order, as of now.
 *
 * Read-only: they work on a standby, and see what the caller's statement
 * sees.  Whether a hold is dead is asked of the clock, not of that snapshot:
 * a hold past its time reads expired, swept or not, and a reservation with an
 * expired line is expired for ever.
 *
 * An item or a location that somebody has deleted by hand must not hide a
 * sale: it is joined from the left.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "errors.h"
#include "functions/arguments.h"
#include "records/order.h"
#include "records/reservation.h"
#include "table/sql.h"

PG_FUNCTION_INFO_V1(inv_reservation_status);
PG_FUNCTION_INFO_V1(inv_order_status);

#define COLUMNS_OF_RESERVATION_STATE 13
#define COLUMNS_OF_ORDER_STATE 15

/*
 * What is backordered of a line, "part".  An extension of an earlier version has
 * no table of it.
 */
#define OWED \
	" LEFT JOIN inv_backorder AS owed" \
	"  ON owed.reservation_id = part.reservation_id" \
	"   AND owed.line_no = part.line_no"
#define NOTHING_OWED \
	" CROSS JOIN (SELECT NULL::bigint AS quantity) AS owed"

/* $1 the reservation, $2 the time; columns as in type inv_reservation_state */
#define READ_RESERVATION(owed) { \
	.text = "SELECT head.reservation_id," \
	" CASE WHEN line.any_expired THEN 'expired' ELSE head.status END," \
	" head.customer, head.reference, head.expires_at, head.created_at," \
	" line.closed_at, line.total, head.currency," \
	" (SELECT sale.order_id FROM inv_order AS sale" \
	"   WHERE sale.reservation_id = head.reservation_id)," \
	" head.metadata, line.list, line.backordered" \
	" FROM inv_reservation AS head" \
	" CROSS JOIN LATERAL (" \
	"  SELECT bool_or(state.status = 'expired') AS any_expired," \
	"   max(part.closed_at) AS closed_at," \
	"   sum(part.quantity::numeric * part.unit_price) AS total," \
	"   sum(state.backordered)::bigint AS backordered," \
	"   coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(" \
	"    'line', part.line_no, 'sku', item.sku, 'location', location.code," \
	"    'quantity', part.quantity, 'unit_price', part.unit_price," \
	"    'status', state.status, 'backordered', state.backordered)" \
	"    ORDER BY part.line_no)" \
	"    FILTER (WHERE part.quantity > 0), '[]') AS list" \
	"   FROM inv_reservation AS part" \
	owed \
	"   CROSS JOIN LATERAL (" \
	"    SELECT CASE WHEN part.status = 'active' AND part.expires_at <= $2" \
	"     THEN 'expired' ELSE part.status END AS status," \
	"     CASE WHEN part.status = 'active' AND part.expires_at <= $2" \
	"     THEN 0::bigint ELSE coalesce(owed.quantity, 0::bigint) END" \
	"      AS backordered) AS state" \
	"   LEFT JOIN inv_item AS item ON item.item_id = part.item_id" \
	"   LEFT JOIN inv_location AS location" \
	"    ON location.location_id = part.location_id" \
	"   WHERE part.reservation_id = head.reservation_id) AS line" \
	" WHERE head.reservation_id = $1 AND head.line_no = 1", \
	.expected = SPI_OK_SELECT, \
	.nargs = 2, \
	.argument_types = {UUIDOID, TIMESTAMPTZOID} \
}

/* $1 the order; columns as in type inv_order_state */
#define READ_ORDER(owed) { \
	.text = "SELECT sale.order_id, sale.reservation_id, sale.status," \
	" sale.payment_status, sale.customer, sale.reference, sale.total," \
	" sale.currency, sale.created_at, sale.updated_at, sale.completed_at," \
	" sale.cancelled_at, head.metadata, line.list, line.backordered" \
	" FROM inv_order AS sale" \
	" LEFT JOIN inv_reservation AS head" \
	"  ON head.reservation_id = sale.reservation_id AND head.line_no = 1" \
	" CROSS JOIN LATERAL (" \
	"  SELECT coalesce(sum(owed.quantity), 0::numeric)::bigint AS backordered," \
	"   coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(" \
	"    'line', part.line_no, 'sku', item.sku, 'location', location.code," \
	"    'quantity', part.quantity, 'returned', part.returned," \
	"    'unit_price', part.unit_price," \
	"    'backordered', coalesce(owed.quantity, 0::bigint))" \
	"    ORDER BY part.line_no)" \
	"    FILTER (WHERE part.quantity > 0), '[]') AS list" \
	"   FROM inv_reservation AS part" \
	owed \
	"   LEFT JOIN inv_item AS item ON item.item_id = part.item_id" \
	"   LEFT JOIN inv_location AS location" \
	"    ON location.location_id = part.location_id" \
	"   WHERE part.reservation_id = sale.reservation_id) AS line" \
	" WHERE sale.order_id = $1", \
	.expected = SPI_OK_SELECT, \
	.nargs = 1, \
	.argument_types = {UUIDOID} \
}

/* by whether there is a table of backorders */
static SqlStatement read_reservation[] = {
	READ_RESERVATION(NOTHING_OWED), READ_RESERVATION(OWED)
};
static SqlStatement read_order[] = {READ_ORDER(NOTHING_OWED), READ_ORDER(OWED)};

/* The first row of the last statement as the result of a function. */
static Datum
result_of_statement(Call *call, FunctionCallInfo fcinfo, int columns)
{
	Datum		values[COLUMNS_OF_ORDER_STATE];
	bool		nulls[COLUMNS_OF_ORDER_STATE];

	Assert(columns <= COLUMNS_OF_ORDER_STATE);
	for (int i = 0; i < columns; i++)
		values[i] = sql_value(0, i + 1, &nulls[i]);
	return result_row(call, fcinfo, values, nulls, columns);
}

/*
 * inv_reservation_status(reservation_id)
 *
 * Returns an inv_reservation_state.  Raises IV003 for an unknown id.
 */
Datum
inv_reservation_status(PG_FUNCTION_ARGS)
{
	Datum		id = argument_uuid(fcinfo, 0, "reservation_id");
	Call	   *call = call_begin("inv_reservation_status()", CALL_READS);
	Datum		values[] = {id, TimestampTzGetDatum(GetCurrentTimestamp())};
	Datum		result;

	sql_begin(call);
	if (sql_run(call, &read_reservation[catalog_has_backorders()], values, NULL) == 0)
		reservation_report_unknown(DatumGetUUIDP(id));
	result = result_of_statement(call, fcinfo, COLUMNS_OF_RESERVATION_STATE);
	sql_end(call);
	call_end(call);
	PG_RETURN_DATUM(result);
}

/*
 * inv_order_status(order_id)
 *
 * Returns an inv_order_state.  Raises IV011 for an unknown id.
 */
Datum
inv_order_status(PG_FUNCTION_ARGS)
{
	Datum		id = argument_uuid(fcinfo, 0, "order_id");
	Call	   *call = call_begin("inv_order_status()", CALL_READS);
	Datum		result;

	sql_begin(call);
	if (sql_run(call, &read_order[catalog_has_backorders()], &id, NULL) == 0)
		order_report_unknown(DatumGetUUIDP(id));
	result = result_of_statement(call, fcinfo, COLUMNS_OF_ORDER_STATE);
	sql_end(call);
	call_end(call);
	PG_RETURN_DATUM(result);
}
