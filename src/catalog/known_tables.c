/*
 * known_tables.c
 *		The extension's tables, as the install script makes them.
 */
#include "postgres.h"

#include "catalog/known_tables.h"

const KnownTable known_tables[NUM_TABLES] = {
	[TABLE_ITEM] = {"inv_item", 12, 2, 6},
	[TABLE_LOCATION] = {"inv_location", 5, 2, 2},
	[TABLE_STOCK] = {"inv_stock", 12, 2, 2, "waiting"},
	[TABLE_RESERVATION] = {"inv_reservation", 16, 5, 3},
	[TABLE_IDEMPOTENCY] = {"inv_idempotency", 6, 2, 1},
	[TABLE_ORDER] = {"inv_order", 12, 3, 2},
	[TABLE_LEDGER] = {"inv_ledger", 17, 1, 0},
	[TABLE_CUSTOMER_LINE] = {"inv_customer_line", 4, 1, 0, NULL, "0.2.0"},
};

/* How many columns this library cannot do without. */
int
known_table_needs(TableId id)
{
	return known_tables[id].columns - (known_tables[id].added != NULL ? 1 : 0);
}

/*
 * How many columns of a table are ours.  In its place, where an older extension
 * lacks the last one, the shop may have a column of its own.
 */
int
known_columns(TableId id, TupleDesc tupdesc)
{
	const KnownTable *known = &known_tables[id];

	if (known->added == NULL ||
		(tupdesc->natts >= known->columns &&
		 strcmp(NameStr(TupleDescAttr(tupdesc, known->columns - 1)->attname),
				known->added) == 0))
		return known->columns;
	return known_table_needs(id);
}
