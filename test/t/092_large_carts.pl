# Carts of a thousand lines.
#
# What must never happen: that such a cart is taken in part, that two of them
# deadlock in whatever order their buyers named the lines, that one call eats up
# the shared lock table, which all sessions have in common.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $lines = 1000;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

# Sixteen of the SKUs are in stripes, of which one is not enough for a line.
$node->safe_psql('postgres', qq{
	SELECT count(inv_add_item('S' || n, unit_price => 1))
	  FROM generate_series(1, $lines) AS n;
	SELECT inv_load_stock(array_agg('S' || n), array_agg(1000::bigint))
	  FROM generate_series(1, $lines) AS n;
	SELECT count(inv_set_stripes('S' || n * 50, 8)) FROM generate_series(1, 16) AS n;
	ANALYZE;

	-- the arguments of a cart: all SKUs in any order
	CREATE FUNCTION public.skus() RETURNS text[] LANGUAGE sql VOLATILE AS
		'SELECT array_agg(sku ORDER BY random()) FROM inv.inv_item';
	CREATE FUNCTION public.each(units bigint) RETURNS bigint[] LANGUAGE sql AS
		'SELECT array_fill(units, ARRAY[$lines])';
	-- shared lock table entries of this session
	CREATE FUNCTION public.locks() RETURNS bigint LANGUAGE sql AS
		'SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND NOT fastpath'});

sub stock_is
{
	my ($on_hand, $reserved, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	value_is($node, q{
		SELECT count(*), min(on_hand), max(on_hand), min(reserved), max(reserved)
		  FROM inv_availability},
		"$lines|$on_hand|$on_hand|$reserved|$reserved", $name);
	return books_are_right($node, "$name: inv_check() finds nothing");
}

#
# One by one
#
my $make = q{SELECT reservation_id FROM inv_reserve_cart(skus(), each(3), ttl => '1 hour')};
{
	my $hold = $node->safe_psql('postgres', $make);
	stock_is(1000, 3, 'held');
	value_is($node, "SELECT status, jsonb_array_length(lines) FROM inv_reservation_status('$hold')",
		"active|$lines", 'held: all lines are there');
	value_is($node, "SELECT inv_extend('$hold', '2 hours') > clock_timestamp() + interval '90 minutes'",
		't', 'extended');
	value_is($node, "SELECT DISTINCT status FROM inv_item AS item, inv_release('$hold', sku, 1)",
		'active', 'one unit of each released');
	stock_is(1000, 2, 'released');
	value_is($node, "SELECT status, total FROM inv_confirm('$hold')",
		'confirmed|' . 2 * $lines, 'confirmed');
	stock_is(998, 0, 'confirmed');

	$hold = $node->safe_psql('postgres', $make);
	value_is($node, "SELECT status FROM inv_cancel('$hold')", 'cancelled', 'cancelled');
	stock_is(998, 0, 'cancelled');

	$hold = $node->safe_psql('postgres', $make =~ s/1 hour/1 millisecond/r);
	value_is($node, 'SELECT inv_expire()', 1, 'swept');
	stock_is(998, 0, 'swept');

	# the next buyer takes what is dead of some lines
	$hold = $node->safe_psql('postgres',
		q{SELECT reservation_id FROM inv_reserve_cart(skus(), each(998), ttl => '1 millisecond')});
	$hold = $node->safe_psql('postgres', $make =~ s/each\(3\)/each(998)/r);
	stock_is(998, 998, 'reclaimed');
	value_is($node, "SELECT status FROM inv_cancel('$hold')", 'cancelled', 'reclaimed and cancelled');
	stock_is(998, 0, 'reclaimed and cancelled');
}

#
# What a call leaves in the shared lock table
#
{
	my $hold = $node->safe_psql('postgres', $make);
	my %call = (
		inv_reserve_cart => $make,
		inv_confirm => "SELECT status FROM inv_confirm('$hold')",
		inv_cancel => "SELECT status FROM inv_cancel('$hold')",
		inv_extend => "SELECT inv_extend('$hold', '3 hours')",
		inv_expire => 'SELECT inv_expire()');

	$node->safe_psql('postgres', $make =~ s/1 hour/1 millisecond/r);
	foreach my $name (sort keys %call)
	{
		my $locks = (split /\n/, $node->safe_psql('postgres',
				"BEGIN; $call{$name}; SELECT locks(); ROLLBACK"))[-1];
		cmp_ok($locks, '<', 64, "$name: $locks locks");
	}
	$node->safe_psql('postgres', "SELECT inv_cancel('$hold'); SELECT inv_expire()");
	stock_is(998, 0, 'rolled back');
}

#
# Short of some lines: each of them is named, and nothing is held
#
{
	my $short = $node->safe_psql('postgres', q{
		SELECT string_agg(sku, ' ' ORDER BY sku) FROM inv_item WHERE item_id % 3 = 0;
		SELECT count(inv_reserve(sku, 998 - item_id % 7, ttl => '1 hour', customer => 'other'))
		  FROM inv_item WHERE item_id % 3 = 0});
	my $count;
	($short, $count) = split /\n/, $short;
	my $entries = $node->safe_psql('postgres', 'SELECT count(*) FROM inv_ledger');
	my ($status, $stdout, $stderr) = $node->psql('postgres',
		'SELECT inv_reserve_cart(skus(), each(20))');

	like($stderr, qr/insufficient stock for $count of $lines lines/, 'short: counted');
	is(join(' ', sort $stderr =~ /SKU "(S\d+)": 20 requested, [0-6] available\./g),
		$short, 'short: the error names each line');
	value_is($node, q{
		SELECT string_agg(line ->> 'sku', ' ' ORDER BY line ->> 'sku'), max((line ->> 'available')::int)
		  FROM inv_try_reserve_cart(skus(), each(20)) AS answer,
			   jsonb_array_elements(answer.shortages) AS line
		 WHERE answer.reservation_id IS NULL},
		"$short|6", 'short: so does the answer');
	value_is($node, 'SELECT count(*) FROM inv_ledger', $entries, 'short: nothing is held');
	$node->safe_psql('postgres',
		"SELECT count(inv_cancel(reservation_id)) FROM inv_active_holds WHERE customer = 'other'");
	stock_is(998, 0, 'short');
}

#
# Many at once, each in an order of its own
#
{
	my $offset = -s $node->logfile;

	$node->safe_psql('postgres', q{
		CREATE TABLE made (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid);
		CREATE TABLE told (outcome text, id uuid)});
	my ($status) = pgbench($node,
		clients => 24,
		arguments => [ '--transactions', 4 ],
		scripts => {
			q{INSERT INTO made (id) SELECT reservation_id FROM
				inv_try_reserve_cart(skus(), each(8),
					ttl => CASE WHEN random() < 0.3 THEN interval '1 second' ELSE '1 hour' END)} => 4,
			q{WITH one AS MATERIALIZED (SELECT id FROM made WHERE id IS NOT NULL
				  AND id NOT IN (SELECT id FROM told) ORDER BY random() LIMIT 1)
			INSERT INTO told SELECT status, id FROM one, inv_cancel(id)} => 2,
			q{SELECT inv_expire(1)} => 1
		});
	is($status, 0, 'at once: all end well');
	only_errors_are($node, $offset, {}, 'at once: no deadlock, and no other error');
	note $node->safe_psql('postgres', 'SELECT count(id), count(*) FROM made');
	cmp_ok($node->safe_psql('postgres', 'SELECT count(id) FROM made'), '>', 24, 'at once: carts were held');
	value_is($node, qq{
		SELECT count(*) FROM made WHERE id IS NOT NULL
		   AND $lines <> (SELECT count(*) FROM inv_reservation WHERE reservation_id = id)},
		0, 'at once: each with all of its lines');
	books_are_right($node, 'at once: inv_check() finds nothing');
	$node->safe_psql('postgres', q{
		SELECT count(inv_cancel(id)) FROM made WHERE id IS NOT NULL});
	stock_is(998, 0, 'at once, cancelled');
}

#
# More than a cart can be
#
{
	my $offset = -s $node->logfile;
	value_is($node, q{
		SELECT status, available FROM inv_reserve_lines(
			(SELECT jsonb_agg(jsonb_build_object('sku', 'S1', 'quantity', 1))
			   FROM generate_series(1, 998) AS n), ttl => '1 second')},
		'active|0', 'one SKU named 998 times is one line');
	$node->safe_psql('postgres', 'SELECT pg_sleep(1.1), inv_expire()');
	my %answer = (
		'a million lines' =>
		  q{inv_try_reserve_cart(array_fill('S1'::text, ARRAY[1000000]), array_fill(1::bigint, ARRAY[1000000]))},
		'a million SKUs that nobody knows' =>
		  q{inv_reserve_cart((SELECT array_agg('X' || n) FROM generate_series(1, 1000000) AS n),
				array_fill(1::bigint, ARRAY[1000000]))},
		'300000 lines of jsonb' =>
		  q{inv_reserve_lines((SELECT jsonb_agg(jsonb_build_object('sku', 'S1', 'quantity', 1))
				FROM generate_series(1, 300000)))},
		'jsonb nested too deep' =>
		  q{inv_reserve_lines((repeat('[', 100000) || repeat(']', 100000))::jsonb)},
		'metadata nested too deep' =>
		  q{inv_reserve('S1', metadata => (repeat('[', 100000) || repeat(']', 100000))::jsonb)});
	my %expected = (
		'a million lines' => '00000',
		'a million SKUs that nobody knows' => 'IV004',
		'300000 lines of jsonb' => 'IV001',
		'jsonb nested too deep' => '54001',
		'metadata nested too deep' => '54001');
	foreach my $name (sort keys %answer)
	{
		is(sqlstate_of($node, "SELECT $answer{$name}"), $expected{$name}, "$name: $expected{$name}");
	}
	stock_is(998, 0, 'after that');
}

$node->stop;
done_testing();
