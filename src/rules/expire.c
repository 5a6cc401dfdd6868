/*
 * expire.c
 *		The sweep: gives back what dead holds still hold.
 *
 * Any number of sweeps may run at once, beside buyers: each takes reservations
 * that nobody else has locked and passes over the others.  First it collects
 * (reservations, never waiting), then it locks the stock rows concerned in
 * their order, and writes each of them once, however many holds sat on it.
 * The transaction that commits this either frees a hold wholly or not at all,
 * so a crash loses nothing and the next sweep finds what is left.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "rules/expire.h"
#include "rules/reclaim.h"

/*
 * Collect the lines of a dead reservation that are still active, its lock
 * taken.  False if somebody else has it, or if it is not dead after all.
 */
static bool
collect_reservation(Call *call, const pg_uuid_t *id, TimestampTz now,
					LineList *dead)
{
	Reservation reservation;
	bool		found = false;

	if (!reservation_find(call, id, &reservation))
		return false;
	for (int i = 0; i < reservation.count; i++)
	{
		ReservationLine *line = &reservation.lines[i];

		if (line->status != RESERVATION_ACTIVE ||
			line_lock_dead(call, line, now) != ROW_LOCKED)
			continue;
		line_list_add(dead, line);
		found = true;
	}
	return found;
}

/*
 * Expire at most "max_count" reservations that are dead now, the longest dead
 * first.  Returns how many.  Raises 40001.
 */
int64
expire_dead_holds(Call *call, int64 max_count)
{
	TimestampTz now = GetCurrentTimestamp();
	LineList	dead = {0};
	StockSet	stock = {0};
	RowWalk		walk;
	MemoryContext scratch;
	HTAB	   *seen;
	HASHCTL		seen_info = {0};
	int64		expired = 0;

	seen_info.keysize = sizeof(pg_uuid_t);
	seen_info.entrysize = sizeof(pg_uuid_t);
	seen_info.hcxt = CurrentMemoryContext;
	seen = hash_create("reservations seen by a sweep", 256, &seen_info,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	dead_lines_walk(&walk, call, now);
	dead.context = CurrentMemoryContext;
	scratch = AllocSetContextCreate(CurrentMemoryContext, "swept reservation",
									ALLOCSET_DEFAULT_SIZES);
	while (expired < max_count && row_walk_next(&walk))
	{
		ReservationLine line;
		bool		seen_before;
		MemoryContext old_context = MemoryContextSwitchTo(scratch);

		line_read(&line, walk.slot);
		(void) hash_search(seen, &line.reservation_id, HASH_ENTER, &seen_before);
		if (!seen_before &&
			collect_reservation(call, &line.reservation_id, now, &dead))
			expired++;
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(scratch);
	}
	row_walk_end(&walk);

	for (int i = 0; i < dead.count; i++)
	{
		if (dead.lines[i].quantity > 0)
			stock_add_key(&stock, dead.lines[i].stock);
	}
	stock_lock(call, &stock);
	reclaim_free(call, &stock, &dead, now);
	stock_write(call, &stock);
	return expired;
}
