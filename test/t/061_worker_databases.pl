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

# How long after the first visit to a database the second came, in seconds; a
# large number if it has not.
sub second_visit
{
	my ($database) = @_;
	my $log = slurp_file($node->logfile);
	my @at = map { my ($h, $m, $s) = split /:/; ($h * 60 + $m) * 60 + $s }
	  $log =~ /^\S+ (\S+) \S+ \[.*worker for database $database: /mg;
	return @at > 1 ? ($at[1] - $at[0]) % 86400 : 1000;
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
my ($status, $stdout, $stderr) = $node->psql('postgres',
	'CREATE EXTENSION inventory_reservation; SELECT inv_schedule();'
	  . 'DROP EXTENSION inventory_reservation');
is(scalar(() = $stderr =~ /NOTICE/g), 1, 'CREATE EXTENSION asks nobody to schedule a sweep');
like($stderr, qr/DETAIL:  A background worker sweeps/, 'somebody sweeps');
cmp_ok(takes(20, is_swept($_)), '<', 6, "database $_ is swept") for qw(one two);
cmp_ok(takes(20, sub { visits('plain') }), '<', 6,
	'the one without has been looked at');

# Something is held in one of them; the other has nothing to do.  Six naptimes
# are six seconds here.
$node->safe_psql('one', q{
	SELECT inv_receive('A', 1);
	SELECT inv_reserve('A', 1, ttl => '1 hour')});
my $start = time;
my %visits = map { $_ => visits($_) } qw(one two);

#
# Meanwhile: made later, in several ways.
#

$node->safe_psql('postgres', q{
	CREATE DATABASE undone;
	CREATE DATABASE partly;
	CREATE DATABASE prepared;
	CREATE DATABASE closed ALLOW_CONNECTIONS false});
cmp_ok(takes(20, sub { visits('undone') && visits('prepared') && visits('partly') }),
	'<', 6, 'new databases are looked at');
make_shop('later', 5);
cmp_ok(takes(20, is_swept('later')), '<', 5,
	'an extension that came later is served at once');

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
cmp_ok(takes(10, sub { visits('prepared') > 1 }), '<', 10,
	'one that was prepared is looked for');
is(visits('prepared'), visits('prepared', 1), 'in vain');
$node->safe_psql('prepared', "COMMIT PREPARED 'later'");

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
cmp_ok(takes(20, is_swept('branch')), '<', 6,
	'a database made from a template that has the extension is swept');
test_books('branch');

#
# The one without.
#

sleep 8.5 - (time - $start) if time - $start < 8.5;
cmp_ok(second_visit('undone'), '>=', 5,
	'one that was rolled back is no reason to look at once');
is(visits('plain'), 1, 'nobody has looked at the one without again');
cmp_ok(visits('one'), '>', $visits{one} + 2,
	'as opposed to one with, in which something is held');
my $quiet = visits('two') - $visits{two};
cmp_ok($quiet, '>=', 1, 'one with the extension, at rest, gets visits');
cmp_ok($quiet, '<=', 4, 'but few');
# Just after such a visit, with 24 seconds to the next, a change there counts.
$quiet = visits('two');
takes(20, sub { visits('two') > $quiet });
$node->safe_psql('postgres', 'ALTER SYSTEM SET inventory_reservation.naptime = 4');
$node->reload;
$node->safe_psql('two', q{SELECT inv_reserve('A', 1, ttl => '1 millisecond')});
cmp_ok(takes(30, is_swept('two')), '<', 12, 'until something is held there');
$node->safe_psql('postgres', 'ALTER SYSTEM SET inventory_reservation.naptime = 1');
$node->reload;
$node->safe_psql('plain', 'CREATE TABLE t AS SELECT 1');
cmp_ok(takes(30, sub { visits('plain') == 2 }), '<', 30,
	'rows inserted are a reason to look again');
is(visits('plain', 1), 2, 'in vain');

is(visits('closed'), 0,
	'a database that allows no connections is left alone');
is(visits('template_shop'), 0, 'a template likewise');
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
cmp_ok(takes(20, sub { visits('closed') }), '<', 6,
	'until it allows them');

# CREATE EXTENSION has inserted rows, and those of a prepared transaction are
# counted when it is committed.
cmp_ok(takes(30, sub { visits('prepared') > visits('prepared', 1) }),
	'<', 30, 'the prepared extension is found in the end');

#
# Databases that come and go.  No worker keeps anybody waiting for five seconds.
#

my $failed = 0;
foreach my $round (1 .. 50)
{
	my $template = $round % 2 ? 'template_shop' : 'template1';
	foreach my $sql ("CREATE DATABASE brief TEMPLATE $template",
		'DROP DATABASE brief')
	{
		# a moment for the worker to come
		sleep 1.05 if $round % 7 == 1 && $sql =~ /DROP/;
		$failed++ if $node->psql('postgres', $sql);
	}
}
is($failed, 0, '50 databases were made and dropped');
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
	   AND query LIKE 'inventory_reservation: sweep%' AND state = 'active'
	   AND datname IN ('big', 'bigger')};
ok($node->poll_query_until('postgres', $at_work),
	'two workers sweep, as pg_stat_activity shows');
my $before = time;
is($node->psql('big', 'DROP EXTENSION inventory_reservation'),
	0, 'an extension is dropped in the middle of a sweep');
cmp_ok(time - $before, '<', 5, 'without waiting for its end');
ok($node->poll_query_until('postgres', $at_work =~ s/= 2/= 1/r),
	'there is a worker in the other');
is($node->psql('postgres', 'DROP DATABASE bigger'),
	0, 'a database is dropped in the middle of a sweep');

# DROP EXTENSION takes the tables in an order of its own.  Where two wait for
# each other the worker gives way, even if it was the other who waited first.
# (He looks for a deadlock so late here that nobody but the worker can find it.)
$node->safe_psql('postgres', 'CREATE DATABASE crossed TEMPLATE template_shop');
$node->safe_psql('crossed', q{
CREATE TABLE public.of_the_shop ();
	CREATE FUNCTION public.visit() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(0.5);
		PERFORM FROM public.of_the_shop;
		RETURN NULL;
	END $$});
my $other = $node->background_psql('crossed');
$other->query_safe(q{
	SET deadlock_timeout = '5min';
	BEGIN;
	LOCK TABLE public.of_the_shop});
$node->safe_psql('crossed', q{
	SELECT inv_receive('A', 1);
	SELECT inv_reserve('A', 1, ttl => '1 millisecond');
	CREATE TRIGGER visit AFTER UPDATE ON inv_reservation
		FOR EACH ROW EXECUTE FUNCTION public.visit()});
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_stat_activity
		 WHERE datname = 'crossed' AND wait_event = 'PgSleep'}),
	'a worker is on its way to a table that somebody has locked');
ok(eval { $other->query_safe('LOCK TABLE inv_stock'); 1 },
	'who waits for the worker gets his lock');
# it may be slower to say so than to do so
ok(eval { $node->wait_for_log(qr/ LOG:  deadlock detected.*\n.*waits for AccessShareLock/); 1 },
	'for it gave way');
$other->query_safe('ROLLBACK');
$other->quit;
test_books('crossed');

test_books($_) for qw(one two later);
only_errors_are($node, 0, {}, 'no error in the log');
$node->stop;
done_testing();
