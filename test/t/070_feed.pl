# The feed: every committed entry of the ledger once, in order, for consumers
# that note their cursor in the transaction in which they consume, whatever
# happens to writers, consumers and servers.
use strict;
use warnings;

use InventoryTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 12;
my $node = inventory_node('primary',
	init => { allows_streaming => 1 },
	conf => <<'CONF');
max_prepared_transactions = 200
inventory_reservation.expire_batch_size = 200
deadlock_timeout = 100ms
CONF

# The ledger as a list of cursors, and a cursor as something to sort by.
my $ledger =
  q{SELECT format('%s/%s/%s', epoch, xid, entry_id) AS cursor FROM inv_ledger};

sub events_after
{
	my ($server, $cursor, $max) = @_;
	my $after = defined $cursor && $cursor ne '' ? "'$cursor'" : 'NULL';
	return $server->safe_psql('postgres',
		"SELECT cursor FROM inv_events($after, " . ($max || 1_000_000) . ')');
}

#
# Under load: some stock in stripes, some that is always about to be sold out
#
add_stock($node, map { ("S$_" => $_ < 4 ? 12 : 100_000) } 1 .. 8);
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('S1', 4), inv_set_stripes('S5', 8);
	CREATE TABLE place (consumer text PRIMARY KEY, cursor text);
	INSERT INTO place SELECT 'c' || nr FROM generate_series(1, 3) AS nr;
	CREATE TABLE consumed (nr bigint GENERATED ALWAYS AS IDENTITY,
						   consumer text, cursor text, operation text);
	CREATE TABLE killed (backend integer)});

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

# Writers get their transaction ids early, take their time, and end in any way.
# A prepared transaction is finished by whoever comes by.
my $writer = <<'SCRIPT';
\set one random(1, 8)
\set other random(1, 8)
\set dice random(1, 10)
\set early random(0, 4000)
\set late random(0, 4000)
\set ttl random(1, 400)
BEGIN;
SELECT pg_current_xact_id();
\sleep :early us
SELECT reservation_id AS hold FROM inv_try_reserve('S' || :one, 1 + (:dice > 5)::integer, ttl => make_interval(secs => :ttl / 1000.0)) \gset
\if :dice = 1
ROLLBACK;
\elif :dice = 2
SAVEPOINT one;
SELECT inv_try_reserve('S' || :other, 1, ttl => '50 milliseconds');
ROLLBACK TO one;
SELECT inv_try_reserve('S' || :other, 2, ttl => '50 milliseconds');
SAVEPOINT two;
SELECT inv_try_reserve('S' || :other, 1, ttl => '50 milliseconds');
RELEASE two;
\sleep :late us
COMMIT;
\else
\sleep :late us
COMMIT;
\endif
SCRIPT
my $preparer = <<'SCRIPT';
\set one random(1, 8)
\set dice random(1, 3)
\set number random(1, 1000000000)
\set late random(0, 20)
BEGIN;
SELECT inv_try_reserve('S' || :one, 1, ttl => '100 milliseconds');
PREPARE TRANSACTION 'p:client_id:number';
\sleep :late ms
\if :dice = 1
ROLLBACK PREPARED 'p:client_id:number';
\else
COMMIT PREPARED 'p:client_id:number';
\endif
SCRIPT

# Reads on from its place, and notes in the same transaction what it has got.
# Two clients share a name: the second waits for the first.
my $consumer = <<'SCRIPT';
\set who random(1, 3)
\set page random(1, 60)
\set wait random(0, 20)
BEGIN;
WITH mine AS MATERIALIZED (
	SELECT cursor FROM place WHERE consumer = 'c:who' FOR UPDATE),
event AS MATERIALIZED (
	SELECT event.* FROM mine CROSS JOIN LATERAL inv_events(mine.cursor, :page * 20) WITH ORDINALITY AS event),
put AS (
	INSERT INTO consumed (consumer, cursor, operation) SELECT 'c:who', cursor, operation FROM event ORDER BY ordinality)
UPDATE place SET cursor = (SELECT cursor FROM event ORDER BY ordinality DESC LIMIT 1)
 WHERE consumer = 'c:who' AND EXISTS (SELECT FROM event);
\sleep :wait ms
COMMIT;
SCRIPT
# pgbench takes ":who" in 'c:who' for a variable only outside of quotes.
$consumer =~ s/'c:who'/('c' || :who)/g;
$preparer =~ s/'p:client_id:number'/NAME/g;

my $killer = <<'SCRIPT';
\set wait random(1, 30)
INSERT INTO killed SELECT pid FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'consumer' ORDER BY random() LIMIT 1) AS victim WHERE pg_terminate_backend(pid);
\sleep :wait ms
SCRIPT

# A name for a prepared transaction has to be a literal.
my @preparers = map { my $text = $preparer; $text =~ s/NAME/'p$_'/g; $text } 1 .. 6;

my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/consume.sql", $consumer);

# Consumers come back however often they are killed, and some kill themselves.
my $stop = "$dir/stop";
my @shells = map {
	my ($err, $out) = ('', '');
	IPC::Run::start(
		[
			'bash', '-c', <<'SHELL', 'consumer', $stop, "$dir/consume.sql",
while [ ! -e "$1" ]; do
	PGAPPNAME=consumer timeout -s KILL 0.$((RANDOM % 9 + 1)) \
		pgbench --no-vacuum -c 2 -T 60 -f "$2" "$3" || echo killed
done
SHELL
			$node->connstr('postgres')
		],
		'<', \'', '>', "$dir/consumer$_.out", '2>', "$dir/consumer$_.err")
} 1 .. 3;

# A consumer on the standby, who keeps what he has got to himself.
my (@on_standby, $standby_cursor);
my $standby_session = $standby->background_psql('postgres');

sub read_standby
{
	my $after = defined $standby_cursor ? "'$standby_cursor'" : 'NULL';
	my @page = split /\n/,
	  $standby_session->query_safe("SELECT cursor FROM inv_events($after, 5000)");
	push @on_standby, @page;
	$standby_cursor = $page[-1] if @page;
	return scalar @page;
}

sub start_pgbench
{
	my ($clients, $time, @scripts) = @_;
	my @files;
	foreach my $script (@scripts)
	{
		my $file = "$dir/" . substr(rand(), 2) . '.sql';
		append_to_file($file, $script);
		push @files, '--file', $file;
	}
	my ($out, $err) = ('', '');
	return [
		IPC::Run::start(
			[
				'pgbench', '--no-vacuum', '--client', $clients, '--time', $time,
				@files, $node->connstr('postgres')
			],
			'<', \'', '>', \$out, '2>', \$err),
		\$err
	];
}

my @load = (
	start_pgbench(16, $seconds, $writer),
	(map { start_pgbench(1, $seconds, $_) } @preparers),
	start_pgbench(2, $seconds, "CALL inv_maintain();\n\\sleep 20 ms\n"),
	start_pgbench(1, $seconds, "SELECT inv_expire();\n\\sleep 10 ms\n"),
	start_pgbench(1, $seconds, $killer));
my $begun = time;
while (time - $begun < $seconds)
{
	read_standby();
	sleep 0.05;
}
foreach my $run (@load)
{
	$run->[0]->finish;
	is($? >> 8, 0, 'load runs to its end') or diag substr(${ $run->[1] }, 0, 2000);
}

# What is prepared is finished; then everybody catches up.
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'),
	0, 'nothing is left prepared');
$node->safe_psql('postgres', 'CALL inv_maintain()') for 1 .. 2;
ok( $node->poll_query_until('postgres',
		'SELECT bool_and(cursor = inv_newest_event()) FROM place'),
	'consumers catch up');
append_to_file($stop, '');
$_->finish foreach @shells;
my $client_kills = 0;
$client_kills += () = slurp_file("$dir/consumer$_.out") =~ /^killed$/mg
  foreach 1 .. 3;
my $backend_kills =
  $node->safe_psql('postgres', 'SELECT count(*) FROM killed');
note "killed: $backend_kills backends, $client_kills clients";
cmp_ok($backend_kills, '>', $seconds * 5, 'consumers were killed by the server');
cmp_ok($client_kills, '>', $seconds, 'consumers were killed as clients');

my $entries = $node->safe_psql('postgres', 'SELECT count(*) FROM inv_ledger');
note "$entries entries";
cmp_ok($entries, '>', $seconds * 100, 'there was something to consume');
# The test is one: later transactions did commit before earlier ones.
cmp_ok(
	$node->safe_psql('postgres', q{
		SELECT count(*) FROM (SELECT xid, lag(xid) OVER (ORDER BY entry_id) AS before FROM inv_ledger) AS entry
		 WHERE xid < before}),
	'>', 100, 'entries were not made in the order of transactions');
foreach my $who (1 .. 3)
{
	value_is($node, qq{
		SELECT (SELECT count(*) FROM consumed WHERE consumer = 'c$who'),
		       (SELECT count(*) FROM ($ledger EXCEPT SELECT cursor FROM consumed WHERE consumer = 'c$who') AS missed),
		       (SELECT count(*) FROM (SELECT cursor FROM consumed WHERE consumer = 'c$who' EXCEPT ALL $ledger) AS too_many)},
		"$entries|0|0", "consumer $who got every entry once");
	value_is($node, qq{
		SELECT count(*) FROM (
			SELECT place, lag(place) OVER (ORDER BY nr) AS before
			  FROM consumed, LATERAL (SELECT string_to_array(cursor, '/')::numeric[]) AS entry (place)
			 WHERE consumer = 'c$who') AS entry
		 WHERE place <= before},
		0, "consumer $who got them in order");
}

# The same on the standby.
sub sorted
{
	return join "\n", sort @_;
}
$node->wait_for_catchup($standby);
1 while read_standby();
is(scalar @on_standby, $entries, 'standby: as many entries');
is(sorted(@on_standby), sorted(split /\n/, $node->safe_psql('postgres', $ledger)),
	'standby: every entry once');
is_deeply(\@on_standby, [ split /\n/, events_after($node, undef) ],
	'standby: in order');
value_is($standby, q{SELECT inv_newest_event()}, $standby_cursor, 'standby: newest');
is( sqlstate_of($standby, qq{
		BEGIN READ ONLY; SELECT count(*) FROM inv_events('$standby_cursor')}),
	'00000', 'standby: read-only transaction');
# One that has been read from the primary meanwhile, say.
value_is($standby, q{SELECT count(*) FROM inv_events('1/99999999/1')},
	0, 'standby: it may be behind a cursor');
$standby_session->quit;

#
# What was told last of each SKU is true, and nothing was told twice
#
value_is($node, q{
	WITH told AS (
		SELECT item_id, operation = 'back_in_stock' AS is_back,
			   lag(operation = 'back_in_stock', 1, false) OVER sku AS was_back,
			   row_number() OVER sku AS nr, count(*) OVER (PARTITION BY item_id) AS of
		  FROM inv_ledger WHERE operation IN ('back_in_stock', 'out_of_stock')
		WINDOW sku AS (PARTITION BY item_id ORDER BY epoch, xid, entry_id))
	SELECT count(DISTINCT item_id), count(*) FILTER (WHERE is_back = was_back),
		   count(DISTINCT item_id) FILTER (WHERE nr = of AND is_back IS DISTINCT FROM (
			SELECT sum(on_hand - reserved - min_available) > 0 FROM inv_stock WHERE inv_stock.item_id = told.item_id)),
		   count(*) > 16 AS enough
	  FROM told},
	'8|0|0|t', 'edges alternate, and the last of each SKU is true');
value_is($node, q{
	SELECT count(*) FROM inv_stock_state JOIN (
		SELECT item_id, sum(on_hand - reserved - min_available) > 0 AS truth FROM inv_stock GROUP BY item_id) AS stock USING (item_id)
	 WHERE in_stock = truth}, 8, 'the states are true');
books_are_right($node);

#
# Two sessions and a prepared transaction, one step at a time
#
my $here = $node->safe_psql('postgres', 'SELECT inv_newest_event()');
my $first = $node->background_psql('postgres');
my $second = $node->background_psql('postgres');
$first->query_safe('BEGIN; SELECT pg_current_xact_id()');
$second->query_safe("BEGIN; SELECT inv_receive('S8', 1)");
$second->query_safe('COMMIT');
is(events_after($node, $here), '', 'an event waits for an older transaction');
$first->query_safe("SELECT inv_receive('S7', 1)");
$first->query_safe('COMMIT');
value_is($node, "SELECT sku FROM inv_events('$here')", "S7\nS8",
	'both are there, the older transaction first');
# It need have nothing to do with us, nor be in this database.
my $elsewhere = $node->background_psql('template1');
$elsewhere->query_safe('BEGIN; SELECT pg_current_xact_id()');
$here = $node->safe_psql('postgres', 'SELECT inv_newest_event()');
$node->safe_psql('postgres', "SELECT inv_receive('S8', 1)");
is(events_after($node, $here), '', 'an event waits for another database');
# Only one that writes.
$elsewhere->query_safe('COMMIT');
$elsewhere->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
value_is($node, "SELECT sku FROM inv_events('$here')", 'S8',
	'an event does not wait for who only reads');
$elsewhere->quit;

# A transaction that edges went past while it ran, with more in it than is looked
# at in a batch (200); and another like it, with a lower id, that ends later.
$first->query_safe('BEGIN; SELECT pg_current_xact_id()');
$second->query_safe(q{BEGIN; SELECT count(*) FROM inv_load_stock((SELECT array_agg('L' || nr) FROM generate_series(1, 700) AS nr), array_fill(1::bigint, '{700}'))});
$first->query_safe(q{SELECT count(*) FROM inv_load_stock((SELECT array_agg('M' || nr) FROM generate_series(1, 700) AS nr), array_fill(1::bigint, '{700}'))});
$node->safe_psql('postgres', "SELECT inv_receive('S8', 1)");
$node->safe_psql('postgres', 'CALL inv_maintain()');
my $late = q{SELECT count(*), count(*) FILTER (WHERE in_stock) FROM inv_stock_state JOIN inv_item USING (item_id) WHERE sku ~ '^[LM]'};
value_is($node, $late, '0|0', 'nothing is told of what is not committed');
$second->query_safe('COMMIT');
$node->safe_psql('postgres', 'CALL inv_maintain()');
value_is($node, $late, '700|700', 'all of a late transaction is told');
$first->query_safe('COMMIT');
$node->safe_psql('postgres', 'CALL inv_maintain()');
value_is($node, $late, '1400|1400', 'all of a later one, too');

#
# Promotion, with a transaction prepared before it
#
$here = $node->safe_psql('postgres', 'SELECT inv_newest_event()');
$node->safe_psql('postgres', q{
	BEGIN; SELECT inv_receive('S6', 1); PREPARE TRANSACTION 'over';});
$node->safe_psql('postgres', "SELECT inv_receive('S7', 1)");
$_->quit foreach $first, $second;
$node->wait_for_catchup($standby);
# Another standby that will not have seen all of it.
my $laggard = PostgreSQL::Test::Cluster->new('laggard');
$laggard->init_from_backup($node, 'base', has_streaming => 1);
$laggard->start;
$node->wait_for_catchup($laggard);
$node->stop('fast');
$standby->promote;
$laggard->stop;
$laggard->append_conf('postgresql.conf', "primary_conninfo = '" . $standby->connstr . " application_name=laggard'");
$laggard->start;
$standby->wait_for_catchup($laggard);
$laggard->stop;

is(events_after($standby, $here), '', 'promoted: a prepared transaction is still waited for');
$standby->safe_psql('postgres', "SELECT inv_receive('S8', 1)");
is(events_after($standby, $here), '', 'promoted: by new events too');
is($standby->safe_psql('postgres', 'SELECT max(epoch) FROM inv_ledger'),
	2, 'promoted: a new epoch');
$standby->safe_psql('postgres', "COMMIT PREPARED 'over'");
value_is($standby, "SELECT sku, split_part(cursor, '/', 1) FROM inv_events('$here')",
	"S6|1\nS7|1\nS8|2", 'promoted: all in order');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM inv_events(NULL, 1000000)}),
	$standby->safe_psql('postgres', q{SELECT count(*) FROM inv_ledger}), 'promoted: nothing is left out');
books_are_right($standby);

# The other is promoted without having seen that epoch, and takes no number for
# its own that somebody has read.
my $cursor2 = $standby->safe_psql('postgres', 'SELECT inv_newest_event()');
$laggard->append_conf('postgresql.conf', "primary_conninfo = ''");
$laggard->start;
$laggard->promote;
value_is($laggard, q{SELECT max(epoch) FROM inv_ledger}, 1, 'laggard: has not seen the epoch');
$laggard->safe_psql('postgres', "COMMIT PREPARED 'over'; SELECT inv_receive('S8', 1)");
value_is($laggard, q{SELECT string_agg(DISTINCT epoch::text, ' ') FROM inv_ledger},
	'1 3', 'laggard: takes a number that nobody had');
value_is($laggard, "SELECT sku FROM inv_events('$cursor2')", 'S8',
	'laggard: who has read the lost epoch goes on with the next');
value_is($laggard, q{SELECT count(*) FROM inv_events(NULL, 1000000)},
	$laggard->safe_psql('postgres', q{SELECT count(*) FROM inv_ledger}), 'laggard: nothing is left out');
$laggard->stop;

#
# Restored into another server, where transaction ids begin anew
#
$here = $standby->safe_psql('postgres', 'SELECT inv_newest_event()');
my $dump = "$dir/dump.sql";
$standby->command_ok([ 'pg_dump', '--file', $dump, $standby->connstr('postgres') ], 'dumped');
my $restored = inventory_node('restored', extension => 0);
$restored->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = inv, public');
$restored->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $restored->connstr('postgres') ], 'restored');
cmp_ok($restored->safe_psql('postgres', 'SELECT max(xid)::text FROM inv_ledger'), '>',
	$restored->safe_psql('postgres', 'SELECT pg_current_xact_id()'),
	'restored: entries are of transactions that have not been here');
my $events = $standby->safe_psql('postgres', 'SELECT cursor FROM inv_events(NULL, 1000000)');
is($restored->safe_psql('postgres', 'SELECT cursor FROM inv_events(NULL, 1000000)'), $events,
	'restored: all events are there at once');
is(events_after($restored, $here), '', 'restored: nothing new');
value_is($restored, 'SELECT inv_newest_event()', $here, 'restored: newest');
my $told = $restored->safe_psql('postgres', 'SELECT count(*) FROM inv_ledger');
$restored->safe_psql('postgres', 'CALL inv_maintain()');
value_is($restored, q{
	SELECT count(*) FROM inv_stock_state JOIN (
		SELECT item_id, sum(on_hand - reserved - min_available) > 0 AS truth FROM inv_stock GROUP BY item_id) AS stock USING (item_id)
	 WHERE in_stock = truth}, 1408, 'restored: the states are true');
$restored->safe_psql('postgres', "SELECT inv_receive('S8', 1)");
value_is($restored, "SELECT operation FROM inv_events('$here') WHERE delta_on_hand = 1", 'receive',
	'restored: what is new comes after');
is($restored->safe_psql('postgres', 'SELECT cursor FROM inv_events(NULL, 1000000) LIMIT ' . $told), $events,
	'restored: and nothing in between');

# Into another database of the same server nothing begins anew.
$standby->safe_psql('postgres', 'CREATE DATABASE twin');
$standby->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $standby->connstr('twin') ], 'restored beside it');
$standby->safe_psql('twin', "SELECT inv.inv_receive('S8', 1)");
is($standby->safe_psql('twin', "SELECT split_part(cursor, '/', 1), operation FROM inv.inv_events('$here')"), '2|receive',
	'restored beside it: goes on in the same epoch');
$standby->stop;

# A copy of the first server as it was before the load has its identifier and
# its timeline, and transaction ids that were given out there a second time.
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'base');
$copy->start;
$copy->safe_psql('postgres', 'DROP EXTENSION inventory_reservation; DROP TABLE place, consumed, killed');
$node->start;
my $dump1 = "$dir/dump1.sql";
$node->safe_psql('postgres', "COMMIT PREPARED 'over'");
$node->command_ok([ 'pg_dump', '--schema', 'public', '--schema', 'inv', '--extension', 'inventory_reservation', '--file', $dump1, $node->connstr('postgres') ], 'dumped the first');
$here = $node->safe_psql('postgres', 'SELECT inv_newest_event()');
$copy->safe_psql('postgres', 'DROP SCHEMA inv CASCADE; DROP SCHEMA public CASCADE');
$copy->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump1, $copy->connstr('postgres') ], 'restored into the copy');
$copy->safe_psql('postgres', "SELECT inv_receive('S8', 1)");
value_is($copy, "SELECT split_part(cursor, '/', 1), operation FROM inv_events('$here')", '2|receive',
	'copy: begins an epoch');
value_is($copy, 'SELECT count(*) FROM inv_events(NULL, 1000000)', $copy->safe_psql('postgres', 'SELECT count(*) FROM inv_ledger'),
	'copy: nothing is left out');
$copy->stop;
$node->stop;

# Dropped and made anew: an old cursor does not wait for ever.
is(sqlstate_of($restored, "SELECT inv_events('$cursor2')"), '00000', 'a cursor of the ledger');
$restored->safe_psql('postgres', 'DROP EXTENSION inventory_reservation; CREATE EXTENSION inventory_reservation SCHEMA inv');
is(sqlstate_of($restored, "SELECT inv_events('$cursor2')"), '55000', 'a cursor of a ledger that is gone');
add_stock($restored, 'new' => 5);
is(sqlstate_of($restored, "SELECT inv_events('$cursor2')"), '55000', 'a cursor of a ledger that is gone, later');
value_is($restored, 'SELECT operation FROM inv_events()', 'receive', 'the new ledger is read from its beginning');
$restored->stop;

done_testing();
