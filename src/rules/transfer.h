/*
 * transfer.h
 *		Units that go from one location to another.
 */
#ifndef INVENTORY_TRANSFER_H
#define INVENTORY_TRANSFER_H

#include "postgres.h"

#include "rules/stock_take.h"

/* A transfer that is wanted. */
typedef struct Transfer
{
	int64		quantity;		/* units */
	int32		from;			/* locations, two different ones */
	int32		to;
	const char *reason;
} Transfer;

extern void transfer_units(Call *call, const CatalogueItem *item,
						   const Transfer *wanted, StockLevel *from,
						   StockLevel *to);

#endif							/* INVENTORY_TRANSFER_H */
