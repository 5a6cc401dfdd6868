/*
 * settings.h
 *		Settings of the extension, prefix "inventory_reservation.".
 */
#ifndef INVENTORY_SETTINGS_H
#define INVENTORY_SETTINGS_H

/* How many rows the stock of a SKU at a location can be spread over. */
#define MAX_STRIPES 256

/* The most holds that one sweep takes on: bounds its memory and its locks. */
#define MAX_EXPIRE_BATCH 100000

/* By shared_preload_libraries: there are background workers, if enabled. */
extern bool library_is_preloaded;

extern int	setting_default_ttl;	/* seconds */
extern int	setting_max_ttl;	/* seconds */
extern int	setting_idempotency_retention;	/* seconds */
extern int	setting_expire_batch_size;	/* holds */
extern int	setting_default_stripes;
extern int	setting_auto_stripes;
extern bool setting_worker_enabled;
extern int	setting_naptime;	/* seconds */
extern int	setting_reconcile_interval; /* seconds */
extern bool setting_reconcile_repair;
extern bool setting_notify;
extern bool setting_uppercase_sku;
extern bool setting_one_hold_per_customer;
extern bool setting_waitlist_first;
extern int	setting_reservation_retention;	/* seconds; -1: for ever */
extern int	setting_ledger_retention;	/* seconds; -1: for ever */

extern void settings_define(void);

#endif							/* INVENTORY_SETTINGS_H */
