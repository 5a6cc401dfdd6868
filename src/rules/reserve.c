/*
 * reserve.c
 *		The rule of reserving: all lines or none, never more than there is.
 *
 * The order of things:
 *
 * 1. the key: a repeat gets the first result, before anything else can be
 *    complained of (records/idempotency.c);
 * 2. the items: known, on sale, of one currency; where they limit customers,
 *    whether this one may have so many (rules/purchase_limit.c);
 * 3. a look at the stock with the call's snapshot, locking nothing.  What is
 *    sold out is refused here: no lock, no transaction id, no WAL;
 * 4. the key is claimed, while no other lock is held; where items limit
 *    customers, this one is locked, and asked about again;
 * 5. stock is locked, SKU by SKU in the order of their keys: one row that has
 *    enough, or else all rows of the SKU.  Only what they say *now* counts.
 *    From which location a line comes is decided there (rules/sourcing.c);
 * 6. short lines reclaim dead holds on the rows locked (rules/reclaim.c);
 * 7. only when every line can be had is anything written.
 *
 * The clock is read after the locks were got.  A hold's time starts when it
 * is made, not when its buyer began to wait for it.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "errors.h"
#include "records/route.h"
#include "rules/purchase_limit.h"
#include "rules/reclaim.h"
#include "rules/reserve_steps.h"
#include "rules/sourcing.h"

/* A line as it is wanted: one a SKU, in the buyer's order. */
typedef struct WantedLine
{
	CatalogueItem item;
	int64		quantity;		/* units */
	Sourcing	sourcing;		/* units found, dead holds included */
	bool		looked_near;	/* the next two are known */
	bool		near_suffices;
	StockRow	near;			/* a hint: the stripe to begin at, at the
								 * location to be filled from first */
} WantedLine;

/* All that one call of reserve() works on. */
typedef struct Reserving
{
	Call	   *call;
	ReserveRequest *request;
	Sources		sources;		/* of all lines; count 0: not looked up yet */
	int			count;
	WantedLine *lines;
	StockSet	stock;
} Reserving;

/* Sorts places in the request by SKU, equal ones in the buyer's order. */
static int
compare_places(const void *left, const void *right, void *skus)
{
	int			a = *(const int *) left;
	int			b = *(const int *) right;
	int			order = strcmp(((char **) skus)[a], ((char **) skus)[b]);

	return order != 0 ? order : a - b;
}

/*
 * Find the items and sum the quantities of a SKU that is named twice, at its
 * first place.  Raises IV004, and 22003 for a sum out of range.
 */
static void
want_lines(Reserving *reserving)
{
	ReserveRequest *request = reserving->request;
	int		   *places;
	int64	   *sums;
	int			first = 0;

	if (reserving->count > 0)
		return;					/* is_plain() has done it */
	places = palloc(request->count * sizeof(int));
	sums = palloc0(request->count * sizeof(int64));

	for (int i = 0; i < request->count; i++)
		places[i] = i;
	qsort_arg(places, request->count, sizeof(int), compare_places,
			  request->skus);
	for (int i = 0; i < request->count; i++)
	{
		if (strcmp(request->skus[places[i]], request->skus[places[first]]) != 0)
			first = i;
		sums[places[first]] += request->quantities[places[i]];
		if (sums[places[first]] > MAX_QUANTITY)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("total quantity of SKU \"%s\" is out of range",
							request->skus[places[first]]),
					 errdetail("At most " INT64_FORMAT " is allowed.",
							   MAX_QUANTITY)));
	}

	reserving->lines = palloc0(request->count * sizeof(WantedLine));
	reserving->count = 0;
	for (int i = 0; i < request->count; i++)
	{
		WantedLine *line;

		if (sums[i] == 0)
			continue;			/* summed at an earlier place */
		line = &reserving->lines[reserving->count++];
		line->quantity = sums[i];
		item_require(reserving->call, request->skus[i], &line->item);
	}
}

/* Raise IV006 unless every item is on sale at a moment. */
static void
check_listings(const Reserving *reserving, TimestampTz now)
{
	for (int i = 0; i < reserving->count; i++)
		item_require_on_sale(&reserving->lines[i].item, now);
}

/* Raise 22023 unless the lines have one currency. */
static void
check_currency(const Reserving *reserving)
{
	const CatalogueItem *first = &reserving->lines[0].item;

	for (int i = 1; i < reserving->count; i++)
	{
		const CatalogueItem *item = &reserving->lines[i].item;
		const char *currency = item->currency ? item->currency : "none";
		const char *expected = first->currency ? first->currency : "none";

		if (strcmp(currency, expected) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cart mixes currencies"),
					 errdetail("SKU \"%s\" has currency %s, SKU \"%s\" has %s.",
							   first->sku, expected, item->sku, currency),
					 errhint("Reserve a cart for each currency.")));
	}
}

/* Fill the shortages of a result; true if there are any. */
static bool
list_shortages(const Reserving *reserving, ReserveResult *result)
{
	result->lines = reserving->count;
	result->shortage_count = 0;
	result->shortages = palloc(reserving->count * sizeof(Shortage));
	result->available = PG_INT64_MAX;
	for (int i = 0; i < reserving->count; i++)
	{
		const WantedLine *line = &reserving->lines[i];
		const Sourcing *sourcing = &line->sourcing;

		result->available = Min(result->available,
								Max(sourcing->available, 0));
		if (sourcing->available < line->quantity)
		{
			Shortage   *shortage = &result->shortages[result->shortage_count++];

			shortage->sku = line->item.sku;
			shortage->location_id = sourcing->location_id;
			shortage->of_several = sourcing->of_several;
			shortage->requested = line->quantity;
			shortage->available = Max(sourcing->available, 0);
			shortage->in_all = sourcing->in_all;
		}
	}
	return result->shortage_count > 0;
}

/* IV001, naming every line that is short. */
void
reserve_report_shortage(const ReserveResult *result)
{
	StringInfoData detail;
	bool		split_helps = true;

	initStringInfo(&detail);
	for (int i = 0; i < result->shortage_count; i++)
	{
		const Shortage *shortage = &result->shortages[i];

		appendStringInfo(&detail,
						 "%sSKU \"%s\": " INT64_FORMAT " requested, "
						 INT64_FORMAT " available",
						 i > 0 ? " " : "", shortage->sku, shortage->requested,
						 shortage->available);
		if (shortage->in_all > shortage->available)
			appendStringInfo(&detail, " at one location, " INT64_FORMAT " in all",
							 shortage->in_all);
		appendStringInfoChar(&detail, '.');
		split_helps = split_helps && shortage->in_all >= shortage->requested;
	}
	ereport(ERROR,
			(rejection(ERRCODE_INV_INSUFFICIENT_STOCK),
			 result->lines == 1
			 ? errmsg("insufficient stock of SKU \"%s\"",
					  result->shortages[0].sku)
			 : errmsg("insufficient stock for %d of %d lines",
					  result->shortage_count, result->lines),
			 errdetail_internal("%s", detail.data),
			 split_helps
			 ? errhint("With split => true they can come from several locations.")
			 : 0));
}

/* The first result of a key; raises IV003 if it has been purged. */
static void
replay_or_report(Call *call, const KeyedCall *keyed, ReserveResult *result)
{
	if (!reserve_replay(call, keyed, result))
		reservation_report_unknown(&result->reservation_id);
}

/* Does it matter who asks? */
static bool
limits_customer(const Reserving *reserving)
{
	for (int i = 0; i < reserving->count; i++)
	{
		if (limits_customers(&reserving->lines[i].item))
			return true;
	}
	return false;
}

/* Is a hold what is asked for? */
static bool
is_same_hold(const Reserving *reserving, const pg_uuid_t *hold)
{
	WantedUnits *wanted = palloc(reserving->count * sizeof(WantedUnits));

	for (int i = 0; i < reserving->count; i++)
	{
		wanted[i].item_id = reserving->lines[i].item.item_id;
		wanted[i].location_id = reserving->sources.locations[0];
		wanted[i].at_location = reserving->request->location != NULL;
		wanted[i].quantity = reserving->lines[i].quantity;
	}
	return hold_is_same(reserving->call, hold, wanted, reserving->count,
						reserving->request->reference);
}

/*
 * May the customer, locked or not, have what he asks for?  Raises IV007, IV008
 * and 22023 if he may not.  True if he has it already: his hold is in *hold.
 */
static bool
has_it_already(const Reserving *reserving, bool locked, pg_uuid_t *hold)
{
	const char *customer = reserving->request->customer;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < reserving->count; i++)
	{
		const WantedLine *line = &reserving->lines[i];
		CustomerHolds holds;

		if (!limits_customers(&line->item))
			continue;
		if (customer == NULL && line->item.max_per_customer > 0)
			purchase_limit_report_customer(&line->item);
		purchase_limit_count(reserving->call, &line->item, customer, now,
							 locked, &holds);
		if (allows_one_hold(customer) && holds.has_hold)
		{
			if (!is_same_hold(reserving, &holds.hold))
				purchase_limit_report_hold(&line->item, &holds.hold);
			*hold = holds.hold;
			return true;
		}
		purchase_limit_check(&line->item, &holds, line->quantity);
	}
	return false;
}

/* Keep the customer's other calls for these items waiting. */
static void
lock_customer(const Reserving *reserving)
{
	ItemCustomer *locks = palloc(reserving->count * sizeof(ItemCustomer));
	int			count = 0;

	for (int i = 0; i < reserving->count; i++)
	{
		const CatalogueItem *item = &reserving->lines[i].item;

		if (limits_customers(item) && reserving->request->customer != NULL)
		{
			locks[count].item_id = item->item_id;
			locks[count++].customer = reserving->request->customer;
		}
	}
	customers_lock(reserving->call, locks, count);
}

/* Does the stripe that we would begin at seem to have enough for a line? */
static bool
look_near(Call *call, int32 location_id, WantedLine *line)
{
	if (line->looked_near)
		return line->near_suffices;
	line->looked_near = true;
	line->near_suffices =
		stock_near(call, line->item.item_id, location_id, &line->near) &&
		!line->near.retired && !stock_kept_for_line(&line->near, 1) &&
		stock_row_spare(&line->near) >= line->quantity;
	if (line->near_suffices)
	{
		line->sourcing.location_id = location_id;
		line->sourcing.available = stock_row_spare(&line->near);
	}
	return line->near_suffices;
}

/*
 * Look at the stock without locking it.  True if every line seems to be there:
 * on the stripe that we would begin at, or else on all of them, or at another
 * location.  The sum is of one moment, and of one after any wait for the key:
 * the stripe looked at before is not taken into it, lest units that moved
 * meanwhile be missed.
 */
static bool
look(Reserving *reserving, ReserveResult *result)
{
	Call	   *call = reserving->call;

	for (int i = 0; i < reserving->count; i++)
	{
		WantedLine *line = &reserving->lines[i];

		if (!look_near(call, reserving->sources.locations[0], line))
			(void) sourcing_look(call, &reserving->sources, line->item.item_id,
								 line->quantity, &line->sourcing);
	}
	return !list_shortages(reserving, result);
}

/* The lock order. */
static int
compare_items(const void *left, const void *right)
{
	const WantedLine *a = *(WantedLine *const *) left;
	const WantedLine *b = *(WantedLine *const *) right;

	if (a->item.item_id == b->item.item_id)
		return 0;
	return a->item.item_id < b->item.item_id ? -1 : 1;
}

/* Lock the stock that the lines need, in order. */
static void
lock_stock(Reserving *reserving)
{
	WantedLine **ordered = palloc(reserving->count * sizeof(WantedLine *));

	for (int i = 0; i < reserving->count; i++)
		ordered[i] = &reserving->lines[i];
	qsort(ordered, reserving->count, sizeof(WantedLine *), compare_items);
	for (int i = 0; i < reserving->count; i++)
		sourcing_lock(reserving->call, &reserving->stock, &reserving->sources,
					  ordered[i]->item.item_id, ordered[i]->quantity,
					  ordered[i]->near_suffices ? &ordered[i]->near : NULL,
					  &ordered[i]->sourcing);
}

/*
 * Decide, under the locks.  True if every line can be had; the dead lines to
 * free for it are in "dead".
 */
static bool
decide(Reserving *reserving, TimestampTz now, LineList *dead,
	   ReserveResult *result)
{
	for (int i = 0; i < reserving->count; i++)
	{
		WantedLine *line = &reserving->lines[i];

		sourcing_decide(reserving->call, &reserving->stock,
						&reserving->sources, line->item.item_id,
						line->quantity, now, dead, &line->sourcing);
	}
	return !list_shortages(reserving, result);
}

/*
 * How long the hold is to live, in microseconds: a cart as long as that of its
 * items which is held shortest.
 */
static int64
choose_ttl(const Reserving *reserving)
{
	int64		ttl = PG_INT64_MAX;

	if (reserving->request->ttl > 0)
		return reserving->request->ttl;
	for (int i = 0; i < reserving->count; i++)
		ttl = Min(ttl, default_ttl(&reserving->lines[i].item));
	return ttl;
}

/*
 * Write the lines of the hold, and take their units from the stock rows.  What
 * comes from several locations is a line for each.
 */
static void
take(Reserving *reserving, TimestampTz now, ReserveResult *result)
{
	ReserveRequest *request = reserving->request;
	ReservationLine written = {0};

	written.reservation_id = result->reservation_id;
	written.status = RESERVATION_ACTIVE;
	written.customer = request->customer;
	written.reference = request->reference;
	written.created_at = now;
	written.expires_at = result->expires_at;
	written.metadata = request->metadata;

	for (int i = 0; i < reserving->count; i++)
	{
		WantedLine *line = &reserving->lines[i];
		int64		left = 0;

		for (int j = 0; j < line->sourcing.part_count; j++)
		{
			const SourcedPart *part = &line->sourcing.parts[j];

			written.line_no++;
			written.quantity = part->units;
			take_units(reserving->call, &reserving->stock, &line->item,
					   part->location_id, &written, "reserve");
			written.metadata = (Datum) 0;
			left += part->left;
		}
		result->available = Min(result->available, left);
	}
}

/*
 * Is it the usual call: one SKU, on sale, of which the stripe to begin at, at
 * the location that is sold from first, seems to have enough?  Then there is
 * nothing to complain of before the key is claimed, and it need not be looked up
 * before.  Raises nothing, and leaves what it has found for want_lines() and
 * look().
 */
static bool
is_plain(Reserving *reserving)
{
	Call	   *call = reserving->call;
	ReserveRequest *request = reserving->request;
	WantedLine *line;

	if (request->count != 1 || request->location != NULL)
		return false;
	line = palloc0(sizeof(WantedLine));
	line->quantity = request->quantities[0];
	if (!item_find(call, request->skus[0], &line->item))
		return false;
	reserving->lines = line;
	reserving->count = 1;
	sources_of(call, NULL, request->split, &reserving->sources);
	return !limits_customers(&line->item) &&
		item_on_sale(&line->item, GetCurrentTimestamp()) &&
		look_near(call, reserving->sources.locations[0], line);
}

/*
 * Hold every line of a request, or none.  With too little stock nothing is
 * written, no key is used up, and the result has the shortages.  Raises IV004,
 * IV005, IV006, IV007, IV008, IV010, 22003, 22023, 40001.
 */
void
reserve(Call *call, ReserveRequest *request, ReserveResult *result)
{
	Reserving	reserving = {0};
	LineList	dead = {0};
	TimestampTz now;
	pg_uuid_t	hold;

	reserving.call = call;
	reserving.request = request;
	memset(result, 0, sizeof(ReserveResult));

	if (!is_plain(&reserving))
	{
		if (key_replays(call, &request->keyed))
		{
			replay_or_report(call, &request->keyed, result);
			return;
		}
		if (reserving.sources.count == 0)
			sources_of(call, request->location, request->split,
					   &reserving.sources);
		want_lines(&reserving);
		check_listings(&reserving, GetCurrentTimestamp());
		check_currency(&reserving);
		if (limits_customer(&reserving) &&
			has_it_already(&reserving, false, &hold))
		{
			request->keyed.has_reservation = true;
			request->keyed.reservation_id = hold;
			(void) key_claim(call, &request->keyed);
			replay_or_report(call, &request->keyed, result);
			return;
		}
		if (!look(&reserving, result))
			return;
	}

	route_make_id(&result->reservation_id,
				  route_of_sku(reserving.lines[0].item.sku),
				  GetCurrentTimestamp());
	request->keyed.has_reservation = true;
	request->keyed.reservation_id = result->reservation_id;
	if (!key_claim(call, &request->keyed))
	{
		replay_or_report(call, &request->keyed, result);
		return;
	}

	if (limits_customer(&reserving))
	{
		lock_customer(&reserving);
		if (has_it_already(&reserving, true, &hold))
		{
			key_correct_reservation(call, &request->keyed, &hold);
			replay_or_report(call, &request->keyed, result);
			return;
		}
	}

	lock_stock(&reserving);
	now = GetCurrentTimestamp();
	check_listings(&reserving, now);
	if (!decide(&reserving, now, &dead, result))
	{
		key_withdraw(call, &request->keyed);
		return;
	}

	result->held = true;
	result->status = RESERVATION_ACTIVE;
	result->expires_at = hold_expiry(now, choose_ttl(&reserving));
	reclaim_free(call, &reserving.stock, &dead, now);
	take(&reserving, now, result);
	stock_write(call, &reserving.stock);
}
