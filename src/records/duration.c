/*
 * duration.c
 *		Intervals as microseconds.
 *
 * A time to live is a length of time, not a calendar distance: a month counts
 * 30 days and a day 24 hours, as wherever PostgreSQL compares intervals.
 */
#include "postgres.h"

#include "records/duration.h"

/* Microseconds in an interval, within MAX_DURATION either way. */
int64
duration_of(const Interval *interval)
{
	double		microseconds;

	microseconds = (double) interval->time +
		((double) interval->month * DAYS_PER_MONTH + (double) interval->day) *
		(double) USECS_PER_DAY;
	if (microseconds >= (double) MAX_DURATION)
		return MAX_DURATION;
	if (microseconds <= -(double) MAX_DURATION)
		return -MAX_DURATION;
	return interval->time +
		((int64) interval->month * DAYS_PER_MONTH + interval->day) * USECS_PER_DAY;
}

/* PostgreSQL 17 knows infinite intervals: the extreme number of months. */
bool
duration_is_infinite(const Interval *interval)
{
	return interval->month == PG_INT32_MAX || interval->month == PG_INT32_MIN;
}
