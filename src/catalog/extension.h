/*
 * extension.h
 *		The extension as it is in this database: its version, its tables and
 *		their owner, and whether this library can work with them.
 */
#ifndef INVENTORY_EXTENSION_H
#define INVENTORY_EXTENSION_H

#include "postgres.h"

#include "catalog/compat.h"
#include "catalog/known_tables.h"

/* Why the library and the extension in a database do not go together. */
typedef struct Misfit
{
	char	   *message;
	char	   *hint;
} Misfit;

extern void extension_find_tables(Oid *schema, Oid *tables);
extern bool extension_fits(Misfit *misfit);
extern bool extension_is_older(void);
extern bool extension_find_owner(Oid *owner, Oid *schema);
extern void extension_check_owner(Oid relid, Oid stock);
pg_noreturn extern void extension_report_unusable(const char *relation);

#endif							/* INVENTORY_EXTENSION_H */
