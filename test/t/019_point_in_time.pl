# A server is set back to a moment in the middle of a sale: from a base backup
# that was taken while buyers bought, and the archive of what came after.
#
# Hunted: a state that never was.  Recovery stops between two commits, so what
# is there must be the holds that the ledger of the whole sale has up to just
# that commit, and of each buyer's notes everything that he had been told by
# then and nothing that he asked for later.  And then the sale goes on from
# there: who repeats what the moment has cut off gets it once, and consumers of
# the feed never mistake the new events for the old ones.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Buyers qw(read_notes);
use BuyersBooks;
use InventoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = inventory_node('shop',
	init => { allows_streaming => 1, has_archiving => 1 },
	conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
max_worker_processes = 16
CONF

#
# The sale, and some moments of it: what to recover to, and the time before and
# after it.
#
Buyers::prepare($node);
add_stock($node, MARK => 100);
my $buyers = Buyers->new(clients => 16);
$buyers->point_to($node);
$buyers->start;
ok($buyers->wait_for_answers(20), 'the buyers are at work');
$node->backup('base');

my %moments;
my @moments = ('name', 'xid', 'time');
foreach my $moment (@moments)
{
	ok($buyers->wait_for_answers(10), "the buyers are at work before the $moment");
	my $before = time;
	my $target;
	if ($moment eq 'name')
	{
		$node->safe_psql('postgres',
			"SELECT pg_create_restore_point('in the middle')");
		$target = 'in the middle';
	}
	elsif ($moment eq 'xid')
	{
		($target) = split /\n/, $node->safe_psql('postgres', q{
			BEGIN;
			SELECT pg_current_xact_id();
			SELECT inv_reserve('MARK', 1, key => 'mark', ttl => '1 hour');
			COMMIT});
	}
	else
	{
		# Of two clocks that are the same, this one counts.
		$before = $node->safe_psql('postgres',
			'SELECT extract(epoch FROM clock_timestamp())');
		$target = $node->safe_psql('postgres', "SELECT to_timestamp($before)");
	}
	$moments{$moment} = {
		target => $target,
		before => $before,
		after => $moment eq 'time' ? $before : time
	};
}
ok($buyers->wait_for_answers(20), 'the buyers are at work after the last of them');
ok($buyers->finish, 'the sale is over');

# Let nothing more be written, and all of it be archived.
$node->safe_psql('postgres',
	'ALTER SYSTEM SET inventory_reservation.worker_enabled = off');
$node->reload;
$node->poll_query_until('postgres', q{
	SELECT count(*) = 0 FROM pg_stat_activity
	 WHERE backend_type = 'inventory_reservation worker'});
my $last = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
ok( $node->poll_query_until('postgres',
		"SELECT last_archived_wal >= '$last' FROM pg_stat_archiver"),
	'everything is archived');
books_are_right($node, 'the whole sale: inv_check() finds nothing');

# When each key was first asked for, and when its call was answered.
my (%asked, %answered);
foreach my $client (1 .. 16)
{
	my $base;
	foreach my $note (read_notes($buyers->notes_of($client)))
	{
		$base = $note if $note->{event} eq 'try';
		next if $note->{event} ne 'answer';
		$asked{ $note->{key} } = $base->{time};
		$answered{ $note->{key} } = $note->{time};
	}
}

# The transactions that the archive has from some place on.
sub committed_after
{
	my ($place) = @_;
	my ($out, $err) = ('', '');

	# It ends with an error where the archive ends.
	IPC::Run::run(
		[
			'pg_waldump', '--path', $node->archive_dir, '--timeline', 1,
			'--start', $place, '--rmgr', 'Transaction'
		],
		'<', '/dev/null', '>', \$out, '2>', \$err);
	my @xids = $out =~ /tx:\s+(\d+),[^\n]*desc: COMMIT /g;
	return @xids;
}

my $server;
my $epoch = 1;
foreach my $moment (@moments)
{
	my ($target, $before, $after) = @{ $moments{$moment} }{qw(target before after)};

	note "recover to $moment $target";
	$server = PostgreSQL::Test::Cluster->new("back_to_$moment");
	$server->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	# Others have been here before: stay on the line of the backup.
	$server->append_conf('postgresql.conf', <<"CONF");
recovery_target_$moment = '$target'
recovery_target_timeline = current
recovery_target_action = pause
CONF
	$server->start;
	ok( $server->poll_query_until('postgres',
			q{SELECT pg_get_wal_replay_pause_state() = 'paused'}),
		"$moment: there");

	# What is there can be looked at before it counts.
	books_are_right($server, "$moment: inv_check() finds nothing");
	my $place = $server->safe_psql('postgres', 'SELECT pg_last_wal_replay_lsn()');
	my @later = committed_after($place);
	cmp_ok(scalar @later, '>', 100, "$moment: it is not the end");
	my $entries = q{SELECT epoch, xid, entry_id, operation, item_id, stripe,
		delta_on_hand, delta_reserved, reservation_id FROM inv_ledger};
	my $digest = q{SELECT count(*), md5(string_agg(e::text, ',' ORDER BY e::text)) FROM (%s) AS e};
	my $then = 'xid::text <> ALL (ARRAY[' . join(',', map { "'$_'" } @later) . '])';
	is( $server->safe_psql('postgres', sprintf $digest, $entries),
		$node->safe_psql('postgres', sprintf $digest, "$entries WHERE $then"),
		"$moment: the ledger is that of the sale up to there");
	is( $server->safe_psql('postgres', sprintf $digest, q{
			SELECT reservation_id, sum(quantity) FROM inv_reservation
			 WHERE status = 'active' GROUP BY 1}),
		$node->safe_psql('postgres', sprintf $digest, qq{
			SELECT reservation_id, sum(delta_reserved) FROM inv_ledger
			 WHERE reservation_id IS NOT NULL AND $then
			 GROUP BY 1 HAVING sum(delta_reserved) <> 0}),
		"$moment: holds are what that ledger says");

	my %there = map { $_ => 1 } split /\n/, $server->safe_psql('postgres',
		"SELECT DISTINCT key FROM inv_idempotency WHERE key <> 'mark'");
	my @told = grep { $answered{$_} < $before } keys %answered;
	my @not_asked = grep { $asked{$_} > $after } keys %asked;
	cmp_ok(scalar @told, '>', 100, "$moment: something was told before");
	cmp_ok(scalar @not_asked, '>', 100, "$moment: something was asked for later");
	is(join(' ', grep { !$there{$_} } @told), '',
		"$moment: what buyers had been told is there");
	is(join(' ', grep { $there{$_} } @not_asked), '',
		"$moment: what they asked for later is not");
	value_is($server, "SELECT count(*) FROM inv_idempotency WHERE key = 'mark'",
		$moment eq 'name' ? 0 : 1, "$moment: on the right side of the mark");
	is(sqlstate_of($server, "SELECT inv_reserve('MARK', 1)"),
		'25006', "$moment: nobody writes yet");

	# The moment is the right one: go on from there.
	my $cursor = $server->safe_psql('postgres', 'SELECT inv_newest_event()');
	my $read = $server->safe_psql('postgres',
		'SELECT count(*) FROM inv_events(NULL, 10000000)');
	$server->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	ok($server->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'),
		"$moment: promoted");
	$server->safe_psql('postgres', "SELECT inv_receive('MARK', 1, key => 'after')");
	value_is($server, 'SELECT max(epoch) FROM inv_ledger',
		++$epoch, "$moment: an epoch that no other had");

	# Buyers ask once more for all that they were told in the whole sale.
	my $again = Buyers->new(repeat => $buyers);
	$again->point_to($server);
	$again->start;
	ok($again->finish, "$moment: everything is repeated");
	brief_holds_are_swept($server, "$moment, repeated");
	my $books = read_books($again);
	my $new = grep { !$there{$_} } keys %{ $books->{key} };
	cmp_ok($new, '>', 100, "$moment: of that, something had been cut off");
	$server->safe_psql('postgres', q{
		DELETE FROM inv_idempotency WHERE key IN ('mark', 'after')});
	books_agree($server, $books, "$moment, repeated");
	# What had been held up by transactions that are no more is news as well.
	ok( $server->poll_query_until('postgres', qq{
			SELECT $read + count(*) - (SELECT count(*) FROM inv_ledger),
				   count(*) FILTER (WHERE split_part(cursor, '/', 1) = '$epoch')
				   - (SELECT count(*) FROM inv_ledger WHERE epoch = $epoch)
			  FROM inv_events('$cursor', 10000000)}, '0|0'),
		"$moment: a consumer goes on where he was, and gets all that is new");
	only_errors_are($server, 0,
		{ map { $_ => undef } qw(IV001 IV003 IV008 25006 40P01) },
		"$moment: no errors but refusals");
	$server->stop;
}

$node->stop;
done_testing();
