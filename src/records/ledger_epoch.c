/*
 * ledger_epoch.c
 *		Epochs: servers and timelines that have written to the ledger.
 *
 * Ledger entries are ordered by the id of the transaction that wrote them.
 * Transaction ids begin anew where a dump is restored, and are given out a
 * second time where a standby is promoted that had not seen the last of them.
 * Each entry therefore carries the number of its epoch, and the order of the
 * ledger is (epoch, xid, entry_id).
 *
 * The first transaction to write after such an event begins the epoch, with a
 * row in inv_ledger_epoch.  It may take long to commit, and nobody may have to
 * wait for it: he holds stock by then.  So the table has no key.  Who sees no
 * row of his own server's as the last one writes one himself; all of them come
 * to the same number, and a second row that says the same does no harm.  If
 * one of them rolls back, the entries of the others still have theirs.
 *
 * A session remembers the epoch only when it finds it in a later transaction
 * than the one in which it wrote the row, which might be rolled back, be it to
 * a savepoint.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "records/ledger.h"
#include "table/sql.h"

static SqlStatement find_last_epoch = {
	.text = "SELECT epoch, system_identifier = $1 AND timeline = $2"
	" FROM inv_ledger_epoch"
	" ORDER BY epoch DESC LIMIT 1",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {INT8OID, INT4OID}
};

static SqlStatement begin_epoch = {
	.text = "INSERT INTO inv_ledger_epoch"
	" (system_identifier, timeline, epoch, began_at)"
	" VALUES ($1, $2, $3, $4)",
	.expected = SPI_OK_INSERT,
	.nargs = 4,
	.argument_types = {INT8OID, INT4OID, INT4OID, TIMESTAMPTZOID}
};

/* What the session remembers. */
static struct
{
	Oid			ledger;			/* of this one; InvalidOid: nothing */
	int32		epoch;
	uint64		call;			/* for good, or (not 0) within this call */
	FullTransactionId began_in; /* the transaction that wrote the row */
}			known;

/* The number of this server's epoch, which is begun if need be. */
static int32
find_epoch(Call *call)
{
	Datum		values[4] = {Int64GetDatum((int64) GetSystemIdentifier()),
	Int32GetDatum((int32) GetWALInsertionTimeLine())};
	int32		epoch = 1;
	bool		isnull;
	bool		is_ours = false;

	sql_begin(call);
	if (sql_run(call, &find_last_epoch, values, NULL) > 0)
	{
		epoch = DatumGetInt32(sql_value(0, 1, &isnull));
		is_ours = DatumGetBool(sql_value(0, 2, &isnull));
		if (!is_ours)
			epoch++;
	}
	if (!is_ours)
	{
		values[2] = Int32GetDatum(epoch);
		values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
		(void) sql_run(call, &begin_epoch, values, NULL);
		known.began_in = GetTopFullTransactionId();
	}
	sql_end(call);
	return epoch;
}

/*
 * The number of the epoch in which entries are written now.  The caller has the
 * ledger open, and no row of any table half made.
 */
int32
ledger_epoch(Call *call)
{
	Oid			ledger = RelationGetRelid(call_open(call, TABLE_LEDGER)->relation);
	int32		epoch;

	if (known.ledger == ledger &&
		(known.call == 0 || known.call == call->serial))
		return known.epoch;

	known.ledger = InvalidOid;
	epoch = find_epoch(call);
	known.ledger = ledger;
	known.epoch = epoch;
	known.call = FullTransactionIdEquals(known.began_in,
										 GetTopFullTransactionIdIfAny())
		? call->serial : 0;
	return epoch;
}

/* $1 is this server */
static SqlStatement find_own_epochs = {
	.text = "SELECT"
	" coalesce(max(epoch) FILTER (WHERE system_identifier <> $1), 0) + 1,"
	" max(epoch) FROM inv_ledger_epoch",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {INT8OID}
};

/*
 * The epochs in which transaction ids are this server's own: the last ones,
 * more than one after a promotion.  If nothing has been written here yet, the
 * one that is to come.
 *
 * Entries of earlier epochs were all committed where they come from.  Of the
 * others, those are complete whose transaction is older than any that runs; one
 * that was prepared before a promotion may still do so.  With xmin for
 * pg_snapshot_xmin(pg_current_snapshot()), nothing can be written any more
 * among the entries with
 *
 *		ROW(epoch, xid) < ROW(last, xmin) AND (epoch < first OR xid < xmin)
 *
 * where the first condition serves only to keep an index scan from walking over
 * whatever is newer.
 */
void
ledger_own_epochs(Call *call, int32 *first, int32 *last)
{
	Datum		values[] = {Int64GetDatum((int64) GetSystemIdentifier())};
	Datum		newest;
	bool		isnull;

	sql_begin(call);
	(void) sql_run(call, &find_own_epochs, values, NULL);
	*first = DatumGetInt32(sql_value(0, 1, &isnull));
	newest = sql_value(0, 2, &isnull);
	*last = isnull ? *first : Max(*first, DatumGetInt32(newest));
	sql_end(call);
}
