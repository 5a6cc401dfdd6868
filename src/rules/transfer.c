/*
 * transfer.c
 *		Units that go from one location to another.
 *
 * Both ends change in one transaction, by a pair of ledger entries, so that no
 * snapshot has the units nowhere or twice.  The stock of both is locked in the
 * order of the locations' numbers, whichever way the units go: two transfers in
 * opposite directions do not wait for each other in a circle.
 *
 * Only what is really there can go: units on hand that nobody holds, safety stock
 * included, for that is the shop's own.  What a location may promise beyond what
 * it has does not count.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "rules/reclaim.h"
#include "rules/transfer.h"
#include "rules/waitlist.h"

/* Units on hand that nobody holds. */
static int64
loose_units(const StockSet *stock)
{
	int64		units = 0;

	for (int i = 0; i < stock->count; i++)
		units += stock->rows[i].on_hand - stock->rows[i].reserved;
	return units;
}

/* Raise IV012 unless so many units can go, now that dead holds are freed. */
static void
make_loose(Call *call, const CatalogueItem *item, StockSet *stock, int64 units)
{
	TimestampTz now = GetCurrentTimestamp();
	LineList	dead = {0};

	(void) reclaim_collect(call, stock->rows, stock->count,
						   units - loose_units(stock), now, &dead);
	reclaim_free(call, stock, &dead, now);
	if (loose_units(stock) < units)
		stock_report_held(call, item, stock, units, loose_units(stock));
}

/*
 * Move units of a SKU.  Raises IV012, naming holds, if so many are not free;
 * 22003, 40001.
 */
void
transfer_units(Call *call, const CatalogueItem *item, const Transfer *wanted,
			   StockLevel *from, StockLevel *to)
{
	StockSet	source = {0};
	StockSet	target = {0};
	bool		source_first = wanted->from < wanted->to;

	/* not while the other end is locked: a load may be making rows too */
	stock_make_sure(call, item->item_id, wanted->from);
	stock_make_sure(call, item->item_id, wanted->to);
	stock_lock_or_create(call, source_first ? &source : &target, item->item_id,
						 Min(wanted->from, wanted->to));
	stock_lock_or_create(call, source_first ? &target : &source, item->item_id,
						 Max(wanted->from, wanted->to));
	make_loose(call, item, &source, wanted->quantity);
	stock_post_delta(call, item, &source, -wanted->quantity, false,
					 "transfer", wanted->reason);
	stock_post_delta(call, item, &target, wanted->quantity, false,
					 "transfer", wanted->reason);
	stock_write(call, &source);
	stock_write(call, &target);
	waitlist_serve(call, &target);
	call_next_command(call);
	stock_level(call, item, wanted->from, from);
	stock_level(call, item, wanted->to, to);
}
