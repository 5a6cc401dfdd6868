/*
 * retake.h
 *		Taking the stock of a dead hold again, to sell it.
 */
#ifndef INVENTORY_RETAKE_H
#define INVENTORY_RETAKE_H

#include "postgres.h"

#include "records/reservation.h"

extern void retake_lock_customer(Call *call, const pg_uuid_t *id);
extern void retake_lock(Call *call, const Reservation *reservation,
						StockSet *stock);
extern void retake_units(Call *call, Reservation *reservation,
						 StockSet *stock, TimestampTz now);

#endif							/* INVENTORY_RETAKE_H */
