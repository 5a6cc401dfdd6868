-- The shop's eight products.  inv_add_item() puts a SKU into the catalogue,
-- inv_receive() puts units of it on the shelf.
SELECT inv_add_item(sku, name, price, 'EUR'),
       inv_receive(sku, quantity, reason => 'opening stock')
  FROM (VALUES
        ('LAPTOP001',  'Laptop, 14 inch',    5, 1299.99),
        ('PHONE001',   'Phone, 128 GB',     10,  899.99),
        ('HEADSET001', 'Headset',           20,  299.99),
        ('TABLET001',  'Tablet, 11 inch',    8,  699.99),
        ('WATCH001',   'Sports watch',      15,  399.99),
        ('CAMERA001',  'System camera',      3, 1599.99),
        ('SPEAKER001', 'Speaker',           25,  149.99),
        ('CHARGER001', 'Charger, 65 W',     30,   79.99))
       AS product (sku, name, quantity, price);
