/*
 * ledger_balance.c
 *		What the ledger adds up to, stock row by stock row, up to a place.
 *
 * To compare a stock row with its entries, nobody can add ten million of them
 * up each time.  inv_ledger_balance has their sums up to a place in the ledger
 * (inv_progress, task "ledger balance"), and the place moves on.  At any
 * snapshot
 *
 *		balance + visible entries behind the place = all visible entries
 *
 * What this rests on:
 *
 * - The place never passes an entry that may yet be joined by an earlier one
 *   (ledger_epoch.c says which may), so what is behind it is all that is
 *   missing from the balances.
 * - Balances and place change in one transaction, and only under the lock of
 *   LEDGER_BALANCES.
 * - The purge deletes no entry behind the place, for its sum would be nowhere,
 *   and none at all while opening balances are being copied (purge.c; the same
 *   lock).  If it has waited for too long it takes the place away: then there
 *   are no balances any more.
 *
 * Balances are begun anew without deleting the old ones: each carries the
 * number of its generation, and one of another generation counts as nothing.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/fmgrprotos.h"

#include "records/ledger_balance.h"
#include "table/sql.h"

const StockKey before_all_stock = {PG_INT64_MIN, PG_INT32_MIN, PG_INT32_MIN};

static SqlStatement load_balances = {
	.text = "SELECT (detail ->> 'generation'::text)::bigint, epoch, xid, entry_id"
	" FROM inv_progress WHERE task = 'ledger balance'",
	.expected = SPI_OK_SELECT
};

/* $1 to $3 the last that was copied, $4 how many, $5 the generation */
static SqlStatement copy_opening_balances = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT item_id, location_id, stripe, on_hand, reserved"
	" FROM inv_opening_balance"
	" WHERE ROW(item_id, location_id, stripe) > ROW($1, $2, $3)"
	" ORDER BY item_id, location_id, stripe LIMIT $4"
	"), copied AS ("
	" INSERT INTO inv_ledger_balance AS balance"
	"  (item_id, location_id, stripe, on_hand, reserved, generation)"
	" SELECT item_id, location_id, stripe, on_hand, reserved, $5 FROM part"
	" ON CONFLICT (item_id, location_id, stripe) DO UPDATE"
	" SET on_hand = excluded.on_hand, reserved = excluded.reserved,"
	"  generation = excluded.generation"
	") SELECT item_id, location_id, stripe,"
	"  (SELECT count(*) FROM part)"
	" FROM (SELECT item_id, location_id, stripe FROM part"
	"  ORDER BY item_id DESC, location_id DESC, stripe DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 5,
	.argument_types = {INT8OID, INT4OID, INT4OID, INT8OID, INT8OID}
};

/*
 * $1 to $3 the place, $4 and $5 this server's own epochs: entries behind it that
 * no earlier one can join any more; index inv_ledger_pkey
 */
#define SETTLED \
	" ROW(epoch, xid)" \
	"   < ROW($5, pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))" \
	"  AND (epoch < $4 OR" \
	"   xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))"
#define BEHIND_THE_PLACE " ROW(epoch, xid, entry_id) > ROW($1, $2, $3)"
#define SETTLED_ENTRIES \
	" FROM inv_ledger WHERE" BEHIND_THE_PLACE " AND" SETTLED

#define SUMS_BY_STOCK(from) \
	" SELECT item_id, location_id, stripe, sum(delta_on_hand)::bigint AS on_hand," \
	"  sum(delta_reserved)::bigint AS reserved" from \
	" GROUP BY item_id, location_id, stripe"

/* $6 the generation; what "sums" is was said before */
#define ADD_SUMS(sums) \
	" INSERT INTO inv_ledger_balance AS balance" \
	"  (item_id, location_id, stripe, on_hand, reserved, generation)" \
	" SELECT item_id, location_id, stripe, on_hand, reserved, $6" \
	" FROM (" sums ") AS sums" \
	" ON CONFLICT (item_id, location_id, stripe) DO UPDATE" \
	" SET on_hand = excluded.on_hand" \
	"   + CASE WHEN balance.generation = excluded.generation" \
	"     THEN balance.on_hand ELSE 0::bigint END," \
	"  reserved = excluded.reserved" \
	"   + CASE WHEN balance.generation = excluded.generation" \
	"     THEN balance.reserved ELSE 0::bigint END," \
	"  generation = excluded.generation"

#define ADVANCE_ARGUMENT_TYPES \
	{INT4OID, XID8OID, INT8OID, INT4OID, INT4OID, INT8OID, INT8OID}

/* $7 how many */
static SqlStatement advance_balances = {
	.text = "WITH part AS MATERIALIZED ("
	" SELECT epoch, xid, entry_id, item_id, location_id, stripe,"
	"  delta_on_hand, delta_reserved"
	SETTLED_ENTRIES
	" ORDER BY epoch, xid, entry_id LIMIT $7"
	"), added AS ("
	ADD_SUMS(SUMS_BY_STOCK(" FROM part"))
	") SELECT epoch, xid, entry_id, (SELECT count(*) FROM part)"
	" FROM (SELECT epoch, xid, entry_id FROM part"
	"  ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 1) AS last",
	.expected = SPI_OK_SELECT,
	.nargs = 7,
	.argument_types = ADVANCE_ARGUMENT_TYPES
};

/*
 * All of them: a balance is written once, whatever there is to add to it, and in
 * the order of the index, and entries are kept nowhere.  (OFFSET 0: adding up
 * must not sort the entries for the order's sake.)  The last one is looked for
 * without the place: backward, an index scan does not stop there.
 */
static SqlStatement advance_to_end = {
	.text = "WITH added AS ("
	ADD_SUMS("SELECT * FROM (" SUMS_BY_STOCK(SETTLED_ENTRIES) " OFFSET 0) AS unordered"
			 " ORDER BY item_id, location_id, stripe")
	") SELECT epoch, xid, entry_id FROM ("
	"  SELECT epoch, xid, entry_id FROM inv_ledger WHERE" SETTLED
	"  ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 1) AS last"
	" WHERE" BEHIND_THE_PLACE,
	.expected = SPI_OK_SELECT,
	.nargs = 6,
	.argument_types = ADVANCE_ARGUMENT_TYPES
};

/* The balances that there are; generation 0: none. */
void
ledger_balances_load(Call *call, LedgerBalances *balances)
{
	bool		isnull;

	memset(balances, 0, sizeof(LedgerBalances));
	sql_begin(call);
	if (sql_run(call, &load_balances, NULL, NULL) > 0)
	{
		balances->generation = DatumGetInt64(sql_value(0, 1, &isnull));
		balances->place.epoch = DatumGetInt32(sql_value(0, 2, &isnull));
		balances->place.xid = DatumGetUInt64(sql_value(0, 3, &isnull));
		balances->place.entry_id = DatumGetInt64(sql_value(0, 4, &isnull));
	}
	sql_end(call);
}

/* Note how far the balances have come, in the transaction that took them there. */
void
ledger_balances_save(Call *call, const LedgerBalances *balances)
{
	char	   *detail = psprintf("{\"generation\": " INT64_FORMAT "}",
								  balances->generation);

	sql_begin(call);
	ledger_set_progress(call, "ledger balance", &balances->place,
						DirectFunctionCall1(jsonb_in, CStringGetDatum(detail)));
	sql_end(call);
}

/*
 * Begin balances with what was purged from the ledger: at most "budget" stock
 * rows behind *after, which moves on.  Returns how many.
 */
int64
ledger_balances_open(Call *call, const LedgerBalances *balances,
					 StockKey *after, int64 budget)
{
	Datum		values[] = {
		Int64GetDatum(after->item_id), Int32GetDatum(after->location_id),
		Int32GetDatum(after->stripe), Int64GetDatum(budget),
		Int64GetDatum(balances->generation)
	};
	int64		copied = 0;
	bool		isnull;

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, &copy_opening_balances, values, NULL) > 0)
	{
		after->item_id = DatumGetInt64(sql_value(0, 1, &isnull));
		after->location_id = DatumGetInt32(sql_value(0, 2, &isnull));
		after->stripe = DatumGetInt32(sql_value(0, 3, &isnull));
		copied = DatumGetInt64(sql_value(0, 4, &isnull));
	}
	sql_end(call);
	return copied;
}

/*
 * Take the balances on by at most "budget" entries, ALL_ENTRIES by all that
 * there are.  Returns whether there may be more.
 */
bool
ledger_balances_advance(Call *call, LedgerBalances *balances, int64 budget)
{
	bool		to_end = budget == ALL_ENTRIES;
	Datum		values[7];
	int32		first_epoch;
	int32		last_epoch;
	bool		more = false;
	bool		isnull;

	ledger_own_epochs(call, &first_epoch, &last_epoch);
	values[0] = Int32GetDatum(balances->place.epoch);
	values[1] = UInt64GetDatum(balances->place.xid);
	values[2] = Int64GetDatum(balances->place.entry_id);
	values[3] = Int32GetDatum(first_epoch);
	values[4] = Int32GetDatum(last_epoch);
	values[5] = Int64GetDatum(balances->generation);
	values[6] = Int64GetDatum(budget);

	sql_begin(call);
	sql_plan_by_index(call);
	if (sql_run(call, to_end ? &advance_to_end : &advance_balances, values,
				NULL) > 0)
	{
		balances->place.epoch = DatumGetInt32(sql_value(0, 1, &isnull));
		balances->place.xid = DatumGetUInt64(sql_value(0, 2, &isnull));
		balances->place.entry_id = DatumGetInt64(sql_value(0, 3, &isnull));
		more = !to_end && DatumGetInt64(sql_value(0, 4, &isnull)) >= budget;
	}
	sql_end(call);
	return more;
}
