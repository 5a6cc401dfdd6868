/*
 * order.h
 *		Orders.
 */
#ifndef INVENTORY_ORDER_H
#define INVENTORY_ORDER_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "records/reservation.h"

typedef enum OrderStatus
{
	ORDER_CONFIRMED,
	ORDER_COMPLETED,
	ORDER_CANCELLED
} OrderStatus;

typedef enum PaymentStatus
{
	PAYMENT_PENDING,
	PAYMENT_PAID,
	PAYMENT_FAILED,
	PAYMENT_REFUNDED
} PaymentStatus;

typedef struct Order
{
	ItemPointerData tid;
	pg_uuid_t	order_id;
	pg_uuid_t	reservation_id;
	Datum		total;			/* numeric */
	OrderStatus status;
	PaymentStatus payment_status;
} Order;

extern const char *order_status_name(OrderStatus status);
extern const char *payment_status_name(PaymentStatus status);
extern PaymentStatus payment_status_parse(const char *name,
										  const char *argument);

extern bool order_find(Call *call, const pg_uuid_t *order_id, Order *order);
extern bool order_find_of_reservation(Call *call,
									  const pg_uuid_t *reservation_id,
									  Order *order);
extern void order_lock(Call *call, const pg_uuid_t *order_id, Order *order,
					   Reservation *reservation);
pg_noreturn extern void order_report_unknown(const pg_uuid_t *order_id);
extern void order_insert(Call *call, const Order *order,
						 const ReservationLine *first_line, TimestampTz now);
extern void order_set_status(Call *call, Order *order, OrderStatus status,
							 TimestampTz now);
extern void order_set_payment(Call *call, Order *order, PaymentStatus status,
							  TimestampTz now);
extern void order_touch(Call *call, Order *order, TimestampTz now);
extern Datum order_result(Call *call, const pg_uuid_t *order_id);

#endif							/* INVENTORY_ORDER_H */
