/*
 * worker.h
 *		The background processes: a launcher, and the short-lived workers that
 *		it starts.
 */
#ifndef INVENTORY_WORKER_H
#define INVENTORY_WORKER_H

#include "postgres.h"

#define LAUNCHER_TYPE EXTENSION_NAME " launcher"
#define WORKER_TYPE EXTENSION_NAME " worker"

/* How many workers there are at a time, in all databases together. */
#define MAX_WORKERS 3

/*
 * DROP DATABASE, and CREATE DATABASE for its template, wait for five seconds
 * until nobody is attached to the database, and look ten times a second.  A
 * worker stays for so long, and the next comes no earlier than so long after.
 */
#define WORKER_ATTACHED 3000	/* milliseconds */
#define WORKER_GAP 1000			/* milliseconds */

/*
 * One that has been attached for so long is terminated: the owner's code may
 * catch what is to cancel it.
 */
#define WORKER_PATIENCE (3 * WORKER_ATTACHED)	/* milliseconds */

extern void worker_init(void);

extern PGDLLEXPORT void inventory_launcher_main(Datum main_arg);
extern PGDLLEXPORT void inventory_worker_main(Datum main_arg);

#endif							/* INVENTORY_WORKER_H */
