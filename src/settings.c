/*
 * settings.c
 *		Settings of the extension.
 *
 * A setting must never let a buyer past the shop.  Whatever limits a caller
 * is therefore SIGHUP; default_ttl alone belongs to the session, and max_ttl
 * caps it.  Without shared_preload_libraries this library is loaded by the
 * first call of a session: a value that a session has "set" before that is
 * only a placeholder, and PostgreSQL drops it, with a warning, when the real
 * setting turns out not to be the session's to change.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "settings.h"

int			setting_default_ttl = 300;
int			setting_max_ttl = 86400;
int			setting_idempotency_retention = 86400;
int			setting_expire_batch_size = 1000;
int			setting_default_stripes = 1;
int			setting_auto_stripes = 1;

/*
 * Define the settings and reserve their prefix, so that a misspelt one is
 * refused.  Called once, from _PG_init.
 */
void
settings_define(void)
{
	DefineCustomIntVariable("inventory_reservation.default_ttl",
							"How long a hold lives when neither the caller nor the item says.",
							"Capped by inventory_reservation.max_ttl.",
							&setting_default_ttl,
							300, 1, INT_MAX,
							PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.max_ttl",
							"The longest that a hold may live, extensions included.",
							NULL,
							&setting_max_ttl,
							86400, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.idempotency_retention",
							"How long idempotency keys are remembered at least.",
							NULL,
							&setting_idempotency_retention,
							86400, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.expire_batch_size",
							"How many dead holds a sweep expires in one transaction.",
							"Also the number of rows that a batch of inv_purge() deletes.",
							&setting_expire_batch_size,
							1000, 1, MAX_EXPIRE_BATCH,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.default_stripes",
							"Over how many stripes the stock of a SKU is spread when it first comes in.",
							"inv_set_stripes() changes it afterwards.",
							&setting_default_stripes,
							1, 1, MAX_STRIPES,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.auto_stripes",
							"Over how many stripes the stock of a SKU is spread when buyers queue for it; 1 never does.",
							"inv_maintain() takes the stripes away again when the SKU has been calm for some minutes.",
							&setting_auto_stripes,
							1, 1, MAX_STRIPES,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	MarkGUCPrefixReserved("inventory_reservation");
}
