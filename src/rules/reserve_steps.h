/*
 * reserve_steps.h
 *		The steps that reserving for one buyer and for many have in common.
 */
#ifndef INVENTORY_RESERVE_STEPS_H
#define INVENTORY_RESERVE_STEPS_H

#include "postgres.h"

#include "rules/reserve.h"

/* Units of an item that a buyer asks for. */
typedef struct WantedUnits
{
	int64		item_id;
	int32		location_id;
	bool		at_location;	/* else anywhere */
	int64		quantity;
} WantedUnits;

extern bool item_on_sale(const CatalogueItem *item, TimestampTz now);
extern void item_require_on_sale(const CatalogueItem *item, TimestampTz now);
extern int64 default_ttl(const CatalogueItem *item);
extern TimestampTz hold_expiry(TimestampTz from, int64 ttl);
extern int64 available_now(Call *call, StockSet *stock, int64 item_id,
						   int32 location_id, int64 enough);
extern bool hold_is_same(Call *call, const pg_uuid_t *id,
						 const WantedUnits *wanted, int count,
						 const char *reference);
extern bool reserve_replay(Call *call, const KeyedCall *keyed,
						   ReserveResult *result);
extern void take_units(Call *call, StockSet *stock, const CatalogueItem *item,
					   int32 location_id, ReservationLine *line,
					   const char *operation);

#endif							/* INVENTORY_RESERVE_STEPS_H */
