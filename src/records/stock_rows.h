/*
 * stock_rows.h
 *		What the files about stock share with each other.
 *
 *	stock_set.c		sets of rows, in lock order
 *	stock_find.c	finding rows
 *	stock_lock.c	queues and locks
 *	stock.c			what rows say; making and writing them
 */
#ifndef INVENTORY_STOCK_ROWS_H
#define INVENTORY_STOCK_ROWS_H

#include "postgres.h"

#include "executor/tuptable.h"

#include "records/stock.h"

enum ColumnOfStock
{
	STOCK_ITEM_ID = 1,
	STOCK_LOCATION_ID,
	STOCK_STRIPE,
	STOCK_ON_HAND,
	STOCK_RESERVED,
	STOCK_MIN_AVAILABLE,
	STOCK_BACKORDER_UNLIMITED,
	STOCK_RETIRED,
	STOCK_VERSION,
	STOCK_UPDATED_AT,
	STOCK_EARLIEST_EXPIRY,
	STOCK_WAITING
};

/* stock_set.c */
extern void stock_set_sort(StockSet *set);

/* stock_find.c */
extern void stock_read_row(Call *call, StockRow *row, TupleTableSlot *slot);
extern bool stock_knows_waiting(TupleTableSlot *slot);
extern int32 stock_own_place(void);
extern bool stock_find_row(Call *call, StockRow *row);
extern bool stock_find_latest_row(Call *call, StockRow *row);
extern bool stock_find_latest_up_to(Call *call, StockKey key, StockRow *row);
extern void stock_add_from(Call *call, StockSet *set, StockKey key);

#endif							/* INVENTORY_STOCK_ROWS_H */
