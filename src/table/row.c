/*
 * row.c
 *		Rows of the extension's tables: find, lock, insert, update, delete.
 *
 * This is the only room that touches the table access method.  What it must
 * get right:
 *
 * - Whoever means to change a row locks it first, with row_lock(), and reads
 *   it again from what that returns: the caller may have waited, and the row
 *   he found may have been changed since.
 * - READ COMMITTED follows a row to its latest version.  A transaction with
 *   one snapshot for its whole life must not: it gets 40001, as it would from
 *   an UPDATE of its own.
 * - A lookup by a stored key of an idempotency key must see what others have
 *   written and not committed yet: row_find_committed().
 * - Locks are NO KEY UPDATE locks.  No key column is ever changed by us, so
 *   foreign keys that the shop has pointed at our tables do not block.
 * - Updates name the columns they change: triggers "UPDATE OF column" and
 *   index insertion ask.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/compat.h"
#include "table/row.h"

/* An index of a table, opened once in a call. */
static Relation
open_index(Call *call, OpenTable *table, IndexId index)
{
	if (table->indexes[index] == NULL)
		table->indexes[index] = catalog_open_index(index, AccessShareLock);
	return table->indexes[index];
}

/*
 * Find a row that the call's snapshot sees.  It is left in table->found,
 * whose tts_tid is what row_lock() wants.  Returns false if there is none.
 */
bool
row_find(Call *call, OpenTable *table, IndexId index, ScanKeyData *keys,
		 int nkeys)
{
	IndexScanDesc scan;
	bool		found;

	scan = compat_index_beginscan(table->relation,
								  open_index(call, table, index),
								  GetActiveSnapshot(), nkeys);
	index_rescan(scan, keys, nkeys, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, table->found);
	index_endscan(scan);
	return found;
}

/*
 * Begin a walk over the rows in an index range that the call's snapshot sees,
 * in index order.  End it with row_walk_end().
 */
void
row_walk_begin(RowWalk *walk, Call *call, OpenTable *table, IndexId index,
			   ScanKeyData *keys, int nkeys)
{
	walk->slot = table_slot_create(table->relation, NULL);
	walk->scan = compat_index_beginscan(table->relation,
										open_index(call, table, index),
										GetActiveSnapshot(), nkeys);
	index_rescan(walk->scan, keys, nkeys, NULL, 0);
}

/* The next row of a walk is in walk->slot; false after the last. */
bool
row_walk_next(RowWalk *walk)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(walk->scan, ForwardScanDirection, walk->slot);
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
	while (index_getnext_slot(scan, ForwardScanDirection, table->found))
	{
		if (TransactionIdIsValid(dirty.xmin))
			*in_progress = dirty.xmin;
		else if (TransactionIdIsValid(dirty.xmax))
			*in_progress = dirty.xmax;
		else
			found = true;
		break;
	}
	index_endscan(scan);
	return found;
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
static void
report_modified(OpenTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("row of table \"%s\" was already modified by a trigger of this call",
					RelationGetRelationName(table->relation)),
			 errhint("Change other rows in an AFTER trigger.")));
}

/*
 * Lock a row against change until the transaction ends.  On ROW_LOCKED the
 * row as it is now is in table->found, and *tid is where it is.  Raises 40001
 * if the transaction may not see the row as it is now.
 */
RowLock
row_lock(Call *call, OpenTable *table, ItemPointer tid, RowWait wait)
{
	/* table_tuple_lock() clears the slot, which may hold the caller's tid */
	ItemPointerData wanted = *tid;
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(table->relation, &wanted, GetActiveSnapshot(),
							  table->found, GetCurrentCommandId(false),
							  LockTupleNoKeyExclusive,
							  wait == ROW_WAIT ? LockWaitBlock : LockWaitSkip,
							  IsolationUsesXactSnapshot() ? 0
							  : TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							  &failure);
	switch (result)
	{
		case TM_Ok:
			*tid = table->found->tts_tid;
			return ROW_LOCKED;

		case TM_WouldBlock:
			return ROW_BUSY;

		case TM_Deleted:
			if (!IsolationUsesXactSnapshot())
				return ROW_GONE;
			/* FALLTHROUGH */
		case TM_Updated:
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
			break;

		case TM_SelfModified:
		case TM_Invisible:
			report_modified(table);
			break;

		default:
			elog(ERROR, "unexpected result %d from table_tuple_lock", result);
	}
	return ROW_GONE;			/* not reached */
}

/* Executor state for one insert, update or delete. */
static void
prepare_write(Call *call, OpenTable *table)
{
	Assert(call->kind == CALL_WRITES);
	call->estate->es_snapshot = GetActiveSnapshot();
	call->estate->es_output_cid = GetCurrentCommandId(true);
	if (!table->indexes_open)
	{
		MemoryContext old_context = MemoryContextSwitchTo(call->estate->es_query_cxt);

		ExecOpenIndices(table->result_info, false);
		table->indexes_open = true;
		MemoryContextSwitchTo(old_context);
	}
}

/* The slot in which a new row version is made, emptied. */
static TupleTableSlot *
clear_next(Call *call, OpenTable *table)
{
	if (table->next == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(call->context);

		table->next = MakeSingleTupleTableSlot(RelationGetDescr(table->relation),
											   &TTSOpsVirtual);
		MemoryContextSwitchTo(old_context);
	}
	table->changed = NULL;
	return ExecClearTuple(table->next);
}

/*
 * Prepare the defaults of the columns that the shop has added to a table, for
 * the rest of the call; NULL for a column that has none.
 */
static void
prepare_added_columns(Call *call, OpenTable *table)
{
	TupleDesc	tupdesc = RelationGetDescr(table->relation);
	int			known = catalog_known_columns(table->id);
	MemoryContext old_context = MemoryContextSwitchTo(call->estate->es_query_cxt);

	table->added_defaults = palloc0((tupdesc->natts - known) *
									sizeof(ExprState *));
	for (int i = known; i < tupdesc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(tupdesc, i);
		Node	   *expression;

		if (column->attisdropped || column->attgenerated != '\0')
			continue;
		expression = build_column_default(table->relation, i + 1);
		if (expression != NULL)
			table->added_defaults[i - known] =
				ExecPrepareExpr((Expr *) expression, call->estate);
	}
	MemoryContextSwitchTo(old_context);
}

/* Give the columns that the shop has added to a table their defaults. */
static void
fill_added_columns(Call *call, OpenTable *table)
{
	int			known = catalog_known_columns(table->id);

	if (table->added_defaults == NULL)
		prepare_added_columns(call, table);
	for (int i = known; i < RelationGetNumberOfAttributes(table->relation); i++)
	{
		ExprState  *expression = table->added_defaults[i - known];

		if (expression != NULL)
			table->next->tts_values[i] =
				ExecEvalExpr(expression, GetPerTupleExprContext(call->estate),
							 &table->next->tts_isnull[i]);
	}
}

/*
 * Begin a new row, all of it null but for what is not ours.  Then row_set() and
 * row_insert().
 */
void
row_begin_insert(Call *call, OpenTable *table)
{
	ExecStoreAllNullTuple(clear_next(call, table));
	if (RelationGetNumberOfAttributes(table->relation) >
		catalog_known_columns(table->id))
		fill_added_columns(call, table);
}

/* Fetch a row that the caller has locked, or has himself written. */
static void
fetch_locked(OpenTable *table, ItemPointer tid)
{
	ItemPointerData wanted = *tid;

	if (!table_tuple_fetch_row_version(table->relation, &wanted, SnapshotSelf,
									   table->found))
		report_modified(table);
}

/*
 * Begin a new version of a row that the caller has locked.  Then row_set() and
 * row_update().  Raises 27000 if a trigger has changed the row meanwhile.
 */
void
row_begin_update(Call *call, OpenTable *table, ItemPointer tid)
{
	fetch_locked(table, tid);
	ExecCopySlot(clear_next(call, table), table->found);
}

/*
 * Set a column of the row being made.  A counter that stays as it is does not
 * count as changed.
 */
void
row_set(OpenTable *table, int column, Datum value)
{
	if (TupleDescAttr(table->next->tts_tupleDescriptor, column - 1)->attbyval &&
		!table->next->tts_isnull[column - 1] &&
		table->next->tts_values[column - 1] == value)
		return;
	table->next->tts_values[column - 1] = value;
	table->next->tts_isnull[column - 1] = false;
	table->changed = bms_add_member(table->changed,
									column - FirstLowInvalidHeapAttributeNumber);
}

/* Set a column of the row being made to a text, or to null for NULL. */
void
row_set_text(OpenTable *table, int column, const char *value)
{
	if (value == NULL)
		row_set_null(table, column);
	else
		row_set(table, column, CStringGetTextDatum(value));
}

/* Set a column of the row being made to null. */
void
row_set_null(OpenTable *table, int column)
{
	table->next->tts_values[column - 1] = (Datum) 0;
	table->next->tts_isnull[column - 1] = true;
	table->changed = bms_add_member(table->changed,
									column - FirstLowInvalidHeapAttributeNumber);
}

/*
 * A BEFORE trigger that returns NULL makes PostgreSQL skip the row without a
 * word.  The rest of the call's work would then not fit: refuse.
 */
static void
report_suppressed(OpenTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a trigger on table \"%s\" suppressed a row",
					RelationGetRelationName(table->relation)),
			 errhint("A trigger on a table of extension \"%s\" may raise an error, but not return NULL.",
					 EXTENSION_NAME)));
}

/* A row that was written has a place. */
static void
check_written(OpenTable *table)
{
	if (!ItemPointerIsValid(&table->next->tts_tid))
		report_suppressed(table);
}

/*
 * Insert the row begun with row_begin_insert().  Raises 23505 and 23514 as an
 * INSERT would, 27000 if a trigger suppresses the row.
 */
void
row_insert(Call *call, OpenTable *table)
{
	prepare_write(call, table);
	ItemPointerSetInvalid(&table->next->tts_tid);
	ExecSimpleRelationInsert(table->result_info, call->estate, table->next);
	check_written(table);
	ResetPerTupleExprContext(call->estate);
}

/*
 * Write the version begun with row_begin_update().  Raises 23514 as an UPDATE
 * would, 27000 if a trigger suppresses it.
 */
void
row_update(Call *call, OpenTable *table)
{
	prepare_write(call, table);
	compat_set_updated_columns(call->estate, table->range_entry, table->changed);
	ItemPointerSetInvalid(&table->next->tts_tid);
	ExecSimpleRelationUpdate(table->result_info, call->estate, &call->epq,
							 table->found, table->next);
	check_written(table);
	compat_set_updated_columns(call->estate, table->range_entry, NULL);
	ResetPerTupleExprContext(call->estate);
}

/*
 * Delete a row that the caller has locked, or has himself written.  Raises
 * 27000 if a trigger suppresses it.
 */
void
row_delete(Call *call, OpenTable *table, ItemPointer tid)
{
	ItemPointerData wanted = *tid;

	prepare_write(call, table);
	fetch_locked(table, tid);
	ExecSimpleRelationDelete(table->result_info, call->estate, &call->epq,
							 table->found);
	ResetPerTupleExprContext(call->estate);
	if (table->relation->trigdesc != NULL &&
		table_tuple_fetch_row_version(table->relation, &wanted, SnapshotSelf,
									  table->found))
		report_suppressed(table);
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
