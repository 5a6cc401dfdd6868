/*
 * call.c
 *		One call of one of our functions.
 *
 * Between call_begin() and call_end()
 *
 * - the current user is the owner of the extension's tables, security
 *   restricted: EXECUTE on a function is the privilege, and what a trigger or
 *   an index of the shop's runs, it runs as the owner of the table, as it
 *   would for anybody who may not do more;
 * - if any table it writes to has such a trigger or index, search_path is
 *   pinned, lest the caller decide what an unqualified name in it means;
 * - the active snapshot is one taken at the start of the call, so that it
 *   sees what earlier calls of the same statement did;
 * - AFTER triggers are queued, and fired by call_end().
 *
 * Nothing has to be undone on error: aborting the transaction or savepoint
 * gives back the user, the settings, the snapshot, the trigger queue and the
 * relations.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/catalog.h"
#include "table/row.h"

/*
 * Begin a call.  "name" is for error messages, as in "inv_reserve()"; "kind"
 * says whether it may write.  One that may raises 25006 at once on a standby
 * and in a read-only transaction, and 25000 in a parallel operation.  Raises
 * 55000 if the extension is not installed.
 */
Call *
call_begin(const char *name, CallKind kind)
{
	static uint64 calls_begun = 0;
	MemoryContext context;
	MemoryContext old_context;
	Call	   *call;

	if (kind == CALL_WRITES)
	{
		PreventCommandDuringRecovery(name);
		PreventCommandIfReadOnly(name);
		PreventCommandIfParallelMode(name);
	}

	context = AllocSetContextCreate(CurrentMemoryContext, "inventory call",
									ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(context);
	call = palloc0(sizeof(Call));
	call->name = name;
	call->kind = kind;
	call->context = context;
	call->caller_context = old_context;
	call->guc_level = -1;
	call->serial = ++calls_begun;
	call->wrote_before = TransactionIdIsValid(GetTopTransactionIdIfAny());
	MemoryContextSwitchTo(old_context);

	call->caller = GetUserId();
	GetUserIdAndSecContext(&call->saved_user, &call->saved_security);
	SetUserIdAndSecContext(call_open(call, TABLE_STOCK)->relation->rd_rel->relowner,
						   call->saved_security | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);

	if (kind == CALL_WRITES)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	else if (!ActiveSnapshotSet())
		PushActiveSnapshot(GetTransactionSnapshot());
	else
		PushActiveSnapshot(GetActiveSnapshot());

	MemoryContextSwitchTo(context);
	return call;
}

/*
 * End a call: fire AFTER triggers, close everything, become the caller again.
 * Leaves the caller's memory context current, and frees whatever the call
 * allocated.
 */
void
call_end(Call *call)
{
	row_flush_appends(call);
	if (call->estate != NULL)
		AfterTriggerEndQuery(call->estate);

	for (int i = 0; i < NUM_TABLES; i++)
	{
		OpenTable  *table = call->tables[i];

		if (table == NULL)
			continue;
		for (int j = 0; j < NUM_INDEXES; j++)
		{
			if (table->indexes[j] != NULL)
				index_close(table->indexes[j], NoLock);
		}
		ExecDropSingleTupleTableSlot(table->found);
		if (table->indexes_open)
			writer_close_indexes(table->writer);
		if (table->writer != NULL && !table->writer->kept)
			writer_close(table->writer);
		table_close(table->relation, NoLock);
	}
	if (call->estate != NULL)
	{
		/* slots of triggers, and tables that triggers' foreign keys opened */
		ExecResetTupleTable(call->estate->es_tupleTable, false);
		call->estate->es_opened_result_relations = NIL;
		ExecCloseResultRelations(call->estate);
		FreeExecutorState(call->estate);
	}
	PopActiveSnapshot();
	if (call->kind == CALL_WRITES)
		CommandCounterIncrement();
	if (call->guc_level >= 0)
		AtEOXact_GUC(true, call->guc_level);
	SetUserIdAndSecContext(call->saved_user, call->saved_security);

	MemoryContextSwitchTo(call->caller_context);
	MemoryContextDelete(call->context);
}

/*
 * Take a new snapshot, after a wait: from here on the call sees what was
 * committed meanwhile.  Versions that only the old one needed may go, and their
 * places be given to other rows.  Does nothing where the transaction has one
 * snapshot for its whole life.
 */
void
call_see_now(Call *call)
{
	if (IsolationUsesXactSnapshot())
		return;
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
	call->view++;
}

/* From here on the call sees what it has itself written. */
void
call_next_command(Call *call)
{
	row_flush_appends(call);
	CommandCounterIncrement();
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
	call->view++;
}

/*
 * The search_path under which whatever runs in the owner's name runs: pg_catalog
 * and our schema, whose name is given, temporary objects last.
 */
char *
call_search_path(const char *schema)
{
	return psprintf("pg_catalog, %s, pg_temp", quote_identifier(schema));
}

/*
 * Pin search_path for the rest of the call to pg_catalog and the extension's
 * schema, temporary objects last.
 */
void
call_pin_search_path(Call *call)
{
	char	   *path;

	if (call->search_path_pinned)
		return;
	call->search_path_pinned = true;
	call->guc_level = NewGUCNestLevel();
	path = call_search_path(get_namespace_name(catalog_schema()));
	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * A table of ours, opened and locked once in a call; it stays locked until
 * the transaction ends.
 */
OpenTable *
call_open(Call *call, TableId id)
{
	OpenTable  *table = call->tables[id];
	MemoryContext old_context;

	if (table != NULL)
		return table;

	old_context = MemoryContextSwitchTo(call->context);
	table = palloc0(sizeof(OpenTable));
	table->id = id;
	table->relation = catalog_open_table(id, call->kind == CALL_WRITES
										 ? RowExclusiveLock : AccessShareLock);

	table->found = table_slot_create(table->relation, NULL);

	MemoryContextSwitchTo(old_context);
	call->tables[id] = table;
	return table;
}

/*
 * What writing to a table needs, got ready when the call first writes to it.
 * From the first table with foreign code on search_path is pinned, and AFTER
 * triggers are queued.
 */
Writer *
call_writer(Call *call, OpenTable *table)
{
	Assert(call->kind == CALL_WRITES);
	if (table->writer != NULL)
		return table->writer;

	table->writer = writer_open_kept(table->id, table->relation);
	if (table->writer == NULL)
	{
		call_pin_search_path(call);
		if (call->estate == NULL)
		{
			MemoryContext old_context = MemoryContextSwitchTo(call->context);

			call->estate = writer_executor_state();
			AfterTriggerBeginQuery();
			MemoryContextSwitchTo(old_context);
		}
		table->writer = writer_open(table->id, table->relation, call->estate);
	}
	table->next = table->writer->next;
	return table->writer;
}

/*
 * For the rest of the call, be the caller again and not the owner of the
 * tables: for what is done in the caller's own name, with his own rights.
 */
void
call_as_caller(Call *call)
{
	SetUserIdAndSecContext(call->saved_user, call->saved_security);
}

/* The name of a role as a text that lives as long as the call. */
static text *
role_text(Call *call, Oid role)
{
	MemoryContext old_context = MemoryContextSwitchTo(call->context);
	text	   *name = cstring_to_text(GetUserNameFromId(role, false));

	MemoryContextSwitchTo(old_context);
	return name;
}

/* Name of the role that logged in, a text. */
Datum
call_login_role(Call *call)
{
	if (call->login_role == NULL)
		call->login_role = role_text(call, GetSessionUserId());
	return PointerGetDatum(call->login_role);
}

/* Name of the role that called, which is not the one that is current now. */
Datum
call_caller_role(Call *call)
{
	if (call->caller_role == NULL)
		call->caller_role = role_text(call, call->caller);
	return PointerGetDatum(call->caller_role);
}
