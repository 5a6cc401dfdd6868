/*
 * stock_take.h
 *		The shop's own changes of stock.
 */
#ifndef INVENTORY_STOCK_TAKE_H
#define INVENTORY_STOCK_TAKE_H

#include "postgres.h"

#include "catalog/compat.h"
#include "records/item.h"
#include "records/stock.h"

/* The stock of a SKU at a location, all its rows together; units. */
typedef struct StockLevel
{
	char	   *sku;
	int32		location_id;
	int64		on_hand;
	int64		reserved;
	int64		available;
	int64		version;
} StockLevel;

/* A stock-take. */
typedef struct StockTake
{
	int64		count;			/* units counted */
	bool		check_version;
	int64		expected_version;
	bool		on_shelf;		/* the count includes sold ones still there */
	bool		force;			/* cancel holds, the newest first */
	const char *reason;
} StockTake;

extern void stock_change(Call *call, const CatalogueItem *item,
						 int32 location_id, int64 delta,
						 const char *operation, const char *reason,
						 StockLevel *level);
extern void stock_take(Call *call, const CatalogueItem *item,
					   int32 location_id, const StockTake *take,
					   StockLevel *level);
extern void stock_post_delta(Call *call, const CatalogueItem *item,
							 StockSet *stock, int64 delta, bool force,
							 const char *operation, const char *reason);
pg_noreturn extern void stock_report_held(Call *call,
										  const CatalogueItem *item,
										  const StockSet *stock, int64 wanted,
										  int64 free);
extern void stock_sum(const StockSet *stock, const CatalogueItem *item,
					  int32 location_id, StockLevel *level);
extern void stock_level(Call *call, const CatalogueItem *item,
						int32 location_id, StockLevel *level);

#endif							/* INVENTORY_STOCK_TAKE_H */
