/*
 * foreign_code.c
 *		Does writing to a table of ours run code that is not ours?
 *
 * What writing needs is kept from call to call only where it does not (see
 * table/writer.c), so in doubt the answer is yes: whatever is not as the install
 * script makes it counts as foreign.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "commands/trigger.h"
#include "nodes/nodeFuncs.h"
#include "utils/rel.h"

#include "catalog/foreign_code.h"

/* A function that did not come with PostgreSQL. */
static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/* Does an expression call such a function? */
static bool
calls_foreign_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, is_foreign_function, context) ||
		expression_tree_walker(node, calls_foreign_function, context);
}

/* Does maintaining an index run code of the shop's? */
static bool
index_has_foreign_code(Oid index_id)
{
	Relation	index = index_open(index_id, AccessShareLock);
	bool		foreign;

	/* what the install script makes are B-trees on columns */
	foreign = index->rd_rel->relam != BTREE_AM_OID ||
		RelationGetIndexExpressions(index) != NIL ||
		calls_foreign_function((Node *) RelationGetIndexPredicate(index), NULL);
	for (AttrNumber i = 1; i <= IndexRelationGetNumberOfKeyAttributes(index); i++)
		foreign = foreign ||
			is_foreign_function(index_getprocid(index, i, BTORDER_PROC), NULL);
	index_close(index, AccessShareLock);
	return foreign;
}

/*
 * Does writing to this table run code that the install script did not put
 * there: a trigger, a check, an index or a column of the shop's own?  Who has
 * removed some of ours, and put as many of his own in their place, is found
 * out by the functions they call.
 */
bool
has_foreign_code(TableId table, Relation relation)
{
	const KnownTable *known = &known_tables[table];
	TupleDesc	tupdesc = RelationGetDescr(relation);
	TupleConstr *constraints = tupdesc->constr;
	int			checks = constraints == NULL ? 0 : constraints->num_check;
	List	   *indexes = RelationGetIndexList(relation);
	bool		foreign = relation->trigdesc != NULL ||
		list_length(indexes) != known->indexes || checks != known->checks;

	for (int i = known_columns(table, tupdesc); i < tupdesc->natts && !foreign; i++)
		foreign = !TupleDescAttr(tupdesc, i)->attisdropped;
	for (int i = 0; i < checks && !foreign; i++)
		foreign = calls_foreign_function(stringToNode(constraints->check[i].ccbin),
										 NULL);
	for (int i = 0; i < list_length(indexes) && !foreign; i++)
		foreign = index_has_foreign_code(list_nth_oid(indexes, i));

	list_free(indexes);
	return foreign;
}
