-- A shop that counts: of what is not sold, some is reserved.
CREATE TABLE product (
	id bigint PRIMARY KEY,
	sku text NOT NULL UNIQUE,
	name text NOT NULL,
	price numeric(10,2) NOT NULL,
	currency char(3) NOT NULL,
	total_quantity integer NOT NULL,
	reserved_quantity integer NOT NULL,
	version integer NOT NULL
);
CREATE TABLE reservation (
	id bigint PRIMARY KEY,
	customer_id bigint NOT NULL,
	order_no text,
	status text NOT NULL,
	expires_at timestamptz NOT NULL
);
CREATE TABLE reservation_line (
	reservation_id bigint REFERENCES reservation,
	product_id bigint REFERENCES product,
	quantity integer NOT NULL
);
INSERT INTO product VALUES
	(1, 'KETTLE001', 'Kettle, 1.7 l', 39.90, 'EUR', 40, 4, 118),
	(2, 'TOASTER001', 'Toaster', 29.90, 'EUR', 12, 1, 51),
	(3, 'MIXER001', 'Mixer, 500 W', 59.00, 'EUR', 7, 0, 9);
INSERT INTO reservation VALUES
	(7001, 31, 'A-2026-1188', 'ACTIVE', '2026-01-15 10:10:00+00'),
	(7002, 32, 'A-2026-1189', 'ACTIVE', '2026-01-15 10:12:30+00'),
	(6990, 17, 'A-2026-1170', 'CONFIRMED', '2026-01-15 09:40:00+00'),
	(6995, 18, NULL, 'EXPIRED', '2026-01-15 09:50:00+00');
INSERT INTO reservation_line VALUES
	(7001, 1, 1), (7001, 2, 1), (7002, 1, 3), (6990, 3, 1), (6995, 3, 2);
