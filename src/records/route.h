/*
 * route.h
 *		Route buckets, and the ids that carry them.
 */
#ifndef INVENTORY_ROUTE_H
#define INVENTORY_ROUTE_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

extern int	route_of_sku(const char *sku);
extern int	route_of_id(const pg_uuid_t *id);
extern void route_make_id(pg_uuid_t *id, int bucket, TimestampTz now);

#endif							/* INVENTORY_ROUTE_H */
