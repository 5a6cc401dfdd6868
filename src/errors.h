/*
 * errors.h
 *		SQLSTATEs of our own.
 *
 * Class IV is ours.  Applications match on these codes, so a code never
 * changes its meaning; what a caller did wrong in a way that PostgreSQL has a
 * code for (22023, 22003, 25006, 40001, 42501) gets that code.
 *
 * An error of class IV is raised with rejection() in place of errcode(), which
 * counts it: once, wherever it is caught.  Where a rejection is an answer and
 * not an error, whoever makes the answer counts it.
 */
#ifndef INVENTORY_ERRORS_H
#define INVENTORY_ERRORS_H

#include "utils/elog.h"

#include "statistics/statistics.h"

#define ERRCODE_INV_INSUFFICIENT_STOCK	MAKE_SQLSTATE('I','V','0','0','1')
#define ERRCODE_INV_RESERVATION_EXPIRED MAKE_SQLSTATE('I','V','0','0','2')
#define ERRCODE_INV_RESERVATION_UNKNOWN MAKE_SQLSTATE('I','V','0','0','3')
#define ERRCODE_INV_SKU_UNKNOWN			MAKE_SQLSTATE('I','V','0','0','4')
#define ERRCODE_INV_KEY_REUSED			MAKE_SQLSTATE('I','V','0','0','5')
#define ERRCODE_INV_LISTING_CLOSED		MAKE_SQLSTATE('I','V','0','0','6')
#define ERRCODE_INV_PURCHASE_LIMIT		MAKE_SQLSTATE('I','V','0','0','7')
#define ERRCODE_INV_NOT_ALLOWED			MAKE_SQLSTATE('I','V','0','0','8')
#define ERRCODE_INV_LOCATION_UNKNOWN	MAKE_SQLSTATE('I','V','0','1','0')
#define ERRCODE_INV_ORDER_UNKNOWN		MAKE_SQLSTATE('I','V','0','1','1')
#define ERRCODE_INV_BELOW_HELD			MAKE_SQLSTATE('I','V','0','1','2')

/* Like errcode(), for an error of class IV, which is counted. */
static inline int
rejection(int sqlstate)
{
	statistics_count_rejection(sqlstate);
	return errcode(sqlstate);
}

#endif							/* INVENTORY_ERRORS_H */
