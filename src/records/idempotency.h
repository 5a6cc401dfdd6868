/*
 * idempotency.h
 *		Idempotency keys: a repeat with the same key gets the first result.
 */
#ifndef INVENTORY_IDEMPOTENCY_H
#define INVENTORY_IDEMPOTENCY_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "table/call.h"

/* No operation has more arguments than this. */
#define MAX_KEY_ARGUMENTS 8

/* An argument of a call; what it points to lives as long as the call. */
typedef struct KeyArgument
{
	const char *name;
	JsonbValue	value;
} KeyArgument;

/*
 * A call made under a key: what it asked, and what came of it.  Begin with
 * key_begin(), say what is asked with key_argument_...(), then use it.
 */
typedef struct KeyedCall
{
	const char *scope;			/* the operation */
	const char *key;			/* NULL: no key, everything below is idle */
	int			argument_count;
	KeyArgument arguments[MAX_KEY_ARGUMENTS];
	bool		answers_differ; /* IV005 goes into "differs", is not raised */
	const char *differs;		/* the argument that the first call had other */
	ItemPointerData tid;		/* of the row, once claimed */
	bool		has_reservation;
	pg_uuid_t	reservation_id; /* what it produced or acted on */
	bool		has_order;
	pg_uuid_t	order_id;
} KeyedCall;

extern void key_begin(KeyedCall *keyed, const char *scope, const char *key);
extern void key_argument_text(KeyedCall *keyed, const char *argument,
							  const char *value);
extern void key_argument_int64(KeyedCall *keyed, const char *argument,
							   int64 value);
extern void key_argument_jsonb(KeyedCall *keyed, const char *argument,
							   Jsonb *value);
extern void key_argument_texts(KeyedCall *keyed, const char *argument,
							   char **values, int count);
extern void key_argument_int64s(KeyedCall *keyed, const char *argument,
								const int64 *values, int count);

extern bool key_same_request(const KeyedCall *a, const KeyedCall *b);
extern bool key_replays(Call *call, KeyedCall *keyed);
extern bool key_claim(Call *call, KeyedCall *keyed);
extern void key_correct_reservation(Call *call, KeyedCall *keyed,
									const pg_uuid_t *reservation_id);
extern void key_correct_order(Call *call, KeyedCall *keyed,
							  const pg_uuid_t *order_id);
extern void key_withdraw(Call *call, KeyedCall *keyed);

#endif							/* INVENTORY_IDEMPOTENCY_H */
