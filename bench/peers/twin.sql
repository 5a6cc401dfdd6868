-- Peer "twin": the extension's promises in the best PL/pgSQL we know how to
-- write.  The tables, indexes and rows are the same (see tables.sql).
--
-- Guarantees: never oversells; stock, reservation, key and ledger change in
-- one transaction; an idempotency key replays; dead holds are reclaimed when
-- stock is short; carts are all or nothing and lock in one order.
-- Does not: purchase limits, several locations, stripes, answer a sold-out
-- request without a transaction id, pin search_path or check privileges.
--
-- What makes it fast: every statement is static, so its plan is cached; the
-- hot row is updated by one statement that decides and locks at once, as late
-- as possible; the key is claimed by the INSERT that a first call needs
-- anyway.

CREATE FUNCTION free_dead_holds(item bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	moment timestamptz;
BEGIN
	PERFORM FROM inv_stock AS stock
	  WHERE stock.item_id = item AND stock.location_id = 0 AND stock.stripe = 0
	    FOR UPDATE;
	-- A variable, because an index cannot be searched for a volatile function.
	moment := clock_timestamp();
	WITH dead AS (
		SELECT line.reservation_id, line.line_no
		  FROM inv_reservation AS line
		 WHERE line.item_id = item AND line.location_id = 0 AND line.stripe = 0
		   AND line.status = 'active'
		   AND line.expires_at <= moment
		   FOR UPDATE SKIP LOCKED),
	expired AS (
		UPDATE inv_reservation AS line
		   SET status = 'expired', closed_at = moment
		  FROM dead
		 WHERE line.reservation_id = dead.reservation_id
		   AND line.line_no = dead.line_no
		RETURNING line.reservation_id, line.quantity),
	freed AS (
		UPDATE inv_stock AS stock
		   SET reserved = stock.reserved - sums.units,
		       updated_at = moment
		  FROM (SELECT sum(quantity)::bigint AS units FROM expired) AS sums
		 WHERE stock.item_id = item AND stock.location_id = 0
		   AND stock.stripe = 0 AND sums.units > 0
		RETURNING stock.on_hand, stock.reserved)
	INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
	                        delta_on_hand, delta_reserved, on_hand_after,
	                        reserved_after, reservation_id, login_role,
	                        caller_role)
	SELECT moment, pg_current_xact_id(), 'expire', item, 0, 0,
	       0, -expired.quantity, freed.on_hand, freed.reserved,
	       expired.reservation_id, session_user, current_user
	  FROM expired, freed;
END
$$;

CREATE FUNCTION inv_reserve(
	wanted text, units bigint, request_key text, buyer text,
	OUT reservation_id uuid, OUT status text, OUT expires_at timestamptz,
	OUT replayed boolean, OUT available bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	hold uuid := gen_random_uuid();
	asked jsonb := jsonb_build_object('sku', wanted, 'quantity', units,
	                                  'customer', buyer);
	first record;
	item record;
	after record;
	moment timestamptz;
BEGIN
	IF units IS NULL OR units <= 0 THEN
		RAISE 'quantity must be positive' USING ERRCODE = '22023';
	END IF;
	IF request_key IS NOT NULL THEN
		INSERT INTO inv_idempotency (scope, key, request, reservation_id, created_at)
		VALUES ('reserve', request_key, asked, hold, clock_timestamp())
		ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT done.request, done.reservation_id INTO first
			  FROM inv_idempotency AS done
			 WHERE done.scope = 'reserve' AND done.key = request_key;
			IF first.request <> asked THEN
				RAISE 'key was used with other arguments' USING ERRCODE = 'IV005';
			END IF;
			SELECT line.reservation_id,
			       CASE WHEN line.status = 'active'
			                 AND line.expires_at <= clock_timestamp()
			            THEN 'expired' ELSE line.status END,
			       line.expires_at, true,
			       stock.on_hand - stock.reserved - stock.min_available
			  INTO reservation_id, status, expires_at, replayed, available
			  FROM inv_reservation AS line JOIN inv_stock AS stock
			 USING (item_id, location_id, stripe)
			 WHERE line.reservation_id = first.reservation_id;
			RETURN;
		END IF;
	END IF;

	SELECT goods.item_id, goods.unit_price, goods.currency, goods.selling,
	       goods.listed_until, coalesce(goods.hold_ttl, '5 minutes') AS ttl
	  INTO item
	  FROM inv_item AS goods WHERE goods.sku = wanted;
	IF NOT FOUND THEN
		RAISE 'unknown SKU "%"', wanted USING ERRCODE = 'IV004';
	ELSIF NOT item.selling OR item.listed_until <= clock_timestamp() THEN
		RAISE 'SKU "%" is not for sale', wanted USING ERRCODE = 'IV006';
	END IF;

	UPDATE inv_stock AS stock
	   SET reserved = reserved + units, updated_at = clock_timestamp()
	 WHERE item_id = item.item_id AND location_id = 0 AND stripe = 0
	   AND (backorder_unlimited
	        OR on_hand - reserved - min_available >= units)
	RETURNING on_hand, reserved, min_available INTO after;
	IF NOT FOUND THEN
		PERFORM free_dead_holds(item.item_id);
		UPDATE inv_stock AS stock
		   SET reserved = reserved + units, updated_at = clock_timestamp()
		 WHERE item_id = item.item_id AND location_id = 0 AND stripe = 0
		   AND on_hand - reserved - min_available >= units
		RETURNING on_hand, reserved, min_available INTO after;
		IF NOT FOUND THEN
			RAISE 'insufficient stock of "%"', wanted USING ERRCODE = 'IV001';
		END IF;
	END IF;

	-- Read after the row is ours: the wait must not eat the buyer's time.
	moment := clock_timestamp();
	reservation_id := hold;
	status := 'active';
	expires_at := moment + item.ttl;
	replayed := false;
	available := after.on_hand - after.reserved - after.min_available;
	INSERT INTO inv_reservation (reservation_id, line_no, item_id, location_id,
	                             stripe, quantity, unit_price, currency,
	                             status, customer, expires_at, created_at)
	VALUES (hold, 1, item.item_id, 0, 0, units, item.unit_price, item.currency,
	        'active', buyer, moment + item.ttl, moment);
	INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
	                        delta_on_hand, delta_reserved, on_hand_after,
	                        reserved_after, reservation_id, login_role,
	                        caller_role)
	VALUES (moment, pg_current_xact_id(), 'reserve', item.item_id, 0, 0,
	        0, units, after.on_hand, after.reserved, hold,
	        session_user, current_user);
END
$$;

-- A sold-out answer that is no error.  The look at the stock before the key
-- is claimed lets the usual answer do without a transaction id.
CREATE FUNCTION inv_try_reserve(
	wanted text, units bigint, request_key text, buyer text,
	OUT reservation_id uuid, OUT status text, OUT expires_at timestamptz,
	OUT replayed boolean, OUT available bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	item bigint;
	moment timestamptz := clock_timestamp();
BEGIN
	SELECT stock.on_hand - stock.reserved - stock.min_available, goods.item_id
	  INTO available, item
	  FROM inv_item AS goods JOIN inv_stock AS stock
	    ON stock.item_id = goods.item_id
	   AND stock.location_id = 0 AND stock.stripe = 0
	 WHERE goods.sku = wanted;
	IF FOUND AND available < units THEN
		IF (request_key IS NULL
		    OR NOT EXISTS (SELECT FROM inv_idempotency
		                    WHERE scope = 'reserve' AND key = request_key))
		   -- By the index's own order: the planner expects a dead hold soon
		   -- and would otherwise look through the table for one.
		   AND coalesce((SELECT line.expires_at > moment
		                   FROM inv_reservation AS line
		                  WHERE line.item_id = item AND line.location_id = 0
		                    AND line.stripe = 0 AND line.status = 'active'
		                  ORDER BY line.item_id, line.location_id, line.stripe,
		                           line.expires_at
		                  LIMIT 1), true)
		THEN
			RETURN;
		END IF;
	END IF;
	-- A block with an exception handler costs a subtransaction, so only here.
	BEGIN
		SELECT * INTO reservation_id, status, expires_at, replayed, available
		  FROM inv_reserve(wanted, units, request_key, buyer);
	EXCEPTION WHEN SQLSTATE 'IV001' THEN
		reservation_id := NULL;
	END;
END
$$;

CREATE FUNCTION inv_reserve_cart(
	wanted text[], units bigint[], request_key text, buyer text,
	OUT reservation_id uuid, OUT status text, OUT expires_at timestamptz,
	OUT replayed boolean, OUT available bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	hold uuid := gen_random_uuid();
	asked jsonb := jsonb_build_object('skus', wanted, 'quantities', units,
	                                  'customer', buyer);
	first record;
	items bigint[];
	quantities bigint[];
	unknown bigint;
	closed bigint;
	currencies bigint;
	ttl interval;
	reservable bigint;
	moment timestamptz;
BEGIN
	IF cardinality(wanted) = 0 OR cardinality(wanted) <> cardinality(units) THEN
		RAISE 'a cart needs as many quantities as SKUs' USING ERRCODE = '22023';
	END IF;
	IF request_key IS NOT NULL THEN
		INSERT INTO inv_idempotency (scope, key, request, reservation_id, created_at)
		VALUES ('reserve_cart', request_key, asked, hold, clock_timestamp())
		ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT done.request, done.reservation_id INTO first
			  FROM inv_idempotency AS done
			 WHERE done.scope = 'reserve_cart' AND done.key = request_key;
			IF first.request <> asked THEN
				RAISE 'key was used with other arguments' USING ERRCODE = 'IV005';
			END IF;
			SELECT line.reservation_id, line.status, line.expires_at, true
			  INTO reservation_id, status, expires_at, replayed
			  FROM inv_reservation AS line
			 WHERE line.reservation_id = first.reservation_id
			 ORDER BY line.line_no LIMIT 1;
			RETURN;
		END IF;
	END IF;

	-- One line a SKU, in the order in which everybody locks.
	SELECT array_agg(line.item_id ORDER BY line.item_id),
	       array_agg(line.units ORDER BY line.item_id),
	       count(*) FILTER (WHERE line.item_id IS NULL),
	       count(*) FILTER (WHERE line.closed),
	       count(DISTINCT line.currency), min(line.ttl)
	  INTO items, quantities, unknown, closed, currencies, ttl
	  FROM (SELECT goods.item_id, sum(cart.units)::bigint AS units,
	               min(goods.currency) AS currency,
	               bool_or(NOT goods.selling
	                       OR goods.listed_until <= clock_timestamp()) AS closed,
	               min(coalesce(goods.hold_ttl, '5 minutes')) AS ttl
	          FROM unnest(wanted, units) AS cart (sku, units)
	          LEFT JOIN inv_item AS goods ON goods.sku = cart.sku
	         GROUP BY goods.item_id) AS line;
	IF unknown > 0 THEN
		RAISE 'unknown SKU in the cart' USING ERRCODE = 'IV004';
	ELSIF closed > 0 THEN
		RAISE 'a SKU of the cart is not for sale' USING ERRCODE = 'IV006';
	ELSIF currencies > 1 THEN
		RAISE 'carts of mixed currency' USING ERRCODE = '22023';
	END IF;

	SELECT count(*) INTO reservable
	  FROM (SELECT stock.on_hand - stock.reserved - stock.min_available AS free,
	               stock.backorder_unlimited, line.units
	          FROM unnest(items, quantities) AS line (item_id, units)
	          JOIN inv_stock AS stock
	            ON stock.item_id = line.item_id
	           AND stock.location_id = 0 AND stock.stripe = 0
	         ORDER BY line.item_id
	           FOR UPDATE OF stock) AS locked
	 WHERE backorder_unlimited OR free >= units;
	IF reservable < cardinality(items) THEN
		RAISE 'insufficient stock for the cart' USING ERRCODE = 'IV001';
	END IF;

	moment := clock_timestamp();
	reservation_id := hold;
	status := 'active';
	expires_at := moment + ttl;
	replayed := false;
	WITH taken AS (
		UPDATE inv_stock AS stock
		   SET reserved = reserved + line.units, updated_at = moment
		  FROM unnest(items, quantities) AS line (item_id, units)
		 WHERE stock.item_id = line.item_id
		   AND stock.location_id = 0 AND stock.stripe = 0
		RETURNING stock.item_id, line.units, stock.on_hand, stock.reserved,
		          stock.on_hand - stock.reserved - stock.min_available AS free),
	booked AS (
		INSERT INTO inv_ledger (at, xid, operation, item_id, location_id,
		                        stripe, delta_on_hand, delta_reserved,
		                        on_hand_after, reserved_after, reservation_id,
		                        login_role, caller_role)
		SELECT moment, pg_current_xact_id(), 'reserve', item_id, 0, 0, 0, units,
		       on_hand, reserved, hold, session_user, current_user
		  FROM taken)
	SELECT min(free) INTO available FROM taken;
	INSERT INTO inv_reservation (reservation_id, line_no, item_id, location_id,
	                             stripe, quantity, unit_price, currency,
	                             status, customer, expires_at, created_at)
	SELECT hold, line.line_no, line.item_id, 0, 0, line.units,
	       goods.unit_price, goods.currency, 'active', buyer, moment + ttl,
	       moment
	  FROM unnest(items, quantities)
	           WITH ORDINALITY AS line (item_id, units, line_no)
	  JOIN inv_item AS goods USING (item_id);
END
$$;

CREATE FUNCTION inv_confirm(
	hold uuid,
	OUT order_id uuid, OUT status text, OUT total numeric,
	OUT replayed boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	line record;
	after record;
	sale uuid := gen_random_uuid();
	moment timestamptz;
BEGIN
	SELECT held.item_id, held.stripe, held.quantity, held.unit_price,
	       held.currency, held.status, held.customer, held.reference,
	       held.expires_at
	  INTO line
	  FROM inv_reservation AS held
	 WHERE held.reservation_id = hold AND held.line_no = 1
	   FOR UPDATE;
	moment := clock_timestamp();
	IF NOT FOUND THEN
		RAISE 'reservation not found' USING ERRCODE = 'IV003';
	ELSIF line.status = 'confirmed' THEN
		SELECT made.order_id, made.status, made.total, true
		  INTO order_id, status, total, replayed
		  FROM inv_order AS made WHERE made.reservation_id = hold;
		RETURN;
	ELSIF line.status = 'cancelled' THEN
		RAISE 'the reservation is cancelled' USING ERRCODE = 'IV008';
	ELSIF line.status = 'expired' OR line.expires_at <= moment THEN
		RAISE 'the reservation has expired' USING ERRCODE = 'IV002';
	END IF;

	UPDATE inv_reservation
	   SET status = 'confirmed', closed_at = moment
	 WHERE reservation_id = hold AND line_no = 1;
	INSERT INTO inv_order (order_id, reservation_id, customer, reference,
	                       total, currency, status, payment_status,
	                       created_at, updated_at)
	VALUES (sale, hold, line.customer, line.reference,
	        line.quantity * line.unit_price, line.currency, 'confirmed',
	        'pending', moment, moment);
	UPDATE inv_stock
	   SET on_hand = on_hand - line.quantity,
	       reserved = reserved - line.quantity, updated_at = clock_timestamp()
	 WHERE item_id = line.item_id AND location_id = 0 AND stripe = line.stripe
	RETURNING on_hand, reserved INTO after;
	INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
	                        delta_on_hand, delta_reserved, on_hand_after,
	                        reserved_after, reservation_id, order_id,
	                        login_role, caller_role)
	VALUES (clock_timestamp(), pg_current_xact_id(), 'confirm', line.item_id,
	        0, line.stripe, -line.quantity, -line.quantity, after.on_hand,
	        after.reserved, hold, sale, session_user, current_user);
	order_id := sale;
	status := 'confirmed';
	total := line.quantity * line.unit_price;
	replayed := false;
END
$$;

CREATE FUNCTION inv_cancel(
	hold uuid,
	OUT reservation_id uuid, OUT status text, OUT replayed boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	line record;
	after record;
	moment timestamptz;
BEGIN
	SELECT held.item_id, held.stripe, held.quantity, held.status,
	       held.expires_at
	  INTO line
	  FROM inv_reservation AS held
	 WHERE held.reservation_id = hold AND held.line_no = 1
	   FOR UPDATE;
	moment := clock_timestamp();
	IF NOT FOUND THEN
		RAISE 'reservation not found' USING ERRCODE = 'IV003';
	ELSIF line.status = 'confirmed' THEN
		RAISE 'the reservation is sold' USING ERRCODE = 'IV008';
	END IF;
	reservation_id := hold;
	status := CASE WHEN line.status = 'active' AND line.expires_at > moment
	               THEN 'cancelled' ELSE 'expired' END;
	replayed := line.status <> 'active';
	IF replayed THEN
		status := line.status;
		RETURN;
	END IF;

	UPDATE inv_reservation AS held
	   SET status = inv_cancel.status, closed_at = moment
	 WHERE held.reservation_id = hold AND held.line_no = 1;
	UPDATE inv_stock
	   SET reserved = reserved - line.quantity, updated_at = clock_timestamp()
	 WHERE item_id = line.item_id AND location_id = 0 AND stripe = line.stripe
	RETURNING on_hand, reserved INTO after;
	INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
	                        delta_on_hand, delta_reserved, on_hand_after,
	                        reserved_after, reservation_id, login_role,
	                        caller_role)
	VALUES (clock_timestamp(), pg_current_xact_id(), 'cancel', line.item_id,
	        0, line.stripe, 0, -line.quantity, after.on_hand, after.reserved,
	        hold, session_user, current_user);
END
$$;
