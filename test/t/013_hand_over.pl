# The queue in front of a stock row: who comes first is served first, who leaves
# it leaves nothing behind, and it lets go whatever ends the one at its head.
#
# Waiters come one by one: the next is only started when the one before him is
# seen waiting.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = inventory_node('shop', conf => "deadlock_timeout = 500ms\n");
add_stock($node, 'A' => 100_000, 'B' => 100_000, 'C' => 100_000, 'crowded' => 100_000,
	'striped' => 1000);

my $watch = $node->background_psql('postgres');

# Ask until the answer is "t".
sub wait_for
{
	my ($question, $what) = @_;

	foreach (1 .. 3000)
	{
		return if $watch->query_safe($question) eq 't';
		sleep 0.01;
	}
	die "waited in vain: $what";
}

# Start a session that runs statements and ends.
sub start
{
	my ($name, @sql) = @_;
	my %session = (name => $name, stdout => '', stderr => '');

	$session{run} = IPC::Run::start(
		[
			'psql', '--no-psqlrc', '--no-align', '--tuples-only', '--quiet',
			'--set', 'VERBOSITY=sqlstate', '--dbname',
			$node->connstr('postgres') . " application_name='$name'",
			map { ('--command', $_) } @sql
		],
		'<', \'', '>', \$session{stdout}, '2>', \$session{stderr},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

# The same, and it waits.
sub queue_up
{
	my ($name, @sql) = @_;
	my $session = start($name, @sql);

	wait_for(
		"SELECT EXISTS (SELECT FROM pg_stat_activity"
		  . " WHERE application_name = '$name' AND wait_event_type = 'Lock')",
		"$name to wait");
	return $session;
}

# SQLSTATE that it ended with.
sub outcome
{
	my ($session) = @_;

	$session->{run}->finish;
	return $session->{stderr} =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5})\b/ ? $1 : '00000';
}

sub gone
{
	my ($name) = @_;
	return wait_for(
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '$name')",
		"$name to end");
}

sub reserve { return "SELECT status FROM inv_reserve('A', customer => '$_[0]', ttl => '1 hour')"; }

# Who has been served, in the order of the ledger.
sub served
{
	my ($like) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(line.customer, ' ' ORDER BY entry_id)
		  FROM inv_ledger AS entry JOIN inv_reservation AS line USING (reservation_id, item_id)
		 WHERE entry.operation = 'reserve' AND line.customer LIKE '$like%'});
}

my $queue = q{
	SELECT count(*) FILTER (WHERE granted), count(*) FILTER (WHERE NOT granted)
	  FROM pg_locks WHERE locktype = 'userlock'};

sub begin
{
	my ($customer) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe('BEGIN');
	$session->query_safe(reserve($customer));
	return $session;
}

#
# First come, first served
#
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my @names = map { lc($end) . $_ } 'a' .. 't';
	my $head = begin('head');
	my @waiters = map { queue_up($_, reserve($_)) } @names;

	value_is($node, $queue, '1|20', "$end: twenty wait behind one");
	$head->query_safe($end);
	is_deeply([ map { outcome($_) } @waiters ], [ ('00000') x 20 ],
		"$end: all are served");
	is(served(lc $end), "@names", "$end: in the order in which they came");
	value_is($node, $queue, '0|0', "$end: nobody is left in the queue");
	$head->quit;
}

#
# Some leave before it is their turn
#
{
	my $offset = -s $node->logfile;
	my $head = begin('leave0');
	my %waiter;
	my %prefix = (
		3 => "SET lock_timeout = '1s'",
		5 => "SET statement_timeout = '1s'");

	$waiter{$_} = queue_up("leave$_", $prefix{$_} || (), reserve("leave$_"))
	  foreach 1 .. 9;
	$watch->query_safe("SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
		  . " WHERE application_name = 'leave7'");
	$watch->query_safe("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		  . " WHERE application_name = 'leave8'");
	gone("leave$_") foreach 3, 5, 7, 8;
	is(outcome($waiter{3}), '55P03', 'lock_timeout ends a wait');
	is(outcome($waiter{5}), '57014', 'statement_timeout ends a wait');
	is(outcome($waiter{7}), '57014', 'pg_cancel_backend() ends a wait');
	is(outcome($waiter{8}), '57P01', 'pg_terminate_backend() ends a wait');
	value_is($node, $queue, '1|5', 'the others still wait');
	$head->query_safe('COMMIT');
	is(join(' ', map { outcome($waiter{$_}) } 1, 2, 4, 6, 9),
		join(' ', ('00000') x 5), 'and are served');
	is(served('leave'), join(' ', map { "leave$_" } 0, 1, 2, 4, 6, 9),
		'in the order in which they came');
	value_is($node, $queue, '0|0', 'nobody is left in the queue');
	only_errors_are($node, $offset, { '55P03' => 1, '57014' => 2, '57P01' => 1 },
		'no other errors');
	$head->quit;
}

# The same in front of stripes, which are all somebody's: for one of them, for
# all, and to change how many they are.
{
	my $offset = -s $node->logfile;

	$node->safe_psql('postgres', "SELECT inv_set_stripes('striped', 8)");
	my $head = $node->background_psql('postgres');
	$head->query_safe('BEGIN');
	$head->query_safe("SELECT inv_reserve('striped', 900)");

	my $one = queue_up('one', "SET lock_timeout = '1s'", "SELECT inv_reserve('striped')");
	my $all = queue_up('all', "SET statement_timeout = '1s'", "SELECT inv_reserve('striped', 500)");
	my $fewer = queue_up('fewer', "SELECT inv_set_stripes('striped', 2)");
	my $stays = queue_up('stays', "SELECT inv_reserve('striped', ttl => '1 hour')");
	$watch->query_safe("SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
		  . " WHERE application_name = 'fewer'");
	gone($_) foreach 'one', 'all', 'fewer';
	is(outcome($one), '55P03', 'lock_timeout ends the wait for one stripe');
	is(outcome($all), '57014', 'statement_timeout ends the wait for all stripes');
	is(outcome($fewer), '57014', 'a cancelled change of stripes leaves the queue');
	$head->query_safe('ROLLBACK');
	is(outcome($stays), '00000', 'who stayed is served');
	value_is($node, q{
		SELECT count(*), count(*) FILTER (WHERE retired), sum(reserved)
		  FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = 'striped'},
		'8|0|1', 'and nothing else has changed');
	value_is($node, $queue, '0|0', 'nobody is left in the queues');
	only_errors_are($node, $offset, { '55P03' => 1, '57014' => 2 }, 'no other errors');
	$head->quit;
}

# The one at the head is killed: the next one does not wait for him.
{
	my $head = begin('killed');
	my $pid = $head->query_safe('SELECT pg_backend_pid()');
	my $next = queue_up('next', reserve('next'));

	$watch->query_safe("SELECT pg_terminate_backend($pid)");
	is(outcome($next), '00000', 'who waited for a session that is killed goes on');
	is(served('killed'), '', 'and what that one held is not held');
	value_is($node, $queue, '0|0', 'nobody is left in the queue');
	eval { $head->quit };
}
books_are_right($node);

#
# Prepared transactions keep the place, in whatever session they are ended
#
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $name = lc($end) . ' prepared';

	$node->safe_psql('postgres',
		'BEGIN; ' . reserve("$name head") . "; PREPARE TRANSACTION '$name'");
	my @waiters = map { queue_up("$name $_", reserve("$name $_")) } 1 .. 3;
	value_is($node, $queue, '1|3', "$end PREPARED: three wait");
	$node->safe_psql('postgres', "$end PREPARED '$name'");
	is_deeply([ map { outcome($_) } @waiters ], [ ('00000') x 3 ],
		"$end PREPARED: all are served");
	is( served($name),
		join(' ', map { "$name $_" } ($end eq 'COMMIT' ? ('head') : ()), 1 .. 3),
		"$end PREPARED: in the order in which they came");
	value_is($node, $queue, '0|0', "$end PREPARED: nobody is left in the queue");
}

# Also across a crash.
$node->safe_psql('postgres',
	'BEGIN; ' . reserve('crash head') . "; PREPARE TRANSACTION 'crash'");
$watch->quit;
$node->stop('immediate');
$node->start;
$watch = $node->background_psql('postgres');
{
	my @waiters = map { queue_up("crash $_", reserve("crash $_")) } 1 .. 3;

	value_is($node, $queue, '1|3', 'after a crash, three wait for what was prepared before');
	$node->safe_psql('postgres', "COMMIT PREPARED 'crash'");
	is_deeply([ map { outcome($_) } @waiters ], [ ('00000') x 3 ], 'all are served');
	is(served('crash'), 'crash head crash 1 crash 2 crash 3',
		'in the order in which they came');
	value_is($node, $queue, '0|0', 'nobody is left in the queue');
}
books_are_right($node);

#
# Circles with the caller's own locks: one is told, bystanders are served
#
$node->safe_psql('postgres', 'CREATE TABLE wish (wish integer)');
foreach my $case (
	[ 'two calls', "SELECT inv_reserve('B')", "SELECT inv_reserve('B')" ],
	[ 'an advisory lock', 'SELECT pg_advisory_xact_lock(7)', 'SELECT pg_advisory_xact_lock(7)' ],
	[
		'an UPDATE by hand',
		"UPDATE inv_stock SET updated_at = updated_at WHERE item_id = (SELECT item_id FROM inv_item WHERE sku = 'B')",
		"SELECT inv_reserve('B')"
	])
{
	my ($name, $theirs, $ours) = @$case;
	my $offset = -s $node->logfile;
	my $head = begin("$name head");
	my $other = $node->background_psql('postgres', on_error_stop => 0);

	$other->query_safe('BEGIN');
	$other->query_safe($theirs);
	my $bystander = queue_up('bystander', reserve("$name bystander"));
	my $writer = queue_up('writer', "INSERT INTO wish VALUES (1); " . reserve("$name writer"));
	# the head waits for the other, who waits behind the bystander for the head
	$head->{stdin} .= "$ours;\n";
	$head->{run}->pump_nb;
	$other->query(reserve("$name other"));
	$other->query('COMMIT');
	$head->query('COMMIT');
	$_->quit foreach $head, $other;
	is(outcome($bystander), '00000', "$name: who only stood behind is served");
	is(outcome($writer), '00000', "$name: so is one whose transaction had written before");
	my $errors = logged_errors($node, $offset);
	is($errors->{'40P01'}, 1, "$name: one of the two is told");
	delete @$errors{ '40P01', '25P02' };
	is_deeply($errors, {}, "$name: nothing worse");
	value_is($node, $queue, '0|0', "$name: nobody is left in the queue");
}
books_are_right($node);

# A circle that is closed only after the one who waits in it has looked, by a
# first call: that one finds it, after 60 times deadlock_timeout.
{
	my $offset = -s $node->logfile;
	my $head = begin('late head');
	my $other = $node->background_psql('postgres', on_error_stop => 0);

	$other->query_safe($_)
	  foreach "SET deadlock_timeout = '50ms'", 'BEGIN', 'SELECT pg_advisory_xact_lock(8)';
	$head->{stdin} .= "SELECT pg_advisory_xact_lock(8);\n";
	$head->{run}->pump_nb;
	wait_for("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
		  . " AND waitstart < clock_timestamp() - interval '700 milliseconds')",
		'the head to have looked');
	$other->query(reserve('late other'));
	$other->query('ROLLBACK');
	$head->query('COMMIT');
	$_->quit foreach $head, $other;
	my $errors = logged_errors($node, $offset);
	is($errors->{'40P01'}, 1, 'a circle closed late: one of the two is told');
	is(served('late'), 'late head', 'a circle closed late: the other goes on');
	value_is($node, $queue, '0|0', 'a circle closed late: nobody is left in the queue');
}
books_are_right($node);

# Many transactions of several calls in any order, which try again.
{
	my $offset = -s $node->logfile;
	my ($status, $stdout) = pgbench($node,
		clients => 8,
		arguments => [ '--transactions', 10, '--max-tries', 100_000 ],
		scripts => {
			q{
				\set first random(1, 3)
				\set second random(1, 3)
				BEGIN;
				SET LOCAL deadlock_timeout = '20ms';
				SELECT inv_reserve(substr('ABC', :first, 1), customer => 'both', ttl => '1 hour');
				SELECT inv_reserve(substr('ABC', :second, 1), customer => 'both', ttl => '1 hour');
				COMMIT;
			} => 1
		});
	is($status, 0, 'transactions of two calls come to an end');
	value_is($node, "SELECT count(*) FROM inv_reservation WHERE customer = 'both'",
		2 * 8 * 10, 'each has done both');
	only_errors_are($node, $offset, { '40P01' => undef },
		'what deadlocked was told so, nothing worse');
	value_is($node, $queue, '0|0', 'nobody is left in the queue');
}

#
# A crowd on one row
#
{
	my $offset = -s $node->logfile;
	my ($status) = crowd($node, clients => 200,
		script => "SELECT inv_reserve('crowded', customer => 'crowd', ttl => '1 hour');\n" x 5);

	is($status, 0, 'a crowd of 200 is served');
	value_is($node,
		"SELECT reserved FROM inv_availability WHERE sku = 'crowded'",
		1000, 'each of them five times');
	only_errors_are($node, $offset, {}, 'without errors');
	value_is($node, $queue, '0|0', 'nobody is left in the queue');
}
books_are_right($node);

$watch->quit;
$node->stop;
done_testing();
