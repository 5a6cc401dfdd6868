/*
 * sourcing.c
 *		From which locations a line is filled.
 *
 * The rule: from the first location, by priority, that has it all, dead holds
 * counted as free.  If there is none, and the line may be split, from as many
 * as it takes, by priority, each giving what it has.  A buyer who names a
 * location, and a shop that has but one, have a single candidate.
 *
 * The hard part is that locations are preferred in one order and locked in
 * another, by their numbers, and that what is locked stays locked until the
 * transaction ends.  So, of one SKU after the other in the lock order:
 *
 * 1. a look that locks nothing says which location is the one;
 * 2. there one row that has enough is locked.  Where no row has, nothing of
 *    the SKU has been locked (records/stock_lock.c): somebody was faster, and
 *    the look is taken again, as of now.  If it finds another location, that is
 *    tried in the same way;
 * 3. if it finds none, or the same one again, whose units are on several rows or
 *    under dead holds, or if others have been faster several times, then the
 *    rows at all candidates are locked, in the lock order, and only what they
 *    say counts.
 *
 * Whoever waits, in 2 as in 3, has nothing of the SKU that comes later in the
 * lock order, nor of one that does; therefore nobody waits in a circle.  Nobody
 * is told "sold out" but by a look, of one moment, in which no location had it
 * all, or under the locks of all of them.
 *
 * What must never happen: that a location is tried while rows of the SKU at
 * another one are locked.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "records/item.h"
#include "records/location_list.h"
#include "rules/reserve_steps.h"
#include "rules/sourcing.h"

/*
 * Where a request may be filled from: at the location of that code or, if it is
 * NULL, at any.  Raises IV010.
 */
void
sources_of(Call *call, const char *location, bool split, Sources *sources)
{
	sources->split = split;
	if (location == NULL)
	{
		sources->locations = location_list(call, &sources->count);
		return;
	}
	sources->count = 1;
	sources->locations = palloc(sizeof(int32));
	sources->locations[0] = location_require(call, location);
}

/* Begin to go through the candidates. */
static void
begin(const Sources *sources, Sourcing *sourcing)
{
	sourcing->location_id = sources->locations[0];
	sourcing->available = PG_INT64_MIN;
	sourcing->of_several = false;
	sourcing->in_all = 0;
	sourcing->part_count = 0;
}

/*
 * A candidate has so many units to give.  True if that is all of the line, so
 * that there is no need to go on.
 */
static bool
consider(int32 location_id, int64 available, int64 units, Sourcing *sourcing)
{
	sourcing->in_all = Min(sourcing->in_all + Max(available, 0),
						   UNLIMITED_UNITS);
	if (available > sourcing->available)
	{
		sourcing->location_id = location_id;
		sourcing->available = available;
	}
	return available >= units;
}

/* All have been considered, and none has all.  Can the line be split? */
static bool
end(const Sources *sources, int64 units, Sourcing *sourcing)
{
	if (!sources->split || sources->count == 1)
		return false;
	sourcing->of_several = true;
	sourcing->available = sourcing->in_all;
	return sourcing->available >= units;
}

/* Units of an item at a location, as the call's snapshot sees them. */
static int64
units_at(Call *call, int64 item_id, int32 location_id, int64 enough)
{
	StockSet	rows = {0};

	stock_add_sku(call, &rows, item_id, location_id);
	return available_now(call, &rows, item_id, location_id, enough);
}

/*
 * Look for so many units of an item without locking anything; true if they
 * seem to be there.  What is said is true of one moment, that of the call's
 * snapshot.
 */
bool
sourcing_look(Call *call, const Sources *sources, int64 item_id, int64 units,
			  Sourcing *sourcing)
{
	begin(sources, sourcing);
	for (int i = 0; i < sources->count; i++)
	{
		int32		location_id = sources->locations[i];

		if (consider(location_id, units_at(call, item_id, location_id, units),
					 units, sourcing))
			return true;
	}
	return end(sources, units, sourcing);
}

static int
compare_locations(const void *left, const void *right)
{
	int32		a = *(const int32 *) left;
	int32		b = *(const int32 *) right;

	return (a > b) - (a < b);
}

/* Lock the rows of an item at all candidates, in the lock order. */
static void
lock_all(Call *call, StockSet *stock, const Sources *sources, int64 item_id)
{
	int32	   *locations = palloc(sources->count * sizeof(int32));

	memcpy(locations, sources->locations, sources->count * sizeof(int32));
	qsort(locations, sources->count, sizeof(int32), compare_locations);
	for (int i = 0; i < sources->count; i++)
		stock_lock_sku(call, stock, item_id, locations[i]);
	pfree(locations);
}

/* How often others may be faster before all candidates are locked. */
#define MAX_LOOKS 3

/*
 * Lock stock for so many units of an item, and add it: a row that has them at
 * the location that was found by looking, or at one that is found now, or else
 * all rows at all candidates.  "near" is the row at that location to begin at,
 * or NULL.  The caller holds no row of the item, nor of one that comes later.
 * Raises 40001.
 */
void
sourcing_lock(Call *call, StockSet *stock, const Sources *sources,
			  int64 item_id, int64 units, const StockRow *near,
			  Sourcing *sourcing)
{
	int32		tried;

	sourcing->all_locked = false;
	if (sources->count == 1)
	{
		stock_lock_units(call, stock, item_id, sourcing->location_id, units,
						 near);
		return;
	}
	for (int looks = 0; looks < MAX_LOOKS; looks++)
	{
		tried = sourcing->location_id;
		if (stock_lock_enough(call, stock, item_id, tried, units, near))
			return;
		near = NULL;
		call_see_now(call);
		if (!sourcing_look(call, sources, item_id, units, sourcing) ||
			sourcing->location_id == tried)
			break;
	}
	lock_all(call, stock, sources, item_id);
	sourcing->all_locked = true;
}

/*
 * The same for several buyers who want so many units in all, none of whom may
 * get his from a later location if an earlier one has them: a row that has them
 * at the first location that has any, or else all rows at all candidates.  Raises
 * 40001.
 */
void
sourcing_lock_first(Call *call, StockSet *stock, const Sources *sources,
					int64 item_id, int64 units)
{
	int			first = 0;

	while (first < sources->count - 1 &&
		   units_at(call, item_id, sources->locations[first], 1) == 0)
		first++;
	if (!stock_lock_enough(call, stock, item_id, sources->locations[first],
						   units, NULL))
		lock_all(call, stock, sources, item_id);
}

/* All of a line comes from one location. */
static void
take_whole(int32 location_id, int64 available, int64 units, Sourcing *sourcing)
{
	sourcing->part_count = 1;
	sourcing->parts = &sourcing->whole;
	sourcing->whole.location_id = location_id;
	sourcing->whole.units = units;
	sourcing->whole.left = available - units;
}

/*
 * Take what the locations have, by priority, until it is enough.  What is dead
 * is collected again, no more of it than each needs.
 */
static void
take_parts(Call *call, StockSet *stock, const Sources *sources, int64 item_id,
		   int64 units, TimestampTz now, LineList *dead, Sourcing *sourcing)
{
	sourcing->parts = palloc(sources->count * sizeof(SourcedPart));
	for (int i = 0; i < sources->count && units > 0; i++)
	{
		int32		location_id = sources->locations[i];
		int64		available = reclaim_units(call, stock, item_id,
											  location_id, units, now, dead);
		SourcedPart *part;

		if (available <= 0)
			continue;
		part = &sourcing->parts[sourcing->part_count++];
		part->location_id = location_id;
		part->units = Min(units, available);
		part->left = available - part->units;
		units -= part->units;
	}
	Assert(units == 0);
}

/*
 * Decide, under the locks that sourcing_lock() has taken, where so many units of
 * an item come from.  The dead lines to free for it are added to "dead".  If
 * fewer are "available" they cannot be had.  Raises 40001.
 */
void
sourcing_decide(Call *call, StockSet *stock, const Sources *sources,
				int64 item_id, int64 units, TimestampTz now, LineList *dead,
				Sourcing *sourcing)
{
	Sources		there = {1, &sourcing->location_id, false};
	int			dead_before = dead->count;

	if (!sourcing->all_locked)
		sources = &there;
	begin(sources, sourcing);
	for (int i = 0; i < sources->count; i++)
	{
		int32		location_id = sources->locations[i];
		int64		available = reclaim_units(call, stock, item_id,
											  location_id, units, now, dead);

		if (consider(location_id, available, units, sourcing))
		{
			take_whole(location_id, available, units, sourcing);
			return;
		}
		/* of what comes from elsewhere nothing need be freed here */
		dead->count = dead_before;
	}
	if (end(sources, units, sourcing))
		take_parts(call, stock, sources, item_id, units, now, dead, sourcing);
}

/*
 * Units of an item that could be held now, over all candidates, as the call's
 * snapshot sees them.
 */
int64
sourcing_available(Call *call, const Sources *sources, int64 item_id)
{
	int64		units = 0;

	for (int i = 0; i < sources->count; i++)
	{
		int64		here = units_at(call, item_id, sources->locations[i],
									UNLIMITED_UNITS);

		units = Min(units + here, UNLIMITED_UNITS);
	}
	return units;
}
