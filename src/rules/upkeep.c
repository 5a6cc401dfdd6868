/*
 * upkeep.c
 *		What is done regularly so that stock stays right and tables small.
 *
 * A table of tasks, in the order in which they are done.  inv_maintain() and
 * the background worker go through it; the one does all there is, the other
 * what it can in its time.  Any number of both may be at it, beside pg_cron's
 * sweep and buyers who reclaim.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "catalog/catalog.h"
#include "records/reservation.h"
#include "rules/edges.h"
#include "rules/expire.h"
#include "rules/feed.h"
#include "rules/ledger_hours.h"
#include "rules/purge.h"
#include "rules/reconcile.h"
#include "rules/stripes.h"
#include "rules/upkeep.h"
#include "rules/waitlist.h"
#include "settings.h"
#include "table/sql.h"

/*
 * Sweep once, standing in the queue for the stock row of the longest dead hold:
 * that of a SKU which is being fought over is never free.  The caller sees to
 * it that nobody waits for long.
 */
static bool
sweep_in_turn(Call *call, int64 *rows)
{
	*rows += expire_dead_holds(call, setting_expire_batch_size);
	return false;
}

/* Count a batch.  One that was full is not the last. */
static bool
count_batch(int64 done, int64 *rows)
{
	*rows += done;
	return done >= setting_expire_batch_size;
}

/* Sweep dead holds, those that nobody has locked. */
static bool
sweep(Call *call, int64 *rows)
{
	return count_batch(expire_dead_holds_nowait(call, setting_expire_batch_size),
					   rows);
}

/*
 * Make offers to those who wait.  A line that is due and busy has not been dealt
 * with, but counts, so that the worker comes back.
 */
static bool
serve_waitlists(Call *call, int64 *rows)
{
	return waitlist_serve_due(call, setting_expire_batch_size, rows) >=
		setting_expire_batch_size;
}

/* Tell which SKUs have come into stock or gone out of it. */
static bool
edges(Call *call, int64 *rows)
{
	return tell_edges(call, setting_expire_batch_size, rows);
}

/* Delete keys past their retention. */
static bool
delete_keys(Call *call, int64 *rows)
{
	return count_batch(purge_keys(call, setting_expire_batch_size), rows);
}

/* The moment before which what is to be kept for "retention" seconds is due. */
static TimestampTz
due_before(int retention)
{
	return GetCurrentTimestamp() - (int64) retention * USECS_PER_SEC;
}

/* Delete closed reservations past their retention. */
static bool
delete_reservations(Call *call, int64 *rows)
{
	if (setting_reservation_retention < 0)
		return false;
	return count_batch(purge_reservations(call,
										  due_before(setting_reservation_retention),
										  setting_expire_batch_size), rows);
}

/* Put ledger entries past their retention into opening balances. */
static bool
fold_ledger(Call *call, int64 *rows)
{
	if (setting_ledger_retention < 0)
		return false;
	return count_batch(purge_ledger(call, due_before(setting_ledger_retention),
									setting_expire_batch_size), rows);
}

/* Make one row of the stock of a SKU that needs no stripes any more. */
static bool
merge_stripes(Call *call, int64 *rows)
{
	int64		item_id;
	int32		location_id;

	if (!calm_stripes(call, &item_id, &location_id))
		return false;
	set_stripes(call, item_id, location_id, 1);
	(*rows)++;
	return true;
}

const UpkeepStep upkeep_steps[] = {
	{"sweep in turn", true, sweep_in_turn},
	{"sweep", false, sweep},
	{"serve waitlists", false, serve_waitlists},
	{"tell stock edges", false, edges},
	{"note hours of the ledger", false, note_hours},
	{"reconcile", true, reconcile_in_background},
	{"delete idempotency keys", false, delete_keys},
	{"delete closed reservations", false, delete_reservations},
	{"fold old ledger entries", false, fold_ledger},
	{"merge stripes", false, merge_stripes},
	{"ring", true, feed_ring},
};

const int	upkeep_step_count = lengthof(upkeep_steps);

/* $1 the sequence of the ledger's entries */
static SqlStatement find_beginning = {
	.text = "SELECT pg_catalog.pg_sequence_last_value($1) IS NOT NULL",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {REGCLASSOID}
};

/*
 * Has anything been sold, held or received here yet?  What has no entry in the
 * ledger needs no upkeep, and where there are entries, but nobody has ever taken
 * a number for one, a dump is being restored: table by table, for hours perhaps,
 * and the sequences last of all.  Till then nothing fits, and what upkeep wrote
 * would be in the way of what is still to come.
 */
bool
upkeep_has_begun(Call *call)
{
	Datum		sequence;
	bool		begun;
	bool		isnull;

	(void) call_open(call, TABLE_LEDGER);
	sequence = ObjectIdGetDatum(catalog_ledger_sequence());
	sql_begin(call);
	(void) sql_run(call, &find_beginning, &sequence, NULL);
	begun = DatumGetBool(sql_value(0, 1, &isnull));
	sql_end(call);
	return begun;
}

/* Is there no hold, dead or alive, that could come to need a sweep? */
bool
upkeep_nothing_is_held(Call *call)
{
	RowWalk		walk;
	bool		held;

	dead_lines_walk(&walk, call, DT_NOEND);
	held = row_walk_next(&walk);
	row_walk_end(&walk);
	return !held;
}
