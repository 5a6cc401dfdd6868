# One request, sent fifty times at once: by an impatient buyer, a load
# balancer, a queue that delivers at least once.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $twins = 50;
my $node = inventory_node('shop');

add_stock($node, 'A' => 100, 'B' => 100, 'scarce' => 3);
$node->safe_psql('postgres', q{
	CREATE TABLE answer (test text, client int, id uuid, replayed boolean)});

# One statement from all clients at once; all of them are to be told the same
# id, and all but one that it is a repeat.
sub twins
{
	my ($test, $call, %option) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $offset = -s $node->logfile;

	my ($status) = crowd($node, clients => $twins, %option, script => qq{
		INSERT INTO answer
			SELECT '$test', :client_id, id, replayed FROM $call;});
	is($status, 0, "$test: no client gets an error");
	value_is($node,
		"SELECT count(*), count(DISTINCT id), count(id),"
		  . " count(*) FILTER (WHERE replayed) FROM answer"
		  . " WHERE test = '$test'",
		join('|', $twins, 1, $twins, $twins - 1),
		"$test: one does it, the others are told the same");
	only_errors_are($node, $offset, {}, "$test: no errors in the log");
	return $node->safe_psql('postgres',
		"SELECT DISTINCT id FROM answer WHERE test = '$test'");
}

# The number of ledger entries and holds that one reservation has.
sub movements
{
	my ($id, $operation) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT count(*), sum(delta_on_hand), sum(delta_reserved)
		  FROM inv_ledger
		 WHERE reservation_id = '$id' AND operation = '$operation'});
}

my $hold = twins('reserve',
	"inv_reserve('A', 3, key => 'k') AS hold(id, status, ends, replayed)");
is(movements($hold, 'reserve'), '1|0|3', 'reserve: one stock movement');
value_is($node,
	"SELECT reserved, available FROM inv_availability WHERE sku = 'A'",
	'3|97', 'reserve: one hold');

# The one that does it takes the last units: nobody may hear "sold out".
$hold = twins('the last units',
	"inv_try_reserve('scarce', 3, key => 'last') AS hold(id, status, ends, replayed)");
is(movements($hold, 'reserve'), '1|0|3', 'the last units: one stock movement');

$hold = twins('cart',
	"inv_reserve_cart('{B,A}', '{1,2}', key => 'k') AS hold(id, status, ends, replayed)");
is(movements($hold, 'reserve'), '2|0|3', 'cart: one stock movement a line');

my $order = twins('confirm',
	"inv_confirm('$hold', key => 'k') AS sale(id, status, total, replayed)");
is(movements($hold, 'confirm'), '2|-3|-3', 'confirm: sold once');
value_is($node, 'SELECT order_id FROM inv_order', $order, 'confirm: one order');

$hold = $node->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve('B', 4)");
twins('confirm without a key',
	"inv_confirm('$hold') AS sale(id, status, total, replayed)");
is(movements($hold, 'confirm'), '1|-4|-4', 'confirm without a key: sold once');

$hold = $node->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve('B', 5)");
twins('cancel',
	"inv_cancel('$hold', key => 'k') AS hold(id, status, replayed)");
is(movements($hold, 'cancel'), '1|0|-5', 'cancel: given back once');

$hold = $node->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve('B', 5)");
twins('release',
	"inv_release('$hold', 'B', 2, key => 'k') AS hold(id, status, replayed)");
is(movements($hold, 'release'), '1|0|-2', 'release: shrunk once');

# The first one is still at it when the others come, and then takes it back:
# one of the others does it.
my $first = $node->background_psql('postgres');
my $given_up;
$hold = twins(
	'the first rolls back',
	"inv_reserve('A', 7, key => 'undone') AS hold(id, status, ends, replayed)",
	before_open => sub {
		$first->query_safe('BEGIN');
		$given_up = $first->query_safe(
			"SELECT reservation_id FROM inv_reserve('A', 7, key => 'undone')");
	},
	after_open => sub {
		$node->poll_query_until('postgres',
			"SELECT count(*) = $twins FROM pg_locks"
			  . " WHERE locktype = 'transactionid' AND NOT granted")
		  or die 'not all twins wait for the first';
		$first->query_safe('ROLLBACK');
	});
isnt($hold, $given_up, 'the first rolls back: its hold is not the one');
is(movements($hold, 'reserve'), '1|0|7',
	'the first rolls back: one stock movement');
value_is($node,
	"SELECT count(*) FROM inv_reservation WHERE reservation_id = '$given_up'",
	0, 'the first rolls back: nothing is left of its hold');

# The same, and the first commits: it is its hold that everybody gets.
$first->query_safe('BEGIN');
$hold = $first->query_safe(
	"SELECT reservation_id FROM inv_reserve('A', 8, key => 'done')");
crowd($node, clients => $twins,
	script => q{INSERT INTO answer
		SELECT 'the first commits', :client_id, reservation_id, replayed
		  FROM inv_reserve('A', 8, key => 'done');},
	after_open => sub { $first->query_safe('COMMIT') });
$first->quit;
value_is($node,
	"SELECT count(*), bool_and(id = '$hold'), bool_and(replayed) FROM answer"
	  . " WHERE test = 'the first commits'",
	"$twins|t|t", 'the first commits: all others replay it');
is(movements($hold, 'reserve'), '1|0|8',
	'the first commits: one stock movement');

# One key for fifty different requests: one of them has it, and the others are
# told that it is taken.
my $offset = -s $node->logfile;
my ($status, $stdout, $stderr) =
  crowd($node, clients => $twins, script => q{
	INSERT INTO answer
		SELECT 'different', :client_id, reservation_id, replayed
		  FROM inv_reserve('B', 1 + :client_id % 25, customer => :client_id::text,
						   key => 'different');});
only_errors_are($node, $offset, { IV005 => $twins - 1 },
	'different requests: all but one get IV005');
value_is($node,
	"SELECT count(*), count(DISTINCT id) FROM answer WHERE test = 'different'",
	'1|1', 'different requests: one hold');

books_are_right($node);

$node->stop;
done_testing();
