/*
 * purge.h
 *		Deleting what is old, in batches.
 */
#ifndef INVENTORY_PURGE_H
#define INVENTORY_PURGE_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "table/call.h"

extern int64 purge_keys(Call *call, int64 budget);
extern int64 purge_reservations(Call *call, TimestampTz due_before,
								int64 budget);
extern int64 purge_ledger(Call *call, TimestampTz due_before, int64 budget);

#endif							/* INVENTORY_PURGE_H */
