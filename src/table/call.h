/*
 * call.h
 *		One call of one of our functions: what it may do, what it sees, which
 *		tables it has open.
 */
#ifndef INVENTORY_CALL_H
#define INVENTORY_CALL_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "utils/timestamp.h"

#include "catalog/catalog.h"
#include "table/writer.h"

typedef enum CallKind
{
	CALL_READS,
	CALL_WRITES
} CallKind;

/* A table that a call has open; see row.h for what can be done with it. */
typedef struct OpenTable
{
	TableId		id;
	Relation	relation;
	Writer	   *writer;			/* NULL until the call writes to it */
	bool		indexes_open;	/* those of a kept writer */
	TupleTableSlot *found;		/* the row last found, fetched or locked, or empty */
	bool		tangled;		/* row_find() met many old versions */
	BlockNumber blocks;			/* it has at least so many; see find_at() */
	TupleTableSlot *next;		/* the row being made, see row_begin_insert() */
	bool		is_new;			/* it is to be inserted */
	Bitmapset  *changed;		/* else its columns that differ from the old row */
	ExprState **added_defaults; /* of columns that are not ours; NULL: unread */
	HeapTuple  *waiting;		/* rows to be written together: row_append() */
	int			waiting_count;
	int			waiting_capacity;
	Size		waiting_bytes;
	Relation	indexes[NUM_INDEXES];	/* opened for lookups */
} OpenTable;

typedef struct Call
{
	const char *name;			/* "inv_reserve()", for error messages */
	CallKind	kind;
	MemoryContext context;		/* lives as long as the call */
	MemoryContext caller_context;	/* where results belong */
	EState	   *estate;			/* of tables with foreign code; NULL: none */
	OpenTable  *tables[NUM_TABLES];
	int			view;			/* counts the snapshots it has had */
	bool		rows_waiting;	/* in some table */
	uint64		serial;			/* of the calls of this session */
	bool		wrote_before;	/* the transaction had, when the call began */
	bool		search_path_pinned;
	int			guc_level;
	Oid			caller;			/* who called, before we became the owner */
	Oid			saved_user;
	int			saved_security;
	text	   *login_role;		/* NULL until call_login_role() */
	text	   *caller_role;
} Call;

extern Call *call_begin(const char *name, CallKind kind);
extern void call_end(Call *call);
extern void call_see_now(Call *call);
extern void call_next_command(Call *call);
extern OpenTable *call_open(Call *call, TableId id);
extern Writer *call_writer(Call *call, OpenTable *table);
extern Datum call_login_role(Call *call);
extern Datum call_caller_role(Call *call);
extern char *call_search_path(const char *schema);
extern void call_pin_search_path(Call *call);
extern void call_as_caller(Call *call);

#endif							/* INVENTORY_CALL_H */
