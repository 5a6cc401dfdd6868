/*
 * row.c
 *		Rows of the extension's tables: find, lock, read.
 *
 * This file and row_write.c are the only ones that touch the table access
 * method.  What reading and locking must get right:
 *
 * - Whoever means to change a row locks it first, with row_lock(), and reads
 *   it again from what that returns: the caller may have waited, and the row
 *   he found may have been changed since.
 * - READ COMMITTED follows a row to its latest version.  A transaction with
 *   one snapshot for its whole life must not: it gets 40001, as it would from
 *   an UPDATE of its own.
 * - Who looks for a row that he would otherwise insert must see what others
 *   have written and not committed yet: row_find_committed().
 * - Locks are NO KEY UPDATE locks.  No key column is ever changed by us, so
 *   foreign keys that the shop has pointed at our tables do not block.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/compat.h"
#include "statistics/statistics.h"
#include "table/row.h"

/*
 * A fetch or a lock that fails may leave in the slot what it looked at last,
 * under the place of what was there before.  Nobody must take that for a row.
 */
static bool
found_or_empty(OpenTable *table, bool found)
{
	if (!found)
		ExecClearTuple(table->found);
	return found;
}

/* How many invisible versions a search backward passes over without ado. */
#define MAX_MISSES 8

/* An index of a table, opened once in a call. */
static Relation
open_index(Call *call, OpenTable *table, IndexId index)
{
	if (table->indexes[index] == NULL)
		table->indexes[index] = catalog_open_index(index, AccessShareLock);
	return table->indexes[index];
}

/*
 * Find the last row in an index range that a snapshot sees.  A dirty one also
 * sees versions that others have not committed yet: these are passed over.
 */
static bool
find_last(Call *call, OpenTable *table, IndexId index, ScanKeyData *keys,
		  int nkeys, Snapshot snapshot)
{
	IndexScanDesc scan;
	int			misses = 0;
	bool		found = false;

	scan = compat_index_beginscan(table->relation,
								  open_index(call, table, index),
								  snapshot, nkeys);
	index_rescan(scan, keys, nkeys, NULL, 0);
	while (!found && index_getnext_tid(scan, BackwardScanDirection) != NULL)
	{
		found = index_fetch_heap(scan, table->found) &&
			!(snapshot->snapshot_type == SNAPSHOT_DIRTY &&
			  TransactionIdIsValid(snapshot->xmin));
		if (!found)
			misses++;
	}
	index_endscan(scan);
	table->tangled = misses > MAX_MISSES;
	return found_or_empty(table, found);
}

/*
 * Find the last row in an index range that the call's snapshot sees.  It is
 * left in table->found, whose tts_tid is what row_lock() wants.  Returns false
 * if there is none.
 *
 * The scan goes backward, for it to meet the newest version of a row first:
 * index entries of one key are in the order of their places, and new versions
 * mostly go to later pages.  While some old snapshot keeps all versions of a
 * row that is updated thousands of times a second, a forward scan would walk
 * them all.  table->tangled says that this one has had to walk over many too.
 */
bool
row_find(Call *call, OpenTable *table, IndexId index, ScanKeyData *keys,
		 int nkeys)
{
	return find_last(call, table, index, keys, nkeys, GetActiveSnapshot());
}

/*
 * As above, but as of this instant: the last version that is committed or ours,
 * be it about to change or not.  Only for who then locks it by that version,
 * or for a hint.  Where hundreds wait for a row the snapshot of each names them
 * all, and is asked about each version; this asks what is marked on them.
 *
 * It may miss a row that is being updated at the moment, as the scan passes
 * first where the new version will be, and then the old one: when false is
 * returned, row_find() with a new snapshot has the last word.
 */
bool
row_find_latest(Call *call, OpenTable *table, IndexId index,
				ScanKeyData *keys, int nkeys)
{
	SnapshotData dirty;

	if (IsolationUsesXactSnapshot())
		return row_find(call, table, index, keys, nkeys);
	InitDirtySnapshot(dirty);
	return find_last(call, table, index, keys, nkeys, &dirty);
}

/*
 * Fetch what is at a place into table->found; false if that is nothing which
 * the call's snapshot sees.
 */
bool
row_fetch(OpenTable *table, ItemPointer tid)
{
	return found_or_empty(table,
						  table_tuple_fetch_row_version(table->relation, tid,
														GetActiveSnapshot(),
														table->found));
}

/*
 * Find the version of a row that the call's snapshot sees, beginning at an
 * earlier version that was once seen at "tid".  It is left in table->found.
 * Returns false if that leads nowhere; else it may also lead to another row
 * that has taken the place, so the caller looks at its key.
 */
bool
row_find_from(OpenTable *table, ItemPointer tid)
{
	ItemPointerData latest = *tid;
	TableScanDesc scan;

	if (ItemPointerGetBlockNumber(tid) >=
		RelationGetNumberOfBlocks(table->relation))
		return false;
	scan = table_beginscan_tid(table->relation, GetActiveSnapshot());
	table_tuple_get_latest_tid(scan, &latest);
	table_endscan(scan);
	return row_fetch(table, &latest);
}

/* Begin a walk in either direction. */
static void
begin_walk(RowWalk *walk, Call *call, OpenTable *table, IndexId index,
		   ScanKeyData *keys, int nkeys, ScanDirection direction)
{
	walk->direction = direction;
	walk->tangled = false;
	walk->slot = table_slot_create(table->relation, NULL);
	walk->scan = compat_index_beginscan(table->relation,
										open_index(call, table, index),
										GetActiveSnapshot(), nkeys);
	index_rescan(walk->scan, keys, nkeys, NULL, 0);
}

/*
 * Begin a walk over the rows in an index range that the call's snapshot sees,
 * in index order.  End it with row_walk_end().
 */
void
row_walk_begin(RowWalk *walk, Call *call, OpenTable *table, IndexId index,
			   ScanKeyData *keys, int nkeys)
{
	begin_walk(walk, call, table, index, keys, nkeys, ForwardScanDirection);
}

/*
 * As above, in reverse.  Such a walk stops where it meets too many versions
 * that nobody needs but some old snapshot: then walk->tangled is true, and
 * there may be more rows.  Going backward, the newest version of a row mostly
 * comes before those.
 */
void
row_walk_back(RowWalk *walk, Call *call, OpenTable *table, IndexId index,
			  ScanKeyData *keys, int nkeys)
{
	begin_walk(walk, call, table, index, keys, nkeys, BackwardScanDirection);
}

/* The next row of a walk is in walk->slot; false after the last. */
bool
row_walk_next(RowWalk *walk)
{
	int			misses = 0;

	CHECK_FOR_INTERRUPTS();
	while (index_getnext_tid(walk->scan, walk->direction) != NULL)
	{
		if (index_fetch_heap(walk->scan, walk->slot))
			return true;
		if (ScanDirectionIsBackward(walk->direction) && ++misses > MAX_MISSES)
		{
			walk->tangled = true;
			return false;
		}
	}
	return false;
}

void
row_walk_end(RowWalk *walk)
{
	index_endscan(walk->scan);
	ExecDropSingleTupleTableSlot(walk->slot);
}

/*
 * Find a row as of this instant, whatever the call's snapshot sees: one that
 * is committed or of this transaction.  Where another transaction is inserting
 * or deleting such a row, *in_progress is its id, to be waited for before the
 * question can be answered; else it is invalid.
 */
bool
row_find_committed(Call *call, OpenTable *table, IndexId index,
				   ScanKeyData *keys, int nkeys, TransactionId *in_progress)
{
	SnapshotData dirty;
	IndexScanDesc scan;
	bool		found = false;

	InitDirtySnapshot(dirty);
	*in_progress = InvalidTransactionId;

	scan = compat_index_beginscan(table->relation,
								  open_index(call, table, index),
								  &dirty, nkeys);
	index_rescan(scan, keys, nkeys, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, table->found))
	{
		if (TransactionIdIsValid(dirty.xmin))
			*in_progress = dirty.xmin;
		else if (TransactionIdIsValid(dirty.xmax))
			*in_progress = dirty.xmax;
		else
			found = true;
	}
	index_endscan(scan);
	return found_or_empty(table, found);
}

/*
 * Has this transaction written or locked the version of a row that was found?
 * Then it need not wait for the row.
 */
bool
row_is_ours(TupleTableSlot *slot)
{
	BufferHeapTupleTableSlot *stored = (BufferHeapTupleTableSlot *) slot;
	HeapTupleHeader header;
	uint16		infomask;
	TransactionId xmin;
	TransactionId xmax;
	MultiXactMember *members;
	int			count;
	bool		ours = false;

	if (!TTS_IS_BUFFERTUPLE(slot))
		return false;

	/* others change xmax and its meaning together, under the buffer's lock */
	LockBuffer(stored->buffer, BUFFER_LOCK_SHARE);
	header = stored->base.tuple->t_data;
	infomask = header->t_infomask;
	xmin = HeapTupleHeaderGetXmin(header);
	xmax = HeapTupleHeaderGetRawXmax(header);
	LockBuffer(stored->buffer, BUFFER_LOCK_UNLOCK);

	if (TransactionIdIsCurrentTransactionId(xmin))
		return true;
	if (infomask & HEAP_XMAX_INVALID)
		return false;
	if (!(infomask & HEAP_XMAX_IS_MULTI))
		return TransactionIdIsCurrentTransactionId(xmax);

	/* somebody's foreign key shares the row */
	count = GetMultiXactIdMembers(xmax, &members, false,
								  HEAP_XMAX_IS_LOCKED_ONLY(infomask));
	for (int i = 0; i < count && !ours; i++)
		ours = members[i].status > MultiXactStatusForShare &&
			TransactionIdIsCurrentTransactionId(members[i].xid);
	if (count > 0)
		pfree(members);
	return ours;
}

/*
 * A trigger has changed a row behind our back, by an UPDATE or by calling us
 * again, while we were about to change it.
 */
void
row_report_modified(OpenTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row of table \"%s\" was already modified by a trigger of this call",
					RelationGetRelationName(table->relation)),
			 errhint("Change other rows in an AFTER trigger.")));
}

/* 40001: the row as it is now is not the caller's snapshot's to see. */
void
row_report_conflict(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update")));
}

/* Try to lock a version of a row, or the last one. */
static TM_Result
try_lock(OpenTable *table, const ItemPointerData *tid, LockWaitPolicy policy,
		 bool last)
{
	/* table_tuple_lock() clears the slot, which may hold the caller's tid */
	ItemPointerData wanted = *tid;
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(table->relation, &wanted, GetActiveSnapshot(),
							  table->found, GetCurrentCommandId(false),
							  LockTupleNoKeyExclusive, policy,
							  last && !IsolationUsesXactSnapshot()
							  ? TUPLE_LOCK_FLAG_FIND_LAST_VERSION : 0,
							  &failure);
	(void) found_or_empty(table, result == TM_Ok);
	return result;
}

/* The same, waiting for somebody else; the time of the wait is counted. */
static TM_Result
wait_and_lock(OpenTable *table, const ItemPointerData *tid, bool last)
{
	volatile TM_Result result;
	int64		began = statistics_wait_begins();

	PG_TRY();
	{
		result = try_lock(table, tid, LockWaitBlock, last);
	}
	PG_FINALLY();
	{
		statistics_wait_ended(began);
	}
	PG_END_TRY();
	return result;
}

/* Lock a version of a row, or the last one; see below. */
static RowLock
lock_version(OpenTable *table, ItemPointer tid, RowWait wait, bool last)
{
	ItemPointerData wanted = *tid;
	TM_Result	result = try_lock(table, &wanted, LockWaitSkip, last);

	if (result == TM_WouldBlock && wait == ROW_WAIT)
		result = wait_and_lock(table, &wanted, last);
	switch (result)
	{
		case TM_Ok:
			*tid = table->found->tts_tid;
			return ROW_LOCKED;

		case TM_WouldBlock:
			return ROW_BUSY;

		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				row_report_conflict();
			return result == TM_Deleted ? ROW_GONE : ROW_CHANGED;

		case TM_SelfModified:
		case TM_Invisible:
			row_report_modified(table);

		default:
			elog(ERROR, "unexpected result %d from table_tuple_lock", result);
	}
	return ROW_GONE;			/* not reached */
}

/*
 * Lock a row against change until the transaction ends.  On ROW_LOCKED the
 * row as it is now is in table->found, and *tid is where it is.  Raises 40001
 * if the transaction may not see the row as it is now.
 */
RowLock
row_lock(Call *call, OpenTable *table, ItemPointer tid, RowWait wait)
{
	return lock_version(table, tid, wait, true);
}

/*
 * As above, but only if the row is still what the caller read at *tid.  On
 * ROW_CHANGED he has no lock, and decides anew what he wants.
 */
RowLock
row_lock_version(Call *call, OpenTable *table, ItemPointer tid, RowWait wait)
{
	return lock_version(table, tid, wait, false);
}

/* A column of a row. */
Datum
row_get(TupleTableSlot *slot, int column, bool *isnull)
{
	return slot_getattr(slot, column, isnull);
}

/* A column that is never null. */
static Datum
get_not_null(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("unexpected null in column %d of a table of extension \"%s\"",
						column, EXTENSION_NAME)));
	return value;
}

int64
row_get_int64(TupleTableSlot *slot, int column)
{
	return DatumGetInt64(get_not_null(slot, column));
}

int32
row_get_int32(TupleTableSlot *slot, int column)
{
	return DatumGetInt32(get_not_null(slot, column));
}

bool
row_get_bool(TupleTableSlot *slot, int column)
{
	return DatumGetBool(get_not_null(slot, column));
}

/* A text column, copied; NULL if it is null. */
char *
row_get_text(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}
