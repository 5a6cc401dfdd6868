# inv_stat: every counter moves by exactly what was done, in its own database
# alone; it outlives a clean restart and nothing else; without preload it is
# there and says that it does not count.
use strict;
use warnings;

use FindBin;
use InventoryTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# The background worker would count too.
my $preload = <<'CONF';
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
autovacuum = off
restart_after_crash = on
CONF
my $node = inventory_node('shop', conf => $preload, init => { allows_streaming => 1 });
my $stat_file = $node->data_dir . '/pg_stat/inventory_reservation.stat';

# inv_stat as a hash.
sub statistics
{
	my ($server, $database) = @_;

	return JSON::PP::decode_json($server->safe_psql($database || 'postgres',
			'SELECT to_jsonb(inv_stat) FROM inv_stat'));
}

# The counters that differ, and by how much.
sub moved
{
	my ($before, $after) = @_;
	my %moved;

	foreach my $name (keys %$after)
	{
		next if !defined $after->{$name} || ref $after->{$name} || $name eq 'stats_reset';
		next if $after->{$name} !~ /^-?[0-9.]+$/;
		my $by = $after->{$name} - ($before->{$name} || 0);
		$moved{$name} = $by if $by != 0;
	}
	return \%moved;
}

# Test that SQL makes just these counters move.  It may fail.
sub moves
{
	my ($sql, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = statistics($node);

	my ($status, $stdout, $stderr) = $node->psql('postgres', $sql);
	note $stderr if $stderr;
	return is_deeply(moved($before, statistics($node)), $expected, $name);
}

# CRC-32C of some bytes, as a number.
sub crc32c
{
	my ($bytes) = @_;
	my @table = map {
		my $crc = $_;
		$crc = $crc & 1 ? 0x82F63B78 ^ $crc >> 1 : $crc >> 1 for 1 .. 8;
		$crc
	} 0 .. 255;
	my $crc = 0xFFFFFFFF;

	$crc = $table[ ($crc ^ $_) & 0xFF ] ^ $crc >> 8 foreach unpack 'C*', $bytes;
	return $crc ^ 0xFFFFFFFF;
}

# An id from SQL.
sub id_of { return $node->safe_psql('postgres', $_[0]) }

sub hold
{
	my ($arguments) = @_;
	return id_of("SELECT reservation_id FROM inv_reserve($arguments)");
}

my $absent;

#
# What calls do
#
my $none = statistics($node);
ok($none->{counting}, 'with preload it counts');
is_deeply(moved({}, $none), {}, 'nothing has been counted yet');
ok(defined $none->{stats_reset}, 'it tells since when');
ok(!grep({ defined $none->{$_} } qw(worker_last_run worker_last_duration
	  worker_last_rows worker_last_error worker_last_error_at
	  reconcile_activity reconcile_done oldest_dead_hold_age)),
	'what has never been is null');

add_stock($node, map { ($_ => 1000) } 'A' .. 'D');
add_stock($node, 'short' => 3, 'closed' => 5);
$node->safe_psql('postgres', "SELECT inv_set_item('closed', selling => false)");
is_deeply(moved($none, statistics($node)), {}, 'what the shop does is not counted');

moves("SELECT inv_reserve('A', 3)", { reserves => 1 }, 'inv_reserve');
moves("SELECT inv_reserve('A', key => 'k')", { reserves => 1 }, 'with a key');
moves("SELECT inv_reserve('A', key => 'k')", { replays => 1 }, 'again');
moves("SELECT inv_try_reserve('A')", { reserves => 1 }, 'inv_try_reserve');
moves("SELECT inv_reserve_cart('{A,B,C}', '{1,2,3}')",
	{ reserves => 1 }, 'a cart is one hold');
moves("SELECT inv_try_reserve_cart('{A,B}', '{1,2}')",
	{ reserves => 1 }, 'inv_try_reserve_cart');
moves(q{SELECT inv_reserve_lines('[{"sku": "A", "quantity": 2}]')},
	{ reserves => 1 }, 'inv_reserve_lines');
moves('SELECT inv_reserve(sku) FROM unnest(ARRAY[$$A$$, $$B$$, $$C$$]) AS sku',
	{ reserves => 3 }, 'several calls in a statement');

my $sold = hold("'A', 4, ttl => '1 hour'");
my $order = '';
moves("SELECT inv_release('$sold', 'A', 1, key => 'r')", { releases => 1 }, 'inv_release');
moves("SELECT inv_release('$sold', 'A', 1, key => 'r')", { replays => 1 }, 'again');
moves("SELECT inv_extend('$sold', '2 hours', key => 'e')", { extensions => 1 }, 'inv_extend');
moves("SELECT inv_extend('$sold', '2 hours', key => 'e')", { replays => 1 }, 'again');
moves("SELECT inv_extend('$sold', '2 hours')", { extensions => 1 }, 'without a key it is another');
moves("SELECT inv_confirm('$sold')", { confirms => 1 }, 'inv_confirm');
moves("SELECT inv_confirm('$sold')", { replays => 1 }, 'again');
$order = id_of("SELECT order_id FROM inv_confirm('$sold')");

my $given_back = hold("'B', 4");
moves("SELECT inv_cancel('$given_back')", { cancels => 1 }, 'inv_cancel');
moves("SELECT inv_cancel('$given_back')", { replays => 1 }, 'again');
moves("SELECT inv_receive('D', 5, key => 'x')", {}, 'inv_receive');
moves("SELECT inv_receive('D', 5, key => 'x')", { replays => 1 }, 'again');
moves("SELECT inv_return('$order', 'A', 1, key => 'y')", {}, 'inv_return');
moves("SELECT inv_return('$order', 'A', 1, key => 'y')", { replays => 1 }, 'again');

# Whatever becomes of the transaction.
moves("BEGIN; SELECT inv_reserve('A'); ROLLBACK", { reserves => 1 }, 'rolled back');
moves(q{BEGIN; SELECT inv_reserve('A'); SAVEPOINT s; SELECT inv_reserve('A'); ROLLBACK TO s;
		SELECT inv_reserve('A'); COMMIT}, { reserves => 3 }, 'with a savepoint');

#
# Rejections, reason by reason
#
my $dead = hold("'C', 1, ttl => '1 millisecond'");
my $missing = '00000000-0000-0000-0000-000000000000';
sleep 0.01;
my %rejected = (
	insufficient_stock => "SELECT inv_reserve('short', 4)",
	expired => "SELECT inv_confirm('$dead')",
	not_found => "SELECT inv_cancel('$missing')",
	unknown_sku => "SELECT inv_reserve('no such thing')",
	key_reused => "SELECT inv_reserve('A', 2, key => 'k')",
	listing_closed => "SELECT inv_reserve('closed')",
	not_allowed => "SELECT inv_cancel('$sold')",
	unknown_location => "SELECT inv_reserve('A', location => 'nowhere')",
	order_not_found => "SELECT inv_order_status('$missing')",
	below_held => "SELECT inv_set_stock('A', 1)");
moves($rejected{$_}, { "rejected_$_" => 1 }, "rejected: $_") foreach sort keys %rejected;

# What no test provokes is raised in the same way.
my @uncounted = grep { slurp_file($_) =~ /errcode\(ERRCODE_INV_/ }
  glob "$FindBin::Bin/../../src/*/*.c";
is("@uncounted", '', 'every error of class IV is raised with rejection()');

moves("SELECT inv_reserve_cart('{short,A}', '{4,1}')",
	{ rejected_insufficient_stock => 1 }, 'a cart that is short');
moves("SELECT inv_try_reserve('short', 4)",
	{ rejected_insufficient_stock => 1 }, 'an answer that stock is short');
moves("SELECT inv_try_reserve_cart('{short,closed}', '{4,1}')",
	{ rejected_listing_closed => 1 }, 'of a cart: an error');
moves("SELECT inv_try_reserve_cart('{short,A}', '{4,1}')",
	{ rejected_insufficient_stock => 1 }, 'of a cart: an answer');
moves("SELECT inv_available('no such thing')", { rejected_unknown_sku => 1 }, 'of a call that reads');
moves("SELECT inv_reserve('A', -1)", {}, 'a call that makes no sense is not a rejection');

# Errors that are caught count once, at whatever depth they were raised.
moves(q{DO $$ BEGIN
			FOR i IN 1 .. 3 LOOP
				BEGIN PERFORM inv_reserve('short', 4); EXCEPTION WHEN SQLSTATE 'IV001' THEN NULL; END;
				PERFORM inv_reserve('B');
			END LOOP;
			BEGIN
				BEGIN PERFORM inv_confirm(gen_random_uuid()); EXCEPTION WHEN SQLSTATE 'IV003' THEN RAISE; END;
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END $$},
	{ reserves => 3, rejected_insufficient_stock => 3, rejected_not_found => 1 },
	'errors that are caught');
moves(q{DO $$ BEGIN RAISE WARNING 'not ours' USING ERRCODE = 'IV001'; END $$;
		DO $$ BEGIN RAISE 'not ours' USING ERRCODE = 'IV001'; END $$},
	{}, 'an error of the same class that somebody else raises');

# A trigger of the shop's that calls us, and is rejected.
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.buy_more() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.reference = 'caught' THEN
			BEGIN PERFORM inv.inv_reserve('short', 4); EXCEPTION WHEN SQLSTATE 'IV001' THEN NULL; END;
		ELSIF NEW.reference = 'raised' THEN
			PERFORM inv.inv_reserve('short', 4);
		ELSIF NEW.reference = 'served' THEN
			PERFORM inv.inv_reserve('short', 1);
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER buy_more AFTER INSERT ON inv_reservation
		FOR EACH ROW EXECUTE FUNCTION public.buy_more()});
moves("SELECT inv_reserve('B', reference => 'caught')",
	{ reserves => 1, rejected_insufficient_stock => 1 }, 'a call within a call, caught');
moves("SELECT inv_reserve('B', reference => 'raised')",
	{ rejected_insufficient_stock => 1 }, 'a call within a call, raised: once');
moves("SELECT inv_reserve('B', reference => 'served')", { reserves => 2 }, 'a call within a call');
my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT inv_reserve('short', 4)");
unlike($stderr, qr/CONTEXT/, 'counting adds nothing to an error');
$node->safe_psql('postgres', 'DROP TRIGGER buy_more ON inv_reservation');

#
# Batches: each request counts
#
moves(q{SELECT inv_reserve_batch('{B,short,closed,unknown,B,B,B}', '{1,9,1,1,1,1,0}',
								 '{b1,b2,b3,b4,b5,b1,b6}')},
	{ reserves => 2, replays => 1, rejected_insufficient_stock => 1,
		rejected_listing_closed => 1, rejected_unknown_sku => 1 },
	'a batch');
moves(q{SELECT inv_reserve_batch('{B,B,C}', '{1,2,1}', '{b1,b5,b7}')},
	{ reserves => 1, replays => 1, rejected_key_reused => 1 }, 'a batch that repeats');
moves(q{SELECT inv_reserve_batch('{B,C}', '{1}')}, {}, 'a batch that makes no sense');

#
# Expiry: lines, by who
#
$node->safe_psql('postgres', 'SELECT inv_expire()');
$node->safe_psql('postgres', q{
	SELECT inv_reserve_cart('{B,C,D}', '{1,1,1}', ttl => '1 millisecond');
	SELECT inv_reserve('D', 1, ttl => '1 millisecond')});
sleep 0.01;
moves('SELECT inv_expire()', { expired_by_sweep => 4 }, 'expired by a sweep');
hold("'B', 1, ttl => '1 millisecond'") for 1 .. 2;
sleep 0.01;
moves('CALL inv_maintain()', { expired_by_sweep => 2 }, 'by inv_maintain');
moves('SELECT inv_expire()', {}, 'a sweep that finds nothing');
hold("'short', 1, ttl => '1 millisecond'") for 1 .. 2;
sleep 0.01;
moves("SELECT inv_reserve('short', 2)", { reserves => 1, expired_by_reclaim => 2 }, 'by a buyer who is short');
$dead = hold("'B', 1, ttl => '1 millisecond'");
sleep 0.01;
moves("SELECT inv_cancel('$dead')", { expired_by_reclaim => 1 }, 'by who cancels a dead hold');
moves("SELECT inv_cancel('$dead')", { replays => 1 }, 'again');
$dead = hold("'D', 1005, ttl => '1 millisecond'");
sleep 0.01;
moves("SELECT inv_set_stock('D', 1000)", { expired_by_reclaim => 1 }, 'by a stock-take');

# The oldest dead hold.
value_is($node, 'SELECT oldest_dead_hold_age FROM inv_stat', '', 'no hold is dead');
hold("'B', 1, ttl => '1 millisecond'");
sleep 0.1;
hold("'B', 1, ttl => '1 millisecond'");
value_is($node, q{SELECT oldest_dead_hold_age BETWEEN '0.1 s' AND '1 min' FROM inv_stat},
	't', 'age of the longest dead hold');
$node->safe_psql('postgres', 'SELECT inv_expire()');
value_is($node, 'SELECT oldest_dead_hold_age FROM inv_stat', '', 'they are swept');

# By index, with and without statistics of the planner's.
$node->safe_psql('postgres', "SELECT inv_reserve('B', 0 * g + 1, ttl => '1 hour') FROM generate_series(1, 300) AS g");
foreach my $how ('', 'ANALYZE inv_reservation')
{
	$node->safe_psql('postgres', $how);
	my $plan = $node->safe_psql('postgres', 'EXPLAIN (COSTS off) SELECT * FROM inv_stat');
	like($plan, qr/Index (?:Only )?Scan using inv_reservation_expiry/, "the age is read by index $how");
	unlike($plan, qr/Seq Scan|Sort/, '... and by nothing else');
}

#
# Waits
#
my $holder = $node->background_psql('postgres', on_error_stop => 0);

# Somebody waits for what the holder does for about 300 ms, and no longer.
sub waits
{
	my ($first, $then, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$holder->query_safe("BEGIN; $first");
	my $before = statistics($node);
	my $began = time;
	my $waiter = $node->background_psql('postgres', on_error_stop => 0);
	$waiter->query_until(qr/begun/, "\\echo begun\n$then;\n\\echo done\n");
	$node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_stat_activity
		 WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'})
	  or die 'nobody waits';
	is(statistics($node)->{lock_waits} - $before->{lock_waits}, 1, "$name: a wait that lasts is seen");
	sleep 0.3;
	$holder->query_safe('COMMIT');
	$waiter->query('SELECT 1');
	$waiter->quit;
	my $took = (time - $began) * 1000;
	my $moved = moved($before, statistics($node));
	my $time = delete $moved->{lock_wait_time};
	cmp_ok($time, '>=', 300, "$name: the time of the wait");
	cmp_ok($time, '<=', $took, "$name: and not more");
	is_deeply($moved, { %$expected, lock_waits => 1 }, "$name: one wait");
	return;
}
my $wanted = hold("'B', 1, ttl => '1 hour'");
waits("SELECT inv_reserve('B')", "SELECT inv_reserve('B')",
	{ reserves => 1 }, 'stock, in the queue');
waits("UPDATE inv_stock SET on_hand = on_hand WHERE item_id = (SELECT item_id FROM inv_item WHERE sku = 'B')",
	"SELECT inv_reserve('B')", { reserves => 1 }, 'stock, by hand');
waits("SELECT inv_extend('$wanted', '2 hours')", "SELECT inv_cancel('$wanted')",
	{ cancels => 1 }, 'a hold');
waits("SELECT inv_reserve('B', key => 'twin')", "SELECT inv_reserve('B', key => 'twin')",
	{ replays => 1 }, 'a key');
waits("SELECT inv_reserve('B', key => 'twins')",
	"SELECT inv_reserve('B', 2000, key => 'twins')",
	{ rejected_key_reused => 1 }, 'a key, before anything else');

# A wait that is given up.
$holder->query_safe("BEGIN; SELECT inv_reserve('B')");
my $before = statistics($node);
is(sqlstate_of($node, "SET lock_timeout = '200ms'; SELECT inv_reserve('B')"),
	'55P03', 'a wait is given up');
my $moved = moved($before, statistics($node));
cmp_ok($moved->{lock_wait_time}, '>=', 200, 'its time counts');
is($moved->{lock_waits}, 1, 'and the wait');
$holder->query_safe('COMMIT');
moves("SELECT inv_reserve('B')", { reserves => 1 }, 'who need not wait does not');

#
# A reconciliation at work, which is seen for as long as it is
#
my $of_b = "item_id = (SELECT item_id FROM inv_item WHERE sku = 'B')";
$node->safe_psql('postgres', "UPDATE inv_stock SET reserved = reserved + 1 WHERE $of_b");
$holder->query_safe("BEGIN; SELECT 1 FROM inv_stock WHERE $of_b FOR UPDATE");
foreach my $end ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $reconciler = $node->background_psql('postgres', on_error_stop => 0);
	$reconciler->query_until(qr/begun/, "\\echo begun\nSELECT count(*) FROM inv_reconcile(true);\n");
	ok($node->poll_query_until('postgres',
		q{SELECT reconcile_activity = 'repair' AND reconcile_done > 0 FROM inv_stat}),
		"$end: a repair that waits is seen");
	$node->safe_psql('postgres', "SELECT $end(pid) FROM pg_stat_activity WHERE query LIKE '%inv_reconcile(true)%' AND wait_event_type = 'Lock'");
	ok($node->poll_query_until('postgres',
		'SELECT reconcile_activity IS NULL AND reconcile_done IS NULL FROM inv_stat'),
		"$end: and no more when it is broken off");
	eval { $reconciler->quit };
}
$holder->query_safe('COMMIT');
moves('SELECT inv_reconcile(true)', { reconciliations => 1, drifts_found => 2, drifts_repaired => 2 },
	'a repair');
value_is($node, 'SELECT reconcile_activity FROM inv_stat', '', 'that has ended is not at work');

#
# Stripes
#
add_stock($node, 'striped' => 160);
$node->safe_psql('postgres', "SELECT inv_set_stripes('striped', 16)");
moves("SELECT inv_reserve('striped', 10, ttl => '1 hour')", { reserves => 1 }, 'one stripe suffices');
moves("SELECT inv_reserve('striped', 11, ttl => '1 hour')",
	{ reserves => 1, stripe_gathers => 1 }, 'units are gathered');

# The stripe that a session begins at, and the next one, are locked by hand.
my $session = $node->background_psql('postgres');
my $own = $session->query_safe(q{
	SELECT stripe FROM inv_reservation
	 WHERE reservation_id = (SELECT reservation_id FROM inv_reserve('striped', 1, ttl => '1 hour'))});
$own = $session->query_safe(q{SELECT stripe FROM inv_reservation ORDER BY created_at DESC LIMIT 1});
$holder->query_safe(qq{
	BEGIN;
	SELECT FROM inv_stock JOIN inv_item USING (item_id)
	 WHERE sku = 'striped' AND stripe = $own FOR UPDATE});
$before = statistics($node);
$session->query_safe("SELECT inv_reserve('striped', 1, ttl => '1 hour')");
is_deeply(moved($before, statistics($node)),
	{ reserves => 1, stripe_passes => 1 }, 'a busy stripe is passed over');
$holder->query_safe('COMMIT');
$session->quit;
$holder->quit;

#
# Many at once: what is counted is what was answered
#
$before = statistics($node);
$node->safe_psql('postgres', 'CREATE TABLE public.acknowledged (hold uuid)');
($status, $stdout) = pgbench($node,
	clients => 16,
	arguments => [ '--transactions', 100 ],
	scripts => {
		q{SELECT reservation_id AS hold FROM inv_reserve('C', ttl => '1 hour') \gset
		  INSERT INTO public.acknowledged VALUES (':hold');} => 1,
		q{SELECT inv_cancel(reservation_id) FROM inv_reserve('D', ttl => '1 hour');} => 1,
		q{SELECT inv_try_reserve('short', 100);} => 1 });
is($status, 0, 'sixteen clients');
$moved = moved($before, statistics($node));
my $acknowledged = $node->safe_psql('postgres', 'SELECT count(*) FROM public.acknowledged');
cmp_ok($acknowledged, '>', 100, 'holds were acknowledged');
is($moved->{reserves}, $acknowledged + $moved->{cancels}, 'as many were counted');
is($moved->{reserves} + $moved->{rejected_insufficient_stock}, 1600,
	'and as many calls as were made');
cmp_ok($moved->{cancels}, '>', 100, 'cancels too');

#
# Two databases; reset
#
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{
	CREATE SCHEMA inv;
	ALTER DATABASE other SET search_path = inv, public;
	CREATE EXTENSION inventory_reservation SCHEMA inv});
is_deeply(moved({}, statistics($node, 'other')), {}, 'another database begins at zero');
$before = statistics($node);
$node->safe_psql('other', q{
	SELECT inv_add_item('A'), inv_receive('A', 10);
	SELECT inv_reserve('A')});
is_deeply(moved({}, statistics($node, 'other')), { reserves => 1 }, 'it counts its own');
is_deeply(statistics($node), $before, 'and not for others');
$node->safe_psql('postgres', 'SELECT inv_stat_reset()');
is_deeply(moved({}, statistics($node)), {}, 'reset');
isnt(statistics($node)->{stats_reset}, $before->{stats_reset}, 'at a known time');
is(statistics($node, 'other')->{reserves}, 1, 'of one database only');
value_is($node, 'BEGIN READ ONLY; SELECT inv_stat_reset(); COMMIT', '', 'reset in a read-only transaction');

#
# A standby counts for itself, and keeps it as a primary does
#
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is_deeply(moved({}, statistics($standby)), {}, 'a standby begins at zero');
is(sqlstate_of($standby, "SELECT inv_available('no such thing')"), 'IV004', 'it is asked');
is_deeply(moved({}, statistics($standby)), { rejected_unknown_sku => 1 }, 'it counts');
$standby->restart;
is_deeply(moved({}, statistics($standby)), { rejected_unknown_sku => 1 }, 'and keeps it over a restart');
$standby->safe_psql('postgres', 'SELECT inv_stat_reset()');
is_deeply(moved({}, statistics($standby)), {}, 'and is reset');
is_deeply(moved({}, statistics($node)), {}, 'none of it is counted by the primary');
$standby->stop;

#
# Who may look
#
$node->safe_psql('postgres', q{
	CREATE ROLE clerk; CREATE ROLE buyer; CREATE ROLE auditor;
	SELECT inv_grant('clerk', 'operator'), inv_grant('buyer', 'buyer'), inv_grant('auditor', 'auditor')});
my %may = (
	clerk => [ '00000', '00000' ],
	buyer => [ '42501', '42501' ],
	auditor => [ '00000', '42501' ]);
foreach my $role (sort keys %may)
{
	is(sqlstate_of($node, "SET ROLE $role; SELECT * FROM inv_stat"), $may{$role}[0], "$role: inv_stat");
	is(sqlstate_of($node, "SET ROLE $role; SELECT inv_stat_reset()"), $may{$role}[1], "$role: inv_stat_reset");
}

#
# Restarts
#
add_stock($node, 'plenty' => 1000);
$node->safe_psql('postgres', "SELECT inv_reserve('plenty') FROM generate_series(1, 7)");
my %kept = map { $_ => statistics($node, $_) } qw(postgres other);
is($kept{postgres}->{reserves}, 7, 'seven holds');
ok(!-e $stat_file, 'no file while the server runs');
$node->stop('fast');
ok(-s $stat_file, 'a clean stop writes it');
$node->start;
is_deeply(statistics($node, $_), $kept{$_}, "$_: a clean restart keeps everything")
  foreach sort keys %kept;
ok(!-e $stat_file, 'the file is gone');
moves("SELECT inv_reserve('plenty')", { reserves => 1 }, 'counting goes on');

# A start that fails on the way is none.
%kept = map { $_ => statistics($node, $_) } qw(postgres other);
my $access = slurp_file($node->data_dir . '/pg_hba.conf');
$node->stop('fast');
$node->append_conf('pg_hba.conf', "nonsense\n");
ok(!$node->start(fail_ok => 1), 'a server that does not start');
unlink $node->data_dir . '/pg_hba.conf';
append_to_file($node->data_dir . '/pg_hba.conf', $access);
$node->start;
is_deeply(statistics($node, $_), $kept{$_}, "$_: loses nothing of what was counted")
  foreach sort keys %kept;

$node->stop('immediate');
ok(!-e $stat_file, 'an immediate stop writes nothing');
$node->start;
is_deeply(moved({}, statistics($node)), {}, 'and all begins at zero');

# A session that crashes takes shared memory with it.
$node->safe_psql('postgres', "SELECT inv_reserve('plenty') FROM generate_series(1, 7)");
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $victim->query('SELECT pg_backend_pid()');
my $offset = -s $node->logfile;
kill 'KILL', $pid;
$victim->{run}->kill_kill;
$node->wait_for_log(qr/all server processes terminated/, $offset);
$node->poll_query_until('postgres', 'SELECT true') or die 'no recovery';
is(statistics($node)->{reserves}, 0, 'so does a crash');
$node->safe_psql('postgres', "SELECT inv_reserve('plenty') FROM generate_series(1, 3)");
$node->stop('fast');
my $content = slurp_file($stat_file);
$node->start;
is(statistics($node)->{reserves}, 3, 'a clean stop after a crash keeps what came after it');

# The content of a file with another number at a place, and the checksum right.
sub forged
{
	my ($file, $place, $number) = @_;

	substr($file, $place, 4) = pack 'L', $number;
	substr($file, -4) = pack 'L', crc32c(substr $file, 0, -4);
	return $file;
}

# A file that is not what we wrote.
my %damaged = (
	'empty' => '',
	'torn' => substr($content, 0, length($content) - 100),
	'too long' => $content . "\0",
	'foreign' => 'x' x length $content,
	'with other magic' => forged($content, 0, 99),
	'of another version' => forged($content, 4, 99),
	'of other entries' => forged($content, 8, 99),
	'of fewer entries' => forged($content, 12, 0),
	'of too many entries' => forged($content, 12, 257),
	'with a flipped bit' => substr($content, 0, 100) . chr(1 ^ ord substr $content, 100, 1) . substr($content, 101));
foreach my $how (sort keys %damaged)
{
	$node->stop('fast');
	unlink $stat_file or die;
	append_to_file($stat_file, $damaged{$how});
	$offset = -s $node->logfile;
	$node->start;
	is_deeply(moved({}, statistics($node)), {}, "a file $how is ignored");
	like(slurp_file($node->logfile, $offset),
		qr/LOG:  ignoring invalid file "pg_stat\/inventory_reservation.stat"/, '... the log says so');
	ok(!-e $stat_file, '... and it is gone');
}
$node->stop('fast');
unlink $stat_file or die;
append_to_file($stat_file, $content);
$node->start;
is(statistics($node)->{reserves}, 3, 'that file as it was is taken');

#
# More databases than there is room for, said by a file as we would write it
#
my ($most, $header_size, $checksum_size) = (256, 16, 4);
my $count = unpack 'L', substr $content, 12, 4;
my $entry_size = (length($content) - $header_size - $checksum_size) / $count;
my $entry = substr $content, $header_size + 4, $entry_size - 4;
my $full = substr($content, 0, 12) . pack('L', $most)
  . join '', map { pack('L', 1_000_000_000 + $_) . $entry } 1 .. $most;
$full .= pack 'L', crc32c($full);
$node->stop('fast');
unlink $stat_file or die;
append_to_file($stat_file, $full);
$offset = -s $node->logfile;
$node->start;
$absent = statistics($node);
ok(!$absent->{counting}, 'a database without room is not counted for');
is(sqlstate_of($node, "SELECT inv_reserve('plenty')"), '00000', 'and served all the same')
  for 1 .. 3;
is(statistics($node)->{reserves}, undef, 'its counters are null');
is(scalar(() = slurp_file($node->logfile, $offset) =~ /LOG:  inv_stat has no room/g),
	1, 'the log says so once');

# The launcher knows which databases there are.
my $session_without_room = $node->background_psql('postgres');
is($session_without_room->query_safe('SELECT counting FROM inv_stat'), 'f', 'a session without room');
$node->append_conf('postgresql.conf', <<'CONF');
inventory_reservation.worker_enabled = on
inventory_reservation.naptime = 1
CONF
$node->reload;
$node->poll_query_until('postgres', 'SELECT counting FROM inv_stat')
  or die 'nobody forgets databases that are gone';
$before = statistics($node);
$session_without_room->query_safe("SELECT inv_reserve('plenty')");
is(statistics($node)->{reserves} - $before->{reserves}, 1,
	'room of databases that are gone is found, by a session that had none too');
$session_without_room->quit;
$node->safe_psql('postgres', 'SELECT inv_stat_reset()');
sleep 3;
is(statistics($node)->{reserves}, 0, 'and kept by a database that is there');
$node->safe_psql('postgres', "SELECT inv_reserve('plenty')");
sleep 3;
is(statistics($node)->{reserves}, 1, 'round after round');
books_are_right($node);

$node->stop;

#
# Without preload
#
my $plain = inventory_node('plain');
add_stock($plain, A => 10);
is(sqlstate_of($plain, "SELECT inv_reserve('A', 2, ttl => '1 millisecond')"), '00000', 'without preload: a call');
is(sqlstate_of($plain, "SELECT inv_reserve('A', 20)"), 'IV001', 'without preload: a rejection');
is(sqlstate_of($plain, "SELECT inv_stat_reset()"), '00000', 'without preload: reset');
sleep 0.01;
$absent = statistics($plain);
ok(!$absent->{counting}, 'without preload: it says that it does not count');
isnt(delete $absent->{oldest_dead_hold_age}, undef, 'without preload: it knows the oldest dead hold');
delete $absent->{counting};
is_deeply([ grep { defined $absent->{$_} } keys %$absent ], [], 'without preload: the rest is null');
is(scalar keys %$absent, 37, 'without preload: all columns are there');
books_are_right($plain);
$plain->stop;

done_testing();
