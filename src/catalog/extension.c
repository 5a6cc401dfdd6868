/*
 * extension.c
 *		The extension as it is in this database: its version, its tables and
 *		their owner, and whether this library can work with them.
 *
 * The library and the tables may be of different versions.  What must never
 * happen is that one writes what the other does not understand:
 *
 * - An extension newer than this library is refused altogether, whatever its
 *   tables look like: what an earlier version does to them may not be all
 *   that they need.  So it is after ALTER EXTENSION UPDATE in a session that
 *   has loaded the library before, and after a downgrade of the package.
 * - An older one is served where its tables have what this library reads, and
 *   refused where they lack it.  That is how a server is until somebody gets
 *   round to ALTER EXTENSION UPDATE.  Columns are known by number, so upgrades
 *   add them at the end, in the order in which the install script has them.
 * - When the version changes under a session, it has to notice.  pg_extension
 *   has no invalidations of its own, so each upgrade script locks inv_stock,
 *   with which every call begins, and changes its entry in pg_class.
 *
 * Nothing here locks a table or remembers anything; catalog.c does.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/extension.h"
#include "catalog/version.h"

/* The entry in pg_extension. */
typedef struct Extension
{
	Oid			oid;
	Oid			schema;
	char	   *version;
} Extension;

/*
 * Read the entry.  PostgreSQL exports a function for the schema only from
 * version 16 on, and has none for the version.  False if the extension is not
 * in this database.
 */
static bool
read_extension(Extension *extension)
{
	Relation	pg_extension;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		found;

	extension->oid = get_extension_oid(EXTENSION_NAME, true);
	if (!OidIsValid(extension->oid))
		return false;

	pg_extension = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension->oid));
	scan = systable_beginscan(pg_extension, ExtensionOidIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(pg_extension),
										 &isnull);

		extension->schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		extension->version = isnull ? pstrdup("") : TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(pg_extension, AccessShareLock);

	return found;
}

/*
 * What to say of a relation that is not there, or not as this library needs it,
 * in an extension of that version; "relation" NULL: what to say of the version
 * alone.
 */
static Misfit
describe_misfit(const char *version, const char *relation)
{
	Misfit		misfit;

	if (version_is_newer(version, library_version()))
	{
		misfit.message = psprintf("extension \"%s\" is of version %s, but the library in this session of version %s",
								  EXTENSION_NAME, version, library_version());
		misfit.hint = psprintf("Connect again. Where the library is preloaded, restart the server, with version %s installed.",
							   version);
	}
	else if (version_is_newer(library_version(), version))
	{
		misfit.message = psprintf("relation \"%s\" of extension \"%s\" is of version %s, which the library, of version %s, cannot use",
								  relation, EXTENSION_NAME, version,
								  library_version());
		misfit.hint = psprintf("Run ALTER EXTENSION %s UPDATE.",
							   EXTENSION_NAME);
	}
	else
	{
		misfit.message = psprintf("relation \"%s\" of extension \"%s\" is missing, or lacks columns",
								  relation, EXTENSION_NAME);
		misfit.hint = pstrdup("Somebody may be dropping the extension at this moment; if not, restore the relation from a backup, or drop and create the extension.");
	}
	return misfit;
}

pg_noreturn static void report_misfit(const Misfit *misfit);

static void
report_misfit(const Misfit *misfit)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_internal("%s", misfit->message),
			 errhint("%s", misfit->hint)));
}

/* Raise 55000 for a relation that is not there, or not as it has to be. */
void
extension_report_unusable(const char *relation)
{
	Extension	extension;
	Misfit		misfit;

	misfit = describe_misfit(read_extension(&extension) ? extension.version :
							 library_version(), relation);
	report_misfit(&misfit);
}

/* Is there a table of the extension's, with the columns that we read? */
static bool
find_table(TableId table, const Extension *extension, Oid *relid)
{
	*relid = get_relname_relid(known_tables[table].name, extension->schema);
	return OidIsValid(*relid) &&
		getExtensionOfObject(RelationRelationId, *relid) == extension->oid &&
		SearchSysCacheExists2(ATTNUM, ObjectIdGetDatum(*relid),
							  Int16GetDatum(known_table_needs(table)));
}

/*
 * Look the tables up in an extension.  False if this library cannot work with
 * them; with any of them, for a hold that is made and cannot be confirmed helps
 * nobody.
 */
static bool
find_tables(const Extension *extension, Oid *tables, Misfit *misfit)
{
	if (version_is_newer(extension->version, library_version()))
	{
		*misfit = describe_misfit(extension->version, NULL);
		return false;
	}
	for (int i = 0; i < NUM_TABLES; i++)
	{
		if (find_table(i, extension, &tables[i]))
			continue;
		tables[i] = InvalidOid;
		if (known_tables[i].since == NULL ||
			!version_is_newer(known_tables[i].since, extension->version))
		{
			*misfit = describe_misfit(extension->version,
									  known_tables[i].name);
			return false;
		}
	}
	return true;
}

/*
 * Which schema the extension is in, and the OIDs of its NUM_TABLES tables.
 * Raises 55000 if it is not in this database, or this library cannot work with
 * it.
 */
void
extension_find_tables(Oid *schema, Oid *tables)
{
	Extension	extension;
	Misfit		misfit;

	if (!read_extension(&extension))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is not installed in this database",
						EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s.", EXTENSION_NAME)));
	if (!find_tables(&extension, tables, &misfit))
		report_misfit(&misfit);
	*schema = extension.schema;
	pfree(extension.version);
}

/*
 * Can this library work with the extension as it is in this database?  If not,
 * says why.  The caller has seen that the extension is there.
 */
bool
extension_fits(Misfit *misfit)
{
	Extension	extension;
	Oid			tables[NUM_TABLES];

	return !read_extension(&extension) ||
		find_tables(&extension, tables, misfit);
}

/* Is the extension in this database of an earlier version than the library? */
bool
extension_is_older(void)
{
	Extension	extension;

	return read_extension(&extension) &&
		version_is_newer(library_version(), extension.version);
}

/* The owner of a relation; InvalidOid if it is just being dropped. */
static Oid
find_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * Who owns the extension's tables, and where they are; false if the extension
 * is not in this database.  What it says may have changed when it returns.
 * Raises 55000 if the extension is there without its tables.
 */
bool
extension_find_owner(Oid *owner, Oid *schema)
{
	const char *table = known_tables[TABLE_STOCK].name;
	Extension	extension;

	if (!read_extension(&extension))
		return false;
	*schema = extension.schema;
	*owner = find_owner(get_relname_relid(table, extension.schema));
	if (!OidIsValid(*owner))
		extension_report_unusable(table);
	return true;
}

/*
 * Calls write to all tables as the owner of one of them, and what triggers do
 * is up to the owner of theirs.  He must have nothing to gain by that: be the
 * same role, or a superuser.  Raises 55000 if the owner of a table is neither
 * that of inv_stock, here "stock", nor a superuser.  InvalidOid: no table, no
 * owner.
 */
void
extension_check_owner(Oid relid, Oid stock)
{
	Oid			owner = find_owner(relid);
	Oid			expected = find_owner(stock);

	if (owner == expected || !OidIsValid(owner) || superuser_arg(owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("tables of extension \"%s\" belong to different roles",
					EXTENSION_NAME),
			 errdetail("Table \"%s\" belongs to role \"%s\", table \"%s\" to role \"%s\".",
					   get_rel_name(relid), GetUserNameFromId(owner, true),
					   get_rel_name(stock), GetUserNameFromId(expected, true)),
			 errhint("Make one role the owner of all of them.")));
}
