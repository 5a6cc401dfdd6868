# A standby that nobody waits for is promoted after it has fallen behind.
#
# It has lost what the primary acknowledged last; that is the bargain, and
# docs/operations.md says so.  Hunted is anything worse: a state that never
# was, a call that is missing while a later one of the same buyer is there, a
# unit sold twice because buyers, who know more than the server, ask again.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Buyers qw(read_notes);
use BuyersBooks;
use Failover;
use InventoryTest;
use Test::More;

my $primary = inventory_node('primary',
	init => { allows_streaming => 1 },
	conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
max_worker_processes = 16
CONF

Buyers::prepare($primary);
my $standby = new_standby('standby', $primary);
$standby->start;
$primary->wait_for_catchup($standby);

my $buyers = Buyers->new(clients => 16);
$buyers->point_to($primary);
$buyers->start;
ok($buyers->wait_for_answers(20), 'the buyers are at work');
cmp_ok(freeze_sender($primary), '==', 1, 'the wire is cut');
ok($buyers->wait_for_answers(10), 'nobody waits for the standby');
kill_server($primary);
$standby->promote;

# Before anybody comes.
books_are_right($standby, 'promoted: inv_check() finds nothing');
value_is($standby, q{
	SELECT count(*) FROM (
		SELECT reservation_id,
			   sum(quantity) FILTER (WHERE status = 'active') AS held
		  FROM inv_reservation GROUP BY 1) AS hold
	  FULL JOIN (
		SELECT reservation_id, sum(delta_reserved) AS held
		  FROM inv_ledger WHERE reservation_id IS NOT NULL GROUP BY 1) AS booked
	 USING (reservation_id)
	 WHERE coalesce(hold.held, 0) <> coalesce(booked.held, 0)},
	0, 'promoted: holds are what the ledger says');
my %there = map { $_ => 1 } split /\n/,
  $standby->safe_psql('postgres', 'SELECT DISTINCT key FROM inv_idempotency');
my ($told, $lost, @gaps) = (0, 0);
foreach my $client (1 .. 16)
{
	my $lost_here = 0;
	foreach my $note (read_notes($buyers->notes_of($client)))
	{
		next if $note->{event} ne 'answer';
		$told++;
		$lost_here++ if !$there{ $note->{key} };
		push @gaps, $note->{key} if $there{ $note->{key} } && $lost_here;
	}
	$lost += $lost_here;
}
note "$told calls acknowledged, $lost of them lost";
cmp_ok($lost, '>=', 16, 'what was acknowledged last is lost');
cmp_ok($told - $lost, '>=', 16, 'what was acknowledged first is there');
is("@gaps", '', 'nobody has lost a call and kept a later one');

# Who is in doubt asks again, and goes on with holds that may be gone.
$buyers->point_to($standby);
ok($buyers->wait_for_answers(10), 'the buyers go on');
ok($buyers->finish, 'every buyer gets a definite answer');
books_are_right($standby, 'went on: inv_check() finds nothing');

# And then everybody for all that he was ever told.
my $again = Buyers->new(repeat => $buyers);
$again->point_to($standby);
$again->start;
ok($again->finish, 'everything is repeated');
brief_holds_are_swept($standby, 'repeated');
my $books = read_books($again);
cmp_ok(scalar(grep { !$there{$_} } keys %{ $books->{key} }),
	'>=', 16, 'what was lost is made anew');
books_agree($standby, $books, 'repeated');
# A hold that is lost is not found; one of which only the sale is lost may be
# sold, but no longer changed.
only_errors_are($standby, 0,
	{ map { $_ => undef } qw(IV001 IV003 IV008 08006 57P03 40P01) },
	'no errors but refusals');

$standby->stop;
done_testing();
