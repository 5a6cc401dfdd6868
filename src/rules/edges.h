/*
 * edges.h
 *		Telling when a SKU comes back in stock, or is out of stock.
 */
#ifndef INVENTORY_EDGES_H
#define INVENTORY_EDGES_H

#include "postgres.h"

#include "table/call.h"

extern bool tell_edges(Call *call, int64 budget, int64 *rows);

#endif							/* INVENTORY_EDGES_H */
