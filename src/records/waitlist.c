/*
 * waitlist.c
 *		The waitlist: who waits for a SKU, and what he was offered.
 *
 * The lock of a line is the row of the SKU's first stripe: whoever adds an
 * entry, removes one or makes one an offer has that locked, and has written a
 * stock row by the time he commits.  So numbers are given out in the order in
 * which those who join commit, entries seen under the lock are all there are,
 * and a transaction with an old snapshot gets 40001 at the lock instead of a
 * line that it sees half of.
 *
 * An entry waits, then it is offered a hold, and from there on its fate is that
 * of the hold; it goes with it too (rules/purge.c).  Who leaves is deleted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog/extension.h"
#include "records/waitlist.h"
#include "table/sql.h"

/* Columns of an entry, as read_entry() wants them. */
#define ENTRY_COLUMNS \
	"entry_id, quantity, customer, joined_at, reservation_id"

/* $1 and $2 the line, $3 units, $4 customer, $5 now */
static SqlStatement insert_entry = {
	.text = "INSERT INTO inv_waitlist"
	" (item_id, location_id, quantity, customer, joined_at, state)"
	" VALUES ($1, $2, $3, $4, $5, 'waiting') RETURNING entry_id",
	.expected = SPI_OK_INSERT_RETURNING,
	.nargs = 5,
	.argument_types = {INT8OID, INT4OID, INT8OID, TEXTOID, TIMESTAMPTZOID}
};

static SqlStatement delete_entry = {
	.text = "DELETE FROM inv_waitlist WHERE entry_id = $1",
	.expected = SPI_OK_DELETE,
	.nargs = 1,
	.argument_types = {INT8OID}
};

static SqlStatement offer_entry = {
	.text = "UPDATE inv_waitlist SET state = 'offered', reservation_id = $2"
	" WHERE entry_id = $1",
	.expected = SPI_OK_UPDATE,
	.nargs = 2,
	.argument_types = {INT8OID, UUIDOID}
};

/* index inv_waitlist_customer */
static SqlStatement find_entry = {
	.text = "SELECT " ENTRY_COLUMNS " FROM inv_waitlist"
	" WHERE item_id = $1 AND location_id = $2 AND customer = $3"
	" ORDER BY entry_id DESC LIMIT 1",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {INT8OID, INT4OID, TEXTOID}
};

/* index inv_waitlist_line, as in the next two */
static SqlStatement count_entries = {
	.text = "SELECT count(*) FROM inv_waitlist"
	" WHERE item_id = $1 AND location_id = $2 AND entry_id <= $3"
	"  AND state = 'waiting'",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {INT8OID, INT4OID, INT8OID}
};

static SqlStatement read_page = {
	.text = "SELECT " ENTRY_COLUMNS " FROM inv_waitlist"
	" WHERE item_id = $1 AND location_id = $2 AND entry_id > $3"
	"  AND state = 'waiting'"
	" ORDER BY entry_id LIMIT $4",
	.expected = SPI_OK_SELECT,
	.nargs = 4,
	.argument_types = {INT8OID, INT4OID, INT8OID, INT8OID}
};

/*
 * $1 now, $2 how many.  The first of each line is one step into the index; of
 * its SKU are counted what is to spare and what is under dead holds.
 */
static SqlStatement find_due = {
	.text = "WITH RECURSIVE line AS ("
	" (SELECT item_id, location_id, quantity FROM inv_waitlist"
	"  WHERE state = 'waiting'"
	"  ORDER BY item_id, location_id, entry_id LIMIT 1)"
	" UNION ALL"
	" SELECT next.item_id, next.location_id, next.quantity"
	" FROM line CROSS JOIN LATERAL ("
	"  SELECT item_id, location_id, quantity FROM inv_waitlist"
	"  WHERE state = 'waiting'"
	"   AND ROW(item_id, location_id) > ROW(line.item_id, line.location_id)"
	"  ORDER BY item_id, location_id, entry_id LIMIT 1) AS next)"
	" SELECT line.item_id, line.location_id FROM line"
	" JOIN inv_item AS item ON item.item_id = line.item_id"
	" WHERE item.selling"
	"  AND (item.listed_until IS NULL OR item.listed_until > $1)"
	"  AND (SELECT bool_or(stock.backorder_unlimited) OR"
	"        sum(stock.on_hand - stock.reserved - stock.min_available)"
	"        + (SELECT coalesce(sum(held.quantity), 0::numeric)"
	"            FROM inv_reservation AS held"
	"           WHERE held.item_id = line.item_id"
	"            AND held.location_id = line.location_id"
	"            AND held.status = 'active' AND held.expires_at <= $1)"
	"        >= line.quantity::numeric"
	"       FROM inv_stock AS stock"
	"       WHERE stock.item_id = line.item_id"
	"        AND stock.location_id = line.location_id)"
	" LIMIT $2",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {TIMESTAMPTZOID, INT8OID}
};

/*
 * Connect to SPI, with plans by index: a line may have grown since the table was
 * analyzed, and who waits for the plan has stock locked.
 */
static void
begin(Call *call)
{
	sql_begin(call);
	sql_plan_by_index(call);
}

/* Read a row of the last result into memory of the caller's. */
static void
read_entry(int row, MemoryContext context, WaitlistEntry *entry)
{
	Datum		value;
	bool		isnull;

	entry->entry_id = DatumGetInt64(sql_value(row, 1, &isnull));
	entry->quantity = DatumGetInt64(sql_value(row, 2, &isnull));
	value = sql_value(row, 3, &isnull);
	entry->customer = MemoryContextStrdup(context, TextDatumGetCString(value));
	entry->joined_at = DatumGetTimestampTz(sql_value(row, 4, &isnull));
	value = sql_value(row, 5, &isnull);
	entry->offered = !isnull;
	if (!isnull)
		entry->reservation_id = *DatumGetUUIDP(value);
}

/*
 * Raise 55000 where the extension is older than the waitlist: its stock rows
 * could not tell buyers that somebody waits.
 */
void
waitlist_require(Call *call)
{
	const KnownTable *stock = &known_tables[TABLE_STOCK];
	Relation	relation = call_open(call, TABLE_STOCK)->relation;

	if (known_columns(TABLE_STOCK, RelationGetDescr(relation)) < stock->columns)
		extension_report_unusable(stock->name);
}

/* Put a customer at the end of a line, which is locked; returns his entry. */
int64
waitlist_add(Call *call, const WaitingLine *line, int64 quantity,
			 const char *customer, TimestampTz now)
{
	bool		isnull;
	int64		entry_id;

	begin(call);
	(void) sql_run(call, &insert_entry,
				   SQL_VALUES(Int64GetDatum(line->item_id),
							  Int32GetDatum(line->location_id),
							  Int64GetDatum(quantity),
							  CStringGetTextDatum(customer),
							  TimestampTzGetDatum(now)), NULL);
	entry_id = DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
	return entry_id;
}

/* Take an entry out of its line, which is locked. */
void
waitlist_remove(Call *call, int64 entry_id)
{
	begin(call);
	(void) sql_run(call, &delete_entry, SQL_VALUES(Int64GetDatum(entry_id)),
				   NULL);
	sql_end(call);
}

/* An entry of a line, which is locked, has been offered a hold. */
void
waitlist_set_offered(Call *call, int64 entry_id,
					 const pg_uuid_t *reservation_id)
{
	begin(call);
	(void) sql_run(call, &offer_entry,
				   SQL_VALUES(Int64GetDatum(entry_id),
							  UUIDPGetDatum(reservation_id)), NULL);
	sql_end(call);
}

/* The newest entry of a customer; false if there is none. */
bool
waitlist_find(Call *call, const WaitingLine *line, const char *customer,
			  WaitlistEntry *entry)
{
	MemoryContext context = CurrentMemoryContext;
	bool		found;

	begin(call);
	found = sql_run(call, &find_entry,
					SQL_VALUES(Int64GetDatum(line->item_id),
							   Int32GetDatum(line->location_id),
							   CStringGetTextDatum(customer)), NULL) > 0;
	if (found)
		read_entry(0, context, entry);
	sql_end(call);
	return found;
}

/* The place in its line of an entry that waits, from 1. */
int64
waitlist_position(Call *call, const WaitingLine *line, int64 entry_id)
{
	bool		isnull;
	int64		position;

	begin(call);
	(void) sql_run(call, &count_entries,
				   SQL_VALUES(Int64GetDatum(line->item_id),
							  Int32GetDatum(line->location_id),
							  Int64GetDatum(entry_id)), NULL);
	position = DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
	return position;
}

/*
 * Read entries that wait, in their order, from the one behind "after" on:
 * "size" of them, or as many as there are, which is returned.
 */
int
waitlist_page(Call *call, const WaitingLine *line, int64 after,
			  WaitlistEntry *entries, int size)
{
	MemoryContext context = CurrentMemoryContext;
	int			found;

	begin(call);
	found = (int) sql_run(call, &read_page,
						  SQL_VALUES(Int64GetDatum(line->item_id),
									 Int32GetDatum(line->location_id),
									 Int64GetDatum(after),
									 Int64GetDatum(size)), NULL);
	for (int i = 0; i < found; i++)
		read_entry(i, context, &entries[i]);
	sql_end(call);
	return found;
}

/*
 * Find lines whose first could be served, as the call's snapshot sees it: at
 * most "budget" of them.  Returns how many.
 */
int
waitlist_find_due(Call *call, TimestampTz now, int64 budget,
				  WaitingLine **lines)
{
	MemoryContext context = CurrentMemoryContext;
	int			found;
	bool		isnull;

	begin(call);
	found = (int) sql_run(call, &find_due,
						  SQL_VALUES(TimestampTzGetDatum(now),
									 Int64GetDatum(budget)), NULL);
	*lines = MemoryContextAllocHuge(context, (found + 1) * sizeof(WaitingLine));
	for (int i = 0; i < found; i++)
	{
		(*lines)[i].item_id = DatumGetInt64(sql_value(i, 1, &isnull));
		(*lines)[i].location_id = DatumGetInt32(sql_value(i, 2, &isnull));
	}
	sql_end(call);
	return found;
}
