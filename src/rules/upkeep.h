/*
 * upkeep.h
 *		What is done regularly so that stock stays right and tables small.
 */
#ifndef INVENTORY_UPKEEP_H
#define INVENTORY_UPKEEP_H

#include "postgres.h"

#include "table/call.h"

/*
 * A task.  run() does one bounded batch within a call that its caller has begun
 * and adds the rows it has dealt with to *rows; it returns true if there is more
 * to do at once.  Each batch is to be a transaction of its own.
 */
typedef struct UpkeepStep
{
	const char *activity;		/* "sweep", for people */
	bool		worker_only;	/* not for inv_maintain() */
	bool		(*run) (Call *call, int64 *rows);
} UpkeepStep;

extern const UpkeepStep upkeep_steps[];
extern const int upkeep_step_count;

extern bool upkeep_has_begun(Call *call);
extern bool upkeep_nothing_is_held(Call *call);

#endif							/* INVENTORY_UPKEEP_H */
