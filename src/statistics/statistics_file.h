/*
 * statistics_file.h
 *		The file in which counters outlast a restart of the server.
 */
#ifndef INVENTORY_STATISTICS_FILE_H
#define INVENTORY_STATISTICS_FILE_H

#include "postgres.h"

#include "statistics/statistics.h"

/* How many databases of a server can be counted for. */
#define MAX_DATABASES 256

typedef struct SavedStatistics
{
	Oid			database;
	Statistics	statistics;
} SavedStatistics;

extern void statistics_file_write(const SavedStatistics *saved, int count);
extern int	statistics_file_take(SavedStatistics **saved);
extern bool statistics_file_is_valid(const char *content, Size size);

#endif							/* INVENTORY_STATISTICS_FILE_H */
