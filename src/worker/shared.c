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
 * After a crash of any process the postmaster makes all of this anew.
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
	WorkerReport report;
} Slot;

typedef struct Shared
{
	slock_t		mutex;
	Latch	   *launcher;		/* NULL: there is none */
	int			announced_count;	/* more than MAX_ANNOUNCED: too many */
	Oid			announced[MAX_ANNOUNCED];
	uint32		last_serial;
	Slot		slots[MAX_WORKERS];
} Shared;

static Shared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(sizeof(Shared));
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
	}
	LWLockRelease(AddinShmemInitLock);
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

/* Open a slot for the report of a worker; returns the number it must bear. */
uint32
shared_open_slot(int slot)
{
	uint32		serial;

	SpinLockAcquire(&shared->mutex);
	serial = ++shared->last_serial;
	shared->slots[slot].serial = serial;
	memset(&shared->slots[slot].report, 0, sizeof(WorkerReport));
	SpinLockRelease(&shared->mutex);
	return serial;
}

/* A worker reports, as the last thing it does. */
void
shared_report(const WorkerOrder *order, const WorkerReport *report)
{
	Slot	   *slot = &shared->slots[order->slot];

	SpinLockAcquire(&shared->mutex);
	if (slot->serial == order->serial)
		slot->report = *report;
	SpinLockRelease(&shared->mutex);
}

/* What a worker that has ended has reported. */
WorkerReport
shared_read_report(int slot, uint32 serial)
{
	WorkerReport report = {WORKER_VANISHED};

	SpinLockAcquire(&shared->mutex);
	if (shared->slots[slot].serial == serial)
		report = shared->slots[slot].report;
	SpinLockRelease(&shared->mutex);
	return report;
}
