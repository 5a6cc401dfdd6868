/*
 * reserve_batch.c
 *		The rule of reserving for many buyers at once: one round trip, one
 *		commit, and an answer for each.
 *
 * The requests have nothing to do with one another: what is wrong with one is
 * its own answer, never an error of the call.  The order of things is that of
 * a single reserve (reserve.c), each step for all requests before the next, so
 * that the lock order holds: all keys, in their order, before any stock, and
 * stock SKU by SKU.  A SKU is looked up, locked and written once, however many
 * ask for it.  Each request comes from the first location, by priority, that has
 * it all: from one row, if the first with anything has enough for everybody,
 * else all rows of the SKU are locked.
 *
 * Where a SKU does not suffice for all, those who come first in the batch are
 * served first, and a smaller request may get what a larger one before it
 * could not.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "records/route.h"
#include "rules/purchase_limit.h"
#include "rules/reclaim.h"
#include "rules/reserve_batch.h"
#include "rules/reserve_steps.h"
#include "rules/sourcing.h"

typedef struct Batch
{
	Call	   *call;
	BatchRequest *requests;		/* in the caller's order */
	int			count;
	BatchRequest **ordered;		/* scratch: some of them in another order */
	Sources		sources;		/* any location */
	StockSet	stock;
	MemoryContext scratch;		/* for one request */
} Batch;

/* Nothing has been decided about it yet. */
static bool
is_open(const BatchRequest *request)
{
	return request->error == 0 && request->repeats == NULL &&
		!request->result.held;
}

/* Fill batch->ordered with the open requests; returns how many. */
static int
list_open(Batch *batch)
{
	int			count = 0;

	for (int i = 0; i < batch->count; i++)
	{
		if (is_open(&batch->requests[i]))
			batch->ordered[count++] = &batch->requests[i];
	}
	return count;
}

/* By key, those without one first; of one key in the caller's order. */
static int
compare_keys(const void *left, const void *right)
{
	const BatchRequest *a = *(BatchRequest *const *) left;
	const BatchRequest *b = *(BatchRequest *const *) right;
	int			order;

	if (a->keyed.key == NULL || b->keyed.key == NULL)
		order = (a->keyed.key != NULL) - (b->keyed.key != NULL);
	else
		order = strcmp(a->keyed.key, b->keyed.key);
	if (order != 0)
		return order;
	return a < b ? -1 : 1;
}

static int
compare_skus(const void *left, const void *right)
{
	const BatchRequest *a = *(BatchRequest *const *) left;
	const BatchRequest *b = *(BatchRequest *const *) right;
	int			order = strcmp(a->sku, b->sku);

	if (order != 0)
		return order;
	return a < b ? -1 : 1;
}

/* The lock order. */
static int
compare_items(const void *left, const void *right)
{
	const BatchRequest *a = *(BatchRequest *const *) left;
	const BatchRequest *b = *(BatchRequest *const *) right;

	if (a->item.item_id != b->item.item_id)
		return a->item.item_id < b->item.item_id ? -1 : 1;
	return a < b ? -1 : 1;
}

static bool
same_key(const BatchRequest *a, const BatchRequest *b)
{
	return a->keyed.key != NULL && b->keyed.key != NULL &&
		strcmp(a->keyed.key, b->keyed.key) == 0;
}

/*
 * Look the key of a request up, or claim it.  If it has been used, the request
 * gets the first result, IV003 or IV005, and the answer is true.
 */
static bool
replays(Batch *batch, BatchRequest *request, bool claim)
{
	MemoryContext old_context = MemoryContextSwitchTo(batch->scratch);
	KeyedCall  *keyed = &request->keyed;
	bool		used = claim ? !key_claim(batch->call, keyed)
		: key_replays(batch->call, keyed);

	if (used && keyed->differs != NULL)
		request->error = ERRCODE_INV_KEY_REUSED;
	else if (used && !reserve_replay(batch->call, keyed, &request->result))
		request->error = ERRCODE_INV_RESERVATION_UNKNOWN;
	keyed->differs = NULL;
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(batch->scratch);
	return used;
}

/*
 * Refuse a request, unless its key turns out to have been used: by now the
 * call may see more than when the key was looked up, and what another has got
 * with the same key must not be the reason.
 */
static void
refuse(Batch *batch, BatchRequest *request, int error, int64 available)
{
	if (replays(batch, request, false))
		return;
	request->error = error;
	request->result.available = Max(available, 0);
}

/*
 * Look all keys up, in their order.  A repeat within the batch gets what the
 * first with its key gets; but where that one is refused for asking something
 * else than an earlier call, it may be the repeat that asks the same.
 */
static void
look_keys_up(Batch *batch)
{
	int			count = list_open(batch);

	qsort(batch->ordered, count, sizeof(BatchRequest *), compare_keys);
	for (int i = 0; i < count; i++)
	{
		BatchRequest *request = batch->ordered[i];
		BatchRequest *before = i > 0 ? batch->ordered[i - 1] : NULL;

		if (before != NULL && same_key(before, request) &&
			before->error != ERRCODE_INV_KEY_REUSED)
			request->repeats = before->repeats ? before->repeats : before;
		else
			(void) replays(batch, request, false);
	}
}

/* Find the items, once a SKU, and refuse what is not on sale. */
static void
find_items(Batch *batch)
{
	int			count = list_open(batch);
	TimestampTz now = GetCurrentTimestamp();
	bool		found = false;

	qsort(batch->ordered, count, sizeof(BatchRequest *), compare_skus);
	for (int i = 0; i < count; i++)
	{
		BatchRequest *request = batch->ordered[i];

		if (i > 0 && strcmp(batch->ordered[i - 1]->sku, request->sku) == 0)
			request->item = batch->ordered[i - 1]->item;
		else
			found = item_find(batch->call, request->sku, &request->item);
		if (!found)
			refuse(batch, request, ERRCODE_INV_SKU_UNKNOWN, 0);
		else if (!item_on_sale(&request->item, now))
			refuse(batch, request, ERRCODE_INV_LISTING_CLOSED, 0);
	}
}

/*
 * May its customer have what a request asks for?  0 or IV007, IV008, 22023;
 * *left is what he still may have.  What this call has held for him counts too.
 * If he has such a hold already, it is in request->keyed.
 */
static int
judge_customer(Batch *batch, BatchRequest *request, bool locked, int64 *left)
{
	WantedUnits wanted = {request->item.item_id, 0, false, request->quantity};
	MemoryContext old_context = MemoryContextSwitchTo(batch->scratch);
	CustomerHolds holds;
	int			error = 0;

	purchase_limit_count(batch->call, &request->item, request->customer,
						 GetCurrentTimestamp(), locked, &holds);
	*left = purchase_limit_left(&request->item, &holds);
	if (request->customer == NULL)
		error = request->item.max_per_customer > 0
			? ERRCODE_INVALID_PARAMETER_VALUE : 0;
	else if (!allows_one_hold(request->customer) || !holds.has_hold)
		error = request->quantity > *left ? ERRCODE_INV_PURCHASE_LIMIT : 0;
	else if (hold_is_same(batch->call, &holds.hold, &wanted, 1, NULL))
	{
		request->has_it_already = true;
		request->keyed.has_reservation = true;
		request->keyed.reservation_id = holds.hold;
	}
	else
		error = ERRCODE_INV_NOT_ALLOWED;
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(batch->scratch);
	return error;
}

/* Refuse what customers may not have. */
static void
look_customers_up(Batch *batch)
{
	int			count = list_open(batch);

	for (int i = 0; i < count; i++)
	{
		BatchRequest *request = batch->ordered[i];
		int64		left;
		int			error;

		if (!limits_customers(&request->item))
			continue;
		error = judge_customer(batch, request, false, &left);
		if (error != 0)
			refuse(batch, request, error,
				   error == ERRCODE_INV_PURCHASE_LIMIT ? left : 0);
	}
}

/* Keep other calls for the customers of what is left waiting. */
static void
lock_customers(Batch *batch)
{
	int			count = list_open(batch);
	int			lock_count = 0;
	ItemCustomer *locks = palloc(count * sizeof(ItemCustomer));

	for (int i = 0; i < count; i++)
	{
		const BatchRequest *request = batch->ordered[i];

		if (limits_customers(&request->item) && request->customer != NULL)
		{
			locks[lock_count].item_id = request->item.item_id;
			locks[lock_count++].customer = request->customer;
		}
	}
	if (lock_count > 0)
		customers_lock(batch->call, locks, lock_count);
	pfree(locks);
}

/* The requests for one SKU, in the caller's order. */
typedef struct SkuGroup
{
	BatchRequest **members;
	int			count;
	int64		item_id;
	int64		units;			/* that they want in all */
	BatchRequest **end;			/* of all groups */
} SkuGroup;

/* Begin to go through the open requests SKU by SKU, in the lock order. */
static void
begin_groups(Batch *batch, SkuGroup *group)
{
	int			count = list_open(batch);

	qsort(batch->ordered, count, sizeof(BatchRequest *), compare_items);
	group->members = batch->ordered;
	group->count = 0;
	group->end = batch->ordered + count;
}

/* The next group; false after the last. */
static bool
next_group(SkuGroup *group)
{
	group->members += group->count;
	group->count = 0;
	group->units = 0;
	if (group->members == group->end)
		return false;
	group->item_id = group->members[0]->item.item_id;
	while (group->members + group->count < group->end &&
		   group->members[group->count]->item.item_id == group->item_id)
	{
		group->units = Min(group->units +
						   group->members[group->count]->quantity, MAX_QUANTITY);
		group->count++;
	}
	return true;
}

/* Look at the stock without locking it and refuse what is sold out. */
static void
look(Batch *batch)
{
	SkuGroup	group;

	begin_groups(batch, &group);
	while (next_group(&group))
	{
		Sourcing	sourcing = {0};
		StockRow	near;

		if (stock_near(batch->call, group.item_id, batch->sources.locations[0],
					   &near) &&
			!near.retired && !stock_kept_for_line(&near, 1) &&
			stock_row_spare(&near) >= group.units)
			continue;
		if (sourcing_look(batch->call, &batch->sources, group.item_id,
						  group.units, &sourcing))
			continue;
		for (int i = 0; i < group.count; i++)
		{
			if (group.members[i]->quantity > sourcing.available &&
				!group.members[i]->has_it_already)
				refuse(batch, group.members[i], ERRCODE_INV_INSUFFICIENT_STOCK,
					   sourcing.available);
		}
	}
}

/* Answer a request with the hold that its customer has. */
static void
answer_with_hold(Batch *batch, BatchRequest *request)
{
	if (!reserve_replay(batch->call, &request->keyed, &request->result))
		request->error = ERRCODE_INV_RESERVATION_UNKNOWN;
}

/* Claim the keys of what is left, in their order, and give it ids. */
static void
claim_keys(Batch *batch)
{
	int			count = list_open(batch);

	qsort(batch->ordered, count, sizeof(BatchRequest *), compare_keys);
	for (int i = 0; i < count; i++)
	{
		BatchRequest *request = batch->ordered[i];

		if (!request->has_it_already)
		{
			route_make_id(&request->result.reservation_id,
						  route_of_sku(request->item.sku),
						  GetCurrentTimestamp());
			request->keyed.has_reservation = true;
			request->keyed.reservation_id = request->result.reservation_id;
		}
		if (!replays(batch, request, true) && request->has_it_already)
			answer_with_hold(batch, request);
	}
}

/* Lock the stock of what is left, SKU by SKU. */
static void
lock_stock(Batch *batch)
{
	SkuGroup	group;

	begin_groups(batch, &group);
	while (next_group(&group))
		sourcing_lock_first(batch->call, &batch->stock, &batch->sources,
							group.item_id, group.units);
}

/* Free dead holds of SKUs that do not suffice for all who ask. */
static void
reclaim(Batch *batch, TimestampTz now)
{
	SkuGroup	group;
	LineList	dead = {0};

	begin_groups(batch, &group);
	while (next_group(&group))
	{
		for (int i = 0; i < batch->sources.count; i++)
		{
			/* at each: whoever wants most must have it all from one */
			if (reclaim_units(batch->call, &batch->stock, group.item_id,
							  batch->sources.locations[i], group.units, now,
							  &dead) >= group.units)
				break;
		}
	}
	reclaim_free(batch->call, &batch->stock, &dead, now);
}

/*
 * Under the locks, the first location that has what a request wants; else the one
 * that has most.  *spare is what it has.
 */
static int32
choose_location(Batch *batch, const BatchRequest *request, int64 *spare)
{
	int32		chosen = batch->sources.locations[0];

	*spare = PG_INT64_MIN;
	for (int i = 0; i < batch->sources.count && *spare < request->quantity; i++)
	{
		int			count;
		StockRow   *rows = stock_of_sku(&batch->stock, request->item.item_id,
										batch->sources.locations[i], &count);
		int64		units = stock_kept_for_line(rows, count) ? 0
			: stock_spare(rows, count);

		if (units > *spare)
		{
			chosen = batch->sources.locations[i];
			*spare = units;
		}
	}
	return chosen;
}

/* Decide one request under the locks, and write its hold. */
static void
serve(Batch *batch, BatchRequest *request, int64 ttl, TimestampTz now)
{
	ReservationLine line = {0};
	int64		spare;
	int32		location_id = choose_location(batch, request, &spare);
	int64		left = PG_INT64_MAX;

	if (!item_on_sale(&request->item, now))
		request->error = ERRCODE_INV_LISTING_CLOSED;
	else if (limits_customers(&request->item))
		request->error = judge_customer(batch, request, true, &left);
	if (request->has_it_already)
	{
		key_correct_reservation(batch->call, &request->keyed,
								&request->keyed.reservation_id);
		answer_with_hold(batch, request);
		return;
	}
	if (request->error == 0 && spare < request->quantity)
		request->error = ERRCODE_INV_INSUFFICIENT_STOCK;
	request->result.available =
		request->error == ERRCODE_INV_PURCHASE_LIMIT ? left : Max(spare, 0);
	if (request->error != 0)
	{
		key_withdraw(batch->call, &request->keyed);
		return;
	}

	line.reservation_id = request->result.reservation_id;
	line.line_no = 1;
	line.quantity = request->quantity;
	line.status = RESERVATION_ACTIVE;
	line.customer = request->customer;
	line.created_at = now;
	line.expires_at = hold_expiry(now, ttl > 0 ? ttl
								  : default_ttl(&request->item));
	take_units(batch->call, &batch->stock, &request->item, location_id, &line,
			   "reserve");

	request->result.held = true;
	request->result.status = RESERVATION_ACTIVE;
	request->result.expires_at = line.expires_at;
	request->result.available = spare - request->quantity;
}

/* Answer a request that repeats the key of an earlier one of the batch. */
static void
answer_repeat(Batch *batch, BatchRequest *request)
{
	BatchRequest *first = request->repeats;
	MemoryContext old_context = MemoryContextSwitchTo(batch->scratch);

	if (first->error == ERRCODE_INV_KEY_REUSED ||
		!key_same_request(&request->keyed, &first->keyed))
		request->error = ERRCODE_INV_KEY_REUSED;
	else
	{
		request->error = first->error;
		request->result = first->result;
		request->result.replayed = first->result.held;
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(batch->scratch);
}

/*
 * Hold what each request asks for, at the first location that has it, or say in
 * its "error" why not: IV001, IV003 (its first result has been purged), IV004,
 * IV005, IV006, IV007, IV008, 22023.  A request that has an error already is
 * left alone.  "ttl" in microseconds, 0: the items' or the default.  Raises
 * 40001.
 */
void
reserve_batch(Call *call, BatchRequest *requests, int count, int64 ttl)
{
	Batch		batch = {call, requests, count};
	TimestampTz now;

	batch.ordered = palloc(count * sizeof(BatchRequest *));
	batch.scratch = AllocSetContextCreate(CurrentMemoryContext,
										  "request of a batch",
										  ALLOCSET_DEFAULT_SIZES);
	look_keys_up(&batch);
	find_items(&batch);
	look_customers_up(&batch);
	sources_of(call, NULL, false, &batch.sources);
	look(&batch);
	if (list_open(&batch) > 0)
	{
		claim_keys(&batch);
		lock_customers(&batch);
		lock_stock(&batch);
		now = GetCurrentTimestamp();
		reclaim(&batch, now);
		for (int i = 0; i < count; i++)
		{
			if (is_open(&requests[i]))
				serve(&batch, &requests[i], ttl, now);
		}
		stock_write(call, &batch.stock);
	}
	for (int i = 0; i < count; i++)
	{
		if (requests[i].repeats != NULL)
			answer_repeat(&batch, &requests[i]);
	}
}
