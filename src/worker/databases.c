/*
 * databases.c
 *		What the launcher knows of each database, and when it is due.
 *
 * The hard part is to cost next to nothing where the extension is not, and yet
 * to miss it nowhere.  Whether a database has it can be seen only by a worker
 * that is attached to it.  One looks
 *
 * - once, when the database is first seen;
 * - when an extension has been made or updated in it (announce.c);
 * - and where CREATE EXTENSION may have gone unannounced (COMMIT PREPARED),
 *   after a longer while, but only if rows have been inserted into the
 *   database since, which CREATE EXTENSION cannot do without.  Sessions report
 *   those up to a minute late, but always after their commit.  The number is
 *   taken before the worker looks, so what it does not see changes the number
 *   later.  With track_counts off nobody counts, and a worker has to look.
 *
 * A database whose extension is not of a version for the library counts as one
 * without it, until it is updated.  The first worker that finds it so says why.
 *
 * A database that has the extension, but in which nobody holds anything and
 * nobody has changed anything since a worker found nothing to do, rests likewise
 * until somebody does, and gets a visit after that while for what only the
 * clock makes due.  A session that is at rest itself reports its first
 * change at once, and further ones within ten seconds, so only holds that live
 * shorter than that may be swept later than a naptime after their death.
 *
 * The clock is one that nobody sets: with the wall clock put back by an hour,
 * nothing would be due for an hour.
 *
 * pg_database is read from end to end, as the autovacuum launcher does: a
 * process that is in no database may not have the caches that its indexes
 * need.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/compat.h"
#include "rules/upkeep.h"
#include "settings.h"
#include "statistics/statistics.h"
#include "worker/databases.h"
#include "worker/worker.h"

/* Databases without the extension, or at rest: once in so many naptimes, */
#define LOOK_AGAIN 6
#define LOOK_AGAIN_AFTER (60 * 1000)	/* milliseconds, if that is earlier */

/* The longest rest after failures, unless naptime is longer. */
#define LONGEST_REST (5 * 60 * 1000)	/* milliseconds */

/* At most so many rows a batch, whatever sweeps by hand may take. */
#define LARGEST_BATCH 1000
#define SMALLEST_BATCH 10

static HTAB *databases = NULL;
static int64 counters_kept_until = 0;
static bool databases_known = false;	/* they have been read once */

/* Milliseconds since some moment. */
int64
clock_now(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

static int64
naptime(void)
{
	return (int64) setting_naptime * 1000;
}

/* How long databases without the extension, or at rest, are left alone. */
static int64
long_naptime(void)
{
	return Max(naptime(), Min(LOOK_AGAIN * naptime(), LOOK_AGAIN_AFTER));
}

void
databases_init(void)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(Oid);
	info.entrysize = sizeof(Database);
	info.hcxt = TopMemoryContext;
	databases = hash_create("databases of the launcher", 64, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* It failed once more. */
static void
give_rest(Rest *rest, int64 now)
{
	int64		length = naptime() << Min(rest->failures, 10);

	rest->failures++;
	rest->until = now + Min(length, Max(naptime(), LONGEST_REST));
}

static bool
takes_connections(Form_pg_database form)
{
	return form->datallowconn && form->datconnlimit != DATCONNLIMIT_INVALID_DB;
}

/* A database in which a worker was at work when the server crashed. */
static void
rest_after_crashes(Database *database, int crashes, int64 now)
{
	database->whole.failures = crashes - 1;
	give_rest(&database->whole, now);
	ereport(LOG,
			(errmsg("%s for database %s was at work when the server crashed",
					WORKER_TYPE, NameStr(database->name)),
			 errdetail_plural("The next one comes in %d second.",
							  "The next one comes in %d seconds.",
							  (int) ((database->whole.until - now) / 1000),
							  (int) ((database->whole.until - now) / 1000)),
			 errhint("If it was the reason, set inventory_reservation.worker_enabled to off until that is found.")));
}

/*
 * A database that has just been made is left alone for a moment, as if a worker
 * had just been there: it may be about to be dropped again.
 */
static void
list_database(Form_pg_database form, int64 now)
{
	bool		found;
	int			crashes = 0;
	Database   *database = hash_search(databases, &form->oid, HASH_ENTER,
									   &found);

	if (!found)
	{
		memset(database, 0, sizeof(Database));
		database->oid = form->oid;
		database->batch = LARGEST_BATCH;
		database->ended = databases_known ? now : now - WORKER_GAP;
		crashes = shared_crashes(form->oid);
	}
	database->name = form->datname;
	database->listed = true;
	if (crashes > 0)
		rest_after_crashes(database, crashes, now);
}

/* Forget databases that are gone, and those that take no connections. */
static void
forget_unlisted(void)
{
	HASH_SEQ_STATUS scan;
	Database   *database;

	hash_seq_init(&scan, databases);
	while ((database = hash_seq_search(&scan)) != NULL)
	{
		if (!database->listed && !database->running)
			(void) hash_search(databases, &database->oid, HASH_REMOVE, NULL);
	}
}

/*
 * Have the counters of databases that are gone given up; once in a naptime
 * will do.
 */
static void
forget_counters(List *all, int64 now)
{
	Oid		   *oids = palloc((list_length(all) + 1) * sizeof(Oid));
	int			count = 0;
	ListCell   *cell;

	if (now < counters_kept_until)
		return;
	counters_kept_until = now + naptime();
	foreach(cell, all)
		oids[count++] = lfirst_oid(cell);
	statistics_forget_missing(oids, count);
}

/*
 * Read which databases there are, in a transaction of the caller's.  While
 * somebody rewrites pg_database, what is known has to do: the launcher waits
 * for nobody.
 */
void
databases_read(void)
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;
	HASH_SEQ_STATUS known;
	Database   *database;
	List	   *all = NIL;
	int64		now = clock_now();

	if (!ConditionalLockRelationOid(DatabaseRelationId, AccessShareLock))
		return;

	hash_seq_init(&known, databases);
	while ((database = hash_seq_search(&known)) != NULL)
		database->listed = false;

	relation = table_open(DatabaseRelationId, NoLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		all = lappend_oid(all, form->oid);
		if (takes_connections(form))
			list_database(form, now);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);

	forget_unlisted();
	forget_counters(all, now);
	databases_known = true;
}

/*
 * May a worker be sent to a database now?  Not while somebody drops, renames
 * or moves it: the worker would wait for him, and then perhaps find nothing.
 */
bool
database_takes_workers(Oid oid)
{
	LOCKTAG		tag;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;
	bool		takes = false;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, oid, 0);
	if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (ConditionalLockRelationOid(DatabaseRelationId, AccessShareLock))
	{
		relation = table_open(DatabaseRelationId, NoLock);
		scan = table_beginscan_catalog(relation, 0, NULL);
		while (!takes && (tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
		{
			Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

			takes = form->oid == oid && takes_connections(form);
		}
		table_endscan(scan);
		table_close(relation, AccessShareLock);
	}
	LockRelease(&tag, RowExclusiveLock, false);
	return takes;
}

/*
 * An extension was made in these databases; with more than MAX_ANNOUNCED, in
 * some that are not in the list, so in any.
 */
void
databases_announced(const Oid *oids, int count)
{
	HASH_SEQ_STATUS scan;
	Database   *database;

	if (count > MAX_ANNOUNCED)
	{
		hash_seq_init(&scan, databases);
		while ((database = hash_seq_search(&scan)) != NULL)
			database->announced = true;
		return;
	}
	for (int i = 0; i < count; i++)
	{
		database = hash_search(databases, &oids[i], HASH_FIND, NULL);
		if (database != NULL)
			database->announced = true;
	}
}

/* The steps that rest because they have failed, a bit each. */
uint32
database_resting_steps(const Database *database, int64 now)
{
	uint32		resting = 0;

	for (int i = 0; i < upkeep_step_count; i++)
	{
		if (database->steps[i].until > now)
			resting |= (uint32) 1 << i;
	}
	return resting;
}

/* When the first of the steps has rested. */
static int64
first_step_awake(const Database *database)
{
	int64		first = NEVER;

	for (int i = 0; i < upkeep_step_count; i++)
		first = Min(first, database->steps[i].until);
	return first;
}

/* When a database is due for a worker, or for a look at its counters. */
static int64
due(const Database *database)
{
	int64		earliest = database->ended + WORKER_GAP;

	if (database->running || !database->listed)
		return NEVER;
	if (database->announced && database->knowledge != DATABASE_HAS)
		return earliest;
	if (database->whole.failures > 0)
		return Max(earliest, database->whole.until);

	switch (database->knowledge)
	{
		case DATABASE_UNKNOWN:
			return earliest;
		case DATABASE_LACKS:
			return Max(earliest, database->looked + long_naptime());
		case DATABASE_HAS:
			if (!database->has_more)
				earliest = Max(earliest, database->looked + naptime());
			return Max(earliest, first_step_awake(database));
	}
	return NEVER;
}

/*
 * The database that has been due for longest; NULL: none is, and *due_at says
 * when the next one will be.
 */
Database *
databases_next(int64 now, int64 *due_at)
{
	HASH_SEQ_STATUS scan;
	Database   *database;
	Database   *next = NULL;

	*due_at = NEVER;
	hash_seq_init(&scan, databases);
	while ((database = hash_seq_search(&scan)) != NULL)
	{
		int64		moment = due(database);

		if (moment < *due_at)
		{
			*due_at = moment;
			next = database;
		}
	}
	return *due_at <= now ? next : NULL;
}

/* What PostgreSQL counts of a database, as far as sessions have reported. */
RowCounts
database_count_rows(const Database *database)
{
	PgStat_StatDBEntry *counters;
	RowCounts	rows = {0};

	pgstat_clear_snapshot();
	counters = pgstat_fetch_stat_dbentry(database->oid);
	if (counters != NULL)
	{
		rows.inserted = compat_rows_inserted(counters);
		rows.changed = compat_rows_changed(counters);
	}
	return rows;
}

/* Has nothing happened in a database that could make work for a worker? */
static bool
is_quiet(const Database *database, int64 now)
{
	RowCounts	rows;

	if (database->announced || !pgstat_track_counts || !database->counted)
		return false;
	if (database->knowledge == DATABASE_HAS &&
		(!database->at_rest ||
		 now >= database->started + long_naptime()))
		return false;

	rows = database_count_rows(database);
	switch (database->knowledge)
	{
		case DATABASE_UNKNOWN:
			return false;
		case DATABASE_LACKS:
			return rows.inserted == database->rows.inserted;
		case DATABASE_HAS:
			return rows.changed == database->rows.changed;
	}
	return false;
}

/*
 * Is a worker worth while in a database that is due?  If not, it will be due
 * again later.
 */
bool
database_is_worth_a_visit(Database *database, int64 now)
{
	bool		worth = !is_quiet(database, now);

	database->looked = now;
	return worth;
}

/* A database is due, and nobody can be sent there at the moment. */
void
database_put_off(Database *database, int64 now)
{
	database->ended = now;
	database->looked = database->started;
}

/*
 * A database has got a worker.  "rows" was counted before, lest what comes
 * after the worker has looked be in it.
 */
void
database_started(Database *database, RowCounts rows, int64 now)
{
	database->running = true;
	database->announced = false;
	database->started = now;
	database->rows = rows;
}

/* The worker of a database has ended. */
void
database_ended(Oid oid, const WorkerReport *report, int64 now)
{
	Database   *database = hash_search(databases, &oid, HASH_FIND, NULL);
	bool		lacks;

	Assert(database != NULL && database->running);
	database->running = false;
	database->ended = now;
	database->has_more = report->outcome == WORKER_HAS_MORE;
	database->at_rest = report->at_rest;
	database->counted = report->counted;
	if (report->outcome == WORKER_VANISHED)
	{
		give_rest(&database->whole, now);
		return;
	}

	memset(&database->whole, 0, sizeof(Rest));
	database->misfit_told = report->outcome == WORKER_FOUND_MISFIT;
	lacks = report->outcome == WORKER_FOUND_NONE || database->misfit_told;
	database->knowledge = lacks ? DATABASE_LACKS : DATABASE_HAS;
	for (int i = 0; i < upkeep_step_count; i++)
	{
		uint32		bit = (uint32) 1 << i;

		/* the next batch is smaller, and there is no need to wait for that */
		if (report->too_slow & bit && database->batch > SMALLEST_BATCH)
			database->steps[i].failures = 0;
		if (report->failed & bit)
			give_rest(&database->steps[i], now);
		else if (lacks || report->succeeded & bit)
			memset(&database->steps[i], 0, sizeof(Rest));
	}
	if (report->too_slow != 0)
		database->batch = Max(database->batch / 2, SMALLEST_BATCH);
	else if (report->succeeded != 0)
		database->batch = Min(database->batch * 2, LARGEST_BATCH);
}
