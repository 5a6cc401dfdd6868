/*
 * waitlist.h
 *		The waitlist: who waits for a SKU, and what he was offered.
 */
#ifndef INVENTORY_WAITLIST_H
#define INVENTORY_WAITLIST_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "table/call.h"

/* The line for a SKU at a location. */
typedef struct WaitingLine
{
	int64		item_id;
	int32		location_id;
} WaitingLine;

typedef struct WaitlistEntry
{
	int64		entry_id;		/* the order of arrival */
	int64		quantity;		/* units */
	char	   *customer;
	TimestampTz joined_at;
	bool		offered;		/* else he waits */
	pg_uuid_t	reservation_id; /* the hold he was offered */
} WaitlistEntry;

extern void waitlist_require(Call *call);
extern int64 waitlist_add(Call *call, const WaitingLine *line,
						  int64 quantity, const char *customer,
						  TimestampTz now);
extern void waitlist_remove(Call *call, int64 entry_id);
extern void waitlist_set_offered(Call *call, int64 entry_id,
								 const pg_uuid_t *reservation_id);
extern bool waitlist_find(Call *call, const WaitingLine *line,
						  const char *customer, WaitlistEntry *entry);
extern int64 waitlist_position(Call *call, const WaitingLine *line,
							   int64 entry_id);
extern int	waitlist_page(Call *call, const WaitingLine *line, int64 after,
						  WaitlistEntry *entries, int size);
extern int	waitlist_find_due(Call *call, TimestampTz now, int64 budget,
							  WaitingLine **lines);

#endif							/* INVENTORY_WAITLIST_H */
