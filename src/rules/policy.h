/*
 * policy.h
 *		Safety stock and backorders.
 */
#ifndef INVENTORY_POLICY_H
#define INVENTORY_POLICY_H

#include "postgres.h"

#include "rules/stock_take.h"

/* How much of its stock a SKU may promise, in units; one of them is 0. */
typedef struct StockPolicy
{
	int64		safety_stock;	/* units on hand that are never promised */
	int64		backorder_limit;	/* units promised that are not there */
	bool		backorder_unlimited;
} StockPolicy;

extern void set_policy(Call *call, const CatalogueItem *item,
					   int32 location_id, const StockPolicy *policy,
					   StockLevel *level);

#endif							/* INVENTORY_POLICY_H */
