/*
 * version_functions.c
 *		inv_library_version().
 *
 * What must never happen: that it refuses.  It is asked where the library and
 * the extension's tables do not go together, so it looks at neither.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "catalog/version.h"

PG_FUNCTION_INFO_V1(inv_library_version);

/* inv_library_version(): text. */
Datum
inv_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(library_version()));
}
