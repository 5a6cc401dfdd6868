-- Tables of a shop with counters, as optimistic and pessimistic locking have
-- them, as the files that import.sh takes.  In the database where they are:
--
--     OUT=. psql -X -f from_sql.sql
--
-- Change the names, below, to yours.
\set ON_ERROR_STOP on
\set QUIET on
-- on_hand is what is not sold.  Where your counter is lessened by holds too, add
-- the units of those that are active.
CREATE TEMPORARY VIEW stock AS
SELECT sku, name, price, currency, total_quantity AS on_hand, NULL AS location
  FROM product;
-- A hold of several lines keeps its id in each.
CREATE TEMPORARY VIEW hold AS
SELECT reservation.id, sku, quantity, customer_id AS customer,
       order_no AS reference, expires_at, NULL AS location
  FROM reservation
  JOIN reservation_line ON reservation_id = reservation.id
  JOIN product ON product.id = product_id
 WHERE status = 'ACTIVE';
\copy (SELECT * FROM stock ORDER BY sku) TO PROGRAM 'cat >"$OUT"/stock.csv' (FORMAT csv, HEADER)
\copy (SELECT * FROM hold ORDER BY expires_at, id, sku) TO PROGRAM 'cat >"$OUT"/holds.csv' (FORMAT csv, HEADER)
