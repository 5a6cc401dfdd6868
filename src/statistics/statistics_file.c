/*
 * statistics_file.c
 *		The file in which counters outlast a restart of the server.
 *
 * A header, an entry for each database, and a checksum of both.  Anybody may
 * have been at it while the server was down, and another version of this
 * library may have written it, so it is believed only if all of it is right;
 * and it is read once: who starts without having been shut down must not find
 * what an earlier stop had left.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"

#include "statistics/statistics_file.h"

#define FILE_NAME PGSTAT_STAT_PERMANENT_DIRECTORY "/inventory_reservation.stat"
#define NEW_FILE_NAME FILE_NAME ".new"

#define FILE_MAGIC 0x49765374

/* Counts the layouts of what follows and the meanings of its numbers. */
#define FILE_VERSION 1

typedef struct FileHeader
{
	uint32		magic;
	uint32		version;
	uint32		entry_size;
	uint32		count;
} FileHeader;

/* A file's size, with the checksum at its end. */
static Size
file_size(uint32 count)
{
	return sizeof(FileHeader) + count * sizeof(SavedStatistics) +
		sizeof(pg_crc32c);
}

/* The checksum of a file without its last bytes, where it belongs. */
static pg_crc32c
checksum(const char *content, Size size)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, content, size - sizeof(pg_crc32c));
	FIN_CRC32C(crc);
	return crc;
}

/*
 * Write what "count" databases have counted, all of it or nothing.  What goes
 * wrong is told in the log; raises nothing, for the server is shutting down.
 */
void
statistics_file_write(const SavedStatistics *saved, int count)
{
	FileHeader	header = {FILE_MAGIC, FILE_VERSION, sizeof(SavedStatistics), count};
	Size		size = file_size(count);
	char	   *content = palloc_extended(size, MCXT_ALLOC_NO_OOM);
	pg_crc32c	crc;
	FILE	   *file;
	bool		written;

	if (content == NULL)
		return;
	memcpy(content, &header, sizeof(FileHeader));
	memcpy(content + sizeof(FileHeader), saved, count * sizeof(SavedStatistics));
	crc = checksum(content, size);
	memcpy(content + size - sizeof(pg_crc32c), &crc, sizeof(pg_crc32c));

	file = AllocateFile(NEW_FILE_NAME, PG_BINARY_W);
	written = file != NULL && fwrite(content, size, 1, file) == 1;
	if (file != NULL && FreeFile(file) != 0)
		written = false;
	if (!written)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", NEW_FILE_NAME)));
		(void) unlink(NEW_FILE_NAME);
	}
	else
		(void) durable_rename(NEW_FILE_NAME, FILE_NAME, LOG);
	pfree(content);
}

/* Is this the content of a file as statistics_file_write() makes it? */
bool
statistics_file_is_valid(const char *content, Size size)
{
	FileHeader	header;
	pg_crc32c	crc;

	if (size < file_size(0) || size > file_size(MAX_DATABASES))
		return false;
	memcpy(&header, content, sizeof(FileHeader));
	memcpy(&crc, content + size - sizeof(pg_crc32c), sizeof(pg_crc32c));
	return header.magic == FILE_MAGIC && header.version == FILE_VERSION &&
		header.entry_size == sizeof(SavedStatistics) &&
		header.count <= MAX_DATABASES &&
		size == file_size(header.count) &&
		EQ_CRC32C(crc, checksum(content, size));
}

/* The content of the file, if it is valid; else NULL. */
static char *
read_content(FILE * file)
{
	struct stat state;
	char	   *content;

	if (fstat(fileno(file), &state) != 0 ||
		state.st_size < file_size(0) ||
		state.st_size > file_size(MAX_DATABASES))
		return NULL;
	content = palloc(state.st_size);
	if (fread(content, state.st_size, 1, file) != 1)
		return NULL;
	return statistics_file_is_valid(content, state.st_size) ? content : NULL;
}

/*
 * Read the file and remove it.  Returns for how many databases it has counters,
 * in *saved, to be freed by the caller if there are any.  What is wrong with
 * the file is told in the log.
 */
int
statistics_file_take(SavedStatistics **saved)
{
	FILE	   *file = AllocateFile(FILE_NAME, PG_BINARY_R);
	FileHeader	header = {0};
	char	   *content;

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", FILE_NAME)));
		return 0;
	}
	content = read_content(file);
	if (content == NULL)
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("ignoring invalid file \"%s\"", FILE_NAME),
				 errdetail("The counters of inv_stat begin at zero.")));
	else
	{
		memcpy(&header, content, sizeof(FileHeader));
		if (header.count > 0)
		{
			*saved = palloc(header.count * sizeof(SavedStatistics));
			memcpy(*saved, content + sizeof(FileHeader),
				   header.count * sizeof(SavedStatistics));
		}
		pfree(content);
	}
	(void) FreeFile(file);
	(void) unlink(FILE_NAME);
	return (int) header.count;
}
