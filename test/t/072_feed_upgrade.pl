# pg_upgrade: the new server has a system identifier of its own, but goes on
# with the transaction ids.  Who reads the feed notices nothing of it.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = <<'CONF';
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
inventory_reservation.notify = on
CONF
my $old = inventory_node('old', conf => $conf);
my $identifier = 'SELECT system_identifier FROM pg_control_system()';
my $cursors = q{SELECT cursor FROM inv_events(NULL, 1000000)};

# A consumer on his way, and something that he has yet to read.  The worker has
# told its edges.
sub wait_for_edge
{
	my ($node, $sku) = @_;
	ok( $node->poll_query_until('postgres', qq{
			SELECT EXISTS (SELECT FROM inv_events(NULL, 1000000)
							WHERE sku = '$sku' AND operation = 'back_in_stock')}),
		"the worker has told of $sku");
	return;
}

add_stock($old, S1 => 5);
wait_for_edge($old, 'S1');
my $cursor = $old->safe_psql('postgres', 'SELECT inv_newest_event()');
$old->safe_psql('postgres', q{SELECT inv_reserve('S1', 1)});
# ids that no server just made has come to by itself
$old->safe_psql('postgres', q{
	DO $$BEGIN FOR nr IN 1..2000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END$$});
$old->safe_psql('postgres', q{SELECT inv_reserve('S1', 1)});
my $was = $old->safe_psql('postgres', $identifier);
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', $conf);
my $programs = $old->config_data('--bindir');
chdir PostgreSQL::Test::Utils::tempdir;
command_ok(
	[
		'pg_upgrade', '--no-sync', '--retain',
		'--old-datadir', $old->data_dir, '--new-datadir', $new->data_dir,
		'--old-bindir', $programs, '--new-bindir', $programs,
		'--socketdir', $new->host,
		'--old-port', $old->port, '--new-port', $new->port
	],
	'pg_upgrade');
my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log';
is(scalar(@logs), 1, 'its servers left a log');
unlike(slurp_file($logs[0]), qr/launcher started/, 'there was no launcher in them');

$new->start;
cmp_ok($new->safe_psql('postgres', $identifier), 'ne', $was, 'the identifier is another one');
value_is($new, "SELECT operation FROM inv_events('$cursor')", "reserve\nreserve",
	'what the consumer has not read is there, and nothing else');
my $before = $new->safe_psql('postgres', $cursors);
my $read = $new->safe_psql('postgres', 'SELECT inv_newest_event()');

add_stock($new, S2 => 5);
wait_for_edge($new, 'S2');
value_is($new, "SELECT operation FROM inv_events('$read')", "receive\nback_in_stock",
	'what is new comes after, once');
is(join("\n", $before, $new->safe_psql('postgres', "SELECT cursor FROM inv_events('$read')")),
	$new->safe_psql('postgres', $cursors), 'nothing has come in between');
value_is($new, q{SELECT count(*) - (SELECT count(*) FROM inv_ledger) FROM inv_events(NULL, 1000000)},
	0, 'nothing is left out');
books_are_right($new);

# Back to the old server: a cursor of the new one is told from its own.
my $newest = $new->safe_psql('postgres', 'SELECT inv_newest_event()');
$new->stop;
$old->start;
is(sqlstate_of($old, "SELECT inv_events('$newest')"), '55000',
	'set back: a cursor of the upgraded server is refused');
value_is($old, "SELECT operation FROM inv_events('$cursor')", "reserve\nreserve",
	'set back: the old server knows its own');
books_are_right($old);
$old->stop;

done_testing();
