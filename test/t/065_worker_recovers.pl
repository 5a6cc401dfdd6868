# What must not go on for ever: a worker that takes the server down with it, one
# that nobody can cancel, batches that are too large for the time there is, a
# commit that waits for a standby.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = inventory_node('shop', init => { allows_streaming => 1 }, conf => <<'CONF');
restart_after_crash = on
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
CONF
my $nothing_dead = q{
	SELECT count(*) = 0 FROM inv_reservation
	 WHERE status = 'active' AND expires_at <= clock_timestamp()};
my $workers = q{
	SELECT count(*) FROM pg_stat_activity
	 WHERE backend_type = 'inventory_reservation worker'};
my $busy_worker = "$workers AND wait_event = 'PgSleep'" =~ s/SELECT count\(\*\)/SELECT max(pid)/r;

sub make_dead_holds
{
	my ($holds) = @_;
	$node->safe_psql('postgres', qq{
		SELECT count(inv_reserve('A', 1, ttl => '1 millisecond'))
		  FROM generate_series(1, $holds)});
	return;
}

sub logged
{
	my ($pattern, $offset) = @_;
	my $log = slurp_file($node->logfile, $offset);
	return scalar(() = $log =~ /$pattern/g);
}

# Wait until no worker is there; seconds that it took.
sub until_alone
{
	my $start = time;
	$node->poll_query_until('postgres', "SELECT ($workers) = 0")
	  or die 'a worker stays for ever';
	return time - $start;
}

# Put a trigger on each row that is expired.
sub make_trigger
{
	my ($body) = @_;
	$node->safe_psql('postgres', qq{
		CREATE OR REPLACE FUNCTION shop_code() RETURNS trigger LANGUAGE plpgsql AS \$\$
		BEGIN
			$body
			RETURN new;
		END \$\$;
		CREATE OR REPLACE TRIGGER shop_code BEFORE UPDATE ON inv_reservation
			FOR EACH ROW WHEN (new.status = 'expired') EXECUTE FUNCTION shop_code()});
	return;
}

add_stock($node, A => 100_000);

#
# A database at rest in which nobody counts
#

$node->safe_psql('postgres', q{
	ALTER SYSTEM SET inventory_reservation.naptime = 4;
	CREATE DATABASE uncounted;
	ALTER DATABASE uncounted SET track_counts = off});
$node->reload;
$node->safe_psql('uncounted', q{
	CREATE EXTENSION inventory_reservation;
	SELECT inv_add_item('A'), inv_receive('A', 10)});
sleep 6;
my $start = time;
$node->safe_psql('uncounted', q{SELECT inv_reserve('A', 1, ttl => '1 millisecond')});
ok($node->poll_query_until('uncounted', $nothing_dead), 'it is swept');
cmp_ok(time - $start, '<', 12, 'within naptime, although no change is reported');
$node->safe_psql('postgres', 'DROP DATABASE uncounted');

#
# Batches that are too large for the time there is
#

# 1000 rows would take 100 seconds, 10 take one.
$node->safe_psql('postgres', 'ALTER SYSTEM SET inventory_reservation.naptime = 3');
$node->reload;
make_trigger('PERFORM pg_sleep(0.1);');
$start = time;
make_dead_holds(100);
ok($node->poll_query_until('postgres', q{
	SELECT count(*) > 0 FROM inv_reservation WHERE status = 'expired'}),
	'batches get smaller until they fit');
cmp_ok(time - $start, '<', 45, 'without longer and longer rests in between');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET inventory_reservation.naptime');
$node->reload;
$node->safe_psql('postgres', 'DROP TRIGGER shop_code ON inv_reservation');
ok($node->poll_query_until('postgres', $nothing_dead), 'the rest follows');

#
# A worker that cannot be cancelled, and a launcher that does not know of it
#

make_trigger(q{
			FOR i IN 1 .. 4 LOOP
				BEGIN
					PERFORM pg_sleep(30);
				EXCEPTION WHEN query_canceled THEN
					NULL;
				END;
			END LOOP;});
my $failures = $node->safe_psql('postgres', 'SELECT worker_failures FROM inv_stat');
make_dead_holds(1);
$node->poll_query_until('postgres', "SELECT ($busy_worker) IS NOT NULL");
$start = time;
my $stuck = $node->safe_psql('postgres', $busy_worker);
$node->safe_psql('postgres', q{
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	 WHERE backend_type = 'inventory_reservation launcher'});
$node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $stuck");
cmp_ok(time - $start, '<', 14, 'it goes, whoever was its launcher');
$node->safe_psql('postgres', 'DROP TRIGGER shop_code ON inv_reservation');
value_is($node, qq{
	SELECT worker_failures > $failures, worker_last_error
	  FROM inv_stat},
	't|the worker stayed too long, and was terminated', 'inv_stat tells');
ok($node->poll_query_until('postgres', $nothing_dead), 'and the next one sweeps');

#
# A commit that waits for a standby that is not there
#

# The test's own sessions do not wait.
$ENV{PGOPTIONS} = '-c synchronous_commit=local';
$node->safe_psql('postgres',
	q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
make_dead_holds(10);
my $offset = -s $node->logfile;
$node->poll_query_until('postgres', "$workers AND wait_event = 'SyncRep'"
	  =~ s/count\(\*\)/count(*) > 0/r) or die 'no worker waits';
cmp_ok(until_alone(), '<', 5, 'a worker gives up waiting for a standby');
like(slurp_file($node->logfile, $offset),
	qr/WARNING:  canceling wait for synchronous replication/, 'the log says so');
ok($node->poll_query_until('postgres', $nothing_dead), 'and it has swept');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET synchronous_standby_names});
$node->reload;
delete $ENV{PGOPTIONS};
books_are_right($node);

#
# A worker that takes the server down with it
#

my $crash = q{
			IF current_setting('application_name') = 'inventory_reservation worker' THEN
				COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID';
			END IF;};
make_trigger($crash);
$offset = -s $node->logfile;
make_dead_holds(1);
sleep 20;
my $crashes = logged(qr/was terminated by signal 9/, $offset);
cmp_ok($crashes, '>=', 2, 'a worker that crashes the server is tried again');
cmp_ok($crashes, '<=', 5, 'ever less often');
like(slurp_file($node->logfile, $offset),
	qr/worker for database postgres was at work when the server crashed/,
	'the log says who it was');
$node->poll_query_until('postgres', 'SELECT true');
is($node->psql('postgres', 'DROP TRIGGER shop_code ON inv_reservation'),
	0, 'there is time to do something about it');
ok($node->poll_query_until('postgres', $nothing_dead), 'without it holds are swept');
books_are_right($node);

# A worker that has ended well is above suspicion: the next crash is a first one.
$offset = -s $node->logfile;
make_trigger($crash);
make_dead_holds(1);
$node->wait_for_log(qr/was at work when the server crashed/, $offset);
$node->poll_query_until('postgres', 'SELECT true');
$node->safe_psql('postgres', 'DROP TRIGGER shop_code ON inv_reservation');
is(logged(qr/DETAIL:  The next one comes in 1 second\./, $offset),
	1, 'what was put right is forgotten');
ok($node->poll_query_until('postgres', $nothing_dead), 'and swept');
books_are_right($node);

$node->stop;
done_testing();
