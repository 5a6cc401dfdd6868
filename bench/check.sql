-- After each run: has anything been oversold or lost?  One row: 'ok', or what
-- is wrong.  (search_path names the peer.)
--
-- `acknowledged` is how many holds the clients were told they have.
WITH counters AS (
    SELECT item_id, location_id, stripe, on_hand, reserved,
           on_hand - reserved - min_available AS available
      FROM inv_stock),
held AS (
    SELECT item_id, location_id, stripe, sum(quantity) AS units
      FROM inv_reservation WHERE status = 'active' GROUP BY 1, 2, 3),
booked AS (
    SELECT item_id, location_id, stripe, sum(delta_on_hand) AS on_hand,
           sum(delta_reserved) AS reserved
      FROM inv_ledger GROUP BY 1, 2, 3),
made AS (
    SELECT count(*) AS holds FROM inv_reservation WHERE line_no = 1)
SELECT CASE
    WHEN EXISTS (SELECT FROM counters WHERE available < 0 OR reserved < 0)
        THEN 'oversold'
    WHEN EXISTS (SELECT FROM counters FULL JOIN held
                   USING (item_id, location_id, stripe)
                  WHERE coalesce(reserved, 0) <> coalesce(units, 0))
        THEN 'reserved differs from the holds'
    WHEN EXISTS (SELECT FROM counters FULL JOIN booked
                   USING (item_id, location_id, stripe)
                  WHERE coalesce(counters.on_hand, 0) <> coalesce(booked.on_hand, 0)
                     OR coalesce(counters.reserved, 0) <> coalesce(booked.reserved, 0))
        THEN 'counters differ from the ledger'
    WHEN (SELECT holds FROM made) < :acknowledged
        THEN 'acknowledged holds are missing'
    ELSE 'ok' END;
