/*
 * schedule_functions.c
 *		The pg_cron job that sweeps dead holds every minute.
 *
 * pg_cron keeps its jobs in the table cron.job of one database of the server;
 * a job belongs to the role that made it, runs as that role, and other roles
 * do not see it.  So what is done here is done as the caller.
 *
 * The hard part is what comes later.  The job's command must find inv_expire()
 * after ALTER SCHEMA ... RENAME (with its argument's type, lest a function that
 * somebody put beside it make the call ambiguous), and must take the job away when the extension
 * is gone: cron.job is not ours to be told of DROP EXTENSION.  The command is
 * therefore a block that looks both up when it runs.
 *
 * Nothing depends on the job.  A hold past its time is dead, swept or not, so
 * a database without pg_cron gets a notice, not an error.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "functions/arguments.h"
#include "settings.h"
#include "table/sql.h"

PG_FUNCTION_INFO_V1(inv_schedule);
PG_FUNCTION_INFO_V1(inv_unschedule);

#define JOB_NAME "inventory_reservation expire"
#define EVERY_MINUTE "* * * * *"

/*
 * The job's command.  A copy of it may run in a database without pg_cron (see
 * cron.schedule_in_database()), where nobody can take the job away.
 */
static const char job_command[] =
"DO $job$\n"
"DECLARE\n"
"	home pg_catalog.name;\n"
"BEGIN\n"
"	SELECT namespace.nspname INTO home\n"
"	  FROM pg_catalog.pg_extension AS extension\n"
"	  JOIN pg_catalog.pg_namespace AS namespace\n"
"	    ON namespace.oid OPERATOR(pg_catalog.=) extension.extnamespace\n"
"	 WHERE extension.extname OPERATOR(pg_catalog.=) '" EXTENSION_NAME "';\n"
"	IF FOUND THEN\n"
"		EXECUTE pg_catalog.format('SELECT %I.inv_expire(NULL::bigint)', home);\n"
"	ELSIF pg_catalog.to_regclass('cron.job') IS NOT NULL THEN\n"
"		PERFORM cron.unschedule('" JOB_NAME "'::pg_catalog.name);\n"
"	END IF;\n"
"END\n"
"$job$";

/*
 * Jobs of that name that concern us: those for this database, and the caller's
 * own wherever they run, because (name, role) is unique.  The caller's own job
 * for this database comes first.
 */
static SqlStatement find_jobs = {
	.text = "SELECT jobid, username, database,"
	" username = current_user, database = current_database()"
	" FROM cron.job"
	" WHERE jobname = '" JOB_NAME "'"
	" AND (username = current_user OR database = current_database())"
	" ORDER BY database = current_database() DESC,"
	" username = current_user DESC, jobid",
	.expected = SPI_OK_SELECT
};

/* Makes a job, or gives the caller's job of that name this command. */
static SqlStatement make_job = {
	.text = "SELECT cron.schedule('" JOB_NAME "', '" EVERY_MINUTE "', $1)",
	.expected = SPI_OK_SELECT,
	.nargs = 1,
	.argument_types = {TEXTOID}
};

static SqlStatement remove_jobs = {
	.text = "SELECT cron.unschedule(jobid) FROM cron.job"
	" WHERE jobname = '" JOB_NAME "' AND database = current_database()",
	.expected = SPI_OK_SELECT
};

/*
 * CREATE EXTENSION raises client_min_messages to warning while the install
 * script runs, to spare the user the script's own noise, and with it he would
 * miss our notice, which is for him.  Until notices_end(), go back to what the
 * session began with; what it has itself set since cannot be told.
 */
static int
notices_begin(void)
{
	int			level;

	if (!creating_extension)
		return -1;
	level = NewGUCNestLevel();
	(void) set_config_option("client_min_messages",
							 GetConfigOptionResetString("client_min_messages"),
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	return level;
}

/* Undo what notices_begin() did. */
static void
notices_end(int level)
{
	if (level >= 0)
		AtEOXact_GUC(true, level);
}

/* Is there somebody else who sweeps? */
static bool
worker_sweeps(void)
{
	return library_is_preloaded && setting_worker_enabled;
}

/*
 * Say what a database without pg_cron can do; CREATE EXTENSION says nothing
 * where it is not needed.
 */
static void
notice_no_pg_cron(void)
{
	char	   *database = get_database_name(MyDatabaseId);
	char	   *schema = get_namespace_name(catalog_schema());
	char	   *command = psprintf("SELECT %s.inv_expire(NULL::bigint)",
								   quote_identifier(schema));
	int			level;

	if (creating_extension && worker_sweeps())
		return;
	level = notices_begin();
	ereport(NOTICE,
			(errmsg("pg_cron is not installed in database \"%s\"", database),
			 worker_sweeps()
			 ? errdetail("A background worker sweeps expired holds.")
			 : errdetail("No job sweeps expired holds. They count as free all the same."),
			 errhint("Install pg_cron here and run SELECT %s.inv_schedule(), or in pg_cron's own database run SELECT cron.schedule_in_database(%s, '%s', %s, %s).",
					 quote_identifier(schema),
					 quote_literal_cstr(psprintf("%s in %s", JOB_NAME, database)),
					 EVERY_MINUTE, quote_literal_cstr(command),
					 quote_literal_cstr(database))));
	notices_end(level);
}

/* Is pg_cron in this database?  Its schema is always called cron. */
static bool
have_pg_cron(void)
{
	return OidIsValid(get_extension_oid("pg_cron", true));
}

/*
 * inv_schedule()
 *
 * Returns the job's id, null where there is no pg_cron.  Raises 42501 if the
 * caller may not use pg_cron.
 */
Datum
inv_schedule(PG_FUNCTION_ARGS)
{
	Call	   *call = call_begin("inv_schedule()", CALL_WRITES);
	int64		job = 0;
	bool		made = true;
	bool		isnull;
	int			level;

	if (!have_pg_cron())
	{
		notice_no_pg_cron();
		call_end(call);
		PG_RETURN_NULL();
	}

	sql_begin(call);
	call_as_caller(call);
	if (sql_run(call, &find_jobs, NULL, NULL) > 0)
	{
		bool		own = DatumGetBool(sql_value(0, 4, &isnull));
		bool		here = DatumGetBool(sql_value(0, 5, &isnull));

		if (!here)
		{
			/* scheduling would silently change that job, and make none here */
			level = notices_begin();
			ereport(NOTICE,
					(errmsg("pg_cron job \"%s\" of role \"%s\" belongs to database \"%s\"",
							JOB_NAME,
							TextDatumGetCString(sql_value(0, 2, &isnull)),
							TextDatumGetCString(sql_value(0, 3, &isnull))),
					 errdetail("A role cannot have two jobs of one name, so none was made."),
					 errhint("Make that job anew under another name, then run inv_schedule() again.")));
			notices_end(level);
			sql_end(call);
			call_end(call);
			PG_RETURN_NULL();
		}
		if (!own)
		{
			made = false;
			job = DatumGetInt64(sql_value(0, 1, &isnull));
			level = notices_begin();
			ereport(NOTICE,
					(errmsg("pg_cron job \"%s\" of role \"%s\" is kept",
							JOB_NAME,
							TextDatumGetCString(sql_value(0, 2, &isnull)))));
			notices_end(level);
		}
	}
	if (made)
	{
		Datum		command = CStringGetTextDatum(job_command);

		(void) sql_run(call, &make_job, &command, NULL);
		job = DatumGetInt64(sql_value(0, 1, &isnull));
		level = notices_begin();
		ereport(NOTICE,
				(errmsg("scheduled inv_expire() every minute as pg_cron job \"%s\"",
						JOB_NAME)));
		notices_end(level);
	}
	sql_end(call);
	call_end(call);
	PG_RETURN_INT64(job);
}

/*
 * inv_unschedule()
 *
 * Removes the job, for a superuser whoever made it.  Returns whether there was
 * one.  Raises 42501 if the caller may not use pg_cron.
 */
Datum
inv_unschedule(PG_FUNCTION_ARGS)
{
	Call	   *call = call_begin("inv_unschedule()", CALL_WRITES);
	bool		removed = false;

	if (have_pg_cron())
	{
		sql_begin(call);
		call_as_caller(call);
		removed = sql_run(call, &remove_jobs, NULL, NULL) > 0;
		sql_end(call);
	}
	call_end(call);
	PG_RETURN_BOOL(removed);
}
