/*
 * known_tables.h
 *		The extension's tables, as the install script makes them.
 */
#ifndef INVENTORY_KNOWN_TABLES_H
#define INVENTORY_KNOWN_TABLES_H

#include "postgres.h"

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
	int			columns;		/* columns that this library reads */
	int			indexes;		/* indexes, checks that the install script */
	int			checks;			/* makes: more are somebody else's */
	bool		is_new;			/* 0.1.0, which is served too, has it not */
} KnownTable;

extern const KnownTable known_tables[NUM_TABLES];

#endif							/* INVENTORY_KNOWN_TABLES_H */
