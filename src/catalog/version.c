/*
 * version.c
 *		Which version this library is.
 *
 * The control file states the version, and the Makefile hands it to the
 * compiler: the library and the SQL that is installed with it cannot differ.
 * A server may still bring different ones together, see extension.c.
 */
#include "postgres.h"

#include "catalog/version.h"

#ifndef INVENTORY_VERSION
#error "INVENTORY_VERSION comes from the control file, by way of the Makefile"
#endif

/* Three numbers, as in 0.2.0. */
#define VERSION_PARTS 3

/* The version of this library. */
const char *
library_version(void)
{
	return CppAsString2(INVENTORY_VERSION);
}

/* The numbers of a version; what cannot be read as one counts as 0. */
static void
read_version(const char *version, long *parts)
{
	for (int i = 0; i < VERSION_PARTS; i++)
	{
		char	   *end;

		parts[i] = strtol(version, &end, 10);
		version = *end == '.' ? end + 1 : end;
	}
}

/* Is a version newer than another? */
bool
version_is_newer(const char *version, const char *than)
{
	long		left[VERSION_PARTS];
	long		right[VERSION_PARTS];

	read_version(version, left);
	read_version(than, right);
	for (int i = 0; i < VERSION_PARTS; i++)
	{
		if (left[i] != right[i])
			return left[i] > right[i];
	}
	return false;
}
