/*
 * stock.h
 *		Stock rows: the counters of units on hand and reserved.
 */
#ifndef INVENTORY_STOCK_H
#define INVENTORY_STOCK_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/timestamp.h"

#include "catalog/compat.h"
#include "records/ledger.h"
#include "table/call.h"

/* Largest quantity: what a double, and with it JSON, can carry exactly. */
#define MAX_QUANTITY INT64CONST(9007199254740992)

/* What `available` is when backorders are unlimited. */
#define UNLIMITED_UNITS MAX_QUANTITY

/*
 * Stripes stand on a ring of this many places: the number of a stripe is its
 * place.  The tag of a row's queue has room for no more, see stock_lock.c.
 */
#define RING_PLACES 4096

/* A row that is there whenever there is stock, and is never retired. */
#define FIRST_STRIPE 0

typedef struct StockKey
{
	int64		item_id;
	int32		location_id;
	int32		stripe;
} StockKey;

typedef struct StockRow
{
	StockKey	key;
	ItemPointerData tid;
	int			view;			/* the call's, under which it was read */
	int64		on_hand;		/* units not sold */
	int64		reserved;		/* units under active holds */
	int64		min_available;	/* > 0 safety stock, < 0 backorder cap */
	bool		backorder_unlimited;
	bool		retired;		/* takes no new holds */
	int64		version;		/* counted in the first stripe only */
	TimestampTz earliest_expiry;	/* no hold on it dies before */
	int64		backordered;	/* units of it in inv_backorder */
	bool		waiting;		/* somebody is on the waitlist of the SKU */
	bool		changed;		/* stock_write() has something to write */
	bool		current;		/* locked as it was found, without a wait */
	bool		contested;		/* we waited for it, and others do behind us */
} StockRow;

/*
 * Stock rows in lock order, that is, by key; none twice.  Rows may be added in
 * any order and more than once: they are put right when they are asked for.
 */
typedef struct StockSet
{
	int			count;
	int			capacity;
	bool		sorted;
	StockRow   *rows;
} StockSet;

/* stock_set.c: what a set is made of */
extern int	stock_key_compare(const void *left, const void *right);
extern void stock_add_row(StockSet *set, const StockRow *row);
extern void stock_add_key(StockSet *set, StockKey key);
extern StockRow *stock_find(StockSet *set, StockKey key);
extern StockRow *stock_require(StockSet *set, StockKey key);
extern StockRow *stock_of_sku(StockSet *set, int64 item_id, int32 location_id,
							  int *count);
extern StockRow *stock_home(StockSet *set, StockKey key);

/* stock_find.c: finding rows */
extern int32 stock_stripe_place(int n);
extern bool stock_near(Call *call, int64 item_id, int32 location_id,
					   StockRow *row);
extern void stock_add_sku(Call *call, StockSet *set, int64 item_id,
						  int32 location_id);
extern void stock_add_home(Call *call, StockSet *set, StockKey key);

/* stock_lock.c: locking */
extern void stock_lock(Call *call, StockSet *set);
extern void stock_lock_to_give(Call *call, StockSet *set);
extern void stock_lock_sku(Call *call, StockSet *set, int64 item_id,
						   int32 location_id);
extern bool stock_lock_enough(Call *call, StockSet *set, int64 item_id,
							  int32 location_id, int64 units,
							  const StockRow *near);
extern void stock_lock_units(Call *call, StockSet *set, int64 item_id,
							 int32 location_id, int64 units,
							 const StockRow *near);
extern bool stock_try_lock(Call *call, StockRow *row);
extern bool stock_try_lock_sku(Call *call, StockSet *set, int64 item_id,
							   int32 location_id);

/* stock.c: numbers */
extern int64 stock_row_spare(const StockRow *row);
extern int64 stock_spare(const StockRow *rows, int count);
extern int64 stock_row_shortfall(const StockRow *row);
extern bool stock_row_takes_backorders(const StockRow *row);
extern bool stock_kept_for_line(const StockRow *rows, int count);
extern void stock_set_waiting(StockRow *rows, int count, bool waiting);
extern void stock_post(Call *call, StockRow *row, int64 delta_on_hand,
					   int64 delta_reserved, const Posting *posting);
extern void stock_post_hold(Call *call, StockRow *row, int64 units,
							TimestampTz expires_at, const Posting *posting);
extern void stock_correct(Call *call, StockRow *row, int64 on_hand,
						  int64 reserved, int64 booked_on_hand,
						  int64 booked_reserved, const Posting *posting);
extern TimestampTz stock_earliest_expiry(const StockRow *rows, int count);
pg_noreturn extern void stock_report_retired(Call *call, int64 item_id,
											 int32 location_id);
extern StockRow *stock_gather(Call *call, StockSet *set, int64 item_id,
							  int32 location_id, int64 units);
extern void stock_write(Call *call, StockSet *set);

/* The version of stock that was made empty, and then given so many units. */
static inline int64
stock_new_version(int64 on_hand)
{
	return on_hand == 0 ? 1 : 2;
}

/* stock.c: making rows */
extern void stock_lock_or_create(Call *call, StockSet *set, int64 item_id,
								 int32 location_id);
extern void stock_create(Call *call, int64 item_id, int32 location_id,
						 int stripes);
extern void stock_make_sure(Call *call, int64 item_id, int32 location_id);
extern void stock_create_many(Call *call, const int64 *item_ids, int count,
							  int32 location_id);
extern void stock_append_new(Call *call, const StockKey *key, int64 on_hand,
							 const Posting *posting);
extern bool stock_restore(Call *call, StockKey key);

#endif							/* INVENTORY_STOCK_H */
