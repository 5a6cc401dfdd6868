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
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "parser/parse_relation.h"

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

/* Add the permission entry that 16 and later keep beside the range table. */
static inline void
compat_add_permission_info(List **permission_infos, RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(permission_infos, rte);
#endif
}

#endif							/* INVENTORY_COMPAT_H */
