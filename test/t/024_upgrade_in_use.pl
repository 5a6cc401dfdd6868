# An upgrade while the shop is open: new files, a restart or not, ALTER EXTENSION
# UPDATE under load.
#
# What must never happen is that a session works with the library of one version
# on the tables of a later one.  Where libraries come from, in this test: that
# of this source, and the same source built to take itself for the earlier
# version, which shows what a session with an earlier library does after the
# update.  (The library of 0.1.0 itself asks for no version.)
use strict;
use warnings;

use InventoryTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use UpgradeTest;

my $old = $old_versions[-1];
my $installation = private_installation();
my $new_library = $installation->{built};
my $old_library = build_library($old);
my $update = 'ALTER EXTENSION inventory_reservation UPDATE';
my $version = q{SELECT extversion FROM pg_extension WHERE extname = 'inventory_reservation'};

# The files of a version, as its package has them.
sub install
{
	my ($which) = @_;
	install_library($installation, $which eq $old ? $old_library : $new_library);
	install_version($installation, $which);
	return;
}

# What a session answers to a statement, or the error and its hint.
sub ask
{
	my ($session, $sql) = @_;
	my $answer = $session->query($sql);
	my $error = $session->{stderr};

	$session->{stderr} = '';
	return $error eq '' ? $answer : $error;
}

# Begin a statement that may have to wait, and what it says in the end.
sub begin_to_ask
{
	my ($session, $sql) = @_;
	$session->query_until(qr/begun/, "\\echo begun\n$sql;\n");
	return;
}
sub hear { return ask($_[0], '') =~ s/^\s+//r }

sub session_of
{
	my ($node) = @_;
	return $node->background_psql('postgres', on_error_stop => 0);
}

sub logged
{
	my ($node, $pattern, $offset) = @_;
	my $log = slurp_file($node->logfile, $offset || 0);
	return scalar(() = $log =~ /$pattern/g);
}

my $too_old_library = qr/ERROR:  extension "inventory_reservation" is of version \Q$current_version\E, but the library in this session of version \Q$old\E\nHINT:  Connect again\./;

#
# The library is preloaded
#
install($old);
my $node = inventory_node('preloaded',
	new => { install_path => $installation->{programs} }, conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
CONF
my $clients = 8;
add_stock($node, OPEN => 10, map { ("S$_" => 1_000_000) } 1 .. $clients);
value_is($node, $version, $old, "a shop with version $old");
my $live = $node->safe_psql('postgres', q{SELECT reservation_id FROM inv_reserve('S1', 3, 'live', ttl => '1 hour')});

# new files, and no restart
install($current_version);
my ($status, $stdout, $stderr) = $node->psql('postgres', $update);
like($stderr, qr/ERROR:  the library of extension "inventory_reservation" in this session is older than version \Q$current_version\E\nHINT:  .*restart the server/,
	'without a restart the update is refused');
value_is($node, $version, $old, 'and nothing has changed');
value_is($node, q{SELECT status FROM inv_reserve('S1', 1)}, 'active', 'so buyers go on');

# restarted: the new library on the old tables
$node->stop;
my $offset = -s $node->logfile;
$node->start;
value_is($node, q{SELECT status FROM inv_reserve('S2', 5, ttl => '1 millisecond')}, 'active', 'after the restart buyers go on');
ok($node->poll_query_until('postgres', q{SELECT status = 'expired' FROM inv_reservation WHERE quantity = 5}),
	'and the worker sweeps');

# sessions that know the tables, one in the middle of a transaction
my $buyer = session_of($node);
ask($buyer, q{PREPARE buy(text) AS SELECT status FROM inv_reserve($1, 1);
	PREPARE hold AS SELECT * FROM inv_reserve('S4', 1, 'prepared', ttl => '1 hour');
	PREPARE look AS SELECT on_hand > 0 FROM inv_availability WHERE sku = 'S3'});
is(ask($buyer, q{EXECUTE buy('S3')}), 'active', 'a session buys');
my $prepared = ask($buyer, 'EXECUTE hold');
is(ask($buyer, 'EXECUTE look'), 't', 'and looks');
my $reader = session_of($node);
is(ask($reader, q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) > 0 FROM inv_item}), 't', 'a session that only reads');
my $in_transaction = session_of($node);
is(ask($in_transaction, q{BEGIN; SELECT status FROM inv_reserve('OPEN', 1, 'in transaction')}), 'active', 'a session with a call that is not committed');

# many buyers
my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/sale.sql", <<'SQL');
\set n random(1, 8)
SELECT reservation_id AS one FROM inv_reserve('S' || :n, 1, 'key ' || :client_id || ' ' || random()) \gset
SELECT order_id FROM inv_confirm(:one);
SQL
append_to_file("$dir/basket.sql", <<'SQL');
\set n random(1, 8)
BEGIN;
SELECT count(*) FROM inv_stock;
SELECT reservation_id AS one FROM inv_reserve_cart(ARRAY['S' || :n], '{2}') \gset
SELECT status FROM inv_cancel(:one);
COMMIT;
SQL
my $orders = 'SELECT count(*) FROM inv_order';
my $load = IPC::Run::start(
	[
		'pgbench', '--no-vacuum', '--client', $clients, '--jobs', 2,
		'--transactions', 500, '--protocol', 'prepared',
		'--file', "$dir/sale.sql\@3", '--file', "$dir/basket.sql\@1",
		$node->connstr('postgres')
	],
	'<', \'', '>', \my $load_out, '2>', \my $load_err,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
ok($node->poll_query_until('postgres', "SELECT ($orders) > 50"), 'many buyers');

# The update waits for who is in a transaction, and others wait for the update.
my $dba = session_of($node);
my $dba_pid = ask($dba, 'SELECT pg_backend_pid()');
begin_to_ask($dba, $update);
ok($node->poll_query_until('postgres', qq{
		SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $dba_pid AND cardinality(pg_blocking_pids(pid)) > 0)}),
	'the update waits for a transaction that has called');
# (some for a buyer who waits for the update, and has the stock they want)
ok($node->poll_query_until('postgres', qq{
		SELECT count(*) >= $clients
			   AND count(*) FILTER (WHERE $dba_pid = ANY (pg_blocking_pids(pid))) > 0
		  FROM pg_stat_activity
		 WHERE backend_type = 'client backend' AND pid <> $dba_pid AND wait_event_type = 'Lock'}),
	'all buyers wait for the update');
my $before = $node->safe_psql('postgres', $orders);
is(ask($in_transaction, q{SELECT status FROM inv_reserve('OPEN', 1); COMMIT}), 'active', 'who is in a transaction goes on in it');
is(hear($dba), '', 'the update is done');
value_is($node, $version, $current_version, "the database has version $current_version");
ok($node->poll_query_until('postgres', "SELECT ($orders) > $before"), 'the buyers go on');
$load->finish;
is($load->result(0), 0, 'and have all been served') or diag($load_err);
like($load_out, qr/number of failed transactions: 0 /, 'no call has failed');
sub value { return $_[0]->safe_psql('postgres', $_[1]) }

# Nobody has to connect again.
is(ask($buyer, q{EXECUTE buy('S3')}), 'active', 'a prepared call goes on');
is(ask($buyer, 'EXECUTE hold') =~ s/\|\d+$//r, $prepared =~ s/\|f\|\d+$/|t/r, 'one with all columns replays');
is(ask($buyer, 'EXECUTE look'), 't', 'a prepared query of a view too');
is(ask($buyer, 'SELECT library, extension, files, to_do FROM inv_version()'), "$current_version|$current_version|$current_version|",
	'what is new is there, and nothing left to do');
is(ask($reader, q{SELECT count(*) > 0 FROM inv_check(); COMMIT}), 'f', 'a session with an old snapshot goes on');
is(ask($in_transaction, q{SELECT status, replayed FROM inv_reserve('OPEN', 1, 'in transaction')}), 'active|t', 'a key from before replays');
is(ask($in_transaction, "SELECT status FROM inv_confirm('$live')"), 'confirmed', 'a hold from before is sold');
only_errors_are($node, $offset, {}, 'there was no error in all this');
is(logged($node, 'does nothing'), 0, 'no worker has stayed away');
books_are_right($node);
$_->quit foreach $buyer, $reader, $in_transaction, $dba;

# An update that is undone: the version before, as if nothing had been.
$node->safe_psql('postgres', q{CREATE DATABASE undone TEMPLATE template0});
$node->safe_psql('undone', "CREATE EXTENSION inventory_reservation VERSION '$old'; SELECT inv_add_item('A'), inv_receive('A', 5)");
$node->safe_psql('undone', "BEGIN; $update; SELECT inv_reserve('A'); ROLLBACK; SELECT inv_reserve('A')");
is($node->safe_psql('undone', $version), $old, 'an update rolled back');
is($node->safe_psql('undone', "BEGIN; SAVEPOINT s; $update; ROLLBACK TO s; SELECT status FROM inv_reserve('A'); $update; SELECT status FROM inv_reserve('A'); COMMIT"),
	"active\nactive", 'to a savepoint, and made again');
is($node->safe_psql('undone', 'SELECT reserved FROM inv_availability; SELECT * FROM inv_check()'), '3', 'the books are right');

#
# Back to the earlier files: everything is refused, the worker says so once.
#
$node->stop;
install_library($installation, $old_library);
$offset = -s $node->logfile;
$node->start;
foreach my $call (q{inv_reserve('S1')}, q{inv_try_reserve('S1')}, q{inv_available('S1')}, "inv_order_status('$live')",
	q{inv_events()}, q{inv_expire()}, q{inv_reconcile()}, q{inv_receive('S1', 1)}, q{inv_grant('postgres', 'buyer')})
{
	($status, $stdout, $stderr) = $node->psql('postgres', "SELECT $call");
	like($stderr, $too_old_library, "an earlier library refuses $call");
}
like($node->safe_psql('postgres', 'SELECT library, extension, to_do FROM inv_version()'),
	qr/^\Q$old|$current_version|\E.*restart/, 'inv_version() says what to do');
my $runs = 'SELECT coalesce(worker_runs, 0) FROM inv_stat';
foreach my $visit (1 .. 3)
{
	# a database that does not fit is visited only if rows are inserted
	my $before = value($node, $runs);
	$node->safe_psql('postgres', "CREATE TABLE rows_$visit AS SELECT 1 AS one");
	ok($node->poll_query_until('postgres', "SELECT ($runs) > $before"), "visit $visit of a worker");
}
is(logged($node, 'WARNING:  inventory_reservation worker for database postgres does nothing: extension "inventory_reservation" is of version', $offset), 1,
	'the worker has said once that it does nothing');
is(logged($node, 'sqlstate=(?!00000|55000)|terminated by signal|background worker "inventory_reservation worker.* exited with exit code', $offset), 0, 'and has not failed');
like(value($node, 'SELECT worker_last_error FROM inv_stat'), qr/is of version/, 'inv_stat says so too');
install_library($installation, $new_library);
$node->restart;
$node->safe_psql('postgres', q{SELECT inv_reserve('S2', 6, ttl => '1 millisecond')});
ok($node->poll_query_until('postgres', q{SELECT status = 'expired' FROM inv_reservation WHERE quantity = 6}),
	'with the right library the worker sweeps again');
books_are_right($node);

#
# Tables too old for the library: the worker leaves them alone until UPDATE,
# and is then there at once.
#
my $ancient = slurp_file("$installation->{extension}/inventory_reservation--$old_versions[0].sql");
$ancient =~ s/,\n\tcancelled_at timestamptz\n\);/\n);/ or die;
$ancient =~ s/^(COMMENT ON COLUMN inv_order\.cancelled_at .*\n)//m or die;
append_to_file("$installation->{extension}/inventory_reservation--0.0.1--$old_versions[0].sql",
	"ALTER TABLE inv_order ADD COLUMN cancelled_at timestamptz;\n$1");
append_to_file("$installation->{extension}/inventory_reservation--0.0.1.sql", $ancient);
$node->append_conf('postgresql.conf', "inventory_reservation.naptime = 1h\n");
$node->stop;
$offset = -s $node->logfile;
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE ancient TEMPLATE template0');
$node->safe_psql('ancient', "CREATE EXTENSION inventory_reservation VERSION '0.0.1'");
my $told = qr/does nothing: relation "inv_order" of extension "inventory_reservation" is of version 0\.0\.1.*\n.*HINT:  Run ALTER EXTENSION inventory_reservation UPDATE/;
ok($node->poll_query_until('ancient', q{SELECT worker_runs > 0 FROM inv_stat}), 'a worker has looked');
is(logged($node, $told, $offset), 1, 'and said what to do');
$runs = $node->safe_psql('ancient', 'SELECT worker_runs FROM inv_stat');
$node->safe_psql('ancient', $update);
ok($node->poll_query_until('ancient', qq{SELECT worker_runs > $runs FROM inv_stat}), 'updated: a worker is there at once');
is($node->safe_psql('ancient', q{SELECT inv_add_item('A') > 0, (inv_receive('A', 1)).on_hand, (inv_reserve('A')).status; SELECT * FROM inv_check()}),
	't|1|active', 'and all works');
is(logged($node, $told, $offset), 1, 'nothing more is said');
$node->stop;

#
# The library is not preloaded: each session has loaded what was there when it
# first called.
#
install($old);
my $plain = inventory_node('plain', new => { install_path => $installation->{programs} });
add_stock($plain, A => 100, B => 100);
my $early = session_of($plain);
ask($early, q{PREPARE buy AS SELECT status FROM inv_reserve('A', 1)});
is(ask($early, 'EXECUTE buy'), 'active', 'a session that has loaded the earlier library');
my $early_pid = ask($early, 'SELECT pg_backend_pid()');
my $halfway = session_of($plain);
is(ask($halfway, q{BEGIN; SELECT status FROM inv_reserve('B', 1)}), 'active', 'another, in a transaction');
install($current_version);
is(ask($early, 'EXECUTE buy'), 'active', 'it goes on with new files');
like(ask($early, $update), qr/ERROR:  the library .* is older than version/, 'but cannot update');

my $late = session_of($plain);
begin_to_ask($late, $update);
ok($plain->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')}),
	'the update waits for it');
begin_to_ask($early, 'EXECUTE buy');
ok($plain->poll_query_until('postgres', qq{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $early_pid)}), 'and the first one for the update');
is(ask($halfway, q{SELECT status FROM inv_reserve('B', 1); COMMIT}), 'active', 'what was begun is done');
is(hear($late), '', 'a session that has loaded the new library updates');
like(hear($early), $too_old_library, 'who has waited with the earlier library is refused');
like(ask($early, 'EXECUTE buy'), $too_old_library, 'from then on');
like(ask($halfway, q{SELECT inv_reserve('A', 1)}), $too_old_library, 'so is the other');
is(ask($late, q{SELECT status FROM inv_reserve('A', 1)}), 'active', 'the new library goes on');
value_is($plain, q{SELECT status FROM inv_reserve('A', 1)}, 'active', 'and who connects again gets it');
value_is($plain, 'SELECT sum(reserved) FROM inv_availability', 6, 'nothing was taken by those refused');
books_are_right($plain);
$_->quit foreach $early, $halfway, $late;
$plain->stop;

done_testing();
