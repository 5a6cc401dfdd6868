/*
 * item.h
 *		Items and locations: what is sold and where it is kept.
 */
#ifndef INVENTORY_ITEM_H
#define INVENTORY_ITEM_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "table/call.h"

/* The location that is meant when none is named. */
#define DEFAULT_LOCATION_ID 0
#define DEFAULT_LOCATION_CODE "default"

typedef struct CatalogueItem
{
	int64		item_id;
	char	   *sku;
	Datum		unit_price;		/* numeric */
	char	   *currency;		/* NULL: the shop has only one */
	TimestampTz listed_until;	/* DT_NOEND: for ever */
	bool		selling;
	int64		hold_ttl;		/* microseconds; 0: the default */
	int64		max_per_customer;	/* units; 0: no purchase limit */
	int64		limit_window;	/* microseconds; 0: all that was ever bought */
} CatalogueItem;

extern bool item_find(Call *call, const char *sku, CatalogueItem *item);
extern bool item_find_by_id(Call *call, int64 item_id, CatalogueItem *item);
extern void item_require(Call *call, const char *sku, CatalogueItem *item);
extern char *item_sku(Call *call, int64 item_id);

extern int32 location_require(Call *call, const char *code);
extern char *location_code(Call *call, int32 location_id);

#endif							/* INVENTORY_ITEM_H */
