/*
 * idempotency.c
 *		Idempotency keys: a repeat with the same key gets the first result.
 *
 * The row of a key is written in the transaction of the call that it belongs
 * to, before that call locks anything.  So a key is taken if and only if its
 * effect is there, and errors are not remembered.
 *
 * Two calls with one key may come at the same instant.  The second must wait
 * until the first has ended, then replay it, or go ahead if it rolled back:
 *
 * - key_replays() and key_claim() look with a snapshot that sees uncommitted
 *   rows, and wait for the transaction that wrote one.
 * - Between looking and inserting, a lock on a hash of the key keeps twins
 *   apart.  It is held for those few microseconds only, not until the
 *   transaction ends, so that a transaction may use any number of keys
 *   without filling the lock table.  Whoever holds it waits for nothing, and
 *   two keys with one hash only cost each other that moment.
 *
 * While a call waits here it holds no other lock of ours: the key comes first
 * in the lock order.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/compat.h"
#include "errors.h"
#include "records/idempotency.h"
#include "statistics/statistics.h"
#include "table/row.h"

enum ColumnOfIdempotency
{
	IDEMPOTENCY_SCOPE = 1,
	IDEMPOTENCY_KEY,
	IDEMPOTENCY_REQUEST,
	IDEMPOTENCY_RESERVATION_ID,
	IDEMPOTENCY_ORDER_ID,
	IDEMPOTENCY_CREATED_AT
};

/* Begin to describe a call.  "key" may be NULL: then nothing is remembered. */
void
key_begin(KeyedCall *keyed, const char *scope, const char *key)
{
	memset(keyed, 0, sizeof(KeyedCall));
	keyed->scope = scope;
	keyed->key = key;
}

/*
 * Add an argument, to be filled by the caller.  Arguments left NULL are left
 * out, so that a later version can add one and still replay older keys.
 */
static JsonbValue *
add_argument(KeyedCall *keyed, const char *argument)
{
	KeyArgument *added;

	if (keyed->argument_count == MAX_KEY_ARGUMENTS)
		elog(ERROR, "too many arguments under a key");
	added = &keyed->arguments[keyed->argument_count++];
	added->name = argument;
	return &added->value;
}

/* A text as a value; jsonb leaves checking its length to whoever makes one. */
static void
set_text(JsonbValue *value, const char *text)
{
	size_t		length = strlen(text);

	if (length > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("text is too long to be remembered with a key"),
				 errdetail("It has %zu bytes; at most %d are allowed.",
						   length, JENTRY_OFFLENMASK)));
	value->type = jbvString;
	value->val.string.len = (int) length;
	value->val.string.val = unconstify(char *, text);
}

static void
set_int64(JsonbValue *value, int64 number)
{
	value->type = jbvNumeric;
	value->val.numeric = int64_to_numeric(number);
}

void
key_argument_text(KeyedCall *keyed, const char *argument, const char *value)
{
	if (keyed->key != NULL && value != NULL)
		set_text(add_argument(keyed, argument), value);
}

void
key_argument_int64(KeyedCall *keyed, const char *argument, int64 value)
{
	if (keyed->key != NULL)
		set_int64(add_argument(keyed, argument), value);
}

void
key_argument_jsonb(KeyedCall *keyed, const char *argument, Jsonb *value)
{
	JsonbValue *added;

	if (keyed->key == NULL)
		return;
	added = add_argument(keyed, argument);
	added->type = jbvBinary;
	added->val.binary.data = &value->root;
	added->val.binary.len = VARSIZE(value) - VARHDRSZ;
}

/* Add an argument that is an array; its elements are to be filled. */
static JsonbValue *
add_array(KeyedCall *keyed, const char *argument, int count)
{
	JsonbValue *added = add_argument(keyed, argument);

	added->type = jbvArray;
	added->val.array.nElems = count;
	added->val.array.elems = palloc(count * sizeof(JsonbValue));
	added->val.array.rawScalar = false;
	return added->val.array.elems;
}

void
key_argument_texts(KeyedCall *keyed, const char *argument, char **values,
				   int count)
{
	JsonbValue *elements;

	if (keyed->key == NULL)
		return;
	elements = add_array(keyed, argument, count);
	for (int i = 0; i < count; i++)
		set_text(&elements[i], values[i]);
}

void
key_argument_int64s(KeyedCall *keyed, const char *argument,
					const int64 *values, int count)
{
	JsonbValue *elements;

	if (keyed->key == NULL)
		return;
	elements = add_array(keyed, argument, count);
	for (int i = 0; i < count; i++)
		set_int64(&elements[i], values[i]);
}

/* The request as jsonb: an object of its arguments. */
static Jsonb *
request_jsonb(const KeyedCall *keyed)
{
	CompatJsonbState state = {0};

	(void) compat_push_jsonb(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < keyed->argument_count; i++)
	{
		JsonbValue	value = keyed->arguments[i].value;
		JsonbValue	name;

		set_text(&name, keyed->arguments[i].name);
		(void) compat_push_jsonb(&state, WJB_KEY, &name);
		(void) compat_push_jsonb(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(compat_push_jsonb(&state, WJB_END_OBJECT, NULL));
}

/* The value of an argument in a request; NULL if it is not there. */
static Jsonb *
request_value(Jsonb *request, const char *argument, int length)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&request->root, argument,
													 length, NULL);

	return value == NULL ? NULL : JsonbValueToJsonb(value);
}

/* The first argument of "here" that is other in "there"; NULL if none is. */
static char *
find_difference(Jsonb *here, Jsonb *there)
{
	JsonbIterator *iterator = JsonbIteratorInit(&here->root);
	JsonbIteratorToken token;
	JsonbValue	name;

	while ((token = JsonbIteratorNext(&iterator, &name, true)) != WJB_DONE)
	{
		Jsonb	   *value;
		Jsonb	   *other;

		if (token != WJB_KEY)
			continue;
		value = request_value(here, name.val.string.val, name.val.string.len);
		other = request_value(there, name.val.string.val, name.val.string.len);
		if (other == NULL ||
			compareJsonbContainers(&value->root, &other->root) != 0)
			return pnstrdup(name.val.string.val, name.val.string.len);
	}
	return NULL;
}

/* The argument in which two requests differ; NULL if they are the same. */
static char *
compare_requests(Jsonb *a, Jsonb *b)
{
	char	   *argument;

	/* most often they are */
	if (compareJsonbContainers(&a->root, &b->root) == 0)
		return NULL;
	argument = find_difference(a, b);
	return argument != NULL ? argument : find_difference(b, a);
}

/* Do two calls under one key ask the same? */
bool
key_same_request(const KeyedCall *a, const KeyedCall *b)
{
	return compare_requests(request_jsonb(a), request_jsonb(b)) == NULL;
}

/*
 * Look for the row of a key that is committed or ours; where another
 * transaction is about to write or delete it, *in_progress is its id.
 */
static bool
find_key(Call *call, OpenTable *table, const KeyedCall *keyed,
		 TransactionId *in_progress)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(keyed->scope));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(keyed->key));
	return row_find_committed(call, table, INDEX_IDEMPOTENCY, keys, 2,
							  in_progress);
}

/*
 * What a replay answers must survive a failover like what the first call
 * answered.  But the first call may have committed without its answer having
 * gone out: its session was terminated while it waited for a synchronous
 * standby, or the server crashed then and came back.  The replay sees what that
 * standby may not have, and as it writes nothing, PostgreSQL would not make it
 * wait.  So it writes a message that nobody reads: what a commit waits for
 * includes all that is in the WAL before it.
 */
static void
wait_for_standby_at_commit(void)
{
	if (SyncRepRequested() &&
		SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0')
		(void) compat_log_message("inventory_reservation", "", 0);
}

/* Compare with the first call (IV005) and read what came of it. */
static void
replay(Call *call, OpenTable *table, KeyedCall *keyed)
{
	Jsonb	   *first;
	Datum		value;
	bool		isnull;

	if (IsolationUsesXactSnapshot() &&
		!table_tuple_satisfies_snapshot(table->relation, table->found,
										GetActiveSnapshot()))
		row_report_conflict();

	value = row_get(table->found, IDEMPOTENCY_REQUEST, &isnull);
	first = DatumGetJsonbPCopy(value);
	value = row_get(table->found, IDEMPOTENCY_RESERVATION_ID, &isnull);
	keyed->has_reservation = !isnull;
	if (!isnull)
		keyed->reservation_id = *DatumGetUUIDP(value);
	value = row_get(table->found, IDEMPOTENCY_ORDER_ID, &isnull);
	keyed->has_order = !isnull;
	if (!isnull)
		keyed->order_id = *DatumGetUUIDP(value);

	keyed->differs = compare_requests(request_jsonb(keyed), first);
	if (keyed->differs != NULL && !keyed->answers_differ)
		ereport(ERROR,
				(rejection(ERRCODE_INV_KEY_REUSED),
				 errmsg("key \"%s\" was used with other arguments",
						keyed->key),
				 errdetail("Argument \"%s\" differs from the first call's.",
						   keyed->differs),
				 errhint("Use a new key for a new request.")));

	wait_for_standby_at_commit();
	/* what the first call wrote may be newer than our snapshot */
	call_see_now(call);
}

/* Wait until a transaction has ended; the time is counted. */
static void
wait_for_twin(TransactionId in_progress)
{
	int64		began = statistics_wait_begins();

	PG_TRY();
	{
		XactLockTableWait(in_progress, NULL, NULL, XLTW_None);
	}
	PG_FINALLY();
	{
		statistics_wait_ended(began);
	}
	PG_END_TRY();
}

/*
 * Was there a call with this key before?  Waits for one that has not ended.
 * True: it asked the same, and its ids are in "keyed".  Raises IV005 if it
 * asked something else, 40001 if the transaction's snapshot does not see it.
 * Takes no lock and, but for a replay that waits for a standby, no
 * transaction id.
 */
bool
key_replays(Call *call, KeyedCall *keyed)
{
	OpenTable  *table;
	TransactionId in_progress;

	if (keyed->key == NULL)
		return false;

	table = call_open(call, TABLE_IDEMPOTENCY);
	for (;;)
	{
		if (find_key(call, table, keyed, &in_progress))
		{
			replay(call, table, keyed);
			return true;
		}
		if (!TransactionIdIsValid(in_progress))
			return false;
		ExecClearTuple(table->found);
		wait_for_twin(in_progress);
		call_see_now(call);
	}
}

/* The lock that keeps twins apart while they look and insert. */
static void
twin_lock_tag(LOCKTAG *tag, const KeyedCall *keyed)
{
	uint64		hash;

	hash = hash_bytes_extended((const unsigned char *) keyed->key,
							   (int) strlen(keyed->key),
							   hash_bytes((const unsigned char *) keyed->scope,
										  (int) strlen(keyed->scope)));
	memset(tag, 0, sizeof(LOCKTAG));
	tag->locktag_field1 = MyDatabaseId;
	tag->locktag_field2 = (uint32) (hash >> 32);
	tag->locktag_field3 = (uint32) hash;
	/* the queues in stock_lock.c have tags of this type too, of USER_LOCKMETHOD */
	tag->locktag_type = LOCKTAG_USERLOCK;
	tag->locktag_lockmethodid = DEFAULT_LOCKMETHOD;
}

/* Insert the row of a key. */
static void
insert_key(Call *call, OpenTable *table, KeyedCall *keyed)
{
	row_begin_insert(call, table);
	row_set_text(table, IDEMPOTENCY_SCOPE, keyed->scope);
	row_set_text(table, IDEMPOTENCY_KEY, keyed->key);
	row_set(table, IDEMPOTENCY_REQUEST, JsonbPGetDatum(request_jsonb(keyed)));
	if (keyed->has_reservation)
		row_set(table, IDEMPOTENCY_RESERVATION_ID,
				UUIDPGetDatum(&keyed->reservation_id));
	if (keyed->has_order)
		row_set(table, IDEMPOTENCY_ORDER_ID, UUIDPGetDatum(&keyed->order_id));
	row_set(table, IDEMPOTENCY_CREATED_AT,
			TimestampTzGetDatum(GetCurrentTimestamp()));
	row_insert(call, table);
	keyed->tid = table->next->tts_tid;
}

/*
 * Take the key for this call, whose ids are in "keyed".  False: a twin was
 * faster; then it is as if key_replays() had returned true.  The caller holds
 * no other lock of ours.  Raises what key_replays() raises.
 */
bool
key_claim(Call *call, KeyedCall *keyed)
{
	OpenTable  *table;
	LOCKTAG		tag;
	TransactionId in_progress;

	if (keyed->key == NULL)
		return true;

	table = call_open(call, TABLE_IDEMPOTENCY);
	twin_lock_tag(&tag, keyed);
	for (;;)
	{
		bool		found;

		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		found = find_key(call, table, keyed, &in_progress);
		if (!found && !TransactionIdIsValid(in_progress))
		{
			insert_key(call, table, keyed);
			LockRelease(&tag, ExclusiveLock, false);
			return true;
		}
		LockRelease(&tag, ExclusiveLock, false);

		if (found)
		{
			replay(call, table, keyed);
			return false;
		}
		ExecClearTuple(table->found);
		wait_for_twin(in_progress);
		call_see_now(call);
	}
}

/* Write another id into the row of a claimed key. */
static void
correct_id(Call *call, KeyedCall *keyed, int column, const pg_uuid_t *id)
{
	OpenTable  *table;

	if (keyed->key == NULL)
		return;
	call_next_command(call);
	table = call_open(call, TABLE_IDEMPOTENCY);
	row_begin_update(call, table, &keyed->tid);
	row_set(table, column, UUIDPGetDatum(id));
	row_update(call, table);
}

/*
 * Make a claimed key remember another reservation than the one that was to be
 * made: it turned out that there is one already.
 */
void
key_correct_reservation(Call *call, KeyedCall *keyed,
						const pg_uuid_t *reservation_id)
{
	keyed->reservation_id = *reservation_id;
	correct_id(call, keyed, IDEMPOTENCY_RESERVATION_ID, reservation_id);
}

/*
 * Make a claimed key remember another order than was thought: somebody else
 * made it first.
 */
void
key_correct_order(Call *call, KeyedCall *keyed, const pg_uuid_t *order_id)
{
	if (memcmp(&keyed->order_id, order_id, sizeof(pg_uuid_t)) == 0)
		return;
	keyed->order_id = *order_id;
	correct_id(call, keyed, IDEMPOTENCY_ORDER_ID, order_id);
}

/* Give a claimed key back: the call came to nothing and may be repeated. */
void
key_withdraw(Call *call, KeyedCall *keyed)
{
	if (keyed->key == NULL)
		return;
	call_next_command(call);
	row_delete(call, call_open(call, TABLE_IDEMPOTENCY), &keyed->tid);
}
