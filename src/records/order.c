/*
 * order.c
 *		Orders.
 *
 * An order has the lock of its reservation: whoever changes an order locks
 * line 1 of the reservation first, and the order's row after it.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"

#include "errors.h"
#include "records/order.h"

enum ColumnOfOrder
{
	ORDER_ORDER_ID = 1,
	ORDER_RESERVATION_ID,
	ORDER_CUSTOMER,
	ORDER_REFERENCE,
	ORDER_TOTAL,
	ORDER_CURRENCY,
	ORDER_STATUS,
	ORDER_PAYMENT_STATUS,
	ORDER_CREATED_AT,
	ORDER_UPDATED_AT,
	ORDER_COMPLETED_AT,
	ORDER_CANCELLED_AT
};

static const char *const order_status_names[] = {
	[ORDER_CONFIRMED] = "confirmed",
	[ORDER_COMPLETED] = "completed",
	[ORDER_CANCELLED] = "cancelled",
};

static const char *const payment_status_names[] = {
	[PAYMENT_PENDING] = "pending",
	[PAYMENT_PAID] = "paid",
	[PAYMENT_FAILED] = "failed",
	[PAYMENT_REFUNDED] = "refunded",
};

/* Statuses as SQL spells them. */
const char *
order_status_name(OrderStatus status)
{
	return order_status_names[status];
}

const char *
payment_status_name(PaymentStatus status)
{
	return payment_status_names[status];
}

/* The place of a name in a table of names; -1 if it is not there. */
static int
find_name(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return i;
	}
	return -1;
}

/* The payment status of a name; raises 22023 if there is none. */
PaymentStatus
payment_status_parse(const char *name, const char *argument)
{
	int			status = find_name(name, payment_status_names,
								   lengthof(payment_status_names));

	if (status < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a payment status", argument),
				 errdetail("It is \"%s\".", name),
				 errhint("Payment statuses are pending, paid, failed and refunded.")));
	return (PaymentStatus) status;
}

/* A status that no CHECK should have let in is corruption. */
static int
read_name(TupleTableSlot *slot, int column, const char *const *names, int count)
{
	char	   *name = row_get_text(slot, column);
	int			place = name == NULL ? -1 : find_name(name, names, count);

	if (place < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("order has an unknown status \"%s\"",
						name == NULL ? "" : name)));
	return place;
}

static void
read_order(Order *order, TupleTableSlot *slot)
{
	Datum		value;
	bool		isnull;

	order->tid = slot->tts_tid;
	order->order_id = *DatumGetUUIDP(row_get(slot, ORDER_ORDER_ID, &isnull));
	order->reservation_id =
		*DatumGetUUIDP(row_get(slot, ORDER_RESERVATION_ID, &isnull));
	value = row_get(slot, ORDER_TOTAL, &isnull);
	order->total = NumericGetDatum(DatumGetNumericCopy(value));
	order->status = (OrderStatus)
		read_name(slot, ORDER_STATUS, order_status_names,
				  lengthof(order_status_names));
	order->payment_status = (PaymentStatus)
		read_name(slot, ORDER_PAYMENT_STATUS, payment_status_names,
				  lengthof(payment_status_names));
}

static bool
find_order(Call *call, IndexId index, const pg_uuid_t *id, Order *order)
{
	OpenTable  *table = call_open(call, TABLE_ORDER);
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	if (!row_find(call, table, index, &key, 1))
		return false;
	read_order(order, table->found);
	return true;
}

/* Find an order that the call's snapshot sees; false if there is none. */
bool
order_find(Call *call, const pg_uuid_t *order_id, Order *order)
{
	return find_order(call, INDEX_ORDER_ID, order_id, order);
}

/* Find the order that a reservation became; false if there is none. */
bool
order_find_of_reservation(Call *call, const pg_uuid_t *reservation_id,
						  Order *order)
{
	return find_order(call, INDEX_ORDER_RESERVATION, reservation_id, order);
}

/* IV011. */
void
order_report_unknown(const pg_uuid_t *order_id)
{
	ereport(ERROR,
			(rejection(ERRCODE_INV_ORDER_UNKNOWN),
			 errmsg("order not found"),
			 errdetail("There is no order %s that this call may see.",
					   uuid_text(order_id))));
}

/*
 * Lock an order and its reservation, and read both as they are now.  Raises
 * IV011 if there is no such order, 40001.
 */
void
order_lock(Call *call, const pg_uuid_t *order_id, Order *order,
		   Reservation *reservation)
{
	OpenTable  *table = call_open(call, TABLE_ORDER);

	/* found again after the wait: by then the row may be at another place */
	if (!order_find(call, order_id, order) ||
		reservation_lock(call, &order->reservation_id, ROW_WAIT,
						 reservation) != ROW_LOCKED ||
		!order_find(call, order_id, order) ||
		row_lock(call, table, &order->tid, ROW_WAIT) != ROW_LOCKED)
		order_report_unknown(order_id);
	read_order(order, table->found);
}

/* Insert the order of a reservation, which the caller has locked. */
void
order_insert(Call *call, const Order *order, const ReservationLine *first_line,
			 TimestampTz now)
{
	OpenTable  *table = call_open(call, TABLE_ORDER);

	row_begin_insert(call, table);
	row_set(table, ORDER_ORDER_ID, UUIDPGetDatum(&order->order_id));
	row_set(table, ORDER_RESERVATION_ID, UUIDPGetDatum(&order->reservation_id));
	row_set_text(table, ORDER_CUSTOMER, first_line->customer);
	row_set_text(table, ORDER_REFERENCE, first_line->reference);
	row_set(table, ORDER_TOTAL, order->total);
	row_set_text(table, ORDER_CURRENCY, first_line->currency);
	row_set_text(table, ORDER_STATUS, order_status_name(order->status));
	row_set_text(table, ORDER_PAYMENT_STATUS,
				 payment_status_name(order->payment_status));
	row_set(table, ORDER_CREATED_AT, TimestampTzGetDatum(now));
	row_set(table, ORDER_UPDATED_AT, TimestampTzGetDatum(now));
	row_insert(call, table);
}

/* Begin to change an order that the caller has locked. */
static OpenTable *
begin_change(Call *call, Order *order, TimestampTz now)
{
	OpenTable  *table = call_open(call, TABLE_ORDER);

	row_begin_update(call, table, &order->tid);
	row_set(table, ORDER_UPDATED_AT, TimestampTzGetDatum(now));
	return table;
}

static void
end_change(Call *call, OpenTable *table, Order *order)
{
	row_update(call, table);
	order->tid = table->next->tts_tid;
}

/* Complete or cancel an order that the caller has locked. */
void
order_set_status(Call *call, Order *order, OrderStatus status, TimestampTz now)
{
	OpenTable  *table = begin_change(call, order, now);

	row_set_text(table, ORDER_STATUS, order_status_name(status));
	row_set(table, status == ORDER_COMPLETED ? ORDER_COMPLETED_AT
			: ORDER_CANCELLED_AT, TimestampTzGetDatum(now));
	end_change(call, table, order);
	order->status = status;
}

/* Change the payment status of an order that the caller has locked. */
void
order_set_payment(Call *call, Order *order, PaymentStatus status,
				  TimestampTz now)
{
	OpenTable  *table = begin_change(call, order, now);

	row_set_text(table, ORDER_PAYMENT_STATUS, payment_status_name(status));
	end_change(call, table, order);
	order->payment_status = status;
}

/* Note that an order that the caller has locked has changed. */
void
order_touch(Call *call, Order *order, TimestampTz now)
{
	end_change(call, begin_change(call, order, now), order);
}

/*
 * The row of an order as it is after the call, for returning it.  Raises IV011
 * if a trigger of the shop's has deleted it meanwhile.
 */
Datum
order_result(Call *call, const pg_uuid_t *order_id)
{
	OpenTable  *table = call_open(call, TABLE_ORDER);
	MemoryContext old_context;
	Order		order;
	Datum		result;

	call_next_command(call);
	if (!order_find(call, order_id, &order))
		order_report_unknown(order_id);
	old_context = MemoryContextSwitchTo(call->caller_context);
	result = ExecFetchSlotHeapTupleDatum(table->found);
	MemoryContextSwitchTo(old_context);
	return result;
}
