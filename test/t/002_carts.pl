# Carts of five random SKUs from 32 clients, half of which live too short to be
# confirmed, while others sell them, cancel them, shrink them, extend them, and
# sweep, for a while.
#
# The clients write down what they were told, each in the transaction of its
# call.  At the end the stock must be what they sold and received, and what the
# books say.  Every transaction makes one call, so there may be no deadlock.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 15;
my $skus = 30;
my $units = 300;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

add_stock($node, map { sprintf('S%02d', $_) => $units } 1 .. $skus);
$node->safe_psql('postgres', q{
	-- holds that somebody has made, for others to take in hand
	CREATE TABLE made (place bigint PRIMARY KEY, id uuid);
	CREATE SEQUENCE place CACHE 1;
	-- what the clients were told
	CREATE TABLE told (act text, outcome text, units bigint, id uuid);

	CREATE FUNCTION make_cart() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		cart record;
	BEGIN
		SELECT array_agg(format('S%s', lpad(sku::text, 2, '0'))) AS skus,
			   array_agg((1 + random() * 2)::bigint) AS quantities
		  INTO cart
		  FROM (SELECT sku FROM generate_series(1, 30) AS sku
				 ORDER BY random() LIMIT 5) AS chosen;
		WITH hold AS MATERIALIZED (
			SELECT * FROM inv_try_reserve_cart(
				cart.skus, cart.quantities,
				ttl => CASE WHEN random() < 0.5 THEN interval '30 milliseconds'
							ELSE interval '1 hour' END)
		), placed AS (
			INSERT INTO made
				SELECT nextval('place'), reservation_id
				  FROM hold WHERE reservation_id IS NOT NULL
		)
		INSERT INTO told (act, outcome, id)
			SELECT 'cart', coalesce(status, 'short'), reservation_id FROM hold;
	END
	$$;

	-- One call on some hold that was made lately, perhaps by another client.
	-- The errors that DESIGN allows are outcomes; others end the test.
	CREATE FUNCTION take_in_hand() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold uuid := (SELECT id FROM made
					   WHERE place > (SELECT last_value FROM place)
									 - (random() * 100)::int
					   ORDER BY place LIMIT 1);
		line record;
		dice float := random();
	BEGIN
		IF hold IS NULL THEN
			RETURN;
		END IF;
		IF dice < 0.4 THEN
			INSERT INTO told (act, outcome, id)
				SELECT 'confirm',
					   CASE WHEN replayed THEN 'replayed' ELSE 'sold' END, hold
				  FROM inv_confirm(hold);
		ELSIF dice < 0.6 THEN
			INSERT INTO told (act, outcome, id)
				SELECT 'cancel', status, hold FROM inv_cancel(hold);
		ELSIF dice < 0.8 THEN
			SELECT * INTO line FROM inv_reservation_lines
			 WHERE reservation_id = hold ORDER BY random() LIMIT 1;
			INSERT INTO told (act, outcome, id)
				SELECT 'release', status, hold
				  FROM inv_release(hold, line.sku, 1);
		ELSE
			INSERT INTO told (act, outcome, id)
				SELECT 'extend', 'extended', hold
				 WHERE inv_extend(hold, '2 hours') > clock_timestamp();
		END IF;
	EXCEPTION
		WHEN SQLSTATE 'IV002' OR SQLSTATE 'IV008'
			OR invalid_parameter_value THEN
			INSERT INTO told (act, outcome, id)
				VALUES (CASE WHEN dice < 0.4 THEN 'confirm'
							 WHEN dice < 0.6 THEN 'cancel'
							 WHEN dice < 0.8 THEN 'release'
							 ELSE 'extend' END, SQLSTATE, hold);
	END
	$$});

my ($status, $stdout) = pgbench($node,
	clients => 32,
	arguments => [ '--time', $seconds ],
	scripts => {
		'SELECT make_cart();' => 40,
		'SELECT take_in_hand();' => 50,
		q{INSERT INTO told (act, outcome, units)
			SELECT 'sweep', 'swept', inv_expire(5);} => 5,
		q{\set sku random(1, 30)
		INSERT INTO told (act, outcome, units)
			SELECT 'receive', sku, 20
			  FROM inv_receive('S' || lpad(:sku::text, 2, '0'), 20);} => 5,
		q{INSERT INTO told (act, outcome, units)
			SELECT 'check', coalesce(max(violation), 'right'), count(*)
			  FROM inv_check();} => 1
	});

is($status, 0, 'no client met an error that it did not expect');
only_errors_are($node, 0, {}, 'no deadlock and no other error in the log');
books_are_right($node, 'inv_check() finds nothing after the load');
value_is($node,
	"SELECT DISTINCT outcome, units FROM told WHERE act = 'check'",
	'right|0', 'nor did it at any moment of it');

# The load was what it was meant to be.
foreach my $happened (
	"act = 'cart' AND outcome = 'active'", "act = 'cart' AND outcome = 'short'",
	"outcome = 'sold'", "outcome = 'replayed'",
	"act = 'confirm' AND outcome = 'IV002'",
	"act = 'confirm' AND outcome = 'IV008'",
	"act = 'cancel' AND outcome = 'cancelled'",
	"act = 'cancel' AND outcome = 'expired'",
	"act = 'cancel' AND outcome = 'IV008'",
	"act = 'release' AND outcome = 'active'",
	"act = 'extend' AND outcome = 'extended'",
	"act = 'sweep' AND units > 0")
{
	isnt($node->safe_psql('postgres',
			"SELECT count(*) FROM told WHERE $happened"),
		'0', "it happened: $happened");
}
note $node->safe_psql('postgres',
	'SELECT act, outcome, count(*) FROM told WHERE act <> $$receive$$'
	  . ' GROUP BY 1, 2 ORDER BY 1, 2');
isnt($node->safe_psql('postgres', q{
		SELECT count(*)
		  FROM (SELECT FROM inv_reservation
				 GROUP BY reservation_id
				HAVING count(DISTINCT closed_at) > 1
				   AND bool_and(status = 'expired')) AS piecemeal}),
	'0', 'it happened: dead carts were reclaimed line by line');

# What the clients were told is so.
value_is($node, q{
	SELECT count(*) FROM told
	 WHERE act = 'cart' AND outcome = 'active'
	   AND NOT EXISTS (SELECT FROM inv_reservation
						WHERE reservation_id = told.id AND line_no = 5)},
	0, 'every cart that was acknowledged is there, with five lines');
value_is($node, q{
	SELECT count(*) FROM (SELECT DISTINCT reservation_id FROM inv_reservation
						  EXCEPT
						  SELECT id FROM told WHERE act = 'cart') AS stray},
	0, 'and no others');
value_is($node, q{
	SELECT count(*)
	  FROM (SELECT id FROM told WHERE outcome = 'sold') AS sold
	  FULL JOIN inv_order ON reservation_id = id
	 WHERE id IS NULL OR reservation_id IS NULL},
	0, 'the orders are what was sold');
value_is($node,
	"SELECT count(*) FROM told WHERE outcome = 'sold' GROUP BY id"
	  . ' HAVING count(*) > 1',
	'', 'nothing was sold twice');
value_is($node, q{
	SELECT count(*) FROM told
	 WHERE act = 'cancel' AND outcome = 'cancelled'
	   AND EXISTS (SELECT FROM inv_order WHERE reservation_id = told.id)},
	0, 'nothing was sold that was cancelled');

# Sum by hand, from the clients' side: what was there and what came, less what
# was sold, is on hand; what is not under a hold is available.
my $expected_on_hand = qq{
	SELECT item.sku, $units
		   + (SELECT coalesce(sum(units), 0) FROM told
			   WHERE act = 'receive' AND outcome = item.sku)
		   - (SELECT coalesce(sum(quantity), 0)
				FROM inv_reservation AS line
				JOIN told ON told.id = line.reservation_id
						 AND told.outcome = 'sold'
			   WHERE line.item_id = item.item_id) AS on_hand
	  FROM inv_item AS item};
value_is($node, qq{
	SELECT sku, expected.on_hand, stock.on_hand
	  FROM ($expected_on_hand) AS expected
	  JOIN inv_availability AS stock USING (sku)
	 WHERE expected.on_hand <> stock.on_hand},
	'', 'on hand is what came less what was sold');

# Everything that still holds gives back, and the stock is whole.
$node->safe_psql('postgres', q{
	CALL inv_maintain();
	SELECT inv_cancel(reservation_id) FROM inv_active_holds;
	CALL inv_maintain()});
value_is($node, qq{
	SELECT sku, expected.on_hand, stock.on_hand, reserved, available
	  FROM ($expected_on_hand) AS expected
	  JOIN inv_availability AS stock USING (sku)
	 WHERE (stock.on_hand, reserved, available)
		   IS DISTINCT FROM (expected.on_hand, 0, expected.on_hand)},
	'', 'when all holds are gone, all stock is available');
value_is($node,
	"SELECT count(*) FROM inv_reservation WHERE status = 'active'",
	0, 'no hold is left');
books_are_right($node);

$node->stop;
done_testing();
