/*
 * ledger.h
 *		The ledger: every change of stock, append-only.
 */
#ifndef INVENTORY_LEDGER_H
#define INVENTORY_LEDGER_H

#include "postgres.h"

#include "utils/uuid.h"

#include "table/call.h"

/* Why stock changes; what goes into the ledger beside the numbers. */
typedef struct Posting
{
	const char *operation;		/* "reserve", "confirm" and so on */
	const pg_uuid_t *reservation_id;	/* NULL: none */
	const pg_uuid_t *order_id;	/* NULL: none */
	const char *reason;			/* NULL: none */
} Posting;

/*
 * A place in the ledger, in its order: that of an entry, or one between two.
 * ledger_place.c
 */
typedef struct LedgerPlace
{
	int32		epoch;
	uint64		xid;
	int64		entry_id;
} LedgerPlace;

/*
 * Work that walks over the ledger, each by one transaction at a time: whoever
 * deletes entries or adds them up, whoever tells edges, whoever notes hours.
 */
typedef enum LedgerTask
{
	LEDGER_BALANCES,
	LEDGER_EDGES,
	LEDGER_HOURS
} LedgerTask;

/* Before all entries. */
extern const LedgerPlace ledger_beginning;

extern void ledger_append(Call *call, const Posting *posting,
						  int64 item_id, int32 location_id, int32 stripe,
						  int64 delta_on_hand, int64 delta_reserved,
						  int64 on_hand_after, int64 reserved_after);

/* ledger_epoch.c */
extern int32 ledger_epoch(Call *call);
extern void ledger_own_epochs(Call *call, int32 *first, int32 *last);
extern void ledger_end(Call *call, LedgerPlace *end);

/* ledger_place.c */
extern bool ledger_try_task(Call *call, LedgerTask task);
extern void ledger_wait_for_task(Call *call, LedgerTask task);
extern int	ledger_place_compare(const LedgerPlace *left,
								 const LedgerPlace *right);
extern bool ledger_place_parse(const char *text, LedgerPlace *place);
extern char *ledger_place_text(const LedgerPlace *place);
extern bool ledger_progress(Call *call, const char *task, LedgerPlace *place,
							Datum *detail);
extern void ledger_set_progress(Call *call, const char *task,
								const LedgerPlace *place, Datum detail);

#endif							/* INVENTORY_LEDGER_H */
