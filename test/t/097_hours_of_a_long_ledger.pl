# An hour of a long ledger: 30,000 and 300,000 entries, or with FULL=1 ten
# million.
#
# What must never happen: that asking for one hour costs more the longer the
# ledger is.  Counted are the pages that each view touches for an hour of 1,000
# entries, in a short ledger and in a long one.  Nobody pays for that when
# buying: there is no index on the time, but upkeep notes where the hours are.
# Before it has, an answer is dear, and the same.
use strict;
use warnings;

use InventoryTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $short = 30_000;
my $long = $ENV{FULL} ? 10_000_000 : 300_000;
my $node = inventory_node('shop', conf => <<'CONF');
inventory_reservation.worker_enabled = off
autovacuum = off
jit = off
synchronous_commit = off
max_wal_size = 4GB
CONF

# A ledger of so many entries, the last of them an hour ago, in transactions of
# two: a thousand an hour, on a hundred SKUs, three holds of which one is sold
# and one dies.  They come from another server: an epoch before this one's.
sub ledger
{
	my ($database, $entries) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{
		CREATE EXTENSION inventory_reservation;
		SELECT count(inv_add_item('S' || n)) FROM generate_series(1, 100) AS n;
		INSERT INTO inv_ledger
			(at, xid, operation, item_id, location_id, stripe, delta_on_hand, delta_reserved,
			 on_hand_after, reserved_after, login_role, caller_role, epoch)
		SELECT date_trunc('hour', now(), 'UTC') - ($entries - n + 1) * interval '3.6 seconds',
			   (n / 2 + 1)::text::xid8,
			   (ARRAY['reserve', 'confirm', 'reserve', 'expire', 'reserve'])[n % 5 + 1],
			   n % 100 + 1, 0, 0, -(n % 5 = 1)::integer,
			   CASE WHEN n % 5 IN (1, 3) THEN -1 ELSE 1 END, 1000, 10, 'a', 'b', 0
		  FROM generate_series(1, $entries) AS n;
		SELECT inv_receive('S1', 1);
		VACUUM ANALYZE});
	return;
}

my @views = qw(inv_ledger_by_hour inv_hold_conversion inv_sell_through inv_sold_out);

sub hour { return "date_trunc('hour', now(), 'UTC') - interval '$_[0] hours'" }

# The columns that a view has, of an hour so long ago.
sub of_hour
{
	my ($view, $ago) = @_;
	return "SELECT * FROM $view WHERE hour = " . hour($ago);
}

sub plan_of
{
	my ($database, $query) = @_;
	return decode_json($node->safe_psql($database, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) $query"))->[0]{Plan};
}

# The parts of a plan that read a table.
sub scans_of
{
	my ($plan, $table) = @_;
	my @scans = ($plan->{'Relation Name'} // '') eq $table ? $plan : ();

	return @scans, map { scans_of($_, $table) } @{ $plan->{Plans} || [] };
}

# Pages of the ledger and of its index.  What else there is to read, the items of
# the result for one, does not depend on how long the ledger is.
sub pages_of
{
	my ($plan) = @_;
	my $pages = 0;

	$pages += $_->{'Shared Hit Blocks'} + $_->{'Shared Read Blocks'} foreach scans_of($plan, 'inv_ledger');
	return $pages;
}

sub answers
{
	my ($database) = @_;
	return join "\n", map { $node->safe_psql($database, of_hour($_, 20) . ' ORDER BY 1, 2, 3') } @views[ 1 .. $#views ];
}

my %pages;
foreach my $ledger ([ 'short', $short ], [ 'long', $long ])
{
	my ($database, $entries) = @$ledger;
	ledger($database, $entries);
	my $before = answers($database);

	is($node->safe_psql($database, q{SELECT count(*) FROM inv_ledger_hour}), '0', "$database: no hours are noted yet");
	$node->safe_psql($database, 'CALL inv_maintain(); VACUUM ANALYZE');
	is($node->safe_psql($database, q{SELECT count(*) FROM inv_ledger_hour WHERE epoch = 0}),
		$entries / 1000, "$database: upkeep has noted each hour");
	is(answers($database), $before, "$database: the answers are what they were without");
	is($node->safe_psql($database, qq{
		SELECT sum(holds), sum(units_held), sum(units_confirmed), sum(units_expired), min(conversion)
		  FROM inv_hold_conversion WHERE hour = } . hour(20)),
		'600|600|200|200|0.0000', "$database: an hour has what was put into it");
	is($node->safe_psql($database, q{SELECT count(*) - (SELECT count(*) FROM inv_ledger) FROM inv_ledger_by_hour}),
		'0', "$database: each entry is in one hour");

	foreach my $view (@views)
	{
		my $plan = plan_of($database, of_hour($view, 20));
		my @scans = scans_of($plan, 'inv_ledger');

		$pages{$view}{$database} = pages_of($plan);
		cmp_ok(scalar(@scans), '>', 0, "$database: $view reads the ledger");
		is(scalar(grep { $_->{'Node Type'} !~ /^(Index|Bitmap)/ } @scans), 0,
			"$database: $view reads the ledger by index");
	}
}

# An index of the long ledger may have two levels more, and is gone through up
# to four times.
foreach my $view (@views)
{
	note "$view: $pages{$view}{short} pages of $short entries, $pages{$view}{long} of $long";
	cmp_ok($pages{$view}{long}, '<=', $pages{$view}{short} + 8,
		"$view touches no more pages in a ledger that is " . $long / $short . ' times as long');
	cmp_ok($pages{$view}{long}, '<', 100, "$view touches few");
}

# Two hours cost twice as much, a day twenty-four times: it is the range that counts.
my $day = plan_of('long', 'SELECT * FROM inv_hold_conversion WHERE hour >= ' . hour(26) . ' AND hour < ' . hour(2));
cmp_ok(pages_of($day), '<', 30 * $pages{inv_hold_conversion}{long}, 'a day costs as much as its hours');

# What upkeep has not noted yet is read as well, and only that.
$node->safe_psql('long', q{SELECT inv_reserve('S1')});
is($node->safe_psql('long', q{
	SELECT sku, units_held FROM inv_hold_conversion WHERE hour >= date_trunc('hour', now(), 'UTC') - interval '1 hour' AND sku = 'S1' ORDER BY hour DESC LIMIT 1}),
	'S1|1', 'a hold of just now is there');

only_errors_are($node, 0, {}, 'nothing went wrong');
done_testing();
