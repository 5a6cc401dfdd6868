-- A session looks for an item where it found it last time: whatever has become
-- of that place, it is the item of that SKU that is found, or none.
\getenv abs_srcdir PG_ABS_SRCDIR
\set setup :abs_srcdir /test/regress/setup.sql
\i :setup

SELECT inv.inv_add_item('A') AS a, inv.inv_add_item('B') AS b;
SELECT on_hand FROM inv.inv_receive('A', 10);
SELECT on_hand FROM inv.inv_receive('B', 20);
SELECT inv.inv_available('A') AS a, inv.inv_available('B') AS b;

-- changed in place
UPDATE inv.inv_item SET selling = false WHERE sku = 'A';
SELECT outcome($$SELECT inv.inv_reserve('A')$$);
UPDATE inv.inv_item SET selling = true WHERE sku = 'A';
SELECT status, available FROM inv.inv_reserve('A');

-- renamed, and the name given to another
SELECT inv.inv_rename_item('A', 'old A');
SELECT outcome($$SELECT inv.inv_available('A')$$);
SELECT inv.inv_available('old A') AS a;
SELECT inv.inv_rename_item('B', 'A');
SELECT inv.inv_available('A') AS b;
SELECT outcome($$SELECT inv.inv_available('B')$$);
SELECT status, available FROM inv.inv_reserve_cart('{A,old A}', '{1,1}');

-- as the transaction's snapshot has it
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT inv.inv_available('A') AS b;
ROLLBACK;
BEGIN;
SELECT inv.inv_rename_item('A', 'B');
SELECT inv.inv_available('B') AS b;
SELECT outcome($$SELECT inv.inv_available('A')$$);
ROLLBACK;
SELECT inv.inv_available('A') AS b;
SELECT outcome($$SELECT inv.inv_available('B')$$);

-- gone, and its place taken
INSERT INTO inv.inv_item (sku) SELECT 'X' || nr FROM generate_series(1, 1000) AS nr;
SELECT sum(inv.inv_available('X' || nr)) FROM generate_series(1, 1000) AS nr;
DELETE FROM inv.inv_item WHERE sku LIKE 'X%';
VACUUM inv.inv_item;
SELECT outcome($$SELECT inv.inv_available('X1')$$);
-- the table is shorter now
SELECT outcome($$SELECT inv.inv_available('X1000')$$);
INSERT INTO inv.inv_item (sku) SELECT 'Y' || nr FROM generate_series(1, 1000) AS nr;
SELECT outcome($$SELECT inv.inv_available('X1')$$);
SELECT sum(inv.inv_available('Y' || nr)) FROM generate_series(1, 1000) AS nr;
DELETE FROM inv.inv_item WHERE sku LIKE 'Y%';

-- all of them somewhere else
VACUUM FULL inv.inv_item;
SELECT inv.inv_available('old A') AS a, inv.inv_available('A') AS b;
SELECT * FROM inv.inv_check();
