# A session that makes very many calls, 58,000 or with FULL=1 a million, most of
# which fail or repeat others, beside changes to the tables' definitions.
#
# What must never happen: that its memory grows, that a file stays open, that a
# lock, a snapshot, a buffer or an open table is left behind by an error.  What
# is left in a transaction PostgreSQL would tell in the log, at its end.
#
# Memory is what PostgreSQL has in its contexts and what the process has of its
# own by the kernel's account, after a while of warming up and at the end.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'measures memory, of which a sanitizer takes its own share'
  if $ENV{SANITIZE} || $ENV{VALGRIND};

my $rounds = $ENV{FULL} ? 1050 : 60;
my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
synchronous_commit = off
CONF

add_stock($node, map { ("S$_" => 100_000_000) } 1 .. 20);
add_stock($node, gone => 1);
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('S1', 8), inv_set_stripes('S2', 8);
	SELECT inv_reserve('gone', 1, ttl => '20 hours');
	CREATE SEQUENCE public.calls;

	-- A call which may fail, in a subtransaction.
	CREATE FUNCTION public.try(statement text, VARIADIC arguments text[] DEFAULT '{}')
	RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		answer text;
	BEGIN
		PERFORM nextval('public.calls');
		EXECUTE statement INTO answer
			USING arguments[1], arguments[2], arguments[3];
		RETURN answer;
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;

	-- A thousand calls and some, in transactions of one to forty.
	CREATE PROCEDURE public.churn(round integer) LANGUAGE plpgsql AS $$
	DECLARE
		hold text;
		name text;
	BEGIN
		FOR i IN 1 .. 40 LOOP
			name := format('%s/%s', round, i);
			hold := public.try('SELECT reservation_id FROM inv_reserve($1, 2, key => $2)', 'S' || i % 20 + 1, name);
			PERFORM public.try('SELECT status FROM inv_reserve($1, 2, key => $2)', 'S' || i % 20 + 1, name);
			PERFORM public.try('SELECT status FROM inv_reserve($1, 3, key => $2)', 'S' || i % 20 + 1, name);
			PERFORM public.try('SELECT inv_extend($1::uuid, interval ''1 hour'')', hold);
			PERFORM public.try('SELECT status FROM inv_release($1::uuid, $2, 1)', hold, 'S' || i % 20 + 1);
			PERFORM public.try('SELECT status FROM inv_release($1::uuid, $2, 9)', hold, 'S' || i % 20 + 1);
			PERFORM public.try('SELECT order_id FROM inv_confirm($1::uuid, key => $2)', hold, name);
			PERFORM public.try('SELECT order_id FROM inv_confirm($1::uuid, key => $2)', hold, name);
			PERFORM public.try('SELECT status FROM inv_cancel($1::uuid)', hold);
			PERFORM public.try('SELECT status FROM inv_confirm(gen_random_uuid())');
			PERFORM public.try('SELECT status FROM inv_reserve(''gone'')');
			PERFORM public.try('SELECT status FROM inv_try_reserve(''gone'')');
			PERFORM public.try('SELECT status FROM inv_reserve(''unknown'')');
			PERFORM public.try('SELECT status FROM inv_reserve(''S1'', -1)');
			PERFORM public.try('SELECT status FROM inv_reserve(''S1'', 1, ttl => ''infinity'')');
			PERFORM public.try('SELECT status FROM inv_reserve(repeat(''x'', 10000))');
			hold := public.try('SELECT reservation_id FROM inv_reserve_cart(''{S1,S2,S3,S4}'', ''{1,2,3,4}'', metadata => ''{"a": 1}'')');
			PERFORM public.try('SELECT status FROM inv_cancel($1::uuid, key => $2)', hold, name);
			PERFORM public.try('SELECT shortages FROM inv_try_reserve_cart(''{S1,gone}'', ''{1,2}'')');
			PERFORM public.try('SELECT status FROM inv_reserve_lines(''[{"sku": "S5", "quantity": "x"}]'')');
			PERFORM public.try('SELECT count(*) FROM inv_reserve_batch(''{S1,gone,S6,unknown}'', ''{1,1,1,1}'', ttl => ''1 millisecond'')');
			PERFORM public.try('SELECT inv_available($1)', 'S' || i % 20 + 1);
			PERFORM public.try('SELECT lines FROM inv_reservation_status($1::uuid)', hold);
			PERFORM public.try('SELECT count(*) FROM inv_events(max_count => 3)');
			IF i % (round % 10 + 1) = 0 THEN
				COMMIT;
			END IF;
			IF i % 10 = 0 THEN
				-- whatever is kept of the tables is prepared anew
				ALTER TABLE inv_stock SET (fillfactor = 50);
				ALTER TABLE inv_reservation RESET (toast_tuple_target);
				COMMIT;
				PERFORM public.try('SELECT inv_expire()');
				PERFORM public.try('SELECT inv_receive($1, 1)', 'S7');
				PERFORM public.try('SELECT inv_set_stripes($1, $2::int)', 'S8', (1 + i % 3)::text);
				PERFORM public.try('SELECT inv_purge()');
				ROLLBACK;
			END IF;
		END LOOP;
		PERFORM public.try('SELECT inv_expire()');
		PERFORM public.try('SELECT count(*) FROM inv_reconcile()');
		PERFORM inv_purge('0 seconds');
	END $$});

my $offset = -s $node->logfile;
my $session = $node->background_psql('postgres');
$session->set_query_timer_restart();
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my $round = 0;

sub churn
{
	my ($count) = @_;
	$session->query_safe('CALL public.churn(' . $round++ . ')') foreach 1 .. $count;
	my $process = slurp_file("/proc/$pid/status");
	my %used = (
		contexts => $session->query_safe('SELECT sum(used_bytes) FROM pg_backend_memory_contexts'),
		process => ($process =~ /^RssAnon:\s+(\d+) kB/m)[0] * 1024,
		files => scalar(() = glob "/proc/$pid/fd/*"),
		locks => $session->query_safe(
			'SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()')
	);
	note "after $round rounds: ", join ', ', map { "$_ $used{$_}" } sort keys %used;
	note $session->query_safe(q{
		SELECT string_agg(format('%s %s', name, bytes), ', ')
		  FROM (SELECT name, sum(used_bytes) AS bytes FROM pg_backend_memory_contexts
				 GROUP BY name ORDER BY bytes DESC LIMIT 8) AS largest});
	return \%used;
}

my $start = time;
my $early = churn(15);
churn(15) foreach 2 .. $rounds / 15 - 1;
my $late = churn(15);
my $calls = $node->safe_psql('postgres', 'SELECT last_value FROM public.calls');
note sprintf '%d calls took %.1f s', $calls, time - $start;
cmp_ok($calls, '>', 950 * $round, 'so many calls were made');
cmp_ok($late->{contexts}, '<=', $early->{contexts} + 65_536,
	"memory contexts: $early->{contexts} bytes after a while, $late->{contexts} at the end");
cmp_ok($late->{process}, '<=', $early->{process} + 8_388_608,
	"the process: $early->{process} bytes after a while, $late->{process} at the end");
cmp_ok($late->{files}, '<=', $early->{files} + 8,
	"open files: $early->{files} after a while, $late->{files} at the end");
is($late->{locks}, $early->{locks}, 'locks: none stay');
is(scalar(() = slurp_file($node->logfile, $offset) =~ /WARNING:  |leak/g), 0,
	'the log tells of nothing that was left behind');
# An autovacuum gives way to ALTER TABLE.
only_errors_are($node, $offset, { 57014 => undef }, 'nor of errors that nobody caught');
unlike(slurp_file($node->logfile, $offset), qr/canceling (?!autovacuum task)/,
	'nor of anything else that was cancelled');
isnt($node->safe_psql('postgres', 'SELECT count(*) FROM inv_order'), 0, 'things were sold');
books_are_right($node);

# The same with code of the shop's at the tables: then nothing is kept from call
# to call.
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF random() < 0.05 THEN
			RAISE EXCEPTION 'not today';
		END IF;
		RETURN new;
	END $$;
	CREATE TRIGGER look BEFORE INSERT ON inv_ledger
		FOR EACH ROW EXECUTE FUNCTION public.look();
	CREATE TRIGGER look AFTER UPDATE ON inv_stock
		FOR EACH ROW EXECUTE FUNCTION public.look();
	CREATE TRIGGER look BEFORE UPDATE ON inv_reservation
		FOR EACH ROW EXECUTE FUNCTION public.look()});
$early = churn(5);
$late = churn(10);
cmp_ok($late->{contexts}, '<=', $early->{contexts} + 65_536,
	"with triggers that fail: contexts $early->{contexts} bytes after a while, $late->{contexts} at the end");
cmp_ok($late->{process}, '<=', $early->{process} + 8_388_608,
	"with triggers that fail: the process $early->{process} bytes after a while, $late->{process} at the end");
is(scalar(() = slurp_file($node->logfile, $offset) =~ /WARNING:  |leak/g), 0,
	'with triggers that fail: nothing was left behind');
books_are_right($node);

$session->quit;
$node->stop;
done_testing();
