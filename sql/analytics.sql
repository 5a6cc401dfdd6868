-- Views over the ledger by hour: what became of holds, sell-through, sold out.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup
SET timezone = 'UTC';

-- What has been done so far was done in that hour.
CREATE FUNCTION pg_temp.it_was(moment timestamptz) RETURNS void
LANGUAGE sql AS $$
UPDATE inv.inv_ledger SET at = moment WHERE at > '2002-01-01';
$$;
SELECT inv.inv_add_item('A', unit_price => 1), inv.inv_add_item('B', unit_price => 1) \g /dev/null
SELECT inv.inv_add_location('store') \g /dev/null

-- nothing has happened
SELECT * FROM inv.inv_hold_conversion;
SELECT * FROM inv.inv_sell_through;
SELECT * FROM inv.inv_sold_out;

-- ten to eleven: 10 units come, 3 + 2 + 4 are held, 3 sold, 1 of the 2 released
SELECT on_hand FROM inv.inv_receive('A', 10);
SELECT reservation_id AS first FROM inv.inv_reserve('A', 3) \gset
SELECT reservation_id AS second FROM inv.inv_reserve('A', 2) \gset
SELECT order_id AS sale FROM inv.inv_confirm(:'first') \gset
SELECT dead_hold('A', 4) AS dead \gset
SELECT status FROM inv.inv_release(:'second', 'A', 1);
SELECT pg_temp.it_was('2001-01-01 10:59:59.999999+00');

-- eleven to twelve: the 4 die, 1 is cancelled, 2 are held and sold, 1 of the 3
-- comes back, 2 are found, 3 go to the store, and one of those is held
SELECT inv.inv_expire();
SELECT status FROM inv.inv_cancel(:'second');
SELECT status FROM inv.inv_confirm((inv.inv_reserve('A', 2)).reservation_id);
SELECT status FROM inv.inv_return(:'sale', 'A', 1);
SELECT on_hand FROM inv.inv_adjust('A', 2);
SELECT location, on_hand FROM inv.inv_transfer('A', 3, NULL, 'store');
SELECT status FROM inv.inv_reserve('A', 1, location => 'store');
SELECT pg_temp.it_was('2001-01-01 11:00+00');

-- one to two: the order is cancelled, whose other 2 units come back; a payment
-- for the 4 comes late; B is counted, in stripes, of which some sell
SELECT status FROM inv.inv_cancel_order(:'sale');
SELECT status FROM inv.inv_confirm(:'dead', retake => true);
SELECT on_hand FROM inv.inv_set_stock('B', 8);
SELECT pg_temp.it_was('2001-01-01 12:59+00');
SELECT inv.inv_set_stripes('B', 4);
SELECT status FROM inv.inv_confirm((inv.inv_reserve('B', 5)).reservation_id);
SELECT pg_temp.it_was('2001-01-01 13:30+00');

CREATE VIEW pg_temp.seen AS
SELECT 'conversion' AS view, to_jsonb(seen) AS line FROM inv.inv_hold_conversion AS seen
UNION ALL
SELECT 'sell-through', to_jsonb(seen) FROM inv.inv_sell_through AS seen
UNION ALL
SELECT 'ledger', to_jsonb(seen) FROM inv.inv_ledger_by_hour AS seen;

-- as long as upkeep has not been there, from the ledger as it is
SELECT * FROM inv.inv_hold_conversion ORDER BY hour, sku, location;
SELECT * FROM inv.inv_sell_through ORDER BY hour, sku, location;
SELECT count(*) FROM inv.inv_ledger_hour;
CREATE TEMP TABLE seen_before AS SELECT * FROM pg_temp.seen;

-- one hour of it, one SKU
SELECT hour, units_held, conversion FROM inv.inv_hold_conversion
 WHERE hour = '2001-01-01 11:00+00' AND location = 'default';
SELECT hour, sku, units_sold FROM inv.inv_sell_through
 WHERE hour >= '2001-01-01 10:00+00' AND hour < '2001-01-01 12:00+00' AND sku = 'A' AND location = 'default'
 ORDER BY hour;
-- of several hours the sums count
SELECT sku, sum(units_confirmed) AS confirmed, sum(units_expired) AS expired,
       round(sum(units_confirmed) / sum(units_confirmed + units_cancelled + units_expired), 2) AS conversion
  FROM inv.inv_hold_conversion GROUP BY sku ORDER BY sku;
-- what began and has not ended is still held
SELECT sku, sum(units_held - units_confirmed - units_cancelled - units_expired) AS held
  FROM inv.inv_hold_conversion GROUP BY sku ORDER BY sku;
SELECT sku, reserved FROM inv.inv_availability WHERE reserved > 0;

-- upkeep notes where the hours are, and nothing looks otherwise for that
CALL inv.inv_maintain();
SELECT hour, epoch, first_xid <= last_xid AS range FROM inv.inv_ledger_hour
 WHERE hour < '2002-01-01' ORDER BY hour;
SELECT count(*) FROM ((SELECT * FROM seen_before EXCEPT ALL SELECT * FROM pg_temp.seen)) AS lost;
SELECT count(*) FROM ((SELECT * FROM pg_temp.seen WHERE line ->> 'hour' < '2002' EXCEPT ALL SELECT * FROM seen_before)) AS new;
SELECT count(*) - (SELECT count(*) FROM inv.inv_ledger) AS twice_or_missing FROM inv.inv_ledger_by_hour;

-- entries behind the place that it has reached are there as well
SELECT status FROM inv.inv_reserve('B', 3);
SELECT count(*) - (SELECT count(*) FROM inv.inv_ledger) AS twice_or_missing FROM inv.inv_ledger_by_hour;
SELECT units_held FROM inv.inv_hold_conversion WHERE sku = 'B' ORDER BY hour;

-- also where upkeep stopped in the middle of a transaction
CALL inv.inv_maintain();
SELECT count(*) - (SELECT count(*) FROM inv.inv_ledger) AS twice_or_missing FROM inv.inv_ledger_by_hour;
UPDATE inv.inv_progress SET entry_id = entry_id - 1 WHERE task = 'hours';
SELECT count(*) - (SELECT count(*) FROM inv.inv_ledger) AS twice_or_missing FROM inv.inv_ledger_by_hour;

-- Sold out: upkeep has told that B came into stock, and then that it is gone.
SELECT sku, location, in_stock_since < sold_out_at AS in_order,
       time_to_sold_out = sold_out_at - in_stock_since AS fits,
       hour = date_trunc('hour', sold_out_at) AS its_hour
  FROM inv.inv_sold_out;
-- the event says since when it had been in stock
SELECT entry.operation, entry.reason IS NULL AS is_first,
       entry.reason::timestamptz BETWEEN lag(entry.at) OVER before AND entry.at AS fits
  FROM inv.inv_ledger AS entry JOIN inv.inv_item AS item USING (item_id)
 WHERE item.sku = 'B' AND entry.operation IN ('back_in_stock', 'out_of_stock')
WINDOW before AS (ORDER BY entry.entry_id)
 ORDER BY entry.entry_id;

-- What has been purged cannot be seen any more.  The last transaction of a
-- range might have more entries than were purged.
CREATE TEMP TABLE purged AS SELECT inv.inv_purge('5 years') AS rows;
SELECT rows > 10 AS purged FROM purged;
SELECT count(*) FROM inv.inv_hold_conversion WHERE hour < '2002-01-01';
SELECT count(*) > 0 AS left FROM inv.inv_hold_conversion;
SELECT count(*) - (SELECT count(*) FROM inv.inv_ledger) AS twice_or_missing FROM inv.inv_ledger_by_hour;
CALL inv.inv_maintain();
SELECT status FROM inv.inv_confirm((inv.inv_reserve('A', 1)).reservation_id);
CALL inv.inv_maintain();
SELECT count(*) FROM inv.inv_ledger_hour WHERE hour < '2002-01-01';
SELECT count(*) - (SELECT count(*) FROM inv.inv_ledger) AS twice_or_missing FROM inv.inv_ledger_by_hour;
SELECT * FROM inv.inv_check();
