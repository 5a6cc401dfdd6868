/*
 * ledger_hours.c
 *		Where in the ledger the entries of each hour are.
 *
 * Analysts ask for hours, and the ledger is in the order of transactions.  An
 * index on its time would be paid for by each buyer (a B-tree made a reserve
 * six in a hundred dearer, BRIN three), and he has no use for it.  So upkeep
 * comes by afterwards, walks over new entries, and notes for each hour between
 * which transactions its entries are.  View inv_ledger_by_hour reads these
 * ranges by the primary key, and whatever is behind the place that upkeep has
 * reached.  Without upkeep it is slower, never wrong.
 *
 * What this rests on:
 *
 * - The place passes only entries that no earlier one can join any more
 *   (records/ledger_epoch.c says which), so each entry is before it and in the
 *   range of its hour, or behind it.
 * - Ranges and place change in one transaction, under the lock of LEDGER_HOURS,
 *   and the view reads both with one snapshot.
 *
 * Clocks may be set, and transactions take long: then the range of an hour is
 * wider than it would have to be.  The view looks at the time of each entry.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "catalog/extension.h"
#include "records/ledger.h"
#include "rules/ledger_hours.h"
#include "table/sql.h"

#define TASK "hours"

/* Entries that are looked at in a transaction. */
#define BATCH 10000

/*
 * $1 to $3 the place, $4 and $5 this server's own epochs, $6 how many entries;
 * index inv_ledger_pkey.  The last of them, and how many there were.  Ranges
 * whose entries were purged go.
 */
static SqlStatement note_ranges = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT epoch, xid, entry_id, at FROM inv_ledger"
	" WHERE ROW(epoch, xid, entry_id) > ROW($1, $2, $3)"
	"  AND ROW(epoch, xid)"
	"   < ROW($5, pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))"
	"  AND (epoch < $4 OR"
	"   xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))"
	" ORDER BY epoch, xid, entry_id LIMIT $6"
	"), noted AS ("
	" INSERT INTO inv_ledger_hour AS known (hour, epoch, first_xid, last_xid)"
	" SELECT pg_catalog.date_bin('1 hour'::interval, at, 'epoch'::timestamptz),"
	"  epoch, min(xid), max(xid) FROM part GROUP BY 1, 2"
	" ON CONFLICT (hour, epoch) DO UPDATE"
	" SET first_xid = least(known.first_xid, excluded.first_xid),"
	"  last_xid = greatest(known.last_xid, excluded.last_xid)"
	"), gone AS ("
	" DELETE FROM inv_ledger_hour AS old USING inv_progress AS purge"
	" WHERE purge.task = 'purge' AND EXISTS (SELECT FROM part)"
	"  AND ROW(old.epoch, old.last_xid) < ROW(purge.epoch, purge.xid)"
	") SELECT epoch, xid, entry_id, (SELECT count(*) FROM part)"
	" FROM (SELECT epoch, xid, entry_id FROM part"
	"  ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 6,
	.argument_types = {INT4OID, XID8OID, INT8OID, INT4OID, INT4OID, INT8OID}
};

/*
 * Walk over some new entries; adds their number to *rows.  Returns whether there
 * are more.  Does nothing while somebody else is at it, nor where the tables are
 * those of an earlier version.
 */
bool
note_hours(Call *call, int64 *rows)
{
	LedgerPlace place;
	int32		first_epoch;
	int32		last_epoch;
	int64		found = 0;
	bool		isnull;

	if (extension_is_older() || !ledger_try_task(call, LEDGER_HOURS))
		return false;

	ledger_own_epochs(call, &first_epoch, &last_epoch);
	sql_begin(call);
	sql_plan_by_index(call);
	(void) ledger_progress(call, TASK, &place, NULL);
	if (sql_run(call, &note_ranges,
				SQL_VALUES(Int32GetDatum(place.epoch),
						   UInt64GetDatum(place.xid),
						   Int64GetDatum(place.entry_id),
						   Int32GetDatum(first_epoch),
						   Int32GetDatum(last_epoch),
						   Int64GetDatum(BATCH)), NULL) > 0)
	{
		place.epoch = DatumGetInt32(sql_value(0, 1, &isnull));
		place.xid = DatumGetUInt64(sql_value(0, 2, &isnull));
		place.entry_id = DatumGetInt64(sql_value(0, 3, &isnull));
		found = DatumGetInt64(sql_value(0, 4, &isnull));
		ledger_set_progress(call, TASK, &place, (Datum) 0);
	}
	sql_end(call);
	*rows += found;
	return found >= BATCH;
}
