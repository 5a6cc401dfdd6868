/* For scan-build: on one path of three, nobody has said how many. */
#include "postgres.h"

extern int64 units_somehow(const int64 *rows, int count);

int64
units_somehow(const int64 *rows, int count)
{
	int64		units;

	if (count > 0)
		units = rows[0];
	else if (count == 0)
		units = 0;
	return units;
}
