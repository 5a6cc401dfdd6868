# Buyers who name no location, of whom some take a line from several, while the
# shop carries units about and prefers now one location, now another.
#
# First everything at once: single purchases and carts in any order of SKUs, split
# or not, holds that die within milliseconds, sales, cancellations, transfers.
# Then a sale until nothing is left, in which nobody gives anything back: whoever
# is told that there is too little must find too little, right afterwards.
#
# Every transaction makes one call, so there may be no deadlock.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 15;
my $units = 400;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

$node->safe_psql('postgres', qq{
	SELECT inv_add_item('S' || nr, unit_price => 1, currency => 'EUR') FROM generate_series(1, 4) AS nr;
	-- numbered in another order than they are filled from
	SELECT inv_add_location('far', priority => 9), inv_add_location('near', priority => -9);
	SELECT inv_receive('S' || nr, $units, location)
	  FROM generate_series(1, 4) AS nr, unnest('{default,far,near}'::text[]) AS location;
	SELECT inv_set_stripes('S1', 3, 'near'), inv_set_stripes('S1', 2), inv_set_stripes('S2', 2, 'far');
});
$node->safe_psql('postgres', q{
	CREATE TABLE made (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid);
	-- what the clients were told
	CREATE TABLE told (act text, split boolean, outcome text, id uuid);
	CREATE FUNCTION some_place() RETURNS text
	RETURN (ARRAY['default', 'near', 'far'])[1 + floor(random() * 3)];
	CREATE FUNCTION some_skus(count integer) RETURNS text[]
	RETURN (SELECT array_agg(sku) FROM (SELECT 'S' || nr AS sku FROM generate_series(1, 4) AS nr
										 ORDER BY random() LIMIT count) AS chosen);

	-- somebody buys, of the last units more than any location may have
	CREATE FUNCTION buy(most integer, ttl interval) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		skus text[] := some_skus(1 + floor(random() * 3)::integer);
		quantities bigint[] := array_agg(1 + floor(random() * most)::bigint) FROM unnest(skus);
		split boolean := random() < 0.5;
		hold inv_cart_hold;
		single inv_hold;
		wrong text;
	BEGIN
		IF cardinality(skus) = 1 THEN
			single := inv_try_reserve(skus[1], quantities[1], ttl => ttl, split => split);
			hold.reservation_id := single.reservation_id;
			hold.status := single.status;
			hold.shortages := jsonb_build_array(jsonb_build_object('sku', skus[1], 'requested', quantities[1]));
		ELSE
			hold := inv_try_reserve_cart(skus, quantities, ttl => ttl, split => split);
		END IF;
		INSERT INTO told VALUES (CASE cardinality(skus) WHEN 1 THEN 'single' ELSE 'cart' END,
			split, coalesce(hold.status, 'short'), hold.reservation_id);
		IF hold.reservation_id IS NOT NULL THEN
			INSERT INTO made (id) VALUES (hold.reservation_id);
		ELSIF ttl > interval '1 minute' THEN
			-- nobody gives back: what was too little is so still
			SELECT string_agg(short->>'sku', ' ') INTO wrong
			  FROM jsonb_array_elements(hold.shortages) AS short
			 WHERE (short->>'requested')::bigint <=
				   CASE WHEN split THEN inv_available(short->>'sku')
						ELSE (SELECT max(inv_available(short->>'sku', place))
								FROM unnest('{default,near,far}'::text[]) AS place) END;
			IF wrong IS NOT NULL THEN
				INSERT INTO told VALUES ('wrong', split, wrong);
			END IF;
		END IF;
	END $$;

	CREATE FUNCTION take_in_hand() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold uuid := (SELECT id FROM made
					   WHERE place > (SELECT max(place) FROM made) - (random() * 60)::int
					   ORDER BY place LIMIT 1);
		line record;
		dice float := random();
	BEGIN
		SELECT * INTO line FROM inv_reservation_lines
		 WHERE reservation_id = hold ORDER BY random() LIMIT 1;
		IF line IS NULL THEN
			RETURN;
		ELSIF dice < 0.2 THEN
			PERFORM inv_confirm(hold);
		ELSIF dice < 0.4 THEN
			PERFORM inv_confirm(hold, retake => true);
		ELSIF dice < 0.6 THEN
			PERFORM inv_release(hold, line.sku, 2);
		ELSIF dice < 0.8 THEN
			PERFORM inv_cancel(hold);
		ELSE
			PERFORM inv_return(order_id, line.sku, 2) FROM inv_order WHERE reservation_id = hold;
		END IF;
	EXCEPTION
		WHEN SQLSTATE 'IV001' OR SQLSTATE 'IV002' OR SQLSTATE 'IV008' OR invalid_parameter_value THEN
			NULL;
	END $$;

	CREATE FUNCTION carry() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		source text := some_place();
		target text := some_place();
	BEGIN
		IF source <> target THEN
			PERFORM inv_transfer((some_skus(1))[1], 1 + floor(random() * 60)::bigint, source, target);
		END IF;
	EXCEPTION WHEN SQLSTATE 'IV012' THEN
		NULL;
	END $$});

# Units that were sold and not returned.
my $sold = q{(SELECT coalesce(sum(quantity - returned), 0) FROM inv_reservation AS line
			   WHERE status = 'confirmed' AND line.item_id = inv_item.item_id)};

sub units_are_all_there
{
	my ($when) = @_;
	books_are_right($node, "inv_check() finds nothing $when");
	value_is($node, qq{
		SELECT sku, sum(on_hand), $sold FROM inv_item JOIN inv_availability USING (sku)
		 GROUP BY item_id, sku HAVING sum(on_hand) + $sold <> 3 * $units},
		'', "what is on hand and what was sold are all units, $when");
	return;
}

my ($status) = pgbench($node,
	clients => 24,
	arguments => [ '--time', $seconds ],
	scripts => {
		q{SELECT buy(90, random() * interval '40 milliseconds' + interval '1 millisecond');} => 30,
		q{SELECT buy(6, interval '20 seconds');} => 20,
		'SELECT take_in_hand();' => 30,
		'SELECT carry();' => 15,
		'SELECT inv_expire(20);' => 4,
		q{UPDATE inv_location SET priority = -10 + floor(random() * 20) WHERE code = some_place();} => 2,
		q{SELECT inv_set_stripes('S3', 1 + floor(random() * 3)::integer, some_place());} => 2,
		q{SELECT status FROM inv_reserve_batch(some_skus(3) || some_skus(3), '{40,2,3,1,30,5}', ttl => '10 milliseconds');} => 2,
		q{SELECT 1 / (count(*) = 0)::int FROM inv_check();} => 1,
	});
is($status, 0, 'no client met an error that it did not expect');
only_errors_are($node, 0, {}, 'no deadlock and no other error in the log');
units_are_all_there('after the load');

my $several = q{SELECT count(*) FROM (
	SELECT FROM inv_reservation GROUP BY reservation_id, item_id HAVING count(*) > 1) AS split};
cmp_ok($node->safe_psql('postgres', $several), '>', 0, 'it happened: lines from several locations');
foreach my $happened (map { my $act = $_; map { ("act = '$act' AND split = $_ AND outcome = 'active'",
	"act = '$act' AND split = $_ AND outcome = 'short'") } qw(true false) } qw(single cart))
{
	isnt($node->safe_psql('postgres', "SELECT count(*) FROM told WHERE $happened"),
		'0', "it happened: $happened");
}
value_is($node, q{
	SELECT reservation_id FROM inv_reservation AS line
	 GROUP BY reservation_id, item_id
	HAVING count(DISTINCT (unit_price, currency)) > 1 OR count(DISTINCT location_id) < count(*)},
	'', 'lines of one SKU have one price, and each a location of its own');

# Everything must go.
$node->safe_psql('postgres', q{
	SELECT inv_cancel(reservation_id) FROM inv_active_holds;
	CALL inv_maintain();
	DELETE FROM told});
($status) = pgbench($node,
	clients => 24,
	arguments => [ '--transactions', 250 ],
	scripts => { q{SELECT buy(3, interval '1 hour');} => 1 });
is($status, 0, 'no buyer met an error');
only_errors_are($node, 0, {}, 'nor is there one in the log');
value_is($node, q{SELECT outcome, count(*) FROM told WHERE act = 'wrong' GROUP BY 1}, '',
	'nobody was told that there is too little while there was enough');
value_is($node, q{SELECT sku, location, available FROM inv_availability WHERE available > 0}, '', 'nothing is left');
isnt($node->safe_psql('postgres', q{SELECT count(*) FROM told WHERE outcome = 'short'}), '0', 'many came too late');
$node->safe_psql('postgres', 'SELECT inv_confirm(reservation_id) FROM inv_active_holds');
value_is($node, q{SELECT sku, location, on_hand FROM inv_availability WHERE on_hand > 0}, '', 'all of it is sold');
units_are_all_there('in the end');

$node->stop;
done_testing();
