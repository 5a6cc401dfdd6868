/*
 * compat.h
 *		Every difference between PostgreSQL versions, and nothing else.
 *
 * Supported: 15 to 19.  Code elsewhere is written for the newest spelling
 * that can be mapped onto the older ones.
 */
#ifndef INVENTORY_COMPAT_H
#define INVENTORY_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "parser/parse_relation.h"
#include "pgstat.h"
#include "replication/message.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/jsonb.h"

/* 18 spells it as a prefix */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 18: scans count index searches for EXPLAIN */
static inline IndexScanDesc
compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot,
					   int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/*
 * Give an executor state a range table with one entry a relation.  16 moved
 * the permission bits (and with them the updated columns) out of the range
 * table entries; 18 wants to know which relations pruning left.
 */
static inline void
compat_init_range_table(EState *estate, List *range_table,
						List *permission_infos)
{
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, range_table, permission_infos,
					   bms_add_range(NULL, 1, list_length(range_table)));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(estate, range_table, permission_infos);
#else
	ExecInitRangeTable(estate, range_table);
#endif
}

/* 16: takes the result relations of the plan, of which there are none here. */
static inline void
compat_eval_plan_qual_init(EPQState *epq, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL);
#else
	EvalPlanQualInit(epq, estate, NULL, NIL, -1);
#endif
}

/* 17: whether to flush at once.  This one is flushed with its transaction. */
static inline XLogRecPtr
compat_log_message(const char *prefix, const char *message, size_t size)
{
#if PG_VERSION_NUM >= 170000
	return LogLogicalMessage(prefix, message, size, true, false);
#else
	return LogLogicalMessage(prefix, message, size, true);
#endif
}

/* Say which columns an update of range table entry "rte" changes. */
static inline void
compat_set_updated_columns(EState *estate, RangeTblEntry *rte,
						   Bitmapset *columns)
{
#if PG_VERSION_NUM >= 160000
	getRTEPermissionInfo(estate->es_rteperminfos, rte)->updatedCols = columns;
#else
	rte->updatedCols = columns;
#endif
}

/*
 * Say which relation range table entry "rte" is for.  16: its permission entry
 * has to say the same.
 */
static inline void
compat_set_relation(EState *estate, RangeTblEntry *rte, Oid relation)
{
	rte->relid = relation;
#if PG_VERSION_NUM >= 160000
	list_nth_node(RTEPermissionInfo, estate->es_rteperminfos,
				  rte->perminfoindex - 1)->relid = relation;
#endif
}

/* Add the permission entry that 16 and later keep beside the range table. */
static inline void
compat_add_permission_info(List **permission_infos, RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(permission_infos, rte);
#endif
}

/*
 * Enter a row in its table's indexes, of which none summarizes.  16: those that
 * do may be all that is asked for.
 */
static inline void
compat_insert_index_tuples(ResultRelInfo *result_info, TupleTableSlot *slot,
						   EState *estate)
{
#if PG_VERSION_NUM >= 160000
	List	   *recheck = ExecInsertIndexTuples(result_info, slot, estate, false,
												false, NULL, NIL, false);
#else
	List	   *recheck = ExecInsertIndexTuples(result_info, slot, estate, false,
												false, NULL, NIL);
#endif

	list_free(recheck);
}

/*
 * Update a row of a table of whose indexes none summarizes.  16: says which of
 * the indexes are to be updated.
 */
static inline void
compat_table_tuple_update(Relation relation, ItemPointer tid,
						  TupleTableSlot *slot, Snapshot snapshot,
						  bool *update_indexes)
{
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes which;

	simple_table_tuple_update(relation, tid, slot, snapshot, &which);
	*update_indexes = which != TU_None;
#else
	simple_table_tuple_update(relation, tid, slot, snapshot, update_indexes);
#endif
}

/*
 * Make a jsonb value piece by piece; a whole is returned with its last piece.
 * 19: the state has the result in it.
 */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState CompatJsonbState;
#else
typedef JsonbParseState *CompatJsonbState;
#endif

static inline JsonbValue *
compat_push_jsonb(CompatJsonbState *state, JsonbIteratorToken token,
				  JsonbValue *value)
{
#if PG_VERSION_NUM >= 190000
	pushJsonbValue(state, token, value);
	return state->result;
#else
	return pushJsonbValue(state, token, value);
#endif
}

/* 17: a limit for whole transactions. */
#if PG_VERSION_NUM >= 170000
#define COMPAT_TRANSACTION_TIMEOUT "transaction_timeout"
#else
#define COMPAT_TRANSACTION_TIMEOUT NULL
#endif

/* Rows ever inserted into, and changed in, a database.  16: other names. */
static inline int64
compat_rows_inserted(const PgStat_StatDBEntry *counters)
{
#if PG_VERSION_NUM >= 160000
	return counters->tuples_inserted;
#else
	return counters->n_tuples_inserted;
#endif
}

static inline int64
compat_rows_changed(const PgStat_StatDBEntry *counters)
{
#if PG_VERSION_NUM >= 160000
	return counters->tuples_inserted + counters->tuples_updated +
		counters->tuples_deleted;
#else
	return counters->n_tuples_inserted + counters->n_tuples_updated +
		counters->n_tuples_deleted;
#endif
}

/*
 * Is a session with that application_name connected to a database, of somebody
 * who has the rights of a role?  16: another name for a session's status.
 */
static inline bool
compat_application_is_connected(Oid database, const char *name, Oid role)
{
	int			sessions = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= sessions; i++)
	{
#if PG_VERSION_NUM >= 160000
		LocalPgBackendStatus *session = pgstat_get_local_beentry_by_index(i);
#else
		LocalPgBackendStatus *session = pgstat_fetch_stat_local_beentry(i);
#endif

		if (session != NULL &&
			session->backendStatus.st_databaseid == database &&
			strcmp(session->backendStatus.st_appname, name) == 0 &&
			has_privs_of_role(session->backendStatus.st_userid, role))
			return true;
	}
	return false;
}

#endif							/* INVENTORY_COMPAT_H */
