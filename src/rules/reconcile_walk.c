/*
 * reconcile_walk.c
 *		Which rows a reconciliation looks at next, some hundreds at a time.
 *
 * Each walk goes by an index from where the last part of it ended, and hands the
 * keys it has met to check_wanted() as arrays.  What lies between the two
 * statements may change meanwhile: the check looks at rows as they are then, and
 * a key that has gone is right.
 *
 * The last row of a part is taken before the arrays of all of it are put beside
 * it: a sort would carry them with every row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "rules/reconcile_run.h"
#include "table/sql.h"

/* $1 to $3 behind this place, $4 to $6 up to this one, $7 how many */
static SqlStatement next_changes = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT epoch, xid, entry_id, item_id, location_id, stripe,"
	"  reservation_id FROM inv_ledger"
	" WHERE ROW(epoch, xid, entry_id) > ROW($1, $2, $3)"
	"  AND ROW(epoch, xid, entry_id) <= ROW($4, $5, $6)"
	" ORDER BY epoch, xid, entry_id LIMIT $7"
	"), stock AS MATERIALIZED ("
	" SELECT DISTINCT item_id, location_id, stripe FROM part)"
	" SELECT epoch, xid, entry_id, (SELECT count(*) FROM part),"
	"  (SELECT pg_catalog.array_agg(item_id ORDER BY item_id, location_id, stripe) FROM stock),"
	"  (SELECT pg_catalog.array_agg(location_id ORDER BY item_id, location_id, stripe) FROM stock),"
	"  (SELECT pg_catalog.array_agg(stripe ORDER BY item_id, location_id, stripe) FROM stock),"
	"  (SELECT pg_catalog.array_agg(DISTINCT reservation_id)"
	"   FROM part WHERE reservation_id IS NOT NULL)"
	" FROM (SELECT epoch, xid, entry_id FROM part"
	"  ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 7,
	.argument_types = {INT4OID, XID8OID, INT8OID, INT4OID, XID8OID, INT8OID,
	INT8OID}
};

/* $1 made at or after, $2 before, $3 how many; index inv_idempotency_age */
static SqlStatement next_new_keys = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT created_at, scope, key FROM inv_idempotency"
	" WHERE created_at > $1 AND created_at <= $2"
	" ORDER BY created_at FETCH FIRST ($3) ROWS WITH TIES)"
	" SELECT created_at, (SELECT count(*) FROM part),"
	"  (SELECT pg_catalog.array_agg(scope ORDER BY scope, key) FROM part),"
	"  (SELECT pg_catalog.array_agg(key ORDER BY scope, key) FROM part)"
	" FROM (SELECT created_at FROM part"
	"  ORDER BY created_at DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

/* $1 and $2 the last run and row, $3 up to before this run, $4 how many */
static SqlStatement next_findings = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT * FROM inv_reconciliation"
	" WHERE ROW(run, \"row\"::bigint) > ROW($1, $2) AND run < $3"
	" ORDER BY run, \"row\" LIMIT $4"
	"), stock AS MATERIALIZED ("
	" SELECT DISTINCT item_id, location_id, stripe"
	" FROM part WHERE item_id IS NOT NULL"
	"), keys AS MATERIALIZED ("
	" SELECT DISTINCT scope, key FROM part WHERE scope IS NOT NULL)"
	" SELECT run, \"row\"::bigint, (SELECT count(*) FROM part),"
	"  (SELECT pg_catalog.array_agg(item_id ORDER BY item_id, location_id, stripe) FROM stock),"
	"  (SELECT pg_catalog.array_agg(location_id ORDER BY item_id, location_id, stripe) FROM stock),"
	"  (SELECT pg_catalog.array_agg(stripe ORDER BY item_id, location_id, stripe) FROM stock),"
	"  (SELECT pg_catalog.array_agg(DISTINCT reservation_id)"
	"   FROM part WHERE reservation_id IS NOT NULL),"
	"  (SELECT pg_catalog.array_agg(scope ORDER BY scope, key) FROM keys),"
	"  (SELECT pg_catalog.array_agg(key ORDER BY scope, key) FROM keys)"
	" FROM (SELECT run, \"row\" FROM part"
	"  ORDER BY run DESC, \"row\" DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 4,
	.argument_types = {INT8OID, INT8OID, INT8OID, INT8OID}
};

/* $1 to $3 the last key, $4 how many; rows that are missing have balances */
static SqlStatement next_stock = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT item_id, location_id, stripe FROM ("
	"  (SELECT item_id, location_id, stripe FROM inv_stock"
	"    WHERE ROW(item_id, location_id, stripe) > ROW($1, $2, $3)"
	"    ORDER BY item_id, location_id, stripe LIMIT $4)"
	"  UNION"
	"  (SELECT item_id, location_id, stripe FROM inv_ledger_balance"
	"    WHERE ROW(item_id, location_id, stripe) > ROW($1, $2, $3)"
	"    ORDER BY item_id, location_id, stripe LIMIT $4)) AS both_of_them"
	" ORDER BY item_id, location_id, stripe LIMIT $4)"
	" SELECT item_id, location_id, stripe,"
	"  (SELECT count(*) FROM part),"
	"  (SELECT pg_catalog.array_agg(item_id ORDER BY item_id, location_id, stripe) FROM part),"
	"  (SELECT pg_catalog.array_agg(location_id ORDER BY item_id, location_id, stripe) FROM part),"
	"  (SELECT pg_catalog.array_agg(stripe ORDER BY item_id, location_id, stripe) FROM part)"
	" FROM (SELECT item_id, location_id, stripe FROM part"
	"  ORDER BY item_id DESC, location_id DESC, stripe DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 4,
	.argument_types = {INT8OID, INT4OID, INT4OID, INT8OID}
};

/*
 * $1 the last id, $2 how many lines; with the stock rows that are missing under
 * active lines
 */
static SqlStatement next_reservations = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT reservation_id, item_id, location_id, stripe, status"
	" FROM inv_reservation WHERE reservation_id > $1"
	" ORDER BY reservation_id, line_no LIMIT $2"
	"), lost AS MATERIALIZED ("
	" SELECT DISTINCT part.item_id, part.location_id, part.stripe"
	" FROM part CROSS JOIN LATERAL (SELECT count(*) AS rows"
	"  FROM inv_stock AS stock WHERE stock.item_id = part.item_id"
	"   AND stock.location_id = part.location_id"
	"   AND stock.stripe = part.stripe OFFSET 0) AS under"
	" WHERE part.status IN ('active', 'confirming') AND under.rows = 0::bigint)"
	" SELECT reservation_id, (SELECT count(*) FROM part),"
	"  (SELECT pg_catalog.array_agg(DISTINCT reservation_id) FROM part),"
	"  (SELECT pg_catalog.array_agg(item_id ORDER BY item_id, location_id, stripe) FROM lost),"
	"  (SELECT pg_catalog.array_agg(location_id ORDER BY item_id, location_id, stripe) FROM lost),"
	"  (SELECT pg_catalog.array_agg(stripe ORDER BY item_id, location_id, stripe) FROM lost)"
	" FROM (SELECT reservation_id FROM part"
	"  ORDER BY reservation_id DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {UUIDOID, INT8OID}
};

/* $1 the last id, $2 how many */
static SqlStatement next_orders = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT order_id, reservation_id FROM inv_order WHERE order_id > $1"
	" ORDER BY order_id LIMIT $2)"
	" SELECT order_id, (SELECT count(*) FROM part),"
	"  (SELECT pg_catalog.array_agg(reservation_id) FROM part)"
	" FROM (SELECT order_id FROM part"
	"  ORDER BY order_id DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {UUIDOID, INT8OID}
};

/* $1 and $2 the last key, $3 how many */
static SqlStatement next_keys = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT scope, key FROM inv_idempotency"
	" WHERE ROW(scope, key) > ROW($1, $2)"
	" ORDER BY scope, key LIMIT $3)"
	" SELECT scope, key, (SELECT count(*) FROM part),"
	"  (SELECT pg_catalog.array_agg(scope ORDER BY scope, key) FROM part),"
	"  (SELECT pg_catalog.array_agg(key ORDER BY scope, key) FROM part)"
	" FROM (SELECT scope, key FROM part"
	"  ORDER BY scope DESC, key DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {TEXTOID, TEXTOID, INT8OID}
};

static const Wanted nothing_wanted = {
	{0, true}, {0, true}, {0, true}, {0, true}, {0, true}, {0, true}
};

/* A column of the only row of the last result. */
static NullableDatum
column(int number)
{
	NullableDatum value;

	value.value = sql_value(0, number, &value.isnull);
	return value;
}

/* A text of the last result, for as long as the call. */
static char *
keep_text(Call *call, int number)
{
	MemoryContext old_context = MemoryContextSwitchTo(call->context);
	char	   *value = TextDatumGetCString(column(number).value);

	MemoryContextSwitchTo(old_context);
	return value;
}

/* What the ledger entries of this run point at. */
int64
find_in_changes(Call *call, ReconcileRun *run, int64 budget)
{
	Datum		values[] = {
		Int32GetDatum(run->looked_at.epoch),
		UInt64GetDatum(run->looked_at.xid),
		Int64GetDatum(run->looked_at.entry_id),
		Int32GetDatum(run->until.epoch),
		UInt64GetDatum(run->until.xid),
		Int64GetDatum(run->until.entry_id),
		Int64GetDatum(budget)
	};
	int64		seen = 0;

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &next_changes, values, NULL) > 0)
	{
		Wanted		wanted = nothing_wanted;

		run->looked_at.epoch = DatumGetInt32(column(1).value);
		run->looked_at.xid = DatumGetUInt64(column(2).value);
		run->looked_at.entry_id = DatumGetInt64(column(3).value);
		seen = DatumGetInt64(column(4).value);
		wanted.item_ids = column(5);
		wanted.location_ids = column(6);
		wanted.stripes = column(7);
		wanted.reservations = column(8);
		check_wanted(call, run, &wanted);
	}
	sql_end(call);
	return seen;
}

/* Keys made since the last run began. */
int64
find_in_new_keys(Call *call, ReconcileRun *run, int64 budget)
{
	Datum		values[] = {
		TimestampTzGetDatum(run->keys_since),
		TimestampTzGetDatum(run->began_at), Int64GetDatum(budget)
	};
	int64		seen = 0;

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &next_new_keys, values, NULL) > 0)
	{
		Wanted		wanted = nothing_wanted;

		run->keys_since = DatumGetTimestampTz(column(1).value);
		seen = DatumGetInt64(column(2).value);
		wanted.scopes = column(3);
		wanted.keys = column(4);
		check_wanted(call, run, &wanted);
	}
	sql_end(call);
	return seen;
}

/* What the last run, and those that were given up since, have found. */
int64
find_again(Call *call, ReconcileRun *run, int64 budget)
{
	Datum		values[] = {
		Int64GetDatum(run->again_run), Int64GetDatum(run->again_row),
		Int64GetDatum(run->number), Int64GetDatum(budget)
	};
	int64		seen = 0;

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &next_findings, values, NULL) > 0)
	{
		Wanted		wanted = nothing_wanted;

		run->again_run = DatumGetInt64(column(1).value);
		run->again_row = DatumGetInt64(column(2).value);
		seen = DatumGetInt64(column(3).value);
		wanted.item_ids = column(4);
		wanted.location_ids = column(5);
		wanted.stripes = column(6);
		wanted.reservations = column(7);
		wanted.scopes = column(8);
		wanted.keys = column(9);
		check_wanted(call, run, &wanted);
	}
	sql_end(call);
	return seen;
}

/* The next stock rows by key. */
int64
find_in_stock(Call *call, ReconcileRun *run, int64 budget)
{
	Datum		values[] = {
		Int64GetDatum(run->stock.item_id),
		Int32GetDatum(run->stock.location_id),
		Int32GetDatum(run->stock.stripe), Int64GetDatum(budget)
	};
	int64		seen = 0;

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &next_stock, values, NULL) > 0)
	{
		Wanted		wanted = nothing_wanted;

		run->stock.item_id = DatumGetInt64(column(1).value);
		run->stock.location_id = DatumGetInt32(column(2).value);
		run->stock.stripe = DatumGetInt32(column(3).value);
		seen = DatumGetInt64(column(4).value);
		wanted.item_ids = column(5);
		wanted.location_ids = column(6);
		wanted.stripes = column(7);
		check_wanted(call, run, &wanted);
	}
	sql_end(call);
	return seen;
}

/* The next reservations by id; "budget" and the result are lines. */
int64
find_in_reservations(Call *call, ReconcileRun *run, int64 budget)
{
	Datum		values[] = {
		UUIDPGetDatum(&run->reservation), Int64GetDatum(budget)
	};
	int64		seen = 0;

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &next_reservations, values, NULL) > 0)
	{
		Wanted		wanted = nothing_wanted;

		run->reservation = *DatumGetUUIDP(column(1).value);
		seen = DatumGetInt64(column(2).value);
		wanted.reservations = column(3);
		wanted.item_ids = column(4);
		wanted.location_ids = column(5);
		wanted.stripes = column(6);
		check_wanted(call, run, &wanted);
	}
	sql_end(call);
	return seen;
}

/* The next orders by id. */
int64
find_in_orders(Call *call, ReconcileRun *run, int64 budget)
{
	Datum		values[] = {
		UUIDPGetDatum(&run->order), Int64GetDatum(budget)
	};
	int64		seen = 0;

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &next_orders, values, NULL) > 0)
	{
		Wanted		wanted = nothing_wanted;

		run->order = *DatumGetUUIDP(column(1).value);
		seen = DatumGetInt64(column(2).value);
		wanted.reservations = column(3);
		check_wanted(call, run, &wanted);
	}
	sql_end(call);
	return seen;
}

/* The next keys. */
int64
find_in_keys(Call *call, ReconcileRun *run, int64 budget)
{
	Datum		values[3];
	int64		seen = 0;

	sql_begin(call);
	sql_plan_by_index(call);
	values[0] = CStringGetTextDatum(run->scope);
	values[1] = CStringGetTextDatum(run->key);
	values[2] = Int64GetDatum(budget);
	if (sql_run(call, &next_keys, values, NULL) > 0)
	{
		Wanted		wanted = nothing_wanted;

		run->scope = keep_text(call, 1);
		run->key = keep_text(call, 2);
		seen = DatumGetInt64(column(3).value);
		wanted.scopes = column(4);
		wanted.keys = column(5);
		check_wanted(call, run, &wanted);
	}
	sql_end(call);
	return seen;
}
