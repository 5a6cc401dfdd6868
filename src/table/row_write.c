/*
 * row_write.c
 *		Rows of the extension's tables: insert, update, delete.
 *
 * A row is made in table->next, column by column, and written with what the
 * executor has for logical replication: it runs constraints, generated columns
 * and row triggers as a statement would.  What is ours to get right:
 *
 * - Who updates or deletes a row has locked it (row.c), and it is fetched anew
 *   here: a trigger may have changed it since.
 * - An update names the columns it changes: triggers "UPDATE OF column" and
 *   index insertion ask.
 * - A trigger that suppresses a row does so without a word; we refuse.
 * - Columns that the shop has added get their defaults.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/compat.h"
#include "table/row.h"

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
		row_report_modified(table);
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
