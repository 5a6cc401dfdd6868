# Stripes that come by themselves where buyers queue, go again when it is calm,
# and are there from the start where the shop wants it so.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = inventory_node('shop', conf => "inventory_reservation.auto_stripes = 8\n");
add_stock($node, 'plenty' => 1000, 'scarce' => 20, 'once' => 1000, 'crowded' => 100_000);

sub stripes_of
{
	my ($sku) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*) FILTER (WHERE NOT retired), sum(on_hand), sum(reserved)"
		  . " FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = '$sku'");
}

# One buyer has the row, some wait for it; then he ends.
sub let_buyers_queue
{
	my ($sku, $buyers) = @_;
	my $holder = $node->background_psql('postgres');
	my @waiters;

	$holder->query_safe("BEGIN; SELECT inv_reserve('$sku')");
	foreach my $number (1 .. $buyers // 2)
	{
		push @waiters,
		  IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'),
				'-c', "SELECT status FROM inv_reserve('$sku')" ],
			'<', \'', '>', \my $out, '2>', \my $err,
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
		$node->poll_query_until('postgres',
			"SELECT count(*) = $number FROM pg_locks"
			  . " WHERE locktype = 'userlock' AND NOT granted")
		  or die 'nobody waits';
	}
	$holder->query_safe('COMMIT');
	$holder->quit;
	ok($_->finish, "$sku: a buyer who queued is served") foreach @waiters;
}

is(stripes_of('plenty'), '1|1000|0', 'stock comes in one piece');
let_buyers_queue('plenty');
is(stripes_of('plenty'), '8|1000|3', 'it is spread when buyers queue');
is($node->safe_psql('postgres', q{
	SELECT max(on_hand - reserved) - min(on_hand - reserved) <= 2
	  FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = 'plenty'}),
	't', 'evenly');
is($node->safe_psql('postgres', "SELECT inv_available('plenty')"), '997',
	'nothing is lost');
let_buyers_queue('scarce');
is(stripes_of('scarce'), '1|20|3', 'too little to be worth it stays in one piece');

# Whoever comes after the one who has spread it, and was there before that, has
# others behind him as well.
let_buyers_queue('once', 5);
is(stripes_of('once'), '8|1000|6', 'of five who queue one spreads it');
is($node->safe_psql('postgres', q{
	SELECT count(DISTINCT xid) FROM inv_ledger JOIN inv_item USING (item_id)
	 WHERE sku = 'once' AND operation = 'restripe'}),
	'1', 'and the others leave it at that');
{
	my $offset = -s $node->logfile;
	my ($status) = crowd($node, clients => 60,
		script => "SELECT inv_reserve_cart('{crowded,plenty}', '{1,1}', ttl => '1 hour');\n" x 5);

	is($status, 0, 'a crowd is served while the stripes come');
	is(stripes_of('crowded'), '8|100000|300', 'all of it, from all of them');
	only_errors_are($node, $offset, {}, 'without errors');
	$node->safe_psql('postgres', q{
		SELECT count(inv_cancel(reservation_id))
		  FROM inv_reservation WHERE line_no = 2 AND status = 'active'});
}

$node->safe_psql('postgres', 'CALL inv_maintain()');
is(stripes_of('plenty'), '8|1000|3', 'stripes stay while they are in use');
$node->safe_psql('postgres',
	"UPDATE inv_stock SET updated_at = updated_at - interval '6 minutes'");
$node->safe_psql('postgres', 'CALL inv_maintain()');
is(stripes_of('plenty'), '1|1000|3', 'and go when it is calm');
$node->safe_psql('postgres',
	'SELECT inv_cancel(reservation_id) FROM inv_active_holds');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = 'plenty'}),
	'1', 'with the last hold the last of them is gone');
is($node->safe_psql('postgres', 'SELECT count(*) FROM inv_check()'), '0',
	'inv_check() finds nothing');

$node->append_conf('postgresql.conf',
	"inventory_reservation.auto_stripes = 1\ninventory_reservation.default_stripes = 4\n");
$node->reload;
add_stock($node, 'new' => 10);
is(stripes_of('new'), '4|10|0', 'default_stripes is for new stock');
$node->safe_psql('postgres', q{
	SELECT inv_add_item('known');
	SELECT inv_load_stock('{loaded,few,none,known}', '{10,2,0,7}', reason => 'load')});
is(stripes_of('loaded'), '4|10|0', '... that is loaded, too');
is(stripes_of('known'), '4|7|0', '... also of a SKU that was there');
is($node->safe_psql('postgres', q{
	SELECT sku, array_agg(on_hand ORDER BY stripe), sum(version),
		   (SELECT array_agg(delta_on_hand ORDER BY entry.stripe) FROM inv_ledger AS entry
			 WHERE entry.item_id = stock.item_id AND reason = 'load')
	  FROM inv_stock AS stock JOIN inv_item AS item ON item.item_id = stock.item_id
	 WHERE sku IN ('loaded', 'few', 'none') GROUP BY stock.item_id, sku ORDER BY sku}),
	"few|{1,1,0,0}|2|{1,1}\nloaded|{3,3,2,2}|2|{3,3,2,2}\nnone|{0,0,0,0}|1|", '... evenly, and only units are in the ledger');
let_buyers_queue('plenty');
is(stripes_of('plenty'), '1|1000|3', 'auto_stripes = 1 leaves it alone');
is($node->safe_psql('postgres', 'SELECT count(*) FROM inv_check()'), '0',
	'inv_check() finds nothing in the end');

$node->stop;
done_testing();
