# A thousand sessions at work at once, for a while: every one reserves, confirms,
# cancels, fills carts, asks and sweeps, on one hot SKU and on many, with the
# settings of a fresh server but for max_connections.
#
# What must never happen: an error that the buyer has not made, a deadlock, a
# full lock table, a unit lost; or that a session takes so much memory that a
# thousand of them do not fit into a server.
#
# There is no pause between the calls of a session and no pooler in front.
use strict;
use warnings;

use InventoryTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'measures memory, of which a sanitizer takes its own share'
  if $ENV{SANITIZE} || $ENV{VALGRIND};

my $sessions = 1000;
my $each = $ENV{FULL} ? 300 : 12;
my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
inventory_reservation.auto_stripes = 8
CONF

$node->safe_psql('postgres', q{
	SELECT count(inv_add_item('S' || n, unit_price => 1)) FROM generate_series(1, 200) AS n;
	SELECT inv_load_stock(array_agg('S' || n), array_agg(1000::bigint))
	  FROM generate_series(1, 200) AS n;
	SELECT inv_add_item('hot', unit_price => 1), inv_receive('hot', 1000000);
	SELECT inv_add_item('striped', unit_price => 1), inv_receive('striped', 1000000),
		   inv_set_stripes('striped', 16);
	ANALYZE});

# One transaction in all of these: so there may be no deadlock.
my %script = (
	# hold, then buy or give up
	q{\set n random(1, 200)
	\set which random(1, 4)
	\set dice random(1, 10)
	SELECT coalesce(reservation_id::text, 'none') AS hold, reservation_id IS NULL AS short
	  FROM inv_try_reserve(CASE :which WHEN 1 THEN 'hot' WHEN 2 THEN 'striped' ELSE 'S' || :n END,
			1, customer => 'session ' || :client_id, ttl => '1 minute') \gset
	\if :short
	\elif :dice < 6
	SELECT status FROM inv_confirm(nullif(':hold', 'none')::uuid);
	\elif :dice < 9
	SELECT status FROM inv_cancel(nullif(':hold', 'none')::uuid);
	\endif
	} => 50,
	q{\set n random(1, 195)
	\set dice random(1, 10)
	SELECT coalesce(reservation_id::text, 'none') AS hold, reservation_id IS NULL AS short
	  FROM inv_try_reserve_cart(ARRAY['S' || (:n + 3), 'hot', 'S' || :n, 'striped'], '{1,2,1,1}',
			ttl => '2 seconds') \gset
	\if :short
	\elif :dice < 5
	SELECT lines FROM inv_reservation_status(nullif(':hold', 'none')::uuid);
	\endif
	} => 20,
	q{SELECT inv_available('hot'), inv_available('S7');} => 20,
	q{SELECT inv_expire(50);} => 5,
	q{\set n random(1, 200)
	SELECT inv_receive('S' || :n, 3);} => 5);

$node->safe_psql('postgres', q{
	CREATE VIEW sessions AS SELECT pid FROM pg_stat_activity
	 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()});
my $watch = $node->background_psql('postgres');
$watch->set_query_timer_restart();
my $dir = PostgreSQL::Test::Utils::tempdir;
my (@files, %most);
foreach my $script (sort keys %script)
{
	my $file = "$dir/" . @files . '.sql';
	append_to_file($file, $script =~ s/^\t+//mgr);
	push @files, '--file', "$file\@$script{$script}";
}
my $offset = -s $node->logfile;
my $load = IPC::Run::start(
	[
		'pgbench', '--no-vacuum', '--client', $sessions, '--jobs', 4,
		'--transactions', $each, @files, $node->connstr('postgres')
	],
	'<', \'', '>', \my $stdout, '2>', \my $stderr,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default * ($ENV{FULL} ? 10 : 2)));

# While it runs: anonymous memory of each session, and the lock table.
while ($load->pumpable)
{
	my ($there, $locks, @pids) = split /[|\n]/, $watch->query_safe(q{
		SELECT (SELECT count(*) FROM sessions),
			   (SELECT count(*) FROM pg_locks WHERE NOT fastpath);
		SELECT pid FROM sessions});
	my @memory = sort { $a <=> $b } map {
		my $status = eval { slurp_file("/proc/$_/status") } || '';
		$status =~ /^RssAnon:\s+(\d+) kB/m ? $1 : ()
	} @pids;
	$most{sessions} = $there if $there > ($most{sessions} || 0);
	$most{locks} = $locks if $locks > ($most{locks} || 0);
	$most{median} = $memory[ @memory / 2 ] if @memory > $sessions / 2;
	$most{memory} = $memory[-1] if @memory && $memory[-1] > ($most{memory} || 0);
	$load->pump_nb;
	sleep 1;
}
$load->finish;
is($load->full_result(0), 0, "$sessions sessions: all end well") or diag substr($stderr, 0, 2000);
$stdout =~ /number of transactions actually processed: (\d+)/;
note "$1 scripts; at most: ", join ', ', map { "$_ $most{$_}" } sort keys %most;
# (looked at once a second: by then a few may be done)
cmp_ok($most{sessions}, '>', 0.9 * $sessions, 'they were there at once');
is($1, $sessions * $each, 'each has done its work');
only_errors_are($node, $offset, {}, 'no error in the log');
unlike(slurp_file($node->logfile, $offset), qr/WARNING:  /, 'nor a warning');
cmp_ok($most{memory}, '<', 16_384, "a session takes $most{median} kB, none more than $most{memory}");
# max_locks_per_transaction is for each of them
cmp_ok($most{locks}, '<', 16 * $sessions, "at most $most{locks} locks, of 64 each");
value_is($node, q{
	SELECT count(*) FROM inv_order AS sale
	 WHERE (SELECT count(*) FROM inv_ledger AS entry
			 WHERE entry.reservation_id = sale.reservation_id AND operation = 'confirm')
		<> (SELECT count(*) FROM inv_reservation AS line
			 WHERE line.reservation_id = sale.reservation_id)},
	0, 'every line of every order was sold once');
value_is($node, q{
	SELECT sum(on_hand) =
		   (SELECT sum(delta_on_hand) FROM inv_ledger WHERE operation <> 'confirm')
		   - (SELECT sum(quantity) FROM inv_reservation WHERE status = 'confirmed')
	  FROM inv_availability}, 't', 'on hand is what came less what was sold');
books_are_right($node);
$node->safe_psql('postgres', q{
	SELECT count(inv_cancel(reservation_id)) FROM inv_active_holds;
	CALL inv_maintain()});
value_is($node, 'SELECT sum(reserved) FROM inv_availability', 0, 'with all holds cancelled, nothing is held');
books_are_right($node);
$watch->quit;
$node->stop;
done_testing();
