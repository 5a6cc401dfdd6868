/*
 * location_list.c
 *		All locations by priority, as the session remembers them.
 *
 * Every purchase that names no location needs the list, which changes with the
 * seasons.  So a session keeps it, and most calls do not even open the table.
 *
 * The hard part is to forget the list in time:
 *
 * - Whatever changes a row of the table sends a relcache invalidation for it:
 *   a trigger of ours does (inv_location_changed()), and inv_add_location(),
 *   for databases that do not have the trigger yet.  Like any change of the
 *   catalogs it is undone on rollback and reaches other sessions after the
 *   commit.  Who asks takes in what has come; the callback only sets flags, and
 *   then the list is read again.
 * - It is read with a snapshot of this very moment, whatever the transaction
 *   sees otherwise: an older one might lack what we have just been told of, and
 *   nobody would tell us again.  An invalidation that comes meanwhile makes us
 *   read once more.
 * - What is found under an outdated list is not wrong: it is stock, locked and
 *   decided upon as ever.  Only a place might have been left out.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "records/item.h"
#include "records/location_list.h"
#include "table/row.h"

enum ColumnOfLocation
{
	LOCATION_LOCATION_ID = 1,
	LOCATION_CODE,
	LOCATION_NAME,
	LOCATION_PRIORITY
};

typedef struct RankedLocation
{
	int32		priority;
	int32		location_id;
} RankedLocation;

typedef struct RankedLocations
{
	int			count;
	int			capacity;
	RankedLocation *locations;
} RankedLocations;

/* What the session remembers. */
static struct
{
	Oid			relation;		/* whose rows; InvalidOid: none read yet */
	bool		valid;
	bool		disturbed;		/* an invalidation came, see remember() */
	int			count;
	int32	   *ids;			/* by priority; at least one */
}			known;

/* A change of a relation, or (InvalidOid) of any: only set flags. */
static void
forget_locations(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == known.relation)
	{
		known.valid = false;
		known.disturbed = true;
	}
}

/* Lowest priority first, of one priority the oldest location. */
static int
compare_ranks(const void *left, const void *right)
{
	const RankedLocation *a = left;
	const RankedLocation *b = right;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	if (a->location_id != b->location_id)
		return a->location_id < b->location_id ? -1 : 1;
	return 0;
}

static void
add_location(RankedLocations *list, int32 priority, int32 location_id)
{
	if (list->count == list->capacity)
	{
		list->capacity = Max(8, list->capacity * 2);
		list->locations = list->locations == NULL
			? palloc(list->capacity * sizeof(RankedLocation))
			: repalloc(list->locations,
					   list->capacity * sizeof(RankedLocation));
	}
	list->locations[list->count].priority = priority;
	list->locations[list->count++].location_id = location_id;
}

/* Read all locations with the active snapshot, and sort them. */
static void
read_locations(Call *call, OpenTable *table, RankedLocations *list)
{
	RowWalk		walk;
	bool		default_found = false;

	memset(list, 0, sizeof(RankedLocations));
	row_walk_begin(&walk, call, table, INDEX_LOCATION_ID, NULL, 0);
	while (row_walk_next(&walk))
	{
		int32		id = row_get_int32(walk.slot, LOCATION_LOCATION_ID);

		default_found = default_found || id == DEFAULT_LOCATION_ID;
		add_location(list, row_get_int32(walk.slot, LOCATION_PRIORITY), id);
	}
	row_walk_end(&walk);

	/* it gets its row when it first gets stock */
	if (!default_found)
		add_location(list, 0, DEFAULT_LOCATION_ID);
	qsort(list->locations, list->count, sizeof(RankedLocation), compare_ranks);
}

/* Remember a list for as long as the session lives. */
static void
remember(const RankedLocations *list)
{
	int32	   *ids = MemoryContextAlloc(TopMemoryContext,
										 list->count * sizeof(int32));

	for (int i = 0; i < list->count; i++)
		ids[i] = list->locations[i].location_id;
	if (known.ids != NULL)
		pfree(known.ids);
	known.ids = ids;
	known.count = list->count;
}

/* Read the list again and again until nothing interferes. */
static void
ensure_valid(Call *call)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_locations, (Datum) 0);
		registered = true;
	}
	/* a transaction that goes on has no other occasion; mostly two loads */
	AcceptInvalidationMessages();
	while (!known.valid)
	{
		OpenTable  *table = call_open(call, TABLE_LOCATION);
		RankedLocations list;

		known.relation = RelationGetRelid(table->relation);
		known.disturbed = false;
		PushActiveSnapshot(GetLatestSnapshot());
		read_locations(call, table, &list);
		PopActiveSnapshot();
		remember(&list);
		pfree(list.locations);
		known.valid = !known.disturbed;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * The ids of all locations in the order in which they are filled from, a copy;
 * the default one is always among them.
 */
int32 *
location_list(Call *call, int *count)
{
	int32	   *ids;

	/* a process that helps with a query cannot take a snapshot of its own */
	if (!known.valid && IsInParallelMode())
	{
		RankedLocations list;

		read_locations(call, call_open(call, TABLE_LOCATION), &list);
		ids = palloc(list.count * sizeof(int32));
		for (int i = 0; i < list.count; i++)
			ids[i] = list.locations[i].location_id;
		*count = list.count;
		return ids;
	}
	ensure_valid(call);
	*count = known.count;
	ids = palloc(known.count * sizeof(int32));
	memcpy(ids, known.ids, known.count * sizeof(int32));
	return ids;
}

/*
 * Rows of the table of locations have changed, or are about to: sessions read
 * them again, this one after the command, the others after the commit.
 */
void
location_list_changed(Relation locations)
{
	CacheInvalidateRelcache(locations);
}
