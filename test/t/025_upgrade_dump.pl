# A dump of a database with an earlier version, restored where this one is
# installed: pg_dump writes CREATE EXTENSION without a version, so the old rows
# come into the new tables.  Or into the old ones, where somebody makes those
# first.  Either way nothing may be missing, and everything goes on.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use UpgradeTest;

my $installation = private_installation();
my $directory = PostgreSQL::Test::Utils::tempdir;
my @install = (new => { install_path => $installation->{programs} });
my $version = q{SELECT extversion FROM pg_extension WHERE extname = 'inventory_reservation'};

install_version($installation, $current_version);
my $node = inventory_node('shop', @install, extension => 0, conf => "fsync = off\n");
$node->safe_psql('postgres', 'CREATE ROLE cashier');

sub answer
{
	my ($database, $sql) = @_;
	return $node->safe_psql($database, "SET search_path = inv, public; $sql");
}

# All rows of all tables, column by column, so that a column which a later
# version adds is no difference.
sub contents
{
	my ($database, $like) = @_;
	my @tables = split /\n/, answer($like, q{
		SELECT format('SELECT concat_ws(''|'', %s) FROM inv.%I ORDER BY 1',
					  string_agg(format('coalesce(%I::text, ''-'')', attname), ', ' ORDER BY attnum), relname)
		  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
		 WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
		 GROUP BY relname ORDER BY relname});
	return join "\n", map { answer($database, $_) } @tables;
}

sub make_database
{
	my ($database, @statements) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$node->safe_psql($database, $_) foreach @statements;
	return;
}

sub goes_on
{
	my ($database, $from, $cursor, $how) = @_;

	is(answer($database, 'SELECT * FROM inv_check()'), '', "$how: inv_check() finds nothing");
	is(contents($database, $from), contents($from, $from), "$how: every row is there");
	is(answer($database, q{SELECT replayed, status FROM inv_reserve('A', 3, 'live', 'ann', '20 hours', reference => 'web-1')}),
		't|active', "$how: a key replays");
	is(answer($database, q{SELECT total FROM inv_confirm((SELECT reservation_id FROM inv_idempotency WHERE key = 'live'), customer => 'ann')}),
		'30', "$how: a live hold is sold");
	is(answer($database, q{SELECT status FROM inv_cancel_order((SELECT inv_order.order_id FROM inv_order JOIN inv_idempotency AS made USING (reservation_id) WHERE key = 'sold'))}),
		'cancelled', "$how: an order is cancelled");
	is(answer($database, q{SELECT status, available FROM inv_reserve('B', 10)}), 'active|0', "$how: the next buyer gets what a dead hold held");
	is(answer($database, q{SELECT on_hand, replayed FROM inv_receive('A', 10, 'store', key => 'delivery')}), '10|t', "$how: a delivery is not taken twice");
	is(answer($database, q{SELECT inv_add_item('C') > max(item_id), (inv_receive('C', 1)).on_hand FROM inv_item}), 't|1', "$how: new rows do not collide with old ones");
	is(answer($database, q{SET ROLE cashier; SELECT status FROM inv_reserve('C')}), 'active', "$how: rights are there");

	# the reader of the feed was in the middle, and goes on there
	is(answer($database, "SELECT operation, sku FROM inv_events('$cursor')"),
		join("\n", map { "$_" } 'reserve|A', 'confirm|A', 'confirm|A', 'cancel_order|A', 'expire|B', 'reserve|B', 'receive|C', 'reserve|C'),
		"$how: the feed goes on where its reader was");
	is(answer($database, q{SELECT count(*) FROM inv_reconcile(complete => true)}), '0', "$how: there is nothing to reconcile");
	is(answer($database, 'CALL inv_maintain(); SELECT * FROM inv_check()'), '', "$how: inv_check() finds nothing in the end");
	return;
}

foreach my $old (@old_versions)
{
	my $name = $old =~ s/\./_/gr;
	my $from = "from_$name";

	make_database($from, 'CREATE SCHEMA inv', "CREATE EXTENSION inventory_reservation SCHEMA inv VERSION '$old'");
	answer($from, q{
		SELECT inv_add_item('A', 'An item', 10), inv_add_item('B'), inv_add_location('store');
		SELECT inv_receive('A', 100), inv_receive('B', 10), inv_receive('A', 10, 'store', key => 'delivery');
		SELECT inv_grant('cashier', 'buyer');
		SELECT inv_reserve('A', 3, 'live', 'ann', '20 hours', reference => 'web-1');
		SELECT inv_reserve('B', 10, 'dead', ttl => '1 millisecond');
		SELECT inv_set_stripes('A', 4);
		CALL inv_maintain();
		SELECT inv_reserve('B', 10, 'dead too', ttl => '1 millisecond');
		SELECT inv_reconcile()});
	my $cursor = answer($from, 'SELECT inv_newest_event()');
	answer($from, q{
		SELECT inv_reserve('A', 2, 'sold');
		SELECT inv_confirm((SELECT reservation_id FROM inv_idempotency WHERE key = 'sold'))});
	is(answer($from, $version), $old, "a shop with $old");

	$node->command_ok([ 'pg_dump', '--no-sync', '-f', "$directory/$old.sql", $node->connstr($from) ], "$old: dump");
	$node->command_ok([ 'pg_dump', '--no-sync', '-Fc', '-f', "$directory/$old.custom", $node->connstr($from) ], "$old: custom dump");

	# into this version
	make_database("plain_$name");
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/$old.sql", $node->connstr("plain_$name") ],
		"$old: restored");
	is(answer("plain_$name", $version), $current_version, "$old: with the version of today");
	is(answer("plain_$name", 'SELECT to_do FROM inv_version()'), '', "$old: nothing is left to do");
	goes_on("plain_$name", $from, $cursor, "$old to $current_version");

	make_database("parallel_$name");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', $node->connstr("parallel_$name"), "$directory/$old.custom" ],
		"$old: restored in parallel");
	goes_on("parallel_$name", $from, $cursor, "$old to $current_version, in parallel");

	# the old version made first, and updated later
	make_database("pinned_$name", 'CREATE SCHEMA inv', "CREATE EXTENSION inventory_reservation SCHEMA inv VERSION '$old'");
	my $text = slurp_file("$directory/$old.sql");
	$text =~ s/^CREATE SCHEMA inv;$//m or die;
	append_to_file("$directory/$old.pinned.sql", $text);
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/$old.pinned.sql", $node->connstr("pinned_$name") ],
		"$old: restored into that version");
	is(answer("pinned_$name", $version), $old, "$old: which it still is");
	is(answer("pinned_$name", 'SELECT * FROM inv_check()'), '', "$old: inv_check() finds nothing");
	answer("pinned_$name", 'ALTER EXTENSION inventory_reservation UPDATE');
	goes_on("pinned_$name", $from, $cursor, "$old, restored and updated");
	my @differences = differences(
		describe_extension($node, "plain_$name"), describe_extension($node, "pinned_$name"));
	is(join("\n", grep { !/proacl|on role cashier/ } @differences), '', "$old: restored or updated, it is the same");
}

$node->stop;
done_testing();
