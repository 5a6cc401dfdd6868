/*
 * reconcile.h
 *		Reconciliation: counters against lines, ledger and each other.
 */
#ifndef INVENTORY_RECONCILE_H
#define INVENTORY_RECONCILE_H

#include "postgres.h"

#include "table/call.h"

extern bool reconcile_in_background(Call *call, int64 *rows);
extern int64 reconcile_at_once(Call *call, bool repair, bool complete);

#endif							/* INVENTORY_RECONCILE_H */
