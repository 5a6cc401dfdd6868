/*
 * edges.c
 *		Telling when a SKU comes back in stock, or is out of stock.
 *
 * Buyers must not do it: whether a SKU is in stock is the sum of its stripes,
 * and they have only one.  So somebody comes by after them, looks at what has
 * changed since the last time, compares it with what was told last
 * (inv_stock_state), and tells the difference by an entry in the ledger that
 * changes nothing.
 *
 * What must always hold: when things are calm, the last thing told of a SKU is
 * true.  No stock is locked for that, so that neither buyers nor this have to
 * wait, however hot the SKU is.  What was told may be outdated by the time it is
 * committed; but then the transaction that changed it could not be seen, so its
 * entries are among those that are looked at the next time.  For that, one at a
 * time is at it, and none of the entries may be missed:
 *
 * - Everything before the place in inv_progress has been looked at, but for the
 *   transactions that were still running when the place went past them.  Those
 *   are "pending", and are looked at when they are over.  (The feed waits for
 *   them; here nobody has to, as the order of entries does not matter.)  So a
 *   transaction that runs for hours costs one lookup a time.
 * - If there is no place yet, or entries after it have been purged, or nobody can
 *   have written there yet (a dump of a copy of this server brought it), all
 *   stock is looked at, from the place of that moment.
 *
 * Entries made here are found the next time too, and come to nothing.  Where
 * there is nothing at all to look at, nothing is written.
 */
#include "postgres.h"

#include <limits.h>

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "records/ledger.h"
#include "records/stock.h"
#include "rules/edges.h"
#include "settings.h"
#include "table/sql.h"

#define TASK "edges"

/* Transaction ids. */
typedef struct XidList
{
	int			count;
	uint64	   *xids;
} XidList;

/* How far we have come; what is in inv_progress. */
typedef struct Progress
{
	bool		begun;
	LedgerPlace place;
	XidList		pending;		/* before it, but were running then */
	uint64		partial;		/* one of them that is half done; 0: none */
	int64		partial_entry;	/* up to here */
	bool		walking;		/* over all stock, after these */
	int64		item_id;
	int32		location_id;
} Progress;

/* SKUs at locations to be looked at, with repetitions. */
typedef struct SkuList
{
	int			count;
	int			capacity;
	Datum	   *items;
	Datum	   *locations;
} SkuList;

/* A difference between what is and what was told. */
typedef struct Edge
{
	int64		item_id;
	int32		location_id;
	bool		in_stock;
	int64		on_hand;		/* of all stripes */
	int64		reserved;
	char	   *since;			/* when the other was told; NULL: never */
} Edge;

static SqlStatement read_progress = {
	.text = "SELECT epoch, xid, entry_id, detail ->> 'pending'::text,"
	" detail ->> 'partial'::text, detail ->> 'walk'::text"
	" FROM inv_progress WHERE task = '" TASK "'",
	.expected = SPI_OK_SELECT
};

static SqlStatement read_snapshot = {
	.text = "SELECT pg_catalog.pg_snapshot_xmax(taken.snapshot),"
	" (SELECT pg_catalog.string_agg(running::text, ' ')"
	"   FROM pg_catalog.pg_snapshot_xip(taken.snapshot) AS running)"
	" FROM (SELECT pg_catalog.pg_current_snapshot() AS snapshot) AS taken",
	.expected = SPI_OK_SELECT
};

/* $1 transactions, $2 one of them, up to $3, $4 how many entries */
static SqlStatement find_late = {
	.text = "SELECT late.xid, entry.entry_id, entry.item_id, entry.location_id"
	" FROM pg_catalog.unnest($1) WITH ORDINALITY AS late (xid, nr)"
	" CROSS JOIN LATERAL ("
	"  SELECT one.entry_id, one.item_id, one.location_id"
	"  FROM inv_ledger AS one"
	"  WHERE one.epoch = ANY (ARRAY(SELECT DISTINCT epoch FROM inv_ledger_epoch))"
	"   AND one.xid = late.xid"
	"   AND one.entry_id > CASE WHEN late.xid = $2 THEN $3 ELSE 0::bigint END"
	"  ORDER BY one.entry_id LIMIT $4) AS entry"
	" ORDER BY late.nr, entry.entry_id LIMIT $4",
	.expected = SPI_OK_SELECT,
	.nargs = 4,
	.argument_types = {XID8ARRAYOID, XID8OID, INT8OID, INT8OID}
};

/* $1 to $3 after this place, $4 and $5 before this, $6 how many */
static SqlStatement find_new = {
	.text = "SELECT epoch, xid, entry_id, item_id, location_id"
	" FROM inv_ledger"
	" WHERE ROW(epoch, xid, entry_id) > ROW($1, $2, $3)"
	"  AND ROW(epoch, xid) < ROW($4, $5)"
	" ORDER BY epoch, xid, entry_id LIMIT $6",
	.expected = SPI_OK_SELECT,
	.nargs = 6,
	.argument_types = {INT4OID, XID8OID, INT8OID, INT4OID, XID8OID, INT8OID}
};

/* $1 and $2 after this SKU, $3 how many */
static SqlStatement find_stock = {
	.text = "SELECT item_id, location_id FROM inv_stock"
	" WHERE ROW(item_id, location_id) > ROW($1, $2) AND stripe = 0"
	" ORDER BY item_id, location_id LIMIT $3",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {INT8OID, INT4OID, INT8OID}
};

/*
 * $1 and $2 SKUs, $3 is stock kept for the waitlist; what was never told of is
 * out of stock
 */
static SqlStatement compare = {
	.text = "SELECT sku.item_id, sku.location_id, stock.is_there,"
	" stock.on_hand, stock.reserved,"
	" pg_catalog.to_char(told.changed_at AT TIME ZONE 'UTC'::text,"
	"  'YYYY-MM-DD HH24:MI:SS.US+00'::text)"
	" FROM (SELECT DISTINCT item_id, location_id"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"
	"   AS named (item_id, location_id)) AS sku"
	" CROSS JOIN LATERAL ("
	"  SELECT coalesce(bool_or(part.backorder_unlimited) OR sum("
	"    part.on_hand - part.reserved - part.min_available) > 0::numeric, false)"
	"   AND NOT ($3 AND EXISTS (SELECT FROM inv_waitlist AS line"
	"    WHERE line.item_id = sku.item_id AND line.location_id = sku.location_id"
	"     AND line.state = 'waiting')) AS is_there,"
	"   coalesce(sum(part.on_hand), 0::numeric)::bigint AS on_hand,"
	"   coalesce(sum(part.reserved), 0::numeric)::bigint AS reserved"
	"  FROM inv_stock AS part"
	"  WHERE part.item_id = sku.item_id AND part.location_id = sku.location_id"
	"  OFFSET 0) AS stock"
	" LEFT JOIN LATERAL ("
	"  SELECT state.in_stock, state.changed_at FROM inv_stock_state AS state"
	"  WHERE state.item_id = sku.item_id"
	"   AND state.location_id = sku.location_id OFFSET 0) AS told ON true"
	" WHERE stock.is_there <> coalesce(told.in_stock, false)"
	" ORDER BY sku.item_id, sku.location_id",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {INT8ARRAYOID, INT4ARRAYOID, BOOLOID}
};

static SqlStatement remember = {
	.text = "INSERT INTO inv_stock_state"
	" (item_id, location_id, in_stock, changed_at)"
	" VALUES ($1, $2, $3, pg_catalog.clock_timestamp())"
	" ON CONFLICT (item_id, location_id) DO UPDATE"
	" SET in_stock = excluded.in_stock, changed_at = excluded.changed_at",
	.expected = SPI_OK_INSERT,
	.nargs = 3,
	.argument_types = {INT8OID, INT4OID, BOOLOID}
};

/* Numbers separated by blanks, in a text that may be null. */
static XidList
read_numbers(Datum numbers, bool isnull)
{
	XidList		list = {0};
	char	   *next;

	if (isnull)
		return list;
	next = TextDatumGetCString(numbers);
	list.xids = palloc((strlen(next) / 2 + 1) * sizeof(uint64));
	while (*next != '\0')
	{
		list.xids[list.count++] = strtou64(next, &next, 10);
		while (*next == ' ')
			next++;
	}
	return list;
}

static bool
is_among(uint64 xid, const XidList *list)
{
	for (int i = 0; i < list->count; i++)
	{
		if (list->xids[i] == xid)
			return true;
	}
	return false;
}

static void
load_progress(Call *call, Progress *progress)
{
	XidList		pair;
	Datum		value;
	bool		isnull;

	memset(progress, 0, sizeof(Progress));
	if (sql_run(call, &read_progress, NULL, NULL) == 0)
		return;
	progress->begun = true;
	progress->place.epoch = DatumGetInt32(sql_value(0, 1, &isnull));
	progress->place.xid = DatumGetUInt64(sql_value(0, 2, &isnull));
	progress->place.entry_id = DatumGetInt64(sql_value(0, 3, &isnull));
	value = sql_value(0, 4, &isnull);
	progress->pending = read_numbers(value, isnull);
	value = sql_value(0, 5, &isnull);
	pair = read_numbers(value, isnull);
	if (pair.count == 2)
	{
		progress->partial = pair.xids[0];
		progress->partial_entry = (int64) pair.xids[1];
	}
	value = sql_value(0, 6, &isnull);
	pair = read_numbers(value, isnull);
	if (pair.count == 2)
	{
		progress->walking = true;
		progress->item_id = (int64) pair.xids[0];
		progress->location_id = (int32) pair.xids[1];
	}
}

static void
save_progress(Call *call, const Progress *progress)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"pending\": \"");
	for (int i = 0; i < progress->pending.count; i++)
		appendStringInfo(&json, "%s" UINT64_FORMAT, i > 0 ? " " : "",
						 progress->pending.xids[i]);
	appendStringInfoChar(&json, '"');
	if (progress->partial != 0)
		appendStringInfo(&json, ", \"partial\": \"" UINT64_FORMAT " " INT64_FORMAT "\"",
						 progress->partial, progress->partial_entry);
	if (progress->walking)
		appendStringInfo(&json, ", \"walk\": \"" INT64_FORMAT " %d\"",
						 progress->item_id, progress->location_id);
	appendStringInfoChar(&json, '}');
	ledger_set_progress(call, TASK, &progress->place,
						DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

static void
add_sku(SkuList *skus, Datum item_id, Datum location_id)
{
	if (skus->count == skus->capacity)
	{
		skus->capacity = Max(64, skus->capacity * 2);
		skus->items = skus->items == NULL
			? palloc(skus->capacity * sizeof(Datum))
			: repalloc_huge(skus->items, skus->capacity * sizeof(Datum));
		skus->locations = skus->locations == NULL
			? palloc(skus->capacity * sizeof(Datum))
			: repalloc_huge(skus->locations, skus->capacity * sizeof(Datum));
	}
	skus->items[skus->count] = item_id;
	skus->locations[skus->count] = location_id;
	skus->count++;
}

/* Add the SKUs of the current result, in two columns of it. */
static void
add_found(SkuList *skus, int found, int column)
{
	bool		isnull;

	for (int i = 0; i < found; i++)
		add_sku(skus, sql_value(i, column, &isnull),
				sql_value(i, column + 1, &isnull));
}

/* Have entries been purged that we have not looked at? */
static bool
overtaken(Call *call, const Progress *progress)
{
	LedgerPlace purged;

	if (!ledger_progress(call, "purge", &purged, NULL))
		return false;
	if (ledger_place_compare(&progress->place, &purged) < 0)
		return true;
	for (int i = 0; i < progress->pending.count; i++)
	{
		if (purged.epoch == progress->place.epoch &&
			progress->pending.xids[i] <= purged.xid)
			return true;
	}
	return false;
}

/*
 * Look at some of what the pending transactions wrote that are over by now.
 * What is left of them stays pending.  Returns whether something is.
 */
static bool
look_at_late(Call *call, Progress *progress, const XidList *running,
			 int64 budget, SkuList *skus)
{
	XidList		late = {0};
	Datum	   *elements = palloc((progress->pending.count + 1) * sizeof(Datum));
	Datum		values[4];
	int			found;
	int			done = 0;
	uint64		last;
	int64		last_entry;
	bool		isnull;

	/* what is half done comes first */
	late.xids = palloc((progress->pending.count + 1) * sizeof(uint64));
	if (progress->partial != 0)
		late.xids[late.count++] = progress->partial;
	for (int i = 0; i < progress->pending.count; i++)
	{
		uint64		xid = progress->pending.xids[i];

		if (xid != progress->partial && !is_among(xid, running))
			late.xids[late.count++] = xid;
	}
	progress->pending = *running;
	if (late.count == 0)
		return false;

	for (int i = 0; i < late.count; i++)
		elements[i] = UInt64GetDatum(late.xids[i]);
	values[0] = PointerGetDatum(construct_array(elements, late.count, XID8OID,
												8, FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[1] = UInt64GetDatum(progress->partial);
	values[2] = Int64GetDatum(progress->partial_entry);
	values[3] = Int64GetDatum(budget);
	found = (int) sql_run(call, &find_late, values, NULL);
	add_found(skus, found, 3);
	progress->partial = 0;
	if (found < budget)
		return false;

	last = DatumGetUInt64(sql_value(found - 1, 1, &isnull));
	last_entry = DatumGetInt64(sql_value(found - 1, 2, &isnull));
	while (late.xids[done] != last)
		done++;
	progress->partial = last;
	progress->partial_entry = last_entry;
	progress->pending.xids = palloc((running->count + late.count) * sizeof(uint64));
	memcpy(progress->pending.xids, running->xids, running->count * sizeof(uint64));
	memcpy(progress->pending.xids + running->count, late.xids + done,
		   (late.count - done) * sizeof(uint64));
	progress->pending.count = running->count + late.count - done;
	return true;
}

/* Look at some entries after our place.  Returns whether there are more. */
static bool
look_at_new(Call *call, Progress *progress, const LedgerPlace *end,
			int64 budget, SkuList *skus)
{
	Datum		values[] = {
		Int32GetDatum(progress->place.epoch),
		UInt64GetDatum(progress->place.xid),
		Int64GetDatum(progress->place.entry_id),
		Int32GetDatum(end->epoch), UInt64GetDatum(end->xid),
		Int64GetDatum(budget)
	};
	int			found = (int) sql_run(call, &find_new, values, NULL);
	bool		isnull;

	add_found(skus, found, 4);
	if (found < budget)
		return false;
	progress->place.epoch = DatumGetInt32(sql_value(found - 1, 1, &isnull));
	progress->place.xid = DatumGetUInt64(sql_value(found - 1, 2, &isnull));
	progress->place.entry_id = DatumGetInt64(sql_value(found - 1, 3, &isnull));
	return true;
}

/* Look at some of all stock.  Returns whether there is more. */
static bool
look_at_stock(Call *call, Progress *progress, int64 budget, SkuList *skus)
{
	Datum		values[] = {
		Int64GetDatum(progress->item_id),
		Int32GetDatum(progress->location_id), Int64GetDatum(budget)
	};
	int			found = (int) sql_run(call, &find_stock, values, NULL);
	bool		isnull;

	add_found(skus, found, 1);
	progress->walking = found >= budget;
	if (progress->walking)
	{
		progress->item_id = DatumGetInt64(sql_value(found - 1, 1, &isnull));
		progress->location_id = DatumGetInt32(sql_value(found - 1, 2, &isnull));
	}
	return progress->walking;
}

/*
 * Find the SKUs to be looked at, at most "budget" or so, and note how far we
 * have come.  Returns whether there are more.
 */
static bool
look(Call *call, int64 budget, SkuList *skus)
{
	Progress	progress;
	XidList		running;
	LedgerPlace end;
	int32		first_epoch;
	Datum		value;
	bool		isnull;
	bool		more;

	/*
	 * First of all what is running, then what can be seen: what is over in
	 * between is looked at now and once more.
	 */
	(void) sql_run(call, &read_snapshot, NULL, NULL);
	end.xid = DatumGetUInt64(sql_value(0, 1, &isnull));
	end.entry_id = PG_INT64_MAX;
	value = sql_value(0, 2, &isnull);
	running = read_numbers(value, isnull);
	ledger_own_epochs(call, &first_epoch, &end.epoch);

	load_progress(call, &progress);
	if (!progress.begun || overtaken(call, &progress) ||
		ledger_place_compare(&progress.place, &end) > 0)
	{
		bool		begun = progress.begun;

		memset(&progress, 0, sizeof(Progress));
		progress.begun = begun;
		progress.walking = true;
		progress.place = end;
		progress.place.xid--;
		progress.pending = running;
		progress.item_id = PG_INT64_MIN;
	}

	if (progress.walking)
		more = look_at_stock(call, &progress, budget, skus);
	else
	{
		more = look_at_late(call, &progress, &running, budget, skus) ||
			look_at_new(call, &progress, &end, budget, skus);
		if (skus->count == 0)
			return false;
		if (!more)
		{
			progress.place = end;
			progress.place.xid--;
		}
	}

	/*
	 * nothing is written for nothing, nor where a dump is about to be
	 * restored
	 */
	if (skus->count > 0 || progress.begun)
		save_progress(call, &progress);
	return more;
}

/* The SKUs in a list of which something else was told than what is. */
static Edge *
find_edges(Call *call, const SkuList *skus, int *count)
{
	Datum		values[] = {
		PointerGetDatum(construct_array(skus->items, skus->count, INT8OID, 8,
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
		PointerGetDatum(construct_array(skus->locations, skus->count, INT4OID,
										4, true, TYPALIGN_INT)),
		BoolGetDatum(setting_waitlist_first)
	};
	Edge	   *edges;
	Datum		since;
	bool		isnull;

	*count = (int) sql_run(call, &compare, values, NULL);
	edges = MemoryContextAlloc(call->context, (*count + 1) * sizeof(Edge));
	for (int i = 0; i < *count; i++)
	{
		edges[i].item_id = DatumGetInt64(sql_value(i, 1, &isnull));
		edges[i].location_id = DatumGetInt32(sql_value(i, 2, &isnull));
		edges[i].in_stock = DatumGetBool(sql_value(i, 3, &isnull));
		edges[i].on_hand = DatumGetInt64(sql_value(i, 4, &isnull));
		edges[i].reserved = DatumGetInt64(sql_value(i, 5, &isnull));
		since = sql_value(i, 6, &isnull);
		edges[i].since = isnull ? NULL
			: MemoryContextStrdup(call->context, TextDatumGetCString(since));
	}
	return edges;
}

/* Enter an edge into the ledger, since when it was otherwise, and remember it. */
static void
tell_edge(Call *call, const Edge *edge)
{
	Posting		posting = {
		edge->in_stock ? "back_in_stock" : "out_of_stock", NULL, NULL,
		edge->since
	};
	Datum		values[] = {
		Int64GetDatum(edge->item_id), Int32GetDatum(edge->location_id),
		BoolGetDatum(edge->in_stock)
	};

	ledger_append(call, &posting, edge->item_id, edge->location_id,
				  FIRST_STRIPE, 0, 0, edge->on_hand, edge->reserved);
	(void) sql_run(call, &remember, values, NULL);
}

/*
 * Look at no more than about "budget" changes, and tell what SKUs have come into
 * stock or gone out of it; adds their number to *rows.  Returns whether there
 * is more to look at.  Does nothing while somebody else is at it.
 */
bool
tell_edges(Call *call, int64 budget, int64 *rows)
{
	SkuList		skus = {0};
	Edge	   *edges;
	int			count;
	bool		more;

	if (!ledger_try_task(call, LEDGER_EDGES))
		return false;

	sql_begin(call);
	sql_plan_by_index(call);
	more = look(call, budget, &skus);
	if (skus.count > 0)
	{
		edges = find_edges(call, &skus, &count);
		for (int i = 0; i < count; i++)
			tell_edge(call, &edges[i]);
		*rows += count;
	}
	sql_end(call);
	return more;
}
