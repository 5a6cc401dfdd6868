/*
 * row_write.c
 *		Rows of the extension's tables: insert, update, delete.
 *
 * A row is made in table->next, column by column, and written with what the
 * executor has for logical replication: it runs constraints, generated columns
 * and row triggers as a statement would.  What is ours to get right:
 *
 * - Who updates or deletes a row has locked it (row.c).  Where a trigger may
 *   have changed it since, it is fetched anew here.
 * - An update names the columns it changes: triggers "UPDATE OF column" and
 *   index insertion ask.
 * - A trigger that suppresses a row does so without a word; we refuse.
 * - Columns that the shop has added get their defaults.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/compat.h"
#include "table/row.h"

/* How much row_append() lets wait. */
#define MAX_ROWS_WAITING 500
#define MAX_BYTES_WAITING 65536

/* Begin one insert, update or delete. */
static Writer *
begin_write(Call *call, OpenTable *table)
{
	Writer	   *writer = call_writer(call, table);

	/* what is not ours may look at what we have not written yet */
	if (!writer->kept)
		row_flush_appends(call);

	writer->estate->es_snapshot = GetActiveSnapshot();
	writer->estate->es_output_cid = GetCurrentCommandId(true);
	writer->in_write = true;
	return writer;
}

/* Have the indexes ready in which a row has to be entered. */
static void
open_indexes(OpenTable *table)
{
	if (!table->writer->kept || table->indexes_open)
		return;
	writer_open_indexes(table->writer);
	table->indexes_open = true;
}

static void
end_write(Writer *writer)
{
	ResetPerTupleExprContext(writer->estate);
	writer->in_write = false;
}

/* The slot in which a new row version is made, emptied. */
static TupleTableSlot *
clear_next(Call *call, OpenTable *table)
{
	(void) call_writer(call, table);
	table->changed = NULL;
	table->is_new = false;
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
	int			known = known_columns(table->id, tupdesc);
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
	int			known = known_columns(table->id,
									  RelationGetDescr(table->relation));

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
	table->is_new = true;
	if (!table->writer->kept &&
		RelationGetNumberOfAttributes(table->relation) >
		known_columns(table->id, RelationGetDescr(table->relation)))
		fill_added_columns(call, table);
}

/* Fetch a row that the caller has locked, or has himself written. */
static void
fetch_locked(OpenTable *table, ItemPointer tid)
{
	ItemPointerData wanted = *tid;

	if (!table_tuple_fetch_row_version(table->relation, &wanted, SnapshotSelf,
									   table->found))
		row_report_modified(table);
}

/*
 * Is the version at "tid" in table->found already?  What is at a place does not
 * change while somebody looks at it; only that it is still the last version has
 * to be made sure of, where the call has let the shop's triggers run.
 */
static bool
has_found(Call *call, OpenTable *table, ItemPointer tid)
{
	return call_writer(call, table)->kept && call->estate == NULL &&
		!TTS_EMPTY(table->found) &&
		ItemPointerEquals(&table->found->tts_tid, tid);
}

/*
 * Begin a new version of a row that the caller has locked.  Then row_set() and
 * row_update().  Raises 27000 if a trigger has changed the row meanwhile.
 */
void
row_begin_update(Call *call, OpenTable *table, ItemPointer tid)
{
	if (!has_found(call, table, tid))
		fetch_locked(table, tid);
	ExecCopySlot(clear_next(call, table), table->found);
}

/* Nobody asks which columns of a new row were set. */
static void
note_change(OpenTable *table, int column)
{
	if (!table->is_new)
		table->changed = bms_add_member(table->changed,
										column - FirstLowInvalidHeapAttributeNumber);
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
	note_change(table, column);
}

/* Set a column of the row being made to a text, or to null for NULL. */
void
row_set_text(OpenTable *table, int column, const char *value)
{
	if (value != NULL)
	{
		row_set(table, column, CStringGetTextDatum(value));
		return;
	}
	table->next->tts_values[column - 1] = (Datum) 0;
	table->next->tts_isnull[column - 1] = true;
	note_change(table, column);
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
	Writer	   *writer = begin_write(call, table);

	open_indexes(table);
	ItemPointerSetInvalid(&table->next->tts_tid);
	ExecSimpleRelationInsert(writer->result_info, writer->estate, table->next);
	check_written(table);
	end_write(writer);
}

/* Write the rows that wait in a table, which has no code but ours. */
static void
flush_table(Call *call, OpenTable *table)
{
	Writer	   *writer = begin_write(call, table);
	int			count = table->waiting_count;
	TupleTableSlot **slots = palloc(count * sizeof(TupleTableSlot *));

	for (int i = 0; i < count; i++)
	{
		slots[i] = i == 0 ? writer->formed
			: MakeSingleTupleTableSlot(writer->formed->tts_tupleDescriptor,
									   &TTSOpsHeapTuple);
		ExecStoreHeapTuple(table->waiting[i], slots[i], true);
	}
	if (count == 1)
		simple_table_tuple_insert(table->relation, slots[0]);
	else
		table_multi_insert(table->relation, slots, count,
						   GetCurrentCommandId(true), 0, NULL);

	open_indexes(table);
	for (int i = 0; i < count; i++)
	{
		compat_insert_index_tuples(writer->result_info, slots[i],
								   writer->estate);
		ResetPerTupleExprContext(writer->estate);
		if (i == 0)
			ExecClearTuple(slots[i]);
		else
			ExecDropSingleTupleTableSlot(slots[i]);
	}
	pfree(slots);
	table->waiting_count = 0;
	table->waiting_bytes = 0;
	end_write(writer);
}

/*
 * Insert the row begun with row_begin_insert(), but not yet: rows wait until
 * there are many, which are cheaper to write together, or until
 * row_flush_appends().  Meanwhile nothing finds them.  A check that refuses
 * the row does so at once, a unique index later.
 */
void
row_append(Call *call, OpenTable *table)
{
	Writer	   *writer = call_writer(call, table);
	MemoryContext old_context;
	HeapTuple	row;

	if (!writer->kept)
	{
		row_insert(call, table);
		return;
	}

	(void) begin_write(call, table);
	if (RelationGetDescr(table->relation)->constr != NULL)
		ExecConstraints(writer->result_info, table->next, writer->estate);
	end_write(writer);

	old_context = MemoryContextSwitchTo(call->context);
	if (table->waiting_count == table->waiting_capacity)
	{
		table->waiting_capacity = Max(4, table->waiting_capacity * 2);
		table->waiting = table->waiting == NULL
			? palloc(table->waiting_capacity * sizeof(HeapTuple))
			: repalloc(table->waiting,
					   table->waiting_capacity * sizeof(HeapTuple));
	}
	row = ExecCopySlotHeapTuple(table->next);
	table->waiting[table->waiting_count++] = row;
	table->waiting_bytes += row->t_len;
	call->rows_waiting = true;
	MemoryContextSwitchTo(old_context);

	if (table->waiting_count == MAX_ROWS_WAITING ||
		table->waiting_bytes >= MAX_BYTES_WAITING)
		flush_table(call, table);
}

/* Write the rows that wait in any table. */
void
row_flush_appends(Call *call)
{
	if (!call->rows_waiting)
		return;
	call->rows_waiting = false;
	for (int i = 0; i < NUM_TABLES; i++)
	{
		if (call->tables[i] != NULL && call->tables[i]->waiting_count > 0)
			flush_table(call, call->tables[i]);
	}
}

/* Has the row being written a new value in a key column of an index? */
static bool
changes_key(const OpenTable *table, const IndexInfo *info)
{
	for (int i = 0; i < info->ii_NumIndexKeyAttrs; i++)
	{
		int			column = info->ii_IndexAttrNumbers[i];

		/* an expression may be of any column */
		if (column == 0 ||
			bms_is_member(column - FirstLowInvalidHeapAttributeNumber,
						  table->changed))
			return true;
	}
	return false;
}

/*
 * Enter a new version of a row into the indexes.
 *
 * ExecInsertIndexTuples() does the same, and in a unique index it compares the
 * new entry with every version of every row that has this key.  An update that
 * leaves the key as it is can violate nothing: the only row that has it is this
 * one, which we have locked.  The comparison costs nothing while there are few
 * versions; beside an old snapshot a hot row has thousands.
 */
static void
insert_index_entries(OpenTable *table)
{
	Writer	   *writer = table->writer;
	ResultRelInfo *info = writer->result_info;
	ExprContext *context = GetPerTupleExprContext(writer->estate);

	context->ecxt_scantuple = table->next;
	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		Relation	index = info->ri_IndexRelationDescs[i];
		IndexInfo  *index_info = info->ri_IndexRelationInfo[i];
		bool		new_key = changes_key(table, index_info);
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		if (!index_info->ii_ReadyForInserts)
			continue;
		if (index_info->ii_Predicate != NIL)
		{
			if (index_info->ii_PredicateState == NULL)
				index_info->ii_PredicateState =
					ExecPrepareQual(index_info->ii_Predicate, writer->estate);
			if (!ExecQual(index_info->ii_PredicateState, context))
				continue;
		}
		FormIndexDatum(index_info, table->next, writer->estate, values, isnull);
		index_insert(index, values, isnull, &table->next->tts_tid,
					 table->relation,
					 index->rd_index->indisunique && new_key
					 ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 !new_key, index_info);
	}
}

/*
 * ExecSimpleRelationUpdate() for a table that has no code but ours: most of its
 * updates concern no index, and so none is opened.
 */
static void
update_kept(OpenTable *table)
{
	Writer	   *writer = table->writer;
	ResultRelInfo *info = writer->result_info;
	bool		update_indexes;

	CheckCmdReplicaIdentity(table->relation, CMD_UPDATE);
	if (RelationGetDescr(table->relation)->constr != NULL)
		ExecConstraints(info, table->next, writer->estate);
	compat_table_tuple_update(table->relation, &table->found->tts_tid,
							  table->next, writer->estate->es_snapshot,
							  &update_indexes);
	if (!update_indexes)
		return;

	open_indexes(table);
	insert_index_entries(table);
}

/*
 * Write the version begun with row_begin_update().  Raises 23514 as an UPDATE
 * would, 27000 if a trigger suppresses it.
 */
void
row_update(Call *call, OpenTable *table)
{
	Writer	   *writer = begin_write(call, table);

	compat_set_updated_columns(writer->estate, writer->range_entry,
							   table->changed);
	if (writer->kept)
		update_kept(table);
	else
	{
		ItemPointerSetInvalid(&table->next->tts_tid);
		ExecSimpleRelationUpdate(writer->result_info, writer->estate,
								 &writer->epq, table->found, table->next);
		check_written(table);
	}
	compat_set_updated_columns(writer->estate, writer->range_entry, NULL);
	end_write(writer);
}

/*
 * Delete a row that the caller has locked, or has himself written.  Raises
 * 27000 if a trigger suppresses it.
 */
void
row_delete(Call *call, OpenTable *table, ItemPointer tid)
{
	ItemPointerData wanted = *tid;
	Writer	   *writer = begin_write(call, table);

	fetch_locked(table, tid);
	ExecSimpleRelationDelete(writer->result_info, writer->estate, &writer->epq,
							 table->found);
	end_write(writer);
	if (table->relation->trigdesc != NULL &&
		table_tuple_fetch_row_version(table->relation, &wanted, SnapshotSelf,
									  table->found))
		report_suppressed(table);
}
