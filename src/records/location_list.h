/*
 * location_list.h
 *		All locations by priority, as the session remembers them.
 */
#ifndef INVENTORY_LOCATION_LIST_H
#define INVENTORY_LOCATION_LIST_H

#include "postgres.h"

#include "utils/relcache.h"

#include "table/call.h"

extern int32 *location_list(Call *call, int *count);
extern void location_list_changed(Relation locations);

#endif							/* INVENTORY_LOCATION_LIST_H */
