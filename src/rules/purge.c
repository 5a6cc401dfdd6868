/*
 * purge.c
 *		Deleting what is old: keys, closed reservations, ledger entries.
 *
 * Every batch is small, and its cost must not grow with the tables: it walks
 * an index from its oldest end.  While some transaction keeps an old snapshot,
 * the entries of all that went since are still there, dead, at that very end;
 * so a session that purges one batch after the other goes on where the last one
 * stopped.  Nothing may be missed by that: a batch that finds too little begins
 * again at the beginning.  What must hold after each batch:
 *
 * - A key outlives its retention, and a reservation the key that made it.  Both
 *   became visible at once, so one snapshot must decide.
 * - A reservation goes as a whole, when all its lines are cancelled or
 *   expired, and under the lock of its line 1, which is never waited for.
 * - The ledger and the opening balances still add up to the stock: what an
 *   entry has changed is added to the opening balance of its stock row in the
 *   transaction that deletes the entry.
 * - Reconciliation keeps sums of the ledger up to a place
 *   (records/ledger_balance.c), and still has to follow some entries: what is
 *   behind either place stays.  Should nobody have reconciled for an hour, and
 *   entries be due there, the sums are given up instead, and the next
 *   reconciliation begins them anew.
 * - What reads the ledger in its order can tell that entries which it has not
 *   seen are gone.  Entries therefore go in that order, and only such that no
 *   running transaction can write one before them (records/ledger_epoch.c);
 *   inv_progress has the last that went.
 * - An opening balance is one row that is written again by each batch.  While
 *   an old snapshot keeps all versions of it, finding the last one takes longer
 *   with each batch, and vacuum can do nothing.  The ledger can wait: after
 *   MAX_BATCHES_KEPT of them nothing is due until that snapshot is gone.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "records/ledger_balance.h"
#include "rules/purge.h"
#include "settings.h"
#include "table/sql.h"

#define MAX_BATCHES_KEPT 100

/* Where a session goes on, so long as it is the same table. */
typedef struct Resume
{
	Oid			relation;
	TimestampTz from;			/* all before is gone, or was busy */
} Resume;

static Resume resume_keys;
static Resume resume_reservations;

/* $1 from, $2 due before, $3 how many; index inv_idempotency_age */
static SqlStatement delete_keys = {
	.text = "WITH deleted AS ("
	" DELETE FROM inv_idempotency WHERE ctid = ANY (ARRAY("
	"  SELECT ctid FROM inv_idempotency"
	"  WHERE created_at >= $1 AND created_at < $2"
	"  ORDER BY created_at LIMIT $3"
	"  FOR UPDATE SKIP LOCKED))"
	" RETURNING created_at"
	") SELECT count(*), count(*), max(created_at) FROM deleted",
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

/*
 * $1 from, $2 due before, $3 how many; index inv_reservation_closed.  What was
 * closed before the oldest key was made cannot be asked for by any key.  (Only
 * one that is due itself matters, and where keys go much sooner there is nothing
 * to walk over.)  Lines and orders are looked up one reservation at a time,
 * what says that a line counts for its customer one line at a time, and with an
 * offer goes its entry in the waitlist
 * (OFFSET 0, aggregates), so that no plan reads those tables from end to end.
 */
#define DELETED_LINES \
	"WITH due AS MATERIALIZED (" \
	" SELECT head.reservation_id FROM inv_reservation AS head" \
	" WHERE head.status IN ('cancelled', 'expired')" \
	"  AND head.closed_at >= $1" \
	"  AND head.closed_at < least($2," \
	"   (SELECT min(created_at) FROM inv_idempotency WHERE created_at < $2))" \
	"  AND head.line_no = 1" \
	"  AND (SELECT bool_and(line.status IN ('cancelled', 'expired')" \
	"                       AND line.closed_at < $2)" \
	"         FROM inv_reservation AS line" \
	"        WHERE line.reservation_id = head.reservation_id)" \
	"  AND (SELECT count(*) FROM inv_order AS sale" \
	"        WHERE sale.reservation_id = head.reservation_id) = 0" \
	" ORDER BY head.closed_at LIMIT $3" \
	" FOR UPDATE OF head SKIP LOCKED" \
	"), deleted AS (" \
	" DELETE FROM inv_reservation WHERE ctid = ANY (ARRAY(" \
	"  SELECT line.place FROM due CROSS JOIN LATERAL (" \
	"   SELECT ctid AS place FROM inv_reservation" \
	"   WHERE reservation_id = due.reservation_id OFFSET 0) AS line))" \
	" RETURNING reservation_id, line_no, item_id, customer, closed_at" \
	"), offers AS (" \
	" DELETE FROM inv_waitlist WHERE ctid = ANY (ARRAY(" \
	"  SELECT entry.place FROM due CROSS JOIN LATERAL (" \
	"   SELECT ctid AS place FROM inv_waitlist" \
	"   WHERE reservation_id = due.reservation_id OFFSET 0) AS entry))" \
	")"

#define COUNT_DELETED_LINES \
	" SELECT count(*) FILTER (WHERE line_no = 1), count(*)," \
	"  max(closed_at) FILTER (WHERE line_no = 1) FROM deleted"

static SqlStatement delete_reservations = {
	.text = DELETED_LINES ", forgotten AS ("
	" DELETE FROM inv_customer_line WHERE ctid = ANY (ARRAY("
	"  SELECT mention.place FROM deleted CROSS JOIN LATERAL ("
	"   SELECT ctid AS place FROM inv_customer_line AS mention"
	"   WHERE mention.item_id = deleted.item_id"
	"    AND mention.customer = deleted.customer"
	"    AND mention.reservation_id = deleted.reservation_id"
	"    AND mention.line_no = deleted.line_no OFFSET 0) AS mention))"
	")" COUNT_DELETED_LINES,
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

/* The same in an extension that has not been updated to 0.2.0 */
static SqlStatement delete_reservations_only = {
	.text = DELETED_LINES COUNT_DELETED_LINES,
	.expected = SPI_OK_SELECT,
	.nargs = 3,
	.argument_types = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

/*
 * Up to where the ledger has been folded, and how many batches that was since
 * transaction "since", of which all might still be seen.
 */
static SqlStatement find_folded = {
	.text = "SELECT epoch, xid, entry_id,"
	" (detail ->> 'since'::text)::xid8, (detail ->> 'batches'::text)::integer"
	" FROM inv_progress WHERE task = 'purge'",
	.expected = SPI_OK_SELECT
};

/*
 * $1 due before: the place up to which reconciliation allows entries to go, and
 * whether it must be overruled
 */
static SqlStatement find_walk = {
	.text = "SELECT walk.epoch, walk.xid, walk.entry_id,"
	" walk.updated_at < pg_catalog.clock_timestamp() - '1 hour'::interval"
	"  AND coalesce((SELECT entry.at < $1 FROM inv_ledger AS entry"
	"   WHERE ROW(entry.epoch, entry.xid, entry.entry_id)"
	"     > ROW(walk.epoch, walk.xid, walk.entry_id)"
	"   ORDER BY entry.epoch, entry.xid, entry.entry_id LIMIT 1), false)"
	" FROM inv_progress AS walk"
	" WHERE walk.task IN ('ledger balance', 'reconcile')"
	"  AND EXISTS (SELECT FROM inv_progress WHERE task = 'ledger balance')"
	" ORDER BY walk.epoch, walk.xid, walk.entry_id LIMIT 1",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {TIMESTAMPTZOID}
};

static SqlStatement give_up_walk = {
	.text = "DELETE FROM inv_progress WHERE task = 'ledger balance'",
	.expected = SPI_OK_DELETE
};

/*
 * $1 due before, $2 how many, $3 and $4 this server's own epochs, $5 to $7 the
 * last entry that went, $8 and $9 what find_folded is to tell, $10 to $12 the
 * last that may go; index inv_ledger_pkey.  Takes the first entries, up to one that is not due.
 */
static SqlStatement fold_ledger = {
	.text = "WITH oldest AS MATERIALIZED ("
	" SELECT ctid AS place, at, epoch, xid, entry_id FROM inv_ledger"
	" WHERE ROW(epoch, xid, entry_id) > ROW($5, $6, $7)"
	"  AND ROW(epoch, xid)"
	"   < ROW($4, pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))"
	"  AND (epoch < $3 OR"
	"   xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))"
	"  AND ROW(epoch, xid, entry_id) <= ROW($10, $11, $12)"
	" ORDER BY epoch, xid, entry_id LIMIT $2"
	"), young AS MATERIALIZED ("
	" SELECT epoch, xid, entry_id FROM oldest WHERE at >= $1"
	" ORDER BY epoch, xid, entry_id LIMIT 1"
	"), due AS MATERIALIZED ("
	" SELECT * FROM oldest WHERE NOT EXISTS ("
	"  SELECT FROM young WHERE ROW(oldest.epoch, oldest.xid, oldest.entry_id)"
	"   >= ROW(young.epoch, young.xid, young.entry_id))"
	"), deleted AS ("
	" DELETE FROM inv_ledger WHERE ctid = ANY (ARRAY(SELECT place FROM due))"
	" RETURNING item_id, location_id, stripe, delta_on_hand, delta_reserved"
	"), added AS ("
	" INSERT INTO inv_opening_balance AS balance"
	"  (item_id, location_id, stripe, on_hand, reserved)"
	" SELECT item_id, location_id, stripe,"
	"  sum(delta_on_hand)::bigint, sum(delta_reserved)::bigint"
	" FROM deleted GROUP BY item_id, location_id, stripe"
	" ON CONFLICT (item_id, location_id, stripe) DO UPDATE"
	" SET on_hand = balance.on_hand + excluded.on_hand,"
	"  reserved = balance.reserved + excluded.reserved"
	"), noted AS ("
	" INSERT INTO inv_progress AS progress"
	"  (task, epoch, xid, entry_id, detail, updated_at)"
	" SELECT 'purge', epoch, xid, entry_id,"
	"  pg_catalog.jsonb_build_object('since', $8::text, 'batches', $9),"
	"  pg_catalog.clock_timestamp()"
	" FROM due ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 1"
	" ON CONFLICT (task) DO UPDATE"
	" SET epoch = excluded.epoch, xid = excluded.xid,"
	"  entry_id = excluded.entry_id, detail = excluded.detail,"
	"  updated_at = excluded.updated_at"
	") SELECT count(*) FROM deleted",
	.expected = SPI_OK_SELECT,
	.nargs = 12,
	.argument_types = {TIMESTAMPTZOID, INT8OID, INT4OID, INT4OID, INT4OID,
	XID8OID, INT8OID, XID8OID, INT4OID, INT4OID, XID8OID, INT8OID}
};

/* The moment before which a key is past its retention. */
static TimestampTz
keys_due_before(void)
{
	return GetCurrentTimestamp() -
		(int64) setting_idempotency_retention * USECS_PER_SEC;
}

/*
 * Delete what is due of a table, at most "budget" keys or reservations, and
 * return the number of rows.
 */
static int64
delete_due(Call *call, SqlStatement *statement, Resume *resume, Oid relation,
		   TimestampTz due_before, int64 budget)
{
	int64		rows = 0;
	bool		from_the_beginning;

	if (resume->relation != relation)
		*resume = (Resume) {relation, DT_NOBEGIN};
	sql_begin(call);
	sql_plan_by_index(call);
	do
	{
		Datum		last;
		bool		isnull;

		from_the_beginning = resume->from == DT_NOBEGIN;
		(void) sql_run(call, statement,
					   SQL_VALUES(TimestampTzGetDatum(resume->from),
								  TimestampTzGetDatum(due_before),
								  Int64GetDatum(budget)), NULL);
		budget -= DatumGetInt64(sql_value(0, 1, &isnull));
		rows += DatumGetInt64(sql_value(0, 2, &isnull));
		last = sql_value(0, 3, &isnull);
		resume->from = budget > 0 ? DT_NOBEGIN : DatumGetTimestampTz(last);
	} while (budget > 0 && !from_the_beginning);
	sql_end(call);
	return rows;
}

/* Delete at most "budget" keys; returns how many. */
int64
purge_keys(Call *call, int64 budget)
{
	Relation	keys = call_open(call, TABLE_IDEMPOTENCY)->relation;

	return delete_due(call, &delete_keys, &resume_keys, RelationGetRelid(keys),
					  keys_due_before(), budget);
}

/*
 * Delete at most "budget" reservations that were closed before "due_before",
 * and return the number of lines.  What a key that is not due may ask for
 * stays, and the caller has deleted the keys that are due.  Should one be left
 * (its row is busy), whatever was closed since it was made stays as well.
 */
int64
purge_reservations(Call *call, TimestampTz due_before, int64 budget)
{
	Relation	lines = call_open(call, TABLE_RESERVATION)->relation;
	SqlStatement *statement = catalog_has_table(TABLE_CUSTOMER_LINE)
		? &delete_reservations : &delete_reservations_only;

	return delete_due(call, statement, &resume_reservations,
					  RelationGetRelid(lines),
					  Min(due_before, keys_due_before()), budget);
}

/*
 * Is there a snapshot for which the rows of "relation" must be kept that this
 * transaction has replaced?  After a restore, "since" is another server's.
 */
static bool
still_seen(Relation relation, FullTransactionId since)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	uint64		began = U64FromFullTransactionId(since);

	return began < next && next - began < PG_INT32_MAX &&
		!TransactionIdPrecedes(XidFromFullTransactionId(since),
							   GetOldestNonRemovableTransactionId(relation));
}

/*
 * The last entry that reconciliation allows to go, three columns.  If it has not
 * been at work for long it is overruled.
 */
static void
find_last_to_fold(Call *call, TimestampTz due_before, Datum *place)
{
	Datum		values[] = {TimestampTzGetDatum(due_before)};
	bool		isnull;

	place[0] = Int32GetDatum(PG_INT32_MAX);
	place[1] = UInt64GetDatum(PG_UINT64_MAX);
	place[2] = Int64GetDatum(PG_INT64_MAX);
	if (sql_run(call, &find_walk, values, NULL) == 0)
		return;
	if (DatumGetBool(sql_value(0, 4, &isnull)))
		(void) sql_run(call, &give_up_walk, NULL, NULL);
	else
	{
		for (int i = 0; i < 3; i++)
			place[i] = sql_value(0, i + 1, &isnull);
	}
}

/*
 * Put at most "budget" ledger entries that were made before "due_before" into
 * opening balances, and return how many.  Two batches at a time would want the
 * same entries, so while somebody else is at it, or reconciles, nothing is due.
 */
int64
purge_ledger(Call *call, TimestampTz due_before, int64 budget)
{
	int32		first_epoch;
	int32		last_epoch;
	int64		folded = 0;
	int32		batches = 0;
	FullTransactionId since = ReadNextFullTransactionId();
	bool		isnull;
	Datum		last[3] = {Int32GetDatum(PG_INT32_MIN), UInt64GetDatum(0),
	Int64GetDatum(PG_INT64_MIN)};
	Datum		limit[3];

	if (!ledger_try_task(call, LEDGER_BALANCES))
		return 0;
	ledger_own_epochs(call, &first_epoch, &last_epoch);
	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &find_folded, NULL, NULL) > 0)
	{
		Datum		began;

		for (int i = 0; i < lengthof(last); i++)
			last[i] = sql_value(0, i + 1, &isnull);
		began = sql_value(0, 4, &isnull);
		if (!isnull &&
			still_seen(call_open(call, TABLE_LEDGER)->relation,
					   FullTransactionIdFromU64(DatumGetUInt64(began))))
		{
			since = FullTransactionIdFromU64(DatumGetUInt64(began));
			batches = DatumGetInt32(sql_value(0, 5, &isnull));
		}
	}
	if (batches < MAX_BATCHES_KEPT)
	{
		find_last_to_fold(call, due_before, limit);
		(void) sql_run(call, &fold_ledger,
					   SQL_VALUES(TimestampTzGetDatum(due_before),
								  Int64GetDatum(budget),
								  Int32GetDatum(first_epoch),
								  Int32GetDatum(last_epoch),
								  last[0], last[1], last[2],
								  UInt64GetDatum(U64FromFullTransactionId(since)),
								  Int32GetDatum(batches + 1),
								  limit[0], limit[1], limit[2]), NULL);
		folded = DatumGetInt64(sql_value(0, 1, &isnull));
	}
	sql_end(call);
	return folded;
}
