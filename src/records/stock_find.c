/*
 * stock_find.c
 *		Finding stock rows: by key, by SKU, near this backend's place.
 *
 * The stripes of a SKU stand on a ring, each with the number of its place, so
 * that a lookup of the last stripe at or before a place finds one without
 * anybody knowing how many there are.
 *
 * The hard part is old versions.  While some snapshot stays open for hours,
 * every version of a hot row stays, with an entry in the index or a place in a
 * chain of them, and a lookup must not walk them all:
 *
 * - lookups go backward, for new versions mostly stand last (table/row.c);
 * - where that was not enough, the place of the last version is remembered;
 * - a buyer, and whoever has waited for a row, asks what is marked on its
 *   versions, not his snapshot, which names everybody who waits.
 *
 * What must never happen: that what is only a hint (a remembered place, a
 * version that may be outdated by now) is believed without a look at its key,
 * or decided upon without a lock.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/proc.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "records/stock_rows.h"
#include "table/row.h"

/* Not so in an older extension, where nobody can wait. */
bool
stock_knows_waiting(TupleTableSlot *slot)
{
	return known_columns(TABLE_STOCK, slot->tts_tupleDescriptor) >= STOCK_WAITING;
}

/* Read a row that was found. */
void
stock_read_row(Call *call, StockRow *row, TupleTableSlot *slot)
{
	row->tid = slot->tts_tid;
	row->view = call->view;
	row->key.item_id = row_get_int64(slot, STOCK_ITEM_ID);
	row->key.location_id = row_get_int32(slot, STOCK_LOCATION_ID);
	row->key.stripe = row_get_int32(slot, STOCK_STRIPE);
	row->on_hand = row_get_int64(slot, STOCK_ON_HAND);
	row->reserved = row_get_int64(slot, STOCK_RESERVED);
	row->min_available = row_get_int64(slot, STOCK_MIN_AVAILABLE);
	row->backorder_unlimited = row_get_bool(slot, STOCK_BACKORDER_UNLIMITED);
	row->retired = row_get_bool(slot, STOCK_RETIRED);
	row->version = row_get_int64(slot, STOCK_VERSION);
	row->earliest_expiry = row_get_int64(slot, STOCK_EARLIEST_EXPIRY);
	row->backordered = stock_row_shortfall(row);
	row->waiting = stock_knows_waiting(slot) &&
		row_get_bool(slot, STOCK_WAITING);
	row->changed = false;
	row->current = false;
	row->contested = false;
}

/* The first "RING_PLACES" numbers, each bit by bit in reverse. */
static int32
reverse_bits(uint32 number)
{
	int32		reversed = 0;

	for (int bit = 1; bit < RING_PLACES; bit <<= 1)
	{
		reversed = reversed << 1 | (int32) (number & 1);
		number >>= 1;
	}
	return reversed;
}

/*
 * The place of the n-th stripe: 0, then half the ring, then its quarters, so
 * that any number of them stands evenly.
 */
int32
stock_stripe_place(int n)
{
	return reverse_bits(n);
}

/* This backend's place on the ring: neighbours in time stand far apart. */
int32
stock_own_place(void)
{
	return reverse_bits(MyProc - ProcGlobal->allProcs);
}

/* The scan keys of a SKU's stripes, up to the place of "key". */
static void
keys_up_to(ScanKeyData *keys, const StockKey *key)
{
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(key->item_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(key->location_id));
	ScanKeyInit(&keys[2], 3, BTLessEqualStrategyNumber, F_INT4LE,
				Int32GetDatum(key->stripe));
}

/*
 * Where the last version of a stripe was seen that took long to find.  From
 * there the chain of versions leads to the one of today.  Any of these places
 * may be wrong, forgotten or another row's by now; then the index is asked
 * again.
 */
#define PLACES_REMEMBERED 256

typedef struct RememberedPlace
{
	Oid			relation;		/* InvalidOid: nothing */
	StockKey	key;			/* as asked for: up to this place */
	ItemPointerData tid;
} RememberedPlace;

static RememberedPlace remembered_places[PLACES_REMEMBERED];

/* Where the answer to a question is kept; "valid": there is one. */
static RememberedPlace *
remembered_place(OpenTable *table, const StockKey *key, bool *valid)
{
	uint32		hash = hash_combine(murmurhash32((uint32) key->item_id),
									murmurhash32((uint32) key->stripe));
	RememberedPlace *remembered = &remembered_places[hash % PLACES_REMEMBERED];

	*valid = remembered->relation == RelationGetRelid(table->relation) &&
		stock_key_compare(&remembered->key, key) == 0;
	return remembered;
}

/* Remember the answer, if the search for it was long. */
static void
remember_if_long(OpenTable *table, const StockKey *key, const StockRow *row)
{
	RememberedPlace *remembered;
	bool		valid;

	if (!table->tangled)
		return;
	remembered = remembered_place(table, key, &valid);
	remembered->relation = RelationGetRelid(table->relation);
	remembered->key = *key;
	remembered->tid = row->tid;
}

/*
 * Find a stripe that has come since, between a row's and the place of "key".
 * If there are several, the last of them.
 */
static void
find_later(Call *call, OpenTable *table, const StockKey *key, StockRow *row)
{
	ScanKeyData keys[4];

	if (row->key.stripe == key->stripe)
		return;
	keys_up_to(keys, key);
	ScanKeyInit(&keys[3], 3, BTGreaterStrategyNumber, F_INT4GT,
				Int32GetDatum(row->key.stripe));
	if (row_find(call, table, INDEX_STOCK, keys, 4))
		stock_read_row(call, row, table->found);
}

/* Find what find_up_to() wants from where it was seen last. */
static bool
find_remembered(Call *call, OpenTable *table, const StockKey *key,
				StockRow *row)
{
	bool		valid;
	RememberedPlace *remembered = remembered_place(table, key, &valid);

	if (!valid)
		return false;
	remembered->relation = InvalidOid;
	if (!row_find_from(table, &remembered->tid))
		return false;
	stock_read_row(call, row, table->found);
	if (row->key.item_id != key->item_id ||
		row->key.location_id != key->location_id ||
		row->key.stripe > key->stripe)
		return false;
	remembered->relation = RelationGetRelid(table->relation);
	remembered->tid = row->tid;
	find_later(call, table, key, row);
	return true;
}

/*
 * Find the last stripe of a SKU at or before the place of "key", as the call's
 * snapshot sees it.
 */
static bool
find_up_to(Call *call, StockKey key, StockRow *row)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	ScanKeyData keys[3];

	if (find_remembered(call, table, &key, row))
		return true;
	keys_up_to(keys, &key);
	if (!row_find(call, table, INDEX_STOCK, keys, 3))
		return false;
	stock_read_row(call, row, table->found);
	remember_if_long(table, &key, row);
	return true;
}

/*
 * The same as of this instant: for who then locks that version, or for a hint.
 * May take a new snapshot.
 */
bool
stock_find_latest_up_to(Call *call, StockKey key, StockRow *row)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	ScanKeyData keys[3];
	bool		remembered;

	(void) remembered_place(table, &key, &remembered);
	keys_up_to(keys, &key);
	if (remembered || !row_find_latest(call, table, INDEX_STOCK, keys, 3))
	{
		call_see_now(call);
		return find_up_to(call, key, row);
	}
	stock_read_row(call, row, table->found);
	remember_if_long(table, &key, row);
	return true;
}

/*
 * Read a row anew by its key; false if the call's snapshot sees none.  It is
 * left in table->found too.
 */
bool
stock_find_row(Call *call, StockRow *row)
{
	StockKey	key = row->key;
	StockRow	found;

	if (!find_up_to(call, key, &found) || found.key.stripe != key.stripe)
		return false;
	*row = found;
	return true;
}

/*
 * The same as of this instant, to be locked by that version.  May take a new
 * snapshot.
 */
bool
stock_find_latest_row(Call *call, StockRow *row)
{
	StockKey	key = row->key;
	StockRow	found;

	if (stock_find_latest_up_to(call, key, &found) &&
		found.key.stripe == key.stripe)
	{
		*row = found;
		return true;
	}
	/* row_find_latest() may have missed it, and found an earlier stripe */
	call_see_now(call);
	return stock_find_row(call, row);
}

/*
 * The stripe that this backend begins at, as of this instant; false if there is
 * no stock at all.  A hint: nothing is locked.
 */
bool
stock_near(Call *call, int64 item_id, int32 location_id, StockRow *row)
{
	StockKey	key = {item_id, location_id, stock_own_place()};

	return stock_find_latest_up_to(call, key, row);
}

/* Add the stock rows of a SKU from the place of "key" to the ring's end. */
void
stock_add_from(Call *call, StockSet *set, StockKey key)
{
	OpenTable  *table = call_open(call, TABLE_STOCK);
	ScanKeyData keys[4];
	RowWalk		walk;
	StockRow	row;
	int32		from = key.stripe;

	/* in one go, if it can be done */
	key.stripe = RING_PLACES - 1;
	keys_up_to(keys, &key);
	ScanKeyInit(&keys[3], 3, BTGreaterEqualStrategyNumber, F_INT4GE,
				Int32GetDatum(from));
	row_walk_back(&walk, call, table, INDEX_STOCK, keys, 4);
	while (key.stripe >= from && row_walk_next(&walk))
	{
		stock_read_row(call, &row, walk.slot);
		stock_add_row(set, &row);
		key.stripe = row.key.stripe - 1;
	}
	row_walk_end(&walk);

	/* else, from there on, stripe by stripe */
	while (walk.tangled && key.stripe >= from &&
		   find_up_to(call, key, &row) && row.key.stripe >= from)
	{
		stock_add_row(set, &row);
		key.stripe = row.key.stripe - 1;
	}
}

/*
 * Add all the stock rows of a SKU at a location, as the call's snapshot sees
 * them.  There may be none: nothing was ever received there.
 */
void
stock_add_sku(Call *call, StockSet *set, int64 item_id, int32 location_id)
{
	StockKey	first = {item_id, location_id, FIRST_STRIPE};

	stock_add_from(call, set, first);
}

/*
 * Add the rows on which units can be put that were sold from "key" some time
 * ago: that one, if it is still there, and the first.
 */
void
stock_add_home(Call *call, StockSet *set, StockKey key)
{
	StockRow	row = {key};

	if (key.stripe != FIRST_STRIPE && stock_find_row(call, &row))
		stock_add_row(set, &row);
	key.stripe = FIRST_STRIPE;
	stock_add_key(set, key);
}
