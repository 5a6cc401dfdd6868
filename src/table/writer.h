/*
 * writer.h
 *		What writing to a table needs, kept from call to call.
 */
#ifndef INVENTORY_WRITER_H
#define INVENTORY_WRITER_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"

#include "catalog/catalog.h"

typedef struct Writer
{
	bool		kept;			/* for later calls; else made for this one */
	bool		in_write;		/* an error may have left it half made */
	MemoryContext context;		/* a kept one's own */
	EState	   *estate;
	EPQState	epq;
	RangeTblEntry *range_entry;
	ResultRelInfo *result_info;
	TupleTableSlot *next;		/* the row being made, column by column */
	TupleTableSlot *formed;		/* a row that was put together before */
	Oid		   *index_ids;		/* a kept one's indexes */
} Writer;

extern EState *writer_executor_state(void);
extern Writer *writer_open_kept(TableId id, Relation relation);
extern void writer_open_indexes(Writer *writer);
extern void writer_close_indexes(Writer *writer);
extern Writer *writer_open(TableId id, Relation relation, EState *estate);
extern void writer_close(Writer *writer);

#endif							/* INVENTORY_WRITER_H */
