/*
 * ledger_place.c
 *		Places in the ledger: as text, in order, and how far a task has come.
 *
 * What is written into inv_progress counts from the task's commit on.  A task
 * must not be at it in two transactions at a time, or the later one would set
 * the place back.
 */
#include "postgres.h"

#include <ctype.h>
#include <errno.h>

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "records/ledger.h"
#include "table/sql.h"

const LedgerPlace ledger_beginning = {0, 0, 0};

static SqlStatement read_progress = {
	.text = "SELECT epoch, xid, entry_id, detail FROM inv_progress"
	" WHERE task = $1",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {TEXTOID}
};

static SqlStatement write_progress = {
	.text = "INSERT INTO inv_progress"
	" (task, epoch, xid, entry_id, detail, updated_at)"
	" VALUES ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp())"
	" ON CONFLICT (task) DO UPDATE"
	" SET epoch = excluded.epoch, xid = excluded.xid,"
	"  entry_id = excluded.entry_id, detail = excluded.detail,"
	"  updated_at = excluded.updated_at",
	.expected = SPI_OK_INSERT,
	.nargs = 5,
	.argument_types = {TEXTOID, INT4OID, XID8OID, INT8OID, JSONBOID}
};

/* The lock of a task, which is on no table: vacuum may run meanwhile. */
static LockAcquireResult
lock_task(Call *call, LedgerTask task, bool dont_wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   RelationGetRelid(call_open(call, TABLE_LEDGER)->relation),
					   task);
	return LockAcquire(&tag, ExclusiveLock, false, dont_wait);
}

/* Take a task until the transaction ends; false if somebody else is at it. */
bool
ledger_try_task(Call *call, LedgerTask task)
{
	return lock_task(call, task, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* The same, waiting for him. */
void
ledger_wait_for_task(Call *call, LedgerTask task)
{
	(void) lock_task(call, task, false);
}

/* The order of the ledger. */
int
ledger_place_compare(const LedgerPlace *left, const LedgerPlace *right)
{
	if (left->epoch != right->epoch)
		return left->epoch < right->epoch ? -1 : 1;
	if (left->xid != right->xid)
		return left->xid < right->xid ? -1 : 1;
	if (left->entry_id != right->entry_id)
		return left->entry_id < right->entry_id ? -1 : 1;
	return 0;
}

/* Read digits up to "end", which follows them, as a number up to "limit". */
static bool
parse_number(const char **text, char end, uint64 limit, uint64 *number)
{
	char	   *after;

	if (!isdigit((unsigned char) **text))
		return false;
	errno = 0;
	*number = strtou64(*text, &after, 10);
	if (errno != 0 || *number > limit || *after != end)
		return false;
	*text = after + 1;
	return true;
}

/* Read a place as ledger_place_text() writes it; false if it is none. */
bool
ledger_place_parse(const char *text, LedgerPlace *place)
{
	uint64		epoch;
	uint64		entry_id;

	if (!parse_number(&text, '/', PG_INT32_MAX, &epoch) ||
		!parse_number(&text, '/', PG_UINT64_MAX, &place->xid) ||
		!parse_number(&text, '\0', PG_INT64_MAX, &entry_id))
		return false;
	place->epoch = (int32) epoch;
	place->entry_id = (int64) entry_id;
	return true;
}

/* 'epoch/xid/entry_id' */
char *
ledger_place_text(const LedgerPlace *place)
{
	return psprintf("%d/" UINT64_FORMAT "/" INT64_FORMAT, place->epoch,
					place->xid, place->entry_id);
}

/*
 * How far a task has come, and what else it has noted (a jsonb that lives until
 * sql_end(), or 0); false if it has noted nothing yet.  Within sql_begin().
 */
bool
ledger_progress(Call *call, const char *task, LedgerPlace *place,
				Datum *detail)
{
	Datum		name = CStringGetTextDatum(task);
	bool		isnull;

	*place = ledger_beginning;
	if (sql_run(call, &read_progress, &name, NULL) == 0)
		return false;
	place->epoch = DatumGetInt32(sql_value(0, 1, &isnull));
	if (isnull)
		return false;
	place->xid = DatumGetUInt64(sql_value(0, 2, &isnull));
	place->entry_id = DatumGetInt64(sql_value(0, 3, &isnull));
	if (detail != NULL)
	{
		*detail = sql_value(0, 4, &isnull);
		if (isnull)
			*detail = (Datum) 0;
	}
	return true;
}

/* Note how far a task has come.  Within sql_begin(). */
void
ledger_set_progress(Call *call, const char *task, const LedgerPlace *place,
					Datum detail)
{
	Datum		values[] = {
		CStringGetTextDatum(task), Int32GetDatum(place->epoch),
		UInt64GetDatum(place->xid), Int64GetDatum(place->entry_id), detail
	};

	(void) sql_run(call, &write_progress, values,
				   detail == (Datum) 0 ? "    n" : NULL);
}
