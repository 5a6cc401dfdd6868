-- The cheapest thing SQL has to offer: one row by its primary key.
\set item random(1, 10000)
SELECT sku, unit_price FROM inv_item WHERE item_id = :item;
