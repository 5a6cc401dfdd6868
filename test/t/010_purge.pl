# What is old is deleted while the shop is open: keys, closed reservations and
# ledger entries go, and at no moment do the books stop adding up.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 12;
my $units = 100_000;
my $node = inventory_node('shop', conf => <<'CONF');
inventory_reservation.idempotency_retention = 1s
inventory_reservation.expire_batch_size = 300
deadlock_timeout = 100ms
CONF

add_stock($node, map { ("S$_" => $units) } 1 .. 10);
$node->safe_psql('postgres', q{
	CREATE TABLE sold (id uuid, sale uuid);
	CREATE TABLE done (what text, result text)});

# A cart, and then, by a throw of dice: it is left to die, sold, cancelled,
# shrunk and left.  One call a transaction.
my $buyer = <<'SCRIPT';
\set first random(1, 10)
\set second random(1, 10)
\set dice random(1, 4)
SELECT reservation_id AS hold FROM inv_reserve_cart(ARRAY['S' || :first, 'S' || :second], '{1,2}', key => gen_random_uuid()::text, ttl => CASE :dice WHEN 1 THEN interval '20 milliseconds' ELSE interval '1 hour' END) \gset
\if :dice = 2
INSERT INTO sold SELECT ':hold', order_id FROM inv_confirm(':hold', key => gen_random_uuid()::text);
\elif :dice = 3
SELECT inv_cancel(':hold', key => gen_random_uuid()::text);
\elif :dice = 4
SELECT inv_release(':hold', 'S' || :first, 1);
\endif
SCRIPT

my ($status) = pgbench($node,
	clients => 12,
	arguments => [ '--time', $seconds ],
	scripts => {
		$buyer => 80,
		q{INSERT INTO done SELECT 'purge', inv_purge('300 milliseconds');} => 10,
		q{INSERT INTO done SELECT 'sweep', inv_expire(50);} => 5,
		q{INSERT INTO done
			SELECT 'check', coalesce(max(violation), 'right') FROM inv_check();} => 5
	});

is($status, 0, 'no client met an error');
only_errors_are($node, 0, {}, 'no error in the log');
value_is($node, "SELECT DISTINCT result FROM done WHERE what = 'check'",
	'right', 'inv_check() found nothing at any moment');
books_are_right($node);
cmp_ok($node->safe_psql('postgres',
		"SELECT sum(result::bigint) FROM done WHERE what = 'purge'"),
	'>', 5000, 'there was much to purge');
cmp_ok($node->safe_psql('postgres',
		"SELECT sum(result::bigint) FROM done WHERE what = 'sweep'"),
	'>', 0, 'and to sweep');

# Now everything that may go goes.
$node->safe_psql('postgres', q{
	SELECT pg_sleep(1.1);
	CALL inv_maintain();
	SELECT inv_cancel(reservation_id) FROM inv_active_holds;
	SELECT pg_sleep(1.1)});
for (my $left = 1; $left > 0;)
{
	$left = $node->safe_psql('postgres', "SELECT inv_purge('0')");
}
value_is($node, 'SELECT count(*) FROM inv_idempotency', 0, 'no key is left');
value_is($node,
	"SELECT count(*) FROM inv_reservation WHERE status <> 'confirmed'",
	0, 'no reservation is left that was not sold');
value_is($node, q{
	SELECT count(*)
	  FROM sold FULL JOIN inv_order ON sale = order_id
	 WHERE sale IS NULL OR order_id IS NULL
		OR NOT EXISTS (SELECT FROM inv_reservation
						WHERE reservation_id = inv_order.reservation_id)},
	0, 'every order is left, with its lines');
value_is($node,
	'SELECT (SELECT count(*) FROM inv_ledger), count(*), count(DISTINCT item_id)'
	  . ' FROM inv_opening_balance',
	'0|10|10', 'the ledger is one opening balance a stock row');
value_is($node, qq{
	SELECT count(*)
	  FROM inv_availability AS stock
	  JOIN inv_item USING (sku)
	 WHERE on_hand <> $units - (SELECT coalesce(sum(quantity), 0)
								  FROM inv_reservation
								  JOIN sold ON id = reservation_id
								 WHERE item_id = inv_item.item_id)
		OR reserved <> 0},
	0, 'on hand is what was there less what was sold');
books_are_right($node);

$node->stop;
done_testing();
