/*
 * row.h
 *		Rows of the extension's tables: find, lock, insert, update, delete.
 */
#ifndef INVENTORY_ROW_H
#define INVENTORY_ROW_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "storage/itemptr.h"

#include "catalog/compat.h"
#include "table/call.h"

typedef enum RowWait
{
	ROW_WAIT,					/* for as long as it takes */
	ROW_SKIP_BUSY				/* never: a busy row is passed over */
} RowWait;

typedef enum RowLock
{
	ROW_LOCKED,
	ROW_BUSY,					/* somebody has it; only with ROW_SKIP_BUSY */
	ROW_GONE,					/* deleted meanwhile */
	ROW_CHANGED					/* updated meanwhile; row_lock_version() only */
} RowLock;

/* A walk over the rows that an index range holds. */
typedef struct RowWalk
{
	IndexScanDesc scan;
	ScanDirection direction;
	TupleTableSlot *slot;		/* the current row */
	bool		tangled;		/* gave up among old versions */
} RowWalk;

extern bool row_find(Call *call, OpenTable *table, IndexId index,
					 ScanKeyData *keys, int nkeys);
extern bool row_find_latest(Call *call, OpenTable *table, IndexId index,
							ScanKeyData *keys, int nkeys);
extern bool row_fetch(OpenTable *table, ItemPointer tid);
extern bool row_find_from(OpenTable *table, ItemPointer tid);
extern void row_walk_begin(RowWalk *walk, Call *call, OpenTable *table,
						   IndexId index, ScanKeyData *keys, int nkeys);
extern void row_walk_back(RowWalk *walk, Call *call, OpenTable *table,
						  IndexId index, ScanKeyData *keys, int nkeys);
extern bool row_walk_next(RowWalk *walk);
extern void row_walk_end(RowWalk *walk);
extern bool row_find_committed(Call *call, OpenTable *table, IndexId index,
							   ScanKeyData *keys, int nkeys,
							   TransactionId *in_progress);

extern bool row_is_ours(TupleTableSlot *slot);
extern RowLock row_lock(Call *call, OpenTable *table, ItemPointer tid,
						RowWait wait);
extern RowLock row_lock_version(Call *call, OpenTable *table, ItemPointer tid,
								RowWait wait);
pg_noreturn extern void row_report_conflict(void);
pg_noreturn extern void row_report_modified(OpenTable *table);

extern Datum row_get(TupleTableSlot *slot, int column, bool *isnull);
extern int64 row_get_int64(TupleTableSlot *slot, int column);
extern int32 row_get_int32(TupleTableSlot *slot, int column);
extern bool row_get_bool(TupleTableSlot *slot, int column);
extern char *row_get_text(TupleTableSlot *slot, int column);

/* known_places.c */
extern bool row_find_again(Call *call, OpenTable *table, IndexId index,
						   ScanKeyData *key, int column, uint32 hash);

/* row_write.c */
extern void row_begin_insert(Call *call, OpenTable *table);
extern void row_begin_update(Call *call, OpenTable *table, ItemPointer tid);
extern void row_set(OpenTable *table, int column, Datum value);
extern void row_set_text(OpenTable *table, int column, const char *value);
extern void row_insert(Call *call, OpenTable *table);
extern void row_append(Call *call, OpenTable *table);
extern void row_flush_appends(Call *call);
extern void row_update(Call *call, OpenTable *table);
extern void row_delete(Call *call, OpenTable *table, ItemPointer tid);

#endif							/* INVENTORY_ROW_H */
