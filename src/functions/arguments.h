/*
 * arguments.h
 *		Reading and checking the arguments of SQL functions.
 */
#ifndef INVENTORY_ARGUMENTS_H
#define INVENTORY_ARGUMENTS_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/timestamp.h"

#include "catalog/compat.h"
#include "records/stock.h"
#include "table/call.h"

/* Longest SKU, key, customer, reference and location, in bytes. */
#define MAX_NAME_BYTES 255

extern char *argument_name(FunctionCallInfo fcinfo, int number,
						   const char *argument);
extern char *argument_optional_name(FunctionCallInfo fcinfo, int number,
									const char *argument);
extern char *argument_sku(FunctionCallInfo fcinfo, int number);
extern char *normalize_sku(char *sku);
extern char *argument_optional_text(FunctionCallInfo fcinfo, int number);
extern int64 argument_quantity(FunctionCallInfo fcinfo, int number,
							   const char *argument);
extern int64 argument_int64(FunctionCallInfo fcinfo, int number,
							const char *argument);
extern bool argument_bool(FunctionCallInfo fcinfo, int number,
						  const char *argument);
extern Datum argument_uuid(FunctionCallInfo fcinfo, int number,
						   const char *argument);
extern int64 argument_optional_ttl(FunctionCallInfo fcinfo, int number,
								   const char *argument);

extern void check_name(const char *value, const char *argument);
extern int64 check_quantity(int64 value, const char *argument);
extern int64 check_count(int64 value, const char *argument);
pg_noreturn extern void report_null_argument(const char *argument);

extern Datum *argument_array(FunctionCallInfo fcinfo, int number,
							 const char *argument, Oid element_type,
							 int *count, bool **nulls_out);
extern void argument_lines(FunctionCallInfo fcinfo,
						   int64 (*check) (int64, const char *),
						   int *count, char ***skus, int64 **quantities);

extern Datum result_row(Call *call, FunctionCallInfo fcinfo,
						const Datum *values, const bool *nulls, int count);
extern void result_put(ReturnSetInfo *set, const Datum *values,
					   const bool *nulls, int count);

#endif							/* INVENTORY_ARGUMENTS_H */
