/*
 * customer_holds.h
 *		What a customer holds and has bought of an item.
 */
#ifndef INVENTORY_CUSTOMER_HOLDS_H
#define INVENTORY_CUSTOMER_HOLDS_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "records/reservation.h"

/* A customer of an item. */
typedef struct ItemCustomer
{
	int64		item_id;
	const char *customer;
} ItemCustomer;

/* What a customer has of an item. */
typedef struct CustomerHolds
{
	int64		held;			/* units under live holds */
	int64		bought;			/* units bought and kept */
	bool		has_hold;		/* if a live one has units of the item: */
	pg_uuid_t	hold;			/* the first of them */
} CustomerHolds;

extern void customers_lock(Call *call, const ItemCustomer *customers,
						   int count);
extern void customer_count_holds(Call *call, const ItemCustomer *customer,
								 TimestampTz bought_after, TimestampTz now,
								 bool tidy, CustomerHolds *holds);
extern void customer_remember_line(Call *call, const ReservationLine *line);
extern void customer_remember_again(Call *call, const ReservationLine *line);

#endif							/* INVENTORY_CUSTOMER_HOLDS_H */
