-- One hold of one unit, every request with a key of its own.
-- The SKU is one of first_sku..last_sku: 10,000 of them, or one hot one.
\set sku random(:first_sku, :last_sku)
\set key random(1, 1000000000000000000)
\set customer random(1, 1000000)
SELECT * FROM inv_reserve(:sku, 1, :key, :customer);
