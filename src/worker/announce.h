/*
 * announce.h
 *		How the launcher hears of a new extension or database.
 */
#ifndef INVENTORY_ANNOUNCE_H
#define INVENTORY_ANNOUNCE_H

extern void announce_init(void);

#endif							/* INVENTORY_ANNOUNCE_H */
