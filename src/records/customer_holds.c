/*
 * customer_holds.c
 *		What a customer holds and has bought of an item.
 *
 * inv_customer_line names the lines that count for a customer: those made while
 * the item had a purchase limit, or while customers may have only one hold of
 * a SKU.  Other lines are in no index of customers, so that a shop which
 * limits nobody does not pay for one.  What a line holds is read from the line.
 *
 * What must never happen: two calls for one customer count at the same moment,
 * and neither sees the other's hold.  So whoever is about to make a hold that
 * counts first takes a lock on customer and item, and keeps it until his
 * transaction ends.  Then he counts what is committed by then, which may be
 * more than the snapshot of his transaction shows.  Such a count only serves to
 * refuse.
 *
 * In the lock order this lock stands between the key and the reservation.  It
 * is on one of a few buckets of an item's customers, because a batch may bring
 * thousands of customers, more than the shared lock table has room for.  Two
 * customers in one bucket wait for each other; had they come to the same stock
 * row they would have done so too.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "records/customer_holds.h"
#include "statistics/statistics.h"

enum ColumnOfCustomerLine
{
	CUSTOMER_LINE_ITEM_ID = 1,
	CUSTOMER_LINE_CUSTOMER,
	CUSTOMER_LINE_RESERVATION_ID,
	CUSTOMER_LINE_LINE_NO
};

#define BUCKETS 1024

/* How many rows of lines that count no more are deleted at a time. */
#define MAX_FORGOTTEN 64

static int
bucket_of(const ItemCustomer *customer)
{
	return (int) (hash_bytes((const unsigned char *) customer->customer,
							 (int) strlen(customer->customer)) % BUCKETS);
}

/* The lock order. */
static int
compare_buckets(const void *left, const void *right)
{
	const ItemCustomer *a = left;
	const ItemCustomer *b = right;

	if (a->item_id != b->item_id)
		return a->item_id < b->item_id ? -1 : 1;
	return bucket_of(a) - bucket_of(b);
}

/* Wait for a bucket; the time is counted. */
static void
lock_bucket(const ItemCustomer *customer)
{
	int64		began;
	LOCKTAG		tag;

	memset(&tag, 0, sizeof(LOCKTAG));
	tag.locktag_field1 = MyDatabaseId;
	tag.locktag_field2 = (uint32) (customer->item_id >> 32);
	tag.locktag_field3 = (uint32) customer->item_id;
	/* 0 is for keys, see idempotency.c */
	tag.locktag_field4 = (uint16) (1 + bucket_of(customer));
	tag.locktag_type = LOCKTAG_USERLOCK;
	tag.locktag_lockmethodid = DEFAULT_LOCKMETHOD;

	began = statistics_wait_begins();
	PG_TRY();
	{
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
	}
	PG_FINALLY();
	{
		statistics_wait_ended(began);
	}
	PG_END_TRY();
}

/*
 * Keep all others who make holds for these customers of these items waiting
 * until the transaction ends.  The caller has no reservation and no stock
 * locked by this call.  Takes a new snapshot.
 */
void
customers_lock(Call *call, const ItemCustomer *customers, int count)
{
	ItemCustomer *ordered = palloc(count * sizeof(ItemCustomer));

	memcpy(ordered, customers, count * sizeof(ItemCustomer));
	qsort(ordered, count, sizeof(ItemCustomer), compare_buckets);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || compare_buckets(&ordered[i - 1], &ordered[i]) != 0)
			lock_bucket(&ordered[i]);
	}
	pfree(ordered);
	call_see_now(call);
}

/* Read the line that a row names; false if it has been purged. */
static bool
read_line(Call *call, TupleTableSlot *row, ReservationLine *line,
		  TimestampTz *closed_at)
{
	bool		isnull;
	Datum		id = row_get(row, CUSTOMER_LINE_RESERVATION_ID, &isnull);

	return line_find(call, DatumGetUUIDP(id),
					 row_get_int32(row, CUSTOMER_LINE_LINE_NO), line,
					 closed_at);
}

/* Add a line to what a customer has.  False if it will never count again. */
static bool
count_line(const ReservationLine *line, TimestampTz closed_at,
		   TimestampTz bought_after, TimestampTz now, CustomerHolds *holds)
{
	switch (line->status)
	{
		case RESERVATION_CANCELLED:
		case RESERVATION_EXPIRED:
			return false;

		case RESERVATION_CONFIRMED:
			if (closed_at > bought_after)
				holds->bought += line->quantity - line->returned;
			return true;

		case RESERVATION_ACTIVE:
			if (now >= line->expires_at)
				return true;
			break;

		case RESERVATION_CONFIRMING:
			break;
	}
	if (line->quantity > 0 && !holds->has_hold)
	{
		holds->has_hold = true;
		holds->hold = line->reservation_id;
	}
	holds->held += line->quantity;
	return true;
}

/* Delete rows of lines that count no more, but for those that are busy. */
static void
forget_lines(Call *call, OpenTable *table, ItemPointerData *rows, int count)
{
	/* with one snapshot, a row may have another version that it cannot see */
	if (IsolationUsesXactSnapshot())
		return;
	for (int i = 0; i < count; i++)
	{
		if (row_lock(call, table, &rows[i], ROW_SKIP_BUSY) == ROW_LOCKED)
			row_delete(call, table, &rows[i]);
	}
}

/*
 * Count what a customer has of an item: under live holds, and bought later than
 * "bought_after" (DT_NOBEGIN: ever), without what was returned.  Sees what is
 * committed and what this transaction has written, and is exact for those who
 * have customers_lock().  They may "tidy", which forgets what counts no more;
 * without the lock a late payment (rules/retake.c) may be making it count again
 * at that moment.  Its cost grows with what the customer has bought of
 * this item.  Raises 55000 in an extension that has not been updated to 0.2.0.
 */
void
customer_count_holds(Call *call, const ItemCustomer *customer,
					 TimestampTz bought_after, TimestampTz now, bool tidy,
					 CustomerHolds *holds)
{
	OpenTable  *table = call_open(call, TABLE_CUSTOMER_LINE);
	ItemPointerData forgotten[MAX_FORGOTTEN];
	int			forgotten_count = 0;
	ScanKeyData keys[2];
	RowWalk		walk;

	memset(holds, 0, sizeof(CustomerHolds));
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(customer->item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(customer->customer));

	call_next_command(call);
	PushActiveSnapshot(GetLatestSnapshot());
	row_walk_begin(&walk, call, table, INDEX_CUSTOMER_LINE, keys, 2);
	while (row_walk_next(&walk))
	{
		ReservationLine line;
		TimestampTz closed_at;

		if (read_line(call, walk.slot, &line, &closed_at) &&
			count_line(&line, closed_at, bought_after, now, holds))
			continue;
		if (forgotten_count < MAX_FORGOTTEN)
			forgotten[forgotten_count++] = walk.slot->tts_tid;
	}
	row_walk_end(&walk);
	PopActiveSnapshot();
	if (tidy)
		forget_lines(call, table, forgotten, forgotten_count);
}

/* From now on a line that is being made counts for its customer. */
void
customer_remember_line(Call *call, const ReservationLine *line)
{
	OpenTable  *table = call_open(call, TABLE_CUSTOMER_LINE);

	row_begin_insert(call, table);
	row_set(table, CUSTOMER_LINE_ITEM_ID, Int64GetDatum(line->stock.item_id));
	row_set_text(table, CUSTOMER_LINE_CUSTOMER, line->customer);
	row_set(table, CUSTOMER_LINE_RESERVATION_ID,
			UUIDPGetDatum(&line->reservation_id));
	row_set(table, CUSTOMER_LINE_LINE_NO, Int32GetDatum(line->line_no));
	row_append(call, table);
}

/*
 * Let a line that was expired count again.  The caller has customers_lock(),
 * and the reservation.
 */
void
customer_remember_again(Call *call, const ReservationLine *line)
{
	ScanKeyData keys[4];
	bool		known;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(line->stock.item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(line->customer));
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&line->reservation_id));
	ScanKeyInit(&keys[3], 4, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(line->line_no));

	call_next_command(call);
	PushActiveSnapshot(GetLatestSnapshot());
	known = row_find(call, call_open(call, TABLE_CUSTOMER_LINE),
					 INDEX_CUSTOMER_LINE, keys, 4);
	PopActiveSnapshot();
	if (!known)
		customer_remember_line(call, line);
}
