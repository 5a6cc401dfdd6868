# The server is killed in the middle of load, several times.
#
# Each client is a psql that writes to a file of its own what the server has
# acknowledged.  After the restart all of it must be there, and whatever else
# is there must be there wholly.
use strict;
use warnings;

use InventoryTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $rounds = 4;
my $clients = 8;
my $skus = 10;
my $node = inventory_node('shop',
	conf => "checkpoint_timeout = 30s\nmax_wal_size = 64MB\n");
my $dir = PostgreSQL::Test::Utils::tempdir;

add_stock($node, map { ("S$_" => 1_000_000) } 0 .. $skus - 1);
# half of them in stripes, whose number the clients change now and then
$node->safe_psql('postgres', "SELECT inv_set_stripes('S$_', 8)") foreach 0 .. $skus / 2 - 1;

# A client's work: holds of one to three lines, of which one third is sold, one
# third given back and one third kept.  The number of lines is kept with the
# hold, to be compared with what is found.
sub write_script
{
	my ($file, $name) = @_;
	my $script = '';

	foreach my $n (1 .. 20_000)
	{
		my $key = "$name-$n";
		my $lines = 1 + $n % 3;
		my @skus = map { 'S' . (($n * 7 + $_ * 3) % $skus) } 1 .. $lines;
		my @units = map { 1 + ($n + $_) % 4 } 1 .. $lines;

		$script .= sprintf("SELECT reservation_id AS hold FROM inv_reserve_cart("
			  . "'{%s}', '{%s}', key => '%s', ttl => '1 hour', "
			  . "metadata => '{\"lines\": %d, \"units\": %d}') \\gset\n"
			  . "\\echo held %s :hold\n",
			join(',', @skus), join(',', @units), $key, $lines,
			eval { my $sum = 0; $sum += $_ foreach @units; $sum }, $key);
		$script .= sprintf("SELECT inv_set_stripes('S%d', %d) AS stripes \\gset\n",
			$n / 20 % ($skus / 2), 1 + $n / 20 % 16)
		  if $n % 20 == 0;
		if ($n % 3 == 0)
		{
			$script .=
			    "SELECT order_id AS sale FROM inv_confirm(:'hold', key => '$key') \\gset\n"
			  . "\\echo sold $key :hold :sale\n";
		}
		elsif ($n % 3 == 1)
		{
			$script .=
			    "SELECT status FROM inv_cancel(:'hold', key => '$key') \\gset\n"
			  . "\\echo cancelled $key :hold\n";
		}
	}
	append_to_file($file, $script);
	return;
}

my (%held, %sold, %cancelled);

foreach my $round (1 .. $rounds)
{
	my @running;

	foreach my $client (1 .. $clients)
	{
		my $name = "$round-$client";
		write_script("$dir/$name.sql", $name);
		push @running,
		  IPC::Run::start(
			[
				'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
				'-d', $node->connstr('postgres'), '-f', "$dir/$name.sql"
			],
			'<', '/dev/null', '>', "$dir/$name.out", '2>', "$dir/$name.err");
	}
	# A sweep and a checkpoint are in it too, and one transaction that is open.
	my $open = $node->background_psql('postgres', on_error_stop => 0);
	$open->query_safe('BEGIN');
	my $unfinished = $open->query_safe(
		"SELECT reservation_id FROM inv_reserve('S1', 5, key => 'open $round')");
	sleep 1 + $round * 0.3;
	$node->safe_psql('postgres', 'CHECKPOINT') if $round % 2;
	sleep 0.7;
	$node->stop('immediate');

	foreach my $client (@running)
	{
		eval { $client->finish };
	}
	eval { $open->quit };
	my $survived =
	  grep { slurp_file("$dir/$round-$_.err") !~ /server closed the connection/ }
	  1 .. $clients;
	is($survived, 0, "round $round: the crash took every client in mid-work");

	my %last;
	my $acknowledged = 0;
	foreach my $client (1 .. $clients)
	{
		foreach my $line (split /\n/, slurp_file("$dir/$round-$client.out"))
		{
			my ($what, $key, $hold, $sale) = split / /, $line;
			$acknowledged++;
			if ($what eq 'held')
			{
				$held{$hold} = $key;
				$last{$client} = [ $key, $hold ];
			}
			elsif ($what eq 'sold') { $sold{$hold} = $sale; }
			elsif ($what eq 'cancelled') { $cancelled{$hold} = 1; }
			else { die "client $client wrote \"$line\""; }
		}
	}
	cmp_ok($acknowledged, '>', 10 * $clients,
		"round $round: the clients had been at work ($acknowledged calls)");

	$node->start;

	# Hand the clients' notes to the server for comparison.
	unlink "$dir/notes";
	append_to_file("$dir/notes", join '', map {
		join("\t", $held{$_}, $_, $sold{$_} || '\N', $cancelled{$_} || 0) . "\n"
	} sort keys %held);
	$node->safe_psql('postgres', qq{
		CREATE TABLE IF NOT EXISTS note
			(key text, hold uuid PRIMARY KEY, sale uuid, cancelled int);
		TRUNCATE note;
		\\copy note FROM '$dir/notes'
	});
	value_is($node, 'SELECT count(*) FROM note', scalar keys %held,
		"round $round: the notes are complete");
	value_is($node, q{
		SELECT count(*) FROM note
		 WHERE NOT EXISTS (SELECT FROM inv_reservation
							WHERE reservation_id = hold)},
		0, "round $round: every acknowledged hold is there");
	value_is($node, q{
		SELECT count(*) FROM note
		 WHERE sale IS NOT NULL
		   AND NOT EXISTS (SELECT FROM inv_order
							JOIN inv_reservation USING (reservation_id)
							WHERE order_id = sale AND reservation_id = hold
							  AND inv_reservation.status = 'confirmed')},
		0, "round $round: every acknowledged sale is there");
	value_is($node, q{
		SELECT count(*) FROM note
		 WHERE cancelled = 1
		   AND NOT EXISTS (SELECT FROM inv_reservation
							WHERE reservation_id = hold
							  AND status = 'cancelled')},
		0, "round $round: every acknowledged cancel is there");
	value_is($node, q{
		SELECT count(*)
		  FROM (SELECT reservation_id
				  FROM inv_reservation AS line
				 GROUP BY reservation_id
				HAVING count(*) <> max((metadata ->> 'lines')::int)
					OR sum(quantity) <> max((metadata ->> 'units')::int)
					OR count(DISTINCT status) > 1
					OR count(metadata) <> 1) AS half},
		0, "round $round: no hold is there by halves");
	value_is($node, q{
		SELECT count(*)
		  FROM (SELECT DISTINCT reservation_id FROM inv_reservation) AS hold
		  FULL JOIN (SELECT * FROM inv_idempotency
					  WHERE scope = 'reserve_cart') AS made
			ON made.reservation_id = hold.reservation_id
		 WHERE made.key IS NULL OR hold.reservation_id IS NULL},
		0, "round $round: each hold has its key, each key its hold");
	value_is($node, qq{
		SELECT (SELECT count(*) FROM inv_reservation
				 WHERE reservation_id = '$unfinished')
			   + (SELECT count(*) FROM inv_idempotency
				   WHERE key = 'open $round')},
		0, "round $round: nothing is left of the open transaction");
	books_are_right($node, "round $round: inv_check() finds nothing");

	# The last thing that a client knows of, it may ask for again.
	my ($key, $hold) = @{ $last{1} };
	my ($n) = $key =~ /-(\d+)$/;
	my $script = slurp_file("$dir/$round-1.sql");
	my ($call) =
	  $script =~ /^SELECT reservation_id AS hold (FROM .*key => '\Q$key\E'.*) \\gset$/m;
	value_is($node, "SELECT reservation_id, replayed $call",
		"$hold|t", "round $round: a repeat gets the same hold");
	# And the one whose answer the crash swallowed: one hold, whichever it is.
	my $next = "$round-1-" . ($n + 1);
	($call) =
	  $script =~ /^SELECT reservation_id AS hold (FROM .*key => '$next'.*) \\gset$/m;
	my $again = $node->safe_psql('postgres', "SELECT reservation_id $call");
	value_is($node, "SELECT reservation_id, replayed $call",
		"$again|t", "round $round: what was not acknowledged can be repeated");
	$held{$again} = $next;
}

only_errors_are($node, 0, { '57P01' => undef, '57P02' => undef, '57P03' => undef },
	'the log has no errors but those of the crashes');

$node->stop;
done_testing();
