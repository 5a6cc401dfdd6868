/*
 * sql.h
 *		The door to SPI, for whatever is not on the hot path.
 */
#ifndef INVENTORY_SQL_H
#define INVENTORY_SQL_H

#include "postgres.h"

#include "executor/spi.h"

#include "table/call.h"

#define SQL_MAX_ARGUMENTS 16

/*
 * A statement, prepared once in a session.  Its text is fixed: names without
 * a schema are our tables, and whatever a caller gave goes in as a parameter.
 *
 * The extension may have been created in a schema where others create things
 * too.  pg_catalog comes first, but a function there that fits only by a
 * polymorphic or variadic argument, or an operator that needs a cast, loses to
 * somebody's exact match: write pg_catalog. before the one, cast the operands
 * of the other.
 */
typedef struct SqlStatement
{
	const char *text;
	int			expected;		/* SPI_OK_SELECT and so on */
	int			nargs;
	Oid			argument_types[SQL_MAX_ARGUMENTS];
	SPIPlanPtr	plan;			/* NULL until it is first run */
} SqlStatement;

/* The arguments of a statement, for sql_run(). */
#define SQL_VALUES(...) ((Datum[]) {__VA_ARGS__})

extern void sql_begin(Call *call);
extern uint64 sql_run(Call *call, SqlStatement *statement, Datum *values,
					  const char *nulls);
extern Datum sql_value(int row, int column, bool *isnull);
extern void sql_end(Call *call);
extern void sql_plan_by_index(Call *call);

extern void sql_begin_procedure(void);
extern void sql_commit(void);
extern void sql_end_procedure(void);

#endif							/* INVENTORY_SQL_H */
