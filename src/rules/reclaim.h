/*
 * reclaim.h
 *		Freeing dead holds that sit on locked stock; giving lines back.
 */
#ifndef INVENTORY_RECLAIM_H
#define INVENTORY_RECLAIM_H

#include "postgres.h"

#include "records/reservation.h"

/*
 * Lines that the caller has locked, to be freed or left alone.  What a line
 * points to (its price, its customer) is not kept.
 */
typedef struct LineList
{
	MemoryContext context;		/* where the list is kept; NULL: the current */
	int			count;
	int			capacity;
	ReservationLine *lines;
} LineList;

extern int64 reclaim_collect(Call *call, const StockRow *rows, int count,
							 int64 wanted, TimestampTz now, LineList *dead);
extern int64 reclaim_units(Call *call, StockSet *stock, int64 item_id,
						   int32 location_id, int64 wanted, TimestampTz now,
						   LineList *dead);
extern void reclaim_free(Call *call, StockSet *set, LineList *dead,
						 TimestampTz now);
extern void line_give_back(Call *call, ReservationLine *line, StockRow *row,
						   ReservationStatus status, const char *reason,
						   TimestampTz now);
extern void line_list_add(LineList *dead, const ReservationLine *line);

#endif							/* INVENTORY_RECLAIM_H */
