-- A shop with a row for each unit.
CREATE TABLE unit (
	id bigint PRIMARY KEY,
	sku text NOT NULL,
	price numeric(10,2) NOT NULL,
	currency char(3) NOT NULL,
	status text NOT NULL,
	held_by text,
	held_until timestamptz
);
INSERT INTO unit
SELECT id, 'TICKET-A', 85.00, 'EUR', 'free' FROM generate_series(1, 20) AS id;
INSERT INTO unit
SELECT id, 'TICKET-B', 45.00, 'EUR', 'free' FROM generate_series(21, 50) AS id;
UPDATE unit SET status = 'sold' WHERE id IN (3, 4, 21, 22, 23);
UPDATE unit SET status = 'held', held_by = 'visitor-9', held_until = '2026-01-15 10:07:00+00'
 WHERE id IN (7, 8, 30);
UPDATE unit SET status = 'held', held_by = 'visitor-4', held_until = '2026-01-15 09:58:00+00'
 WHERE id IN (9, 10);
