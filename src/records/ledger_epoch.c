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
 * A number must not be given out twice, or what somebody has read in one epoch
 * would be taken for the other.  Of two standbys that were promoted one after
 * the other, the second need not have seen that the first began an epoch.  The
 * number therefore grows by as much as the timeline does.
 *
 * Some servers are copies of one another (images with a data directory in
 * them) and have one system identifier; and one that was set back in time may
 * get a dump of its own future.  What gives such entries away is that their
 * transaction ids have not been given out here yet.
 *
 * A session remembers the epoch only when it finds it in a later transaction
 * than the one in which it wrote the row, which might be rolled back, be it to
 * a savepoint.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "records/ledger.h"
#include "table/sql.h"

/* $1 and $2 this server; should two claim one number, the other comes first */
static SqlStatement find_last_epoch = {
	.text = "SELECT last.epoch, last.system_identifier = $1, last.timeline,"
	" (SELECT entry.xid FROM inv_ledger AS entry"
	"   WHERE entry.epoch = last.epoch"
	"   ORDER BY entry.epoch DESC, entry.xid DESC LIMIT 1)"
	" FROM inv_ledger_epoch AS last"
	" ORDER BY last.epoch DESC,"
	"  (last.system_identifier = $1 AND last.timeline = $2) LIMIT 1",
	.expected = SPI_OK_SELECT,
	.nargs = 2,
	.argument_types = {INT8OID, INT4OID}
};

static SqlStatement begin_epoch = {
	.text = "INSERT INTO inv_ledger_epoch"
	" (system_identifier, timeline, epoch, xid, began_at)"
	" VALUES ($1, $2, $3, $4, $5)",
	.expected = SPI_OK_INSERT,
	.nargs = 5,
	.argument_types = {INT8OID, INT4OID, INT4OID, XID8OID, TIMESTAMPTZOID}
};

/* What the session remembers. */
static struct
{
	Oid			ledger;			/* of this one; InvalidOid: nothing */
	int32		epoch;
	uint64		call;			/* for good, or (not 0) within this call */
	FullTransactionId began_in; /* the transaction that wrote the row */
}			known;

/* Has the transaction of an entry that is there been given out here? */
static bool
is_ours(uint64 xid)
{
	return xid < U64FromFullTransactionId(ReadNextFullTransactionId());
}

/*
 * The number of the epoch that a server on a timeline writes in.  *begun tells
 * whether it is the last one in the table.
 */
static int32
epoch_of(Call *call, TimeLineID timeline, bool *begun)
{
	Datum		values[] = {Int64GetDatum((int64) GetSystemIdentifier()),
	Int32GetDatum((int32) timeline)};
	int32		last;
	int32		last_timeline;
	bool		same_system;
	Datum		newest;
	bool		isnull;

	*begun = false;
	if (sql_run(call, &find_last_epoch, values, NULL) == 0)
		return (int32) timeline;
	last = DatumGetInt32(sql_value(0, 1, &isnull));
	same_system = DatumGetBool(sql_value(0, 2, &isnull));
	last_timeline = DatumGetInt32(sql_value(0, 3, &isnull));
	newest = sql_value(0, 4, &isnull);

	if (!same_system)
		return last + (int32) timeline;
	if (last_timeline == (int32) timeline &&
		(isnull || is_ours(DatumGetUInt64(newest))))
	{
		*begun = true;
		return last;
	}
	return last + Max(1, (int32) timeline - last_timeline);
}

/* The number of this server's epoch, which is begun if need be. */
static int32
find_epoch(Call *call)
{
	TimeLineID	timeline = GetWALInsertionTimeLine();
	FullTransactionId transaction = GetTopFullTransactionId();
	int32		epoch;
	bool		begun;

	sql_begin(call);
	epoch = epoch_of(call, timeline, &begun);
	if (!begun)
	{
		Datum		values[] = {
			Int64GetDatum((int64) GetSystemIdentifier()),
			Int32GetDatum((int32) timeline),
			Int32GetDatum(epoch),
			UInt64GetDatum(U64FromFullTransactionId(transaction)),
			TimestampTzGetDatum(GetCurrentTimestamp())
		};

		(void) sql_run(call, &begin_epoch, values, NULL);
		known.began_in = transaction;
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
	/* of what began in this transaction nothing is sure before it ends */
	known.call = FullTransactionIdEquals(known.began_in,
										 GetTopFullTransactionIdIfAny())
		? call->serial : 0;
	return epoch;
}

/* $1 is this server */
static SqlStatement find_own_epochs = {
	.text = "SELECT"
	" coalesce(max(epoch) FILTER (WHERE system_identifier <> $1), 0) + 1,"
	" max(epoch) FILTER (WHERE system_identifier = $1 AND xid"
	"  < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())),"
	" max(epoch) FROM inv_ledger_epoch",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {INT8OID}
};

/*
 * The epochs in which a transaction of this server's may still write: from
 * "first" to "last".  If nothing has been written here yet, the one that is to
 * come.
 *
 * Entries of other servers were all committed where they come from.  Those of
 * this server's own earlier epochs are, too, once every transaction is over
 * that is older than the one which began the next: one that was prepared before
 * a promotion may commit after it.  Of the others, those are complete whose
 * transaction is older than any that runs.  With xmin for
 * pg_snapshot_xmin(pg_current_snapshot()), nothing can be written any more
 * among the entries with
 *
 *		epoch < first OR (epoch <= last AND xid < xmin)
 *
 * To keep an index scan from walking over whatever is newer, ask for one epoch
 * at a time: it ends at a bound of the second column only where the first is
 * given.  All that holds where transactions write to the ledger, and on
 * its standbys; not where logical replication does, which applies them in the
 * order in which they committed.
 */
void
ledger_own_epochs(Call *call, int32 *first, int32 *last)
{
	Datum		values[] = {Int64GetDatum((int64) GetSystemIdentifier())};
	Datum		value;
	bool		isnull;

	sql_begin(call);
	(void) sql_run(call, &find_own_epochs, values, NULL);
	*first = DatumGetInt32(sql_value(0, 1, &isnull));
	value = sql_value(0, 3, &isnull);
	*last = isnull ? *first : Max(*first, DatumGetInt32(value));
	value = sql_value(0, 2, &isnull);
	if (!isnull)
		*first = Max(*first, DatumGetInt32(value));
	sql_end(call);
}

/*
 * The last place that a transaction of this server's can have written at: what
 * lies beyond was never in this ledger.  Not on a standby, which does not know.
 */
void
ledger_end(Call *call, LedgerPlace *end)
{
	bool		begun;

	sql_begin(call);
	end->epoch = epoch_of(call, GetWALInsertionTimeLine(), &begun);
	sql_end(call);
	end->xid = begun ?
		U64FromFullTransactionId(ReadNextFullTransactionId()) - 1 : PG_UINT64_MAX;
	end->entry_id = PG_INT64_MAX;
}
