/*
 * purchase_limit.h
 *		How much a customer may have: purchase limits, one hold a SKU.
 */
#ifndef INVENTORY_PURCHASE_LIMIT_H
#define INVENTORY_PURCHASE_LIMIT_H

#include "postgres.h"

#include "records/customer_holds.h"
#include "records/item.h"

extern bool limits_customers(const CatalogueItem *item);
extern bool allows_one_hold(const char *customer);
extern int64 purchase_limit_left(const CatalogueItem *item,
								 const CustomerHolds *holds);
extern void purchase_limit_check(const CatalogueItem *item,
								 const CustomerHolds *holds, int64 quantity);
extern void purchase_limit_count(Call *call, const CatalogueItem *item,
								 const char *customer, TimestampTz now,
								 bool tidy, CustomerHolds *holds);
pg_noreturn extern void purchase_limit_report_customer(const CatalogueItem *item);
pg_noreturn extern void purchase_limit_report_hold(const CatalogueItem *item,
												   const pg_uuid_t *hold);

#endif							/* INVENTORY_PURCHASE_LIMIT_H */
