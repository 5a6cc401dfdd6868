/*
 * launcher.c
 *		The process that sends a worker to each database when it is due.
 *
 * It is in no database itself, so that it stands in nobody's way, and does
 * nothing but read pg_database, start workers and sleep.  What must never
 * happen:
 *
 * - That it waits for anything but its latch.  DROP DATABASE of any database
 *   has all processes close their files, and waits for each of them to come by
 *   CHECK_FOR_INTERRUPTS().  So locks are taken only when they are free.
 * - That a worker stays.  One that has not gone long after its time, because
 *   it could not even begin, is terminated.
 * - That a database is never free: see databases.c, WORKER_GAP.
 *
 * An error ends the process.  The postmaster starts it again five seconds
 * later, which is more than a worker of the old one has left.  All it knew was
 * in its own memory; it then looks at all databases once more.  After a crash
 * of the server that is at once, but for databases where a worker was at work
 * at the time: they rest first, and longer each time (shared.c).
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/sinval.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "catalog/catalog.h"
#include "settings.h"
#include "worker/announce.h"
#include "worker/databases.h"
#include "worker/shared.h"
#include "worker/worker.h"

#define RESTART_AFTER 5			/* seconds */

/* A worker that was started; the index is that of its slot. */
typedef struct Running
{
	BackgroundWorkerHandle *handle; /* NULL: none */
	Oid			database;
	uint32		serial;
	int64		terminate_at;
} Running;

static Running running[MAX_WORKERS];
static bool exhausted = false;	/* no slots of PostgreSQL's were left */
static int64 try_again_at = 0;	/* when they were not */

/*
 * Ask for the launcher; called once, from _PG_init.  Does nothing unless the
 * server is preloading, and leaves one alone that is being upgraded.
 */
void
worker_init(void)
{
	BackgroundWorker worker = {0};

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	shared_init();
	announce_init();

	strlcpy(worker.bgw_name, LAUNCHER_TYPE, BGW_MAXLEN);
	strlcpy(worker.bgw_type, LAUNCHER_TYPE, BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_AFTER;
	strlcpy(worker.bgw_library_name, EXTENSION_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "inventory_launcher_main", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* Hear what workers that have ended report, and terminate those that do not. */
static void
collect_workers(int64 now)
{
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		Running    *worker = &running[i];
		WorkerReport report;
		pid_t		pid;

		if (worker->handle == NULL)
			continue;
		if (GetBackgroundWorkerPid(worker->handle, &pid) != BGWH_STOPPED)
		{
			if (now >= worker->terminate_at)
			{
				TerminateBackgroundWorker(worker->handle);
				worker->terminate_at = now + WORKER_PATIENCE;
			}
			continue;
		}
		report = shared_read_report(i, worker->serial);
		database_ended(worker->database, &report, now);
		pfree(worker->handle);
		worker->handle = NULL;
	}
}

static int
free_slot(void)
{
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (running[i].handle == NULL)
			return i;
	}
	return -1;
}

/*
 * There are no slots for background workers: told once, and again only when
 * there have been some meanwhile.
 */
static void
slots_are_exhausted(int64 now)
{
	try_again_at = now + setting_naptime * 1000L;
	if (exhausted)
		return;
	exhausted = true;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("%s: out of background worker slots", LAUNCHER_TYPE),
			 errhint("You might need to increase max_worker_processes.")));
}

/* Start a worker; false if PostgreSQL has no slot for it. */
static bool
start_worker(Database *database, int slot, int64 now)
{
	BackgroundWorker worker = {0};
	WorkerOrder order = {0};
	RowCounts	rows = database_count_rows(database);
	MemoryContext old_context;
	bool		started;

	StaticAssertStmt(sizeof(WorkerOrder) <= BGW_EXTRALEN,
					 "an order has to fit into bgw_extra");
	order.database = database->oid;
	order.slot = slot;
	order.serial = shared_open_slot(slot, database->oid);
	order.skip = database_resting_steps(database, now);
	order.batch = database->batch;
	order.misfit_told = database->misfit_told;

	snprintf(worker.bgw_name, BGW_MAXLEN, "%s for database %s", WORKER_TYPE,
			 NameStr(database->name));
	strlcpy(worker.bgw_type, WORKER_TYPE, BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, EXTENSION_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "inventory_worker_main", BGW_MAXLEN);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &order, sizeof(WorkerOrder));

	/* the handle must outlive the transaction */
	old_context = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &running[slot].handle);
	MemoryContextSwitchTo(old_context);
	if (!started)
	{
		running[slot].handle = NULL;
		return false;
	}
	running[slot].database = database->oid;
	running[slot].serial = order.serial;
	running[slot].terminate_at = now + WORKER_PATIENCE;
	database_started(database, rows, now);
	return true;
}

/*
 * Read which databases there are and hear in which an extension was made.
 * What was announced before reading is committed, so its database is there.
 */
static void
look_around(void)
{
	Oid			announced[MAX_ANNOUNCED];
	int			count = shared_take_announced(announced);

	databases_read();
	databases_announced(announced, count);
}

/*
 * Start workers where they are due.  Returns when to come again, unless
 * something happens before.
 */
static int64
start_workers(int64 now)
{
	Database   *database;
	int64		due;
	int			slot;

	if (now < try_again_at)
		return try_again_at;
	while ((slot = free_slot()) >= 0 &&
		   (database = databases_next(now, &due)) != NULL)
	{
		if (!database_is_worth_a_visit(database, now))
			continue;
		if (!database_takes_workers(database->oid))
			database_put_off(database, now);
		else if (start_worker(database, slot, now))
			exhausted = false;
		else
		{
			slots_are_exhausted(now);
			return try_again_at;
		}
	}
	return slot < 0 ? NEVER : due;
}

/* One round, in a transaction of its own.  Returns when the next is due. */
static int64
make_round(void)
{
	int64		now = clock_now();
	int64		next;

	collect_workers(now);
	if (!setting_worker_enabled)
		return NEVER;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	look_around();
	next = start_workers(now);
	CommitTransactionCommand();
	return Min(next, now + setting_naptime * 1000L);
}

/* When the workers that are running have to be looked after. */
static int64
patience_ends(void)
{
	int64		first = NEVER;

	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (running[i].handle != NULL)
			first = Min(first, running[i].terminate_at);
	}
	return first;
}

static void
sleep_until(int64 moment)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int64		length = moment - clock_now();

	/* a day, the longest naptime, fits */
	if (moment != NEVER)
		events |= WL_TIMEOUT;
	(void) WaitLatch(MyLatch, events, Max(length, 0), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/*
 * Main function of the launcher.
 */
void
inventory_launcher_main(Datum main_arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	/* whatever is the default here, a serializable transaction might wait */
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_SUSET, PGC_S_OVERRIDE);
	databases_init();
	shared_launcher_begins();
	ereport(LOG, (errmsg("%s started", LAUNCHER_TYPE)));

	for (;;)
	{
		int64		next;

		CHECK_FOR_INTERRUPTS();
		/* a status other than 0 has the postmaster start it again */
		if (ShutdownRequestPending)
			proc_exit(1);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			/* naptime may have been long */
			try_again_at = 0;
		}
		/* even while there is nothing to do, others wait for their turn */
		ProcessCatchupInterrupt();
		next = make_round();
		sleep_until(Min(next, patience_ends()));
	}
}
