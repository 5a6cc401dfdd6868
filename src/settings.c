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

#include "miscadmin.h"
#include "utils/guc.h"

#include "settings.h"

bool		library_is_preloaded = false;
int			setting_default_ttl = 300;
int			setting_max_ttl = 86400;
int			setting_idempotency_retention = 86400;
int			setting_expire_batch_size = 1000;
int			setting_default_stripes = 1;
int			setting_auto_stripes = 1;
bool		setting_worker_enabled = true;
int			setting_naptime = 10;
int			setting_reconcile_interval = 300;
bool		setting_reconcile_repair = false;
bool		setting_notify = false;
bool		setting_uppercase_sku = false;
bool		setting_one_hold_per_customer = false;
bool		setting_waitlist_first = true;
int			setting_reservation_retention = 30 * 86400;
int			setting_ledger_retention = -1;

/*
 * Define the settings and reserve their prefix, so that a misspelt one is
 * refused.  Called once, from _PG_init.
 */
void
settings_define(void)
{
	library_is_preloaded = process_shared_preload_libraries_in_progress;

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
							"Also how many rows a batch of inv_purge() deletes, and inv_reconcile() repairs. The background worker takes 1000 at most.",
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
							"inv_maintain() and the background worker take them away again when the SKU has been calm for some minutes.",
							&setting_auto_stripes,
							1, 1, MAX_STRIPES,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("inventory_reservation.worker_enabled",
							 "Whether background workers look after the stock.",
							 "Needs shared_preload_libraries.",
							 &setting_worker_enabled,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.naptime",
							"How often a background worker visits each database that has the extension.",
							NULL,
							&setting_naptime,
							10, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.reconcile_interval",
							"How long the background worker rests between two reconciliations.",
							NULL,
							&setting_reconcile_interval,
							300, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("inventory_reservation.reconcile_repair",
							 "Whether the background worker repairs what reconciliation finds.",
							 "Off: it only reports.",
							 &setting_reconcile_repair,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("inventory_reservation.notify",
							 "Whether the background worker rings NOTIFY when there are new ledger entries.",
							 "Once a round, on channel inventory_reservation.",
							 &setting_notify,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("inventory_reservation.uppercase_sku",
							 "Whether SKUs are made capital letters wherever they are given.",
							 "Only the letters a to z change.",
							 &setting_uppercase_sku,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("inventory_reservation.one_hold_per_customer",
							 "Whether a customer may have only one live hold of a SKU.",
							 "Asking for the same again answers with that hold.",
							 &setting_one_hold_per_customer,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("inventory_reservation.waitlist_first",
							 "Whether stock is kept for the waitlist while somebody is on it.",
							 "Off: whoever reserves may overtake those who wait.",
							 &setting_waitlist_first,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.reservation_retention",
							"How long cancelled and expired reservations are kept at least; -1 keeps them for ever.",
							"What was sold stays as long as its order.",
							&setting_reservation_retention,
							30 * 86400, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("inventory_reservation.ledger_retention",
							"How long ledger entries are kept at least; -1 keeps them for ever.",
							"Older ones go into opening balances.",
							&setting_ledger_retention,
							-1, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	MarkGUCPrefixReserved("inventory_reservation");
}
