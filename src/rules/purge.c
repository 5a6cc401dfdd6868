/*
 * purge.c
 *		Deleting what is old: keys, closed reservations, ledger entries.
 *
 * Every batch is small, and its cost must not grow with the tables: it walks
 * an index from its oldest end.  What must hold after each batch:
 *
 * - A key outlives its retention, and a reservation the key that made it.
 * - A reservation goes as a whole, when all its lines are cancelled or
 *   expired, and under the lock of its line 1, which is never waited for.
 * - The ledger and the opening balances still add up to the stock: what an
 *   entry has changed is added to the opening balance of its stock row in the
 *   transaction that deletes the entry.
 * - What reads the ledger in its order can tell that entries which it has not
 *   seen are gone.  Entries therefore go in that order, and only such that no
 *   running transaction can write one before them (records/ledger_epoch.c);
 *   inv_progress has the last that went.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "records/ledger.h"
#include "rules/purge.h"
#include "settings.h"
#include "table/sql.h"

/* $1 due before, $2 how many; index inv_idempotency_age */
static SqlStatement delete_keys = {
	.text = "DELETE FROM inv_idempotency WHERE ctid = ANY (ARRAY("
	" SELECT ctid FROM inv_idempotency"
	" WHERE created_at < $1"
	" ORDER BY created_at LIMIT $2"
	" FOR UPDATE SKIP LOCKED))",
	.expected = SPI_OK_DELETE,
	.nargs = 2,
	.argument_types = {TIMESTAMPTZOID, INT8OID}
};

static SqlStatement find_oldest_key = {
	.text = "SELECT min(created_at) FROM inv_idempotency",
	.expected = SPI_OK_SELECT
};

/*
 * $1 due before, $2 how many; index inv_reservation_closed.  Lines and orders
 * are looked up one reservation at a time (OFFSET 0, aggregates), so that no
 * plan reads those tables from end to end.
 */
static SqlStatement delete_reservations = {
	.text = "WITH due AS MATERIALIZED ("
	" SELECT head.reservation_id FROM inv_reservation AS head"
	" WHERE head.status IN ('cancelled', 'expired')"
	"  AND head.closed_at < $1"
	"  AND head.line_no = 1"
	"  AND (SELECT bool_and(line.status IN ('cancelled', 'expired')"
	"                       AND line.closed_at < $1)"
	"         FROM inv_reservation AS line"
	"        WHERE line.reservation_id = head.reservation_id)"
	"  AND (SELECT count(*) FROM inv_order AS sale"
	"        WHERE sale.reservation_id = head.reservation_id) = 0"
	" ORDER BY head.closed_at LIMIT $2"
	" FOR UPDATE OF head SKIP LOCKED)"
	" DELETE FROM inv_reservation WHERE ctid = ANY (ARRAY("
	"  SELECT line.place FROM due CROSS JOIN LATERAL ("
	"   SELECT ctid AS place FROM inv_reservation"
	"   WHERE reservation_id = due.reservation_id OFFSET 0) AS line))",
	.expected = SPI_OK_DELETE,
	.nargs = 2,
	.argument_types = {TIMESTAMPTZOID, INT8OID}
};

/*
 * $1 due before, $2 how many, $3 and $4 this server's own epochs; index
 * inv_ledger_pkey.  Takes the first entries, up to one that is not due.
 */
static SqlStatement fold_ledger = {
	.text = "WITH oldest AS MATERIALIZED ("
	" SELECT ctid AS place, at, epoch, xid, entry_id FROM inv_ledger"
	" WHERE ROW(epoch, xid)"
	"   < ROW($4, pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))"
	"  AND (epoch < $3 OR"
	"   xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))"
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
	"  (task, epoch, xid, entry_id, updated_at)"
	" SELECT 'purge', epoch, xid, entry_id, pg_catalog.clock_timestamp()"
	" FROM due ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 1"
	" ON CONFLICT (task) DO UPDATE"
	" SET epoch = excluded.epoch, xid = excluded.xid,"
	"  entry_id = excluded.entry_id, updated_at = excluded.updated_at"
	") SELECT count(*) FROM deleted",
	.expected = SPI_OK_SELECT,
	.nargs = 4,
	.argument_types = {TIMESTAMPTZOID, INT8OID, INT4OID, INT4OID}
};

/* The moment before which a key is past its retention. */
static TimestampTz
keys_due_before(void)
{
	return GetCurrentTimestamp() -
		(int64) setting_idempotency_retention * USECS_PER_SEC;
}

/* Delete at most "budget" keys; returns how many. */
int64
purge_keys(Call *call, int64 budget)
{
	Datum		values[] = {TimestampTzGetDatum(keys_due_before()),
	Int64GetDatum(budget)};

	int64		deleted;

	sql_begin(call);
	sql_plan_by_index(call);
	deleted = (int64) sql_run(call, &delete_keys, values, NULL);
	sql_end(call);
	return deleted;
}

/*
 * Delete at most "budget" reservations that were closed before "due_before",
 * and returns the number of lines.  What a key that is not due may ask for
 * stays, and the caller has deleted the keys that are due.  Should one be left
 * (its row is busy), whatever was closed since it was made stays as well.
 */
int64
purge_reservations(Call *call, TimestampTz due_before, int64 budget)
{
	Datum		values[2];
	Datum		oldest_key;
	bool		no_key;
	int64		deleted;

	sql_begin(call);
	sql_plan_by_index(call);
	due_before = Min(due_before, keys_due_before());
	(void) sql_run(call, &find_oldest_key, NULL, NULL);
	oldest_key = sql_value(0, 1, &no_key);
	if (!no_key)
		due_before = Min(due_before, DatumGetTimestampTz(oldest_key));

	values[0] = TimestampTzGetDatum(due_before);
	values[1] = Int64GetDatum(budget);
	deleted = (int64) sql_run(call, &delete_reservations, values, NULL);
	sql_end(call);
	return deleted;
}

/*
 * Put at most "budget" ledger entries that were made before "due_before" into
 * opening balances, and return how many.  Two batches at a time would want the
 * same entries, so while somebody else is at it, nothing is due.  The lock is on
 * no table: vacuum may run meanwhile.
 */
int64
purge_ledger(Call *call, TimestampTz due_before, int64 budget)
{
	OpenTable  *table = call_open(call, TABLE_LEDGER);
	LOCKTAG		tag;
	int32		first_epoch;
	int32		last_epoch;
	int64		folded;
	bool		isnull;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   RelationGetRelid(table->relation), 0);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return 0;
	ledger_own_epochs(call, &first_epoch, &last_epoch);
	sql_begin(call);
	sql_plan_by_index(call);
	(void) sql_run(call, &fold_ledger,
				   (Datum[]){TimestampTzGetDatum(due_before),
							 Int64GetDatum(budget), Int32GetDatum(first_epoch),
							 Int32GetDatum(last_epoch)}, NULL);
	folded = DatumGetInt64(sql_value(0, 1, &isnull));
	sql_end(call);
	return folded;
}
