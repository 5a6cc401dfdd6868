/*
 * ledger_balance.h
 *		What the ledger adds up to, stock row by stock row, up to a place.
 */
#ifndef INVENTORY_LEDGER_BALANCE_H
#define INVENTORY_LEDGER_BALANCE_H

#include "postgres.h"

#include "records/ledger.h"
#include "records/stock.h"

typedef struct LedgerBalances
{
	int64		generation;		/* 0: there are none */
	LedgerPlace place;			/* entries up to here are in them */
} LedgerBalances;

#define ALL_ENTRIES PG_INT64_MAX

/* Before the first stock row, for a walk by key. */
extern const StockKey before_all_stock;

extern void ledger_balances_load(Call *call, LedgerBalances *balances);
extern void ledger_balances_save(Call *call, const LedgerBalances *balances);
extern int64 ledger_balances_open(Call *call, const LedgerBalances *balances,
								  StockKey *after, int64 budget);
extern bool ledger_balances_advance(Call *call, LedgerBalances *balances,
									int64 budget);

#endif							/* INVENTORY_LEDGER_BALANCE_H */
