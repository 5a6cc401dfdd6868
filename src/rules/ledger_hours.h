/*
 * ledger_hours.h
 *		Where in the ledger the entries of each hour are.
 */
#ifndef INVENTORY_LEDGER_HOURS_H
#define INVENTORY_LEDGER_HOURS_H

#include "postgres.h"

#include "table/call.h"

extern bool note_hours(Call *call, int64 *rows);

#endif							/* INVENTORY_LEDGER_HOURS_H */
