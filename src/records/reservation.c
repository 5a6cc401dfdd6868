/*
 * reservation.c
 *		Reservations and their lines.
 *
 * The lock of a reservation is the row of its line 1, which exists for as
 * long as the reservation does: a line that is released whole stays, with
 * quantity 0.  Whoever changes any line has locked line 1 first.  That one
 * lock decides between a confirm and a sweep that come at the same moment.
 *
 * A hold is dead when the server's clock has reached expires_at, swept or
 * not.  The clock is read by the rules, after the lock was got: the caller may
 * have waited, and what was alive when he came may be dead when his turn is.
 *
 * Lazy reclaim frees single lines of a dead reservation (those that sit on the
 * stock somebody needs), so a dead reservation may mix active and expired
 * lines.  One expired line makes it expired for ever, unless all of it is taken
 * again and sold at once (rules/retake.c).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"

#include "errors.h"
#include "records/reservation.h"

enum ColumnOfReservation
{
	RESERVATION_RESERVATION_ID = 1,
	RESERVATION_LINE_NO,
	RESERVATION_ITEM_ID,
	RESERVATION_LOCATION_ID,
	RESERVATION_STRIPE,
	RESERVATION_QUANTITY,
	RESERVATION_RETURNED,
	RESERVATION_UNIT_PRICE,
	RESERVATION_CURRENCY,
	RESERVATION_STATUS,
	RESERVATION_CUSTOMER,
	RESERVATION_REFERENCE,
	RESERVATION_EXPIRES_AT,
	RESERVATION_CREATED_AT,
	RESERVATION_CLOSED_AT,
	RESERVATION_METADATA
};

static const char *const status_names[] = {
	[RESERVATION_ACTIVE] = "active",
	[RESERVATION_CONFIRMING] = "confirming",
	[RESERVATION_CONFIRMED] = "confirmed",
	[RESERVATION_CANCELLED] = "cancelled",
	[RESERVATION_EXPIRED] = "expired",
};

/* A status as SQL spells it. */
const char *
reservation_status_name(ReservationStatus status)
{
	return status_names[status];
}

static ReservationStatus
read_status(TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value = row_get(slot, RESERVATION_STATUS, &isnull);
	text	   *name = isnull ? NULL : DatumGetTextPP(value);

	for (int i = 0; i < lengthof(status_names) && name != NULL; i++)
	{
		if (strlen(status_names[i]) == VARSIZE_ANY_EXHDR(name) &&
			memcmp(status_names[i], VARDATA_ANY(name),
				   VARSIZE_ANY_EXHDR(name)) == 0)
			return (ReservationStatus) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("reservation line has an unknown status \"%s\"",
					name == NULL ? "" : text_to_cstring(name))));
}

/* An id as SQL spells it. */
char *
uuid_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/*
 * Read what a line holds and for how long, and nothing that would have to be
 * copied: for those who free it.
 */
void
line_read_units(ReservationLine *line, TupleTableSlot *slot)
{
	Datum		value;
	bool		isnull;

	line->tid = slot->tts_tid;
	value = row_get(slot, RESERVATION_RESERVATION_ID, &isnull);
	memcpy(&line->reservation_id, DatumGetUUIDP(value), sizeof(pg_uuid_t));
	line->line_no = row_get_int32(slot, RESERVATION_LINE_NO);
	line->stock.item_id = row_get_int64(slot, RESERVATION_ITEM_ID);
	line->stock.location_id = row_get_int32(slot, RESERVATION_LOCATION_ID);
	line->stock.stripe = row_get_int32(slot, RESERVATION_STRIPE);
	line->quantity = row_get_int64(slot, RESERVATION_QUANTITY);
	line->returned = row_get_int64(slot, RESERVATION_RETURNED);
	line->unit_price = (Datum) 0;
	line->currency = NULL;
	line->status = read_status(slot);
	line->customer = NULL;
	line->reference = NULL;
	line->expires_at = row_get_int64(slot, RESERVATION_EXPIRES_AT);
	line->created_at = row_get_int64(slot, RESERVATION_CREATED_AT);
	line->metadata = (Datum) 0;
}

/* Read a line from a row; what it points to is copied. */
void
line_read(ReservationLine *line, TupleTableSlot *slot)
{
	Datum		value;
	bool		isnull;

	line_read_units(line, slot);
	value = row_get(slot, RESERVATION_UNIT_PRICE, &isnull);
	line->unit_price = NumericGetDatum(DatumGetNumericCopy(value));
	line->currency = row_get_text(slot, RESERVATION_CURRENCY);
	line->customer = row_get_text(slot, RESERVATION_CUSTOMER);
	line->reference = row_get_text(slot, RESERVATION_REFERENCE);
}

/* The lines of a reservation, as the call's snapshot sees them. */
static void
read_lines(Call *call, OpenTable *table, Reservation *reservation)
{
	ScanKeyData key;
	RowWalk		walk;
	int			capacity = 4;

	reservation->count = 0;
	reservation->lines = palloc(capacity * sizeof(ReservationLine));

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&reservation->id));
	row_walk_begin(&walk, call, table, INDEX_RESERVATION, &key, 1);
	while (row_walk_next(&walk))
	{
		if (reservation->count == capacity)
		{
			capacity *= 2;
			reservation->lines = repalloc(reservation->lines,
										  capacity * sizeof(ReservationLine));
		}
		line_read(&reservation->lines[reservation->count++], walk.slot);
	}
	row_walk_end(&walk);
}

/* Find a reservation that the call's snapshot sees; false if there is none. */
bool
reservation_find(Call *call, const pg_uuid_t *id, Reservation *reservation)
{
	reservation->id = *id;
	read_lines(call, call_open(call, TABLE_RESERVATION), reservation);
	return reservation->count > 0;
}

/* Look a line up. */
static bool
find_line(Call *call, OpenTable *table, const pg_uuid_t *id, int32 line_no)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(line_no));
	return row_find(call, table, INDEX_RESERVATION, keys, 2);
}

/*
 * Read what a line that the active snapshot sees holds, and when it was closed
 * (DT_NOEND: it is open); false if there is none.
 */
bool
line_find(Call *call, const pg_uuid_t *id, int32 line_no,
		  ReservationLine *line, TimestampTz *closed_at)
{
	OpenTable  *table = call_open(call, TABLE_RESERVATION);
	Datum		value;
	bool		isnull;

	if (!find_line(call, table, id, line_no))
		return false;
	line_read_units(line, table->found);
	value = row_get(table->found, RESERVATION_CLOSED_AT, &isnull);
	*closed_at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	return true;
}

/*
 * Lock a reservation and read its lines as they are now.  ROW_GONE: the call's
 * snapshot sees none of that id.  Takes a new snapshot: the caller must not be
 * in the middle of a walk.  Raises 40001.
 */
RowLock
reservation_lock(Call *call, const pg_uuid_t *id, RowWait wait,
				 Reservation *reservation)
{
	OpenTable  *table = call_open(call, TABLE_RESERVATION);
	RowLock		result = ROW_CHANGED;

	if (!reservation_find(call, id, reservation))
		return ROW_GONE;

	/* the only line there is, and as we have read it: that is all */
	if (reservation->count == 1)
		result = row_lock_version(call, table, &reservation->lines[0].tid, wait);
	if (result != ROW_CHANGED)
		return result;

	result = row_lock(call, table, &reservation->lines[0].tid, wait);
	if (result != ROW_LOCKED)
		return result;

	/* nobody else changes its lines from here on: read them as they are now */
	call_see_now(call);
	read_lines(call, table, reservation);
	for (int i = 0; i < reservation->count; i++)
	{
		ReservationLine *line = &reservation->lines[i];

		/* a transaction with one snapshot may have read an old version */
		if (line->line_no == 1)
			continue;
		result = row_lock(call, table, &line->tid, wait);
		if (result == ROW_BUSY)
			return ROW_BUSY;	/* somebody has locked it by hand */
		if (result == ROW_GONE)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a line of a reservation was deleted by hand"),
					 errdetail("Reservation %s.", uuid_text(id))));
	}
	return ROW_LOCKED;
}

/* IV003. */
void
reservation_report_unknown(const pg_uuid_t *id)
{
	ereport(ERROR,
			(rejection(ERRCODE_INV_RESERVATION_UNKNOWN),
			 errmsg("reservation not found"),
			 errdetail("There is no reservation %s that this call may see.",
					   uuid_text(id))));
}

/* The status of a reservation at a moment, swept or not. */
ReservationStatus
reservation_status(const Reservation *reservation, TimestampTz now)
{
	Assert(reservation->count > 0);
	for (int i = 0; i < reservation->count; i++)
	{
		if (reservation->lines[i].status == RESERVATION_EXPIRED)
			return RESERVATION_EXPIRED;
	}
	if (reservation->lines[0].status == RESERVATION_ACTIVE &&
		now >= reservation->lines[0].expires_at)
		return RESERVATION_EXPIRED;
	return reservation->lines[0].status;
}

/* Add the stock rows that the active lines of a reservation sit on. */
void
reservation_add_stock(const Reservation *reservation, StockSet *set)
{
	for (int i = 0; i < reservation->count; i++)
	{
		const ReservationLine *line = &reservation->lines[i];

		if (line->status == RESERVATION_ACTIVE && line->quantity > 0)
			stock_add_key(set, line->stock);
	}
}

/* Insert a line, which nothing finds before row_flush_appends(). */
void
line_insert(Call *call, const ReservationLine *line)
{
	OpenTable  *table = call_open(call, TABLE_RESERVATION);

	row_begin_insert(call, table);
	row_set(table, RESERVATION_RESERVATION_ID,
			UUIDPGetDatum(&line->reservation_id));
	row_set(table, RESERVATION_LINE_NO, Int32GetDatum(line->line_no));
	row_set(table, RESERVATION_ITEM_ID, Int64GetDatum(line->stock.item_id));
	row_set(table, RESERVATION_LOCATION_ID,
			Int32GetDatum(line->stock.location_id));
	row_set(table, RESERVATION_STRIPE, Int32GetDatum(line->stock.stripe));
	row_set(table, RESERVATION_QUANTITY, Int64GetDatum(line->quantity));
	row_set(table, RESERVATION_RETURNED, Int64GetDatum(line->returned));
	row_set(table, RESERVATION_UNIT_PRICE, line->unit_price);
	row_set_text(table, RESERVATION_CURRENCY, line->currency);
	row_set_text(table, RESERVATION_STATUS,
				 reservation_status_name(line->status));
	row_set_text(table, RESERVATION_CUSTOMER, line->customer);
	row_set_text(table, RESERVATION_REFERENCE, line->reference);
	row_set(table, RESERVATION_EXPIRES_AT,
			TimestampTzGetDatum(line->expires_at));
	row_set(table, RESERVATION_CREATED_AT,
			TimestampTzGetDatum(line->created_at));
	if (line->metadata != (Datum) 0)
		row_set(table, RESERVATION_METADATA, line->metadata);
	row_append(call, table);
}

/* Begin to change a line, whose reservation the caller has locked. */
static OpenTable *
begin_change(Call *call, ReservationLine *line)
{
	OpenTable  *table = call_open(call, TABLE_RESERVATION);

	row_begin_update(call, table, &line->tid);
	return table;
}

static void
end_change(Call *call, OpenTable *table, ReservationLine *line)
{
	row_update(call, table);
	line->tid = table->next->tts_tid;
}

/*
 * Close an active line of a reservation that the caller has locked.  Never
 * earlier than it was made, though the clock may have been put back meanwhile:
 * a purge takes what was closed before the oldest key for something that no key
 * can ask for.
 */
void
line_close(Call *call, ReservationLine *line, ReservationStatus status,
		   TimestampTz now)
{
	OpenTable  *table;

	Assert(line->status == RESERVATION_ACTIVE);
	table = begin_change(call, line);
	row_set_text(table, RESERVATION_STATUS, reservation_status_name(status));
	row_set(table, RESERVATION_CLOSED_AT,
			TimestampTzGetDatum(Max(now, line->created_at)));
	end_change(call, table, line);
	line->status = status;
}

/*
 * Make an expired line of a reservation that the caller has locked a sold one,
 * of units on a stock row of its SKU, which need not be the one it was on.
 */
void
line_sell_expired(Call *call, ReservationLine *line, const StockKey *stock,
				  TimestampTz now)
{
	OpenTable  *table;

	Assert(line->status == RESERVATION_EXPIRED);
	Assert(line->stock.item_id == stock->item_id &&
		   line->stock.location_id == stock->location_id);
	table = begin_change(call, line);
	row_set(table, RESERVATION_STRIPE, Int32GetDatum(stock->stripe));
	row_set_text(table, RESERVATION_STATUS,
				 reservation_status_name(RESERVATION_CONFIRMED));
	row_set(table, RESERVATION_CLOSED_AT,
			TimestampTzGetDatum(Max(now, line->created_at)));
	end_change(call, table, line);
	line->stock = *stock;
	line->status = RESERVATION_CONFIRMED;
}

/* Change what a line holds; the reservation is locked. */
void
line_set_quantity(Call *call, ReservationLine *line, int64 quantity)
{
	OpenTable  *table;

	Assert(quantity >= 0 && quantity < line->quantity);
	table = begin_change(call, line);
	row_set(table, RESERVATION_QUANTITY, Int64GetDatum(quantity));
	end_change(call, table, line);
	line->quantity = quantity;
}

/* Change what has come back of a sold line; the reservation is locked. */
void
line_set_returned(Call *call, ReservationLine *line, int64 returned)
{
	OpenTable  *table;

	Assert(returned > line->returned && returned <= line->quantity);
	table = begin_change(call, line);
	row_set(table, RESERVATION_RETURNED, Int64GetDatum(returned));
	end_change(call, table, line);
	line->returned = returned;
}

/* Change when a line dies; the reservation is locked. */
void
line_set_expires_at(Call *call, ReservationLine *line, TimestampTz expires_at)
{
	OpenTable  *table = begin_change(call, line);

	row_set(table, RESERVATION_EXPIRES_AT, TimestampTzGetDatum(expires_at));
	end_change(call, table, line);
	line->expires_at = expires_at;
}

/* Walk over the active lines that are dead at a moment, longest dead first. */
void
dead_lines_walk(RowWalk *walk, Call *call, TimestampTz now)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(now));
	row_walk_begin(walk, call, call_open(call, TABLE_RESERVATION),
				   INDEX_RESERVATION_EXPIRY, &key, 1);
}

/*
 * Walk over the active lines on one stock row that are dead at a moment
 * (DT_NOEND: over all of them), those that die first in front.
 */
void
held_lines_walk(RowWalk *walk, Call *call, const StockKey *stock,
				TimestampTz dead_at)
{
	ScanKeyData keys[4];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(stock->item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(stock->location_id));
	ScanKeyInit(&keys[2], 3, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(dead_at));
	ScanKeyInit(&keys[3], 4, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(stock->stripe));
	row_walk_begin(walk, call, call_open(call, TABLE_RESERVATION),
				   INDEX_RESERVATION_HELD, keys, 4);
}

/*
 * Take a dead line for freeing it, without waiting: first the reservation's
 * lock, unless the caller has that, then the line, of which what it holds is
 * read anew.  ROW_GONE: it is no longer dead, or freed already.  Raises 40001.
 */
RowLock
line_lock_dead(Call *call, ReservationLine *line, bool reservation_locked,
			   TimestampTz now)
{
	OpenTable  *table = call_open(call, TABLE_RESERVATION);
	RowLock		result;

	if (line->line_no != 1 && !reservation_locked)
	{
		ItemPointerData first;

		if (!find_line(call, table, &line->reservation_id, 1))
			return ROW_GONE;
		first = table->found->tts_tid;
		result = row_lock(call, table, &first, ROW_SKIP_BUSY);
		if (result != ROW_LOCKED)
			return result;
	}

	result = row_lock(call, table, &line->tid, ROW_SKIP_BUSY);
	if (result != ROW_LOCKED)
		return result;
	line_read_units(line, table->found);
	if (line->status != RESERVATION_ACTIVE || line->expires_at > now)
		return ROW_GONE;
	return ROW_LOCKED;
}

/*
 * Units of a SKU at a location under dead holds, as the call's snapshot sees
 * them, none of which died before "from"; stops counting when there are
 * "enough".
 */
int64
dead_units(Call *call, int64 item_id, int32 location_id, TimestampTz from,
		   TimestampTz now, int64 enough)
{
	ScanKeyData keys[4];
	RowWalk		walk;
	int64		units = 0;

	if (from > now)
		return 0;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(location_id));
	ScanKeyInit(&keys[2], 3, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(now));
	/* while an old snapshot lives the index begins with holds long closed */
	ScanKeyInit(&keys[3], 3, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(from));
	row_walk_begin(&walk, call, call_open(call, TABLE_RESERVATION),
				   INDEX_RESERVATION_HELD, keys, 4);
	while (units < enough && row_walk_next(&walk))
		units += row_get_int64(walk.slot, RESERVATION_QUANTITY);
	row_walk_end(&walk);
	return units;
}
