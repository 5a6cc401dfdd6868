/*
 * reserve_batch.h
 *		The rule of reserving for many buyers at once.
 */
#ifndef INVENTORY_RESERVE_BATCH_H
#define INVENTORY_RESERVE_BATCH_H

#include "postgres.h"

#include "rules/reserve.h"

/* One request of a batch, and what came of it. */
typedef struct BatchRequest
{
	char	   *sku;
	int64		quantity;		/* units */
	char	   *customer;		/* NULL: not said */
	KeyedCall	keyed;
	int			error;			/* SQLSTATE; 0: held */
	ReserveResult result;
	struct BatchRequest *repeats;	/* an earlier one with the same key */
	bool		has_it_already; /* the customer has such a hold: "keyed" says */
	CatalogueItem item;
} BatchRequest;

extern void reserve_batch(Call *call, BatchRequest *requests, int count,
						  int64 ttl);

#endif							/* INVENTORY_RESERVE_BATCH_H */
