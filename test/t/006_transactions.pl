# Holds inside the caller's transactions: prepared ones, also across a crash;
# several calls in one statement; and clients that retry at 40001.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $node = inventory_node('shop');

add_stock($node, 'A' => 100, 'B' => 100, 'few' => 7, 'hot' => 100_000,
	map { ("C$_" => 100_000) } 1 .. 5);

sub stock_is
{
	my ($sku, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return value_is($node,
		"SELECT on_hand, reserved, available FROM inv_availability"
		  . " WHERE sku = '$sku'",
		$expected, $name);
}

my $short_wait = 'SET lock_timeout = 300;';

#
# Prepared transactions
#

my $to_sell = $node->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve('B', 10, ttl => '1 hour')");
my $to_keep = $node->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve('B', 20, ttl => '1 hour')");

my $commits = $node->safe_psql('postgres', q{
	BEGIN;
	SELECT reservation_id FROM inv_reserve('A', 3, key => 'commits', ttl => '1 hour');
	PREPARE TRANSACTION 'commits'});
stock_is('A', '100|0|100', 'nobody sees a prepared hold');
is(sqlstate_of($node, "$short_wait SELECT inv_reserve('A', 1)"),
	'55P03', 'the stock it has touched is locked');
is( sqlstate_of(
		$node, "$short_wait SELECT inv_reserve('A', 3, key => 'commits', ttl => '1 hour')"),
	'55P03', 'and so is its key');

$node->safe_psql('postgres', qq{
	BEGIN;
	SELECT inv_confirm('$to_sell', key => 'sells');
	PREPARE TRANSACTION 'sells'});
is(sqlstate_of($node, "$short_wait SELECT inv_cancel('$to_sell')"),
	'55P03', 'the hold that a prepared transaction sells is locked');

$node->stop('immediate');
$node->start;

value_is($node, 'SELECT count(*) FROM pg_prepared_xacts', 2,
	'both survive a crash');
stock_is('A', '100|0|100', 'nobody sees them after it');
is(sqlstate_of($node, "$short_wait SELECT inv_reserve('A', 1)"),
	'55P03', 'the stock is still locked');
is( sqlstate_of(
		$node, "$short_wait SELECT inv_reserve('A', 3, key => 'commits', ttl => '1 hour')"),
	'55P03', 'and so is the key');
$node->safe_psql('postgres', "COMMIT PREPARED 'commits'");
$node->safe_psql('postgres', "COMMIT PREPARED 'sells'");
stock_is('A', '100|3|97', 'COMMIT PREPARED: it is held');
value_is($node,
	"SELECT reservation_id, replayed FROM inv_reserve('A', 3, key => 'commits', ttl => '1 hour')",
	"$commits|t", 'COMMIT PREPARED: the key replays');
stock_is('B', '90|20|70', 'COMMIT PREPARED: it is sold');
value_is($node,
	"SELECT count(*) FROM inv_order WHERE reservation_id = '$to_sell'",
	1, 'COMMIT PREPARED: the order is there');

$node->safe_psql('postgres', qq{
	BEGIN;
	SELECT inv_reserve_cart('{A,B}', '{5,6}', key => 'undone');
	SELECT inv_cancel('$to_keep', key => 'undone');
	SELECT inv_expire();
	PREPARE TRANSACTION 'undone'});
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', "ROLLBACK PREPARED 'undone'");
stock_is('A', '100|3|97', 'ROLLBACK PREPARED: nothing is held');
stock_is('B', '90|20|70', 'ROLLBACK PREPARED: nothing is given back');
value_is($node,
	"SELECT replayed FROM inv_reserve_cart('{A,B}', '{5,6}', key => 'undone')",
	'f', 'ROLLBACK PREPARED: the key was not used');
value_is($node,
	"SELECT status, replayed FROM inv_cancel('$to_keep', key => 'undone')",
	'cancelled|f', 'ROLLBACK PREPARED: the hold can be cancelled');
books_are_right($node);

#
# Savepoints and several calls in one transaction
#

$node->safe_psql('postgres', q{
	BEGIN;
	SELECT inv_reserve('few', 2, key => 'outer');
	SAVEPOINT s;
	SELECT inv_reserve('few', 5, key => 'inner');
	ROLLBACK TO s;
	SELECT inv_reserve('few', 4, key => 'inner');
	RELEASE s;
	COMMIT});
stock_is('few', '7|6|1', 'a savepoint rolled back gives its stock back');
value_is($node,
	"SELECT count(*) FROM inv_idempotency WHERE key IN ('outer', 'inner')",
	2, 'and its key');

# A loop that catches the error of each call that fails.
$node->safe_psql('postgres', q{
	SELECT inv_receive('few', 6);
	DO $$
	DECLARE
		refused int := 0;
	BEGIN
		FOR i IN 1 .. 10 LOOP
			BEGIN
				PERFORM inv_reserve('few', 2);
			EXCEPTION WHEN SQLSTATE 'IV001' THEN
				refused := refused + 1;
			END;
		END LOOP;
		IF refused <> 7 THEN
			RAISE 'refused %', refused;
		END IF;
	END
	$$});
stock_is('few', '13|12|1', 'three of ten fit, and seven were caught');

# Calls in one statement see each other.
value_is($node, q{
	WITH calls AS MATERIALIZED (
		SELECT n, (inv_try_reserve('A', 10)).available
		  FROM generate_series(1, 10) AS n)
	SELECT string_agg(available::text, ' ' ORDER BY n) FROM calls},
	'82 72 62 52 42 32 22 12 2 2',
	'ten calls in one statement each see the ones before');
value_is($node, q{
	SELECT count(DISTINCT hold.reservation_id),
		   count(*) FILTER (WHERE hold.replayed)
	  FROM generate_series(1, 10) AS n, inv_reserve('B', 1 + n * 0, key => 'one') AS hold},
	'1|9', 'and so do ten with one key');
books_are_right($node);

#
# Clients that have one snapshot for the whole transaction, and retry
#

foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $transactions = 25;
	my $clients = 8;
	my $offset = -s $node->logfile;
	my $before = $node->safe_psql('postgres',
		"SELECT on_hand FROM inv_availability WHERE sku = 'hot'");

	# Hold two, sell them, hold one more; a cart too.  The first statement
	# takes the snapshot.
	my ($status, $stdout) = pgbench($node,
		clients => $clients,
		arguments => [
			'--transactions', $transactions, '--max-tries', 100_000
		],
		scripts => {
			qq{
				\\set c1 random(1, 5)
				\\set c2 random(1, 5)
				BEGIN ISOLATION LEVEL $level;
				SELECT count(*) FROM inv_item;
				SELECT reservation_id AS hold FROM inv_reserve('hot', 2, ttl => '1 hour') \\gset
				SELECT inv_confirm(':hold');
				SELECT inv_reserve('hot', 1, ttl => '1 hour');
				SELECT inv_reserve_cart(ARRAY['C' || :c1, 'C' || :c2], '{1,1}', ttl => '1 hour');
				COMMIT;
			} => 1
		});
	my $done = $clients * $transactions;
	my $on_hand = $before - 2 * $done;

	is($status, 0, "$level: all clients got through");
	like($stdout,
		qr/number of transactions actually processed: $done\/$done/,
		"$level: every transaction came to its end");
	my $errors = logged_errors($node, $offset);
	cmp_ok($errors->{'40001'} || 0, '>', 0, "$level: some had to retry");
	only_errors_are($node, $offset, { '40001' => undef, '40P01' => undef },
		"$level: never anything worse");
	value_is($node,
		"SELECT on_hand FROM inv_availability WHERE sku = 'hot'",
		$on_hand, "$level: sold exactly once each");
	books_are_right($node, "$level: inv_check() finds nothing");
}
value_is($node, q{
	SELECT sum(reserved) FROM inv_availability WHERE sku = 'hot'},
	400, 'held exactly once each');
value_is($node, q{
	SELECT sum(reserved) FROM inv_availability WHERE sku LIKE 'C_'},
	800, 'and so are the carts');

$node->stop;
done_testing();
