/*
 * fuzz.h
 *		What a fuzzed library has in it besides itself.
 */
#ifndef INVENTORY_FUZZ_H
#define INVENTORY_FUZZ_H

#include "postgres.h"

/*
 * Run the target on an input; false if it is none at all, and not worth
 * changing further.  Called within a subtransaction that is rolled back, and
 * connected to SPI.  May raise what a caller may be told.
 */
extern bool fuzz_target(const uint8 *data, size_t size);

#endif							/* INVENTORY_FUZZ_H */
