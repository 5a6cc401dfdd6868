/*
 * reconcile_check.c
 *		What is wrong with some stock rows, reservations, orders and keys.
 *
 * Each check is one statement, so it sees one snapshot; counter, line and ledger
 * entry are written in one transaction, so what differs there is wrong, whoever
 * else is at work.  What must never happen: that two sides which are compared
 * come from two statements, for in READ COMMITTED that is two snapshots.
 *
 * Rows are looked up one at a time (LATERAL, OFFSET 0, count(*)), so that no
 * plan reads a table from end to end for some hundreds of them, whatever the
 * planner knows of it.
 *
 * What was found goes into inv_reconciliation, the same thing once a run.  An
 * action that is null there is still to be taken.
 *
 * The names of what can be wrong are those of inv_check() where that knows it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "rules/reconcile_run.h"
#include "settings.h"
#include "statistics/statistics.h"
#include "table/sql.h"

/* How many dead holds a run names. */
#define DEAD_HOLDS_NAMED 100

/* They are left unswept for too long after this time at least. */
#define DEAD_FOR_TOO_LONG (5 * (int64) SECS_PER_MINUTE * USECS_PER_SEC)

/*
 * Of a statement that looks at some rows: $1 the run, $2 its findings so far,
 * $3 whether it repairs.  "findings" is a query made before.
 */
#define RECORD_FINDINGS \
	" INSERT INTO inv_reconciliation (run, \"row\", at, since, finding," \
	"  item_id, location_id, stripe, reservation_id, order_id, scope, key," \
	"  found, expected, action)" \
	" SELECT $1, ($2 + pg_catalog.row_number() OVER ())::integer," \
	"  clock.now, clock.now, wrong.finding, wrong.item_id," \
	"  wrong.location_id, wrong.stripe, wrong.reservation_id," \
	"  wrong.order_id, wrong.scope, wrong.key, wrong.found, wrong.expected," \
	"  CASE WHEN NOT wrong.repairable THEN 'left for a person'::text" \
	"   WHEN $3 THEN NULL ELSE 'none, a dry run'::text END" \
	" FROM findings AS wrong" \
	" CROSS JOIN pg_catalog.clock_timestamp() AS clock (now)" \
	" WHERE NOT EXISTS (SELECT FROM inv_reconciliation AS known" \
	"  WHERE known.run = $1 AND known.finding = wrong.finding" \
	"   AND known.item_id IS NOT DISTINCT FROM wrong.item_id" \
	"   AND known.location_id IS NOT DISTINCT FROM wrong.location_id" \
	"   AND known.stripe IS NOT DISTINCT FROM wrong.stripe" \
	"   AND known.reservation_id IS NOT DISTINCT FROM wrong.reservation_id" \
	"   AND known.order_id IS NOT DISTINCT FROM wrong.order_id" \
	"   AND known.scope IS NOT DISTINCT FROM wrong.scope" \
	"   AND known.key IS NOT DISTINCT FROM wrong.key)"

/* ------------------------------------------------------------------------
 * Stock rows
 * ------------------------------------------------------------------------ */

/*
 * The stock rows with keys $4 to $6, those that are missing too, and what the
 * ledger and the lines say of them.  $7 to $9 the place of the balances, $10
 * their generation.  Indexes inv_stock_pkey, inv_ledger_balance_pkey,
 * inv_ledger_pkey, inv_reservation_held, inv_reservation_confirming.
 */
#define COUNTERS \
	"WITH wanted AS MATERIALIZED (" \
	" SELECT DISTINCT item_id, location_id, stripe" \
	" FROM unnest($4, $5, $6) AS wanted (item_id, location_id, stripe)" \
	"), skus AS MATERIALIZED (" \
	" SELECT DISTINCT item_id, location_id FROM wanted" \
	"), tail AS MATERIALIZED (" \
	" SELECT item_id, location_id, stripe," \
	"  sum(delta_on_hand) AS on_hand, sum(delta_reserved) AS reserved" \
	" FROM inv_ledger WHERE ROW(epoch, xid, entry_id) > ROW($7, $8, $9)" \
	" GROUP BY item_id, location_id, stripe" \
	"), held AS MATERIALIZED (" \
	" SELECT sku.item_id, sku.location_id, line.stripe," \
	"  sum(line.units) AS units, min(line.expires_at) AS expires_at" \
	" FROM skus AS sku CROSS JOIN LATERAL (" \
	"  SELECT active.stripe, sum(active.quantity) AS units," \
	"   min(active.expires_at) FILTER (WHERE active.quantity > 0::bigint)" \
	"    AS expires_at" \
	"  FROM inv_reservation AS active" \
	"  WHERE active.item_id = sku.item_id" \
	"   AND active.location_id = sku.location_id" \
	"   AND active.status = 'active'" \
	"  GROUP BY active.stripe" \
	"  UNION ALL" \
	"  SELECT confirming.stripe, sum(confirming.quantity)," \
	"   min(confirming.expires_at) FILTER (WHERE confirming.quantity > 0::bigint)" \
	"  FROM inv_reservation AS confirming" \
	"  WHERE confirming.item_id = sku.item_id" \
	"   AND confirming.location_id = sku.location_id" \
	"   AND confirming.status = 'confirming'" \
	"  GROUP BY confirming.stripe) AS line" \
	" GROUP BY sku.item_id, sku.location_id, line.stripe" \
	"), counters AS MATERIALIZED (" \
	" SELECT wanted.item_id, wanted.location_id, wanted.stripe," \
	"  stock.item_id IS NOT NULL AS is_there," \
	"  stock.on_hand, stock.reserved, stock.min_available," \
	"  stock.backorder_unlimited, stock.earliest_expiry," \
	"  coalesce(held.units, 0::numeric) AS held_units," \
	"  held.expires_at AS held_until," \
	"  coalesce(balance.on_hand, 0::bigint)::numeric" \
	"   + coalesce(tail.on_hand, 0::numeric) AS booked_on_hand," \
	"  coalesce(balance.reserved, 0::bigint)::numeric" \
	"   + coalesce(tail.reserved, 0::numeric) AS booked_reserved" \
	" FROM wanted" \
	" LEFT JOIN LATERAL (SELECT * FROM inv_stock AS row_of_stock" \
	"  WHERE row_of_stock.item_id = wanted.item_id" \
	"   AND row_of_stock.location_id = wanted.location_id" \
	"   AND row_of_stock.stripe = wanted.stripe OFFSET 0) AS stock ON true" \
	" LEFT JOIN LATERAL (SELECT sums.on_hand, sums.reserved" \
	"  FROM inv_ledger_balance AS sums" \
	"  WHERE sums.item_id = wanted.item_id" \
	"   AND sums.location_id = wanted.location_id" \
	"   AND sums.stripe = wanted.stripe AND sums.generation = $10" \
	"  OFFSET 0) AS balance ON true" \
	" LEFT JOIN tail ON tail.item_id = wanted.item_id" \
	"  AND tail.location_id = wanted.location_id" \
	"  AND tail.stripe = wanted.stripe" \
	" LEFT JOIN held ON held.item_id = wanted.item_id" \
	"  AND held.location_id = wanted.location_id" \
	"  AND held.stripe = wanted.stripe)"

#define COUNTERS_NARGS 10
#define COUNTERS_ARGUMENT_TYPES \
	{INT8OID, INT8OID, BOOLOID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, \
	INT4OID, XID8OID, INT8OID, INT8OID}

/* one kind of finding about a stock row */
#define STOCK_FINDING(name, repairable, found, expected, condition) \
	" SELECT " name "::text AS finding, " repairable " AS repairable," \
	"  item_id, location_id, stripe," \
	"  (" found ")::text AS found, (" expected ")::text AS expected" \
	" FROM counters WHERE " condition

static SqlStatement check_stock = {
	.text = COUNTERS ", wrong_counters AS ("
	STOCK_FINDING("'stock row is missing'", "true", "'none'",
				  "pg_catalog.format('on_hand %s, reserved %s',"
				  " booked_on_hand, held_units)",
				  "NOT is_there AND (booked_on_hand <> 0::numeric"
				  " OR booked_reserved <> 0::numeric"
				  " OR held_units <> 0::numeric)")
	" UNION ALL"
	STOCK_FINDING("'reserved differs from the active lines'", "true",
				  "reserved", "held_units",
				  "reserved::numeric <> held_units")
	" UNION ALL"
	STOCK_FINDING("'on_hand differs from the ledger'", "true",
				  "on_hand", "booked_on_hand",
				  "on_hand::numeric <> booked_on_hand")
	" UNION ALL"
	STOCK_FINDING("'reserved differs from the ledger'", "true",
				  "reserved", "booked_reserved",
				  "reserved::numeric <> booked_reserved")
	" UNION ALL"
	STOCK_FINDING("'a hold dies before earliest_expiry'", "true",
				  "held_until", "earliest_expiry",
				  "held_until < earliest_expiry")
	" UNION ALL"
	STOCK_FINDING("'oversold'", "false",
				  "pg_catalog.format('on_hand %s, reserved %s', on_hand, reserved)",
				  "pg_catalog.format('at least %s available',"
				  " least(min_available, 0::bigint))",
				  "reserved < 0::bigint OR (NOT backorder_unlimited"
				  " AND on_hand - reserved < least(min_available, 0::bigint))")
	" UNION ALL"
	STOCK_FINDING("'stock of an unknown item or location'", "false",
				  "pg_catalog.format('item %s, location %s', item_id, location_id)",
				  "'both known'",
				  "is_there AND ((SELECT count(*) FROM inv_item AS item"
				  "  WHERE item.item_id = counters.item_id) = 0::bigint"
				  " OR (SELECT count(*) FROM inv_location AS location"
				  "  WHERE location.location_id = counters.location_id) = 0::bigint)")
	" UNION ALL"
	" SELECT 'first stripe is missing or retired', true,"
	"  sku.item_id, sku.location_id, 0,"
	"  CASE WHEN stripes.has_first THEN 'retired' ELSE 'missing' END,"
	"  'takes holds'"
	" FROM skus AS sku CROSS JOIN LATERAL ("
	"  SELECT bool_or(part.stripe = 0) AS has_first,"
	"   bool_or(part.stripe = 0 AND NOT part.retired) AS takes_holds"
	"  FROM inv_stock AS part WHERE part.item_id = sku.item_id"
	"   AND part.location_id = sku.location_id OFFSET 0) AS stripes"
	" WHERE NOT stripes.takes_holds"
	"), findings AS ("
	" SELECT *, NULL::uuid AS reservation_id, NULL::uuid AS order_id,"
	"  NULL::text AS scope, NULL::text AS key FROM wrong_counters)"
	RECORD_FINDINGS,
	.expected = SPI_OK_INSERT,
	.nargs = COUNTERS_NARGS,
	.argument_types = COUNTERS_ARGUMENT_TYPES
};

#define IN_RANGE(number) \
	number " BETWEEN -9007199254740992::numeric AND 9007199254740992::numeric"

static SqlStatement read_counters = {
	.text = COUNTERS " SELECT is_there, sane,"
	" CASE WHEN sane THEN booked_on_hand::bigint END,"
	" CASE WHEN sane THEN booked_reserved::bigint END,"
	" CASE WHEN sane THEN held_units::bigint END, held_until,"
	" EXISTS (SELECT FROM held"
	"  WHERE held.item_id = counters.item_id"
	"   AND held.location_id = counters.location_id"
	"   AND held.units > 0::numeric"
	"   AND NOT EXISTS (SELECT FROM inv_stock AS stock"
	"    WHERE stock.item_id = held.item_id"
	"     AND stock.location_id = held.location_id"
	"     AND stock.stripe = held.stripe)),"
	" EXISTS (SELECT FROM inv_stock AS stock"
	"  WHERE stock.item_id = counters.item_id"
	"   AND stock.location_id = counters.location_id AND stock.stripe = 0)"
	" FROM (SELECT *, " IN_RANGE("booked_on_hand")
	"  AND " IN_RANGE("booked_reserved") " AND " IN_RANGE("held_units")
	"  AS sane FROM counters) AS counters"
	" ORDER BY item_id, location_id, stripe",
	.expected = SPI_OK_SELECT,
	.nargs = COUNTERS_NARGS,
	.argument_types = COUNTERS_ARGUMENT_TYPES
};

/* ------------------------------------------------------------------------
 * Reservations and orders
 * ------------------------------------------------------------------------ */

/* one kind of finding about a reservation */
#define RESERVATION_FINDING(name, order_id, found, expected, from) \
	" SELECT " name "::text AS finding, false AS repairable," \
	"  NULL::bigint AS item_id, NULL::integer AS location_id," \
	"  NULL::integer AS stripe, held.id AS reservation_id, " \
	order_id " AS order_id, NULL::text AS scope, NULL::text AS key," \
	"  (" found ")::text AS found, (" expected ")::text AS expected" \
	" FROM held" from

/*
 * $4 ids of reservations, which may be those of orders; indexes
 * inv_reservation_pkey, inv_order_reservation_id_key
 */
static SqlStatement check_reservations = {
	.text = "WITH wanted AS MATERIALIZED ("
	" SELECT DISTINCT id FROM pg_catalog.unnest($4) AS wanted (id)"
	"), held AS MATERIALIZED ("
	" SELECT wanted.id, line.* FROM wanted CROSS JOIN LATERAL ("
	"  SELECT pg_catalog.array_agg(DISTINCT part.status ORDER BY part.status)"
	"    AS statuses,"
	"   min(part.line_no) AS lowest_line,"
	"   bool_and(part.closed_at >= part.expires_at)"
	"    FILTER (WHERE part.status = 'expired') AS died,"
	"   pg_catalog.count(DISTINCT part.expires_at) AS expiries"
	"  FROM inv_reservation AS part"
	"  WHERE part.reservation_id = wanted.id OFFSET 0) AS line"
	"), sales AS MATERIALIZED ("
	" SELECT wanted.id, sale.order_id FROM wanted CROSS JOIN LATERAL ("
	"  SELECT part.order_id FROM inv_order AS part"
	"  WHERE part.reservation_id = wanted.id OFFSET 0) AS sale"
	"), findings AS ("
	RESERVATION_FINDING("'lines of one reservation differ in status'",
						"NULL::uuid",
						"pg_catalog.array_to_string(held.statuses, ', ')",
						"'one status'",
						" WHERE pg_catalog.cardinality(held.statuses) > 1"
						" AND (held.died"
						"  AND pg_catalog.array_to_string(held.statuses, ' ')"
						"   = 'active expired'::text) IS NOT TRUE")
	" UNION ALL"
	RESERVATION_FINDING("'lines of one reservation differ in expires_at'",
						"NULL", "pg_catalog.format('%s different', held.expiries)",
						"'one'", " WHERE held.expiries > 1::bigint")
	" UNION ALL"
	RESERVATION_FINDING("'reservation without its first line'", "NULL",
						"pg_catalog.format('line %s is the lowest', held.lowest_line)",
						"'line 1'", " WHERE held.lowest_line <> 1")
	" UNION ALL"
	RESERVATION_FINDING("'confirmed reservation without an order'", "NULL",
						"'none'", "'one order'",
						" WHERE 'confirmed' = ANY (held.statuses)"
						" AND NOT EXISTS (SELECT FROM sales WHERE sales.id = held.id)")
	" UNION ALL"
	RESERVATION_FINDING("'order without a confirmed reservation'",
						"sales.order_id",
						"coalesce(pg_catalog.array_to_string(held.statuses, ', '),"
						" 'none'::text)",
						"'confirmed'",
						" JOIN sales ON sales.id = held.id"
						" WHERE pg_catalog.array_to_string(held.statuses, ' ')"
						"  IS DISTINCT FROM 'confirmed'::text")
	" UNION ALL"
	RESERVATION_FINDING("'several orders of one reservation'",
						"NULL", "pg_catalog.format('%s orders', several.orders)",
						"'one order'",
						" JOIN (SELECT id, count(*) AS orders FROM sales"
						"  GROUP BY id HAVING count(*) > 1::bigint) AS several"
						" ON several.id = held.id")
	")" RECORD_FINDINGS,
	.expected = SPI_OK_INSERT,
	.nargs = 4,
	.argument_types = {INT8OID, INT8OID, BOOLOID, UUIDARRAYOID}
};

/* ------------------------------------------------------------------------
 * Keys
 * ------------------------------------------------------------------------ */

/* one kind of finding about a key */
#define KEY_FINDING(name, found, expected, condition) \
	" SELECT " name "::text AS finding, true AS repairable," \
	"  NULL::bigint AS item_id, NULL::integer AS location_id," \
	"  NULL::integer AS stripe, made.reservation_id, made.order_id," \
	"  made.scope, made.key, " \
	"  pg_catalog.format(" found ", made.key, made.scope) AS found," \
	"  " expected "::text AS expected" \
	" FROM made WHERE " condition

/* one customer may ask again for the one hold that he may have */
#define TWIN_KEYS(from) \
	" SELECT 'several keys made one reservation'::text AS finding," \
	"  false AS repairable, NULL::bigint AS item_id," \
	"  NULL::integer AS location_id, NULL::integer AS stripe," \
	"  twins.reservation_id, NULL::uuid AS order_id," \
	"  NULL::text AS scope, NULL::text AS key," \
	"  pg_catalog.format('%s keys', count(*)) AS found," \
	"  'one key'::text AS expected" \
	" FROM " from " AS twins" \
	" WHERE twins.scope IN ('reserve', 'reserve_cart')" \
	" GROUP BY twins.reservation_id HAVING count(*) > 1::bigint" \
	"  AND (pg_catalog.count(DISTINCT twins.request ->> 'customer'::text) > 1::bigint" \
	"   OR pg_catalog.bool_or(twins.request ->> 'customer'::text IS NULL))"

#define KEY_WITHOUT_ORDER \
	"made.order_id IS NOT NULL AND (SELECT count(*) FROM inv_order AS sale" \
	" WHERE sale.order_id = made.order_id) = 0::bigint"
#define KEY_WITHOUT_HOLD \
	"made.scope IN ('reserve', 'reserve_cart')" \
	" AND (SELECT count(*) FROM inv_reservation AS line" \
	"  WHERE line.reservation_id = made.reservation_id) = 0::bigint"

/* $4 and $5 scopes and keys; index inv_idempotency_pkey */
static SqlStatement check_keys = {
	.text = "WITH made AS MATERIALIZED ("
	" SELECT here.* FROM (SELECT DISTINCT scope, key"
	"  FROM unnest($4, $5) AS wanted (scope, key)) AS wanted"
	" CROSS JOIN LATERAL (SELECT part.scope, part.key,"
	"   part.reservation_id, part.order_id, part.request"
	"   FROM inv_idempotency AS part"
	"  WHERE part.scope = wanted.scope AND part.key = wanted.key"
	"  OFFSET 0) AS here"
	"), findings AS ("
	KEY_FINDING("'key of an order that does not exist'",
				"'no order (key %s, scope %s)'", "'an order'",
				KEY_WITHOUT_ORDER)
	" UNION ALL"
	KEY_FINDING("'key of a hold that does not exist'",
				"'no reservation (key %s, scope %s)'", "'a reservation'",
				KEY_WITHOUT_HOLD)
	" UNION ALL" TWIN_KEYS("made")
	")" RECORD_FINDINGS,
	.expected = SPI_OK_INSERT,
	.nargs = 5,
	.argument_types = {INT8OID, INT8OID, BOOLOID, TEXTARRAYOID, TEXTARRAYOID}
};

/* the whole table: there is no index by reservation */
static SqlStatement check_twin_keys = {
	.text = "WITH findings AS (" TWIN_KEYS("inv_idempotency") ")"
	RECORD_FINDINGS,
	.expected = SPI_OK_INSERT,
	.nargs = 3,
	.argument_types = {INT8OID, INT8OID, BOOLOID}
};

/* ------------------------------------------------------------------------
 * Dead holds
 * ------------------------------------------------------------------------ */

/* $4 dead before, $5 how many; index inv_reservation_expiry */
static SqlStatement check_dead_holds = {
	.text = "WITH dead AS MATERIALIZED ("
	" SELECT reservation_id, item_id, location_id, stripe, expires_at"
	" FROM inv_reservation WHERE status = 'active' AND expires_at < $4"
	" ORDER BY expires_at LIMIT $5"
	"), findings AS ("
	" SELECT 'dead hold left unswept'::text AS finding, true AS repairable,"
	"  item_id, location_id, stripe, reservation_id, NULL::uuid AS order_id,"
	"  NULL::text AS scope, NULL::text AS key,"
	"  'dead since '::text || min(expires_at)::text AS found,"
	"  'swept'::text AS expected"
	" FROM dead GROUP BY reservation_id, item_id, location_id, stripe)"
	RECORD_FINDINGS,
	.expected = SPI_OK_INSERT,
	.nargs = 5,
	.argument_types = {INT8OID, INT8OID, BOOLOID, TIMESTAMPTZOID, INT8OID}
};

/* Run a statement that records findings. */
static void
record(Call *call, ReconcileRun *run, SqlStatement *statement, Datum *values)
{
	int64		found;

	values[0] = Int64GetDatum(run->number);
	values[1] = Int64GetDatum(run->findings);
	values[2] = BoolGetDatum(run->repair);
	found = (int64) sql_run(call, statement, values, NULL);
	run->findings += found;
	statistics_count(COUNT_DRIFTS_FOUND, found);
}

/* The arguments of COUNTERS. */
static void
set_counters_arguments(const ReconcileRun *run, Datum *values,
					   Datum item_ids, Datum location_ids, Datum stripes)
{
	const LedgerPlace *place = &run->balances.place;

	values[0] = values[1] = Int64GetDatum(0);
	values[2] = BoolGetDatum(false);
	values[3] = item_ids;
	values[4] = location_ids;
	values[5] = stripes;
	values[6] = Int32GetDatum(place->epoch);
	values[7] = UInt64GetDatum(place->xid);
	values[8] = Int64GetDatum(place->entry_id);
	values[9] = Int64GetDatum(run->balances.generation);
}

/* Look at what is wanted.  SPI is connected. */
void
check_wanted(Call *call, ReconcileRun *run, const Wanted *wanted)
{
	Datum		values[COUNTERS_NARGS];

	if (!wanted->item_ids.isnull)
	{
		set_counters_arguments(run, values, wanted->item_ids.value,
							   wanted->location_ids.value,
							   wanted->stripes.value);
		record(call, run, &check_stock, values);
	}
	if (!wanted->reservations.isnull)
	{
		values[3] = wanted->reservations.value;
		record(call, run, &check_reservations, values);
	}
	if (!wanted->scopes.isnull)
	{
		values[3] = wanted->scopes.value;
		values[4] = wanted->keys.value;
		record(call, run, &check_keys, values);
	}
}

/* An array of what "count" keys have in one of their parts. */
static Datum
array_of(const StockKey *keys, int count, Datum (*part) (const StockKey *key),
		 Oid type, int16 length, bool by_value, char alignment)
{
	Datum	   *values = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		values[i] = part(&keys[i]);
	return PointerGetDatum(construct_array(values, count, type, length,
										   by_value, alignment));
}

static Datum
item_part(const StockKey *key)
{
	return Int64GetDatum(key->item_id);
}

static Datum
location_part(const StockKey *key)
{
	return Int32GetDatum(key->location_id);
}

static Datum
stripe_part(const StockKey *key)
{
	return Int32GetDatum(key->stripe);
}

/*
 * What the books say of some stock rows now, be they there or not.  The keys are
 * in order, none twice.
 */
void
read_stock_figures(Call *call, const ReconcileRun *run, const StockKey *keys,
				   int count, StockFigures *figures)
{
	Datum		values[COUNTERS_NARGS];

	sql_begin(call);
	sql_plan_by_index(call);
	set_counters_arguments(run, values,
						   array_of(keys, count, item_part, INT8OID, 8,
									FLOAT8PASSBYVAL, TYPALIGN_DOUBLE),
						   array_of(keys, count, location_part, INT4OID, 4,
									true, TYPALIGN_INT),
						   array_of(keys, count, stripe_part, INT4OID, 4,
									true, TYPALIGN_INT));
	if ((int) sql_run(call, &read_counters, values, NULL) != count)
		elog(ERROR, "figures of stock rows are missing");
	for (int i = 0; i < count; i++)
	{
		StockFigures *row = &figures[i];
		Datum		held_until;
		bool		isnull;
		bool		never;

		memset(row, 0, sizeof(StockFigures));
		row->is_there = DatumGetBool(sql_value(i, 1, &isnull));
		row->is_sane = DatumGetBool(sql_value(i, 2, &isnull));
		if (row->is_sane)
		{
			row->booked_on_hand = DatumGetInt64(sql_value(i, 3, &isnull));
			row->booked_reserved = DatumGetInt64(sql_value(i, 4, &isnull));
			row->held = DatumGetInt64(sql_value(i, 5, &isnull));
		}
		held_until = sql_value(i, 6, &never);
		row->held_until = never ? DT_NOEND : DatumGetTimestampTz(held_until);
		row->holds_are_lost = DatumGetBool(sql_value(i, 7, &isnull));
		row->has_first = DatumGetBool(sql_value(i, 8, &isnull));
	}
	sql_end(call);
}

/* Several keys that made one reservation, wherever they stand: reads all. */
void
find_twin_keys(Call *call, ReconcileRun *run)
{
	Datum		values[3];

	sql_begin(call);
	record(call, run, &check_twin_keys, values);
	sql_end(call);
}

/* Dead holds that nobody has swept, though the worker would have long ago. */
void
find_dead_holds(Call *call, ReconcileRun *run)
{
	int64		too_long = Max(DEAD_FOR_TOO_LONG,
							   10 * (int64) setting_naptime * USECS_PER_SEC);
	Datum		values[5];

	values[3] = TimestampTzGetDatum(GetCurrentTimestamp() - too_long);
	values[4] = Int64GetDatum(DEAD_HOLDS_NAMED);
	sql_begin(call);
	sql_plan_by_index(call);
	record(call, run, &check_dead_holds, values);
	sql_end(call);
}
