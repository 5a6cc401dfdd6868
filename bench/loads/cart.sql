-- A cart of ten lines, one unit each, of SKUs drawn from 10,000.
\set sku1 random(:first_sku, :last_sku)
\set sku2 random(:first_sku, :last_sku)
\set sku3 random(:first_sku, :last_sku)
\set sku4 random(:first_sku, :last_sku)
\set sku5 random(:first_sku, :last_sku)
\set sku6 random(:first_sku, :last_sku)
\set sku7 random(:first_sku, :last_sku)
\set sku8 random(:first_sku, :last_sku)
\set sku9 random(:first_sku, :last_sku)
\set sku10 random(:first_sku, :last_sku)
\set key random(1, 1000000000000000000)
\set customer random(1, 1000000)
SELECT * FROM inv_reserve_cart(
    ARRAY[:sku1, :sku2, :sku3, :sku4, :sku5, :sku6, :sku7, :sku8, :sku9, :sku10],
    ARRAY[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]::bigint[], :key, :customer);
