/*
 * purchase_limit.c
 *		How much a customer may have: purchase limits, one hold a SKU.
 *
 * An item may have a limit: what a customer holds, what he has bought (within
 * the item's limit_window, if it has one) and what he asks for together are at
 * most max_per_customer units.  With one_hold_per_customer he may have only one
 * live hold of a SKU; asking for the same again answers with that.
 *
 * Both are decided under customers_lock().  They are also looked at before,
 * without it, so that whoever has enough is refused at once.  Confirming and
 * extending a hold ask neither: they make nothing more of it.
 *
 * Holds made before there was a limit do not count: nothing says whose they
 * are without reading all of them.
 */
#include "postgres.h"

#include "errors.h"
#include "rules/purchase_limit.h"
#include "settings.h"

/* Is it to be known who holds an item? */
bool
limits_customers(const CatalogueItem *item)
{
	return item->max_per_customer > 0 || setting_one_hold_per_customer;
}

/* May a customer (NULL: nobody knows who) have only one hold of a SKU? */
bool
allows_one_hold(const char *customer)
{
	return setting_one_hold_per_customer && customer != NULL;
}

/* 22023: an item that has a limit is not for buyers without a name. */
void
purchase_limit_report_customer(const CatalogueItem *item)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("SKU \"%s\" has a purchase limit, so customer must be given",
					item->sku)));
}

/* IV008: the customer has a hold of the SKU that is not what he asks for. */
void
purchase_limit_report_hold(const CatalogueItem *item, const pg_uuid_t *hold)
{
	ereport(ERROR,
			(rejection(ERRCODE_INV_NOT_ALLOWED),
			 errmsg("customer already has a hold of SKU \"%s\"", item->sku),
			 errdetail("Reservation %s is not the same as what is asked for.",
					   uuid_text(hold)),
			 errhint("Confirm or cancel it, or change it with inv_release() or inv_extend().")));
}

/*
 * Count what a customer has of an item that limits_customers(); for "tidy" see
 * customer_count_holds().  "customer" may be NULL: then he has
 * nothing.
 */
void
purchase_limit_count(Call *call, const CatalogueItem *item,
					 const char *customer, TimestampTz now, bool tidy,
					 CustomerHolds *holds)
{
	ItemCustomer who = {item->item_id, customer};

	memset(holds, 0, sizeof(CustomerHolds));
	if (customer != NULL)
		customer_count_holds(call, &who,
							 item->limit_window > 0
							 ? now - item->limit_window : DT_NOBEGIN,
							 now, tidy, holds);
}

/* Units that a customer who has so many may still have; at least 0. */
int64
purchase_limit_left(const CatalogueItem *item, const CustomerHolds *holds)
{
	if (item->max_per_customer == 0)
		return PG_INT64_MAX;
	return Max(item->max_per_customer - holds->held - holds->bought, 0);
}

/* Raise IV007 if a customer who has so many may not have "quantity" more. */
void
purchase_limit_check(const CatalogueItem *item, const CustomerHolds *holds,
					 int64 quantity)
{
	int64		left = purchase_limit_left(item, holds);

	if (quantity <= left)
		return;
	ereport(ERROR,
			(rejection(ERRCODE_INV_PURCHASE_LIMIT),
			 errmsg("purchase limit of SKU \"%s\" is exceeded", item->sku),
			 errdetail("At most " INT64_FORMAT " for a customer: "
					   INT64_FORMAT " held, " INT64_FORMAT " bought, "
					   INT64_FORMAT " left, " INT64_FORMAT " requested.",
					   item->max_per_customer, holds->held, holds->bought,
					   left, quantity)));
}
