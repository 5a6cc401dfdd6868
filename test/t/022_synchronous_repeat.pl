# What a repeated call is told must survive a failover like everything else
# that a client is told.
#
# A transaction that waits for its synchronous standby is committed here, and
# when its session is terminated, or the server crashes and starts again, others
# see it although the standby does not have it.  A repeat that finds its key
# then, and answers from what it sees, would acknowledge what the next failover
# takes away: it has written nothing that PostgreSQL would make it wait for.
#
# So such an answer has to wait for the standby as the first call did.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Failover;
use InventoryTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = inventory_node('primary',
	init => { allows_streaming => 1 },
	conf => "inventory_reservation.default_ttl = '1h'\n");
my $dir = PostgreSQL::Test::Utils::tempdir;

add_stock($primary, A => 1000, B => 1000);
my $standby = new_standby('standby', $primary);
$standby->start;
await_standby($primary, 'on');

sub hold
{
	return $primary->safe_psql('postgres',
		"SELECT reservation_id FROM inv_reserve('A', 3)");
}

sub order
{
	my $hold = hold();
	return $primary->safe_psql('postgres',
		"SELECT order_id FROM inv_confirm('$hold')");
}

# Every call that may be repeated, and what makes it the same call.
my ($confirmed, $confirmed_without, $cancelled, $cancelled_without, $released, $extended) =
  map { hold() } 1 .. 6;
my ($returned, $given_back, $completed, $paid) = map { order() } 1 .. 4;
my %calls = (
	'inv_reserve' => "inv_reserve('A', 1, key => 'k')",
	'inv_try_reserve' => "inv_try_reserve('A', 1, key => 'try')",
	'inv_reserve_cart' => "inv_reserve_cart('{A,B}', '{1,1}', key => 'k')",
	'inv_try_reserve_cart' => "inv_try_reserve_cart('{A,B}', '{1,1}', key => 'try')",
	'inv_reserve_lines' =>
	  q{inv_reserve_lines('[{"sku": "B", "quantity": 1}]', key => 'lines')},
	'inv_reserve_batch' => "inv_reserve_batch('{A,B}', '{1,1}', keys => '{b1,b2}')",
	'inv_confirm' => "inv_confirm('$confirmed', key => 'k')",
	'inv_confirm without a key' => "inv_confirm('$confirmed_without')",
	'inv_cancel' => "inv_cancel('$cancelled', key => 'k')",
	'inv_cancel without a key' => "inv_cancel('$cancelled_without')",
	'inv_release' => "inv_release('$released', 'A', 1, key => 'k')",
	'inv_extend' => "inv_extend('$extended', '2 hours', key => 'k')",
	'inv_receive' => "inv_receive('A', 1, key => 'k')",
	'inv_adjust' => "inv_adjust('A', 1, key => 'k')",
	'inv_cancel_order' => "inv_cancel_order('$given_back', key => 'k')",
	'inv_return' => "inv_return('$returned', 'A', 1, key => 'k')",
	'inv_complete_order' => "inv_complete_order('$completed')",
	'inv_record_payment' => "inv_record_payment('$paid', 'paid')");

# While nobody waits for a standby, a repeat costs nothing.
$primary->safe_psql('postgres', "SELECT inv_reserve('A', 1, key => 'before')");
value_is($primary, q{
	BEGIN;
	SET LOCAL synchronous_commit = local;
	SELECT replayed FROM inv_reserve('A', 1, key => 'before');
	SELECT pg_current_xact_id_if_assigned() IS NULL;
	COMMIT},
	"t\nt", 'a repeat that need not wait takes no transaction id');

#
# The standby goes.  One call waits for it and is terminated, and the others
# are as they would be after that.
#
$standby->stop;
my $session = $primary->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->{stdin} .= "SELECT * FROM $calls{'inv_reserve'};\n";
$session->{run}->pump_nb;
my $waits = 'SELECT count(*) = 1 FROM pg_stat_activity'
  . " WHERE pid = $pid AND wait_event = 'SyncRep'";
ok($primary->poll_query_until('postgres', $waits), 'the first call waits');
value_is($primary, "SELECT pg_terminate_backend($pid, 180000)",
	't', 'its session is terminated');
eval { $session->quit };
my $made = "SELECT count(*) FROM inv_idempotency WHERE key = 'k' AND scope = 'reserve'";
value_is($primary, $made, 1, 'it is committed all the same');

my %runs;
foreach my $what (sort keys %calls)
{
	$primary->safe_psql('postgres',
		"SET synchronous_commit = local; SELECT * FROM $calls{$what}")
	  if $what ne 'inv_reserve';
	my ($out, $err) = ('', '');
	$runs{$what} = {
		out => \$out,
		err => \$err,
		run => IPC::Run::start(
			[
				'psql', '-XAtq', '-d',
				$primary->connstr('postgres') . " application_name='$what'",
				'-c', "SELECT to_jsonb(r) FROM $calls{$what} AS r"
			],
			'<', '/dev/null', '>', \$out, '2>', \$err)
	};
}

# Each of them either waits or is over.
my $waiting = q{SELECT count(*) FROM pg_stat_activity
	WHERE application_name = '%s' AND wait_event = 'SyncRep'};
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
foreach my $what (sort keys %runs)
{
	my $run = $runs{$what}{run};
	my $waits;
	until ($waits = $primary->safe_psql('postgres', sprintf $waiting, $what))
	{
		$run->pump_nb if $run->pumpable;
		last if !$run->pumpable || time > $deadline;
	}
	ok($waits, "$what, repeated: waits for the standby")
	  or diag "answered: ${ $runs{$what}{out} }${ $runs{$what}{err} }";
}

$standby->start;
foreach my $what (sort keys %runs)
{
	$runs{$what}{run}->finish;
	is(${ $runs{$what}{err} }, '', "$what, repeated: no error");
	like(${ $runs{$what}{out} }, qr/^\{.*\}$|^"/s, "$what, repeated: answered when it is there");
	unlike(${ $runs{$what}{out} }, qr/"replayed": false/, "$what, repeated: and is the same");
}

# What was said is on the standby, if the primary should die now.
kill_server($primary);
$standby->promote;
value_is($standby, $made, 1, 'failover: the first call is there, once');
my $ids = sub { return join ' ', $_[0] =~ /"(?:reservation|order)_id": "([^"]*)"/g };
foreach my $what (grep { $ids->(${ $runs{$_}{out} }) } sort keys %calls)
{
	is( $ids->($standby->safe_psql('postgres', "SELECT to_jsonb(r) FROM $calls{$what} AS r")),
		$ids->(${ $runs{$what}{out} }),
		"failover: $what, repeated once more: the same ids");
}
books_are_right($standby);

$standby->stop;
done_testing();
