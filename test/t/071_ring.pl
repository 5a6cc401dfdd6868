# The background worker rings NOTIFY when there are new events: once a round,
# and with a buyer's transaction never in the way of anybody.
use strict;
use warnings;

use InventoryTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = inventory_node('bell', init => { allows_streaming => 1 }, conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
inventory_reservation.notify = on
CONF
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN inventory_reservation');

# The payloads of what was rung by now.
sub heard
{
	my $said = $listener->query_safe('SELECT 1');
	return $said =~
	  /^Asynchronous notification "inventory_reservation" with payload "([^"]*)"/mg;
}

# Wait until the newest event has been rung for; all that was heard till then.
# What the worker has told itself is rung for in the same round.
sub hear_newest
{
	my @heard;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $until)
	{
		push @heard, heard();
		my $newest = $node->safe_psql('postgres', 'SELECT inv_newest_event()');
		last if @heard && $heard[-1] eq $newest;
		sleep 0.1;
	}
	return @heard;
}

add_stock($node, 'A' => 100_000);
my @heard = hear_newest();
cmp_ok(scalar @heard, '>', 0, 'rung for the first delivery');
ok( $node->poll_query_until('postgres',
		q{SELECT string_agg(operation, ' ') = 'receive back_in_stock' FROM inv_events()}),
	'the worker has told that the SKU is in stock');
push @heard, hear_newest() if !defined $heard[-1] || $heard[-1] ne $node->safe_psql('postgres', 'SELECT inv_newest_event()');
is_deeply([ $heard[-1] ],
	[ $node->safe_psql('postgres', q{SELECT format('%s/%s/%s', epoch, xid, entry_id) FROM inv_progress WHERE task = 'ring'}) ],
	'the payload is a cursor');
value_is($node, "SELECT count(*) FROM inv_events('$heard[-1]')", 0, 'of the newest event');

# Nothing happens, nothing is rung.
heard();
sleep 3;
is_deeply([ heard() ], [], 'silence while nothing happens');

# A thousand transactions in some seconds.
my $begun = time;
my ($status) = pgbench($node,
	clients => 4,
	arguments => [ '--transactions', 500 ],
	scripts => { "SELECT inv_reserve('A', 1);\n\\sleep 5 ms\n" => 1 });
is($status, 0, 'buyers buy');
@heard = hear_newest();
my $rounds = time - $begun;
note scalar(@heard) . " rings in $rounds s";
cmp_ok(scalar @heard, '>=', 2, 'rung while they buy');
cmp_ok(scalar @heard, '<=', $rounds + 2, 'once a round');
is(scalar(grep { !/^\d+\/\d+\/\d+$/ } @heard), 0, 'always with a cursor');

# Whoever rings keeps others from committing a ring.  One that hangs in its
# commit, for want of a synchronous standby, keeps no buyer.
$node->safe_psql('postgres', q{
	CREATE TABLE rung (at timestamptz);
	ALTER DATABASE postgres SET synchronous_commit = local;
	ALTER SYSTEM SET inventory_reservation.worker_enabled = off;
	ALTER SYSTEM SET synchronous_standby_names = 'nobody';
	SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'inventory_reservation%worker%'"), 'no worker');
my $ringer = $node->background_psql('postgres');
$ringer->query_safe('SET synchronous_commit = on');
$ringer->query_until(qr/now/, "\\echo now\nBEGIN; INSERT INTO rung VALUES (now()); NOTIFY inventory_reservation, 'x'; COMMIT;\n");
ok($node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"), 'a ring hangs in its commit');
is(sqlstate_of($node, "SET lock_timeout = '500ms'; NOTIFY other"),
	'55P03', 'another ring waits for it');
is(sqlstate_of($node, q{
	SET lock_timeout = '5s';
	SELECT inv_confirm((inv_reserve('A', 1)).reservation_id), inv_cancel((inv_reserve('A', 1)).reservation_id), inv_receive('A', 1)}),
	'00000', 'a buyer does not');
$node->safe_psql('postgres', q{
	ALTER SYSTEM RESET synchronous_standby_names;
	ALTER SYSTEM RESET inventory_reservation.worker_enabled;
	SELECT pg_reload_conf()});
@heard = hear_newest();
cmp_ok(scalar(grep { $_ ne 'x' } @heard), '>', 0, 'rung again');
$ringer->quit;

# Off means silence; on again, what has come meanwhile is rung for.
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET inventory_reservation.notify = off;
	SELECT pg_reload_conf()});
sleep 2;
heard();
$node->safe_psql('postgres', "SELECT inv_receive('A', 1)");
sleep 3;
is_deeply([ heard() ], [], 'silence with the setting off');
$node->safe_psql('postgres', q{
	ALTER SYSTEM RESET inventory_reservation.notify;
	SELECT pg_reload_conf()});
@heard = hear_newest();
is(scalar @heard, 1, 'one ring for what has come meanwhile');

$listener->quit;
books_are_right($node);
$node->stop;
done_testing();
