/*
 * reconcile_run.h
 *		What the files about reconciliation share with each other.
 *
 *	reconcile.c			a run: its phases, what it remembers, when it is due
 *	reconcile_state.c	remembering it from one transaction to the next
 *	reconcile_walk.c	which rows to look at next
 *	reconcile_check.c	what is wrong with them
 *	reconcile_repair.c	putting it right
 */
#ifndef INVENTORY_RECONCILE_RUN_H
#define INVENTORY_RECONCILE_RUN_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "records/ledger_balance.h"
#include "records/stock.h"

/* In the order in which a run goes through them. */
typedef enum ReconcilePhase
{
	RECONCILE_RESTING,			/* no run */
	RECONCILE_OPENING,			/* balances begin with opening balances */
	RECONCILE_LEDGER,			/* and take in the ledger */
	RECONCILE_CHANGES,			/* what ledger entries point at */
	RECONCILE_NEW_KEYS,
	RECONCILE_AGAIN,			/* what the runs before have found */
	RECONCILE_STOCK,			/* a slice of each table */
	RECONCILE_RESERVATIONS,
	RECONCILE_ORDERS,
	RECONCILE_KEYS,
	RECONCILE_TWIN_KEYS,
	RECONCILE_DEAD_HOLDS,
	RECONCILE_REPAIRING
} ReconcilePhase;

#define NUM_RECONCILE_PHASES (RECONCILE_REPAIRING + 1)

/* A run and, between runs, what the next one goes on from. */
typedef struct ReconcileRun
{
	int64		number;			/* 0: there was none yet */
	ReconcilePhase phase;
	bool		repair;
	bool		complete;
	bool		at_once;		/* in the transaction of its caller */
	bool		balanced;		/* the balances have once caught up */
	TimestampTz began_at;
	TimestampTz ended_at;
	int64		checked;		/* rows looked at */
	int64		findings;
	int64		repaired;
	int64		left;			/* of the slice of this phase */
	int64		trying;			/* the finding whose repair is next; 0: none */
	int64		attempts;		/* begun on it */
	int64		last_ended;		/* number of the last run that ended */
	int64		again_run;		/* walk over findings of earlier runs */
	int64		again_row;
	LedgerBalances balances;
	LedgerPlace looked_at;		/* entries up to here have been followed */
	LedgerPlace until;			/* and are to be by this run up to there */
	TimestampTz keys_since;		/* keys made before have been checked */
	StockKey	stock;			/* how far the slices have come */
	pg_uuid_t	reservation;
	pg_uuid_t	order;
	char	   *scope;			/* of a key; in the call's memory */
	char	   *key;
} ReconcileRun;

/* reconcile_state.c */
extern void reconcile_load(Call *call, ReconcileRun *run);
extern void reconcile_save(Call *call, const ReconcileRun *run);
extern const char *reconcile_phase_name(ReconcilePhase phase);

/* Arrays of some rows that are to be looked at; null: none. */
typedef struct Wanted
{
	NullableDatum item_ids;		/* three of a length */
	NullableDatum location_ids;
	NullableDatum stripes;
	NullableDatum reservations;
	NullableDatum scopes;		/* two of a length */
	NullableDatum keys;
} Wanted;

/* reconcile_walk.c: each looks at so many rows at most and says at how many */
extern int64 find_in_changes(Call *call, ReconcileRun *run, int64 budget);
extern int64 find_in_new_keys(Call *call, ReconcileRun *run, int64 budget);
extern int64 find_again(Call *call, ReconcileRun *run, int64 budget);
extern int64 find_in_stock(Call *call, ReconcileRun *run, int64 budget);
extern int64 find_in_reservations(Call *call, ReconcileRun *run, int64 budget);
extern int64 find_in_orders(Call *call, ReconcileRun *run, int64 budget);
extern int64 find_in_keys(Call *call, ReconcileRun *run, int64 budget);

/* reconcile_check.c */
extern void check_wanted(Call *call, ReconcileRun *run, const Wanted *wanted);
extern void find_twin_keys(Call *call, ReconcileRun *run);
extern void find_dead_holds(Call *call, ReconcileRun *run);

typedef struct StockFigures
{
	bool		is_there;
	int64		booked_on_hand; /* by the ledger */
	int64		booked_reserved;
	int64		held;			/* by the active lines */
	TimestampTz held_until;		/* the first of them dies; DT_NOEND: none */
	bool		is_sane;		/* the sums are within range */
	bool		holds_are_lost; /* some of the SKU's sit on no row */
	bool		has_first;		/* the SKU's first stripe is there */
} StockFigures;

extern void read_stock_figures(Call *call, const ReconcileRun *run,
							   const StockKey *keys, int count,
							   StockFigures *figures);

/* reconcile_repair.c */
extern bool repair_next(Call *call, ReconcileRun *run);

#endif							/* INVENTORY_RECONCILE_RUN_H */
