/*
 * duration.h
 *		Intervals as microseconds.
 */
#ifndef INVENTORY_DURATION_H
#define INVENTORY_DURATION_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * What is longer is cut: some 3,000 years, so that adding one to a time of
 * today cannot overflow.
 */
#define MAX_DURATION INT64CONST(100000000000000000)

extern int64 duration_of(const Interval *interval);
extern bool duration_is_infinite(const Interval *interval);

#endif							/* INVENTORY_DURATION_H */
