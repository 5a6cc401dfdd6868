/*
 * targets.c
 *		Whatever parses input in C, and what must be true of it.
 *
 * The first byte of an input chooses, the rest are texts that end with a zero
 * byte: values for the arguments of a statement.  PostgreSQL's own input
 * functions have the first word on them, as for any caller.
 */
#include "fuzz.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#include "records/ledger.h"
#include "statistics/statistics_file.h"

#define MAX_VALUES 5

static const char *const statements[] = {
	"SELECT count(*) FROM inv_events($1, 10)",
	"SELECT * FROM inv_reserve_lines($1::jsonb, $2, $3, NULL, NULL, NULL, $4::jsonb)",
	"SELECT * FROM inv_reserve_cart($1::text[], $2::bigint[], $3, $4, $5::interval)",
	"SELECT * FROM inv_try_reserve_cart($1::text[], $2::bigint[], $3, $4, $5::interval)",
	"SELECT * FROM inv_reserve($1, $2::bigint, $3, $4, $5::interval)",
	"SELECT * FROM inv_reserve_batch($1::text[], $2::bigint[], $3::text[], $4::text[], $5::interval)",
	"SELECT inv_route_id($1::uuid), inv_route_sku($2)",
	"SELECT * FROM inv_load_stock($1::text[], $2::bigint[], $3, $4)",
	"SELECT inv_add_item($1, $2, $3::numeric, $4, hold_ttl => $5::interval)",
	"SELECT inv_set_item('A', $1, $2::numeric, $3, attributes => $4::jsonb, hold_ttl => $5::interval)",
	"SELECT inv_set_stock('A', $1::bigint, $2, $3::bigint, $4, false, $5::boolean)",
	"SELECT inv_confirm(id, $1, $2, $3) FROM hold_of_a",
	"SELECT inv_release(id, $1, $2::bigint, $3) FROM hold_of_a",
	"SELECT inv_grant($1, $2)",
};

/* The texts of an input, and the same as values for SPI. */
typedef struct Values
{
	Datum		values[MAX_VALUES];
	char		nulls[MAX_VALUES];
	char	   *texts[MAX_VALUES];
} Values;

/* Read texts; false if one of them is none. */
static bool
read_values(Values *read, const uint8 *data, size_t size)
{
	for (int i = 0; i < MAX_VALUES; i++)
	{
		size_t		length = 0;

		read->values[i] = (Datum) 0;
		read->nulls[i] = 'n';
		read->texts[i] = NULL;
		if (size == 0)
			continue;
		while (length < size && data[length] != '\0')
			length++;
		if (!pg_verifymbstr((const char *) data, (int) length, true))
			return false;
		read->texts[i] = pnstrdup((const char *) data, length);
		read->values[i] = CStringGetTextDatum(read->texts[i]);
		read->nulls[i] = ' ';
		data += Min(length + 1, size);
		size -= Min(length + 1, size);
	}
	return true;
}

static void
must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "not true: %s\n", what);
	abort();
}

static void
run(const char *statement, const Values *read)
{
	static Oid	types[MAX_VALUES] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};

	(void) SPI_execute_with_args(statement, MAX_VALUES, types,
								 (Datum *) read->values, read->nulls, false, 0);
}

/* Is the answer to a question that has one word "t"? */
static bool
is_true(const char *question, const Values *read)
{
	char	   *answer;

	run(question, read);
	must(SPI_processed == 1, "one row");
	answer = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	return answer != NULL && strcmp(answer, "t") == 0;
}

/* What is read from a cursor is what the cursor says. */
static void
cursor(const Values *read)
{
	LedgerPlace place;
	LedgerPlace again;
	char	   *text;

	if (read->texts[0] == NULL || !ledger_place_parse(read->texts[0], &place))
		return;
	text = ledger_place_text(&place);
	must(ledger_place_parse(text, &again), "a cursor of ours is one");
	must(ledger_place_compare(&place, &again) == 0, "it is the same place");
	must(place.epoch >= 0 && place.entry_id >= 0, "it is a place");
}

/* Two calls under one key: the second replays if and only if it asks the same. */
static void
two_calls(const Values *read)
{
	bool		same;
	bool		replayed;

	if (read->texts[0] == NULL || read->texts[1] == NULL)
		return;
	same = is_true("SELECT $1::jsonb = $2::jsonb", read);
	run("SELECT inv_reserve('A', 1, 'twice', metadata => $1::jsonb)", read);
	PG_TRY();
	{
		replayed = is_true("SELECT replayed FROM inv_reserve('A', 1, 'twice',"
						   " metadata => $2::jsonb)", read);
	}
	PG_CATCH();
	{
		must(!same, "a repeat is replayed");
		PG_RE_THROW();
	}
	PG_END_TRY();
	must(replayed && same, "only a repeat is replayed");
}

/*
 * A file of counters.  Nobody guesses a checksum, so it is put right; what
 * passes has to be as long as it says.
 */
static void
counters_file(const uint8 *data, size_t size)
{
	char	   *content = palloc(size);
	uint32		header[4];
	pg_crc32c	crc;

	memcpy(content, data, size);
	if (size > sizeof(header) + sizeof(crc))
	{
		INIT_CRC32C(crc);
		COMP_CRC32C(crc, content, size - sizeof(crc));
		FIN_CRC32C(crc);
		memcpy(content + size - sizeof(crc), &crc, sizeof(crc));
	}
	if (!statistics_file_is_valid(content, size))
		return;
	memcpy(header, content, sizeof(header));
	must(size == sizeof(header) + (size_t) header[2] * header[3] + sizeof(crc),
		 "a file is as long as it says");
}

bool
fuzz_target(const uint8 *data, size_t size)
{
	static int	calls = 0;
	Values		read;
	uint8		choice;

	if (size < 2)
		return false;
	choice = data[0] % (lengthof(statements) + 3);
	data++;
	size--;
	if (choice == lengthof(statements))
	{
		counters_file(data, size);
		return true;
	}
	if (!read_values(&read, data, size))
		return false;
	if (choice == lengthof(statements) + 1)
		cursor(&read);
	else if (choice == lengthof(statements) + 2)
		two_calls(&read);
	else
		run(statements[choice], &read);

	/* it came to an end: then the books are right, whatever it was */
	if (calls++ % 64 == 0)
		must(is_true("SELECT count(*) = 0 FROM inv_check()", &read),
			 "inv_check() finds nothing");
	return true;
}
