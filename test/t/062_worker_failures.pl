# What goes wrong around background workers, and what becomes of it: processes
# killed, code of the shop's that fails or does not end, tables locked, no
# slots, standbys, a postmaster that is gone.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $preload = <<'CONF';
restart_after_crash = on
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
CONF
my $nothing_dead = q{
	SELECT count(*) = 0 FROM inv_reservation
	 WHERE status = 'active' AND expires_at <= clock_timestamp()};
my $launcher = q{
	SELECT pid FROM pg_stat_activity
	 WHERE backend_type = 'inventory_reservation launcher'};

sub make_dead_holds
{
	my ($node, $holds) = @_;
	$node->safe_psql('postgres', qq{
		SELECT count(inv_reserve('A', 1, ttl => '1 millisecond'))
		  FROM generate_series(1, $holds)});
	return;
}

# Wait for a condition; true if it came true.
sub comes_true
{
	my ($condition) = @_;
	my $start = time;
	until ($condition->())
	{
		return 0
		  if time - $start > $PostgreSQL::Test::Utils::timeout_default;
		sleep 0.05;
	}
	return 1;
}

# What the log says of a pattern, after "offset": how often.
sub logged
{
	my ($node, $pattern, $offset) = @_;
	my $log = slurp_file($node->logfile, $offset || 0);
	return scalar(() = $log =~ /$pattern/g);
}

my $node = inventory_node('shop',
	init => { allows_streaming => 1 }, conf => $preload);
add_stock($node, A => 100_000);

#
# A standby, which is promoted at the end of this test.
#

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

#
# Code of the shop's that fails: the step rests, longer each time; the others
# go on.
#

$node->safe_psql('postgres', q{
	ALTER SYSTEM SET inventory_reservation.idempotency_retention = 1;
	SELECT pg_reload_conf();
	CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'not today';
	END $$;
	CREATE TRIGGER fail BEFORE UPDATE ON inv_reservation
		FOR EACH ROW WHEN (new.status = 'expired') EXECUTE FUNCTION fail();
	SELECT inv_reserve('A', 1, key => 'k', ttl => '1 millisecond')});
my $offset = -s $node->logfile;
my $start = time;

# Where a worker cannot even begin, all of it rests.
$node->safe_psql('postgres', 'CREATE DATABASE broken');
$node->safe_psql('broken', q{
	CREATE EXTENSION inventory_reservation;
	ALTER TABLE inv_stock RENAME TO somewhere});
ok($node->poll_query_until('postgres', q{
	SELECT (SELECT count(*) = 0 FROM inv_idempotency)
	   AND worker_failures > 1 AND worker_last_error LIKE 'sweep%: not today'
	  FROM inv_stat}),
	'the sweep fails, keys are deleted all the same, inv_stat tells');
sleep 8.5 - (time - $start) if time - $start < 8.5;
my $failures = logged($node, qr/ERROR:  not today/, $offset);
# there are two steps that sweep
cmp_ok($failures, '>=', 6, 'the sweep was tried again');
cmp_ok($failures, '<=', 10, 'ever less often');
like(slurp_file($node->logfile, $offset),
	qr/inventory_reservation worker for database postgres, step "sweep/,
	'the log says where it failed');
value_is($node, 'SELECT worker_runs - worker_failures >= 3 FROM inv_stat',
	't', 'the other steps had their turn meanwhile');
$failures = logged($node, qr/ERROR:  relation "inv_stock" .* is missing/, $offset);
cmp_ok($failures, '>=', 3, 'in the broken database workers were tried again');
cmp_ok($failures, '<=', 5, 'ever less often');
$node->safe_psql('postgres', 'DROP DATABASE broken');
$node->safe_psql('postgres', 'DROP TRIGGER fail ON inv_reservation');
ok($node->poll_query_until('postgres', $nothing_dead),
	'and it succeeds when it can');
books_are_right($node);

#
# A table that is locked, for longer than a worker stays.
#

$offset = -s $node->logfile;
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE inv_stock');
$session->query_safe(
	q{SELECT reservation_id FROM inv_reserve('A', 1, ttl => '1 millisecond')});
ok( comes_true(
		sub {
			logged($node, qr/LOG:  canceling statement due to lock timeout/,
				$offset);
		}),
	'a locked table is a remark in the log');
is(logged($node, qr/ERROR: /, $offset), 0, 'and no error');
$session->query_safe('COMMIT');
$session->quit;
ok($node->poll_query_until('postgres', $nothing_dead),
	'when it is free, the sweep succeeds');

#
# Code of the shop's that does not end.
#

# Politely: it can be cancelled.
$node->safe_psql('postgres', q{
	CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(30);
		RETURN new;
	END $$;
	CREATE TRIGGER dawdle BEFORE UPDATE ON inv_reservation
		FOR EACH ROW EXECUTE FUNCTION dawdle()});
sub longest_stay
{
	my $longest = 0;
	make_dead_holds($node, 1);
	$node->poll_query_until('postgres', qq{
		SELECT count(*) > 0 FROM pg_stat_activity
		 WHERE backend_type = 'inventory_reservation worker'
		   AND wait_event = 'PgSleep'});
	my $start = time;
	$node->poll_query_until('postgres', q{
		SELECT count(*) = 0 FROM pg_stat_activity
		 WHERE backend_type = 'inventory_reservation worker'});
	return time - $start;
}
$offset = -s $node->logfile;
cmp_ok(longest_stay(), '<', 6, 'a sweep that does not end is cancelled in time');
ok(logged($node, qr/LOG:  canceling statement due to statement timeout/, $offset),
	'and the log says so');

# Impolitely: it cannot.
$node->safe_psql('postgres', q{
	DROP TRIGGER dawdle ON inv_reservation;
	CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 30 LOOP
			BEGIN
				PERFORM pg_sleep(30);
			EXCEPTION WHEN query_canceled THEN
				RAISE LOG 'you will not get rid of me';
			END;
		END LOOP;
		RETURN new;
	END $$});
ok($node->poll_query_until('postgres', $nothing_dead), 'swept in between');
$node->safe_psql('postgres', q{
	CREATE TRIGGER dawdle BEFORE UPDATE ON inv_reservation
		FOR EACH ROW EXECUTE FUNCTION dawdle()});
cmp_ok(longest_stay(), '<', 14,
	'a worker that will not be cancelled is terminated');
ok(logged($node, qr/you will not get rid of me/, $offset), 'though it has tried');
$node->safe_psql('postgres', 'DROP TRIGGER dawdle ON inv_reservation');
ok($node->poll_query_until('postgres', $nothing_dead), 'the next one sweeps');
books_are_right($node);

#
# Processes that are ended and killed.
#

my $pid = $node->safe_psql('postgres', $launcher);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$node->poll_query_until('postgres', $launcher =~ s/pid/count(*) = 0/r);
ok( $node->poll_query_until('postgres', $launcher =~ s/pid/count(*) = 1/r),
	'a launcher that was terminated comes back');
make_dead_holds($node, 1);
ok($node->poll_query_until('postgres', $nothing_dead), 'and has holds swept');

# In the middle of a sweep.
$node->safe_psql('postgres', q{
	CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(0.001);
		RETURN NULL;
	END $$;
	CREATE TRIGGER slow AFTER UPDATE ON inv_reservation
		FOR EACH ROW EXECUTE FUNCTION slow()});
foreach my $victim ('worker', 'launcher')
{
	make_dead_holds($node, 1000);
	my $found = comes_true(
		sub {
			$pid = $node->safe_psql('postgres', qq{
				SELECT max(pid) FILTER
					   (WHERE backend_type = 'inventory_reservation $victim')
				  FROM pg_stat_activity
				 HAVING count(backend_xid) FILTER
						(WHERE backend_type = 'inventory_reservation worker') > 0});
			return $pid ne '';
		});
	ok($found, "$victim: a worker is in the middle of a sweep");
	$offset = -s $node->logfile;
	kill 'KILL', $pid;
	ok( comes_true(
			sub { logged($node, qr/ready to accept connections/, $offset) }),
		"$victim killed: the server restarts itself");
	$node->poll_query_until('postgres', 'SELECT true');
	books_are_right($node, "$victim killed: inv_check() finds nothing");
	ok($node->poll_query_until('postgres', $nothing_dead),
		"$victim killed: the sweep is done in the end");
	books_are_right($node, "$victim killed: and still");
}
$node->safe_psql('postgres', 'DROP TRIGGER slow ON inv_reservation');
only_errors_are($node, 0,
	{ P0001 => undef, 55000 => undef, '57P01' => undef, '57P02' => undef, '57P03' => undef },
	'no other error in the log');

#
# The standby: asleep, until it is promoted.
#

make_dead_holds($node, 10);
$node->safe_psql('postgres',
	q{SELECT inv_reserve('A', 1, ttl => '3 seconds')});
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $launcher . " AND true"),
	'', 'there is no launcher on a standby');
is(logged($standby, qr/launcher started/), 0, 'nor was there one');
$node->stop('fast');
$standby->promote;
ok( $standby->poll_query_until('postgres', $nothing_dead),
	'promoted: dead holds are swept');
ok( $standby->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM inv_reservation WHERE status = 'active'}),
	'promoted: and those that die there');
books_are_right($standby, 'promoted: inv_check() finds nothing');
only_errors_are($standby, 0, { '57P01' => undef, '57P03' => undef, '08006' => undef },
	'promoted: no error in the log but of the link');

#
# The postmaster is killed: nobody stays behind.
#

my $processes = $standby->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'inventory%'});
my $postmaster = (split /\n/, slurp_file($standby->data_dir . '/postmaster.pid'))[0];
like($processes, qr/^\d+/, 'there is a launcher');
kill 'KILL', $postmaster;
ok( comes_true(
		sub {
			return !grep { kill 0, $_ } split /\n/, $processes;
		}),
	'postmaster killed: the launcher is gone');
$standby->stop('immediate', fail_ok => 1);

#
# No slots, and a server that is being upgraded.
#

$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$offset = -s $node->logfile;
$node->start;
ok( comes_true(
		sub { logged($node, qr/out of background worker slots/, $offset) }),
	'no slots: the log says so');
sleep 3;
is(logged($node, qr/out of background worker slots/, $offset), 1, 'once');
is(logged($node, qr/HINT:  .*max_worker_processes/, $offset), 1,
	'with what to do');
books_are_right($node);
$node->stop;

# As pg_upgrade starts it.
$offset = -s $node->logfile;
system_or_bail('pg_ctl', '--wait', '--pgdata', $node->data_dir,
	'--log', $node->logfile, '--options', '-b', 'start');
is($node->safe_psql('postgres', $launcher), '',
	'binary upgrade: there is no launcher');
is(logged($node, qr/launcher started/, $offset), 0, 'nor was there one');
system_or_bail('pg_ctl', '--wait', '--pgdata', $node->data_dir, 'stop');

done_testing();
