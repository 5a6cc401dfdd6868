/*
 * statistics.c
 *		The counters: where they are kept, who may touch them, and how they
 *		survive a restart.
 *
 * One array in shared memory, an entry for each database that has counted
 * anything.  Counting is an atomic addition and takes no lock; a session looks
 * its entry up once and keeps the pointer.  That is safe because an entry is
 * given to another database only when its own has been dropped, which it
 * cannot be while a session is connected.  The lock guards which entry is
 * whose, and what is told of the worker.
 *
 * A list of databases is out of date when it has been read: one that was made
 * meanwhile, and has counted, is not in it.  So an entry is given up only when
 * two lists in a row lack its database (statistics_forget_missing()).
 *
 * Counters are in no transaction.  They are kept over a clean restart in a
 * file (statistics_file.c) that is there only while the server is down: written
 * when the server has shut down, which the control file tells (after an
 * immediate stop it says otherwise), and read and removed at the start.  A crash
 * thus begins at zero, and never at what an earlier stop had left.
 */
#include "postgres.h"

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "statistics/statistics.h"
#include "statistics/statistics_file.h"

#define TRANCHE_NAME "inventory_reservation"

typedef struct DatabaseEntry
{
	Oid			database;		/* InvalidOid: nobody's */
	bool		missed;			/* the last list did not have it */
	TimestampTz reset_at;
	UpkeepState upkeep;
	pg_atomic_uint64 counters[NUM_COUNTERS];
} DatabaseEntry;

typedef struct SharedStatistics
{
	LWLock	   *lock;
	bool		told_full;		/* the log says that there is no room */
	pg_atomic_uint32 entries_freed; /* counts them */
	DatabaseEntry entries[MAX_DATABASES];
} SharedStatistics;

static SharedStatistics *shared = NULL; /* NULL: not preloaded */
static DatabaseEntry *own_entry = NULL;

/* There was no room for this session's database when so many had been freed. */
static bool no_room = false;
static uint32 no_room_since;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

/*
 * What is kept over a restart
 */

static void
copy_entry(Statistics *to, DatabaseEntry *from)
{
	for (int i = 0; i < NUM_COUNTERS; i++)
		to->counters[i] = (int64) pg_atomic_read_u64(&from->counters[i]);
	to->upkeep = from->upkeep;
	to->reset_at = from->reset_at;
}

/* Has the server been shut down in good order? */
static bool
is_shut_down(void)
{
	bool		crc_is_right;
	ControlFileData *control = get_controlfile(DataDir, &crc_is_right);
	bool		result = crc_is_right &&
		(control->state == DB_SHUTDOWNED ||
		 control->state == DB_SHUTDOWNED_IN_RECOVERY);

	pfree(control);
	return result;
}

/*
 * Write everything to the file.  The last thing that the postmaster does, also
 * when it has failed to start, over a line of pg_hba.conf, say: then the server
 * is as it was shut down, and what had been restored is kept.
 */
static void
save(int code, Datum argument)
{
	SavedStatistics *saved;
	int			count = 0;

	if (code != 0 && !proc_exit_inprogress)
		return;					/* the server restarts itself after a crash */
	if (shared == NULL || !is_shut_down())
		return;
	saved = palloc_extended(MAX_DATABASES * sizeof(SavedStatistics),
							MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	if (saved == NULL)
		return;

	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseEntry *entry = &shared->entries[i];

		if (!OidIsValid(entry->database))
			continue;
		saved[count].database = entry->database;
		copy_entry(&saved[count].statistics, entry);
		count++;
	}
	statistics_file_write(saved, count);
	pfree(saved);
}

/* Take over what the file has, which is then no more. */
static void
restore(void)
{
	SavedStatistics *saved;
	int			count = statistics_file_take(&saved);

	for (int i = 0; i < count; i++)
	{
		const Statistics *statistics = &saved[i].statistics;
		DatabaseEntry *entry = &shared->entries[i];

		entry->database = saved[i].database;
		entry->reset_at = statistics->reset_at;
		entry->upkeep = statistics->upkeep;
		/* whatever it was doing, it does no more */
		entry->upkeep.activity[0] = '\0';
		entry->upkeep.activity_done = 0;
		for (int j = 0; j < NUM_COUNTERS; j++)
			pg_atomic_write_u64(&entry->counters[j],
								(uint64) statistics->counters[j]);
	}
	if (count > 0)
		pfree(saved);
}

/*
 * Shared memory
 */

static void
request_memory(void)
{
	if (previous_request_hook != NULL)
		previous_request_hook();
	RequestAddinShmemSpace(sizeof(SharedStatistics));
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

/* Also after a crash: then the memory is new, and there is no file. */
static void
make_memory(void)
{
	bool		found;

	if (previous_startup_hook != NULL)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("inventory_reservation statistics",
							 sizeof(SharedStatistics), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(SharedStatistics));
		shared->lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
		pg_atomic_init_u32(&shared->entries_freed, 0);
		for (int i = 0; i < MAX_DATABASES; i++)
		{
			for (int j = 0; j < NUM_COUNTERS; j++)
				pg_atomic_init_u64(&shared->entries[i].counters[j], 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);

	if (!IsUnderPostmaster)
	{
		on_shmem_exit(save, (Datum) 0);
		if (!found)
			restore();
	}
}

/* pg_upgrade moves the tables; what was counted stays behind. */
void
statistics_init(void)
{
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = make_memory;
}

/*
 * Counting
 */

static DatabaseEntry *
find_entry(Oid database)
{
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		if (shared->entries[i].database == database)
			return &shared->entries[i];
	}
	return NULL;
}

/* Set an entry to zero; the caller has the lock. */
static void
clear_entry(DatabaseEntry *entry)
{
	for (int i = 0; i < NUM_COUNTERS; i++)
		pg_atomic_write_u64(&entry->counters[i], 0);
	entry->reset_at = GetCurrentTimestamp();
}

/* Find or make the entry of the current database; NULL if there is no room. */
static DatabaseEntry *
make_own_entry(void)
{
	uint32		freed = pg_atomic_read_u32(&shared->entries_freed);
	bool		tell;

	if (no_room && no_room_since == freed)
		return NULL;

	LWLockAcquire(shared->lock, LW_SHARED);
	own_entry = find_entry(MyDatabaseId);
	LWLockRelease(shared->lock);
	if (own_entry != NULL)
		return own_entry;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	own_entry = find_entry(MyDatabaseId);
	if (own_entry == NULL)
	{
		own_entry = find_entry(InvalidOid);
		if (own_entry != NULL)
		{
			memset(&own_entry->upkeep, 0, sizeof(UpkeepState));
			clear_entry(own_entry);
			own_entry->missed = false;
			own_entry->database = MyDatabaseId;
		}
	}
	no_room = own_entry == NULL;
	no_room_since = freed;
	tell = no_room && !shared->told_full;
	if (tell)
		shared->told_full = true;
	LWLockRelease(shared->lock);

	if (tell)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("inv_stat has no room for another database"),
				 errdetail("It counts for %d databases.", MAX_DATABASES),
				 errhint("Room that a dropped database had is found again by the background worker.")));
	return own_entry;
}

/* The entry of the current database; NULL: nothing is counted. */
static inline DatabaseEntry *
get_own_entry(void)
{
	if (own_entry != NULL)
		return own_entry;
	if (shared == NULL || !OidIsValid(MyDatabaseId))
		return NULL;
	return make_own_entry();
}

void
statistics_count(Counter counter, int64 by)
{
	DatabaseEntry *entry = get_own_entry();

	Assert(counter >= 0 && counter < NUM_COUNTERS && by >= 0);
	if (entry != NULL && by != 0)
		pg_atomic_fetch_add_u64(&entry->counters[counter], by);
}

/* Count a rejection, by its SQLSTATE; one that is not of class IV is none. */
void
statistics_count_rejection(int sqlstate)
{
	static const struct
	{
		int			sqlstate;
		Counter		counter;
	}			reasons[] = {
		{ERRCODE_INV_INSUFFICIENT_STOCK, COUNT_REJECTED_INSUFFICIENT_STOCK},
		{ERRCODE_INV_RESERVATION_EXPIRED, COUNT_REJECTED_EXPIRED},
		{ERRCODE_INV_RESERVATION_UNKNOWN, COUNT_REJECTED_NOT_FOUND},
		{ERRCODE_INV_SKU_UNKNOWN, COUNT_REJECTED_UNKNOWN_SKU},
		{ERRCODE_INV_KEY_REUSED, COUNT_REJECTED_KEY_REUSED},
		{ERRCODE_INV_LISTING_CLOSED, COUNT_REJECTED_LISTING_CLOSED},
		{ERRCODE_INV_PURCHASE_LIMIT, COUNT_REJECTED_PURCHASE_LIMIT},
		{ERRCODE_INV_NOT_ALLOWED, COUNT_REJECTED_NOT_ALLOWED},
		{ERRCODE_INV_LOCATION_UNKNOWN, COUNT_REJECTED_UNKNOWN_LOCATION},
		{ERRCODE_INV_ORDER_UNKNOWN, COUNT_REJECTED_ORDER_NOT_FOUND},
		{ERRCODE_INV_BELOW_HELD, COUNT_REJECTED_BELOW_HELD},
	};

	for (int i = 0; i < lengthof(reasons); i++)
	{
		if (reasons[i].sqlstate == sqlstate)
		{
			statistics_count(reasons[i].counter, 1);
			return;
		}
	}
}

static int64
microseconds(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/*
 * A wait is counted when it begins, so that those who wait now can be seen,
 * and its time when it ends.  The clock is that of intervals.
 */
int64
statistics_wait_begins(void)
{
	if (get_own_entry() == NULL)
		return 0;
	statistics_count(COUNT_LOCK_WAITS, 1);
	return microseconds();
}

void
statistics_wait_ended(int64 began)
{
	if (began != 0)
		statistics_count(COUNT_LOCK_WAIT_TIME, microseconds() - began);
}

/* Copy a text as far as there is room for whole characters. */
static void
copy_text(char *to, const char *from, int size)
{
	int			length = pg_mbcliplen(from, (int) strlen(from), size - 1);

	memcpy(to, from, length);
	to[length] = '\0';
}

void
statistics_worker_ended(TimestampTz began, int64 rows, const char *error)
{
	DatabaseEntry *entry = get_own_entry();
	TimestampTz now = GetCurrentTimestamp();

	if (entry == NULL)
		return;
	statistics_count(COUNT_WORKER_RUNS, 1);
	statistics_count(COUNT_WORKER_ROWS, rows);
	if (error != NULL)
		statistics_count(COUNT_WORKER_FAILURES, 1);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry->upkeep.last_run = began;
	entry->upkeep.last_duration = Max(now - began, 0);
	entry->upkeep.last_rows = rows;
	if (error != NULL)
	{
		entry->upkeep.last_error_at = now;
		copy_text(entry->upkeep.last_error, error, STATISTICS_ERROR_SIZE);
	}
	LWLockRelease(shared->lock);
}

void
statistics_progress(const char *activity, int64 done)
{
	DatabaseEntry *entry = get_own_entry();

	if (entry == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	copy_text(entry->upkeep.activity, activity != NULL ? activity : "",
			  STATISTICS_ACTIVITY_SIZE);
	entry->upkeep.activity_done = done;
	LWLockRelease(shared->lock);
}

/*
 * Reading
 */

/* Read those of the current database; false: nothing is counted. */
bool
statistics_read(Statistics *statistics)
{
	DatabaseEntry *entry = get_own_entry();

	if (entry == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	copy_entry(statistics, entry);
	LWLockRelease(shared->lock);
	return true;
}

/* Set those of the current database to zero; what is at work goes on. */
void
statistics_reset(void)
{
	DatabaseEntry *entry = get_own_entry();
	UpkeepState upkeep = {0};

	if (entry == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(upkeep.activity, entry->upkeep.activity,
			STATISTICS_ACTIVITY_SIZE);
	upkeep.activity_done = entry->upkeep.activity_done;
	entry->upkeep = upkeep;
	clear_entry(entry);
	LWLockRelease(shared->lock);
}

/*
 * Give up the entries of databases that are not in this list of all databases
 * of the server, nor were in the one before.
 */
void
statistics_forget_missing(const Oid *databases, int count)
{
	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseEntry *entry = &shared->entries[i];
		bool		listed = false;

		if (!OidIsValid(entry->database))
			continue;
		for (int j = 0; j < count && !listed; j++)
			listed = databases[j] == entry->database;
		if (!listed && entry->missed)
		{
			entry->database = InvalidOid;
			shared->told_full = false;
			pg_atomic_fetch_add_u32(&shared->entries_freed, 1);
		}
		entry->missed = !listed;
	}
	LWLockRelease(shared->lock);
}
