# A primary with a synchronous standby is killed in the middle of load, and the
# standby promoted; then once more, the other way round.
#
# Hunted: a hold, a sale or a cancel that a buyer was told of and that is not
# on the new primary; one that is there twice, because he asked again; a call
# in doubt that is there by halves, or stays in doubt.  The buyers' own notes,
# to which no server has access, decide.
#
# A call in doubt may or may not have reached the standby.  Kills at random
# leave mostly calls of which nobody knows, so two rounds see to it that of
# every call that waits for the standby at that moment it is known: all of them
# are there, or none.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Buyers;
use BuyersBooks;
use Failover;
use InventoryTest;
use Test::More;

# What buyers get done before the kill, after it, and beside the new standby.
my $calls = 20;
my $primary = inventory_node('server1',
	init => { allows_streaming => 1 },
	conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
max_worker_processes = 16
wal_keep_size = 512MB
checkpoint_timeout = 30s
CONF

Buyers::prepare($primary);
add_stock($primary, OPEN => 100);
my $standby = new_standby('server2', $primary);
$standby->start;

my @buyers;
my @servers = ($primary, $standby);

my @rounds = (
	{ level => 'on', kill => 'in mid-work', back => 'rewound' },
	{ level => 'remote_apply', kill => 'all there', back => 'copied' },
	{ level => 'on', kill => 'none there', back => 'rewound' },
	{ level => 'remote_apply', kill => 'in mid-work', back => 'copied' });

foreach my $nr (1 .. @rounds)
{
	my %round = %{ $rounds[ $nr - 1 ] };
	my $name = "round $nr, $round{kill}";
	my $buyers = Buyers->new(clients => 16, seed => $nr);
	push @buyers, $buyers;

	await_standby($primary, $round{level});
	value_is($standby,
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'inventory_reservation%'",
		0, "$name: no worker on the standby");
	$buyers->point_to($primary);
	$buyers->start;
	ok($buyers->wait_for_answers($calls), "$name: the buyers are at work");
	# Somebody else's hold, in a prepared transaction.
	$primary->safe_psql('postgres', qq{
		BEGIN; SELECT inv_reserve('OPEN', 1, ttl => '1 hour');
		PREPARE TRANSACTION 'open $nr'});

	my @waiting;
	if ($round{kill} eq 'all there')
	{
		# the standby has it on its disk, but does not say so
		$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	}
	elsif ($round{kill} eq 'none there')
	{
		ok($buyers->pause, "$name: the buyers rest");
		$primary->wait_for_catchup($standby, 'flush', $primary->lsn('insert'));
		cmp_ok(freeze_sender($primary), '==', 1, "$name: the wire is cut");
		$buyers->resume;
	}
	if ($round{kill} ne 'in mid-work')
	{
		@waiting = blocked_buyers($primary, 16);
		cmp_ok(scalar @waiting, '>', 2,
			"$name: nobody is told what the standby does not confirm");
	}
	kill_server($primary);

	# They find the new one before it is one.
	$buyers->point_to($standby);
	$standby->promote;
	my ($old, $new) = ($primary, $standby);
	ok($buyers->wait_for_answers($calls), "$name: the buyers go on");
	$buyers->slow_down;
	$new->safe_psql('postgres',
		($nr % 2 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'open $nr'");
	ok( $new->poll_query_until('postgres', q{
			SELECT count(*) = 1 FROM pg_stat_activity
			 WHERE backend_type = 'inventory_reservation launcher'}),
		"$name: the launcher comes alive");
	ok( $new->poll_query_until('postgres',
			'SELECT worker_last_run IS NOT NULL FROM inv_stat'),
		"$name: and sends workers");

	# A new standby, while they buy.
	if ($round{back} eq 'rewound')
	{
		$standby = rewound_standby($old, $new);
	}
	else
	{
		$standby = new_standby('server' . (@servers + 1), $new);
		push @servers, $standby;
	}
	$primary = $new;
	$standby->start;
	await_standby($primary, 'on');
	ok($buyers->wait_for_answers($calls / 2),
		"$name: and on, with the next standby");
	ok($buyers->finish, "$name: every buyer gets a definite answer");

	# Nothing is in doubt any more.
	my $books = read_books($buyers);
	my $counted = $books->{counted};
	my @resolved = @{ $books->{resolved} };
	note "$name: " . join ', ', map { "$_ $counted->{$_}" } sort keys %$counted;
	note "$name: in doubt and there: " . grep { $_->{replayed} } @resolved;
	# Not each of them was waiting for an answer.
	cmp_ok($counted->{lost} || 0, '>', 8, "$name: buyers lost their server");
	foreach my $what (qw(refused reserve try_reserve reserve_cart reserve_batch
		confirm cancel release checkout receive brief))
	{
		cmp_ok($counted->{$what} || 0, '>', 0, "$name: $what is among it");
	}
	if (@waiting)
	{
		# Who gets too little as an answer, not an error, may get more later:
		# of a try or a batch nobody knows what should be there.
		my %waited = map { $_ => 1 } @waiting;
		my @known = grep {
			$waited{ $_->{client} } && $_->{what} !~ /^(?:try_reserve|reserve_batch)$/
		} @resolved;
		cmp_ok(scalar @known, '>', 0, "$name: calls were in doubt");
		is( join(' ', map { $_->{what} } grep { !$_->{replayed} } @known),
			'', "$name: those in doubt were there, and none was made twice")
		  if $round{kill} eq 'all there';
		is( join(' ', map { $_->{what} } grep { $_->{replayed} } @known),
			'', "$name: those in doubt were not there, and were made anew")
		  if $round{kill} eq 'none there';
	}
	brief_holds_are_swept($primary, $name);
	books_agree($primary, read_books(@buyers), $name);
	# It may wait a moment for a transaction of the worker's.
	ok( $primary->poll_query_until('postgres', q{
			SELECT (SELECT count(*) FROM inv_events(NULL, 10000000)) = count(*),
				   max(epoch)
			  FROM inv_ledger}, 't|' . ($nr + 1)),
		"$name: a new epoch, and the feed has every entry");
	value_is($primary, "SELECT reserved FROM inv_availability WHERE sku = 'OPEN'",
		int(($nr + 1) / 2), "$name: a prepared transaction goes on");
	$primary->wait_for_catchup($standby);
	books_are_right($standby, "$name: inv_check() finds nothing on the next standby");
}

# Somebody asks once more for all that he was told, though he was told.
my $again = Buyers->new(repeat => $buyers[-1]);
$again->point_to($primary);
$again->start;
ok($again->finish, 'every call of the last round is repeated');
my ($first, $second) = (read_books($buyers[-1]), read_books($again));
is_deeply($second->{hold}, $first->{hold}, 'repeated: the same ids and units');
is_deeply($second->{shipment}, $first->{shipment}, 'repeated: the same orders');
books_agree($primary, read_books(@buyers), 'repeated, and nothing has changed');

foreach my $server (@servers)
{
	# Being shut down, starting, not yet promoted (57P0x, 25006), a standby
	# without its primary (08006).  Two calls in a transaction, the checkout,
	# may deadlock.
	only_errors_are($server, 0,
		{ map { $_ => undef } qw(IV001 57P01 57P02 57P03 25006 08006 40P01) },
		$server->name . ': no errors but refusals and those of the failover');
	$server->stop;
}
done_testing();
