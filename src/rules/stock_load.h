/*
 * stock_load.h
 *		Counts of many SKUs at once, as they come from another system.
 */
#ifndef INVENTORY_STOCK_LOAD_H
#define INVENTORY_STOCK_LOAD_H

#include "postgres.h"

#include "rules/stock_take.h"

/* What a load has found, before it locked anything. */
typedef enum LoadState
{
	LOAD_DIFFERS,				/* or the SKU is new */
	LOAD_AS_COUNTED,			/* nothing is to be done */
	LOAD_MISSING				/* no stock at the location yet */
} LoadState;

/* One SKU of a load, and what came of it. */
typedef struct LoadLine
{
	int			place;			/* in the caller's arrays, from 0 */
	bool		created;		/* the SKU was new */
	bool		changed;		/* on_hand was another before */
	LoadState	state;
	int64		item_id;
	int64		count;			/* units that there are to be */
	StockLevel	level;			/* afterwards */
} LoadLine;

extern LoadLine *stock_load(Call *call, char **skus, const int64 *counts,
							int count, int32 location_id,
							const char *reason);

#endif							/* INVENTORY_STOCK_LOAD_H */
