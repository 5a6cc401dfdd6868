/*
 * feed.h
 *		The ledger as a feed.
 */
#ifndef INVENTORY_FEED_H
#define INVENTORY_FEED_H

#include "postgres.h"

#include "records/ledger.h"
#include "table/call.h"

/* Columns of type inv_event, which feed_read()'s result begins with. */
#define COLUMNS_OF_EVENT 17

/* Somebody who reads on, page by page, with one snapshot. */
typedef struct FeedReader
{
	LedgerPlace place;			/* of the last event that was read */
	int32		first_own_epoch;	/* see ledger_own_epochs() */
	int32	   *epochs;			/* to be read, in order */
	int			epoch_count;
	int			epoch;			/* the one that is being read */
} FeedReader;

extern void feed_begin(Call *call, FeedReader *reader, const LedgerPlace *after);
extern int	feed_read(Call *call, FeedReader *reader, int count);
extern bool feed_newest(Call *call, LedgerPlace *newest);
extern bool feed_ring(Call *call, int64 *rows);

#endif							/* INVENTORY_FEED_H */
