-- What import.sh does, in psql, with the two files named by the environment
-- variables STOCK and HOLDS.
--
-- What must never happen is that units are imported twice: by a second run, by
-- a run after one that broke off, or after units have been sold here.  So what
-- was imported is remembered in schema inventory_import, in the same
-- transaction.  It also tells which reservation a hold of the other system has
-- become.  Drop the schema when the migration is over.
--
-- Nothing is written to the extension's tables but by its public functions.

SET client_min_messages = warning;
SET search_path = pg_catalog;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'inventory_reservation') THEN
		RAISE 'this database has no extension inventory_reservation';
	END IF;
END
$$;
SELECT extnamespace::regnamespace AS schema FROM pg_extension
 WHERE extname = 'inventory_reservation' \gset
SET search_path = :schema, pg_catalog;

CREATE SCHEMA IF NOT EXISTS inventory_import;
CREATE TABLE IF NOT EXISTS inventory_import.stock (
	sku text,
	location text,
	on_hand bigint NOT NULL,
	imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (sku, location)
);
CREATE TABLE IF NOT EXISTS inventory_import.hold (
	id text PRIMARY KEY,
	reservation_id uuid NOT NULL UNIQUE,
	units bigint NOT NULL,
	imported_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- All of it is text here: a number that is none is one bad row, and not the
-- end of the import.
CREATE TEMPORARY TABLE stock_row (
	row_no bigint GENERATED ALWAYS AS IDENTITY,
	sku text, name text, price text, currency text, on_hand text, location text
);
CREATE TEMPORARY TABLE hold_row (
	row_no bigint GENERATED ALWAYS AS IDENTITY,
	id text, sku text, quantity text, customer text, reference text,
	expires_at text, location text
);
CREATE TEMPORARY TABLE outcome (
	file text, row_no bigint, name text, outcome text, sqlstate text, reason text
);
\copy stock_row (sku, name, price, currency, on_hand, location) FROM PROGRAM 'cat "$STOCK"' (FORMAT csv, HEADER match)
\copy hold_row (id, sku, quantity, customer, reference, expires_at, location) FROM PROGRAM 'cat "$HOLDS"' (FORMAT csv, HEADER match)

DO $$
DECLARE
	line stock_row;
	place text;
	before bigint;
	level inv_stock_level;
	result text;
	state text;
	message text;
	detail text;
BEGIN
	-- One run at a time.
	PERFORM pg_advisory_lock('inventory_import.stock'::regclass::oid::bigint);
	FOR line IN SELECT * FROM stock_row ORDER BY row_no LOOP
		BEGIN
			state := NULL;
			message := NULL;
			place := coalesce(line.location, 'default');
			SELECT stock.on_hand INTO before FROM inventory_import.stock
			 WHERE stock.sku = line.sku AND stock.location = place;
			IF before = line.on_hand::bigint THEN
				result := 'there already';
			ELSIF before IS NOT NULL THEN
				RAISE '% units were imported before; correct it by inv_adjust() or inv_set_stock()', before;
			ELSE
				BEGIN
					PERFORM inv_add_item(line.sku, line.name,
					                     coalesce(line.price::numeric, 0), line.currency);
				EXCEPTION WHEN unique_violation THEN
					PERFORM inv_set_item(line.sku, line.name,
					                     line.price::numeric, line.currency);
				END;
				IF line.on_hand IS NULL OR line.on_hand::bigint <> 0 THEN
					level := inv_receive(line.sku, line.on_hand::bigint, line.location,
					                     'import', 'import stock ' || md5(place || '/' || line.sku));
					IF NOT level.replayed AND level.on_hand <> line.on_hand::bigint THEN
						RAISE 'there are % units here that were not imported',
							level.on_hand - line.on_hand::bigint;
					END IF;
				END IF;
				INSERT INTO inventory_import.stock VALUES (line.sku, place, line.on_hand::bigint);
				result := 'imported';
			END IF;
		EXCEPTION WHEN OTHERS THEN
			result := 'not imported';
			state := SQLSTATE;
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
			message := concat_ws(': ', message, nullif(detail, ''));
		END;
		INSERT INTO outcome VALUES ('stock', line.row_no, line.sku, result, state, message);
		-- Stock that was written stays locked until here.
		COMMIT;
	END LOOP;
END
$$;

DO $$
DECLARE
	line record;
	before bigint;
	held inv_hold;
	ends timestamptz;
	result text;
	state text;
	message text;
	detail text;
BEGIN
	FOR line IN
		SELECT id, min(row_no) AS row_no, array_agg(sku ORDER BY row_no) AS skus,
		       array_agg(quantity ORDER BY row_no) AS quantities,
		       min(customer) AS customer, min(reference) AS reference,
		       min(expires_at) AS expires_at, min(location) AS location,
		       count(DISTINCT (customer, reference, expires_at, location)) AS kinds
		  FROM hold_row
		 GROUP BY id, CASE WHEN id IS NULL THEN row_no END
		 ORDER BY min(row_no)
	LOOP
		BEGIN
			state := NULL;
			message := NULL;
			ends := line.expires_at;
			SELECT units INTO before FROM inventory_import.hold WHERE hold.id = line.id;
			IF line.id IS NULL OR ends IS NULL THEN
				RAISE 'a hold needs an id and the time when it expires';
			ELSIF line.kinds > 1 THEN
				RAISE 'the lines of this hold differ in more than SKU and quantity';
			ELSIF before = (SELECT sum(quantity::bigint) FROM unnest(line.quantities) AS quantity) THEN
				result := 'there already';
			ELSIF before IS NOT NULL THEN
				RAISE '% units were imported before; correct it by inv_release()', before;
			ELSIF ends <= clock_timestamp() THEN
				result := 'expired';
			ELSE
				held := inv_reserve_cart(line.skus, line.quantities::bigint[],
				                         key => 'import hold ' || line.id,
				                         customer => line.customer,
				                         ttl => ends - clock_timestamp(),
				                         location => line.location,
				                         reference => line.reference,
				                         metadata => jsonb_build_object('imported_id', line.id));
				-- Computed a moment before the hold was made.
				IF held.expires_at < ends - interval '1 second' THEN
					RAISE 'it would live until % only; raise inventory_reservation.max_ttl',
						held.expires_at;
				END IF;
				INSERT INTO inventory_import.hold
				SELECT line.id, held.reservation_id, sum(quantity::bigint)
				  FROM unnest(line.quantities) AS quantity;
				result := 'imported';
			END IF;
		EXCEPTION WHEN OTHERS THEN
			result := 'not imported';
			state := SQLSTATE;
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
			message := concat_ws(': ', message, nullif(detail, ''));
		END;
		INSERT INTO outcome VALUES ('holds', line.row_no, line.id, result, state, message);
		COMMIT;
	END LOOP;
END
$$;

SELECT file, count(*) FILTER (WHERE outcome = 'imported') AS imported,
       count(*) FILTER (WHERE outcome = 'there already') AS "there already",
       count(*) FILTER (WHERE outcome = 'expired') AS expired,
       count(*) FILTER (WHERE outcome = 'not imported') AS "not imported"
  FROM outcome GROUP BY file ORDER BY file DESC;
SELECT count(*) > 0 AS some_missing FROM outcome WHERE outcome = 'not imported' \gset
\if :some_missing
    SELECT file, row_no, name, sqlstate, reason
      FROM outcome WHERE outcome = 'not imported' ORDER BY file DESC, row_no;
\endif
SELECT violation, sku, found, expected FROM inv_check() \g (format=unaligned tuples_only=on)
DO $$
BEGIN
	IF EXISTS (SELECT FROM outcome WHERE outcome = 'not imported')
	   OR EXISTS (SELECT FROM inv_check()) THEN
		RAISE 'not everything was imported, or the books are wrong';
	END IF;
END
$$;
