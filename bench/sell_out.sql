-- Takes what is not held off the shelf.  (search_path names the peer.)
INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe,
                        delta_on_hand, delta_reserved, on_hand_after,
                        reserved_after, login_role, caller_role)
SELECT clock_timestamp(), pg_current_xact_id(), 'adjust', item_id, location_id,
       stripe, reserved - on_hand, 0, reserved, reserved, session_user,
       current_user
  FROM inv_stock;
UPDATE inv_stock SET on_hand = reserved;
