/*
 * policy.c
 *		Safety stock and backorders: how much of its stock a SKU may promise.
 *
 * Both are one number, min_available: above 0 units that are never promised,
 * below 0 units that may be promised without being there.  In stripes the first
 * has all of the safety stock, and the others have 0; what is left to promise is
 * shared out evenly.
 *
 * A backorder is a place in a queue, and a queue is one row
 * (records/backorder.c).  So a SKU that takes backorders is not in stripes: those
 * it has are retired.  They keep what is held on them, and owe nothing.
 *
 * What must never happen is that a policy forbids what has been promised
 * already.  Safety stock comes out of what nobody has been promised: where
 * that is too little, nothing is available until there is more.  Fewer
 * backorders than there are would break a promise, so dead holds are freed
 * first, as a buyer would, and if that is not enough IV012 is raised.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "errors.h"
#include "rules/policy.h"
#include "rules/reclaim.h"
#include "rules/stripes.h"
#include "rules/waitlist.h"

/* Units that are promised without being there. */
static int64
backordered_units(const StockSet *stock)
{
	int64		units = 0;

	for (int i = 0; i < stock->count; i++)
		units += stock->rows[i].reserved - stock->rows[i].on_hand;
	return Max(units, 0);
}

/* What the ledger says of a policy. */
static char *
policy_text(const StockPolicy *policy)
{
	if (policy->backorder_unlimited)
		return "backorders without limit";
	if (policy->backorder_limit > 0)
		return psprintf("backorders up to " INT64_FORMAT,
						policy->backorder_limit);
	return psprintf("safety stock " INT64_FORMAT, policy->safety_stock);
}

/*
 * Free dead holds until no more units are backordered than a limit allows.
 * Raises IV012 if there are still more.
 */
static void
keep_limit(Call *call, const CatalogueItem *item, StockSet *stock, int64 limit)
{
	TimestampTz now = GetCurrentTimestamp();
	LineList	dead = {0};

	if (backordered_units(stock) <= limit)
		return;
	(void) reclaim_collect(call, stock->rows, stock->count,
						   backordered_units(stock) - limit, now, &dead);
	reclaim_free(call, stock, &dead, now);
	if (backordered_units(stock) > limit)
		ereport(ERROR,
				(rejection(ERRCODE_INV_BELOW_HELD),
				 errmsg("more of SKU \"%s\" is backordered than would be allowed",
						item->sku),
				 errdetail(INT64_FORMAT " backordered, " INT64_FORMAT " allowed.",
						   backordered_units(stock), limit),
				 errhint("Receive stock or cancel holds first.")));
}

/*
 * Set the policy of a SKU at a location.  Raises IV012, 40001.
 */
void
set_policy(Call *call, const CatalogueItem *item, int32 location_id,
		   const StockPolicy *policy, StockLevel *level)
{
	Posting		posting = {"set_policy", NULL, NULL, policy_text(policy)};
	StockSet	stock = {0};
	bool		takes_backorders = policy->backorder_unlimited ||
		policy->backorder_limit > 0;

	stock_lock_or_create(call, &stock, item->item_id, location_id);
	if (!policy->backorder_unlimited)
		keep_limit(call, item, &stock, policy->backorder_limit);

	for (int i = 0; i < stock.count; i++)
	{
		StockRow   *row = &stock.rows[i];
		bool		first = row->key.stripe == FIRST_STRIPE;

		row->min_available = !first ? 0
			: policy->safety_stock - policy->backorder_limit;
		row->backorder_unlimited = policy->backorder_unlimited;
		if (takes_backorders && !first)
			row->retired = true;
		row->version += first ? 1 : 0;
		row->changed = true;
		/* changes no number, but who follows the ledger looks at the SKU */
		if (first)
			stock_post(call, row, 0, 0, &posting);
	}
	share_evenly(call, stock.rows, stock.count);
	stock_write(call, &stock);
	waitlist_serve(call, &stock);
	call_next_command(call);
	stock_level(call, item, location_id, level);
}
