/*
 * sql.c
 *		The door to SPI, for whatever is not on the hot path.
 *
 * One place that checks what SPI returns, and that makes sure of the three
 * things which a statement of ours relies on: the current user is the owner
 * of the tables (call.c), search_path is pinned, so that a name without a
 * schema can only be ours or PostgreSQL's, and no text comes from a caller.
 *
 * Plans are kept for the session.  PostgreSQL analyzes a kept plan again when
 * its tables are dropped or search_path has changed, so DROP EXTENSION,
 * CREATE EXTENSION and ALTER SCHEMA ... RENAME need nothing from us.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "table/row.h"
#include "table/sql.h"

/* Connect to SPI.  Memory allocated from here on goes with sql_end(). */
void
sql_begin(Call *call)
{
	call_pin_search_path(call);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/*
 * Run a statement and return the number of rows; for results see sql_value().
 * "nulls" has a character an argument, 'n' for null; NULL: none is null.
 * A call that writes sees what the call has written before.  Raises 27000 if a
 * rule of the shop's makes something else of the statement.
 */
uint64
sql_run(Call *call, SqlStatement *statement, Datum *values, const char *nulls)
{
	int			result;

	row_flush_appends(call);
	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->text, statement->nargs,
									   statement->argument_types);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		statement->plan = plan;
	}

	result = SPI_execute_plan(statement->plan, values, nulls,
							  call->kind == CALL_READS, 0);
	if (result != statement->expected)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("a rule has replaced a statement of %s", call->name),
				 errdetail("Expected %s, found %s.",
						   SPI_result_code_string(statement->expected),
						   SPI_result_code_string(result)),
				 errhint("Drop the rules on the tables of extension \"%s\".",
						 EXTENSION_NAME)));
	return SPI_processed;
}

/*
 * For the rest of the call, have statements planned for the values at hand and
 * by index, in the order of the index: the planner knows neither how small a
 * batch is, when it plans for any, nor how far the tables have grown since they
 * were analyzed.  Taking few rows to be due where there are a million, it would
 * read and sort that million for each batch.  Plans that do need a sort look
 * forbiddingly dear this way, and are not worth compiling.  The caller has
 * called sql_begin(); call_end() puts the settings back.
 */
void
sql_plan_by_index(Call *call)
{
	static const char *const settings[][2] = {
		{"plan_cache_mode", "force_custom_plan"},
		{"enable_seqscan", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_sort", "off"},
		{"jit", "off"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1],
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

/* A value of the last result; rows and columns count from 0 and 1. */
Datum
sql_value(int row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

/* Disconnect from SPI, which fails only if we are not connected. */
static void
disconnect(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/* Disconnect from SPI. */
void
sql_end(Call *call)
{
	disconnect();
}

/*
 * For a procedure, around its calls: it may commit between them.  What is
 * allocated outside a call lives until sql_end_procedure().  The caller has
 * made sure that it does not run inside a transaction block.
 */
void
sql_begin_procedure(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
}

/* Commit and go on in a new transaction.  No call may be open. */
void
sql_commit(void)
{
	SPI_commit();
	CHECK_FOR_INTERRUPTS();
}

void
sql_end_procedure(void)
{
	disconnect();
}
