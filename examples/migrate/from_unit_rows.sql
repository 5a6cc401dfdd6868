-- A table with a row for each unit as the files that import.sh takes.  In the
-- database where it is:
--
--     OUT=. psql -X -f from_unit_rows.sql
--
-- Change the names, below, to yours.
\set ON_ERROR_STOP on
\set QUIET on
CREATE TEMPORARY VIEW stock AS
SELECT sku, NULL AS name, price, currency,
       count(*) FILTER (WHERE unit.status <> 'sold') AS on_hand, NULL AS location
  FROM unit GROUP BY sku, price, currency;
-- Units that one buyer has until the same moment are one hold.
CREATE TEMPORARY VIEW hold AS
SELECT md5(concat_ws('/', held_by, held_until)) AS id, sku, count(*) AS quantity,
       held_by AS customer, NULL AS reference, held_until AS expires_at,
       NULL AS location
  FROM unit
 WHERE status = 'held'
 GROUP BY sku, held_by, held_until;
\copy (SELECT * FROM stock ORDER BY sku) TO PROGRAM 'cat >"$OUT"/stock.csv' (FORMAT csv, HEADER)
\copy (SELECT * FROM hold ORDER BY expires_at, id, sku) TO PROGRAM 'cat >"$OUT"/holds.csv' (FORMAT csv, HEADER)
