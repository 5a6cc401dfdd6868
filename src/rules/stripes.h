/*
 * stripes.h
 *		Over how many rows the stock of a SKU is spread.
 */
#ifndef INVENTORY_STRIPES_H
#define INVENTORY_STRIPES_H

#include "postgres.h"

#include "table/call.h"

#define MAX_STRIPES 256

extern void set_stripes(Call *call, int64 item_id, int32 location_id,
						int stripes);

#endif							/* INVENTORY_STRIPES_H */
