/*
 * statistics.h
 *		Counters in shared memory, a set for each database: what the calls of
 *		all sessions have done since the last reset.
 *
 * The bottom room: it knows nothing of tables or calls, and anybody may count.
 * Without shared_preload_libraries there is no shared memory, and everything
 * here does nothing.
 */
#ifndef INVENTORY_STATISTICS_H
#define INVENTORY_STATISTICS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* In the order in which inv_stat shows them. */
typedef enum Counter
{
	COUNT_RESERVES,				/* holds made */
	COUNT_REPLAYS,				/* repeats that got the first result */
	COUNT_CONFIRMS,
	COUNT_CANCELS,
	COUNT_RELEASES,
	COUNT_EXTENSIONS,
	COUNT_REJECTED_INSUFFICIENT_STOCK,	/* IV001 */
	COUNT_REJECTED_EXPIRED,		/* IV002 */
	COUNT_REJECTED_NOT_FOUND,	/* IV003 */
	COUNT_REJECTED_UNKNOWN_SKU, /* IV004 */
	COUNT_REJECTED_KEY_REUSED,	/* IV005 */
	COUNT_REJECTED_LISTING_CLOSED,	/* IV006 */
	COUNT_REJECTED_PURCHASE_LIMIT,	/* IV007 */
	COUNT_REJECTED_NOT_ALLOWED, /* IV008 */
	COUNT_REJECTED_UNKNOWN_LOCATION,	/* IV010 */
	COUNT_REJECTED_ORDER_NOT_FOUND, /* IV011 */
	COUNT_REJECTED_BELOW_HELD,	/* IV012 */
	COUNT_EXPIRED_BY_SWEEP,		/* lines */
	COUNT_EXPIRED_BY_RECLAIM,	/* lines */
	COUNT_LOCK_WAITS,
	COUNT_LOCK_WAIT_TIME,		/* microseconds */
	COUNT_STRIPE_PASSES,
	COUNT_STRIPE_GATHERS,
	COUNT_WORKER_RUNS,
	COUNT_WORKER_FAILURES,
	COUNT_WORKER_ROWS,
	COUNT_RECONCILIATIONS,
	COUNT_DRIFTS_FOUND,
	COUNT_DRIFTS_REPAIRED
} Counter;

#define NUM_COUNTERS (COUNT_DRIFTS_REPAIRED + 1)

/* What is kept of a message and of an activity, in bytes. */
#define STATISTICS_ERROR_SIZE 512
#define STATISTICS_ACTIVITY_SIZE 64

/* What is known of the worker of a database, and of a reconciliation. */
typedef struct UpkeepState
{
	TimestampTz last_run;		/* when it began; 0: never */
	int64		last_duration;	/* microseconds */
	int64		last_rows;
	TimestampTz last_error_at;	/* 0: never */
	int64		activity_done;
	char		last_error[STATISTICS_ERROR_SIZE];
	char		activity[STATISTICS_ACTIVITY_SIZE]; /* empty: none */
} UpkeepState;

/* The statistics of a database, to be looked at. */
typedef struct Statistics
{
	int64		counters[NUM_COUNTERS];
	UpkeepState upkeep;
	TimestampTz reset_at;
} Statistics;

/* From _PG_init(); does nothing unless the server is preloading. */
extern void statistics_init(void);

/* Count for the current database, whatever becomes of the transaction. */
extern void statistics_count(Counter counter, int64 by);
extern void statistics_count_rejection(int sqlstate);

/* A wait for somebody else's lock, around it.  Both, or the first alone. */
extern int64 statistics_wait_begins(void);
extern void statistics_wait_ended(int64 began);

/* A worker of the current database has ended; "error" NULL: with success. */
extern void statistics_worker_ended(TimestampTz began, int64 rows,
									const char *error);

/* What a reconciliation is doing, visible at once; NULL: nothing any more. */
extern void statistics_progress(const char *activity, int64 done);

extern bool statistics_read(Statistics *statistics);
extern void statistics_reset(void);
extern void statistics_forget_missing(const Oid *databases, int count);

#endif							/* INVENTORY_STATISTICS_H */
