/*
 * order_rules.c
 *		What can be done with an order: cancel, return, complete, pay.
 *
 * An order is confirmed, then completed or cancelled, and stays that.  Units
 * come back on hand by cancelling, before the goods have left, or by returns,
 * before or after; no unit comes back twice, because each line counts what has
 * come back of it, under the lock of the reservation.
 *
 * A payment is pending, then paid or failed; what failed may be paid after
 * all, and what was paid may be refunded.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "errors.h"
#include "records/backorder.h"
#include "records/item.h"
#include "records/stock.h"
#include "rules/order_rules.h"
#include "rules/waitlist.h"
#include "statistics/statistics.h"

/* IV008 for an order. */
static void
report_not_allowed(const Order *order, const char *action, const char *status)
{
	ereport(ERROR,
			(rejection(ERRCODE_INV_NOT_ALLOWED),
			 errmsg("cannot %s an order that is %s", action, status),
			 errdetail("Order %s.", uuid_text(&order->order_id))));
}

/* Raise IV011 unless the call's snapshot sees the order. */
static void
require_order(Call *call, const pg_uuid_t *order_id)
{
	Order		order;

	if (!order_find(call, order_id, &order))
		order_report_unknown(order_id);
}

/*
 * Put "units" of each line back on hand, on the stripe they were sold from or,
 * should that be taken away by now, on the first.  The reservation is locked;
 * "units" has a number a line.
 */
static void
restock(Call *call, Reservation *reservation, const int64 *units,
		const Posting *posting)
{
	StockSet	stock = {0};

	for (int i = 0; i < reservation->count; i++)
	{
		if (units[i] > 0)
			stock_add_home(call, &stock, reservation->lines[i].stock);
	}
	stock_lock_to_give(call, &stock);
	for (int i = 0; i < reservation->count; i++)
	{
		ReservationLine *line = &reservation->lines[i];

		StockRow   *row;

		if (units[i] == 0)
			continue;
		row = stock_home(&stock, line->stock);
		backorder_given_up(call, row, line, units[i]);
		line_set_returned(call, line, line->returned + units[i]);
		stock_post(call, row, units[i], 0, posting);
	}
	stock_write(call, &stock);
	waitlist_serve(call, &stock);
}

/* Begin under a key; true if the call is a replay.  Raises IV011. */
static bool
replays(Call *call, KeyedCall *keyed, const pg_uuid_t *order_id)
{
	bool		replay;

	keyed->has_order = true;
	keyed->order_id = *order_id;
	replay = key_replays(call, keyed);
	require_order(call, order_id);
	if (!replay && key_claim(call, keyed))
		return false;
	statistics_count(COUNT_REPLAYS, 1);
	return true;
}

/*
 * Cancel a confirmed order: what has not been returned is on hand again.
 * Does nothing to one that is cancelled.  Raises IV005, IV008 for a completed
 * one, IV011, 40001.
 */
void
cancel_order(Call *call, KeyedCall *keyed, const pg_uuid_t *order_id,
			 const char *reason)
{
	Order		order;
	Reservation reservation;
	Posting		posting = {"cancel_order", NULL, order_id, reason};
	int64	   *units;

	if (replays(call, keyed, order_id))
		return;

	order_lock(call, order_id, &order, &reservation);
	if (order.status == ORDER_CANCELLED)
		return;
	if (order.status != ORDER_CONFIRMED)
		report_not_allowed(&order, "cancel", order_status_name(order.status));

	posting.reservation_id = &order.reservation_id;
	units = palloc(reservation.count * sizeof(int64));
	for (int i = 0; i < reservation.count; i++)
		units[i] = reservation.lines[i].quantity - reservation.lines[i].returned;
	order_set_status(call, &order, ORDER_CANCELLED, GetCurrentTimestamp());
	restock(call, &reservation, units, &posting);
}

/*
 * Take units of one SKU of an order back on hand.  Raises IV004, IV005, IV008
 * for a cancelled order, IV011, 22023 for more than was sold, 40001.
 */
void
return_units(Call *call, KeyedCall *keyed, const pg_uuid_t *order_id,
			 const char *sku, int64 quantity, const char *reason)
{
	Order		order;
	Reservation reservation;
	CatalogueItem item;
	Posting		posting = {"return", NULL, order_id, reason};
	int64	   *units;
	int64		left = quantity;

	if (replays(call, keyed, order_id))
		return;

	item_require(call, sku, &item);
	order_lock(call, order_id, &order, &reservation);
	if (order.status == ORDER_CANCELLED)
		report_not_allowed(&order, "return units of",
						   order_status_name(order.status));

	posting.reservation_id = &order.reservation_id;
	units = palloc0(reservation.count * sizeof(int64));
	for (int i = 0; i < reservation.count; i++)
	{
		const ReservationLine *line = &reservation.lines[i];

		if (line->stock.item_id != item.item_id)
			continue;
		units[i] = Min(left, line->quantity - line->returned);
		left -= units[i];
	}
	if (left > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot return more than was sold"),
				 errdetail("Order %s has " INT64_FORMAT
						   " of SKU \"%s\" left to return; " INT64_FORMAT " to take back.",
						   uuid_text(order_id), quantity - left, sku, quantity)));
	order_touch(call, &order, GetCurrentTimestamp());
	restock(call, &reservation, units, &posting);
}

/*
 * Complete a confirmed order.  Does nothing to one that is completed.  Raises
 * IV008 for a cancelled one, IV011, 40001.
 */
void
complete_order(Call *call, const pg_uuid_t *order_id)
{
	Order		order;
	Reservation reservation;

	order_lock(call, order_id, &order, &reservation);
	if (order.status == ORDER_COMPLETED)
		return;
	if (order.status != ORDER_CONFIRMED)
		report_not_allowed(&order, "complete", order_status_name(order.status));
	order_set_status(call, &order, ORDER_COMPLETED, GetCurrentTimestamp());
}

/*
 * Move the payment status of an order.  Does nothing if it is there already.
 * Raises IV008 for a move that is not one of those above, IV011, 40001.
 */
void
record_payment(Call *call, const pg_uuid_t *order_id, PaymentStatus status)
{
	static const bool legal[][PAYMENT_REFUNDED + 1] = {
		[PAYMENT_PENDING] = {[PAYMENT_PAID] = true,[PAYMENT_FAILED] = true},
		[PAYMENT_PAID] = {[PAYMENT_REFUNDED] = true},
		[PAYMENT_FAILED] = {[PAYMENT_PAID] = true},
		[PAYMENT_REFUNDED] = {false},
	};
	Order		order;
	Reservation reservation;

	order_lock(call, order_id, &order, &reservation);
	if (order.payment_status == status)
		return;
	if (!legal[order.payment_status][status])
		ereport(ERROR,
				(rejection(ERRCODE_INV_NOT_ALLOWED),
				 errmsg("payment cannot go from %s to %s",
						payment_status_name(order.payment_status),
						payment_status_name(status)),
				 errdetail("Order %s.", uuid_text(order_id))));
	order_set_payment(call, &order, status, GetCurrentTimestamp());
}
