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
 * neither what was deleted before it nor what runs after it is walked over.
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

/* $1 to $3 after this place, $4 and $5 own epochs, $6 how many */
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
	" entry.epoch, entry.xid"
	" FROM inv_ledger AS entry"
	" WHERE ROW(entry.epoch, entry.xid, entry.entry_id) > ROW($1, $2, $3)"
	"  AND ROW(entry.epoch, entry.xid) < ROW($5, " XMIN ")"
	"  AND (entry.epoch < $4 OR entry.xid < " XMIN ")"
	" ORDER BY entry.epoch, entry.xid, entry.entry_id LIMIT $6",
	.expected = SPI_OK_SELECT,
	.nargs = 6,
	.argument_types = {INT4OID, XID8OID, INT8OID, INT4OID, INT4OID, INT8OID}
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
void
feed_check_place(Call *call, const LedgerPlace *after)
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

/* The place before the oldest entry that is kept. */
void
feed_begin_at_oldest(Call *call, LedgerPlace *place)
{
	sql_begin(call);
	(void) ledger_progress(call, "purge", place, NULL);
	sql_end(call);
}

/*
 * Read up to "count" events after a place, in order, into the current result of
 * sql_run(), and move the place to the last of them.  Returns how many.  Within
 * sql_begin().
 */
int
feed_page(Call *call, LedgerPlace *after, int32 first, int32 last, int count)
{
	Datum		values[] = {
		Int32GetDatum(after->epoch), UInt64GetDatum(after->xid),
		Int64GetDatum(after->entry_id), Int32GetDatum(first),
		Int32GetDatum(last), Int64GetDatum(count)
	};
	int			found = (int) sql_run(call, &read_page, values, NULL);
	bool		isnull;

	if (found > 0)
	{
		after->entry_id = DatumGetInt64(sql_value(found - 1, 2, &isnull));
		after->epoch = DatumGetInt32(sql_value(found - 1, 18, &isnull));
		after->xid = DatumGetUInt64(sql_value(found - 1, 19, &isnull));
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
