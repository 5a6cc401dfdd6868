/*
 * driver.c
 *		libFuzzer in a backend.
 *
 * The library is compiled with its coverage counted, and together with
 * libFuzzer, which changes inputs and keeps those that get to code where no
 * input has been before.  All of it runs in a server in single-user mode: what
 * parses input is reached through SQL, as callers reach it, and nothing has to
 * be imitated.
 *
 * What must never happen, whatever the input: an access to memory that is not
 * ours and undefined behaviour, which the sanitizers see; an internal error
 * (class XX), which says that we did not foresee something; units that are not
 * where the books say, which the target looks for.
 */
#include "fuzz.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

PG_FUNCTION_INFO_V1(inv_fuzz);

extern Datum inv_fuzz(PG_FUNCTION_ARGS);
extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*one) (const uint8 *, size_t));

/* Is this an error that no input may raise? */
static bool
is_internal(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR;
}

static int
run_one(const uint8 *data, size_t size)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "fuzz",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	ResourceOwner old_owner = CurrentResourceOwner;
	volatile bool useful = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		SPI_connect();
		useful = fuzz_target(data, size);
		SPI_finish();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		useful = true;
		if (is_internal(error))
		{
			fprintf(stderr, "internal error: %s (%s:%d)\n", error->message,
					error->filename, error->lineno);
			abort();
		}
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(old_context);
	CurrentResourceOwner = old_owner;
	MemoryContextDelete(context);
	return useful ? 0 : -1;
}

/* Give libFuzzer these arguments; does not return. */
Datum
inv_fuzz(PG_FUNCTION_ARGS)
{
	char	   *words = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	  **argv = palloc(100 * sizeof(char *));
	int			argc = 0;

	for (char *word = strtok(words, " "); word != NULL && argc < 99;
		 word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	LLVMFuzzerRunDriver(&argc, &argv, run_one);
	PG_RETURN_VOID();
}
