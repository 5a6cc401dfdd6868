# A database with live holds, places of its own and other people's cron jobs is
# dumped and restored: by psql from a plain dump, by pg_restore from a custom
# and a directory dump, the latter in parallel.  Nothing may be missing, other
# people's jobs least of all, and everything must go on working.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir;

# pg_cron lives in one database of a server, so every copy has its own server.
sub shop_server
{
	my ($name) = @_;
	my $node = inventory_node($name, extension => 0, conf => <<'CONF');
shared_preload_libraries = 'pg_cron'
cron.database_name = 'shop'
# so that no job runs: a sweep between dump and comparison would be a difference
cron.host = '/nowhere'
cron.use_background_workers = off
max_connections = 50
fsync = off
CONF

	$node->safe_psql('postgres', 'CREATE ROLE cashier; CREATE ROLE keeper; CREATE ROLE somebody');
	$node->safe_psql('postgres', 'CREATE DATABASE shop TEMPLATE template0');
	return $node;
}

# What a statement answers in the shop's database.
sub answer
{
	my ($node, $sql, $database) = @_;
	return $node->safe_psql($database || 'shop', "SET search_path = inv, public; $sql");
}

my @tables = qw(item location stock reservation idempotency order ledger waitlist reconciliation);

# All rows of all tables, and the cron jobs.
sub contents
{
	my ($node, $database) = @_;
	return join "\n", map {
		"$_:\n" . answer($node, "SELECT t::text FROM inv_$_ AS t ORDER BY 1", $database)
	} @tables;
}

sub cron_jobs
{
	my ($node) = @_;
	return answer($node, q{
		SELECT jobid, schedule, replace(command, E'\\n', ' '), database, username, active, jobname
		  FROM cron.job ORDER BY jobid});
}

#
# The shop as it is
#
my $source = shop_server('source');
my ($status, $stdout, $stderr) = $source->psql('shop', q{
	CREATE EXTENSION pg_cron;
	SELECT cron.schedule('nightly vacuum', '0 3 * * *', 'VACUUM');
	SELECT cron.schedule('0 4 * * 0', 'REINDEX TABLE somewhere');
	CREATE SCHEMA inv;
	CREATE EXTENSION inventory_reservation SCHEMA inv;
	SELECT cron.schedule('report', '*/5 * * * *', $$SELECT 'a;b', "c" FROM "odd ""table"""$$);
	SELECT cron.alter_job((SELECT jobid FROM cron.job WHERE jobname = 'report'), active => false)});
is($status, 0, 'CREATE EXTENSION beside pg_cron');
like($stderr, qr/NOTICE: .*inventory_reservation expire/s, 'it says which job it has made')
  or diag($stderr);
is(answer($source, q{SELECT count(*) FROM cron.job WHERE jobname = 'inventory_reservation expire'}), '1',
	'and has made one');
answer($source, q{
	SELECT inv_add_item('A', 'An item', 10, 'EUR'), inv_add_item('B', unit_price => 2.50, currency => 'EUR'),
	       inv_add_item('OLD', unit_price => 1, currency => 'EUR');
	SELECT inv_rename_item('OLD', 'NEW');
	SELECT inv_add_location('store', 'In town', 10), inv_add_location('attic');
	SELECT * FROM inv_load_stock('{A,B,NEW}', '{100,100,100}', reason => E'first\tcount\\\n');
	SELECT inv_receive('A', 10, 'store', key => 'delivery'), inv_receive('B', 5, 'attic');
	SELECT inv_reserve('A', 3, 'live', 'ann', '20 hours', reference => 'web-1', metadata => '{"gift": true}');
	SELECT inv_reserve_cart('{A,B}', '{1,2}', 'cart', ttl => '20 hours', location => 'default');
	SELECT inv_reserve('A', 2, 'in the store', ttl => '20 hours', location => 'store');
	SELECT inv_reserve('NEW', 100, 'dead', ttl => '1 millisecond');
	SELECT inv_cancel((inv_reserve('B', 1, 'cancelled')).reservation_id);
	SELECT inv_confirm((inv_reserve('A', 4, 'sold')).reservation_id, 'sold', payment_status => 'paid');
	SELECT inv_complete_order((inv_confirm((inv_reserve('B', 1)).reservation_id)).order_id);
	SELECT inv_cancel_order((inv_confirm((inv_reserve('B', 1)).reservation_id)).order_id, 'too late', 'cancel');
	SELECT inv_grant('cashier', 'buyer'), inv_grant('keeper', 'operator')});
my $before = contents($source);
my $jobs = cron_jobs($source);
is(() = $jobs =~ /\n/g, 3, 'four jobs, one of them ours');
my $permissions = q{
	SELECT role, count(*) FILTER (WHERE has_function_privilege(role, pg_proc.oid, 'EXECUTE'))
	  FROM pg_proc, unnest('{cashier,keeper,somebody}'::text[]) AS role
	 WHERE pronamespace = 'inv'::regnamespace GROUP BY role ORDER BY role};
my $permitted = answer($source, $permissions);
like($permitted, qr/^somebody\|0$/m, 'somebody may call nothing');

# A branch that has only places of its own: no default location yet, no pg_cron.
$source->safe_psql('postgres', 'CREATE DATABASE branch');
$source->safe_psql('branch', 'CREATE SCHEMA inv; CREATE EXTENSION inventory_reservation SCHEMA inv');
answer($source, q{
	SELECT inv_add_item('A'), inv_add_location('one'), inv_add_location('two');
	SELECT inv_receive('A', 5, 'two');
	SELECT inv_reserve('A', 1, location => 'two', ttl => '20 hours')}, 'branch');
is(answer($source, q{SELECT count(*) FROM inv_location WHERE code = 'default'}, 'branch'), '0', 'a branch without the default location');
my $branch_before = contents($source, 'branch');

#
# The dumps
#
$source->command_ok([ 'pg_dump', '--no-sync', '-f', "$directory/plain.sql", $source->connstr('shop') ],
	'plain dump');
$source->command_ok([ 'pg_dump', '--no-sync', '-Fc', '-f', "$directory/custom", $source->connstr('shop') ],
	'custom dump');
$source->command_ok([ 'pg_dump', '--no-sync', '-Fd', '-j', '2', '-f', "$directory/parallel", $source->connstr('shop') ],
	'directory dump');
$source->command_ok([ 'pg_dump', '--no-sync', '-f', "$directory/branch.sql", $source->connstr('branch') ],
	'plain dump of the branch');
is(contents($source), $before, 'a dump changes nothing');

#
# Is it all there, and does it go on?
#
sub goes_on
{
	my ($node, $how) = @_;

	is(contents($node), $before, "$how: every row is there");
	is(cron_jobs($node), $jobs, "$how: every cron job is there, ours once");
	is(answer($node, $permissions), $permitted, "$how: so are the privileges");
	is(answer($node, 'SELECT * FROM inv_check()'), '', "$how: the books are right");

	# what was begun goes on
	is(answer($node, q{SELECT replayed, status FROM inv_reserve('A', 3, 'live', 'ann', '20 hours', reference => 'web-1', metadata => '{"gift": true}')}),
		't|active', "$how: a key replays");
	is(answer($node, q{SELECT total FROM inv_confirm((SELECT reservation_id FROM inv_idempotency WHERE key = 'live'), customer => 'ann')}),
		'30', "$how: a live hold is sold");
	is(answer($node, q{SELECT status FROM inv_cancel((SELECT reservation_id FROM inv_idempotency WHERE key = 'cart'))}),
		'cancelled', "$how: another is cancelled");
	is(answer($node, q{SELECT status FROM inv_cancel_order((SELECT inv_order.order_id FROM inv_order JOIN inv_idempotency USING (reservation_id) WHERE scope = 'reserve' AND key = 'sold'))}),
		'cancelled', "$how: so is an order");
	is(answer($node, q{SELECT status, available FROM inv_reserve('NEW', 100)}),
		'active|0', "$how: the next buyer gets what a dead hold held");
	is(answer($node, q{SELECT on_hand, replayed FROM inv_receive('A', 10, 'store', key => 'delivery')}),
		'10|t', "$how: a delivery is not taken twice");

	# what is new does not collide with what was there
	is(answer($node, q{SELECT inv_add_item('C') > max(item_id) FROM inv_item}), 't', "$how: a new item");
	is(answer($node, q{SELECT inv_add_location('cellar') > max(location_id) FROM inv_location}), 't', "$how: a new location");
	is(answer($node, q{SELECT on_hand FROM inv_receive('C', 5); SELECT status FROM inv_reserve('C', 5)}),
		"5\nactive", "$how: new stock at the default location");
	is(answer($node, q{SELECT on_hand FROM inv_receive('C', 5, 'cellar')}), '5', "$how: and at the new one");
	is(answer($node, q{SELECT max(entry_id) = (SELECT last_value FROM inv_ledger_entry_id_seq) FROM inv_ledger}),
		't', "$how: the ledger goes on where it was");
	is(answer($node, q{SET ROLE cashier; SELECT status FROM inv_reserve('C', 5, location => 'cellar')}),
		'active', "$how: a buyer buys");
	is(answer($node, 'SELECT inv_expire() >= 0'), 't', "$how: the sweep sweeps");
	is(answer($node, 'SELECT * FROM inv_check()'), '', "$how: the books are still right");

	# the job can be made again, and goes
	is(answer($node, q{SELECT inv_schedule() = jobid FROM cron.job WHERE jobname = 'inventory_reservation expire'}),
		't', "$how: scheduling again finds the job");
	is(answer($node, 'SELECT inv_unschedule(), inv_unschedule()'), 't|f', "$how: unscheduling removes it");
	is(answer($node, 'SELECT count(*) FROM cron.job'), '3', "$how: and no other");
	is(answer($node, 'SELECT inv_schedule() > max(jobid) FROM cron.job'), 't', "$how: a new job is a new one");
	return;
}

my $plain = shop_server('plain');
$plain->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/plain.sql", $plain->connstr('shop') ],
	'restore of the plain dump, without an error');
goes_on($plain, 'plain');

my $custom = shop_server('custom');
$custom->command_ok([ 'pg_restore', '--exit-on-error', '--single-transaction', '-d', $custom->connstr('shop'), "$directory/custom" ],
	'restore of the custom dump in one transaction');
goes_on($custom, 'custom');
# and over what is there
$custom->command_ok([ 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', $custom->connstr('shop'), "$directory/custom" ],
	'restore of the custom dump over what is there');
is(contents($custom), $before, 'over what is there: every row is as it was');
is(cron_jobs($custom), $jobs, 'over what is there: every cron job is as it was');
is(answer($custom, 'SELECT * FROM inv_check()'), '', 'over what is there: the books are right');

my $parallel = shop_server('parallel');
$parallel->command_ok([ 'pg_restore', '--exit-on-error', '-j', '4', '-d', $parallel->connstr('shop'), "$directory/parallel" ],
	'parallel restore of the directory dump');
goes_on($parallel, 'parallel');

# Where rows are dumped under row security, that is on during the restore.
$source->command_ok([ 'pg_dump', '--no-sync', '--enable-row-security', '-Fc', '-f', "$directory/rls", $source->connstr('shop') ],
	'dump under row security');
my $rls = shop_server('rls');
$rls->command_ok([ 'pg_restore', '--exit-on-error', '--enable-row-security', '-d', $rls->connstr('shop'), "$directory/rls" ],
	'restore under row security');
is(contents($rls), $before, 'row security: every row is there');
is(cron_jobs($rls), $jobs, 'row security: every cron job is there, ours once');

# The branch, on a server whose pg_cron lives in another database.
$plain->safe_psql('postgres', 'CREATE DATABASE branch TEMPLATE template0');
$plain->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$directory/branch.sql", $plain->connstr('branch') ],
	'restore of the branch');
is(contents($plain, 'branch'), $branch_before, 'branch: every row is there');
is(answer($plain, q{
	SELECT inv_add_location('three') > max(location_id) FROM inv_location;
	SELECT on_hand, location FROM inv_receive('A', 7);
	SELECT location_id FROM inv_location WHERE code = 'default';
	SELECT status FROM inv_reserve('A', 7);
	SELECT status, available FROM inv_reserve('A', 4, location => 'two');
	SELECT * FROM inv_check()}, 'branch'),
	"t\n7|default\n0\nactive\nactive|0", 'branch: the default location comes when it is needed');

# A dump of the copy is a dump of the original.
$plain->command_ok([ 'pg_dump', '--no-sync', '-Fc', '-f', "$directory/again", $plain->connstr('branch') ],
	'dump of a restored database');
$plain->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE template0');
$plain->command_ok([ 'pg_restore', '--exit-on-error', '-d', $plain->connstr('again'), "$directory/again" ],
	'which is restored');
is(contents($plain, 'again'), contents($plain, 'branch'), 'every row is there again');

$_->stop('immediate') foreach ($source, $plain, $custom, $parallel, $rls);
done_testing();
