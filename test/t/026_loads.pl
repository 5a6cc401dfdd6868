# Loads of many SKUs while others load, buy, receive and carry: each names SKUs in
# an order of its own, some are new, and at most locations nothing is there yet.
#
# Every transaction makes one call, so there may be no deadlock.  What a load has
# said is what was on hand, and only what changed is in the ledger.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 10;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

$node->safe_psql('postgres', q{
	SELECT inv_add_location('L' || nr) FROM generate_series(1, 40) AS nr;
	SELECT inv_add_item('S' || nr) FROM generate_series(1, 30) AS nr;
	SELECT inv_receive('S' || nr, 1000) FROM generate_series(1, 10) AS nr;
	SELECT inv_set_stripes('S3', 3);

	CREATE TABLE told (act text, outcome text);
	CREATE SEQUENCE age;
	-- new locations all the time, so that stock is made by several at once
	CREATE FUNCTION some_place() RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN random() < 0.4 THEN 'default'
				ELSE 'L' || 1 + (nextval('age') / 200 + floor(random() * 2)::bigint) % 40 END
	$$;
	CREATE FUNCTION some_skus(count integer) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg('S' || nr) FROM (SELECT nr FROM generate_series(1, 30) AS nr ORDER BY random() LIMIT count) AS chosen
	$$;

	CREATE FUNCTION load_some() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		newest bigint := nextval('age') / 50;
		skus text[] := some_skus(12) || ARRAY(
			SELECT 'N' || newest + nr FROM generate_series(1, 3) AS nr ORDER BY random());
	BEGIN
		INSERT INTO told
		SELECT 'load', CASE WHEN created THEN 'created' WHEN changed THEN 'changed' ELSE 'as it was' END
		  FROM inv_load_stock(skus, array_fill(floor(random() * 4)::bigint, ARRAY[15]), some_place());
	EXCEPTION WHEN SQLSTATE 'IV012' THEN
		INSERT INTO told VALUES ('load', SQLSTATE);
	END $$;

	CREATE FUNCTION buy() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold inv_cart_hold := inv_try_reserve_cart(some_skus(4), '{1,1,1,1}', location => some_place(), ttl => random() * interval '1 second' + interval '1 millisecond');
	BEGIN
		INSERT INTO told VALUES ('hold', coalesce(hold.status, 'short'));
	END $$;

	CREATE FUNCTION carry() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		source text := some_place();
		target text := some_place();
	BEGIN
		IF source <> target THEN
			PERFORM inv_transfer((some_skus(1))[1], 1, source, target);
			INSERT INTO told VALUES ('transfer', 'carried');
		END IF;
	EXCEPTION WHEN SQLSTATE 'IV012' THEN
		INSERT INTO told VALUES ('transfer', SQLSTATE);
	END $$});

my ($status) = pgbench($node,
	clients => 16,
	arguments => [ '--time', $seconds ],
	scripts => {
		'SELECT load_some();' => 30,
		'SELECT buy();' => 30,
		'SELECT carry();' => 20,
		'SELECT inv_receive((some_skus(1))[1], 3, some_place());' => 10,
		'SELECT inv_set_stripes((some_skus(1))[1], 1 + floor(random() * 3)::integer, some_place());' => 3,
		'SELECT inv_expire(50);' => 4,
		q{SELECT 1 / (count(*) = 0)::int FROM inv_check();} => 1,
	});
is($status, 0, 'no client met an error that it did not expect');
only_errors_are($node, 0, {}, 'no deadlock and no other error in the log');
books_are_right($node);

note $node->safe_psql('postgres', 'SELECT act, outcome, count(*) FROM told GROUP BY 1, 2 ORDER BY 1, 2');
foreach my $happened ("act = 'load' AND outcome = 'created'", "act = 'load' AND outcome = 'changed'",
	"act = 'load' AND outcome = 'as it was'", "act = 'load' AND outcome = 'IV012'",
	"act = 'hold' AND outcome = 'active'", "act = 'transfer' AND outcome = 'carried'")
{
	isnt($node->safe_psql('postgres', "SELECT count(*) FROM told WHERE $happened"), '0', "it happened: $happened");
}
value_is($node, q{SELECT count(*) FROM inv_ledger WHERE operation = 'load_stock' AND delta_on_hand = 0
	 AND stripe <> 0}, 0, 'nothing is entered for a stripe that a load has left as it was');

$node->stop;
done_testing();
