# Stripes come and go under a crowd of buyers.
#
# While they do, nobody is told "sold out" as long as the sum suffices, nobody
# waits in a circle, and the books are right at every moment.  In the end not a
# unit has been lost.
use strict;
use warnings;

use InventoryTest;
use Test::More;

# Whatever one waits for here is over at once, so any deadlock is a mistake.
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");
my @skus = map { "S$_" } 1 .. 4;
my $received = 200_000;

add_stock($node, map { ($_ => $received) } @skus);
add_stock($node, 'single' => 200, 'triple' => 600, 'still' => 1000);
$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE public.answer (sku text, buyer int, hold uuid);
	CREATE UNLOGGED TABLE public.violation (at timestamptz, violation text, sku text,
		location text, stripe int, reservation_id uuid, order_id uuid, found text,
		expected text)});

# At most 20 clients hold at most 3000 units each at a time that they mean to
# give back, and sell a few: the sum always suffices, on any stripe or on none.
my $sku = "'S' || :sku";
my $draw = "\\set sku random(1, 4)\n\\set other random(1, 4)\n";
my $offset = -s $node->logfile;
my ($status, $stdout) = pgbench($node,
	clients => 20,
	arguments => [ '--time', 8 ],
	scripts => {
		# one unit: kept, sold, given back, left to die
		qq{$draw SELECT inv_reserve($sku, ttl => '1 hour');} => 4,
		qq{$draw
			SELECT reservation_id AS hold FROM inv_reserve($sku, 3, ttl => '1 hour') \\gset
			SELECT inv_confirm(':hold');} => 4,
		qq{$draw
			SELECT reservation_id AS hold FROM inv_reserve($sku) \\gset
			SELECT inv_cancel(':hold');} => 4,
		qq{$draw SELECT inv_reserve($sku, 2, ttl => '1 millisecond');} => 2,
		qq{SELECT inv_expire(20);} => 1,
		# more than any stripe has
		qq{$draw
			SELECT reservation_id AS hold FROM inv_reserve($sku, 3000) \\gset
			SELECT inv_release(':hold', $sku, 2999);
			SELECT inv_confirm(':hold');} => 2,
		# carts in any order, and twice of the same
		qq{$draw
			SELECT reservation_id AS hold FROM inv_reserve_cart(ARRAY[$sku, 'S' || :other], '{2,5}') \\gset
			SELECT order_id AS sale FROM inv_confirm(':hold') \\gset
			SELECT inv_return(':sale', $sku, 1);} => 3,
		qq{$draw
			SELECT reservation_id AS hold FROM inv_reserve_cart(ARRAY[$sku, 'S' || :other], '{500,700}') \\gset
			SELECT inv_cancel(':hold');} => 2,
		qq{$draw
			SELECT reservation_id AS hold FROM inv_reserve($sku, 10) \\gset
			SELECT order_id AS sale FROM inv_confirm(':hold') \\gset
			SELECT inv_cancel_order(':sale');} => 2,
		# the shop
		qq{$draw\\set stripes random(1, 64)\nSELECT inv_set_stripes($sku, :stripes);} => 3,
		qq{$draw SELECT inv_receive($sku, 7); SELECT inv_adjust($sku, -7);} => 1,
		# units that move and are never sold: at any moment there are so many
		q{\set stripes random(1, 64)
			SELECT inv_set_stripes('still', :stripes);} => 1,
		q{BEGIN;
			SELECT inv_reserve('still', 700);
			ROLLBACK;} => 1,
		q{SELECT 1 / (inv_available('still') = 1000)::integer;
			SELECT 1 / (available = 1000)::integer FROM inv_availability WHERE sku = 'still';} => 2,
		q{INSERT INTO public.violation SELECT clock_timestamp(), found.* FROM inv_check() AS found;
			SELECT set_config('application_name', 'checked', false);} => 1
	});
is($status, 0, 'every call went well');
only_errors_are($node, $offset, {}, 'nobody was refused, and no deadlock');
value_is($node, 'TABLE public.violation', '', 'the books were right all the while');
value_is($node,
	"SELECT count(*) > 100, count(DISTINCT stripe) > 16, count(DISTINCT xid) > 50"
	  . " FROM inv_ledger WHERE operation = 'restripe'",
	't|t|t', 'stripes came and went meanwhile');

my $kept = q{
	SELECT item.sku, (SELECT sum(on_hand) FROM inv_stock AS stock WHERE stock.item_id = item.item_id)
		+ coalesce((SELECT sum(quantity - returned) FROM inv_reservation AS line
					  JOIN inv_order USING (reservation_id)
					 WHERE line.item_id = item.item_id
					   AND inv_order.status <> 'cancelled'), 0)
	  FROM inv_item AS item WHERE item.sku LIKE 'S_' ORDER BY item.sku};
my $all = join "\n", map { "$_|$received" } @skus;

value_is($node, $kept, $all, 'what was received is there or sold');
books_are_right($node);

# Back to one stripe; the others go with their last holds.
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes(sku, 1) FROM inv_item;
	SELECT count(inv_cancel(reservation_id))
	  FROM (SELECT DISTINCT reservation_id FROM inv_reservation WHERE status = 'active') AS held;
	CALL inv_maintain()});
value_is($node, $kept, $all, 'and still is when all is given back');
value_is($node, q{
	SELECT sku, count(*), sum(reserved), bool_or(retired), inv_available(sku) = sum(on_hand)
	  FROM inv_stock JOIN inv_item USING (item_id) WHERE sku LIKE 'S_'
	 GROUP BY sku ORDER BY sku},
	(join "\n", map { "$_|1|0|f|t" } @skus), 'on one stripe each');
books_are_right($node);

# As many buyers as there are units to be had, while stripes change: the last
# unit is gathered from wherever it is.  200 singles; 200 times three of 600.
foreach my $case ([ 'single', 1 ], [ 'triple', 3 ])
{
	my ($exact, $quantity) = @$case;

	$offset = -s $node->logfile;
	$node->safe_psql('postgres', "SELECT inv_set_stripes('$exact', 64)");
	my ($status) = crowd($node,
		clients => 200,
		script => qq{
			INSERT INTO public.answer
				SELECT '$exact', :client_id, reservation_id
				  FROM inv_try_reserve('$exact', $quantity, ttl => '1 hour');},
		after_open => sub {
			$node->safe_psql('postgres', "SELECT inv_set_stripes('$exact', $_)")
			  foreach 7, 64, 2, 33, 1, 16;
		});
	is($status, 0, "$exact: every call went well");
	only_errors_are($node, $offset, {}, "$exact: no errors");
	value_is($node,
		"SELECT count(*), count(hold), count(DISTINCT hold) FROM public.answer WHERE sku = '$exact'",
		'200|200|200', "$exact: all 200 buyers hold theirs");
	value_is($node,
		"SELECT available, reserved = on_hand FROM inv_availability WHERE sku = '$exact'",
		'0|t', "$exact: now it is sold out");
	value_is($node, "SELECT reservation_id IS NULL FROM inv_try_reserve('$exact')",
		't', "$exact: and only now somebody is told so");
	value_is($node, qq{
		SELECT count(*), count(DISTINCT reservation_id)
		  FROM inv_reservation_lines WHERE sku = '$exact' AND quantity = $quantity},
		'200|200', "$exact: each on one line, wherever it was gathered from");
	books_are_right($node, "$exact: inv_check() finds nothing");
}

$node->stop;
done_testing();
