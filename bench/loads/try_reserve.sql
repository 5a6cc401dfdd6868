-- A request for a SKU that is sold out, with a key of its own.
\set key random(1, 1000000000000000000)
\set customer random(1, 1000000)
SELECT * FROM inv_try_reserve(:first_sku, 1, :key, :customer);
