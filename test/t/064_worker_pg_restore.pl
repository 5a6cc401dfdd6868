# pg_restore with several jobs, beside workers that are wide awake: tables and
# sequences come in any order, so a worker goes by the name of its sessions.
# (063_worker_restore.pl has the restores that are in order.)
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir;
my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
inventory_reservation.reconcile_interval = 1s
inventory_reservation.reconcile_repair = on
log_min_messages = debug1
max_connections = 100
CONF

# The dump has what workers write, and holds that die meanwhile.
add_stock($node, map { ("S$_" => 100) } 1 .. 50);
$node->safe_psql('postgres', q{
	SELECT inv_reserve('S' || nr, 1, 'hold ' || nr, ttl => '1 second')
	  FROM generate_series(1, 50) AS nr;
	SELECT inv_reserve('S1', 99, ttl => '1 hour')});
$node->poll_query_until('postgres', q{
	SELECT count(*) = 50 FROM inv_stock_state})
  or die 'no worker came by';
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET inventory_reservation.worker_enabled = off});
$node->reload;
$node->poll_query_until('postgres', q{
	SELECT count(*) = 0 FROM pg_stat_activity
	 WHERE backend_type = 'inventory_reservation worker'});
$node->safe_psql('postgres', q{
	SELECT inv_reserve('S' || nr, 1, ttl => '1 millisecond')
	  FROM generate_series(2, 50) AS nr});
$node->command_ok([ 'pg_dump', '--no-sync', '-Fd', '-f', "$directory/parallel", $node->connstr('postgres') ],
	'directory dump');
$node->safe_psql('postgres', q{
	ALTER SYSTEM RESET inventory_reservation.worker_enabled});
$node->reload;

# What the restored database must have: that, and workers who then go on.
sub is_restored
{
	my ($database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is( $node->safe_psql($database, q{
			SET search_path = inv;
			SELECT count(*), sum(reserved) FILTER (WHERE item_id = 1),
				   (SELECT count(*) FROM inv_check())
			  FROM inv_stock}),
		'50|99|0', "$database: everything is there, and the books are right");
	ok( $node->poll_query_until($database, q{
			SELECT count(*) FILTER (WHERE status = 'expired') = 99
				   AND count(*) FILTER (WHERE status = 'active') = 1
			  FROM inv.inv_reservation}),
		"$database: then workers sweep it");
	is($node->safe_psql($database, 'SELECT count(*) FROM inv.inv_check()'),
		0, "$database: and the books stay right");
	return;
}

# Definitions in a run of their own, so that workers meet the extension empty.
$node->safe_psql('postgres', 'CREATE DATABASE parallel TEMPLATE template0');
sub pg_restore_ok
{
	my ($name, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	# it goes by its own name
	delete local $ENV{PGAPPNAME};
	$node->command_ok(
		[ 'pg_restore', '--exit-on-error', @options, '-d', $node->connstr('parallel'), "$directory/parallel" ],
		"parallel: $name");
	return;
}
pg_restore_ok('definitions', '--section', 'pre-data');
sleep 3;
$node->safe_psql('parallel', q{
	CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql
		AS 'BEGIN PERFORM pg_sleep(2.5); RETURN NULL; END';
	CREATE TRIGGER slow BEFORE INSERT ON inv.inv_stock EXECUTE FUNCTION rest();
	CREATE TRIGGER slow BEFORE INSERT ON inv.inv_stock_state EXECUTE FUNCTION rest();
	CREATE TRIGGER slow BEFORE INSERT ON inv.inv_progress EXECUTE FUNCTION rest();
	CREATE TRIGGER slow BEFORE INSERT ON inv.inv_ledger EXECUTE FUNCTION rest()});
pg_restore_ok('data', '--section', 'data', '-j', '2');
$node->safe_psql('parallel', 'DROP FUNCTION rest() CASCADE');
pg_restore_ok('the rest', '--section', 'post-data');
is_restored('parallel');

# A name is easily taken; somebody who could restore nothing stops no worker.
$node->safe_psql('postgres', 'CREATE ROLE visitor LOGIN');
my $visitor;
{
	local $ENV{PGAPPNAME} = 'pg_restore';
	$visitor = $node->background_psql('postgres',
		extra_params => [ '--username', 'visitor' ]);
}
$node->safe_psql('postgres', q{SELECT inv_reserve('S2', 1, ttl => '1 millisecond')});
ok($node->poll_query_until('postgres', q{
	SELECT count(*) = 0 FROM inv_reservation
	 WHERE status = 'active' AND expires_at <= clock_timestamp()}),
	'somebody of that name who may not restore keeps nobody away');
$visitor->quit;

only_errors_are($node, 0, {}, 'no worker met an error');

$node->stop;
done_testing();
