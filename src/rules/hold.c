/*
 * hold.c
 *		What can be done with a hold: confirm, cancel, release, extend.
 *
 * Each takes the reservation's lock, then its stock rows, and only then reads
 * the clock and decides: a hold that died while its buyer was waiting is dead.
 * Once the reservation is locked nobody else can free it (sweeps and
 * reclaiming buyers pass over it), so whatever is decided here stands.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "records/backorder.h"
#include "records/item.h"
#include "records/route.h"
#include "rules/hold.h"
#include "rules/reclaim.h"
#include "rules/reserve_steps.h"
#include "rules/retake.h"
#include "rules/waitlist.h"
#include "settings.h"
#include "statistics/statistics.h"

/*
 * Lock a hold.  Raises IV003 if there is none that the caller may see, or if
 * it belongs to another customer ("customer" NULL: not asked).
 */
static void
lock_hold(Call *call, const pg_uuid_t *id, const char *customer,
		  Reservation *reservation)
{
	const char *owner;

	if (reservation_lock(call, id, ROW_WAIT, reservation) != ROW_LOCKED)
		reservation_report_unknown(id);
	owner = reservation->lines[0].customer;
	if (customer != NULL && (owner == NULL || strcmp(owner, customer) != 0))
		reservation_report_unknown(id);
}

/*
 * Begin a call under its key.  True if it is a replay: then the reservation is
 * read, as the call's snapshot sees it.  Raises IV003 if it has been purged,
 * IV005, 40001.
 */
static bool
replays(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
		Reservation *reservation)
{
	keyed->has_reservation = true;
	keyed->reservation_id = *id;
	if (key_claim(call, keyed))
		return false;
	if (!reservation_find(call, id, reservation))
		reservation_report_unknown(id);
	return true;
}

/* Raise IV002 or IV008 unless the hold lives. */
static void
check_alive(const Reservation *reservation, TimestampTz now,
			const char *action)
{
	ReservationStatus status = reservation_status(reservation, now);

	if (status == RESERVATION_ACTIVE)
		return;
	if (status == RESERVATION_EXPIRED)
		ereport(ERROR,
				(rejection(ERRCODE_INV_RESERVATION_EXPIRED),
				 errmsg("reservation has expired"),
				 errdetail("Reservation %s expired at %s.",
						   uuid_text(&reservation->id),
						   timestamptz_to_str(reservation->lines[0].expires_at)),
				 errhint("Reserve again.")));
	ereport(ERROR,
			(rejection(ERRCODE_INV_NOT_ALLOWED),
			 errmsg("cannot %s a reservation that is %s", action,
					reservation_status_name(status)),
			 errdetail("Reservation %s.", uuid_text(&reservation->id)),
			 status == RESERVATION_CONFIRMED
			 ? errhint("Its order can be changed with inv_cancel_order() or inv_return().")
			 : 0));
}

/* Σ quantity × unit price over the lines. */
static Datum
total_price(const Reservation *reservation)
{
	Datum		total = DirectFunctionCall1(int8_numeric, Int64GetDatum(0));

	for (int i = 0; i < reservation->count; i++)
	{
		const ReservationLine *line = &reservation->lines[i];
		Datum		quantity = DirectFunctionCall1(int8_numeric,
												   Int64GetDatum(line->quantity));

		total = DirectFunctionCall2(numeric_add, total,
									DirectFunctionCall2(numeric_mul, quantity,
														line->unit_price));
	}
	return total;
}

/*
 * Give back whatever a reservation still holds and close its active lines as
 * cancelled or expired.  The reservation and its stock rows, which are in the
 * set, are locked.  stock_write() must follow.
 */
static void
give_back(Call *call, Reservation *reservation, StockSet *stock,
		  ReservationStatus status, TimestampTz now)
{
	for (int i = 0; i < reservation->count; i++)
	{
		ReservationLine *line = &reservation->lines[i];

		if (line->status != RESERVATION_ACTIVE)
			continue;
		line_give_back(call, line, line->quantity > 0
					   ? stock_require(stock, line->stock) : NULL,
					   status, NULL, now);
		if (status == RESERVATION_EXPIRED)
			statistics_count(COUNT_EXPIRED_BY_RECLAIM, 1);
	}
}

/*
 * Sell a hold: its units leave the stock, its lines become an order, which is
 * in *order afterwards.  "retake" sells a dead one too, if its units can be had.
 * Returns whether that had been done before.  Raises IV002, IV003, IV005, IV008,
 * 40001; where a dead one is taken again not IV002, but IV001, IV006, IV007,
 * XX001.
 */
bool
confirm_hold(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
			 const char *customer, PaymentStatus payment_status, bool retake,
			 Order *order)
{
	Reservation reservation;
	StockSet	stock = {0};
	Posting		posting = {"confirm", id, &order->order_id, NULL};
	TimestampTz now;
	bool		dead;

	/* the key remembers the order: the one there is, or ours to be */
	if (keyed->key == NULL || !order_find_of_reservation(call, id, order))
		route_make_id(&order->order_id, route_of_id(id), GetCurrentTimestamp());
	keyed->has_reservation = true;
	keyed->reservation_id = *id;
	keyed->has_order = true;
	keyed->order_id = order->order_id;
	if (!key_claim(call, keyed))
	{
		if (!order_find_of_reservation(call, &keyed->reservation_id, order))
			reservation_report_unknown(id);
		return true;
	}

	if (retake)
		retake_lock_customer(call, id);
	lock_hold(call, id, customer, &reservation);
	if (reservation_status(&reservation, GetCurrentTimestamp()) ==
		RESERVATION_CONFIRMED)
	{
		if (!order_find_of_reservation(call, id, order))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("confirmed reservation has no order"),
					 errdetail("Reservation %s.", uuid_text(id))));
		key_correct_order(call, keyed, &order->order_id);
		return true;
	}
	/* one that dies while this waits for its stock has been asked for in time */
	dead = retake && reservation_status(&reservation, GetCurrentTimestamp()) ==
		RESERVATION_EXPIRED;
	if (dead)
		retake_lock(call, &reservation, &stock);
	else
	{
		reservation_add_stock(&reservation, &stock);
		stock_lock(call, &stock);
	}
	now = GetCurrentTimestamp();
	if (dead)
	{
		give_back(call, &reservation, &stock, RESERVATION_EXPIRED, now);
		call_next_command(call);
		retake_units(call, &reservation, &stock, now);
	}
	else if (!retake ||
			 reservation_status(&reservation, now) != RESERVATION_EXPIRED)
		check_alive(&reservation, now, "confirm");

	order->reservation_id = *id;
	order->total = total_price(&reservation);
	order->status = ORDER_CONFIRMED;
	order->payment_status = payment_status;
	order_insert(call, order, &reservation.lines[0], now);

	for (int i = 0; i < reservation.count; i++)
	{
		ReservationLine *line = &reservation.lines[i];

		if (line->status == RESERVATION_ACTIVE)
			line_close(call, line, RESERVATION_CONFIRMED, now);
		if (line->quantity > 0)
			stock_post(call, stock_require(&stock, line->stock),
					   -line->quantity, -line->quantity, &posting);
	}
	stock_write(call, &stock);
	return false;
}

/* Is there a line left to close? */
static bool
any_active(const Reservation *reservation)
{
	for (int i = 0; i < reservation->count; i++)
	{
		if (reservation->lines[i].status == RESERVATION_ACTIVE)
			return true;
	}
	return false;
}

/*
 * Give a whole hold back.  A dead one becomes expired, whether a sweep has
 * come by or not.  Raises IV003, IV005, IV008 for a sold one, 40001.
 */
void
cancel_hold(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
			const char *customer, HoldChange *change)
{
	Reservation reservation;
	StockSet	stock = {0};
	TimestampTz now;

	if (replays(call, keyed, id, &reservation))
	{
		change->status = reservation_status(&reservation, GetCurrentTimestamp());
		change->replayed = true;
		return;
	}

	lock_hold(call, id, customer, &reservation);
	reservation_add_stock(&reservation, &stock);
	stock_lock_to_give(call, &stock);
	now = GetCurrentTimestamp();
	change->status = reservation_status(&reservation, now);
	change->replayed = !any_active(&reservation);

	if (change->status == RESERVATION_ACTIVE)
		change->status = RESERVATION_CANCELLED;
	else if (change->status != RESERVATION_CANCELLED &&
			 change->status != RESERVATION_EXPIRED)
		check_alive(&reservation, now, "cancel");

	give_back(call, &reservation, &stock, change->status, now);
	stock_write(call, &stock);
	waitlist_serve(call, &stock);
}

/* Units of an item that the lines of a reservation hold. */
static int64
units_held(const Reservation *reservation, int64 item_id)
{
	int64		units = 0;

	for (int i = 0; i < reservation->count; i++)
	{
		if (reservation->lines[i].stock.item_id == item_id)
			units += reservation->lines[i].quantity;
	}
	return units;
}

/*
 * Give back some units of one SKU of a live hold, the last lines first; giving
 * back all that the reservation holds cancels it.  Raises IV002, IV003, IV004,
 * IV005, IV008, 22023 for more than it holds, 40001.
 */
void
release_units(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
			  const char *sku, int64 quantity, HoldChange *change)
{
	Reservation reservation;
	CatalogueItem item;
	StockSet	stock = {0};
	Posting		posting = {"release", id, NULL, NULL};
	TimestampTz now;
	int64		held;
	int64		held_in_all = 0;

	if (replays(call, keyed, id, &reservation))
	{
		change->status = reservation_status(&reservation, GetCurrentTimestamp());
		change->replayed = true;
		return;
	}

	item_require(call, sku, &item);
	lock_hold(call, id, NULL, &reservation);
	reservation_add_stock(&reservation, &stock);
	stock_lock_to_give(call, &stock);
	now = GetCurrentTimestamp();
	check_alive(&reservation, now, "release units of");

	held = units_held(&reservation, item.item_id);
	if (quantity > held)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot release more than is held"),
				 errdetail("Reservation %s holds " INT64_FORMAT
						   " of SKU \"%s\"; " INT64_FORMAT " to release.",
						   uuid_text(id), held, sku, quantity)));
	for (int i = 0; i < reservation.count; i++)
		held_in_all += reservation.lines[i].quantity;

	change->replayed = false;
	if (quantity == held_in_all)
	{
		change->status = RESERVATION_CANCELLED;
		give_back(call, &reservation, &stock, change->status, now);
	}
	else
	{
		change->status = RESERVATION_ACTIVE;
		for (int i = reservation.count - 1; i >= 0 && quantity > 0; i--)
		{
			ReservationLine *line = &reservation.lines[i];
			int64		units = Min(quantity, line->quantity);
			StockRow   *row;

			if (line->stock.item_id != item.item_id || units == 0)
				continue;
			row = stock_require(&stock, line->stock);
			backorder_given_up(call, row, line, units);
			line_set_quantity(call, line, line->quantity - units);
			stock_post(call, row, 0, -units, &posting);
			quantity -= units;
		}
	}
	stock_write(call, &stock);
	waitlist_serve(call, &stock);
}

/* How long a new hold of the same items would live, in microseconds. */
static int64
usual_ttl(Call *call, const Reservation *reservation)
{
	int64		ttl = PG_INT64_MAX;

	for (int i = 0; i < reservation->count; i++)
	{
		CatalogueItem item = {0};

		(void) item_find_by_id(call, reservation->lines[i].stock.item_id, &item);
		ttl = Min(ttl, default_ttl(&item));
	}
	return ttl;
}

/*
 * Let a live hold live for "ttl" microseconds from now (0: as a new one would),
 * at most max_ttl from its creation; it is never shortened.  When it ends now
 * is in *expires_at afterwards.  Returns whether that had been done before.
 * Raises IV002, IV003, IV005, IV008, 40001.
 */
bool
extend_hold(Call *call, KeyedCall *keyed, const pg_uuid_t *id, int64 ttl,
			TimestampTz *expires_at)
{
	Reservation reservation;
	TimestampTz now;
	TimestampTz wanted;

	if (replays(call, keyed, id, &reservation))
	{
		*expires_at = reservation.lines[0].expires_at;
		return true;
	}

	lock_hold(call, id, NULL, &reservation);
	now = GetCurrentTimestamp();
	check_alive(&reservation, now, "extend");

	if (ttl == 0)
		ttl = usual_ttl(call, &reservation);
	wanted = Min(now + ttl,
				 hold_expiry(reservation.lines[0].created_at, PG_INT64_MAX));
	if (wanted > reservation.lines[0].expires_at)
	{
		for (int i = 0; i < reservation.count; i++)
			line_set_expires_at(call, &reservation.lines[i], wanted);
	}
	*expires_at = reservation.lines[0].expires_at;
	return false;
}
