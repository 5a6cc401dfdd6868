/*
 * waitlist.h
 *		The rule of the waitlist: first come, first served.
 */
#ifndef INVENTORY_RULES_WAITLIST_H
#define INVENTORY_RULES_WAITLIST_H

#include "postgres.h"

#include "records/idempotency.h"
#include "records/item.h"
#include "records/reservation.h"
#include "records/waitlist.h"

/* What a customer wants to wait for, or no longer. */
typedef struct WaitRequest
{
	char	   *sku;
	int64		quantity;		/* units */
	char	   *customer;
	KeyedCall	keyed;
} WaitRequest;

typedef enum WaitState
{
	WAIT_NONE,					/* he is not on the list, or not any more */
	WAIT_WAITING,
	WAIT_OFFERED,				/* he has a live hold */
	WAIT_TAKEN,					/* which he has confirmed */
	WAIT_LAPSED					/* which is cancelled or expired */
} WaitState;

/* How a customer stands. */
typedef struct WaitStatus
{
	WaitState	state;
	WaitlistEntry entry;		/* unless WAIT_NONE */
	int64		position;		/* in the line, from 1; WAIT_WAITING only */
	TimestampTz expires_at;		/* of the hold; WAIT_OFFERED only */
} WaitStatus;

extern bool waitlist_join(Call *call, WaitRequest *request,
						  WaitStatus *status);
extern bool waitlist_leave(Call *call, WaitRequest *request,
						   WaitStatus *status);
extern void waitlist_status(Call *call, const CatalogueItem *item,
							const char *customer, WaitStatus *status);
extern void waitlist_serve(Call *call, const StockSet *stock);
extern int64 waitlist_serve_due(Call *call, int64 budget, int64 *lines);

#endif							/* INVENTORY_RULES_WAITLIST_H */
