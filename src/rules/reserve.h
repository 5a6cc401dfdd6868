/*
 * reserve.h
 *		The rule of reserving.
 */
#ifndef INVENTORY_RESERVE_H
#define INVENTORY_RESERVE_H

#include "postgres.h"

#include "catalog/compat.h"
#include "records/idempotency.h"
#include "records/item.h"
#include "records/reservation.h"

/* What a caller asks for. */
typedef struct ReserveRequest
{
	int			count;
	char	  **skus;
	int64	   *quantities;		/* units, each in range */
	char	   *customer;
	char	   *location;		/* NULL: whichever has it all, by priority */
	bool		split;			/* a line may come from several locations */
	char	   *reference;
	int64		ttl;			/* microseconds; 0: the items' or the default */
	Datum		metadata;		/* jsonb, 0 for null */
	KeyedCall	keyed;
} ReserveRequest;

/* A line that could not be had. */
typedef struct Shortage
{
	char	   *sku;
	int32		location_id;	/* the one that has most */
	bool		of_several;		/* "available" is at several locations */
	int64		requested;		/* units */
	int64		available;		/* units */
	int64		in_all;			/* units, where locations were to choose from */
} Shortage;

typedef struct ReserveResult
{
	bool		held;			/* else there are shortages */
	bool		replayed;
	pg_uuid_t	reservation_id;
	ReservationStatus status;
	TimestampTz expires_at;
	int64		available;		/* units left, of the line with least */
	int			lines;			/* lines asked for, a SKU counted once */
	int			shortage_count;
	Shortage   *shortages;
} ReserveResult;

extern void reserve(Call *call, ReserveRequest *request,
					ReserveResult *result);
pg_noreturn extern void reserve_report_shortage(const ReserveResult *result);

#endif							/* INVENTORY_RESERVE_H */
