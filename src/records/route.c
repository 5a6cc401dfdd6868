/*
 * route.c
 *		Route buckets, and the ids that carry them.
 *
 * A SKU belongs to one of 4096 buckets, for ever: the bucket is in every id
 * that was ever given out, so the function below may never change.  It is
 * therefore spelt out here, over the UTF-8 bytes of the SKU, and does not use
 * a hash of the server, which may change from version to version.
 *
 * Ids are UUIDv7 (RFC 9562): 48 bits of milliseconds since 1970, version,
 * 12 bits "rand_a", variant, 62 random bits.  Our rand_a is the bucket of the
 * first line's SKU, so that a call which has only an id can be routed too.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "records/route.h"

#define FNV_OFFSET_BASIS UINT64CONST(0xcbf29ce484222325)
#define FNV_PRIME UINT64CONST(0x100000001b3)
#define BUCKET_BITS 12
#define BUCKET_MASK ((1 << BUCKET_BITS) - 1)

/* Microseconds between 1970 and PostgreSQL's epoch, 2000. */
#define EPOCH_OFFSET \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/*
 * Bucket of a SKU given in the server's encoding, 0 to 4095: FNV-1a, 64 bits
 * (Fowler, Noll, Vo), of its UTF-8 bytes, folded to 12 bits by exclusive or.
 */
int
route_of_sku(const char *sku)
{
	const char *utf8 = pg_server_to_any(sku, (int) strlen(sku), PG_UTF8);
	uint64		hash = FNV_OFFSET_BASIS;
	uint64		folded = 0;

	for (const unsigned char *byte = (const unsigned char *) utf8; *byte; byte++)
		hash = (hash ^ *byte) * FNV_PRIME;
	for (; hash != 0; hash >>= BUCKET_BITS)
		folded ^= hash;
	return (int) (folded & BUCKET_MASK);
}

/* Bucket that an id carries, 0 to 4095. */
int
route_of_id(const pg_uuid_t *id)
{
	return ((id->data[6] << 8) | id->data[7]) & BUCKET_MASK;
}

/*
 * The 8 random bytes of an id.  They are asked for many at a time: asking costs
 * about as much as writing a row.  The server's processes are forked before
 * any of them gets here, so no two share a supply.
 */
static void
random_bytes(unsigned char *bytes)
{
	static unsigned char supply[512];
	static size_t left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(supply, sizeof(supply)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = sizeof(supply);
	}
	left -= 8;
	memcpy(bytes, &supply[left], 8);
}

/* Make an id that carries a bucket. */
void
route_make_id(pg_uuid_t *id, int bucket, TimestampTz now)
{
	uint64		milliseconds = (uint64) (now + EPOCH_OFFSET) / 1000;

	Assert(bucket >= 0 && bucket <= BUCKET_MASK);
	random_bytes(&id->data[8]);
	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (milliseconds >> (8 * (5 - i)));
	id->data[6] = 0x70 | (bucket >> 8);
	id->data[7] = bucket & 0xff;
	id->data[8] = 0x80 | (id->data[8] & 0x3f);
}
