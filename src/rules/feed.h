/*
 * feed.h
 *		The ledger as a feed.
 */
#ifndef INVENTORY_FEED_H
#define INVENTORY_FEED_H

#include "postgres.h"

#include "records/ledger.h"
#include "table/call.h"

/* Columns of type inv_event, which are those of feed_page()'s result too. */
#define COLUMNS_OF_EVENT 17

extern void feed_check_place(Call *call, const LedgerPlace *after);
extern void feed_begin_at_oldest(Call *call, LedgerPlace *place);
extern int	feed_page(Call *call, LedgerPlace *after, int32 first, int32 last,
					  int count);
extern bool feed_newest(Call *call, LedgerPlace *newest);
extern bool feed_ring(Call *call, int64 *rows);

#endif							/* INVENTORY_FEED_H */
