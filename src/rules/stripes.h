/*
 * stripes.h
 *		Over how many rows the stock of a SKU is spread.
 */
#ifndef INVENTORY_STRIPES_H
#define INVENTORY_STRIPES_H

#include "postgres.h"

#include "records/stock.h"

extern void set_stripes(Call *call, int64 item_id, int32 location_id,
						int stripes);
extern void share_evenly(Call *call, StockRow *rows, int count);
extern void spread_if_contested(Call *call, StockSet *stock, int64 item_id,
								int32 location_id);
extern bool calm_stripes(Call *call, int64 *item_id, int32 *location_id);

#endif							/* INVENTORY_STRIPES_H */
