/*
 * known_tables.c
 *		The extension's tables, as the install script makes them.
 */
#include "postgres.h"

#include "catalog/known_tables.h"

const KnownTable known_tables[NUM_TABLES] = {
	[TABLE_ITEM] = {"inv_item", 12, 2, 6},
	[TABLE_LOCATION] = {"inv_location", 5, 2, 2},
	[TABLE_STOCK] = {"inv_stock", 11, 2, 2},
	[TABLE_RESERVATION] = {"inv_reservation", 16, 5, 3},
	[TABLE_IDEMPOTENCY] = {"inv_idempotency", 6, 2, 1},
	[TABLE_ORDER] = {"inv_order", 12, 3, 2},
	[TABLE_LEDGER] = {"inv_ledger", 17, 1, 0},
	[TABLE_CUSTOMER_LINE] = {"inv_customer_line", 4, 1, 0, true},
};
