/*
 * catalog.h
 *		Where the extension's tables are.
 */
#ifndef INVENTORY_CATALOG_H
#define INVENTORY_CATALOG_H

#include "postgres.h"

#include "utils/relcache.h"

#include "catalog/known_tables.h"

typedef enum IndexId
{
	INDEX_ITEM_ID,
	INDEX_ITEM_SKU,
	INDEX_LOCATION_ID,
	INDEX_LOCATION_CODE,
	INDEX_STOCK,
	INDEX_RESERVATION,
	INDEX_RESERVATION_EXPIRY,
	INDEX_RESERVATION_HELD,
	INDEX_IDEMPOTENCY,
	INDEX_ORDER_ID,
	INDEX_ORDER_RESERVATION,
	INDEX_CUSTOMER_LINE
} IndexId;

#define NUM_INDEXES (INDEX_CUSTOMER_LINE + 1)

/* No table of ours has more indexes than this, unless the shop adds some. */
#define MAX_OWN_INDEXES 8

extern void catalog_init(void);
extern Oid	catalog_schema(void);
extern Relation catalog_open_table(TableId table, int lockmode);
extern bool catalog_has_table(TableId table);
extern Relation catalog_open_index(IndexId index, int lockmode);
extern Oid	catalog_ledger_sequence(void);
extern bool catalog_has_backorders(void);

#endif							/* INVENTORY_CATALOG_H */
