-- What mongoexport wrote, one document a line, as the files that import.sh takes:
--
--     mongoexport --db shop --collection products --out products.jsonl
--     mongoexport --db shop --collection reservations --out reservations.jsonl
--     STOCK=products.jsonl HOLDS=reservations.jsonl OUT=. psql -X -f from_mongodb.sql
--
-- Any database will do; it gets temporary tables only.  Change the names of
-- fields, below, to yours.
\set ON_ERROR_STOP on
\set QUIET on
CREATE TEMPORARY TABLE product (document jsonb);
CREATE TEMPORARY TABLE reservation (document jsonb);
-- As CSV with a quote and a delimiter that are in no JSON, a line is one value.
\copy product FROM PROGRAM 'cat "$STOCK"' (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
\copy reservation FROM PROGRAM 'cat "$HOLDS"' (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

-- mongoexport wraps what JSON has no type for: {"$numberLong": "5"},
-- {"$numberDecimal": "9.99"}, {"$date": "2026-01-15T10:00:00Z"}, {"$oid": "..."}.
CREATE FUNCTION pg_temp.plain(value jsonb) RETURNS text
IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE jsonb_typeof(value)
	           WHEN 'object' THEN (SELECT pg_temp.plain(member.value)
	                                 FROM jsonb_each(value) AS member LIMIT 1)
	           ELSE value #>> '{}' END
$$;

-- on_hand is what is not sold: the quantity that reservations do not lessen.
CREATE TEMPORARY VIEW stock AS
SELECT pg_temp.plain(document -> 'sku') AS sku,
       pg_temp.plain(document -> 'name') AS name,
       pg_temp.plain(document -> 'price') AS price,
       'EUR' AS currency,
       pg_temp.plain(document -> 'totalQuantity') AS on_hand,
       NULL AS location
  FROM product;
CREATE TEMPORARY VIEW hold AS
SELECT pg_temp.plain(document -> '_id') AS id,
       pg_temp.plain(document -> 'sku') AS sku,
       pg_temp.plain(document -> 'quantity') AS quantity,
       pg_temp.plain(document -> 'userId') AS customer,
       pg_temp.plain(document -> 'orderId') AS reference,
       pg_temp.plain(document -> 'expiresAt') AS expires_at,
       NULL AS location
  FROM reservation
 WHERE document ->> 'status' IN ('ACTIVE', 'PENDING');
\copy (SELECT * FROM stock ORDER BY sku) TO PROGRAM 'cat >"$OUT"/stock.csv' (FORMAT csv, HEADER)
\copy (SELECT * FROM hold ORDER BY expires_at, id) TO PROGRAM 'cat >"$OUT"/holds.csv' (FORMAT csv, HEADER)
