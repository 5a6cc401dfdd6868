/*
 * hold.h
 *		What can be done with a hold: confirm, cancel, release, extend.
 */
#ifndef INVENTORY_HOLD_H
#define INVENTORY_HOLD_H

#include "postgres.h"

#include "records/idempotency.h"
#include "records/order.h"
#include "records/reservation.h"

typedef struct HoldChange
{
	ReservationStatus status;	/* after it */
	bool		replayed;		/* nothing was left to do */
} HoldChange;

extern bool confirm_hold(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
						 const char *customer, PaymentStatus payment_status,
						 bool retake, Order *order);
extern void cancel_hold(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
						const char *customer, HoldChange *change);
extern void release_units(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
						  const char *sku, int64 quantity, HoldChange *change);
extern bool extend_hold(Call *call, KeyedCall *keyed, const pg_uuid_t *id,
						int64 ttl, TimestampTz *expires_at);

#endif							/* INVENTORY_HOLD_H */
