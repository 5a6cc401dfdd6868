/*
 * expire.h
 *		The sweep.
 */
#ifndef INVENTORY_EXPIRE_H
#define INVENTORY_EXPIRE_H

#include "postgres.h"

#include "table/call.h"

extern int64 expire_dead_holds(Call *call, int64 max_count);
extern int64 expire_dead_holds_nowait(Call *call, int64 max_count);

#endif							/* INVENTORY_EXPIRE_H */
