# Batches whose answers get lost, from clients that do not give up.
#
# Four shops have two clients each.  The two send the same requests under the
# same keys, one in the reverse of the other's order, and repeat each batch
# until they get an answer: connections die at random, and of every four
# batches one dies after its commit and one just before it.  Beside them the
# same requests are made singly, the stripes of some SKUs change, and the books
# are checked.
#
# Nothing is given back meanwhile, so stock only shrinks.  That makes strong
# questions possible in the end: a key has been answered in one way only,
# whoever asked and however often, and who was refused wanted more than is left
# even now.
use strict;
use warnings;

use InventoryTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $shops = 4;
my $batches = 12;
my $size = 50;
my $skus = 20;
my $striped = 6;
my $node = inventory_node('shop',
	conf => "max_connections = 40\nmax_locks_per_transaction = 10\nautovacuum = off\n");

# Of every other SKU there is too little, of striped ones and of others.
add_stock($node, map { ("S$_" => $_ % 2 ? 150 : 1_000_000) } 1 .. $skus);
$node->safe_psql('postgres',
	join '', map { "SELECT inv_set_stripes('S$_', 4);" } 1 .. $striped);

srand 4711;
my %request;		# key => what is asked for under it
my @sent;			# [shop][batch] => keys, in order

foreach my $shop (0 .. $shops - 1)
{
	my @used;
	foreach my $batch (0 .. $batches - 1)
	{
		my @keys;
		foreach my $n (1 .. $size)
		{
			# one in ten repeats a request, of this batch or an earlier one
			if (@used && rand() < 0.1)
			{
				push @keys, $used[ rand @used ];
				next;
			}
			my $key = "$shop-$batch-$n";
			my $sku = 'S' . (1 + int rand $skus);
			my $quantity = 1 + int rand 5;
			my $kind = rand;

			$sku = 'NOSUCH' if $kind < 0.02;
			$quantity = 0 if $kind > 0.98;
			$request{$key} = {
				sku => $sku,
				quantity => $quantity,
				customer => "customer " . int rand 100 };
			push @keys, $key;
			push @used, $key;
		}
		$sent[$shop][$batch] = \@keys;
	}
}

# The call of a batch.
sub batch_call
{
	my (@keys) = @_;
	return sprintf(q{SELECT * FROM inv_reserve_batch('{%s}', '{%s}', '{%s}', '{%s}', '1 hour');},
		join(',', map { $request{$_}{sku} } @keys),
		join(',', map { $request{$_}{quantity} } @keys),
		join(',', @keys),
		join(',', map { qq{"$request{$_}{customer}"} } @keys)) . "\n";
}

# The same, request by request.
sub single_calls
{
	my (@keys) = @_;
	return join '', map {
		my $it = $request{$_};
		"SELECT *, CASE WHEN reservation_id IS NULL THEN 'IV001' END"
		  . " FROM inv_try_reserve('$it->{sku}', $it->{quantity}, '$_',"
		  . " '$it->{customer}', '1 hour');\n"
	} @keys;
}

# Requests that make sense, which a single call does not raise an error for.
sub sensible
{
	return grep { $request{$_}{sku} ne 'NOSUCH' && $request{$_}{quantity} > 0 } @_;
}

#
# Clients.  Each has a list of jobs and does them one after another, each in a
# psql of its own, again and again until it succeeds.
#

my $suicide = "SELECT pg_terminate_backend(pg_backend_pid());\n";
my @clients;

foreach my $shop (0 .. $shops - 1)
{
	foreach my $turned (0, 1)
	{
		my @jobs;
		foreach my $batch (0 .. $batches - 1)
		{
			my @keys = @{ $sent[$shop][$batch] };
			@keys = reverse @keys if $turned;
			my $call = batch_call(@keys);
			my $fate = ($batch + $shop + 2 * $turned) % 4;

			push @jobs, {
				keys => \@keys,
				script => $call,
				# how the first attempt ends
				first => $fate == 1 ? $call . $suicide
					: $fate == 3 ? "BEGIN;\n$call$suicide"
					: $call,
				fate => $fate == 1 ? 'committed' : $fate == 3 ? 'undone' : '' };
		}
		push @clients, { name => "shop $shop client $turned", jobs => \@jobs };
	}
	my @jobs;
	foreach my $batch (0 .. $batches - 1)
	{
		my @keys = sensible(@{ $sent[$shop][$batch] });
		@keys = @keys[ 0 .. 9 ];
		push @jobs, { keys => \@keys, script => single_calls(@keys) };
	}
	push @clients, { name => "shop $shop singly", jobs => \@jobs };
}
my $buyers_left = @clients;

# These go on as long as there are others.
push @clients,
  {
	name => 'stripes',
	endless => sub {
		return join '', map {
			sprintf("SELECT inv_set_stripes('S%d', %d);\n",
				1 + int rand $striped, 1 + int rand 8)
		} 1 .. 5;
	} },
  { name => 'check', endless => sub { return "SELECT violation, sku FROM inv_check();\n" } },
  {
	name => 'killer',
	endless => sub {
		return q{SELECT pg_sleep(0.1);
			SELECT FROM (SELECT pid FROM pg_stat_activity
						  WHERE application_name LIKE 'shop%'
						  ORDER BY random() LIMIT 1) AS victim,
						pg_terminate_backend(pid);
			};
	} };

my (%answers, %undone, %acknowledged);
my ($lost, $checks, $violations) = (0, 0, '');

my $dir = PostgreSQL::Test::Utils::tempdir;
my $connection = $node->connstr('postgres');

# Start a psql for the job at hand.
sub begin
{
	my ($client) = @_;
	my $job = $client->{job};
	my $script = $job->{attempts}++ ? $job->{script} : $job->{first} || $job->{script};

	my $file = "$dir/$client->{name}";
	unlink "$file.in";
	append_to_file("$file.in", $script);
	local $ENV{PGAPPNAME} = $client->{name};
	$client->{pid} = fork;
	die "fork: $!" if !defined $client->{pid};
	return if $client->{pid} > 0;
	open STDIN, '<', "$file.in" or POSIX::_exit(1);
	open STDOUT, '>', "$file.out" or POSIX::_exit(1);
	open STDERR, '>', "$file.err" or POSIX::_exit(1);
	exec 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $connection or POSIX::_exit(1);
}

# Take down what came of an attempt.
sub note_answers
{
	my ($client, $succeeded) = @_;
	my $job = $client->{job};
	my @rows = split /\n/, $client->{out};
	my @keys = @{ $job->{keys} };

	die "$client->{name}: " . @rows . ' answers to ' . @keys . " requests: $client->{out}"
	  if $succeeded && @rows != @keys;
	foreach my $n (0 .. $#rows)
	{
		my ($id, $status, $ends, $replayed, $available, $error) = split /\|/, $rows[$n], -1;
		my $outcome = $id eq '' ? $error : $id;

		if ($succeeded)
		{
			$answers{ $keys[$n] }{$outcome}++;
			# what was acknowledged to psql, and lost by its death
			push @{ $job->{forgotten} }, $keys[$n]
			  if $job->{told} && $id ne '' && ($job->{told}[$n] ne $id || $replayed ne 't');
		}
		elsif ($job->{fate} && $job->{fate} eq 'undone' && $job->{attempts} == 1)
		{
			$undone{$id} = 1 if $id ne '' && $replayed eq 'f';
		}
		else
		{
			$acknowledged{$id} = $keys[$n] if $id ne '';
			$job->{told}[$n] = $outcome if $job->{fate};
		}
	}
	return;
}

my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
my $dead_after_commit = 0;
my $forgotten = 0;

while ($buyers_left > 0 || grep { $_->{pid} } @clients)
{
	my $busy = 0;
	die 'the clients do not come to an end' if time() > $deadline;
	foreach my $client (@clients)
	{
		if (!$client->{pid})
		{
			next if $client->{done};
			if ($client->{endless})
			{
				next if $buyers_left == 0;
				$client->{job} = { script => $client->{endless}->() };
			}
			$client->{job} ||= shift @{ $client->{jobs} };
			begin($client);
			next;
		}
		next if waitpid($client->{pid}, POSIX::WNOHANG()) == 0;
		my $succeeded = $? == 0;
		$busy = 1;
		delete $client->{pid};
		@$client{ 'out', 'err' } = map { slurp_file("$dir/$client->{name}.$_") } qw(out err);
		if ($client->{endless})
		{
			die "$client->{name}: $client->{err}" if !$succeeded;
			if ($client->{name} eq 'check')
			{
				$checks++;
				$violations .= $client->{out};
			}
			next;
		}
		my $job = $client->{job};
		note_answers($client, $succeeded);
		if (!$succeeded)
		{
			$lost++;
			next;
		}
		$dead_after_commit++ if $job->{told} && @{ $job->{told} } == @{ $job->{keys} };
		$forgotten += @{ $job->{forgotten} || [] };
		delete $client->{job};
		if (!@{ $client->{jobs} })
		{
			$client->{done} = 1;
			$buyers_left--;
		}
	}
	sleep 0.005 if !$busy;
}
note "$lost attempts lost, $dead_after_commit of them after the commit, $checks checks";

cmp_ok($lost, '>=', $shops * $batches, 'connections died, again and again');
cmp_ok($dead_after_commit, '>=', $shops * $batches / 4, 'many of them after a commit');
cmp_ok($checks, '>', 3, 'the books were checked meanwhile');
is($violations, '', 'and were right each time');
only_errors_are($node, 0, { '57P01' => undef }, 'no error but those of dying connections');
is($forgotten, 0, 'a retry after a commit gets just what was held then');

#
# A key: one answer, one hold
#
my $sensible_keys = sensible(keys %request);
is(scalar(grep { !$answers{$_} } keys %request), 0, 'every request has an answer');
is(join(' ', grep { keys %{ $answers{$_} } > 1 } sort keys %answers),
	'', 'and always the same one');
my %held;			# key => id
my %refused;		# key => error
foreach my $key (keys %answers)
{
	my ($outcome) = keys %{ $answers{$key} };
	if ($outcome =~ /-/) { $held{$key} = $outcome; }
	else { $refused{$key} = $outcome; }
}
my %errors;
$errors{$_}++ foreach values %refused;
is(join(' ', sort keys %errors), '22023 IV001 IV004', 'for one of the three reasons there are');
is(scalar(grep { $refused{$_} ne 'IV001' } keys %refused),
	keys(%request) - $sensible_keys,
	'what made no sense, and only that, was refused for it');
cmp_ok(scalar(keys %held), '>', $sensible_keys / 3, 'many were served');
cmp_ok($errors{IV001}, '>', $sensible_keys / 10, 'many others were not');

# Hand the notes to the server for comparison.
append_to_file("$dir/notes", join '', map {
	join("\t", $_, $request{$_}{sku}, $request{$_}{quantity}, $request{$_}{customer},
		$held{$_} || '\N', $refused{$_} || '\N') . "\n"
} sort keys %request);
$node->safe_psql('postgres', qq{
	CREATE TABLE note (key text, sku text, quantity bigint, customer text, hold uuid, error text);
	\\copy note FROM '$dir/notes'
});
value_is($node, 'SELECT count(*), count(DISTINCT hold) = count(hold) FROM note',
	keys(%request) . '|t', 'no two requests have one hold');
value_is($node, q{
	SELECT count(*) FROM note
	  FULL JOIN inv_idempotency AS made USING (key)
	 WHERE made.reservation_id IS DISTINCT FROM note.hold},
	0, 'the keys are those of the holds');
value_is($node, q{
	SELECT count(*) FROM (SELECT * FROM note WHERE hold IS NOT NULL) AS note
	  FULL JOIN inv_reservation_lines AS line
		ON line.reservation_id = note.hold AND line.line_no = 1
	   AND line.sku = note.sku AND line.quantity = note.quantity
	   AND line.customer = note.customer AND line.status = 'active'
	 WHERE line.reservation_id IS NULL OR note.hold IS NULL},
	0, 'each hold is what was asked for, and there are no others');
value_is($node, q{
	SELECT count(*) FROM inv_reservation
	  FULL JOIN (SELECT * FROM inv_ledger WHERE operation = 'reserve') AS entry USING (reservation_id)
	 WHERE quantity IS DISTINCT FROM delta_reserved},
	0, 'each was taken from the stock once');
is(scalar(grep { exists $undone{$_} } values %held), 0, 'what was not committed is not there');
is(scalar(grep { $held{ $acknowledged{$_} } ne $_ } keys %acknowledged),
	0, 'what was committed is');
value_is($node, q{
	SELECT count(*)
	  FROM inv_availability
	 WHERE reserved IS DISTINCT FROM
		   (SELECT sum(quantity) FROM note WHERE hold IS NOT NULL AND note.sku = inv_availability.sku)},
	0, 'the units add up');
value_is($node, q{
	SELECT count(*) FROM note WHERE error = 'IV001' AND quantity <= inv_available(sku)},
	0, 'nobody was refused what is there');
books_are_right($node, 'the books are right in the end');

#
# The same keys, and the same SKUs, from all clients in the same instant, half
# of them in the other order: they wait for one another, but not in a circle
#
my $twins = 8;
my $lines = 400;
my $offset = -s $node->logfile;

$node->safe_psql('postgres', qq{
	SELECT count(*) FROM inv_load_stock(ARRAY(SELECT 'L' || n FROM generate_series(1, $lines) AS n),
										array_fill(1000::bigint, '{$lines}'));
	CREATE TABLE answer (round int, client int, n int, id uuid, replayed boolean, error text)});

sub twins
{
	my ($round, $keys) = @_;
	my ($status) = crowd($node, clients => $twins, script => qq{
		INSERT INTO answer
		SELECT $round, :client_id, (ns.ns)[nr], reservation_id, replayed, error
		  FROM (SELECT array_agg(n ORDER BY CASE :client_id % 2 WHEN 0 THEN n ELSE -n END)
				  FROM generate_series(1, $lines) AS n) AS ns (ns),
			   LATERAL inv_reserve_batch(
				   ARRAY(SELECT 'L' || n FROM unnest(ns.ns) AS n),
				   array_fill(1::bigint, '{$lines}'), $keys) WITH ORDINALITY
				   AS hold (reservation_id, status, expires_at, replayed, available, error, nr);});
	return $status;
}

foreach my $round (1 .. 4)
{
	is(twins($round, "ARRAY(SELECT 'twins $round ' || n FROM unnest(ns.ns) AS n)"),
		0, "round $round: no client gets an error");
	value_is($node, qq{
		SELECT count(*), count(DISTINCT id), count(id), count(*) FILTER (WHERE replayed)
		  FROM answer WHERE round = $round},
		join('|', $twins * $lines, $lines, $twins * $lines, ($twins - 1) * $lines),
		"round $round: each key has one hold, which all are told");
	value_is($node, qq{
		SELECT count(*) FROM (SELECT FROM answer WHERE round = $round
							   GROUP BY n HAVING count(DISTINCT id) > 1) AS torn},
		0, "round $round: and the right one");
}
is(twins(5, 'NULL'), 0, 'without keys: no client gets an error');
value_is($node, 'SELECT count(DISTINCT id), count(error) FROM answer WHERE round = 5',
	$twins * $lines . '|0', 'without keys: each has holds of its own');
only_errors_are($node, $offset, {}, 'nobody waited in a circle');
books_are_right($node, 'the books are right after that');

#
# A big one: a stock row is written once, and memory is bounded
#
my $many = 20_000;
my $bytes_a_request = 8192;
my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');

sub peak
{
	my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^VmPeak:\s+(\d+) kB$/m;
	return 1024 * $kilobytes;
}

sub kept
{
	return $session->query_safe('SELECT sum(total_bytes) FROM pg_backend_memory_contexts');
}

sub big_batch
{
	my ($name, $sku) = @_;
	return $session->query_safe(qq{
		SELECT count(reservation_id), count(DISTINCT reservation_id), count(error)
		  FROM inv_reserve_batch(
			   ARRAY(SELECT $sku FROM generate_series(1, $many) AS n),
			   array_fill(1::bigint, '{$many}'),
			   ARRAY(SELECT '$name ' || n FROM generate_series(1, $many) AS n),
			   array_fill('somebody'::text, '{$many}'))});
}

$node->safe_psql('postgres', qq{
	SELECT count(*) FROM inv_load_stock(ARRAY(SELECT 'M' || n FROM generate_series(1, $many) AS n),
										array_fill(1::bigint, '{$many}'))});
my $updates = "SELECT pg_stat_get_tuples_updated('inv_stock'::regclass)";
$session->query_safe("SELECT * FROM inv_reserve_batch('{S2}', '{1}')");
$session->query_safe('SELECT pg_stat_force_next_flush()');
my $updates_before = $session->query_safe($updates);
my ($peak_before, $kept_before) = (peak(), kept());

is(big_batch('few', "'S' || 8 + 2 * (n % 3)"), "$many|$many|0",
	"$many requests for three SKUs in one batch");
$session->query_safe('SELECT pg_stat_force_next_flush()');
is($session->query_safe($updates) - $updates_before, 3, 'three stock rows were written, once each');
is(big_batch('each', "'M' || n"), "$many|$many|0",
	"$many requests for as many SKUs");
is(big_batch('each', "'M' || n"), "$many|$many|0", 'the same again: all replays');
is(big_batch('none', "'M' || n"), "0|0|$many", 'and again with other keys: all sold out');
my $peak = peak() - $peak_before;
my $kept = kept() - $kept_before;
note "peak $peak bytes, kept $kept bytes";
cmp_ok($peak, '<', $many * $bytes_a_request, 'the memory it takes is bounded');
cmp_ok($kept, '<', $many * 100, 'and given back');
$session->quit;
books_are_right($node, 'the books are right after that too');

$node->stop;
done_testing();
