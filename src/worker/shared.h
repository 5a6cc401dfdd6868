/*
 * shared.h
 *		What backends, the launcher and its workers tell each other.
 */
#ifndef INVENTORY_SHARED_H
#define INVENTORY_SHARED_H

#include "postgres.h"

/* How many databases can be announced before the launcher has read them. */
#define MAX_ANNOUNCED 64

/* What the launcher wants of a worker; it travels in bgw_extra. */
typedef struct WorkerOrder
{
	Oid			database;
	int			slot;			/* where to report, */
	uint32		serial;			/* and as what */
	uint32		skip;			/* steps to leave out, a bit each */
	int			batch;			/* rows that a batch may have */
	bool		misfit_told;	/* the log has it already */
} WorkerOrder;

typedef enum WorkerOutcome
{
	WORKER_VANISHED,			/* nothing was reported */
	WORKER_FOUND_NONE,			/* the extension is not in the database, */
	WORKER_FOUND_MISFIT,		/* or not of a version for this library */
	WORKER_DONE,
	WORKER_HAS_MORE				/* its time was over */
} WorkerOutcome;

typedef struct WorkerReport
{
	WorkerOutcome outcome;
	uint32		succeeded;		/* steps without an error, a bit each */
	uint32		failed;			/* steps with one */
	uint32		too_slow;		/* of those, where a batch took too long */
	bool		counted;		/* sessions there count the rows they change */
	bool		at_rest;		/* there was nothing to do, and nothing is
								 * held */
} WorkerReport;

extern void shared_init(void);

extern void shared_announce(Oid database);
extern int	shared_take_announced(Oid *databases);

extern void shared_launcher_begins(void);
extern uint32 shared_open_slot(int slot, Oid database);
extern void shared_report(const WorkerOrder *order, const WorkerReport *report);
extern WorkerReport shared_read_report(int slot, uint32 serial);
extern int	shared_crashes(Oid database);

#endif							/* INVENTORY_SHARED_H */
