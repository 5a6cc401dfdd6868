/*
 * announce.c
 *		How the launcher hears of a new extension or database, and of an
 *		extension that was updated.
 *
 * An object access hook notes in the session that one is being made: at that
 * moment its row cannot be read yet, so any extension will do.  What counts is
 * the commit, after which a worker can see the extension.  A transaction or
 * savepoint rolled back costs one look in vain at most.
 *
 * A prepared transaction is announced when it is prepared, which is too early,
 * because COMMIT PREPARED comes from any session and says nothing of what is in
 * it.  The rows that it inserts are counted then, and the launcher looks for
 * that (databases.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"

#include "worker/announce.h"
#include "worker/shared.h"

static object_access_hook_type previous_hook = NULL;
static bool extension_made = false; /* or altered, in this transaction */
static bool database_made = false;

static void
note_change(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
			  void *arg)
{
	if (previous_hook)
		previous_hook(access, class_id, object_id, sub_id, arg);

	if (access == OAT_POST_CREATE || access == OAT_POST_ALTER)
		extension_made = extension_made || class_id == ExtensionRelationId;
	if (access == OAT_POST_CREATE)
		database_made = database_made || class_id == DatabaseRelationId;
}

/* What is done here after a commit must not fail. */
static void
transaction_ended(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (extension_made)
				shared_announce(MyDatabaseId);
			else if (database_made)
				shared_announce(InvalidOid);
			/* FALLTHROUGH */
		case XACT_EVENT_ABORT:
			extension_made = false;
			database_made = false;
			break;
		default:
			break;
	}
}

/* Called once, from _PG_init, while preloading. */
void
announce_init(void)
{
	previous_hook = object_access_hook;
	object_access_hook = note_change;
	RegisterXactCallback(transaction_ended, NULL);
}
