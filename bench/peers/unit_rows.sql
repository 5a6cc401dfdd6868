-- Peer "unit_rows": every unit on the shelf is a row, and a buyer takes the
-- next one that nobody else has locked.
--
-- What makes it fast: each connection looks from a place of its own on the
-- shelf.  Looking from the first unit on, every buyer steps over the units
-- that the others have just locked or taken.
--
-- Guarantees: never oversells; unit, reservation, key and ledger change in
-- one transaction; an idempotency key replays; buyers of one SKU do not wait
-- for each other.
-- Does not: reclaim dead holds, hold more than one unit a call, say how many
-- are left without counting rows, cope with stock that is counted in
-- millions.  "Sold out" may be said while a unit is merely locked.

CREATE TABLE unit (
	item_id bigint NOT NULL,
	unit_no bigint NOT NULL,
	reservation_id uuid,
	PRIMARY KEY (item_id, unit_no)
);
CREATE INDEX unit_free ON unit (item_id, unit_no) WHERE reservation_id IS NULL;

CREATE FUNCTION inv_reserve(
	wanted text, units bigint, request_key text, buyer text,
	OUT reservation_id uuid, OUT expires_at timestamptz, OUT replayed boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	hold uuid := gen_random_uuid();
	item record;
	place bigint;
	look_from bigint;
	taken bigint;
	moment timestamptz;
BEGIN
	IF units <> 1 THEN
		RAISE 'one unit a call' USING ERRCODE = '0A000';
	END IF;
	INSERT INTO inv_idempotency (scope, key, request, reservation_id, created_at)
	VALUES ('reserve', request_key,
	        jsonb_build_object('sku', wanted, 'quantity', units, 'customer', buyer),
	        hold, clock_timestamp())
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		SELECT done.reservation_id, line.expires_at, true
		  INTO reservation_id, expires_at, replayed
		  FROM inv_idempotency AS done
		  JOIN inv_reservation AS line USING (reservation_id)
		 WHERE done.scope = 'reserve' AND done.key = request_key;
		RETURN;
	END IF;
	SELECT goods.item_id, goods.unit_price, goods.currency INTO STRICT item
	  FROM inv_item AS goods
	 WHERE goods.sku = wanted AND goods.selling
	   AND coalesce(goods.listed_until, 'infinity') > clock_timestamp();

	SELECT max(unit_no) / 64 * (pg_backend_pid() % 64) INTO place
	  FROM unit WHERE item_id = item.item_id;
	-- To the end of the shelf, and where nothing is left there, from its
	-- beginning.
	FOREACH look_from IN ARRAY ARRAY[place, 0] LOOP
		UPDATE unit
		   SET reservation_id = hold
		 WHERE unit.ctid = (SELECT free.ctid
		                      FROM unit AS free
		                     WHERE free.item_id = item.item_id
		                       AND free.unit_no > look_from
		                       AND free.reservation_id IS NULL
		                     ORDER BY free.unit_no LIMIT 1
		                       FOR UPDATE SKIP LOCKED)
		RETURNING unit_no INTO taken;
		EXIT WHEN taken IS NOT NULL;
	END LOOP;
	IF taken IS NULL THEN
		RAISE 'insufficient stock of "%"', wanted USING ERRCODE = 'IV001';
	END IF;

	moment := clock_timestamp();
	INSERT INTO inv_reservation (reservation_id, line_no, item_id, location_id,
	                             stripe, quantity, unit_price, currency,
	                             status, customer, expires_at, created_at)
	VALUES (hold, 1, item.item_id, 0, 0, units, item.unit_price, item.currency,
	        'active', buyer, moment + interval '5 minutes', moment);
	-- Nobody knows the counters after: that would take a count.
	INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
	                        delta_on_hand, delta_reserved, on_hand_after,
	                        reserved_after, reservation_id, login_role,
	                        caller_role)
	VALUES (moment, pg_current_xact_id(), 'reserve', item.item_id, 0, 0, 0,
	        units, 0, 0, hold, session_user, current_user);
	reservation_id := hold;
	expires_at := moment + interval '5 minutes';
	replayed := false;
END
$$;

-- What reset.sql and check.sql cannot know of this peer.  The shelf of a
-- counter can hold a billion, this one as many rows as a run can sell.
CREATE FUNCTION peer_reset() RETURNS void
LANGUAGE sql AS $$
	TRUNCATE unit;
	INSERT INTO unit (item_id, unit_no)
	SELECT item_id, n FROM inv_stock, generate_series(1, 300000) AS n;
	UPDATE inv_stock SET on_hand = 300000;
$$;

CREATE FUNCTION peer_check(acknowledged bigint) RETURNS text
LANGUAGE sql AS $$
	SELECT CASE
		WHEN (SELECT count(reservation_id) FROM unit)
		     <> (SELECT count(*) FROM inv_reservation)
		  OR EXISTS (SELECT FROM unit FULL JOIN inv_reservation AS line
		               USING (reservation_id)
		              WHERE reservation_id IS NOT NULL
		                AND (unit.unit_no IS NULL OR line.line_no IS NULL))
			THEN 'units and holds differ'
		WHEN (SELECT count(*) FROM inv_reservation) < acknowledged
			THEN 'acknowledged holds are missing'
		ELSE 'ok' END;
$$;
