/*
 * feed.c
 *		The ledger as a feed that other systems read.
 *
 * A consumer reads entries in the order of the ledger, notes the last one's
 * place, and goes on from there.  What must never happen:
 *
 * - that he goes past a place at which an entry is still to come.  Transactions
 *   do not commit in the order of their ids.  So only complete entries are
 *   shown: those of which records/ledger_epoch.c says that nothing can be
 *   written before them any more.  What may and what may not be shown is
 *   decided in the statement that reads them, by its snapshot;
 * - that he goes past entries which are gone.  The purge deletes from the
 *   oldest end and notes the last place that it deleted; who has not come as
 *   far is told (55000).  Both are read with one snapshot;
 * - that he waits for ever at a place that was never in this ledger: that of
 *   another database, or of one that has been dropped since.  A place beyond the
 *   last that can have been written is refused as well, except on a standby,
 *   which may be behind the server where it was read.
 *
 * A page is a range of the primary key, and costs no more than what is shown:
 * neither what was deleted before it nor what runs after it is walked over.  An
 * index scan ends at a bound of the second column only where the first is given,
 * so each epoch is read by itself.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "utils/builtins.h"

#include "rules/feed.h"
#include "settings.h"
#include "table/sql.h"

#define CHANNEL "inventory_reservation"

#define XMIN "pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())"

/* $1 from this one on */
static SqlStatement find_epochs = {
	.text = "SELECT DISTINCT epoch FROM inv_ledger_epoch WHERE epoch >= $1"
	" ORDER BY epoch",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {INT4OID}
};

/* $1 the epoch, $2 and $3 after this place, $4 is it our own, $5 how many */
static SqlStatement read_page = {
	.text = "SELECT entry.epoch::text || '/' || entry.xid::text || '/' ||"
	"  entry.entry_id::text,"
	" entry.entry_id, entry.at, entry.operation, entry.item_id,"
	" (SELECT item.sku FROM inv_item AS item"
	"   WHERE item.item_id = entry.item_id),"
	" (SELECT location.code FROM inv_location AS location"
	"   WHERE location.location_id = entry.location_id),"
	" entry.stripe, entry.delta_on_hand, entry.delta_reserved,"
	" entry.on_hand_after, entry.reserved_after, entry.reservation_id,"
	" entry.order_id, entry.login_role, entry.caller_role, entry.reason,"
	" entry.xid"
	" FROM inv_ledger AS entry"
	" WHERE entry.epoch = $1"
	"  AND ROW(entry.xid, entry.entry_id) > ROW($2, $3)"
	"  AND entry.xid < CASE WHEN $4 THEN " XMIN
	"   ELSE '18446744073709551615'::pg_catalog.xid8 END"
	" ORDER BY entry.epoch, entry.xid, entry.entry_id LIMIT $5",
	.expected = SPI_OK_SELECT,
	.nargs = 5,
	.argument_types = {INT4OID, XID8OID, INT8OID, BOOLOID, INT8OID}
};

/* $1 and $2 own epochs */
static SqlStatement find_newest = {
	.text = "SELECT entry.epoch, entry.xid, entry.entry_id"
	" FROM inv_ledger AS entry"
	" WHERE ROW(entry.epoch, entry.xid) < ROW($2, " XMIN ")"
	"  AND (entry.epoch < $1 OR entry.xid < " XMIN ")"
	" ORDER BY entry.epoch DESC, entry.xid DESC, entry.entry_id DESC LIMIT 1",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {INT4OID, INT4OID}
};

/*
 * Raise 55000 unless all that came after this place is still there, and the
 * place is one of this ledger.
 */
static void
check_place(Call *call, const LedgerPlace *after)
{
	LedgerPlace limit;
	bool		purged;

	sql_begin(call);
	purged = ledger_progress(call, "purge", &limit, NULL);
	sql_end(call);
	if (purged && ledger_place_compare(after, &limit) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events after \"%s\" have been purged",
						ledger_place_text(after)),
				 errdetail("Events are kept from after \"%s\" on.",
						   ledger_place_text(&limit)),
				 errhint("Call inv_newest_event(), read the stock anew, and go on from that cursor.")));

	if (RecoveryInProgress())
		return;
	ledger_end(call, &limit);
	if (ledger_place_compare(after, &limit) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cursor \"%s\" is not of this ledger",
						ledger_place_text(after)),
				 errdetail("No event can have got it yet: this database is another one, or has been set back."),
				 errhint("Call inv_newest_event(), read the stock anew, and go on from that cursor.")));
}

/*
 * Begin to read after a place, or with "after" NULL with the oldest event that is
 * kept.
 */
void
feed_begin(Call *call, FeedReader *reader, const LedgerPlace *after)
{
	int32		last_epoch;
	Datum		from;
	bool		isnull;

	memset(reader, 0, sizeof(FeedReader));
	if (after != NULL)
	{
		check_place(call, after);
		reader->place = *after;
	}
	ledger_own_epochs(call, &reader->first_own_epoch, &last_epoch);

	sql_begin(call);
	if (after == NULL)
		(void) ledger_progress(call, "purge", &reader->place, NULL);
	from = Int32GetDatum(reader->place.epoch);
	reader->epoch_count = (int) sql_run(call, &find_epochs, &from, NULL);
	reader->epochs = MemoryContextAlloc(call->context,
										(reader->epoch_count + 1) * sizeof(int32));
	for (int i = 0; i < reader->epoch_count; i++)
		reader->epochs[i] = DatumGetInt32(sql_value(i, 1, &isnull));
	sql_end(call);
}

/*
 * Read at least one and up to "count" events, in order, into the current result
 * of sql_run().  Returns how many; 0 if there are no more.  Within sql_begin().
 */
int
feed_read(Call *call, FeedReader *reader, int count)
{
	int			found = 0;

	sql_plan_by_index(call);
	while (found == 0 && reader->epoch < reader->epoch_count)
	{
		int32		epoch = reader->epochs[reader->epoch];
		LedgerPlace begin = {epoch, 0, 0};
		Datum		values[5];
		bool		isnull;

		if (reader->place.epoch < epoch)
			reader->place = begin;
		values[0] = Int32GetDatum(epoch);
		values[1] = UInt64GetDatum(reader->place.xid);
		values[2] = Int64GetDatum(reader->place.entry_id);
		values[3] = BoolGetDatum(epoch >= reader->first_own_epoch);
		values[4] = Int64GetDatum(count);
		found = (int) sql_run(call, &read_page, values, NULL);
		if (found > 0)
		{
			reader->place.entry_id =
				DatumGetInt64(sql_value(found - 1, 2, &isnull));
			reader->place.xid =
				DatumGetUInt64(sql_value(found - 1, COLUMNS_OF_EVENT + 1, &isnull));
		}
		if (found < count)
			reader->epoch++;
	}
	return found;
}

/*
 * The newest event there is to read, or else the place up to which events were
 * purged; false if there never was one.
 */
bool
feed_newest(Call *call, LedgerPlace *newest)
{
	Datum		values[2];
	int32		first;
	int32		last;
	bool		found;
	bool		isnull;

	ledger_own_epochs(call, &first, &last);
	values[0] = Int32GetDatum(first);
	values[1] = Int32GetDatum(last);

	sql_begin(call);
	sql_plan_by_index(call);
	found = sql_run(call, &find_newest, values, NULL) > 0;
	if (found)
	{
		newest->epoch = DatumGetInt32(sql_value(0, 1, &isnull));
		newest->xid = DatumGetUInt64(sql_value(0, 2, &isnull));
		newest->entry_id = DatumGetInt64(sql_value(0, 3, &isnull));
	}
	else
		found = ledger_progress(call, "purge", newest, NULL);
	sql_end(call);
	return found;
}

/*
 * Ring, if the setting says so and there are events which nobody was rung for.
 * PostgreSQL lets one transaction that rings commit at a time, in all databases
 * of the server: never do this in a buyer's.
 */
bool
feed_ring(Call *call, int64 *rows)
{
	LedgerPlace newest;
	LedgerPlace rung;

	if (!setting_notify || !feed_newest(call, &newest))
		return false;
	sql_begin(call);
	(void) ledger_progress(call, "ring", &rung, NULL);
	if (ledger_place_compare(&newest, &rung) > 0)
	{
		ledger_set_progress(call, "ring", &newest, (Datum) 0);
		Async_Notify(CHANNEL, ledger_place_text(&newest));
		(*rows)++;
	}
	sql_end(call);
	return false;
}
