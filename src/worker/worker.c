/*
 * worker.c
 *		The short-lived process that does a database's upkeep.
 *
 * What must never happen:
 *
 * - That it keeps DROP DATABASE or DROP EXTENSION waiting.  It begins no batch
 *   after two of the three seconds that it may be attached, waits for no lock
 *   longer than one, and a timer cancels whatever is at work when the time is
 *   over: a batch, a trigger in it, a commit that waits for a standby.  What
 *   was cancelled is undone, and the next worker takes smaller batches.  What
 *   will not be cancelled is terminated by a second timer, for the launcher
 *   may be another one by then, and not know of this worker.
 *
 * - That somebody's code runs as a superuser.  The worker connects as one, and
 *   sweeping runs what the owner of the tables has put on them: triggers,
 *   checks, index functions.  So all of a transaction, from just after its
 *   begin to its very end, is done as that owner, security-restricted, with
 *   nothing in search_path but PostgreSQL's schema and ours.  Only the
 *   catalogs are read before.  A session setting that such code leaves behind
 *   lasts no longer than its batch where it matters to us: see set_defaults().
 *
 * - That one failing step keeps the others from their work.  Each batch is a
 *   transaction; when it fails that is logged, the launcher gives the step a
 *   rest, and the others go on.
 *
 * - That it does the work of one version to the tables of another.  Where they
 *   do not fit (catalog/extension.c) it does nothing; the launcher takes the
 *   database for one without the extension, and has it said in the log only
 *   once.
 *
 * An extension that is dropped while a worker is at it is no error: the worker
 * leaves.  Since the error that it runs into then can be any, it looks whether
 * the extension is still there before it says a word.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

#include "catalog/compat.h"
#include "catalog/extension.h"
#include "rules/upkeep.h"
#include "settings.h"
#include "statistics/statistics.h"
#include "worker/databases.h"
#include "worker/shared.h"
#include "worker/worker.h"

/* No batch is begun later than so long after attaching. */
#define LAST_BATCH_AFTER 2000	/* milliseconds */

#define LOCK_WAIT "1s"

/*
 * Who takes our tables in another order, as DROP EXTENSION does, may come to
 * wait for the worker while it waits for him.  PostgreSQL ends the one of them
 * who looks for a deadlock first, so the worker looks early.
 */
#define DEADLOCK_WAIT "200ms"

typedef enum BatchResult
{
	BATCH_LAST,
	BATCH_HAS_MORE,
	BATCH_FAILED,
	BATCH_TOO_SLOW,
	BATCH_EXTENSION_GONE
} BatchResult;

/* What a worker is about, and has done so far. */
typedef struct Work
{
	WorkerOrder order;
	WorkerReport report;
	int64		attached;		/* by clock_now() */
	TimestampTz began;
	int64		rows;
	char	   *error;			/* the last one; NULL: none */
	bool		reported;
	MemoryContext context;		/* outlives transactions */
} Work;

static volatile sig_atomic_t told_to_go = false;

/*
 * Before each transaction: what a database's defaults, or code of the owner's
 * in an earlier batch, must not change.  Not to be repeatable or serializable,
 * because upkeep wants to see what was committed while it waited; not to be
 * read-only; not to wait; not to compile what is run once and is done sooner
 * than compiled.
 */
static void
set_defaults(void)
{
	static const char *const defaults[][2] = {
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"lock_timeout", LOCK_WAIT},
		{"deadlock_timeout", DEADLOCK_WAIT},
		{"jit", "off"},
		{COMPAT_TRANSACTION_TIMEOUT, "0"},
	};

	for (int i = 0; i < lengthof(defaults); i++)
	{
		if (defaults[i][0] != NULL)
			SetConfigOption(defaults[i][0], defaults[i][1], PGC_SUSET,
							PGC_S_SESSION);
	}
}

/*
 * Until the end of the transaction, let only PostgreSQL's schema and ours be in
 * search_path.
 */
static void
pin_search_path(const char *schema)
{
	(void) set_config_option("search_path", call_search_path(schema),
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
}

/*
 * Begin a transaction and become the owner of the tables in it.  False if
 * there are none, because the extension is not in the database (any more).
 */
static bool
begin_as_owner(void)
{
	Oid			owner;
	Oid			schema;
	char	   *schema_name;

	set_defaults();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!extension_find_owner(&owner, &schema))
		return false;
	schema_name = get_namespace_name(schema);
	if (schema_name == NULL)
		return false;
	SetUserIdAndSecContext(owner, SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	pin_search_path(schema_name);
	return true;
}

/* Is the extension in the database? */
static bool
extension_is_there(void)
{
	Oid			user;
	int			security;
	bool		there;

	GetUserIdAndSecContext(&user, &security);
	there = begin_as_owner();
	CommitTransactionCommand();
	SetUserIdAndSecContext(user, security);
	return there;
}

/* Have what is done next cancelled when the worker's time is over. */
static void
start_timer(Work *work)
{
	int64		left = work->attached + WORKER_ATTACHED - clock_now();

	enable_timeout_after(STATEMENT_TIMEOUT, (int) Max(left, 1));
}

/* No cancelling any more, not even if it is on its way. */
static void
stop_timer(void)
{
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
}

/*
 * Log why a batch failed.  Busy rows and tables are told in the tone of a
 * remark, because the next worker will find them free.
 */
static void
log_failure(ErrorData *error, bool busy)
{
	if (busy)
	{
		error->elevel = LOG;
		ThrowErrorData(error);
		return;
	}
	PG_TRY();
	{
		ReThrowError(error);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		FlushErrorState();
	}
	PG_END_TRY();
}

/* After an error in a batch: undo it, and log it unless it means nothing. */
static BatchResult
recover(Work *work, const UpkeepStep *step)
{
	ErrorData  *error;
	bool		cancelled;
	bool		busy;

	HOLD_INTERRUPTS();
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(work->context);
	error = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(work->context);
	RESUME_INTERRUPTS();

	if (!extension_is_there())
		return BATCH_EXTENSION_GONE;
	MemoryContextSwitchTo(work->context);

	cancelled = error->sqlerrcode == ERRCODE_QUERY_CANCELED;
	busy = cancelled || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
	log_failure(error, busy);
	work->error = psprintf("%s: %s", step->activity, error->message);
	return cancelled ? BATCH_TOO_SLOW : BATCH_FAILED;
}

/* For the context of messages: what the worker is doing. */
static void
describe_step(void *step)
{
	errcontext("%s, step \"%s\"", MyBgworkerEntry->bgw_name,
			   ((const UpkeepStep *) step)->activity);
}

/* Do one batch of a step, or what else has its form, in a transaction of its own. */
static BatchResult
run_batch(Work *work, const UpkeepStep *step)
{
	volatile BatchResult result = BATCH_EXTENSION_GONE;
	ErrorContextCallback callback = {error_context_stack, describe_step,
	unconstify(UpkeepStep *, step)};
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	setting_expire_batch_size = Min(setting_expire_batch_size,
									work->order.batch);
	PG_TRY();
	{
		int64		rows = 0;

		error_context_stack = &callback;
		start_timer(work);
		if (begin_as_owner())
		{
			Call	   *call = call_begin(WORKER_TYPE, CALL_WRITES);

			result = step->run(call, &rows) ? BATCH_HAS_MORE : BATCH_LAST;
			call_end(call);
		}
		/* still as the owner: what a commit runs is his as well */
		CommitTransactionCommand();
		stop_timer();
		SetUserIdAndSecContext(user, security);
		work->rows += rows;
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		error_context_stack = callback.previous;
		result = recover(work, step);
	}
	PG_END_TRY();

	pgstat_report_stat(true);
	return result;
}

/* Take new settings; false if there is to be no worker any more. */
static bool
still_wanted(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	return setting_worker_enabled;
}

/*
 * Do batches of a step until it has no more to do, or its share of the time is
 * used up; at least one.  Returns the result of the last one.
 */
static BatchResult
run_step(Work *work, const UpkeepStep *step, int64 share_ends)
{
	BatchResult result;
	char		activity[NAMEDATALEN + 64];

	snprintf(activity, sizeof(activity), "%s: %s", EXTENSION_NAME,
			 step->activity);
	pgstat_report_activity(STATE_RUNNING, activity);
	do
		result = run_batch(work, step);
	while (result == BATCH_HAS_MORE && still_wanted() &&
		   clock_now() < share_ends);
	return result;
}

/* In the form of a step: is there anything to keep up? */
static bool
look_for_entries(Call *call, int64 *rows)
{
	return upkeep_has_begun(call);
}

static const UpkeepStep first_look = {"look for entries", true, look_for_entries};

/*
 * Go through the steps, again and again while some of them have more to do and
 * there is time.  What time is left is shared evenly by those to come, so a
 * long sweep does not keep keys from being purged.
 */
static WorkerOutcome
run_steps(Work *work)
{
	int64		time_ends = work->attached + LAST_BATCH_AFTER;
	uint32		all = ((uint64) 1 << upkeep_step_count) - 1;
	uint32		to_do = all & ~work->order.skip;

	if (run_batch(work, &first_look) == BATCH_LAST)
		return WORKER_DONE;
	while (to_do != 0)
	{
		for (int i = 0; i < upkeep_step_count; i++)
		{
			uint32		bit = (uint32) 1 << i;
			int64		now = clock_now();

			if ((to_do & bit) == 0)
				continue;
			if (now >= time_ends || !still_wanted())
				return WORKER_HAS_MORE;
			switch (run_step(work, &upkeep_steps[i],
							 now + (time_ends - now) / pg_popcount32(to_do >> i)))
			{
				case BATCH_EXTENSION_GONE:
					return WORKER_FOUND_NONE;
				case BATCH_TOO_SLOW:
					work->report.too_slow |= bit;
					/* FALLTHROUGH */
				case BATCH_FAILED:
					work->report.failed |= bit;
					to_do &= ~bit;
					break;
				case BATCH_LAST:
					to_do &= ~bit;
					/* FALLTHROUGH */
				case BATCH_HAS_MORE:
					work->report.succeeded |= bit;
					break;
			}
		}
	}
	return WORKER_DONE;
}

/*
 * Is pg_restore at work?  With several jobs it loads tables and sequences in any
 * order, so it is known by its name alone.  Anybody may take that name, so it
 * counts only with those who could fill the tables.
 */
static bool
is_being_restored(void)
{
	bool		restored;
	Oid			owner;
	Oid			schema;

	StartTransactionCommand();
	restored = extension_find_owner(&owner, &schema) &&
		compat_application_is_connected(MyDatabaseId, "pg_restore", owner);
	CommitTransactionCommand();
	return restored;
}

/* Does this library fit the extension?  If not, say so, the first time. */
static bool
library_fits(Work *work)
{
	Misfit		misfit;
	bool		fits;

	StartTransactionCommand();
	fits = extension_fits(&misfit);
	if (!fits)
		work->error = MemoryContextStrdup(work->context, misfit.message);
	if (!fits && !work->order.misfit_told)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s does nothing: %s", MyBgworkerEntry->bgw_name,
						misfit.message),
				 errhint("%s", misfit.hint)));
	CommitTransactionCommand();
	return fits;
}

/* In the form of a step: is anything held?  If so there is more to do, some day. */
static bool
look_for_holds(Call *call, int64 *rows)
{
	return !upkeep_nothing_is_held(call);
}

static const UpkeepStep last_look = {"look for holds", true, look_for_holds};

/*
 * Is there nothing to do in this database until somebody does something?  With
 * NOTIFY there may be: what is rung for waits for transactions that may be
 * elsewhere.
 */
static bool
is_at_rest(Work *work)
{
	return work->report.outcome == WORKER_DONE && work->rows == 0 &&
		work->report.failed == 0 && work->order.skip == 0 && !setting_notify &&
		run_batch(work, &last_look) == BATCH_LAST;
}

/* Somebody wants this process to end. */
static void
go(SIGNAL_ARGS)
{
	told_to_go = true;
	die(postgres_signal_arg);
}

/* The owner's code does not let itself be cancelled: end this process. */
static void
patience_is_over(void)
{
	kill(MyProcPid, SIGTERM);
}

/*
 * Have inv_stat tell of a worker that does not get as far as to report, unless
 * it was somebody else who ended it.
 */
static void
tell_failure(int code, Datum arg)
{
	Work	   *work = (Work *) DatumGetPointer(arg);
	const char *reason;

	if (work->reported)
		return;
	if (!told_to_go)
		reason = "the worker has failed, the log of the server tells why";
	else if (clock_now() - work->attached >= WORKER_PATIENCE)
		reason = "the worker stayed too long, and was terminated";
	else
		return;
	statistics_worker_ended(work->began, work->rows, reason);
}

/* Say how it went. */
static void
report(Work *work)
{
	work->reported = true;
	shared_report(&work->order, &work->report);
	if (work->report.outcome != WORKER_FOUND_NONE)
		statistics_worker_ended(work->began, work->rows, work->error);
	if (work->report.outcome == WORKER_FOUND_NONE)
		ereport(DEBUG1,
				(errmsg_internal("%s: nothing to do",
								 MyBgworkerEntry->bgw_name)));
	else
		ereport(DEBUG1,
				(errmsg_internal("%s: " INT64_FORMAT " rows in " INT64_FORMAT " ms%s",
								 MyBgworkerEntry->bgw_name, work->rows,
								 clock_now() - work->attached,
								 work->report.outcome == WORKER_HAS_MORE
								 ? ", more to do" : "")));
}

/*
 * Main function of a worker.
 */
void
inventory_worker_main(Datum main_arg)
{
	static Work work;			/* is there when the process ends, too */

	memcpy(&work.order, MyBgworkerEntry->bgw_extra, sizeof(WorkerOrder));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, go);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(work.order.database, InvalidOid, 0);

	work.attached = clock_now();
	work.began = GetCurrentTimestamp();
	work.context = TopMemoryContext;
	/* as the database has it, which ALTER DATABASE may have set */
	work.report.counted = pgstat_track_counts;
	before_shmem_exit(tell_failure, PointerGetDatum(&work));
	enable_timeout_after(RegisterTimeout(USER_TIMEOUT, patience_is_over),
						 WORKER_PATIENCE);
	SetConfigOption("application_name", MyBgworkerEntry->bgw_type, PGC_USERSET,
					PGC_S_SESSION);

	/* look quietly: most databases of a server may be without the extension */
	if (!extension_is_there())
		work.report.outcome = WORKER_FOUND_NONE;
	else if (!library_fits(&work))
		work.report.outcome = WORKER_FOUND_MISFIT;
	else if (is_being_restored())
		work.report.outcome = WORKER_DONE;
	else
	{
		work.report.outcome = run_steps(&work);
		work.report.at_rest = is_at_rest(&work);
	}
	report(&work);
	proc_exit(0);
}
