-- Hashes of Redis as the files that import.sh takes.  Each line of an export is
-- the key and what HGETALL says:
--
--     dump() {
--         redis-cli --scan --pattern "$1" | while read -r key; do
--             printf '"%s",' "$key"
--             redis-cli --csv HGETALL "$key" </dev/null
--         done
--     }
--     dump 'inventory:*' >inventory.csv
--     dump 'reservation:*' >reservations.csv
--     STOCK=inventory.csv HOLDS=reservations.csv OUT=. psql -X -f from_redis.sql
--
-- Any database will do; it gets temporary tables only.  Change the names of
-- keys and fields, below, to yours.
\set ON_ERROR_STOP on
\set QUIET on
CREATE TEMPORARY TABLE stock_line (line text);
CREATE TEMPORARY TABLE hold_line (line text);
-- As CSV with a quote and a delimiter that are in no line, a line is one value.
\copy stock_line FROM PROGRAM 'cat "$STOCK"' (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
\copy hold_line FROM PROGRAM 'cat "$HOLDS"' (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

-- redis-cli quotes every value, as JSON does: "key","field","value", ...
CREATE FUNCTION pg_temp.fields(line text) RETURNS jsonb
IMMUTABLE LANGUAGE sql AS $$
	SELECT jsonb_object_agg(word, coalesce(value, ''))
	  FROM (SELECT number, word, lead(word) OVER (ORDER BY number) AS value
	          FROM jsonb_array_elements_text(('["key",' || line || ']')::jsonb)
	               WITH ORDINALITY AS list (word, number)) AS pair
	 WHERE number % 2 = 1
$$;

-- Active ones only, and of those that is live what the clock says: the sweep of
-- the old system may be late.  Epochs are in milliseconds.
CREATE TEMPORARY VIEW hold AS
SELECT regexp_replace(hash ->> 'key', '^reservation:', '') AS id,
       hash ->> 'sku' AS sku,
       hash ->> 'quantity' AS quantity,
       hash ->> 'userId' AS customer,
       nullif(hash ->> 'orderId', '') AS reference,
       to_timestamp((hash ->> 'expiresAt')::numeric / 1000) AS expires_at,
       NULL AS location
  FROM hold_line, pg_temp.fields(line) AS hash
 WHERE lower(hash ->> 'status') = 'active';
-- The counter "available" was lessened by every hold that is active, dead ones
-- included, so on_hand is the sum.
CREATE TEMPORARY VIEW stock AS
SELECT sku, hash ->> 'name' AS name, hash ->> 'price' AS price,
       'EUR' AS currency,
       (hash ->> 'available')::bigint
       + coalesce((SELECT sum(quantity::bigint) FROM hold WHERE hold.sku = key.sku), 0) AS on_hand,
       NULL AS location
  FROM stock_line, pg_temp.fields(line) AS hash,
       regexp_replace(hash ->> 'key', '^inventory:', '') AS key (sku);
\copy (SELECT * FROM stock ORDER BY sku) TO PROGRAM 'cat >"$OUT"/stock.csv' (FORMAT csv, HEADER)
\copy (SELECT * FROM hold ORDER BY expires_at, id) TO PROGRAM 'cat >"$OUT"/holds.csv' (FORMAT csv, HEADER)
