# Very many holds at once: 60,000, or with FULL=1 a million.
#
# What must never happen: that a call costs more the more others hold.  Counted
# are the pages that it touches, in a server where nothing else runs, with few
# holds and with many; half of them are on one SKU.  Then all die in the same
# moment: the sweep frees them in batches, of which the last costs what the first
# does, and its memory does not grow.
use strict;
use warnings;

use InventoryTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use SteppedClock;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'a sanitized server takes no clock from a test'
  if $ENV{SANITIZE} || $ENV{VALGRIND};

my $few = 1_000;
my $many = $ENV{FULL} ? 1_000_000 : 60_000;
my $skus = 1_000;
my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
inventory_reservation.naptime = 1
autovacuum = off
jit = off
synchronous_commit = off
max_wal_size = 4GB
CONF
restart_with_clock($node);

$node->safe_psql('postgres', qq{
	SELECT count(inv_add_item('S' || n)) FROM generate_series(1, $skus) AS n;
	SELECT inv_add_item('hot'), inv_receive('hot', 10 * $many),
		   inv_add_item('gone'), inv_receive('gone', 1),
		   inv_add_item('cold'), inv_receive('cold', 1000),
		   inv_reserve('gone', 1, ttl => '20 hours');
	SELECT inv_load_stock(array_agg('S' || n), array_agg(10 * ${many}::bigint))
	  FROM generate_series(1, $skus) AS n});

# So many more holds, half of them on the hot SKU.
sub hold
{
	my ($count) = @_;
	$node->safe_psql('postgres', qq{
		DO \$\$
		BEGIN
			FOR part IN 1 .. $count / 1000 LOOP
				PERFORM inv_reserve_batch(
					array_agg(CASE WHEN n % 2 = 0 THEN 'hot' ELSE 'S' || (n + part) % $skus + 1 END),
					array_fill(1::bigint, ARRAY[1000]), ttl => '1 hour')
				  FROM generate_series(1, 1000) AS n;
				COMMIT;
			END LOOP;
		END \$\$;
		VACUUM ANALYZE});
	return;
}

my $session = $node->background_psql('postgres');
$session->set_query_timer_restart();

# Anonymous memory of the session, in kB.
sub memory
{
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m ? $1 : die;
}

# Pages that a statement of the session touches.
sub pages
{
	my ($sql) = @_;
	my $plan = decode_json($session->query_safe(
			"EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) $sql"))->[0]{Plan};
	return $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
}

# What the calls cost, the median of some: a hash.
sub costs
{
	my %costs;

	foreach my $n (1 .. 21)
	{
		foreach my $sku ('hot', 'cold')
		{
			my ($confirm, $cancel, $extend) = map {
				$session->query_safe("SELECT reservation_id FROM inv_reserve('$sku', ttl => '30 minutes')")
			} 1 .. 3;
			push @{ $costs{"inv_reserve $sku"} }, pages("SELECT inv_reserve('$sku', ttl => '1 hour')");
			push @{ $costs{"inv_confirm $sku"} }, pages("SELECT inv_confirm('$confirm')");
			push @{ $costs{"inv_cancel $sku"} }, pages("SELECT inv_cancel('$cancel')");
			push @{ $costs{"inv_extend $sku"} }, pages("SELECT inv_extend('$extend', '1 hour')");
			push @{ $costs{"inv_available $sku"} }, pages("SELECT inv_available('$sku')");
			push @{ $costs{"inv_reservation_status $sku"} },
			  pages("SELECT inv_reservation_status('$confirm')");
		}
		push @{ $costs{'a refusal'} }, pages("SELECT inv_try_reserve('gone')");
		# a dead hold for the sweep, and one for the next buyer
		$session->query_safe("SELECT inv_reserve('cold', ttl => '1 microsecond')");
		push @{ $costs{'inv_expire'} }, pages('SELECT inv_expire()');
		$session->query_safe(q{
			SELECT inv_reserve('hot', inv_available('hot'), ttl => '1 microsecond')});
		push @{ $costs{'a reclaim'} }, pages("SELECT inv_reserve('hot', 1, ttl => '1 hour')");
	}
	$_ = (sort { $a <=> $b } @$_)[10] foreach values %costs;
	return \%costs;
}

hold($few);
costs();
my $before = costs();
hold($many - $few);
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM inv_reservation WHERE status = 'active'"),
	'>=', $many, "there are $many holds");
costs();
my $after = costs();
foreach my $call (sort keys %$before)
{
	# an index is a level deeper, or two
	cmp_ok($after->{$call}, '<=', 1.5 * $before->{$call} + 8,
		"$call: $before->{$call} pages with $few holds, $after->{$call} with $many");
}

# The proof reads everything, and sorts on disk what memory has no room for.
{
	my $start = time;
	$session->query_safe(q{SET work_mem = '4MB'});
	is($session->query_safe('SELECT count(*) FROM inv_check()'), 0, 'inv_check() finds nothing');
	note sprintf 'inv_check() took %.1f s', time - $start;
	cmp_ok(memory(), '<', 65_536, 'nor does it need much memory');
}

#
# All die at once
#
set_clock(2 * 3600);
my $half = $many / 2000;
my (@pages, $memory);
my $start = time;
foreach my $batch (1 .. $half)
{
	push @pages, pages('SELECT inv_expire()');
	$memory = memory() if $batch == 5;
}
my $swept = $node->safe_psql('postgres',
	"SELECT count(*) FROM inv_reservation WHERE status = 'expired'");
note sprintf '%d batches took %.1f s', $half, time - $start;
cmp_ok($swept, '>=', 1000 * $half, "$half batches have swept $swept holds");
cmp_ok(memory(), '<=', $memory + 1024, 'the memory of the session that sweeps does not grow');
{
	my ($first, $last) = map {
		my @some = sort { $a <=> $b } @$_;
		$some[ @some / 2 ]
	} [ @pages[ 2 .. 6 ] ], [ @pages[ -5 .. -1 ] ];
	cmp_ok($last, '<=', 2 * $first, "a batch touches $first pages at first, $last at last");
}
books_are_right($node, 'in the middle of it: inv_check() finds nothing');

# The worker does the rest.
{
	my $start = time;
	$node->append_conf('postgresql.conf', "inventory_reservation.worker_enabled = on\n");
	$node->reload;
	my $done;
	until ($done || time - $start > 1200)
	{
		$done = $node->poll_query_until('postgres', q{
			SELECT count(*) = 0 FROM inv_reservation
			 WHERE status = 'active' AND expires_at <= clock_timestamp()});
	}
	ok($done, 'the worker sweeps the rest');
	note sprintf 'which took %.1f s', time - $start;
}
value_is($node, 'SELECT count(*) FROM inv_reconcile()', 0, 'a reconciliation finds nothing');
value_is($node, q{
	SELECT sum(reserved), count(*) FILTER (WHERE sku = 'hot') FROM inv_availability},
	'1|1', 'only what lives is held');
books_are_right($node);
only_errors_are($node, 0, { '57P01' => undef }, 'no error in the log');

$session->quit;
$node->stop;
done_testing();
