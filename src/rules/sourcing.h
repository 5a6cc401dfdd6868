/*
 * sourcing.h
 *		From which locations a line is filled.
 */
#ifndef INVENTORY_SOURCING_H
#define INVENTORY_SOURCING_H

#include "postgres.h"

#include "records/stock.h"
#include "rules/reclaim.h"

/* Where the lines of a request may be filled from. */
typedef struct Sources
{
	int			count;			/* at least 1 */
	int32	   *locations;		/* those to be filled from first in front */
	bool		split;			/* a line may be filled from several */
} Sources;

/* Units that one location gives. */
typedef struct SourcedPart
{
	int32		location_id;
	int64		units;
	int64		left;			/* there afterwards */
} SourcedPart;

/* Where a line is filled from. */
typedef struct Sourcing
{
	int32		location_id;	/* the first that has it all, or has most */
	int64		available;		/* units: there or, split, at all of them */
	bool		of_several;		/* split: none need have so many */
	int64		in_all;			/* at all that were looked at */
	bool		all_locked;		/* the rows at all locations, or those there */
	int			part_count;		/* after sourcing_decide() */
	SourcedPart *parts;			/* by priority */
	SourcedPart whole;			/* where one part is all there is */
} Sourcing;

extern void sources_of(Call *call, const char *location, bool split,
					   Sources *sources);
extern bool sourcing_look(Call *call, const Sources *sources, int64 item_id,
						  int64 units, Sourcing *sourcing);
extern void sourcing_lock(Call *call, StockSet *stock, const Sources *sources,
						  int64 item_id, int64 units, const StockRow *near,
						  Sourcing *sourcing);
extern void sourcing_lock_first(Call *call, StockSet *stock,
								const Sources *sources, int64 item_id,
								int64 units);
extern void sourcing_decide(Call *call, StockSet *stock,
							const Sources *sources, int64 item_id,
							int64 units, TimestampTz now, LineList *dead,
							Sourcing *sourcing);
extern int64 sourcing_available(Call *call, const Sources *sources,
								int64 item_id);

#endif							/* INVENTORY_SOURCING_H */
