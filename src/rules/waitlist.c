/*
 * waitlist.c
 *		The rule of the waitlist: first come, first served.
 *
 * Customers wait in a line for each SKU.  While somebody does, all stock rows of
 * the SKU are marked as waited for, and a buyer, who sees that under the lock of
 * the row he takes units from, gets none (unless the shop allows it).  So units
 * that come back stay where they are until they are offered to the first in
 * line: as a hold of his, which he confirms or not, like any other.  If he does
 * not, they come back, and it is the next one's turn.
 *
 * What must always hold:
 *
 * - Offers are made in the order of arrival.  Nobody is served past the first,
 *   though he may wait for more units than there are and somebody behind him
 *   for less.
 * - Who joins, leaves or makes offers has all stock rows of the SKU locked, or
 *   some buyer could be at a row that is not marked yet.
 *
 * Who gives units back has no more than some rows of the SKU, and perhaps those
 * of others that come later.  He locks all of a SKU that is waited for to begin
 * with (stock_lock_to_give()).  Where that has come to be only while he waited
 * for his row, and in a sweep, which takes rows as it finds them, the rest is
 * only tried for.  If somebody has one of them, the offer is left to whoever
 * gives back, joins or leaves next, or else to upkeep.
 *
 * Units under dead holds are free for the line as they are for a buyer.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "errors.h"
#include "records/route.h"
#include "rules/purchase_limit.h"
#include "rules/reclaim.h"
#include "rules/reserve_steps.h"
#include "rules/waitlist.h"
#include "settings.h"
#include "table/row.h"

/* How many entries of a line are read at a time. */
#define PAGE 16

/* A line is at the default location. */
static WaitingLine
line_of(const CatalogueItem *item)
{
	WaitingLine line = {item->item_id, DEFAULT_LOCATION_ID};

	return line;
}

/* What became of the hold that was offered, in "status". */
static void
read_offer(Call *call, WaitStatus *status)
{
	Reservation reservation;

	status->state = WAIT_LAPSED;
	if (!reservation_find(call, &status->entry.reservation_id, &reservation))
		return;
	switch (reservation_status(&reservation, GetCurrentTimestamp()))
	{
		case RESERVATION_ACTIVE:
		case RESERVATION_CONFIRMING:
			status->state = WAIT_OFFERED;
			status->expires_at = reservation.lines[0].expires_at;
			break;
		case RESERVATION_CONFIRMED:
			status->state = WAIT_TAKEN;
			break;
		case RESERVATION_CANCELLED:
		case RESERVATION_EXPIRED:
			break;
	}
}

/*
 * How a customer stands as of now, as the call's snapshot sees it: by his newest
 * entry.
 */
void
waitlist_status(Call *call, const CatalogueItem *item, const char *customer,
				WaitStatus *status)
{
	WaitingLine line = line_of(item);

	memset(status, 0, sizeof(WaitStatus));
	if (!waitlist_find(call, &line, customer, &status->entry))
		status->state = WAIT_NONE;
	else if (status->entry.offered)
		read_offer(call, status);
	else
	{
		status->state = WAIT_WAITING;
		status->position = waitlist_position(call, &line,
											 status->entry.entry_id);
	}
}

/* Make a hold of units that are to spare on the rows of a SKU. */
static void
make_offer(Call *call, StockSet *stock, const CatalogueItem *item,
		   const WaitlistEntry *entry, TimestampTz now)
{
	ReservationLine hold = {0};

	route_make_id(&hold.reservation_id, route_of_sku(item->sku), now);
	hold.line_no = 1;
	hold.quantity = entry->quantity;
	hold.status = RESERVATION_ACTIVE;
	hold.customer = entry->customer;
	hold.created_at = now;
	hold.expires_at = hold_expiry(now, default_ttl(item));
	take_units(call, stock, item, DEFAULT_LOCATION_ID, &hold, "offer");
	waitlist_set_offered(call, entry->entry_id, &hold.reservation_id);
}

/* Make an offer if there are so many units; false if there are not. */
static bool
serve_entry(Call *call, StockSet *stock, const CatalogueItem *item,
			const WaitlistEntry *entry)
{
	TimestampTz now = GetCurrentTimestamp();
	LineList	dead = {0};
	int			count;
	StockRow   *rows = stock_of_sku(stock, item->item_id, DEFAULT_LOCATION_ID,
									&count);
	int64		units = stock_spare(rows, count);

	if (units < entry->quantity)
	{
		/* what was freed for the one before is no longer there */
		call_next_command(call);
		units += reclaim_collect(call, rows, count, entry->quantity - units,
								 now, &dead);
	}
	if (units < entry->quantity)
		return false;
	reclaim_free(call, stock, &dead, now);
	make_offer(call, stock, item, entry, now);
	return true;
}

/* Can holds be made of a SKU: is it on sale, and does a stripe take them? */
static bool
takes_holds(const CatalogueItem *item, const StockRow *rows, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (!rows[i].retired)
			return item_on_sale(item, GetCurrentTimestamp());
	}
	return false;
}

/*
 * Serve the line of a SKU, all of whose stock rows are locked and in the set: at
 * most "budget" offers, and none while no holds can be made.  Marks the rows as
 * waited for, or not, and writes them.  Returns the number of offers.  Raises
 * 40001.
 */
static int64
serve_line(Call *call, StockSet *stock, const CatalogueItem *item,
		   int64 budget)
{
	WaitingLine line = line_of(item);
	WaitlistEntry entries[PAGE];
	int64		offers = 0;
	int64		last = PG_INT64_MIN;
	int			count;
	StockRow   *rows = stock_of_sku(stock, line.item_id, line.location_id,
									&count);
	bool		served = takes_holds(item, rows, count);
	bool		empty;

	do
	{
		int			found = waitlist_page(call, &line, last, entries, PAGE);

		empty = found < PAGE;
		for (int i = 0; i < found && served; i++)
		{
			served = offers < budget && serve_entry(call, stock, item, &entries[i]);
			if (served)
			{
				last = entries[i].entry_id;
				offers++;
			}
		}
		empty = empty && (served || found == 0);
	} while (served && !empty);

	/* there may be more of them by now */
	rows = stock_of_sku(stock, line.item_id, line.location_id, &count);
	stock_set_waiting(rows, count, !empty);
	stock_write(call, stock);
	return offers;
}

/*
 * Serve the line of a SKU if its stock rows can be had without waiting.  What
 * the call has written so far can be seen.  Returns the number of offers.
 */
static int64
try_serve_line(Call *call, const WaitingLine *line, int64 budget)
{
	CatalogueItem item;
	StockSet	stock = {0};

	if (!item_find_by_id(call, line->item_id, &item) ||
		!stock_try_lock_sku(call, &stock, line->item_id, line->location_id))
		return 0;
	return serve_line(call, &stock, &item, budget);
}

/*
 * Offer what a call has given back to those who wait for it: on the rows of the
 * set, which are locked and written.  The last that the call does with stock,
 * for the set is out of date then.  Raises 40001.
 */
void
waitlist_serve(Call *call, const StockSet *stock)
{
	WaitingLine served = {0, -1};

	for (int i = 0; i < stock->count; i++)
	{
		const StockRow *row = &stock->rows[i];
		WaitingLine line = {row->key.item_id, row->key.location_id};

		/* the rows are in order */
		if (!row->waiting ||
			(line.item_id == served.item_id &&
			 line.location_id == served.location_id))
			continue;
		call_next_command(call);
		(void) try_serve_line(call, &line, setting_expire_batch_size);
		served = line;
	}
}

/*
 * Serve lines whose turn it is and whom nobody has served, waiting for nothing.
 * At most "budget" offers, whose number is returned; that of the lines that were
 * found is added to *lines.  Raises 40001.
 */
int64
waitlist_serve_due(Call *call, int64 budget, int64 *lines)
{
	WaitingLine *due;
	int64		offers = 0;
	int			count;

	call_next_command(call);
	count = waitlist_find_due(call, GetCurrentTimestamp(), budget, &due);
	for (int i = 0; i < count && offers < budget; i++)
	{
		call_next_command(call);
		offers += try_serve_line(call, &due[i], budget - offers);
	}
	*lines += count;
	return offers;
}

/*
 * Begin under a key; true if the call is a replay.  Raises IV004, IV005, 40001,
 * and 55000 where the extension is older than the waitlist.
 */
static bool
replays(Call *call, WaitRequest *request, CatalogueItem *item)
{
	bool		replay;

	waitlist_require(call);
	replay = key_replays(call, &request->keyed);
	item_require(call, request->sku, item);
	return replay || !key_claim(call, &request->keyed);
}

/* Write into the ledger that a line has changed, on its first stock row. */
static void
post_change(Call *call, StockSet *stock, const CatalogueItem *item,
			const char *operation)
{
	Posting		posting = {operation, NULL, NULL, NULL};
	int			count;
	StockRow   *rows = stock_of_sku(stock, item->item_id, DEFAULT_LOCATION_ID,
									&count);

	stock_post(call, rows, 0, 0, &posting);
}

/* IV008: he waits already, or has been offered units, but not so many. */
static void
report_other_quantity(const WaitRequest *request, const WaitStatus *status)
{
	ereport(ERROR,
			(rejection(ERRCODE_INV_NOT_ALLOWED),
			 status->state == WAIT_WAITING
			 ? errmsg("customer is already waiting for another quantity of SKU \"%s\"",
					  request->sku)
			 : errmsg("customer has been offered another quantity of SKU \"%s\"",
					  request->sku),
			 errdetail(INT64_FORMAT " asked for now, " INT64_FORMAT " at %s.",
					   request->quantity, status->entry.quantity,
					   timestamptz_to_str(status->entry.joined_at)),
			 status->state == WAIT_WAITING
			 ? errhint("Leave the waitlist first; the new place is at its end.")
			 : errhint("Confirm or cancel the offer first.")));
}

/*
 * Raise IV007, or IV008 for a hold that he has, if a customer may not have so
 * many: he need not wait for what he could not be offered.
 */
static void
check_limit(Call *call, const CatalogueItem *item, const WaitRequest *request,
			TimestampTz now)
{
	CustomerHolds holds;

	if (!limits_customers(item))
		return;
	purchase_limit_count(call, item, request->customer, now, false, &holds);
	if (allows_one_hold(request->customer) && holds.has_hold)
		purchase_limit_report_hold(item, &holds.hold);
	purchase_limit_check(item, &holds, request->quantity);
}

/*
 * Put a customer on the waitlist of a SKU.  Who waits already, or has been made
 * an offer that he has not answered, keeps that.  How he stands is in "status";
 * where units are free and nobody is before him he has his offer.  Returns
 * whether the call is a replay.  Raises IV004, IV005, IV006, IV007, IV008 if he
 * waits for another quantity or may have only the hold that he has, 40001.
 */
bool
waitlist_join(Call *call, WaitRequest *request, WaitStatus *status)
{
	CatalogueItem item;
	StockSet	stock = {0};
	bool		replayed = true;

	if (!replays(call, request, &item))
	{
		WaitingLine line = line_of(&item);
		ItemCustomer customer = {item.item_id, request->customer};

		if (limits_customers(&item))
			customers_lock(call, &customer, 1);
		stock_lock_or_create(call, &stock, line.item_id, line.location_id);
		/* what was committed while we waited */
		call_see_now(call);
		waitlist_status(call, &item, request->customer, status);
		replayed = status->state == WAIT_WAITING ||
			status->state == WAIT_OFFERED;
		if (replayed && status->entry.quantity != request->quantity)
			report_other_quantity(request, status);
		if (!replayed)
		{
			TimestampTz now = GetCurrentTimestamp();

			item_require_on_sale(&item, now);
			check_limit(call, &item, request, now);
			(void) waitlist_add(call, &line, request->quantity,
								request->customer, now);
			post_change(call, &stock, &item, "join_waitlist");
		}
		(void) serve_line(call, &stock, &item, setting_expire_batch_size);
		call_next_command(call);
	}
	waitlist_status(call, &item, request->customer, status);
	return replayed;
}

/*
 * Take a customer off the waitlist of a SKU.  Whether he was on it, and where,
 * is in "status": WAIT_WAITING or WAIT_NONE, as for a replay.  An offer is a
 * hold, to be cancelled, and no longer on the list.  Returns whether there was
 * nothing to do.  Raises IV004, IV005, 40001.
 */
bool
waitlist_leave(Call *call, WaitRequest *request, WaitStatus *status)
{
	CatalogueItem item;
	WaitingLine line;
	StockSet	stock = {0};

	memset(status, 0, sizeof(WaitStatus));
	if (replays(call, request, &item))
		return true;
	line = line_of(&item);
	stock_lock_sku(call, &stock, line.item_id, line.location_id);
	if (stock.count == 0)
		return true;
	call_see_now(call);
	waitlist_status(call, &item, request->customer, status);
	if (status->state != WAIT_WAITING)
	{
		status->state = WAIT_NONE;
		return true;
	}
	waitlist_remove(call, status->entry.entry_id);
	post_change(call, &stock, &item, "leave_waitlist");
	(void) serve_line(call, &stock, &item, setting_expire_batch_size);
	return false;
}
