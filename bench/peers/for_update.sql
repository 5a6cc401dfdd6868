-- Peer "for_update": lock the stock row, look, then change it; what most
-- shops' first version does.
--
-- Guarantees: never oversells; stock, reservation, key and ledger change in
-- one transaction; an idempotency key replays.
-- Does not: reclaim dead holds.  Against the twin it takes one statement more
-- while the row is locked.

CREATE FUNCTION inv_reserve(
	wanted text, units bigint, request_key text, buyer text,
	OUT reservation_id uuid, OUT expires_at timestamptz, OUT replayed boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	hold uuid := gen_random_uuid();
	item record;
	stock record;
	moment timestamptz;
BEGIN
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

	SELECT held.on_hand, held.reserved, held.min_available INTO stock
	  FROM inv_stock AS held
	 WHERE held.item_id = item.item_id AND held.location_id = 0
	   AND held.stripe = 0
	   FOR UPDATE;
	IF stock.on_hand - stock.reserved - stock.min_available < units THEN
		RAISE 'insufficient stock of "%"', wanted USING ERRCODE = 'IV001';
	END IF;
	UPDATE inv_stock AS held
	   SET reserved = held.reserved + units, updated_at = clock_timestamp()
	 WHERE held.item_id = item.item_id AND held.location_id = 0
	   AND held.stripe = 0;

	moment := clock_timestamp();
	INSERT INTO inv_reservation (reservation_id, line_no, item_id, location_id,
	                             stripe, quantity, unit_price, currency,
	                             status, customer, expires_at, created_at)
	VALUES (hold, 1, item.item_id, 0, 0, units, item.unit_price, item.currency,
	        'active', buyer, moment + interval '5 minutes', moment);
	INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
	                        delta_on_hand, delta_reserved, on_hand_after,
	                        reserved_after, reservation_id, login_role,
	                        caller_role)
	VALUES (moment, pg_current_xact_id(), 'reserve', item.item_id, 0, 0, 0,
	        units, stock.on_hand, stock.reserved + units, hold,
	        session_user, current_user);
	reservation_id := hold;
	expires_at := moment + interval '5 minutes';
	replayed := false;
END
$$;
