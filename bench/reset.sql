-- Before each run: empty tables, full shelves.  (search_path names the peer;
-- psql variables: units of each SKU, only_sku or '' for all of them.)
--
-- The checkpoint makes every run start with the same distance to the next
-- one, and the pages written since are the run's own.
TRUNCATE inv_stock, inv_reservation, inv_idempotency, inv_order, inv_ledger
    RESTART IDENTITY;
INSERT INTO inv_stock (item_id, location_id, stripe, on_hand)
SELECT item_id, 0, 0, :units FROM inv_item
 WHERE :'only_sku' IN ('', sku) ORDER BY item_id;
INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
                        delta_on_hand, delta_reserved, on_hand_after,
                        reserved_after, login_role, caller_role)
SELECT clock_timestamp(), pg_current_xact_id(), 'load_stock', item_id, 0, 0,
       on_hand, 0, on_hand, 0, session_user, current_user
  FROM inv_stock;
