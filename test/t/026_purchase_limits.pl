# Purchase limits under load: few customers, each with many clients at once, who
# hold, buy, give back, pay late and let holds die, singly, in carts and in
# batches, of SKUs in one row and in stripes.  In every snapshot each customer
# has at most what he may have, and buyers come back with what is left.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 10;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

add_stock($node, LIMITED => 1_000_000, STRIPED => 1_000_000, FREE => 1_000_000);
$node->safe_psql('postgres', q{
	SELECT inv_set_item('LIMITED', max_per_customer => 5),
	       inv_set_item('STRIPED', max_per_customer => 3, limit_window => '300 milliseconds');
	SELECT inv_set_stripes('STRIPED', 8);

	CREATE TABLE made (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid);
	CREATE TABLE told (act text, outcome text);
	CREATE FUNCTION some_customer() RETURNS text
	RETURN 'c' || floor(random() * 6)::integer;
	CREATE FUNCTION some_sku() RETURNS text
	RETURN (ARRAY['LIMITED', 'STRIPED'])[1 + floor(random() * 2)::integer];
	CREATE FUNCTION note(act text, outcome text, hold uuid DEFAULT NULL) RETURNS void
	LANGUAGE sql BEGIN ATOMIC
		INSERT INTO made (id) SELECT hold WHERE hold IS NOT NULL;
		INSERT INTO told VALUES (act, outcome);
	END;

	CREATE FUNCTION hold() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold inv_hold;
	BEGIN
		hold := inv_reserve(some_sku(), 1 + floor(random() * 3)::bigint,
			customer => some_customer(), ttl => random() * interval '100 milliseconds'
				+ interval '1 millisecond');
		PERFORM note('hold', hold.status, hold.reservation_id);
	EXCEPTION WHEN SQLSTATE 'IV007' THEN
		PERFORM note('hold', SQLSTATE);
	END $$;
	CREATE FUNCTION cart() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold inv_hold;
	BEGIN
		hold := inv_reserve_cart('{FREE,STRIPED,LIMITED}', '{1,1,2}',
			customer => some_customer(), ttl => interval '50 milliseconds');
		PERFORM note('cart', hold.status, hold.reservation_id);
	EXCEPTION WHEN SQLSTATE 'IV007' THEN
		PERFORM note('cart', SQLSTATE);
	END $$;
	CREATE FUNCTION batch() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold record;
	BEGIN
		FOR hold IN SELECT * FROM inv_reserve_batch(
			ARRAY(SELECT some_sku() FROM generate_series(1, 5)), '{1,2,1,3,1}',
			customers => ARRAY(SELECT some_customer() FROM generate_series(1, 5)),
			ttl => interval '20 milliseconds')
		LOOP
			PERFORM note('batch', coalesce(hold.error, hold.status), hold.reservation_id);
		END LOOP;
	END $$;
	CREATE FUNCTION some_hold() RETURNS uuid LANGUAGE sql RETURN
		(SELECT id FROM made
		  WHERE place > (SELECT max(place) FROM made) - (random() * 20)::int
		  ORDER BY place LIMIT 1);
	CREATE FUNCTION pay() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		sale inv_confirmation;
	BEGIN
		sale := inv_confirm(some_hold(), retake => random() < 0.5);
		PERFORM note('pay', CASE WHEN sale.replayed THEN 'again' ELSE sale.status END);
	EXCEPTION WHEN SQLSTATE 'IV002' OR SQLSTATE 'IV007' OR SQLSTATE 'IV008' THEN
		PERFORM note('pay', SQLSTATE);
	END $$;

	CREATE FUNCTION refund() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM inv_cancel_order(order_id)
		   FROM (SELECT order_id FROM inv_order WHERE status = 'confirmed'
		          ORDER BY order_id DESC OFFSET floor(random() * 5) LIMIT 1) AS sale;
	EXCEPTION WHEN SQLSTATE 'IV008' THEN
		PERFORM note('refund', SQLSTATE);
	END $$;

	-- more than a customer may have
	CREATE VIEW excess AS
	SELECT line.customer, item.sku, sum(line.quantity - line.returned) AS units
	  FROM inv_reservation AS line JOIN inv_item AS item USING (item_id)
	 WHERE (item.sku = 'LIMITED' AND line.status = 'confirmed')
	    OR (item.sku IN ('LIMITED', 'STRIPED') AND line.status = 'active'
	        AND line.expires_at > clock_timestamp())
	 GROUP BY line.customer, item.sku, item.max_per_customer
	HAVING sum(line.quantity - line.returned) > item.max_per_customer});

# something that can be paid for from the start
$node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT hold() FROM generate_series(1, 9)) AS held');
my ($status) = pgbench($node,
	clients => 24,
	arguments => [ '--time', $seconds, '--max-tries', 1 ],
	scripts => {
		'SELECT hold();' => 60,
		'SELECT cart();' => 20,
		'SELECT batch();' => 20,
		'SELECT pay();' => 50,
		'SELECT refund();' => 40,
		'SELECT inv_expire(20);' => 4,
		'SELECT 1 / (count(*) = 0)::int FROM excess;' => 10,
		'SELECT 1 / (count(*) = 0)::int FROM inv_check();' => 1,
	});
is($status, 0, 'nobody ever had more than he may have, and no client met an unexpected error');
only_errors_are($node, 0, {}, 'no deadlock and no other error in the log');
books_are_right($node);

note $node->safe_psql('postgres',
	'SELECT act, outcome, count(*) FROM told GROUP BY 1, 2 ORDER BY 1, 2');
foreach my $happened (
	"act = 'hold' AND outcome = 'active'", "act = 'hold' AND outcome = 'IV007'",
	"act = 'cart' AND outcome = 'active'", "act = 'cart' AND outcome = 'IV007'",
	"act = 'batch' AND outcome = 'active'", "act = 'batch' AND outcome = 'IV007'",
	"act = 'pay' AND outcome = 'confirmed'", "act = 'pay' AND outcome = 'IV007'")
{
	isnt($node->safe_psql('postgres', "SELECT count(*) FROM told WHERE $happened"),
		'0', "it happened: $happened");
}
isnt($node->safe_psql('postgres', q{
		SELECT count(*) FROM inv_ledger WHERE operation = 'retake'}),
	'0', 'it happened: a late payment counted again');
value_is($node, q{SELECT count(*) FROM excess}, 0, 'in the end nobody has too much');

# What a customer may still have is what the books say: each takes the rest, and
# not one unit more.
$node->safe_psql('postgres', 'CALL inv_maintain()');
value_is($node, q{
	SELECT customer FROM (SELECT 'c' || nr AS customer FROM generate_series(0, 5) AS nr) AS all_of_them
	  CROSS JOIN LATERAL (
	  SELECT coalesce(sum(quantity - returned), 0) AS has FROM inv_reservation
	    JOIN inv_item USING (item_id)
	   WHERE sku = 'LIMITED' AND inv_reservation.customer = all_of_them.customer
	     AND status IN ('active', 'confirmed')) AS line
	 WHERE has < 5 AND (inv_reserve('LIMITED', (5 - has)::bigint, customer => customer)).status <> 'active'},
	'', 'each customer gets what is left for him');
value_is($node, q{
	SELECT count(*) FROM inv_reserve_batch(array_fill('LIMITED'::text, '{6}'), '{1,1,1,1,1,1}',
		customers => '{c0,c1,c2,c3,c4,c5}') WHERE error = 'IV007'},
	6, '... and nobody more');
books_are_right($node);

$node->stop;
done_testing();
