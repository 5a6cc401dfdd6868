/*
 * order_rules.h
 *		What can be done with an order.
 */
#ifndef INVENTORY_ORDER_RULES_H
#define INVENTORY_ORDER_RULES_H

#include "postgres.h"

#include "records/idempotency.h"
#include "records/order.h"

extern void cancel_order(Call *call, KeyedCall *keyed,
						 const pg_uuid_t *order_id, const char *reason);
extern void return_units(Call *call, KeyedCall *keyed,
						 const pg_uuid_t *order_id, const char *sku,
						 int64 quantity, const char *reason);
extern void complete_order(Call *call, const pg_uuid_t *order_id);
extern void record_payment(Call *call, const pg_uuid_t *order_id,
						   PaymentStatus status);

#endif							/* INVENTORY_ORDER_RULES_H */
