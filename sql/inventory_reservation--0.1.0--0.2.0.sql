/*
 * inventory_reservation: from 0.1.0 to 0.2.0.
 *
 * What every upgrade script has to see to, besides making what the install
 * script makes (docs/versions.md):
 *
 * - It refuses before it changes anything, if the library in memory is older
 *   than the objects that it makes: a preloaded library stays until the
 *   server is restarted, and all sessions would be refused from then on.
 * - It waits until no transaction is left that has called one of our
 *   functions, and has later calls wait until it is over: each begins by
 *   locking inv_stock.
 * - It changes inv_stock's entry in pg_class, in substance or not.  That is
 *   what has sessions look at the extension's version again.
 */

\echo Use "ALTER EXTENSION inventory_reservation UPDATE TO '0.2.0'" to load this file. \quit

/* ------------------------------------------------------------------------
 * The library first
 * ------------------------------------------------------------------------ */

DO $$
BEGIN
	CREATE FUNCTION inv_library_version()
	RETURNS text
	LANGUAGE C STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'inv_library_version';

	IF pg_catalog.string_to_array(inv_library_version(), '.')::integer[]
		OPERATOR(pg_catalog.<) '{0,2,0}' THEN
		RAISE undefined_function;
	END IF;
EXCEPTION WHEN undefined_function THEN
	RAISE EXCEPTION 'the library of extension "inventory_reservation" in this session is older than version 0.2.0'
		USING ERRCODE = 'object_not_in_prerequisite_state',
			  HINT = 'Connect again. Where the library is preloaded, restart the server first. Nothing has been changed.';
END
$$;
COMMENT ON FUNCTION inv_library_version IS 'Version of the library that this session has loaded.';
REVOKE ALL ON FUNCTION inv_library_version() FROM PUBLIC;

LOCK TABLE inv_stock IN ACCESS EXCLUSIVE MODE;

/* ------------------------------------------------------------------------
 * What is new
 * ------------------------------------------------------------------------ */

CREATE TYPE inv_versions AS (
	library text,
	extension text,
	files text,
	to_do text
);
COMMENT ON TYPE inv_versions IS 'Versions: of the library that this session has loaded, of the extension in this database, and of the files that are installed on the server. to_do: what an upgrade still lacks, NULL when nothing.';

CREATE FUNCTION inv_version()
RETURNS inv_versions
LANGUAGE SQL STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH versions AS (
		SELECT inv_library_version() AS library,
			   installed.extversion AS extension,
			   available.default_version AS files
		  FROM pg_catalog.pg_extension AS installed
		  LEFT JOIN pg_catalog.pg_available_extensions() AS available
			ON available.name = installed.extname
		 WHERE installed.extname = 'inventory_reservation'
	), ordered AS (
		SELECT versions.*,
			   pg_catalog.string_to_array(library, '.')::integer[] AS library_order,
			   pg_catalog.string_to_array(extension, '.')::integer[] AS extension_order,
			   pg_catalog.string_to_array(files::text, '.')::integer[] AS files_order
		  FROM versions
	)
	SELECT library, extension, files::text,
		   CASE
			   WHEN files_order OPERATOR(pg_catalog.>) library_order
			   THEN 'Connect again. Where the library is preloaded, restart the server first.'
			   WHEN extension_order OPERATOR(pg_catalog.>) library_order
			   THEN pg_catalog.concat('Install version ', extension, ' on this server. Where the library is preloaded, restart it.')
			   WHEN extension_order OPERATOR(pg_catalog.<) library_order
			   THEN 'Run ALTER EXTENSION inventory_reservation UPDATE.'
		   END
	  FROM ordered;
END;
COMMENT ON FUNCTION inv_version IS 'Which versions meet in this session and database, and what an upgrade still lacks.';
REVOKE ALL ON FUNCTION inv_version() FROM PUBLIC;

/* ------------------------------------------------------------------------
 * Loads say what they have changed
 * ------------------------------------------------------------------------ */

ALTER TYPE inv_loaded_stock ADD ATTRIBUTE changed boolean;
COMMENT ON TYPE inv_loaded_stock IS 'One row of a bulk load: the stock as it is then. created: the SKU was new; changed: on_hand was another before.';
COMMENT ON FUNCTION inv_load_stock IS 'Sets on_hand of many SKUs at once, adding those that are new; all or nothing. What is as counted is neither locked nor written, so a repeat changes nothing. A row a SKU, in the order given.';

/* ------------------------------------------------------------------------
 * Analytics by hour
 * ------------------------------------------------------------------------ */

CREATE TABLE inv_ledger_hour (
	hour timestamptz NOT NULL,
	epoch integer NOT NULL,
	first_xid xid8 NOT NULL,
	last_xid xid8 NOT NULL,
	CONSTRAINT inv_ledger_hour_pkey PRIMARY KEY (hour, epoch)
) WITH (fillfactor = 50);
COMMENT ON TABLE inv_ledger_hour IS 'Where in the ledger the entries of each hour are, up to the place that task "hours" of inv_progress has reached. View inv_ledger_by_hour reads by it.';
COMMENT ON COLUMN inv_ledger_hour.hour IS 'Beginning of the hour.';
COMMENT ON COLUMN inv_ledger_hour.epoch IS 'Epoch of the entries.';
COMMENT ON COLUMN inv_ledger_hour.first_xid IS 'No earlier transaction of the epoch made an entry in this hour.';
COMMENT ON COLUMN inv_ledger_hour.last_xid IS 'No later transaction of the epoch, up to that place, made an entry in this hour.';
SELECT pg_catalog.pg_extension_config_dump('inv_ledger_hour', '');

COMMENT ON COLUMN inv_progress.task IS 'The task. purge: the newest ledger entry that was purged; edges: up to where entries were looked at for back_in_stock and out_of_stock; hours: the newest that is in inv_ledger_hour; ledger balance: the newest that is in inv_ledger_balance; reconcile: the newest that reconciliation has followed; ring: the newest for which NOTIFY was rung.';
COMMENT ON COLUMN inv_ledger.reason IS 'The caller''s reason; of back_in_stock and out_of_stock since when it was otherwise.';

/*
 * Analytics.  A WHERE on hour reaches the table of hours, and with it ranges of
 * the ledger's key: OFFSET 0 keeps each range a scan of its own, whatever the
 * planner thinks of it.
 */
CREATE VIEW inv_ledger_by_hour AS
WITH place AS (
	/* up to where hours are noted; one row */
	SELECT coalesce(min(progress.epoch), 0) AS epoch,
		   coalesce(min(progress.xid), '0'::xid8) AS xid,
		   coalesce(min(progress.entry_id), 0::bigint) AS entry_id
	  FROM inv_progress AS progress
	 WHERE progress.task = 'hours'
), newest AS (
	SELECT entry.epoch, entry.xid
	  FROM inv_ledger AS entry
	 ORDER BY entry.epoch DESC, entry.xid DESC
	 LIMIT 1
)
SELECT part.hour, entry.*
  FROM inv_ledger_hour AS part
 CROSS JOIN place
 CROSS JOIN LATERAL
	   (SELECT entry.*
		  FROM inv_ledger AS entry
		 WHERE entry.epoch = part.epoch
		   AND entry.xid >= part.first_xid
		   AND entry.xid <= part.last_xid
		   AND ROW(entry.epoch, entry.xid, entry.entry_id)
			   <= ROW(place.epoch, place.xid, place.entry_id)
		   AND entry.at >= part.hour
		   AND entry.at < part.hour + interval '1 hour'
		OFFSET 0) AS entry
UNION ALL
/* behind that place: the rest of its epoch */
SELECT pg_catalog.date_bin(interval '1 hour', entry.at, timestamptz 'epoch'),
	   entry.*
  FROM place
 CROSS JOIN newest
 CROSS JOIN LATERAL
	   (SELECT entry.*
		  FROM inv_ledger AS entry
		 WHERE entry.epoch = place.epoch
		   AND entry.xid >= place.xid
		   AND entry.xid <= CASE WHEN newest.epoch = place.epoch THEN newest.xid
								 ELSE '18446744073709551615'::xid8 END
		   AND ROW(entry.xid, entry.entry_id) > ROW(place.xid, place.entry_id)
		OFFSET 0) AS entry
UNION ALL
/* and epochs that came later */
SELECT pg_catalog.date_bin(interval '1 hour', entry.at, timestamptz 'epoch'),
	   entry.*
  FROM place
 CROSS JOIN newest
 CROSS JOIN LATERAL
	   (SELECT entry.*
		  FROM inv_ledger AS entry
		 WHERE entry.epoch > place.epoch
		   AND entry.epoch <= newest.epoch
		OFFSET 0) AS entry;
COMMENT ON VIEW inv_ledger_by_hour IS 'The ledger with the hour of each entry. A WHERE on hour reads no more of the ledger than that, once upkeep has been there; entries that were purged are missing.';
COMMENT ON COLUMN inv_ledger_by_hour.hour IS 'Beginning of the hour of the entry, a whole hour of UTC.';

CREATE VIEW inv_hold_conversion AS
SELECT sums.hour,
	   item.sku,
	   location.code AS location,
	   sums.holds,
	   sums.units_held,
	   sums.units_confirmed,
	   sums.units_cancelled,
	   sums.units_expired,
	   pg_catalog.round(sums.units_confirmed::numeric
						/ nullif(sums.units_confirmed + sums.units_cancelled
								 + sums.units_expired, 0::bigint)::numeric, 4)
		   AS conversion,
	   pg_catalog.round(sums.units_expired::numeric
						/ nullif(sums.units_confirmed + sums.units_cancelled
								 + sums.units_expired, 0::bigint)::numeric, 4)
		   AS expiry_rate
  FROM (SELECT hour, item_id, location_id,
			   count(*) FILTER (WHERE operation IN ('reserve', 'offer')) AS holds,
			   coalesce(sum(delta_reserved)
						FILTER (WHERE operation IN ('reserve', 'offer', 'retake')),
						0::numeric)::bigint AS units_held,
			   coalesce(-sum(delta_reserved)
						FILTER (WHERE operation = 'confirm'),
						0::numeric)::bigint AS units_confirmed,
			   coalesce(-sum(delta_reserved)
						FILTER (WHERE operation IN ('cancel', 'release')),
						0::numeric)::bigint AS units_cancelled,
			   coalesce(-sum(delta_reserved)
						FILTER (WHERE operation = 'expire'),
						0::numeric)::bigint AS units_expired
		  FROM inv_ledger_by_hour
		 WHERE operation IN ('reserve', 'offer', 'retake', 'confirm', 'cancel',
							 'release', 'expire')
		 GROUP BY hour, item_id, location_id) AS sums
  JOIN inv_item AS item ON item.item_id = sums.item_id
  JOIN inv_location AS location ON location.location_id = sums.location_id;
COMMENT ON VIEW inv_hold_conversion IS 'What became of holds, by hour, SKU and location: those that ended in an hour, whenever they began. Sums over several hours add up; rates are to be taken of the sums.';
COMMENT ON COLUMN inv_hold_conversion.hour IS 'Beginning of the hour.';
COMMENT ON COLUMN inv_hold_conversion.holds IS 'Holds that began, each line of a cart counted.';
COMMENT ON COLUMN inv_hold_conversion.units_held IS 'Units under holds that began, those of dead holds that were taken again for a late payment included.';
COMMENT ON COLUMN inv_hold_conversion.units_confirmed IS 'Units of holds that were sold. An order that is cancelled later, or units that are returned, stay sold here.';
COMMENT ON COLUMN inv_hold_conversion.units_cancelled IS 'Units that were given back: holds cancelled by anybody, and units released.';
COMMENT ON COLUMN inv_hold_conversion.units_expired IS 'Units of holds that died, in the hour in which they were freed.';
COMMENT ON COLUMN inv_hold_conversion.conversion IS 'units_confirmed of all units whose hold ended; null where none did.';
COMMENT ON COLUMN inv_hold_conversion.expiry_rate IS 'units_expired of all units whose hold ended; null where none did.';

CREATE VIEW inv_sell_through AS
SELECT sums.hour,
	   item.sku,
	   location.code AS location,
	   sums.on_hand_before,
	   sums.units_received,
	   sums.units_corrected,
	   sums.units_transferred,
	   sums.units_sold,
	   sums.units_returned,
	   sums.on_hand_after,
	   CASE WHEN sums.on_hand_before + sums.units_received
				 + sums.units_corrected + sums.units_transferred > 0::bigint
			THEN pg_catalog.round((sums.units_sold - sums.units_returned)::numeric
								  / (sums.on_hand_before + sums.units_received
									 + sums.units_corrected
									 + sums.units_transferred)::numeric, 4)
	   END AS sell_through
  FROM (SELECT stripe.hour, stripe.item_id, stripe.location_id,
			   sum(stripe.before)::bigint AS on_hand_before,
			   sum(stripe.received)::bigint AS units_received,
			   sum(stripe.corrected)::bigint AS units_corrected,
			   sum(stripe.transferred)::bigint AS units_transferred,
			   sum(stripe.sold)::bigint AS units_sold,
			   sum(stripe.returned)::bigint AS units_returned,
			   sum(stripe.after)::bigint AS on_hand_after
		  FROM (SELECT hour, item_id, location_id, stripe,
					   (pg_catalog.array_agg(on_hand_after - delta_on_hand
											 ORDER BY entry_id))[1] AS before,
					   (pg_catalog.array_agg(on_hand_after
											 ORDER BY entry_id DESC))[1] AS after,
					   coalesce(sum(delta_on_hand)
								FILTER (WHERE operation = 'receive'),
								0::numeric) AS received,
					   coalesce(sum(delta_on_hand)
								FILTER (WHERE operation IN ('adjust', 'set_stock',
															'load_stock', 'reconcile')),
								0::numeric) AS corrected,
					   coalesce(sum(delta_on_hand)
								FILTER (WHERE operation = 'transfer'),
								0::numeric) AS transferred,
					   coalesce(-sum(delta_on_hand)
								FILTER (WHERE operation = 'confirm'),
								0::numeric) AS sold,
					   coalesce(sum(delta_on_hand)
								FILTER (WHERE operation IN ('return', 'cancel_order')),
								0::numeric) AS returned
				  FROM inv_ledger_by_hour
				 WHERE operation NOT IN ('back_in_stock', 'out_of_stock')
				 GROUP BY hour, item_id, location_id, stripe) AS stripe
		 GROUP BY stripe.hour, stripe.item_id, stripe.location_id) AS sums
  JOIN inv_item AS item ON item.item_id = sums.item_id
  JOIN inv_location AS location ON location.location_id = sums.location_id;
COMMENT ON VIEW inv_sell_through IS 'How much of what there was has been sold, by hour, SKU and location, in units. Of a SKU in stripes, those stripes count that changed within the hour.';
COMMENT ON COLUMN inv_sell_through.hour IS 'Beginning of the hour.';
COMMENT ON COLUMN inv_sell_through.on_hand_before IS 'Units on hand before the first change of the hour.';
COMMENT ON COLUMN inv_sell_through.units_received IS 'Units that inv_receive() has put on hand.';
COMMENT ON COLUMN inv_sell_through.units_corrected IS 'Units by which adjustments, stock-takes, loads and repairs have changed it, up or down.';
COMMENT ON COLUMN inv_sell_through.units_transferred IS 'Units that have come from other locations, less those that went there.';
COMMENT ON COLUMN inv_sell_through.units_sold IS 'Units of holds that were confirmed.';
COMMENT ON COLUMN inv_sell_through.units_returned IS 'Units that have come back: returned, or of cancelled orders, whenever they were sold.';
COMMENT ON COLUMN inv_sell_through.on_hand_after IS 'Units on hand after the last change of the hour.';
COMMENT ON COLUMN inv_sell_through.sell_through IS 'units_sold less units_returned, of on_hand_before and all that came or went otherwise than by a sale; null where that was nothing.';

CREATE VIEW inv_sold_out AS
SELECT entry.hour,
	   item.sku,
	   location.code AS location,
	   entry.reason::timestamptz AS in_stock_since,
	   entry.at AS sold_out_at,
	   entry.at - entry.reason::timestamptz AS time_to_sold_out
  FROM inv_ledger_by_hour AS entry
  JOIN inv_item AS item ON item.item_id = entry.item_id
  JOIN inv_location AS location ON location.location_id = entry.location_id
 WHERE entry.operation = 'out_of_stock';
COMMENT ON VIEW inv_sold_out IS 'Each time that a SKU went out of stock at a location, as upkeep told it.';
COMMENT ON COLUMN inv_sold_out.hour IS 'Beginning of the hour in which it went out of stock.';
COMMENT ON COLUMN inv_sold_out.in_stock_since IS 'When it had come into stock; null in entries from before version 0.2.0.';
COMMENT ON COLUMN inv_sold_out.sold_out_at IS 'When it was told to be out of stock.';
COMMENT ON COLUMN inv_sold_out.time_to_sold_out IS 'For how long it was in stock.';

/* ------------------------------------------------------------------------
 * Safety stock, backorders and late payments, which the library knows now
 * ------------------------------------------------------------------------ */

COMMENT ON COLUMN inv_ledger.operation IS 'reserve, offer (a hold for who is first on the waitlist), confirm, cancel, release, expire, retake (units of a dead hold taken again, to be sold), receive, adjust, transfer, set_stock, load_stock, cancel_order, return, set_policy, join_waitlist and leave_waitlist (which change no units), restripe (units moved between stripes of a SKU), or reconcile (the ledger brought to the counters, see inv_reconcile()); backorder (units of a line are promised without being there) and fill_backorder (they are there now), which change no counter: their reason is jsonb, {"line", "units", "backordered": what of the line is so afterwards}; or back_in_stock, out_of_stock, which change nothing: their stripe is 0, their on_hand_after and reserved_after are those of all stripes.';
COMMENT ON FUNCTION inv_confirm IS 'Sells a live hold and makes its order. Repeating it returns the same order. A dead hold raises IV002; with retake it is sold if all its units can be had again, and IV001 is raised if not.';
COMMENT ON FUNCTION inv_set_policy IS 'Sets how much of a SKU''s stock at a location may be promised: all but safety_stock units that are on hand, or backorder_limit units more than there are (NULL: without limit). Fewer backorders than there are raise IV012. Backorders make one stripe of the SKU''s.';

/* ------------------------------------------------------------------------
 * Backorders, line by line
 * ------------------------------------------------------------------------ */

CREATE TABLE inv_backorder (
	reservation_id uuid NOT NULL,
	line_no integer NOT NULL,
	item_id bigint NOT NULL,
	location_id integer NOT NULL,
	quantity bigint NOT NULL
		CONSTRAINT inv_backorder_quantity_in_range
			CHECK (quantity BETWEEN 1 AND 9007199254740992),
	since timestamptz NOT NULL,
	CONSTRAINT inv_backorder_pkey PRIMARY KEY (reservation_id, line_no)
);

/* the queue of a SKU at a location */
CREATE INDEX inv_backorder_queue
	ON inv_backorder (item_id, location_id, since, reservation_id, line_no);

COMMENT ON TABLE inv_backorder IS 'Units that lines have been promised, held or sold, and that are not there: those of a SKU at a location add up to what its reserved exceeds its on_hand by.';
COMMENT ON COLUMN inv_backorder.reservation_id IS 'The reservation, which may have become an order.';
COMMENT ON COLUMN inv_backorder.line_no IS 'The line.';
COMMENT ON COLUMN inv_backorder.item_id IS 'The item.';
COMMENT ON COLUMN inv_backorder.location_id IS 'The location.';
COMMENT ON COLUMN inv_backorder.quantity IS 'Units of the line that are backordered; a line without any has no row.';
COMMENT ON COLUMN inv_backorder.since IS 'Its place in the queue: when it was promised the units; the oldest are filled first.';

COMMENT ON INDEX inv_backorder_queue IS 'The backorders of a SKU at a location, the oldest first.';
SELECT pg_catalog.pg_extension_config_dump('inv_backorder', '');

/* what this library has let be promised meanwhile: the newest lack the units */
INSERT INTO inv_backorder
SELECT reservation_id, line_no, item_id, location_id,
	   least(units, lacking - newer), created_at
  FROM (SELECT line.reservation_id, line.line_no, line.item_id, line.location_id,
			   line.created_at, line.quantity - line.returned AS units,
			   short.units AS lacking,
			   sum(line.quantity - line.returned) OVER
				   (PARTITION BY line.item_id, line.location_id
					ORDER BY line.created_at DESC, line.reservation_id DESC,
							 line.line_no DESC)
				   - (line.quantity - line.returned) AS newer
		  FROM inv_reservation AS line
		  JOIN (SELECT item_id, location_id, sum(reserved - on_hand) AS units
				  FROM inv_stock WHERE reserved > on_hand
				 GROUP BY item_id, location_id) AS short
			ON short.item_id = line.item_id
		   AND short.location_id = line.location_id
		 WHERE line.status IN ('active', 'confirmed')
		   AND line.quantity > line.returned) AS promised
 WHERE newer < lacking;

ALTER TYPE inv_reservation_state ADD ATTRIBUTE backordered bigint;
COMMENT ON TYPE inv_reservation_state IS 'A reservation as of now. lines: [{"line", "sku", "location", "quantity", "unit_price", "status", "backordered"}]. backordered: units of it that are not there yet; 0 once it is dead or cancelled.';
ALTER TYPE inv_order_state ADD ATTRIBUTE backordered bigint;
COMMENT ON TYPE inv_order_state IS 'An order as of now. lines: [{"line", "sku", "location", "quantity", "returned", "unit_price", "backordered"}]. backordered: units of it that are not there yet.';
COMMENT ON FUNCTION inv_receive IS 'Puts quantity units on hand. They go to the oldest backorders first.';
COMMENT ON FUNCTION inv_adjust IS 'Changes on_hand by delta units (breakage, finds); below what is held it raises IV012. Where backorders are taken, the newest holds become backorders.';
COMMENT ON FUNCTION inv_set_stock IS 'A stock-take. on_shelf: the count includes units sold and not completed. A count below what is held raises IV012; force cancels the newest holds first. Backorders that are sold are taken off the count. Another version than expected_version raises IV008.';
COMMENT ON FUNCTION inv_set_stripes IS 'Spreads a SKU''s stock at a location over 1 to 256 rows, evenly, while it is in use, so that as many transactions can commit a sale of it at once; returns the number. One stripe serves strictly first come, first served. A SKU that takes backorders has one: more raise IV008.';

CREATE OR REPLACE VIEW inv_reservation_lines AS
SELECT line.reservation_id,
	   line.line_no,
	   item.sku,
	   location.code AS location,
	   line.quantity,
	   line.returned,
	   line.unit_price,
	   line.currency,
	   CASE WHEN line.status = 'active'
				 AND line.expires_at <= statement_timestamp()
			THEN 'expired' ELSE line.status
	   END AS status,
	   line.customer,
	   line.reference,
	   line.expires_at,
	   line.created_at,
	   line.closed_at,
	   CASE WHEN line.status = 'active'
				 AND line.expires_at <= statement_timestamp()
			THEN 0 ELSE coalesce(owed.quantity, 0)
	   END AS backordered
  FROM inv_reservation AS line
  JOIN inv_item AS item ON item.item_id = line.item_id
  JOIN inv_location AS location ON location.location_id = line.location_id
  LEFT JOIN inv_backorder AS owed ON owed.reservation_id = line.reservation_id
								 AND owed.line_no = line.line_no;
COMMENT ON VIEW inv_reservation_lines IS 'Every line of every reservation with its SKU and location; a hold past its time reads expired. backordered: units of it that are not there yet.';

/* ------------------------------------------------------------------------
 * Transfers
 * ------------------------------------------------------------------------ */

CREATE FUNCTION inv_transfer(
	sku text, quantity bigint, from_location text, to_location text,
	reason text DEFAULT NULL, key text DEFAULT NULL)
RETURNS SETOF inv_stock_level
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'inv_transfer';
COMMENT ON FUNCTION inv_transfer IS 'Moves quantity units that nobody holds from one location to another (NULL: default) and returns the stock of both. More than there are raise IV012.';
REVOKE ALL ON FUNCTION inv_transfer FROM PUBLIC;

/* ------------------------------------------------------------------------
 * Purchase limits
 * ------------------------------------------------------------------------ */

/* the lines that count for a customer, and no others */
CREATE TABLE inv_customer_line (
	item_id bigint NOT NULL,
	customer text COLLATE "C" NOT NULL,
	reservation_id uuid NOT NULL,
	line_no integer NOT NULL,
	CONSTRAINT inv_customer_line_pkey
		PRIMARY KEY (item_id, customer, reservation_id, line_no)
);
COMMENT ON TABLE inv_customer_line IS 'Reservation lines that count for their customer: made while the item had a purchase limit, or while customers may have only one hold of a SKU.';
COMMENT ON COLUMN inv_customer_line.item_id IS 'The line''s item.';
COMMENT ON COLUMN inv_customer_line.customer IS 'The line''s customer.';
COMMENT ON COLUMN inv_customer_line.reservation_id IS 'The line''s reservation.';
COMMENT ON COLUMN inv_customer_line.line_no IS 'The line''s number.';
COMMENT ON COLUMN inv_item.max_per_customer IS 'Purchase limit: units that a customer may hold and have bought; NULL: none.';
COMMENT ON COLUMN inv_item.limit_window IS 'What was sold longer ago than this does not count against the limit; NULL: all counts.';
COMMENT ON FUNCTION inv_set_item IS 'Changes what is given and leaves the rest; returns the item_id. listed_until ''infinity'', hold_ttl ''0'', max_per_customer 0 and limit_window ''0'' remove the value.';
SELECT pg_catalog.pg_extension_config_dump('inv_customer_line', '');

/* ------------------------------------------------------------------------
 * Locations to choose from
 * ------------------------------------------------------------------------ */

CREATE FUNCTION inv_location_changed()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'inv_location_changed';
COMMENT ON FUNCTION inv_location_changed IS 'Has sessions read the list of locations again. Only for the trigger of inv_location.';
REVOKE ALL ON FUNCTION inv_location_changed() FROM PUBLIC;

CREATE TRIGGER inv_location_changed
	AFTER INSERT OR UPDATE OR DELETE ON inv_location
	FOR EACH STATEMENT EXECUTE FUNCTION inv_location_changed();
COMMENT ON TRIGGER inv_location_changed ON inv_location IS 'Has sessions read the list of locations again.';

COMMENT ON COLUMN inv_location.priority IS 'Lowest is filled from first; of one priority, the lowest location_id. May be changed by hand.';
COMMENT ON TYPE inv_hold IS 'A hold. available: units of the SKU left where it was taken from, what dead holds still hold not counted (for a cart: of the line that has least left; of a SKU in stripes: at least so many, those on the stripe it was taken from). When stock was short reservation_id is NULL and available is what there is, dead holds counted as free.';
COMMENT ON TYPE inv_cart_hold IS 'A hold of several SKUs, or, with reservation_id NULL, the lines that were short: [{"sku", "location", "requested", "available"}]. location is the one that has most; NULL with split, where available is that of all together.';
COMMENT ON FUNCTION inv_reserve IS 'Holds quantity units of a SKU for ttl, or raises IV001 when stock is short. Without a location they come from the first, by priority, that has them all; with split from several, where none has. With a key, a repeat returns the first result.';
COMMENT ON FUNCTION inv_available IS 'Units of a SKU that could be held now, dead holds counted as free; never negative. Without a location: at all of them together, of which one buyer gets all only with split.';
COMMENT ON FUNCTION inv_add_location IS 'Adds a place where stock is kept and returns its location_id. What is sold without naming a location comes from the one with the lowest priority that has it all.';

/* ------------------------------------------------------------------------
 * The waitlist
 * ------------------------------------------------------------------------ */

ALTER TABLE inv_stock ADD COLUMN waiting boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN inv_stock.waiting IS 'True on all stripes while somebody is on the waitlist of the SKU: what is available is his.';

/* the library knows columns by number */
DO $$
BEGIN
	IF (SELECT attnum FROM pg_catalog.pg_attribute
		 WHERE attrelid = '@extschema@.inv_stock'::regclass::oid
		   AND attname = 'waiting') <> 12 THEN
		RAISE EXCEPTION 'a column has been added to inv_stock'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = 'Drop it and make the table anew, by a dump and a restore. Nothing has been changed.';
	END IF;
END
$$;

ALTER TABLE inv_waitlist
	ADD CONSTRAINT inv_waitlist_quantity_in_range
		CHECK (quantity BETWEEN 1 AND 9007199254740992),
	ADD CONSTRAINT inv_waitlist_state_is_known
		CHECK (state IN ('waiting', 'offered')),
	ADD CONSTRAINT inv_waitlist_offer_is_a_hold
		CHECK ((state = 'offered') = (reservation_id IS NOT NULL));

/* the line for a SKU: who has waited longest first */
CREATE INDEX inv_waitlist_line
	ON inv_waitlist (item_id, location_id, entry_id)
	WHERE state = 'waiting';

/* how a customer stands: by his newest entry */
CREATE INDEX inv_waitlist_customer
	ON inv_waitlist (item_id, location_id, customer, entry_id);

/* an entry goes with the hold that was offered */
CREATE UNIQUE INDEX inv_waitlist_offer ON inv_waitlist (reservation_id)
	WHERE reservation_id IS NOT NULL;

COMMENT ON INDEX inv_waitlist_line IS 'The line for each SKU, who has waited longest in front.';
COMMENT ON INDEX inv_waitlist_customer IS 'Finds the newest entry of a customer.';
COMMENT ON INDEX inv_waitlist_offer IS 'Finds the entry that an offer was made to.';
COMMENT ON TABLE inv_waitlist IS 'Customers who wait for stock, or were made an offer. Who leaves is deleted; an offer goes with its hold.';
COMMENT ON COLUMN inv_waitlist.state IS 'waiting, or offered: then the hold tells what became of it.';

CREATE TYPE inv_waitlist_state AS (
	sku text,
	customer text,
	state text,
	"position" bigint,
	quantity bigint,
	joined_at timestamptz,
	reservation_id uuid,
	expires_at timestamptz
);
COMMENT ON TYPE inv_waitlist_state IS 'How a customer stands on the waitlist of a SKU. state: waiting, offered (he has a live hold), taken (he confirmed it) or lapsed (it was cancelled or expired); NULL: he is not on it. position: in the line, from 1, while he waits.';

CREATE FUNCTION inv_waitlist_status(sku text, customer text)
RETURNS inv_waitlist_state
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'inv_waitlist_status';
COMMENT ON FUNCTION inv_waitlist_status IS 'How a customer stands on the waitlist of a SKU as of now: his place in the line, or the hold he was offered and what became of it.';
REVOKE ALL ON FUNCTION inv_waitlist_status FROM PUBLIC;
COMMENT ON FUNCTION inv_join_waitlist IS 'Puts a customer at the end of the line for quantity units of a SKU, and returns his place, from 1. When units come back, or at once if some are free, who is first gets a hold of them, his offer: then 0. Who waits already keeps his place. NULL where a repeat under a key finds that all is over.';
COMMENT ON FUNCTION inv_leave_waitlist IS 'Takes a customer out of the line for a SKU and returns the place he had; NULL if he was not in it. An offer is given back with inv_cancel().';
COMMENT ON FUNCTION inv_expire IS 'The sweep: expires at most max_count dead holds (NULL: inventory_reservation.expire_batch_size), the longest dead first and with each all that is dead on its stock row, offers what is free to those who wait for it, and returns how many expired. Any number may run at once; they share the work.';
COMMENT ON PROCEDURE inv_maintain IS 'Sweeps what is dead and not locked by somebody, offers what is free to those who wait for it, tells in the ledger which SKUs have come into stock or gone out of it, notes where in the ledger each hour is, purges keys, closed reservations and ledger entries that are past their retention and, with inventory_reservation.auto_stripes, takes stripes away from SKUs that have been calm for five minutes, committing each batch.';

CREATE VIEW inv_waiting AS
SELECT item.sku,
	   location.code AS location,
	   row_number() OVER (PARTITION BY entry.item_id, entry.location_id
						  ORDER BY entry.entry_id) AS "position",
	   entry.customer,
	   entry.quantity,
	   entry.joined_at AS since
  FROM inv_waitlist AS entry
  JOIN inv_item AS item ON item.item_id = entry.item_id
  JOIN inv_location AS location ON location.location_id = entry.location_id
 WHERE entry.state = 'waiting';
COMMENT ON VIEW inv_waiting IS 'Who waits for which SKU, and at which place in the line.';

CREATE OR REPLACE VIEW inv_availability WITH (security_barrier) AS
SELECT item.sku,
	   item.name,
	   location.code AS location,
	   stock.on_hand,
	   stock.reserved,
	   dead.units AS dead,
	   CASE WHEN stock.waiting
				 AND coalesce(pg_catalog.current_setting(
								  'inventory_reservation.waitlist_first', true),
							  'on')::boolean THEN 0
			WHEN stock.backorder_unlimited THEN 9007199254740992
			ELSE greatest(stock.spare + dead.units, 0)
	   END AS available,
	   item.selling AND (item.listed_until IS NULL
						 OR item.listed_until > statement_timestamp())
		   AS on_sale,
	   item.unit_price,
	   item.currency
  FROM (SELECT item_id, location_id,
			   sum(on_hand)::bigint AS on_hand,
			   sum(reserved)::bigint AS reserved,
			   sum(on_hand - reserved - min_available)::bigint AS spare,
			   bool_or(backorder_unlimited) AS backorder_unlimited,
			   bool_or(waiting) AS waiting
		  FROM inv_stock
		 GROUP BY item_id, location_id) AS stock
  JOIN inv_item AS item ON item.item_id = stock.item_id
  JOIN inv_location AS location ON location.location_id = stock.location_id
 CROSS JOIN LATERAL
	   (SELECT coalesce(sum(line.quantity), 0)::bigint AS units
		  FROM inv_reservation AS line
		 WHERE line.item_id = stock.item_id
		   AND line.location_id = stock.location_id
		   AND line.status = 'active'
		   AND line.expires_at <= statement_timestamp()) AS dead;
COMMENT ON VIEW inv_availability IS 'Stock of each SKU at each location, in units. dead: under holds whose time is over, not swept yet, and free for the next buyer. available: what a new buyer could get, nothing while it is kept for the waitlist.';

CREATE VIEW inv_total_availability WITH (security_barrier) AS
SELECT stock.sku,
	   min(stock.name) AS name,
	   count(*) AS locations,
	   sum(stock.on_hand)::bigint AS on_hand,
	   sum(stock.reserved)::bigint AS reserved,
	   sum(stock.dead)::bigint AS dead,
	   least(sum(stock.available), 9007199254740992)::bigint AS available,
	   max(stock.available) AS available_at_one,
	   bool_or(stock.on_sale) AS on_sale,
	   min(stock.unit_price) AS unit_price,
	   min(stock.currency) AS currency
  FROM inv_availability AS stock
 GROUP BY stock.sku;
COMMENT ON VIEW inv_total_availability IS 'Stock of each SKU over all locations, in units. available: what can be held with split. available_at_one: what can be held without, at the location that has most.';

/* ------------------------------------------------------------------------
 * inv_check(): whether a line was dead is told by when it was closed, and not
 * by what the clock says now; search_path is pinned
 * ------------------------------------------------------------------------ */

CREATE OR REPLACE FUNCTION inv_check()
RETURNS TABLE (
	violation text, sku text, location text, stripe integer,
	reservation_id uuid, order_id uuid, found text, expected text)
LANGUAGE SQL STABLE PARALLEL RESTRICTED SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH held AS (
		SELECT line.item_id, line.location_id, line.stripe,
			   sum(line.quantity)::bigint AS units,
			   min(line.expires_at) FILTER (WHERE line.quantity > 0) AS expires_at
		  FROM inv_reservation AS line
		 WHERE line.status IN ('active', 'confirming')
		 GROUP BY line.item_id, line.location_id, line.stripe
	), booked AS (
		SELECT entry.item_id, entry.location_id, entry.stripe,
			   sum(entry.delta_on_hand)::bigint AS on_hand,
			   sum(entry.delta_reserved)::bigint AS reserved
		  FROM (SELECT item_id, location_id, stripe, delta_on_hand,
					   delta_reserved
				  FROM inv_ledger
				UNION ALL
				SELECT item_id, location_id, stripe, on_hand, reserved
				  FROM inv_opening_balance) AS entry
		 GROUP BY entry.item_id, entry.location_id, entry.stripe
	), counters AS (
		SELECT coalesce(stock.item_id, held.item_id, booked.item_id) AS item_id,
			   coalesce(stock.location_id, held.location_id,
						booked.location_id) AS location_id,
			   coalesce(stock.stripe, held.stripe, booked.stripe) AS stripe,
			   coalesce(stock.on_hand, 0) AS on_hand,
			   coalesce(stock.reserved, 0) AS reserved,
			   coalesce(stock.min_available, 0) AS min_available,
			   coalesce(stock.backorder_unlimited, false)
				   AS backorder_unlimited,
			   coalesce(held.units, 0) AS held_units,
			   coalesce(booked.on_hand, 0) AS booked_on_hand,
			   coalesce(booked.reserved, 0) AS booked_reserved
		  FROM inv_stock AS stock
		  FULL JOIN held ON held.item_id = stock.item_id
						AND held.location_id = stock.location_id
						AND held.stripe = stock.stripe
		  FULL JOIN booked
			ON booked.item_id = coalesce(stock.item_id, held.item_id)
		   AND booked.location_id = coalesce(stock.location_id,
											 held.location_id)
		   AND booked.stripe = coalesce(stock.stripe, held.stripe)
	), reservations AS (
		SELECT line.reservation_id,
			   pg_catalog.array_agg(DISTINCT line.status ORDER BY line.status) AS statuses,
			   min(line.line_no) AS lowest_line,
			   bool_and(line.closed_at >= line.expires_at)
				   FILTER (WHERE line.status = 'expired') AS died,
			   pg_catalog.count(DISTINCT line.expires_at) AS expiries
		  FROM inv_reservation AS line
		 GROUP BY line.reservation_id
	), violations AS (
		SELECT 'oversold' AS violation,
			   item_id, location_id, stripe,
			   NULL::uuid AS reservation_id, NULL::uuid AS order_id,
			   pg_catalog.format('on_hand %s, reserved %s', on_hand, reserved) AS found,
			   pg_catalog.format('at least %s available', least(min_available, 0))
				   AS expected
		  FROM counters
		 WHERE reserved < 0
			OR (NOT backorder_unlimited
				AND on_hand - reserved < least(min_available, 0))
		UNION ALL
		SELECT 'reserved differs from the active lines',
			   item_id, location_id, stripe, NULL, NULL,
			   reserved::text, held_units::text
		  FROM counters WHERE reserved <> held_units
		UNION ALL
		SELECT 'on_hand differs from the ledger',
			   item_id, location_id, stripe, NULL, NULL,
			   on_hand::text, booked_on_hand::text
		  FROM counters WHERE on_hand <> booked_on_hand
		UNION ALL
		SELECT 'reserved differs from the ledger',
			   item_id, location_id, stripe, NULL, NULL,
			   reserved::text, booked_reserved::text
		  FROM counters WHERE reserved <> booked_reserved
		UNION ALL
		SELECT 'a hold dies before earliest_expiry',
			   stock.item_id, stock.location_id, stock.stripe, NULL, NULL,
			   held.expires_at::text, stock.earliest_expiry::text
		  FROM inv_stock AS stock
		  JOIN held ON held.item_id = stock.item_id
				   AND held.location_id = stock.location_id
				   AND held.stripe = stock.stripe
		 WHERE held.expires_at < stock.earliest_expiry
		UNION ALL
		SELECT 'backorders differ from the shortfall',
			   coalesce(owed.item_id, lacking.item_id),
			   coalesce(owed.location_id, lacking.location_id),
			   NULL, NULL, NULL,
			   coalesce(owed.units, 0)::text, coalesce(lacking.units, 0)::text
		  FROM (SELECT item_id, location_id, sum(quantity) AS units
				  FROM inv_backorder GROUP BY item_id, location_id) AS owed
		  FULL JOIN (SELECT item_id, location_id, sum(reserved - on_hand) AS units
					   FROM inv_stock WHERE reserved > on_hand
					  GROUP BY item_id, location_id) AS lacking
			ON lacking.item_id = owed.item_id
		   AND lacking.location_id = owed.location_id
		 WHERE owed.units IS DISTINCT FROM lacking.units
		UNION ALL
		SELECT 'backorder of units that the line has not been promised',
			   owed.item_id, owed.location_id, NULL, owed.reservation_id, NULL,
			   owed.quantity::text,
			   coalesce(line.quantity - line.returned, 0)::text
		  FROM inv_backorder AS owed
		  LEFT JOIN inv_reservation AS line
			ON line.reservation_id = owed.reservation_id
		   AND line.line_no = owed.line_no
		   AND line.item_id = owed.item_id
		   AND line.location_id = owed.location_id
		   AND line.status IN ('active', 'confirming', 'confirmed')
		 WHERE owed.quantity <= line.quantity - line.returned IS NOT TRUE
		UNION ALL
		SELECT 'first stripe is missing or retired',
			   stock.item_id, stock.location_id, 0, NULL, NULL,
			   CASE WHEN bool_or(stock.stripe = 0) THEN 'retired' ELSE 'missing' END,
			   'takes holds'
		  FROM inv_stock AS stock
		 GROUP BY stock.item_id, stock.location_id
		HAVING NOT bool_or(stock.stripe = 0 AND NOT stock.retired)
		UNION ALL
		SELECT 'stock of an unknown item or location',
			   stock.item_id, stock.location_id, stock.stripe, NULL, NULL,
			   pg_catalog.format('item %s, location %s', stock.item_id,
					  stock.location_id), 'both known'
		  FROM counters AS stock
		  LEFT JOIN inv_item AS item ON item.item_id = stock.item_id
		  LEFT JOIN inv_location AS location
			ON location.location_id = stock.location_id
		 WHERE item.item_id IS NULL OR location.location_id IS NULL
		UNION ALL
		SELECT 'lines of one reservation differ in status',
			   NULL, NULL, NULL, held.reservation_id, NULL,
			   pg_catalog.array_to_string(held.statuses, ', '), 'one status'
		  FROM reservations AS held
		 WHERE pg_catalog.cardinality(held.statuses) > 1
		   AND (pg_catalog.array_to_string(held.statuses, ' ') = 'active expired'
				AND held.died) IS NOT TRUE
		UNION ALL
		SELECT 'lines of one reservation differ in expires_at',
			   NULL, NULL, NULL, held.reservation_id, NULL,
			   pg_catalog.format('%s different', held.expiries), 'one'
		  FROM reservations AS held WHERE held.expiries > 1
		UNION ALL
		SELECT 'reservation without its first line',
			   NULL, NULL, NULL, held.reservation_id, NULL,
			   pg_catalog.format('line %s is the lowest', held.lowest_line), 'line 1'
		  FROM reservations AS held WHERE held.lowest_line <> 1
		UNION ALL
		SELECT 'confirmed reservation without an order',
			   NULL, NULL, NULL, held.reservation_id, NULL, 'none', 'one order'
		  FROM reservations AS held
		 WHERE 'confirmed' = ANY (held.statuses)
		   AND NOT EXISTS (SELECT FROM inv_order AS sale
							WHERE sale.reservation_id = held.reservation_id)
		UNION ALL
		SELECT 'order without a confirmed reservation',
			   NULL, NULL, NULL, sale.reservation_id, sale.order_id,
			   coalesce(pg_catalog.array_to_string(held.statuses, ', '), 'none'),
			   'confirmed'
		  FROM inv_order AS sale
		  LEFT JOIN reservations AS held
			ON held.reservation_id = sale.reservation_id
		 WHERE pg_catalog.array_to_string(held.statuses, ' ') IS DISTINCT FROM 'confirmed'
		UNION ALL
		SELECT 'several keys made one reservation',
			   NULL, NULL, NULL, made.reservation_id, NULL,
			   pg_catalog.format('%s keys', count(*)), 'one key'
		  FROM inv_idempotency AS made
		 WHERE made.scope IN ('reserve', 'reserve_cart')
		 GROUP BY made.reservation_id
		/* a customer who may have only one hold may have asked again for it */
		HAVING count(*) > 1
		   AND (pg_catalog.count(DISTINCT made.request ->> 'customer'::text) > 1
				OR pg_catalog.bool_or(made.request ->> 'customer'::text IS NULL))
		UNION ALL
		SELECT 'key of an order that does not exist',
			   NULL, NULL, NULL, made.reservation_id, made.order_id,
			   'no order', 'an order'
		  FROM inv_idempotency AS made
		 WHERE made.order_id IS NOT NULL
		   AND NOT EXISTS (SELECT FROM inv_order AS sale
							WHERE sale.order_id = made.order_id)
		UNION ALL
		SELECT 'key of a hold that does not exist',
			   NULL, NULL, NULL, made.reservation_id, NULL,
			   'no reservation', 'a reservation'
		  FROM inv_idempotency AS made
		 WHERE made.scope IN ('reserve', 'reserve_cart')
		   AND NOT EXISTS (SELECT FROM inv_reservation AS line
							WHERE line.reservation_id = made.reservation_id)
		UNION ALL
		SELECT 'line that counts for a customer and is not his',
			   mention.item_id, NULL, NULL, mention.reservation_id, NULL,
			   'no such line',
			   pg_catalog.concat('line ', mention.line_no, ' for ',
								 mention.customer)
		  FROM inv_customer_line AS mention
		 WHERE NOT EXISTS (SELECT FROM inv_reservation AS line
							WHERE line.reservation_id = mention.reservation_id
							  AND line.line_no = mention.line_no
							  AND line.item_id = mention.item_id
							  AND line.customer = mention.customer)
		UNION ALL
		SELECT 'waiting differs from the waitlist',
			   stock.item_id, stock.location_id, stock.stripe, NULL, NULL,
			   stock.waiting::text, (NOT stock.waiting)::text
		  FROM inv_stock AS stock
		 WHERE stock.waiting <>
			   EXISTS (SELECT FROM inv_waitlist AS entry
						WHERE entry.item_id = stock.item_id
						  AND entry.location_id = stock.location_id
						  AND entry.state = 'waiting')
		UNION ALL
		SELECT 'customer waits twice for one SKU',
			   entry.item_id, entry.location_id, NULL, NULL, NULL,
			   pg_catalog.format('%s times', count(*)), 'once'
		  FROM inv_waitlist AS entry
		 WHERE entry.state = 'waiting'
		 GROUP BY entry.item_id, entry.location_id, entry.customer
		HAVING count(*) > 1
		UNION ALL
		SELECT 'offer without its hold',
			   entry.item_id, entry.location_id, NULL, entry.reservation_id, NULL,
			   'none', pg_catalog.format('a hold of customer %s', entry.customer)
		  FROM inv_waitlist AS entry
		 WHERE entry.state = 'offered'
		   AND NOT EXISTS (SELECT FROM inv_reservation AS line
							WHERE line.reservation_id = entry.reservation_id
							  AND line.item_id = entry.item_id
							  AND line.location_id = entry.location_id
							  AND line.customer = entry.customer)
	)
	SELECT violations.violation, item.sku, location.code,
		   violations.stripe, violations.reservation_id, violations.order_id,
		   violations.found, violations.expected
	  FROM violations
	  LEFT JOIN inv_item AS item ON item.item_id = violations.item_id
	  LEFT JOIN inv_location AS location
		ON location.location_id = violations.location_id;
END;

/* ------------------------------------------------------------------------
 * The end: sessions look at the version again
 * ------------------------------------------------------------------------ */

ALTER TABLE inv_stock SET (fillfactor = 50);
