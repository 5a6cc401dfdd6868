/*
 * reconcile_state.c
 *		What a reconciliation remembers from one transaction to the next.
 *
 * It is in inv_progress, task "reconcile": the place in the ledger up to which
 * entries have been followed (the purge leaves what is behind it), and the rest
 * in "detail", by name, for people too.  It changes in the transaction that
 * does the work, so a run that was interrupted, by a crash or by the end of a
 * worker's time, goes on where the last commit left it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "records/reservation.h"
#include "rules/reconcile_run.h"
#include "table/sql.h"

static const char *const phase_names[NUM_RECONCILE_PHASES] = {
	[RECONCILE_RESTING] = "resting",
	[RECONCILE_OPENING] = "opening balances",
	[RECONCILE_LEDGER] = "ledger",
	[RECONCILE_CHANGES] = "changes",
	[RECONCILE_NEW_KEYS] = "new keys",
	[RECONCILE_AGAIN] = "earlier findings",
	[RECONCILE_STOCK] = "stock",
	[RECONCILE_RESERVATIONS] = "reservations",
	[RECONCILE_ORDERS] = "orders",
	[RECONCILE_KEYS] = "keys",
	[RECONCILE_TWIN_KEYS] = "twin keys",
	[RECONCILE_DEAD_HOLDS] = "dead holds",
	[RECONCILE_REPAIRING] = "repair",
};

/* Order of columns as in reconcile_load(). */
static SqlStatement load_run = {
	.text = "SELECT epoch, xid, entry_id,"
	" (detail ->> 'run'::text)::bigint,"
	" detail ->> 'phase'::text,"
	" (detail ->> 'repair'::text)::boolean,"
	" (detail ->> 'complete'::text)::boolean,"
	" (detail ->> 'balanced'::text)::boolean,"
	" (detail ->> 'began_at'::text)::timestamptz,"
	" (detail ->> 'ended_at'::text)::timestamptz,"
	" (detail ->> 'checked'::text)::bigint,"
	" (detail ->> 'findings'::text)::bigint,"
	" (detail ->> 'repaired'::text)::bigint,"
	" (detail ->> 'left'::text)::bigint,"
	" (detail ->> 'trying'::text)::bigint,"
	" (detail ->> 'attempts'::text)::bigint,"
	" (detail ->> 'last_ended'::text)::bigint,"
	" (detail ->> 'again_run'::text)::bigint,"
	" (detail ->> 'again_row'::text)::bigint,"
	" (detail ->> 'until_epoch'::text)::integer,"
	" (detail ->> 'until_xid'::text)::xid8,"
	" (detail ->> 'until_entry'::text)::bigint,"
	" (detail ->> 'keys_since'::text)::timestamptz,"
	" (detail ->> 'item_id'::text)::bigint,"
	" (detail ->> 'location_id'::text)::integer,"
	" (detail ->> 'stripe'::text)::integer,"
	" (detail ->> 'reservation_id'::text)::uuid,"
	" (detail ->> 'order_id'::text)::uuid,"
	" detail ->> 'scope'::text,"
	" detail ->> 'key'::text"
	" FROM inv_progress WHERE task = 'reconcile'",
	.expected = SPI_OK_SELECT
};

/* A phase as people may read it. */
const char *
reconcile_phase_name(ReconcilePhase phase)
{
	return phase_names[phase];
}

static ReconcilePhase
phase_of_name(const char *name)
{
	for (int i = 0; i < NUM_RECONCILE_PHASES; i++)
	{
		if (strcmp(name, phase_names[i]) == 0)
			return (ReconcilePhase) i;
	}
	return RECONCILE_RESTING;	/* of another version of the library */
}

/* Before the first run. */
static void
begin_with_nothing(ReconcileRun *run)
{
	memset(run, 0, sizeof(ReconcileRun));
	run->stock = before_all_stock;
	run->scope = "";
	run->key = "";
	run->ended_at = run->keys_since = DT_NOBEGIN;
}

static Datum
column(int number)
{
	bool		isnull;
	Datum		value = sql_value(0, number, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("what reconciliation remembers was changed by hand"),
				 errhint("Delete task \"reconcile\" from inv_progress; the next run will be a complete one.")));
	return value;
}

static char *
text_column(Call *call, int number)
{
	MemoryContext old_context = MemoryContextSwitchTo(call->context);
	char	   *value = TextDatumGetCString(column(number));

	MemoryContextSwitchTo(old_context);
	return value;
}

/* Read what the last transaction has left.  The caller has the walk's lock. */
void
reconcile_load(Call *call, ReconcileRun *run)
{
	int			i = 1;

	begin_with_nothing(run);
	sql_begin(call);
	if (sql_run(call, &load_run, NULL, NULL) > 0)
	{
		run->looked_at.epoch = DatumGetInt32(column(i++));
		run->looked_at.xid = DatumGetUInt64(column(i++));
		run->looked_at.entry_id = DatumGetInt64(column(i++));
		run->number = DatumGetInt64(column(i++));
		run->phase = phase_of_name(text_column(call, i++));
		run->repair = DatumGetBool(column(i++));
		run->complete = DatumGetBool(column(i++));
		run->balanced = DatumGetBool(column(i++));
		run->began_at = DatumGetTimestampTz(column(i++));
		run->ended_at = DatumGetTimestampTz(column(i++));
		run->checked = DatumGetInt64(column(i++));
		run->findings = DatumGetInt64(column(i++));
		run->repaired = DatumGetInt64(column(i++));
		run->left = DatumGetInt64(column(i++));
		run->trying = DatumGetInt64(column(i++));
		run->attempts = DatumGetInt64(column(i++));
		run->last_ended = DatumGetInt64(column(i++));
		run->again_run = DatumGetInt64(column(i++));
		run->again_row = DatumGetInt64(column(i++));
		run->until.epoch = DatumGetInt32(column(i++));
		run->until.xid = DatumGetUInt64(column(i++));
		run->until.entry_id = DatumGetInt64(column(i++));
		run->keys_since = DatumGetTimestampTz(column(i++));
		run->stock.item_id = DatumGetInt64(column(i++));
		run->stock.location_id = DatumGetInt32(column(i++));
		run->stock.stripe = DatumGetInt32(column(i++));
		run->reservation = *DatumGetUUIDP(column(i++));
		run->order = *DatumGetUUIDP(column(i++));
		run->scope = text_column(call, i++);
		run->key = text_column(call, i++);
	}
	sql_end(call);

	ledger_balances_load(call, &run->balances);
	if (run->balances.generation == 0)
		run->balanced = false;
}

static void
put_int64(StringInfo json, const char *name, int64 value)
{
	appendStringInfo(json, ", \"%s\": " INT64_FORMAT, name, value);
}

static void
put_bool(StringInfo json, const char *name, bool value)
{
	appendStringInfo(json, ", \"%s\": %s", name, value ? "true" : "false");
}

static void
put_text(StringInfo json, const char *name, const char *value)
{
	appendStringInfo(json, ", \"%s\": ", name);
	escape_json(json, value);
}

/* In a form that does not depend on the session's DateStyle. */
static void
put_time(StringInfo json, const char *name, TimestampTz value)
{
	char		buffer[MAXDATELEN + 1];

	JsonEncodeDateTime(buffer, TimestampTzGetDatum(value), TIMESTAMPTZOID, NULL);
	put_text(json, name, buffer);
}

/* Leave it to the next transaction. */
void
reconcile_save(Call *call, const ReconcileRun *run)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"run\": " INT64_FORMAT, run->number);
	put_text(&json, "phase", phase_names[run->phase]);
	put_bool(&json, "repair", run->repair);
	put_bool(&json, "complete", run->complete);
	put_bool(&json, "balanced", run->balanced);
	put_time(&json, "began_at", run->began_at);
	put_time(&json, "ended_at", run->ended_at);
	put_int64(&json, "checked", run->checked);
	put_int64(&json, "findings", run->findings);
	put_int64(&json, "repaired", run->repaired);
	put_int64(&json, "left", run->left);
	put_int64(&json, "trying", run->trying);
	put_int64(&json, "attempts", run->attempts);
	put_int64(&json, "last_ended", run->last_ended);
	put_int64(&json, "again_run", run->again_run);
	put_int64(&json, "again_row", run->again_row);
	put_int64(&json, "until_epoch", run->until.epoch);
	appendStringInfo(&json, ", \"until_xid\": \"" UINT64_FORMAT "\"",
					 run->until.xid);
	put_int64(&json, "until_entry", run->until.entry_id);
	put_time(&json, "keys_since", run->keys_since);
	put_int64(&json, "item_id", run->stock.item_id);
	put_int64(&json, "location_id", run->stock.location_id);
	put_int64(&json, "stripe", run->stock.stripe);
	put_text(&json, "reservation_id", uuid_text(&run->reservation));
	put_text(&json, "order_id", uuid_text(&run->order));
	put_text(&json, "scope", run->scope);
	put_text(&json, "key", run->key);
	appendStringInfoChar(&json, '}');

	sql_begin(call);
	ledger_set_progress(call, "reconcile", &run->looked_at,
						DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
	sql_end(call);

	ledger_balances_save(call, &run->balances);
}
