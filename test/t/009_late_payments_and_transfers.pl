# Late payments and transfers under load: few units, many holds that die within
# milliseconds, of which some are paid all the same, at four locations between
# which the shop carries units in all directions, while policies change.
#
# Every transaction makes one call, so there may be no deadlock.  Nothing leaves
# the shop but what is sold, so at the end the units that are left and those that
# were sold must be those that there were.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 15;
my $skus = 4;
my $units = 2_000;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

add_stock($node, map { ("S$_" => $units) } 1 .. $skus);
$node->safe_psql('postgres', q{
	SELECT inv_add_location('L' || nr) FROM generate_series(1, 3) AS nr;
	SELECT inv_set_stripes('S1', 3), inv_set_stripes('S2', 2, 'L1');

	CREATE TABLE made (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid);
	-- what the clients were told
	CREATE TABLE told (act text, outcome text, id uuid);
	CREATE FUNCTION some_place() RETURNS text
	RETURN (ARRAY['default', 'L1', 'L2', 'L3'])[1 + floor(random() * 4)];
	CREATE FUNCTION some_sku() RETURNS text
	RETURN 'S' || 1 + floor(random() * 4)::integer;

	CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold inv_hold := inv_try_reserve(some_sku(), 1 + floor(random() * 5)::bigint,
			location => some_place(), ttl => random() * interval '40 milliseconds'
				+ interval '1 millisecond');
	BEGIN
		INSERT INTO told VALUES ('hold', coalesce(hold.status, 'short'), hold.reservation_id);
		IF hold.reservation_id IS NOT NULL THEN
			INSERT INTO made (id) VALUES (hold.reservation_id);
		END IF;
	END $$;

	CREATE FUNCTION make_cart() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold inv_cart_hold := inv_try_reserve_cart('{S4,S2,S1}', '{2,1,3}',
			location => some_place(), ttl => random() * interval '40 milliseconds'
				+ interval '1 millisecond');
	BEGIN
		INSERT INTO told VALUES ('hold', coalesce(hold.status, 'short'), hold.reservation_id);
		IF hold.reservation_id IS NOT NULL THEN
			INSERT INTO made (id) VALUES (hold.reservation_id);
		END IF;
	END $$;

	-- somebody pays, mostly too late
	CREATE FUNCTION pay(late boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold uuid := (SELECT id FROM made
					   WHERE place > (SELECT max(place) FROM made) - (random() * 60)::int
					   ORDER BY place LIMIT 1);
		dead boolean;
		sale inv_confirmation;
	BEGIN
		dead := (SELECT bool_or(status = 'expired') FROM inv_reservation_lines
				  WHERE reservation_id = hold);
		IF dead IS NULL THEN
			RETURN;
		END IF;
		sale := inv_confirm(hold, retake => late);
		INSERT INTO told VALUES (CASE WHEN late THEN 'late' ELSE 'pay' END,
			CASE WHEN sale.replayed THEN 'replayed' WHEN dead THEN 'retaken'
				 ELSE 'sold' END, hold);
	EXCEPTION WHEN SQLSTATE 'IV001' OR SQLSTATE 'IV002' OR SQLSTATE 'IV008' THEN
		INSERT INTO told VALUES (CASE WHEN late THEN 'late' ELSE 'pay' END, SQLSTATE, hold);
	END $$;

	CREATE FUNCTION carry() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		source text := some_place();
		target text := some_place();
	BEGIN
		IF source <> target THEN
			PERFORM inv_transfer(some_sku(), 1 + floor(random() * 60)::bigint, source, target);
			INSERT INTO told VALUES ('transfer', 'carried');
		END IF;
	EXCEPTION WHEN SQLSTATE 'IV012' THEN
		INSERT INTO told VALUES ('transfer', SQLSTATE);
	END $$;

	CREATE FUNCTION decide() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM inv_set_policy(some_sku(),
			CASE WHEN kind < 0.5 THEN floor(random() * 50)::bigint ELSE 0 END,
			CASE WHEN kind < 0.5 THEN 0 ELSE floor(random() * 20)::bigint END,
			some_place())
		   FROM random() AS kind;
		INSERT INTO told VALUES ('policy', 'set');
	EXCEPTION WHEN SQLSTATE 'IV012' THEN
		INSERT INTO told VALUES ('policy', SQLSTATE);
	END $$;

	-- not while backorders are taken
	CREATE FUNCTION spread() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM inv_set_stripes(some_sku(), 1 + floor(random() * 3)::integer, some_place());
		INSERT INTO told VALUES ('stripes', 'set');
	EXCEPTION WHEN SQLSTATE 'IV008' THEN
		INSERT INTO told VALUES ('stripes', SQLSTATE);
	END $$});

my ($status, $stdout) = pgbench($node,
	clients => 24,
	arguments => [ '--time', $seconds ],
	scripts => {
		'SELECT make();' => 30,
		'SELECT make_cart();' => 10,
		'SELECT pay(true);' => 25,
		'SELECT pay(false);' => 10,
		'SELECT carry();' => 20,
		'SELECT decide();' => 4,
		'SELECT inv_expire(20);' => 4,
		'SELECT spread();' => 2,
		q{SELECT 1 / (count(*) = 0)::int FROM inv_check();} => 1,
	});
is($status, 0, 'no client met an error that it did not expect');
only_errors_are($node, 0, {}, 'no deadlock and no other error in the log');
books_are_right($node);

note $node->safe_psql('postgres',
	'SELECT act, outcome, count(*) FROM told GROUP BY 1, 2 ORDER BY 1, 2');
foreach my $happened (
	"act = 'hold' AND outcome = 'short'", "act = 'late' AND outcome = 'retaken'",
	"act = 'late' AND outcome = 'IV001'", "act = 'late' AND outcome = 'replayed'",
	"act = 'pay' AND outcome = 'IV002'",
	"act = 'transfer' AND outcome = 'carried'",
	"act = 'transfer' AND outcome = 'IV012'",
	"act = 'policy' AND outcome = 'set'", "act = 'policy' AND outcome = 'IV012'",
	"act = 'stripes' AND outcome = 'set'", "act = 'stripes' AND outcome = 'IV008'")
{
	isnt($node->safe_psql('postgres', "SELECT count(*) FROM told WHERE $happened"),
		'0', "it happened: $happened");
}
isnt($node->safe_psql('postgres', q{
		SELECT count(*) FROM inv_ledger WHERE operation = 'retake'}),
	'0', 'it happened: units that had been given back were taken again');
isnt($node->safe_psql('postgres', q{
		SELECT count(*) FROM inv_ledger WHERE operation = 'fill_backorder'}),
	'0', 'it happened: backorders were filled');
value_is($node, q{
	SELECT count(*) FROM told WHERE act = 'pay' AND outcome = 'retaken'},
	0, 'nobody who did not ask for it was sold a dead hold');
value_is($node, q{
	SELECT id FROM told WHERE outcome IN ('sold', 'retaken')
	 GROUP BY id HAVING count(*) > 1}, '', 'nothing was sold twice');
value_is($node, q{
	SELECT count(*) FROM (SELECT id FROM told WHERE outcome IN ('sold', 'retaken')) AS sold
	  FULL JOIN inv_order ON reservation_id = id WHERE id IS NULL OR reservation_id IS NULL},
	0, 'the orders are what was sold');
value_is($node, qq{
	SELECT sku, sum(on_hand) FROM inv_item JOIN inv_availability USING (sku)
	 GROUP BY item_id, sku
	HAVING sum(on_hand) <> $units - (SELECT coalesce(sum(quantity), 0)
				FROM inv_reservation AS line JOIN inv_order USING (reservation_id)
			   WHERE line.item_id = inv_item.item_id)},
	'', 'what is on hand at all locations is what there was less what was sold');
# a pair for each: what one location loses another gets, in the same transaction
value_is($node, q{
	SELECT xid FROM inv_ledger WHERE operation = 'transfer'
	 GROUP BY xid, item_id HAVING sum(delta_on_hand) <> 0 LIMIT 3},
	'', 'no transfer has lost or made a unit');
value_is($node, q{
	SELECT reservation_id, item_id, string_agg(operation, ' ' ORDER BY entry_id)
	  FROM inv_ledger WHERE reservation_id IS NOT NULL AND operation !~ 'backorder'
	 GROUP BY reservation_id, item_id
	HAVING string_agg(operation, ' ' ORDER BY entry_id)
		   !~ '^reserve( expire( retake confirm)?| confirm)?$' LIMIT 5},
	'', 'every line was taken once, and again only to be sold');

$node->stop;
done_testing();
