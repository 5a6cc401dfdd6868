# A thousand people want the same thing in the same instant.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $buyers = 1000;
my $node = inventory_node('shop', conf => "deadlock_timeout = 30s\n");

add_stock($node,
	'try one' => 1, 'try hundred' => 100, 'one' => 1, 'hundred' => 100);
$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE answer (
		sku text, buyer int, hold uuid, status text, replayed boolean,
		available bigint)});

foreach my $case ([ 'try one', 1 ], [ 'try hundred', 100 ])
{
	my ($sku, $units) = @$case;
	my $losers = $buyers - $units;
	my $offset = -s $node->logfile;

	my ($status) = crowd($node, clients => $buyers, script => qq{
		INSERT INTO answer
			SELECT '$sku', :client_id, reservation_id, status, replayed, available
			  FROM inv_try_reserve('$sku', customer => 'buyer ' || :client_id);});

	is($status, 0, "$sku: every buyer's call ended well");
	value_is($node,
		"SELECT count(*), count(DISTINCT buyer) FROM answer WHERE sku = '$sku'",
		"$buyers|$buyers", "$sku: $buyers buyers have an answer");
	value_is($node,
		"SELECT count(hold), count(DISTINCT hold) FROM answer"
		  . " WHERE sku = '$sku' AND status = 'active' AND NOT replayed",
		"$units|$units", "$sku: $units of them hold it");
	value_is($node,
		"SELECT count(*) FROM answer WHERE sku = '$sku' AND hold IS NULL"
		  . " AND status IS NULL AND available = 0",
		$losers, "$sku: $losers are told that 0 are left");
	value_is($node, qq{
		SELECT count(*)
		  FROM answer
		  JOIN inv_reservation_lines AS line
			ON line.reservation_id = answer.hold
		   AND line.customer = 'buyer ' || answer.buyer
		   AND line.sku = answer.sku
		   AND line.quantity = 1 AND line.status = 'active'
		 WHERE answer.sku = '$sku'},
		$units, "$sku: the winners' holds are theirs");
	value_is($node,
		"SELECT on_hand, reserved, available FROM inv_availability"
		  . " WHERE sku = '$sku'",
		"$units|$units|0", "$sku: all of the stock is held, and no more");
	only_errors_are($node, $offset, {}, "$sku: no errors");
}

# inv_reserve() raises IV001, at which pgbench gives that client up: what the
# server logs is what the buyers were told.
foreach my $case ([ 'one', 1 ], [ 'hundred', 100 ])
{
	my ($sku, $units) = @$case;
	my $losers = $buyers - $units;
	my $offset = -s $node->logfile;

	my ($status, $stdout, $stderr) =
	  crowd($node, clients => $buyers, script => qq{
		INSERT INTO answer
			SELECT '$sku', :client_id, reservation_id, status, replayed, available
			  FROM inv_reserve('$sku', customer => 'buyer ' || :client_id);});

	my @refused = $stderr =~ /client \d+ .*aborted.*ERROR:  (.*)/g;
	is(scalar(@refused), $losers, "$sku: $losers buyers get an error");
	is(scalar(grep { $_ ne $refused[0] } @refused), 0,
		"$sku: all get the same one");
	only_errors_are($node, $offset, { IV001 => $losers },
		"$sku: insufficient stock, and no other errors");
	value_is($node,
		"SELECT count(*), count(DISTINCT hold) FROM answer"
		  . " WHERE sku = '$sku' AND status = 'active'",
		"$units|$units", "$sku: $units buyers hold it");
	value_is($node,
		"SELECT count(*) FROM inv_reservation_lines WHERE sku = '$sku'",
		$units, "$sku: nothing is left of the others");
	value_is($node,
		"SELECT on_hand, reserved, available FROM inv_availability"
		  . " WHERE sku = '$sku'",
		"$units|$units|0", "$sku: all of the stock is held, and no more");
}

# Refusing costs nothing: no transaction id, no row lock, no WAL.  The first
# round is there to tidy the pages up.
my $refuse = q{
	SELECT pg_current_wal_insert_lsn() AS before \gset
	SELECT count((inv_try_reserve('one')).available)
	  FROM generate_series(1, 1000);
	SELECT pg_current_wal_insert_lsn() - :'before' AS wal};
$node->safe_psql('postgres', $refuse);
like($node->safe_psql('postgres', $refuse), qr/^1000\n0$/,
	'1000 refusals write no WAL');
value_is($node, q{
	BEGIN;
	SELECT count((inv_try_reserve('one')).available);
	SELECT pg_current_xact_id_if_assigned() IS NULL},
	"1\nt", 'nor do they take a transaction id');
my $seller = $node->background_psql('postgres');
$seller->query_safe('BEGIN');
$seller->query_safe('SELECT item_id FROM inv_stock FOR UPDATE');
value_is($node,
	"SET lock_timeout = 100; SELECT available FROM inv_try_reserve('one')",
	0, 'nor do they wait for a stock row');
$seller->quit;

# Exactly one ledger entry for each hold that there is.
value_is($node,
	"SELECT count(*), sum(delta_reserved) FROM inv_ledger"
	  . " WHERE operation = 'reserve'",
	'202|202', 'the ledger knows the winners and nobody else');
books_are_right($node);

$node->stop;
done_testing();
