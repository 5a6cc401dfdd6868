/*
 * catalog.h
 *		Where the extension's tables are.
 */
#ifndef INVENTORY_CATALOG_H
#define INVENTORY_CATALOG_H

#include "postgres.h"

#include "utils/relcache.h"

#define EXTENSION_NAME "inventory_reservation"

typedef enum TableId
{
	TABLE_ITEM,
	TABLE_LOCATION,
	TABLE_STOCK,
	TABLE_RESERVATION,
	TABLE_IDEMPOTENCY,
	TABLE_ORDER,
	TABLE_LEDGER
} TableId;

#define NUM_TABLES (TABLE_LEDGER + 1)

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
	INDEX_ORDER_RESERVATION
} IndexId;

#define NUM_INDEXES (INDEX_ORDER_RESERVATION + 1)

/* No table of ours has more indexes than this, unless the shop adds some. */
#define MAX_OWN_INDEXES 8

/* Why the library and the extension in a database do not go together. */
typedef struct Misfit
{
	char	   *message;
	char	   *hint;
} Misfit;

extern void catalog_init(void);
extern Oid	catalog_schema(void);
extern bool catalog_find_owner(Oid *owner, Oid *schema);
extern bool catalog_fits(Misfit *misfit);
extern bool catalog_is_older(void);
extern Relation catalog_open_table(TableId table, int lockmode);
extern Relation catalog_open_index(IndexId index, int lockmode);
extern Oid	catalog_ledger_sequence(void);
extern int	catalog_known_columns(TableId table);
extern bool catalog_has_foreign_code(TableId table, Relation relation);

#endif							/* INVENTORY_CATALOG_H */
