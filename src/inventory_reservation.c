/*
 * inventory_reservation.c
 *		Entry point of the library.
 *
 * The rooms, outermost first; each may call those below it, never those
 * above:
 *
 *		functions/	what SQL calls: reads arguments, builds results
 *		worker/		background processes: when upkeep is done, and where
 *		rules/		reserve, confirm, cancel, release, extend, expire, orders
 *		records/	stock, reservations, keys, orders, items, the ledger
 *		table/		rows of tables: find, lock, insert, update; the SPI door
 *		catalog/	the extension and its tables; versions, also PostgreSQL's
 *		statistics/ counters in shared memory
 *
 * The order in which locks are taken is the same everywhere:
 *
 *		idempotency key, reservation (the row of its line 1), the order's row,
 *		stock rows by (item_id, location_id, stripe), then inserts.
 *
 * Anything out of that order is tried with a lock that never waits: whoever
 * has stock locked takes reservations only with ROW_SKIP_BUSY.
 */
#include "postgres.h"

#include "fmgr.h"

#include "catalog/catalog.h"
#include "settings.h"
#include "statistics/statistics.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
	catalog_init();
	statistics_init();
	worker_init();
}
