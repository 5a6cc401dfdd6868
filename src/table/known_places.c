/*
 * known_places.c
 *		Rows that are looked up time and again: where they were last time.
 *
 * A catalogue is read with every call and seldom changed.  A session remembers
 * where it has found an item, and looks there before it asks the index.
 *
 * What it remembers is a hint.  At that place there may be another version by
 * now, another row, or none; the table may be another one too.  So nothing of
 * the row is kept, only the place: it is fetched with the call's snapshot, and
 * its key compared.  As the index is unique, a row with this key that the
 * snapshot sees is the only one it sees.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "table/row.h"

/* 12 bytes each: enough for the SKUs of a large sale. */
#define PLACES_KNOWN 16384

typedef struct KnownPlace
{
	uint32		hash;			/* of the key and the table */
	ItemPointerData tid;		/* invalid: nothing known */
} KnownPlace;

static KnownPlace *known_places = NULL;

/* Where the place of a key is remembered, or that of another. */
static KnownPlace *
known_place(uint32 hash)
{
	if (known_places == NULL)
		known_places = MemoryContextAllocZero(TopMemoryContext,
											  PLACES_KNOWN * sizeof(KnownPlace));
	return &known_places[hash % PLACES_KNOWN];
}

/* Is there a row at a place, which the snapshot sees, and of that key? */
static bool
find_at(OpenTable *table, ItemPointer tid, ScanKeyData *key, int column)
{
	Datum		value;
	bool		isnull;

	/* our lock keeps the table from getting shorter: one look is enough */
	if (ItemPointerGetBlockNumber(tid) >= table->blocks)
		table->blocks = RelationGetNumberOfBlocks(table->relation);
	if (ItemPointerGetBlockNumber(tid) >= table->blocks ||
		!row_fetch(table, tid))
		return false;

	value = row_get(table->found, column, &isnull);
	return !isnull &&
		DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation,
									   value, key->sk_argument));
}

/*
 * As row_find(), for a table that is read much more than written: looks first
 * where the row was last time.  "key" is that of a column that has a unique
 * index; "hash" is any function of what is sought.
 */
bool
row_find_again(Call *call, OpenTable *table, IndexId index, ScanKeyData *key,
			   int column, uint32 hash)
{
	KnownPlace *place;

	hash = hash_combine(hash, RelationGetRelid(table->relation));
	place = known_place(hash);
	if (place->hash == hash && ItemPointerIsValid(&place->tid) &&
		find_at(table, &place->tid, key, column))
		return true;

	if (!row_find(call, table, index, key, 1))
		return false;
	place->hash = hash;
	place->tid = table->found->tts_tid;
	return true;
}
