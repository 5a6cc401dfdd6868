/*
 * backorder.h
 *		Backorders: units that a line has been promised and that are not there.
 */
#ifndef INVENTORY_BACKORDER_H
#define INVENTORY_BACKORDER_H

#include "postgres.h"

#include "records/reservation.h"
#include "records/stock.h"

/* Units of a SKU at a location that are backordered. */
typedef struct BackorderCount
{
	int64		in_all;
	int64		sold;			/* those of them that orders have sold */
	int64		sold_open;		/* by orders that are not completed */
} BackorderCount;

extern void backorder_promised(Call *call, StockRow *row,
							   const ReservationLine *line, TimestampTz now);
extern void backorder_given_up(Call *call, StockRow *row,
							   const ReservationLine *line, int64 units);
extern void backorder_fill(Call *call, StockRow *row);
extern int64 backorder_newest_holds(Call *call, StockRow *row);
extern void backorder_count(Call *call, const StockKey *key,
							BackorderCount *units);

#endif							/* INVENTORY_BACKORDER_H */
