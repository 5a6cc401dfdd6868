# Workers come to all databases that have the extension, and to no others;
# extensions and databases come and go meanwhile.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# What autovacuum inserts into the catalogs would be a reason to look again.
my $node = inventory_node('shop', extension => 0, conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
log_min_messages = debug1
autovacuum = off
max_worker_processes = 12
CONF

# How often a worker has been in a database, and how often in vain.
sub visits
{
	my ($database, $in_vain) = @_;
	my $log = slurp_file($node->logfile);
	my $what = $in_vain ? 'nothing to do' : '';
	return scalar(
		() = $log =~ /worker for database $database: $what/g);
}

# Wait for a condition, in seconds; returns how long it took.
sub takes
{
	my ($limit, $condition) = @_;
	my $start = time;
	until ($condition->())
	{
		return 'too long' if time - $start > $limit;
		sleep 0.1;
	}
	return time - $start;
}

# A database with the extension, and dead holds in it.
sub make_shop
{
	my ($database, $holds) = @_;
	$node->safe_psql($database, qq{
		CREATE EXTENSION inventory_reservation;
		SELECT inv_add_item('A'), inv_receive('A', $holds);
		SELECT count(inv_reserve('A', 1, ttl => '1 millisecond'))
		  FROM generate_series(1, $holds)});
	return;
}

# The same, but as a template with holds that nobody sweeps for a while.
sub dead_holds
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
		SELECT count(*) FROM inv_reservation
		 WHERE status = 'active' AND expires_at <= clock_timestamp()});
}

sub is_swept
{
	my ($database) = @_;
	return sub { dead_holds($database) == 0 };
}

sub test_books
{
	my ($database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql($database, 'SELECT * FROM inv_check()'),
		'', "$database: inv_check() finds nothing");
}

#
# Two with and one without.
#

$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two plain later);
make_shop($_, 5) for qw(one two);
cmp_ok(takes(5, is_swept($_)), '<', 3, "database $_ is swept") for qw(one two);
cmp_ok(takes(5, sub { visits('plain') }), '<', 3,
	'the one without has been looked at');

# Six naptimes are six seconds here.
my $start = time;
my $visits = visits('one');

#
# Meanwhile: made later, in several ways.
#

$node->safe_psql('postgres', q{
	CREATE DATABASE undone;
	CREATE DATABASE partly;
	CREATE DATABASE prepared;
	CREATE DATABASE closed ALLOW_CONNECTIONS false});
cmp_ok(takes(5, sub { visits('undone') && visits('prepared') && visits('partly') }),
	'<', 3, 'new databases are looked at');
make_shop('later', 5);
cmp_ok(takes(5, is_swept('later')), '<', 2.5,
	'an extension that came later is served at once');

my $offset = -s $node->logfile;
$node->safe_psql('undone',
	'BEGIN; CREATE EXTENSION inventory_reservation; ROLLBACK');
$node->safe_psql('partly', q{
	BEGIN;
	SAVEPOINT s;
	CREATE EXTENSION inventory_reservation;
	ROLLBACK TO s;
	COMMIT});
$node->safe_psql('prepared', q{
	BEGIN;
	CREATE EXTENSION inventory_reservation;
	PREPARE TRANSACTION 'later'});
sleep 1.5;
is(visits('undone'), 1, 'one that was rolled back is no reason to look');
is(visits('prepared'), 2, 'one that was prepared is looked for');
is(visits('prepared', 1), 2, 'in vain');
$node->safe_psql('prepared', "COMMIT PREPARED 'later'");
my $prepared = time;

#
# A template.
#

$node->safe_psql('postgres', q{
	ALTER SYSTEM SET inventory_reservation.worker_enabled = off});
$node->reload;
$node->safe_psql('postgres', 'CREATE DATABASE template_shop');
make_shop('template_shop', 20);
$node->safe_psql('postgres', q{
	CREATE DATABASE branch TEMPLATE template_shop;
	ALTER DATABASE template_shop ALLOW_CONNECTIONS false IS_TEMPLATE true;
	ALTER SYSTEM SET inventory_reservation.worker_enabled = on});
$node->reload;
cmp_ok(takes(5, is_swept('branch')), '<', 3,
	'a database made from a template that has the extension is swept');
test_books('branch');

#
# The one without.
#

sleep 8.5 - (time - $start) if time - $start < 8.5;
is(visits('plain'), 1, 'nobody has looked at the one without again');
cmp_ok(visits('one'), '>', $visits + 4, 'as opposed to one with');
$node->safe_psql('plain', 'CREATE TABLE t AS SELECT 1');
cmp_ok(takes(15, sub { visits('plain') == 2 }), '<', 10,
	'rows inserted are a reason to look again');
is(visits('plain', 1), 2, 'in vain');

is(visits('closed'), 0,
	'a database that allows no connections is left alone');
is(visits('template_shop'), 0, 'a template likewise');
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
cmp_ok(takes(5, sub { visits('closed') }), '<', 3,
	'until it allows them');

# CREATE EXTENSION has inserted rows, and those of a prepared transaction are
# counted when it is committed.
cmp_ok(takes(20, sub { visits('prepared') > visits('prepared', 1) }),
	'<', 15 - (time - $prepared), 'the prepared extension is found in the end');

#
# Databases that come and go.  No worker keeps anybody waiting for five seconds.
#

my $failed = 0;
my $longest = 0;
foreach my $round (1 .. 50)
{
	my $template = $round % 2 ? 'template_shop' : 'template1';
	foreach my $sql ("CREATE DATABASE brief TEMPLATE $template",
		'DROP DATABASE brief')
	{
		# a moment for the worker to come
		sleep 1.05 if $round % 7 == 1 && $sql =~ /DROP/;
		my $before = time;
		$failed++ if $node->psql('postgres', $sql);
		$longest = time - $before if time - $before > $longest;
	}
}
is($failed, 0, '50 databases were made and dropped');
cmp_ok($longest, '<', 4.5, 'none of them nearly in vain');
cmp_ok(visits('brief'), '>', 3, 'workers were in some of them');

# A worker that has more to do than it has time for, in a database that is
# to be dropped, and with an extension that is.
$node->safe_psql('postgres',
	"ALTER SYSTEM SET inventory_reservation.worker_enabled = off");
$node->reload;
$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE template_shop")
  for qw(big bigger);
foreach my $database (qw(big bigger))
{
	$node->safe_psql($database, q{
		SELECT inv_receive('A', 2000);
		SELECT count(inv_reserve('A', 1, ttl => '1 millisecond'))
		  FROM generate_series(1, 2000);
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_sleep(0.005);
			RETURN NULL;
		END $$;
		CREATE TRIGGER slow AFTER UPDATE ON inv_reservation
			FOR EACH ROW EXECUTE FUNCTION slow()});
}
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET inventory_reservation.expire_batch_size = 20;
	ALTER SYSTEM SET inventory_reservation.worker_enabled = on});
$node->reload;
my $at_work = q{
	SELECT count(*) = 2 FROM pg_stat_activity
	 WHERE backend_type = 'inventory_reservation worker'
	   AND application_name = 'inventory_reservation worker'
	   AND query = 'inventory_reservation: sweep' AND state = 'active'
	   AND datname IN ('big', 'bigger')};
ok($node->poll_query_until('postgres', $at_work),
	'two workers sweep, as pg_stat_activity shows');
my $before = time;
is($node->psql('big', 'DROP EXTENSION inventory_reservation'),
	0, 'an extension is dropped in the middle of a sweep');
cmp_ok(time - $before, '<', 2, 'at once');
ok($node->poll_query_until('postgres', $at_work =~ s/= 2/= 1/r),
	'there is a worker in the other');
$before = time;
is($node->psql('postgres', 'DROP DATABASE bigger'),
	0, 'a database is dropped in the middle of a sweep');
cmp_ok(time - $before, '<', 4.5, 'in time');

test_books($_) for qw(one two later);
only_errors_are($node, 0, {}, 'no error in the log');
$node->stop;
done_testing();
