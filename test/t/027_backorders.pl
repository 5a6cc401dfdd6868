# Backorders under load: a crowd of buyers holds, pays, pays late, gives up and
# lets die what is not there, while the shop receives it in small lots.
#
# The ledger is then read as the story of one queue for each SKU
# (Simulator::Queue), which in the end has to be the queue in the tables.  Every
# transaction makes one call, so there may be no deadlock.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../simulator";

use InventoryTest;
use Simulator::Queue;
use Test::More;

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 10;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

$node->safe_psql('postgres', q{
	SELECT inv_add_item(sku, unit_price => 1), inv_set_policy(sku, backorder_limit => backorders)
	  FROM (VALUES ('Q1', 60), ('Q2', 1000), ('Q3', NULL)) AS item (sku, backorders);

	CREATE TABLE made (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid);
	CREATE TABLE refused (state text);
	CREATE FUNCTION some_sku() RETURNS text
	RETURN 'Q' || 1 + floor(random() * 3)::integer;
	-- one that was made not long ago
	CREATE FUNCTION some_hold() RETURNS uuid LANGUAGE sql AS $$
	SELECT id FROM made
	 WHERE place > (SELECT max(place) FROM made) - (random() * 40)::integer
	 ORDER BY place LIMIT 1
	$$;

	CREATE FUNCTION make(ttl interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO made (id)
	SELECT reservation_id FROM inv_try_reserve(some_sku(), 1 + floor(random() * 4)::bigint, ttl => ttl)
	 WHERE reservation_id IS NOT NULL
	$$;
	CREATE FUNCTION make_cart(ttl interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO made (id)
	SELECT reservation_id FROM inv_try_reserve_cart('{Q3,Q1,Q2}', '{2,1,3}', ttl => ttl)
	 WHERE reservation_id IS NOT NULL
	$$;
	CREATE FUNCTION make_batch() RETURNS void LANGUAGE sql AS $$
	INSERT INTO made (id)
	SELECT reservation_id FROM inv_reserve_batch('{Q1,Q2,Q1,Q2}', '{1,2,2,1}')
	 WHERE reservation_id IS NOT NULL
	$$;
	-- a call that may come too late for its hold, or its order
	CREATE FUNCTION try(call text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE call USING some_hold();
	EXCEPTION WHEN OTHERS THEN
		IF SQLSTATE !~ '^IV0' AND SQLSTATE <> '22023' THEN
			RAISE;
		END IF;
		INSERT INTO refused VALUES (SQLSTATE);
	END $$});

my $order_of = '(SELECT order_id FROM inv_order WHERE reservation_id = $1)';
my ($status) = pgbench($node,
	clients => 16,
	arguments => [ '--time', $seconds ],
	scripts => {
		q{SELECT make('1 hour');} => 20,
		q{SELECT make('20 milliseconds');} => 10,
		q{SELECT make_cart('1 hour');} => 5,
		q{SELECT make_cart('10 milliseconds');} => 3,
		q{SELECT make_batch();} => 3,
		q{SELECT try('SELECT inv_confirm($1)');} => 12,
		q{SELECT try('SELECT inv_confirm($1, retake => true)');} => 6,
		q{SELECT try('SELECT inv_cancel($1)');} => 8,
		q{SELECT try(format('SELECT inv_release($1, %L, 1)', some_sku()));} => 4,
		qq{SELECT try(\$\$SELECT inv_cancel_order(id) FROM $order_of AS sale (id) WHERE id IS NOT NULL\$\$);} => 3,
		qq{SELECT try(format(\$\$SELECT inv_return(id, %L, 1) FROM $order_of AS sale (id) WHERE id IS NOT NULL\$\$, some_sku()));} => 3,
		q{SELECT inv_receive(some_sku(), 1 + floor(random() * 4)::bigint);} => 20,
		q{SELECT try(format('SELECT inv_adjust(%L, -3) WHERE $1 IS NOT NULL', some_sku()));} => 4,
		q{SELECT inv_expire(10);} => 2,
		q{SELECT 1 / (count(*) = 0)::integer FROM inv_check();} => 1,
	});
is($status, 0, 'no client met an error that it did not expect');
only_errors_are($node, 0, {}, 'no deadlock and no other error in the log');
books_are_right($node);

# The story of a SKU; returns what happened how often.
sub story_of
{
	my ($sku) = @_;
	my ($wrong, $queue, $happened) = Simulator::Queue::replay(
		map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres',
			"$Simulator::Queue::entries AND item.sku = '$sku' ORDER BY entry.entry_id"));

	is($wrong, undef, "$sku: the ledger tells of one queue");
	is($node->safe_psql('postgres', qq{
			SELECT string_agg(format('%s %s', reservation_id, quantity), E'\n' ORDER BY since, reservation_id)
			  FROM inv_backorder JOIN inv_item USING (item_id) WHERE sku = '$sku'}),
		join("\n", map { "$_->{hold} $_->{units}" } @$queue), "$sku: which is the one in the table");
	note "$sku: ", join ', ', map { "$_ $happened->{$_}" } sort keys %$happened;
	return %$happened;
}

my %happened;
foreach my $sku (qw(Q1 Q2 Q3))
{
	my %times = story_of($sku);
	$happened{$_} += $times{$_} foreach keys %times;
}
cmp_ok($happened{$_} // 0, '>', 0, "it happened: $_")
  foreach ('backorder', 'fill_backorder', 'partly filled', 'given up', 'owed by age', 'owed more', 'adjust', 'expire', 'cancel',
	'release', 'return', 'cancel_order', 'retake');

# what is said of each line is what is in the queue, and nothing of a dead one
value_is($node, q{
	SELECT count(*) FROM inv_reservation_lines AS line
	  LEFT JOIN inv_backorder AS owed USING (reservation_id, line_no)
	 WHERE line.backordered <> CASE WHEN line.status IN ('active', 'confirmed')
									THEN coalesce(owed.quantity, 0) ELSE 0 END},
	0, 'each line says what it lacks');
value_is($node, q{
	SELECT count(*) FROM inv_order,
		   inv_order_status(order_id) AS state,
		   LATERAL (SELECT coalesce(sum(quantity), 0) AS units FROM inv_backorder
					 WHERE inv_backorder.reservation_id = inv_order.reservation_id) AS owed
	 WHERE state.backordered <> owed.units},
	0, 'so does each order');

# all that is owed comes, and the rest is free
$node->safe_psql('postgres', q{
	SELECT inv_expire(10000);
	SELECT inv_receive(sku, units)
	  FROM (SELECT sku, sum(quantity)::bigint AS units FROM inv_backorder
			  JOIN inv_item USING (item_id) GROUP BY sku) AS owed});
value_is($node, 'SELECT count(*) FROM inv_backorder', 0, 'what is received fills all');
books_are_right($node);

$node->stop;
done_testing();
