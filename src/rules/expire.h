/*
 * expire.h
 *		The sweep.
 */
#ifndef INVENTORY_EXPIRE_H
#define INVENTORY_EXPIRE_H

#include "postgres.h"

#include "table/call.h"

/* The most that one sweep takes on: it needs some 2 kB of memory a hold. */
#define MAX_SWEEP 100000

extern int64 expire_dead_holds(Call *call, int64 max_count);

#endif							/* INVENTORY_EXPIRE_H */
