/*
 * known_tables.h
 *		The extension's tables, as the install script makes them.
 */
#ifndef INVENTORY_KNOWN_TABLES_H
#define INVENTORY_KNOWN_TABLES_H

#include "postgres.h"

#include "access/tupdesc.h"

#define EXTENSION_NAME "inventory_reservation"

/* Tables that calls read and write through the table access method. */
typedef enum TableId
{
	TABLE_ITEM,
	TABLE_LOCATION,
	TABLE_STOCK,
	TABLE_RESERVATION,
	TABLE_IDEMPOTENCY,
	TABLE_ORDER,
	TABLE_LEDGER,
	TABLE_CUSTOMER_LINE
} TableId;

#define NUM_TABLES (TABLE_CUSTOMER_LINE + 1)

typedef struct KnownTable
{
	const char *name;
	int			columns;		/* columns, indexes and checks that the */
	int			indexes;		/* install script makes: more are somebody */
	int			checks;			/* else's */
	const char *added;			/* its last column, if older extensions lack
								 * it; else NULL */
	const char *since;			/* version that has brought it; NULL: all,
								 * else earlier ones are served without it */
} KnownTable;

extern const KnownTable known_tables[NUM_TABLES];

extern int	known_table_needs(TableId id);
extern int	known_columns(TableId id, TupleDesc tupdesc);

#endif							/* INVENTORY_KNOWN_TABLES_H */
