/*
 * writer.c
 *		What writing to a table needs, kept from call to call.
 *
 * Before the executor inserts a row it wants an executor state, the table's
 * checks and the predicates of its partial indexes, parsed and compiled.  That
 * takes longer than inserting the row.  A session therefore makes it once for
 * each table, as long as nothing but the install script's own checks and
 * indexes run when the table is written to.  A table with code of the shop's
 * (triggers, added columns, checks or indexes) is prepared anew in each call.
 *
 * The hard part is to stop using a writer in time:
 *
 * - Whatever changes the table or one of its indexes sends a relcache
 *   invalidation.  The callback only sets a flag, and the next call makes a
 *   new writer.  It looks at the flag after locking the table, and who holds
 *   that lock is waited for by whoever changes what has to be written, so the
 *   writer is good for the rest of the call.
 * - An invalidation may come while a writer is being made.  The flag is
 *   cleared before.
 * - An outer call (a trigger of another table has called us) may still be using
 *   the old writer.  It is not freed, but left to the end of the transaction.
 * - An error in the middle of a write may leave something half made.  Such a
 *   writer is not used again.
 * - What an error leaves dangling in a writer (relations, snapshot, the row
 *   last written) is set anew before it is used.  Relations are opened and
 *   locked by each call, as they are without a writer.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog/compat.h"
#include "catalog/foreign_code.h"
#include "table/writer.h"

/* What a session knows of writing to a table. */
typedef struct KnownWriting
{
	Oid			relation;		/* InvalidOid: nothing */
	bool		complete;		/* no error has cut the learning short */
	bool		out_of_date;	/* see forget_writing() */
	bool		foreign_code;	/* then no writer is kept */
	int			index_count;
	Oid			index_ids[MAX_OWN_INDEXES];
	Writer	   *writer;
} KnownWriting;

static KnownWriting known_writing[NUM_TABLES];

/* A change of a relation, or (InvalidOid) of any: only set flags. */
static void
forget_writing(Datum arg, Oid relid)
{
	for (int i = 0; i < NUM_TABLES; i++)
	{
		KnownWriting *known = &known_writing[i];
		bool		concerned = !OidIsValid(relid) || known->relation == relid;

		for (int j = 0; j < known->index_count && !concerned; j++)
			concerned = known->index_ids[j] == relid;
		if (concerned)
			known->out_of_date = true;
	}
}

/*
 * An executor state as inserting and updating want it, in the current memory
 * context.  It has a range table entry for every table of ours.
 */
EState *
writer_executor_state(void)
{
	EState	   *estate = CreateExecutorState();
	List	   *range_table = NIL;
	List	   *permission_infos = NIL;
	MemoryContext old_context = MemoryContextSwitchTo(estate->es_query_cxt);

	for (int i = 0; i < NUM_TABLES; i++)
	{
		RangeTblEntry *entry = makeNode(RangeTblEntry);

		entry->rtekind = RTE_RELATION;
		entry->relkind = RELKIND_RELATION;
		entry->rellockmode = RowExclusiveLock;
		compat_add_permission_info(&permission_infos, entry);
		range_table = lappend(range_table, entry);
	}
	compat_init_range_table(estate, range_table, permission_infos);
	MemoryContextSwitchTo(old_context);
	return estate;
}

/* A writer on an executor state, in the current memory context. */
static Writer *
make_writer(TableId id, Relation relation, EState *estate)
{
	Writer	   *writer = palloc0(sizeof(Writer));

	writer->estate = estate;
	compat_eval_plan_qual_init(&writer->epq, estate);
	writer->range_entry = list_nth_node(RangeTblEntry, estate->es_range_table,
										id);
	compat_set_relation(estate, writer->range_entry, RelationGetRelid(relation));
	writer->result_info = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->result_info, relation, id + 1, NULL, 0);
	return writer;
}

/* Make the writer of a table that has no code but ours. */
static Writer *
make_kept_writer(TableId id, Relation relation, const KnownWriting *known)
{
	MemoryContext context;
	MemoryContext old_context;
	TupleDesc	tupdesc;
	Writer	   *writer;
	ResultRelInfo *info;

	/* goes with the call, should an error come before all of it is there */
	context = AllocSetContextCreate(CurrentMemoryContext, "inventory writer",
									ALLOCSET_SMALL_SIZES);
	old_context = MemoryContextSwitchTo(context);
	writer = make_writer(id, relation, writer_executor_state());
	writer->kept = true;
	writer->context = context;

	/* copied, so that an error leaves no reference to the relation's own */
	tupdesc = CreateTupleDescCopy(RelationGetDescr(relation));
	writer->next = MakeSingleTupleTableSlot(tupdesc, &TTSOpsVirtual);
	writer->formed = MakeSingleTupleTableSlot(tupdesc, &TTSOpsHeapTuple);

	info = writer->result_info;
	info->ri_NumIndices = known->index_count;
	info->ri_IndexRelationDescs = palloc0(known->index_count * sizeof(Relation));
	info->ri_IndexRelationInfo = palloc0(known->index_count *
										 sizeof(IndexInfo *));
	writer->index_ids = palloc(known->index_count * sizeof(Oid));
	for (int i = 0; i < known->index_count; i++)
	{
		Relation	index = index_open(known->index_ids[i], RowExclusiveLock);

		writer->index_ids[i] = known->index_ids[i];
		info->ri_IndexRelationInfo[i] = BuildIndexInfo(index);
		/* locked again by who writes to it; an update may not need to */
		index_close(index, RowExclusiveLock);
	}

	MemoryContextSwitchTo(old_context);
	MemoryContextSetParent(context, TopMemoryContext);
	return writer;
}

/* Find out what writing to a table takes. */
static void
learn(KnownWriting *known, TableId id, Relation relation)
{
	static bool registered = false;
	List	   *index_ids;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_writing, (Datum) 0);
		registered = true;
	}

	if (known->writer != NULL)
		MemoryContextSetParent(known->writer->context, TopTransactionContext);
	memset(known, 0, sizeof(KnownWriting));
	known->relation = RelationGetRelid(relation);

	index_ids = RelationGetIndexList(relation);
	for (int i = 0; i < Min(list_length(index_ids), MAX_OWN_INDEXES); i++)
		known->index_ids[known->index_count++] = list_nth_oid(index_ids, i);
	list_free(index_ids);

	known->foreign_code = has_foreign_code(id, relation);
	if (!known->foreign_code)
		known->writer = make_kept_writer(id, relation, known);
	known->complete = true;
}

/*
 * The kept writer of a table, which the caller has open and locked; its indexes
 * are not open.  NULL: the table has foreign code, use writer_open().
 */
Writer *
writer_open_kept(TableId id, Relation relation)
{
	KnownWriting *known = &known_writing[id];

	if (known->relation != RelationGetRelid(relation) ||
		!known->complete || known->out_of_date ||
		(known->writer != NULL && known->writer->in_write))
		learn(known, id, relation);

	if (known->writer != NULL)
		known->writer->result_info->ri_RelationDesc = relation;
	return known->writer;
}

/* Open and lock the indexes of a kept writer. */
void
writer_open_indexes(Writer *writer)
{
	ResultRelInfo *info = writer->result_info;

	for (int i = 0; i < info->ri_NumIndices; i++)
		info->ri_IndexRelationDescs[i] = index_open(writer->index_ids[i],
													RowExclusiveLock);
}

/*
 * A writer on an executor state of the call's, which is freed with it, the
 * table's indexes open and locked.
 */
Writer *
writer_open(TableId id, Relation relation, EState *estate)
{
	MemoryContext old_context = MemoryContextSwitchTo(estate->es_query_cxt);
	Writer	   *writer = make_writer(id, relation, estate);

	writer->next = MakeSingleTupleTableSlot(RelationGetDescr(relation),
											&TTSOpsVirtual);
	/* AfterTriggerEndQuery looks relations with triggers up here */
	estate->es_opened_result_relations =
		lappend(estate->es_opened_result_relations, writer->result_info);
	ExecOpenIndices(writer->result_info, false);
	MemoryContextSwitchTo(old_context);
	return writer;
}

/* Close the indexes of a kept writer. */
void
writer_close_indexes(Writer *writer)
{
	/* locked until the transaction ends, as the planner leaves them too */
	for (int i = 0; i < writer->result_info->ri_NumIndices; i++)
		index_close(writer->result_info->ri_IndexRelationDescs[i], NoLock);
}

/* Close what writer_open() has opened. */
void
writer_close(Writer *writer)
{
	ExecDropSingleTupleTableSlot(writer->next);
	ExecCloseIndices(writer->result_info);
}
