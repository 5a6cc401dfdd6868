/*
 * grant_functions.c
 *		What a role needs, granted at once: inv_grant().
 *
 * EXECUTE on our functions is the privilege, so a profile is a list of
 * functions.  The list below is data; a function that is not in it (the ones
 * that grant, and those that make a job in the owner's name) belongs to the
 * owner alone.  Nobody gets more on a table than SELECT: with TRIGGER, a role
 * could run code of its own as the owner of the table.
 *
 * It runs as the caller, and PostgreSQL decides whether he may grant.  No SQL
 * text is made: the statement is built as the parser would build it, from
 * names that are looked up in the extension.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog/catalog.h"
#include "catalog/extension.h"
#include "functions/arguments.h"

PG_FUNCTION_INFO_V1(inv_grant);

/* Profiles are bits, because one object may belong to several. */
#define BUYER		0x01
#define OPERATOR	0x02
#define AUDITOR		0x04
#define SELLS		(BUYER | OPERATOR)
#define READS		(BUYER | OPERATOR | AUDITOR)

typedef struct NamedProfile
{
	const char *name;
	int			profile;
} NamedProfile;

typedef struct Grantable
{
	const char *name;
	int			profiles;		/* those that get it */
} Grantable;

static const NamedProfile profiles[] = {
	{"buyer", BUYER},
	{"operator", OPERATOR},
	{"auditor", AUDITOR},
};

/* Functions and procedures, to be executed. */
static const Grantable routines[] = {
	{"inv_reserve", SELLS},
	{"inv_try_reserve", SELLS},
	{"inv_reserve_cart", SELLS},
	{"inv_try_reserve_cart", SELLS},
	{"inv_reserve_lines", SELLS},
	{"inv_reserve_batch", SELLS},
	{"inv_confirm", SELLS},
	{"inv_cancel", SELLS},
	{"inv_release", SELLS},
	{"inv_extend", SELLS},
	{"inv_join_waitlist", SELLS},
	{"inv_leave_waitlist", SELLS},

	{"inv_available", READS},
	{"inv_reservation_status", READS},
	{"inv_order_status", READS},
	{"inv_waitlist_status", READS},
	{"inv_route_sku", READS},
	{"inv_route_id", READS},
	{"inv_version", READS},
	{"inv_library_version", READS},
	{"inv_check", OPERATOR | AUDITOR},
	{"inv_events", OPERATOR | AUDITOR},
	{"inv_newest_event", OPERATOR | AUDITOR},
	{"inv_stat_counters", OPERATOR | AUDITOR},

	{"inv_cancel_order", OPERATOR},
	{"inv_return", OPERATOR},
	{"inv_complete_order", OPERATOR},
	{"inv_record_payment", OPERATOR},
	{"inv_add_item", OPERATOR},
	{"inv_set_item", OPERATOR},
	{"inv_rename_item", OPERATOR},
	{"inv_add_location", OPERATOR},
	{"inv_receive", OPERATOR},
	{"inv_adjust", OPERATOR},
	{"inv_set_stock", OPERATOR},
	{"inv_load_stock", OPERATOR},
	{"inv_set_stripes", OPERATOR},
	{"inv_set_policy", OPERATOR},
	{"inv_transfer", OPERATOR},
	{"inv_expire", OPERATOR},
	{"inv_maintain", OPERATOR},
	{"inv_purge", OPERATOR},
	{"inv_reconcile", OPERATOR},
	{"inv_stat_reset", OPERATOR},
};

/* Tables and views, to be read. */
static const Grantable relations[] = {
	{"inv_availability", READS},
	{"inv_total_availability", READS},
	{"inv_reservation_lines", OPERATOR | AUDITOR},
	{"inv_active_holds", OPERATOR | AUDITOR},
	{"inv_waiting", OPERATOR | AUDITOR},
	{"inv_stat", OPERATOR | AUDITOR},
	{"inv_ledger_by_hour", OPERATOR | AUDITOR},
	{"inv_hold_conversion", OPERATOR | AUDITOR},
	{"inv_sell_through", OPERATOR | AUDITOR},
	{"inv_sold_out", OPERATOR | AUDITOR},

	{"inv_item", AUDITOR},
	{"inv_location", AUDITOR},
	{"inv_stock", AUDITOR},
	{"inv_reservation", AUDITOR},
	{"inv_backorder", AUDITOR},
	{"inv_idempotency", AUDITOR},
	{"inv_order", AUDITOR},
	{"inv_ledger", AUDITOR},
	{"inv_ledger_epoch", AUDITOR},
	{"inv_ledger_hour", AUDITOR},
	{"inv_opening_balance", AUDITOR},
	{"inv_stock_state", AUDITOR},
	{"inv_ledger_balance", AUDITOR},
	{"inv_progress", AUDITOR},
	{"inv_waitlist", AUDITOR},
	{"inv_customer_line", AUDITOR},
	{"inv_reconciliation", AUDITOR},
};

/* The profile of that name; raises 22023 if there is none. */
static int
find_profile(const char *name)
{
	for (int i = 0; i < lengthof(profiles); i++)
	{
		if (strcmp(profiles[i].name, name) == 0)
			return profiles[i].profile;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown profile \"%s\"", name),
			 errhint("The profiles are buyer, operator and auditor.")));
	return 0;					/* not reached */
}

/*
 * The library knows a function or table that the database lacks.  An earlier
 * version is granted what it has; otherwise 55000.
 */
static void
report_missing(const char *name)
{
	if (extension_is_older())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" of extension \"%s\" is missing", name,
					EXTENSION_NAME),
			 errhint("Drop and create the extension, or make it as the install script does.")));
}

/*
 * One of the extension's functions, by name and argument types: somebody may
 * have put another function of that name beside it.  NULL: none.
 */
static ObjectWithArgs *
find_routine(const char *name, Oid extension, Oid schema)
{
	ObjectWithArgs *routine = NULL;
	CatCList   *candidates = SearchSysCacheList1(PROCNAMEARGSNSP,
												 CStringGetDatum(name));

	for (int i = 0; i < candidates->n_members && routine == NULL; i++)
	{
		Form_pg_proc candidate = (Form_pg_proc)
			GETSTRUCT(&candidates->members[i]->tuple);

		if (candidate->pronamespace != schema ||
			getExtensionOfObject(ProcedureRelationId,
								 candidate->oid) != extension)
			continue;
		routine = makeNode(ObjectWithArgs);
		routine->objname = list_make2(makeString(get_namespace_name(schema)),
									  makeString(pstrdup(name)));
		for (int j = 0; j < candidate->pronargs; j++)
			routine->objargs = lappend(routine->objargs,
									   makeTypeNameFromOid(candidate->proargtypes.values[j], -1));
	}
	ReleaseSysCacheList(candidates);
	if (routine == NULL)
		report_missing(name);
	return routine;
}

/* One of the extension's tables or views.  NULL: none. */
static RangeVar *
find_relation(const char *name, Oid extension, Oid schema)
{
	Oid			relation = get_relname_relid(name, schema);

	if (!OidIsValid(relation) ||
		getExtensionOfObject(RelationRelationId, relation) != extension)
	{
		report_missing(name);
		return NULL;
	}
	return makeRangeVar(get_namespace_name(schema), pstrdup(name), -1);
}

/* GRANT privilege ON objects TO role, as the current user. */
static void
grant(const char *privilege, ObjectType kind, List *objects, const char *role)
{
	GrantStmt  *statement;
	AccessPriv *access;
	RoleSpec   *grantee;
	PlannedStmt *command;

	if (objects == NIL)
		return;

	access = makeNode(AccessPriv);
	access->priv_name = pstrdup(privilege);

	grantee = makeNode(RoleSpec);
	grantee->roletype = ROLESPEC_CSTRING;
	grantee->rolename = pstrdup(role);
	grantee->location = -1;

	statement = makeNode(GrantStmt);
	statement->is_grant = true;
	statement->targtype = ACL_TARGET_OBJECT;
	statement->objtype = kind;
	statement->objects = objects;
	statement->privileges = list_make1(access);
	statement->grantees = list_make1(grantee);
	statement->behavior = DROP_RESTRICT;

	/* a command like any other to event triggers and to who audits */
	command = makeNode(PlannedStmt);
	command->commandType = CMD_UTILITY;
	command->utilityStmt = (Node *) statement;
	command->stmt_location = -1;
	ProcessUtility(command, "inv_grant()", false, PROCESS_UTILITY_QUERY,
				   NULL, NULL, None_Receiver, NULL);
}

/* Has the role this privilege on the schema? */
static bool
has_on_schema(Oid role, Oid schema, const char *privilege)
{
	return DatumGetBool(DirectFunctionCall3(has_schema_privilege_id_id,
											ObjectIdGetDatum(role),
											ObjectIdGetDatum(schema),
											CStringGetTextDatum(privilege)));
}

/*
 * inv_grant(role, profile)
 *
 * Grants what the profile lists, and USAGE on the schema.  Raises 42704 for
 * an unknown role, 22023 for an unknown profile, 42501 if the caller may not
 * grant.
 */
Datum
inv_grant(PG_FUNCTION_ARGS)
{
	const char *role;
	int			profile;
	Oid			role_id;
	Oid			extension;
	Oid			schema;
	List	   *granted_routines = NIL;
	List	   *granted_relations = NIL;

	PreventCommandDuringRecovery("inv_grant()");
	PreventCommandIfReadOnly("inv_grant()");
	PreventCommandIfParallelMode("inv_grant()");

	if (PG_ARGISNULL(0))
		report_null_argument("role");
	if (PG_ARGISNULL(1))
		report_null_argument("profile");
	role = NameStr(*PG_GETARG_NAME(0));
	profile = find_profile(argument_optional_text(fcinfo, 1));
	role_id = get_role_oid(role, false);

	/*
	 * Two sessions that change the privileges of one object at the same time
	 * fail with "tuple concurrently updated": one after the other.
	 */
	schema = catalog_schema();
	extension = get_extension_oid(EXTENSION_NAME, false);
	LockDatabaseObject(ExtensionRelationId, extension, 0,
					   ShareUpdateExclusiveLock);

	for (int i = 0; i < lengthof(routines); i++)
	{
		ObjectWithArgs *routine = NULL;

		if (routines[i].profiles & profile)
			routine = find_routine(routines[i].name, extension, schema);
		if (routine != NULL)
			granted_routines = lappend(granted_routines, routine);
	}
	for (int i = 0; i < lengthof(relations); i++)
	{
		RangeVar   *relation = NULL;

		if (relations[i].profiles & profile)
			relation = find_relation(relations[i].name, extension, schema);
		if (relation != NULL)
			granted_relations = lappend(granted_relations, relation);
	}

	/* the schema may be somebody else's, and open to everybody */
	if (has_on_schema(GetUserId(), schema, "USAGE WITH GRANT OPTION") ||
		!has_on_schema(role_id, schema, "USAGE"))
		grant("usage", OBJECT_SCHEMA,
			  list_make1(makeString(get_namespace_name(schema))), role);
	grant("execute", OBJECT_ROUTINE, granted_routines, role);
	grant("select", OBJECT_TABLE, granted_relations, role);
	PG_RETURN_VOID();
}
