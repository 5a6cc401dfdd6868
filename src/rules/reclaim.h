/*
 * reclaim.h
 *		Freeing dead holds that sit on locked stock.
 */
#ifndef INVENTORY_RECLAIM_H
#define INVENTORY_RECLAIM_H

#include "postgres.h"

#include "records/reservation.h"

/*
 * Lines that the caller has locked, to be freed or left alone.  What a line
 * points to (its price, its customer) is not kept.
 */
typedef struct DeadLines
{
	MemoryContext context;		/* where the list is kept; NULL: the current */
	int			count;
	int			capacity;
	ReservationLine *lines;
} DeadLines;

extern int64 reclaim_collect(Call *call, const StockRow *row, int64 wanted,
							 TimestampTz now, DeadLines *dead);
extern void reclaim_free(Call *call, StockSet *set, DeadLines *dead,
						 TimestampTz now);
extern void dead_lines_add(DeadLines *dead, const ReservationLine *line);

#endif							/* INVENTORY_RECLAIM_H */
