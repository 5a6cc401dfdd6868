# Definitions are restored first, and then the data, beside workers, by a session
# that nothing tells from any other: no CREATE EXTENSION in it, and psql's name.
# Each table is there for everybody as soon as it is loaded, and nothing fits
# before all of them are.  The worker waits for the sequences, which come last.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
inventory_reservation.naptime = 1s
inventory_reservation.reconcile_interval = 1s
inventory_reservation.reconcile_repair = on
CONF
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump.sql';

# Something for each step: dead holds, a sale, keys, and all places noted.
add_stock($node, map { ("S$_" => 10) } 1 .. 5);
$node->safe_psql('postgres', q{
	SELECT inv_reserve('S' || nr, 2, key => 'k' || nr, ttl => '100 milliseconds') FROM generate_series(1, 5) AS nr;
	SELECT inv_confirm((inv_reserve('S1', 1)).reservation_id);
	CALL inv_maintain();
	SELECT inv_reserve('S' || nr, 2, ttl => '100 milliseconds') FROM generate_series(1, 5) AS nr});
$node->append_conf('postgresql.conf', 'inventory_reservation.worker_enabled = on');
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT reconciliations > 0 FROM inv_stat'),
	'a worker reconciles');
$node->append_conf('postgresql.conf', 'inventory_reservation.worker_enabled = off');
$node->reload;
ok( $node->poll_query_until('postgres',
		q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'inventory_reservation worker')
			AND current_setting('inventory_reservation.worker_enabled') = 'off'}),
	'the worker is gone');
$node->safe_psql('postgres',
	q{SELECT inv_reserve('S' || nr, 2, ttl => '100 milliseconds') FROM generate_series(1, 5) AS nr});
foreach my $section ('pre-data', 'data', 'post-data')
{
	$node->command_ok([ 'pg_dump', '--section', $section, '--file', "$dump.$section", $node->connstr('postgres') ],
		"dumped: $section");
}

# After each table, as much time as a worker wants.
my $text = slurp_file("$dump.data");
my $pauses = $text =~ s/^\\\.$/\\.\nCALL public.wait_for_visits();/mg;
cmp_ok($pauses, '>', 8, "$pauses tables");
append_to_file("$dump.slow", $text);

$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->safe_psql('copy', q{
	ALTER DATABASE copy SET search_path = inv, public;
	CREATE PROCEDURE public.wait_for_visits() LANGUAGE plpgsql AS $$
	DECLARE
		runs bigint := (SELECT coalesce(worker_runs, 0) FROM inv.inv_stat);
		-- one that stays away would make the test one of nothing
		patience timestamptz := clock_timestamp() + interval '60 seconds';
	BEGIN
		WHILE (SELECT coalesce(worker_runs, 0) FROM inv.inv_stat) = runs LOOP
			IF clock_timestamp() > patience THEN
				RAISE EXCEPTION 'no worker has come';
			END IF;
			PERFORM pg_sleep(0.05);
			COMMIT;
		END LOOP;
	END
	$$});
$node->append_conf('postgresql.conf', 'inventory_reservation.worker_enabled = on');
$node->reload;
my $log = -s $node->logfile;
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.pre-data", $node->connstr('copy') ],
	'definitions restored');
$node->command_ok(
	[ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.slow", $node->connstr('copy') ],
	'data restored beside the worker');
$node->append_conf('postgresql.conf', 'inventory_reservation.worker_enabled = off');
$node->reload;
unlike(slurp_file($node->logfile, $log), qr/ERROR/, 'without an error');
is($node->safe_psql('copy', 'SELECT worker_failures, drifts_found FROM inv.inv_stat'),
	'0|0', 'the worker has found nothing wrong');
is($node->safe_psql('copy', 'SELECT * FROM inv.inv_check()'), '', 'nor does inv_check()');

# Now it has work.
$node->append_conf('postgresql.conf', 'inventory_reservation.worker_enabled = on');
$node->reload;
ok( $node->poll_query_until('copy', q{
		SELECT NOT EXISTS (SELECT FROM inv.inv_reservation WHERE status = 'active')
		   AND (SELECT reconciliations > 1 AND drifts_found = 0 FROM inv.inv_stat)}),
	'restored: the worker sweeps and reconciles');
is($node->safe_psql('copy', 'SELECT * FROM inv.inv_check()'), '', 'restored: all is right');
books_are_right($node);
$node->stop;

done_testing();
