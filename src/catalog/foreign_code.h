/*
 * foreign_code.h
 *		Does writing to a table of ours run code that is not ours?
 */
#ifndef INVENTORY_FOREIGN_CODE_H
#define INVENTORY_FOREIGN_CODE_H

#include "postgres.h"

#include "utils/relcache.h"

#include "catalog/known_tables.h"

extern bool has_foreign_code(TableId table, Relation relation);

#endif							/* INVENTORY_FOREIGN_CODE_H */
