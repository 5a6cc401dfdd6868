/*
 * version.h
 *		Which version this library is.
 */
#ifndef INVENTORY_VERSION_H
#define INVENTORY_VERSION_H

#include "postgres.h"

extern const char *library_version(void);
extern bool version_is_newer(const char *version, const char *than);

#endif							/* INVENTORY_VERSION_H */
