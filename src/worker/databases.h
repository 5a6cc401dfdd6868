/*
 * databases.h
 *		What the launcher knows of each database, and when it is due.
 */
#ifndef INVENTORY_DATABASES_H
#define INVENTORY_DATABASES_H

#include "postgres.h"

#include <limits.h>

#include "worker/shared.h"

#define NEVER PG_INT64_MAX

typedef enum Knowledge
{
	DATABASE_UNKNOWN,			/* nobody has looked */
	DATABASE_LACKS,				/* the extension, or one that fits */
	DATABASE_HAS
} Knowledge;

/* Something that failed is given a rest, longer each time. */
typedef struct Rest
{
	int			failures;		/* one after another */
	int64		until;
} Rest;

/* Rows that sessions have reported of a database, ever. */
typedef struct RowCounts
{
	int64		inserted;
	int64		changed;
} RowCounts;

/* Moments are milliseconds by clock_now(). */
typedef struct Database
{
	Oid			oid;			/* hash key */
	NameData	name;
	bool		listed;			/* and takes connections, when last read */
	bool		running;		/* has a worker */
	Knowledge	knowledge;
	bool		misfit_told;	/* see WORKER_FOUND_MISFIT */
	bool		announced;		/* an extension was made since it was due */
	bool		has_more;		/* the worker did not get done */
	bool		at_rest;		/* it found nothing to do, and nothing held */
	int64		looked;			/* worker started, or counters looked at */
	int64		started;		/* of the last worker */
	int64		ended;
	RowCounts	rows;			/* before that worker looked */
	bool		counted;		/* there are such numbers */
	int			batch;			/* rows that a batch may have */
	Rest		whole;			/* workers vanish */
	Rest		steps[sizeof(uint32) * CHAR_BIT];
} Database;

extern int64 clock_now(void);

extern void databases_init(void);
extern void databases_read(void);
extern void databases_announced(const Oid *oids, int count);
extern Database *databases_next(int64 now, int64 *due);
extern bool database_is_worth_a_visit(Database *database, int64 now);
extern bool database_takes_workers(Oid oid);
extern uint32 database_resting_steps(const Database *database, int64 now);
extern void database_put_off(Database *database, int64 now);
extern RowCounts database_count_rows(const Database *database);
extern void database_started(Database *database, RowCounts rows, int64 now);
extern void database_ended(Oid oid, const WorkerReport *report, int64 now);

#endif							/* INVENTORY_DATABASES_H */
