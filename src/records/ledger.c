/*
 * ledger.c
 *		The ledger: every change of stock, append-only.
 *
 * An entry is written in the transaction that changes the stock row, while
 * that row is locked, so that for each stock row the "after" columns follow
 * from entry to entry in the order of entry_id.  The order of the ledger as a
 * whole is that of its key: see ledger_epoch.c.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "utils/timestamp.h"

#include "records/ledger.h"
#include "table/row.h"

enum ColumnOfLedger
{
	LEDGER_ENTRY_ID = 1,
	LEDGER_AT,
	LEDGER_XID,
	LEDGER_OPERATION,
	LEDGER_ITEM_ID,
	LEDGER_LOCATION_ID,
	LEDGER_STRIPE,
	LEDGER_DELTA_ON_HAND,
	LEDGER_DELTA_RESERVED,
	LEDGER_ON_HAND_AFTER,
	LEDGER_RESERVED_AFTER,
	LEDGER_RESERVATION_ID,
	LEDGER_ORDER_ID,
	LEDGER_LOGIN_ROLE,
	LEDGER_CALLER_ROLE,
	LEDGER_REASON,
	LEDGER_EPOCH
};

/* Append an entry.  The caller has the stock row locked.  Units of stock. */
void
ledger_append(Call *call, const Posting *posting,
			  int64 item_id, int32 location_id, int32 stripe,
			  int64 delta_on_hand, int64 delta_reserved,
			  int64 on_hand_after, int64 reserved_after)
{
	OpenTable  *table = call_open(call, TABLE_LEDGER);
	int32		epoch = ledger_epoch(call);

	row_begin_insert(call, table);
	row_set(table, LEDGER_ENTRY_ID,
			Int64GetDatum(nextval_internal(catalog_ledger_sequence(), false)));
	row_set(table, LEDGER_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	row_set(table, LEDGER_XID,
			UInt64GetDatum(U64FromFullTransactionId(GetTopFullTransactionId())));
	row_set_text(table, LEDGER_OPERATION, posting->operation);
	row_set(table, LEDGER_ITEM_ID, Int64GetDatum(item_id));
	row_set(table, LEDGER_LOCATION_ID, Int32GetDatum(location_id));
	row_set(table, LEDGER_STRIPE, Int32GetDatum(stripe));
	row_set(table, LEDGER_DELTA_ON_HAND, Int64GetDatum(delta_on_hand));
	row_set(table, LEDGER_DELTA_RESERVED, Int64GetDatum(delta_reserved));
	row_set(table, LEDGER_ON_HAND_AFTER, Int64GetDatum(on_hand_after));
	row_set(table, LEDGER_RESERVED_AFTER, Int64GetDatum(reserved_after));
	if (posting->reservation_id != NULL)
		row_set(table, LEDGER_RESERVATION_ID,
				UUIDPGetDatum(posting->reservation_id));
	if (posting->order_id != NULL)
		row_set(table, LEDGER_ORDER_ID, UUIDPGetDatum(posting->order_id));
	row_set(table, LEDGER_LOGIN_ROLE, call_login_role(call));
	row_set(table, LEDGER_CALLER_ROLE, call_caller_role(call));
	row_set_text(table, LEDGER_REASON, posting->reason);
	row_set(table, LEDGER_EPOCH, Int32GetDatum(epoch));
	row_append(call, table);
}
