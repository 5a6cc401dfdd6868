/*
 * shared.c
 *		What backends, the launcher and its workers tell each other, in shared
 *		memory.  There is none without shared_preload_libraries: then nobody
 *		listens, and an announcement is lost on purpose.
 *
 * - Backends announce databases in which an extension was made.  They do so
 *   when their transaction has been committed, so nothing here may fail: the
 *   list is of fixed length, and when it is full the launcher looks at all
 *   databases.
 * - A worker reports in one of a few slots.  A launcher that was restarted uses
 *   them anew, while a worker of the one before may still be at work, so a
 *   report counts only if it bears the number for which the slot is open.
 *
 * One spinlock guards everything; what is done under it is a few assignments.
 *
 * After a crash of any process the postmaster makes all of this anew, but for
 * one thing that it remembers itself: in which databases workers were at work
 * at that moment, time and again.  One of them may have been the reason, and
 * if each server that comes up again got such a worker at once, nobody would
 * ever get in to put that right.  A worker that ends well clears its database.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "catalog/catalog.h"
#include "worker/shared.h"
#include "worker/worker.h"

typedef struct Slot
{
	uint32		serial;			/* whose report is awaited */
	Oid			database;		/* where it is at work; InvalidOid: nowhere */
	WorkerReport report;
} Slot;

/* A database in which a worker was at work in the last crashes. */
typedef struct Suspect
{
	Oid			database;		/* InvalidOid: none */
	int			crashes;		/* one after another */
} Suspect;

/* More suspects than this are let go. */
#define MAX_SUSPECTS 16

typedef struct Shared
{
	slock_t		mutex;
	Latch	   *launcher;		/* NULL: there is none */
	int			announced_count;	/* more than MAX_ANNOUNCED: too many */
	Oid			announced[MAX_ANNOUNCED];
	uint32		last_serial;
	Slot		slots[MAX_WORKERS];
	Suspect		suspects[MAX_SUSPECTS];
} Shared;

static Shared *shared = NULL;

/* What the postmaster remembers from one shared memory to the next. */
static Suspect remembered[MAX_SUSPECTS];

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(sizeof(Shared));
}

/* The suspect that a database is, or an empty place; NULL: neither. */
static Suspect *
find_suspect(Suspect *suspects, Oid database)
{
	Suspect    *empty = NULL;

	for (int i = 0; i < MAX_SUSPECTS; i++)
	{
		if (suspects[i].database == database)
			return &suspects[i];
		if (empty == NULL && !OidIsValid(suspects[i].database))
			empty = &suspects[i];
	}
	return empty;
}

/*
 * The postmaster is about to give up shared memory, after a crash if "code" is
 * not 0.  It takes no lock then: whoever had it may have been killed.
 */
static void
remember_suspects(int code, Datum arg)
{
	if (code == 0)
		return;
	memcpy(remembered, shared->suspects, sizeof(remembered));
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		Oid			database = shared->slots[i].database;
		Suspect    *suspect = find_suspect(remembered, database);

		if (!OidIsValid(database) || suspect == NULL)
			continue;
		if (suspect->database != database)
			suspect->crashes = 0;
		suspect->database = database;
		suspect->crashes++;
	}
}

static void
start_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(WORKER_TYPE, sizeof(Shared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(Shared));
		SpinLockInit(&shared->mutex);
		memcpy(shared->suspects, remembered, sizeof(remembered));
	}
	LWLockRelease(AddinShmemInitLock);
	if (!IsUnderPostmaster)
		on_shmem_exit(remember_suspects, (Datum) 0);
}

/* Ask for shared memory.  Called once, from _PG_init, while preloading. */
void
shared_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_memory;
}

/*
 * Wake the launcher, and have it look at a database soon; InvalidOid: at
 * whichever is new.  Does nothing without shared memory, and never fails.
 */
void
shared_announce(Oid database)
{
	Latch	   *launcher;

	if (shared == NULL)
		return;

	SpinLockAcquire(&shared->mutex);
	launcher = shared->launcher;
	if (OidIsValid(database))
	{
		int			count = Min(shared->announced_count, MAX_ANNOUNCED);
		int			i = 0;

		while (i < count && shared->announced[i] != database)
			i++;
		if (i == count)
		{
			if (count < MAX_ANNOUNCED)
				shared->announced[count] = database;
			shared->announced_count = count + 1;
		}
	}
	SpinLockRelease(&shared->mutex);

	/* that of a process that has ended wakes somebody for nothing, at worst */
	if (launcher != NULL)
		SetLatch(launcher);
}

/*
 * Take the databases that were announced; returns how many.  More than
 * MAX_ANNOUNCED: there were too many, look at all.
 */
int
shared_take_announced(Oid *databases)
{
	int			count;

	SpinLockAcquire(&shared->mutex);
	count = shared->announced_count;
	memcpy(databases, shared->announced,
		   Min(count, MAX_ANNOUNCED) * sizeof(Oid));
	shared->announced_count = 0;
	SpinLockRelease(&shared->mutex);
	return count;
}

static void
launcher_ends(int code, Datum arg)
{
	SpinLockAcquire(&shared->mutex);
	if (shared->launcher == MyLatch)
		shared->launcher = NULL;
	SpinLockRelease(&shared->mutex);
}

/* From here on this process is the launcher. */
void
shared_launcher_begins(void)
{
	before_shmem_exit(launcher_ends, (Datum) 0);
	SpinLockAcquire(&shared->mutex);
	shared->launcher = MyLatch;
	SpinLockRelease(&shared->mutex);
}

/*
 * Open a slot for the report of a worker in a database; returns the number it
 * must bear.
 */
uint32
shared_open_slot(int slot, Oid database)
{
	uint32		serial;

	SpinLockAcquire(&shared->mutex);
	serial = ++shared->last_serial;
	shared->slots[slot].serial = serial;
	shared->slots[slot].database = database;
	memset(&shared->slots[slot].report, 0, sizeof(WorkerReport));
	SpinLockRelease(&shared->mutex);
	return serial;
}

/* A worker reports, as the last thing it does. */
void
shared_report(const WorkerOrder *order, const WorkerReport *report)
{
	Slot	   *slot = &shared->slots[order->slot];
	Suspect    *suspect;

	SpinLockAcquire(&shared->mutex);
	if (slot->serial == order->serial)
	{
		slot->report = *report;
		slot->database = InvalidOid;
	}
	suspect = find_suspect(shared->suspects, order->database);
	if (suspect != NULL && suspect->database == order->database)
		memset(suspect, 0, sizeof(Suspect));
	SpinLockRelease(&shared->mutex);
}

/* What a worker that has ended has reported. */
WorkerReport
shared_read_report(int slot, uint32 serial)
{
	WorkerReport report = {WORKER_VANISHED};

	SpinLockAcquire(&shared->mutex);
	if (shared->slots[slot].serial == serial)
	{
		report = shared->slots[slot].report;
		shared->slots[slot].database = InvalidOid;
	}
	SpinLockRelease(&shared->mutex);
	return report;
}

/*
 * In how many crashes of the server, one after another, was a worker at work in
 * a database?
 */
int
shared_crashes(Oid database)
{
	Suspect    *suspect;
	int			crashes = 0;

	SpinLockAcquire(&shared->mutex);
	suspect = find_suspect(shared->suspects, database);
	if (suspect != NULL && suspect->database == database)
		crashes = suspect->crashes;
	SpinLockRelease(&shared->mutex);
	return crashes;
}
