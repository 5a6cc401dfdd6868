-- A request for a SKU that is sold out, without a key.
\set customer random(1, 1000000)
SELECT * FROM inv_try_reserve(:first_sku, 1, NULL, :customer);
