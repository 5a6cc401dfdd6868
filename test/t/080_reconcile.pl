# Reconciliation while the shop is open: no false alarm among buyers, sweeps,
# stripes and purges; what somebody has changed by hand is found and repaired
# under their feet; a run that is interrupted loses nothing.
use strict;
use warnings;

use InventoryTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 20;
my $skus = 40;
my $node = inventory_node('shop', conf => <<'CONF');
inventory_reservation.expire_batch_size = 300
inventory_reservation.idempotency_retention = 2s
deadlock_timeout = 100ms
CONF

add_stock($node, map { ("S$_" => 100_000) } 1 .. $skus);
add_stock($node, HOT => 10_000_000);
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('HOT', 4);
	CREATE TABLE runs (findings bigint, first text)});

# A cart, and then it is left to die, sold, cancelled or shrunk.
my $buyer = <<"SCRIPT";
\\set first random(1, $skus)
\\set second random(1, $skus)
\\set dice random(1, 4)
SELECT reservation_id AS hold FROM inv_reserve_cart(ARRAY['S' || :first, 'S' || :second, 'HOT'], '{1,2,1}', key => gen_random_uuid()::text, ttl => CASE :dice WHEN 1 THEN interval '20 milliseconds' ELSE interval '1 hour' END) \\gset
\\if :dice = 2
SELECT inv_confirm(':hold', key => gen_random_uuid()::text);
\\elif :dice = 3
SELECT inv_cancel(':hold', key => gen_random_uuid()::text);
\\elif :dice = 4
SELECT inv_release(':hold', 'S' || :first, 1);
\\endif
SCRIPT

sub run_recorded
{
	my ($arguments) = @_;

	return "INSERT INTO runs SELECT count(*), min(finding || ' ' || found || ' ' || expected)"
	  . " FROM inv_reconcile($arguments);";
}

# One client reconciles, all the others buy and tidy up.  With several at it, a
# busy machine would have one always at work and others waiting, and the purge
# of the ledger, which waits for nobody, would never have its turn.
my $reconciler = join "\n", '\set dice random(1, 8)',
	'\if :dice <= 3', run_recorded(''),
	'\elif :dice <= 6', run_recorded('true'),
	'\elif :dice = 7', run_recorded('complete => true'),
	'\else', run_recorded('true, true'),
	'\endif', '\sleep 100 ms';

sub beside_reconciler
{
	my ($script) = @_;

	return "\\if :client_id = 0\n$reconciler\n\\else\n$script\n\\endif\n";
}

my ($status) = pgbench($node,
	clients => 16,
	arguments => [ '--time', $seconds ],
	scripts => {
		beside_reconciler($buyer) => 4000,
		beside_reconciler('SELECT inv_expire(50);') => 100,
		beside_reconciler("SELECT inv_purge('300 milliseconds');") => 800,
		beside_reconciler("\\set stripes random(1, 8)\nSELECT inv_set_stripes('HOT', :stripes);") => 20,
	});
is($status, 0, 'no client met an error');
only_errors_are($node, 0, {}, 'no error in the log');
value_is($node, 'SELECT max(first) FROM runs', '', 'no false alarm');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM runs'), '>', 8,
	'in many runs');
cmp_ok($node->safe_psql('postgres',
		"SELECT count(*) FROM inv_ledger WHERE operation = 'reconcile'"),
	'==', 0, 'so nothing was repaired');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM inv_opening_balance'),
	'>', 10, 'while the purge was at work');
books_are_right($node);

# Somebody changes things by hand, each kind of row in turn, while 16 buy; then
# a complete repair puts right what a machine can.
my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/buyer.sql", $buyer);
my $offset = -s $node->logfile;
my $load = IPC::Run::start(
	[
		'pgbench', '--no-vacuum', '--client', 16, '--jobs', 2,
		'--time', 600, '--rate', 300, '--file', "$dir/buyer.sql", $node->connstr('postgres')
	],
	'<', \'', '>', \my $stdout, '2>', \my $stderr,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
sleep 1;

sub finding_of
{
	my ($name, $tamper, $finding, $arguments) = @_;

	$node->safe_psql('postgres', $tamper);
	$arguments = 'true' if !defined $arguments;
	my $found = $node->safe_psql('postgres',
		"SELECT finding, coalesce(action, 'none') FROM inv_reconcile($arguments)");
	note $found;
	like($found, qr/^\Q$finding\E\|(?!none|left|not)/m, "repaired: $name");
	$found =~ s/^\Q$finding\E\|.*\n?//mg;
	return $found;
}

sub item { return "(SELECT item_id FROM inv_item WHERE sku = '$_[0]')" }

my $held = 'reserved differs from the active lines';
finding_of('reserved is too high',
	"UPDATE inv_stock SET reserved = reserved + 7 WHERE item_id = " . item('S1'), $held);
finding_of('reserved is too low',
	"UPDATE inv_stock SET reserved = reserved / 2 WHERE item_id = " . item('S2'), $held);
finding_of('on_hand, which stays',
	"UPDATE inv_stock SET on_hand = on_hand + 13 WHERE item_id = " . item('S3'),
	'on_hand differs from the ledger');
finding_of('a line',
	"UPDATE inv_reservation SET quantity = quantity + 5 WHERE ctid = (SELECT ctid FROM inv_reservation"
	  . " WHERE status = 'active' AND item_id = " . item('S4')
	  . " AND expires_at > now() + interval '10 minutes' LIMIT 1)", $held);
finding_of('a stripe of the hot SKU, over which all fight',
	"UPDATE inv_stock SET reserved = reserved + 3 WHERE stripe = 0 AND item_id = " . item('HOT'), $held);
finding_of('earliest_expiry',
	"UPDATE inv_stock SET earliest_expiry = 'infinity' WHERE item_id = " . item('S6')
	  . "; SELECT inv_reserve('S6', ttl => '50 minutes');"
	  . "UPDATE inv_stock SET earliest_expiry = 'infinity' WHERE item_id = " . item('S6'),
	'a hold dies before earliest_expiry');
finding_of('a ledger entry that was rewritten',
	"UPDATE inv_ledger SET delta_on_hand = delta_on_hand + 100 WHERE (epoch, xid, entry_id) ="
	  . " (SELECT epoch, xid, entry_id FROM inv_ledger WHERE item_id = " . item('S7') . ' LIMIT 1)',
	'on_hand differs from the ledger', 'true, true');
finding_of('a key that points nowhere',
	"INSERT INTO inv_idempotency VALUES ('reserve', 'lost', '{}', gen_random_uuid(), NULL, now())",
	'key of a hold that does not exist');

# what is left for a person does not keep the rest from being repaired
my $left = finding_of('stock, with an order that is gone beside it',
	'DELETE FROM inv_order WHERE order_id = (SELECT order_id FROM inv_order LIMIT 1);'
	  . 'UPDATE inv_stock SET reserved = reserved + 1 WHERE item_id = ' . item('S8'), $held, 'true, true');
like($left, qr/^confirmed reservation without an order\|left for a person$/m,
	'an order is for a person');

is($load->pumpable ? 'running' : "ended: $stderr", 'running', 'all the while the shop was open');
$load->signal('TERM');
$load->finish;
unlike($stderr, qr/ERROR/, 'and no buyer met an error');
# (08006: a buyer whom TERM has ended while he was being answered)
only_errors_are($node, $offset, { '57014' => undef, '08006' => undef }, 'nor did the server');
value_is($node, "SELECT count(*) >= 7, bool_and(reason LIKE 'reserved was%') FROM inv_ledger WHERE operation = 'reconcile'",
	't|t', 'the ledger tells what was done, and why');
value_is($node, 'SELECT violation FROM inv_check()',
	'confirmed reservation without an order', 'nothing else is wrong');
$node->safe_psql('postgres', q{
	DELETE FROM inv_reservation AS line WHERE status = 'confirmed'
	   AND NOT EXISTS (SELECT FROM inv_order AS sale WHERE sale.reservation_id = line.reservation_id);
	SELECT inv_reconcile(true, true)});
books_are_right($node);

# A row that somebody keeps locked is waited for, no longer than lock_timeout.
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT 1 FROM inv_stock WHERE item_id = ' . item('S1') . ' FOR UPDATE');
$node->safe_psql('postgres', 'SELECT 1');
$locker->query_safe('UPDATE inv_stock SET reserved = reserved + 1 WHERE item_id = ' . item('S1'));
value_is($node, 'SELECT count(*) FROM inv_reconcile()', 0, 'what is not committed is not wrong');
$locker->query_safe('COMMIT; BEGIN; SELECT 1 FROM inv_stock WHERE item_id = ' . item('S1') . ' FOR UPDATE');
is(sqlstate_of($node, "SET lock_timeout = '200ms'; SELECT count(*) FROM inv_reconcile(true)"),
	'55P03', 'a repair waits for a row as a buyer does');
value_is($node, 'SELECT count(*) FROM inv_reconcile()', 2, 'finding waits for nobody');
$locker->query_safe('ROLLBACK');

# One run at a time: a second one waits for the first.
$locker->query_safe('BEGIN; SELECT count(*) FROM inv_reconcile()');
is(sqlstate_of($node, "SET lock_timeout = '200ms'; SELECT count(*) FROM inv_reconcile()"),
	'55P03', 'one run at a time');
$locker->query_safe('COMMIT');
$locker->quit;
value_is($node, "SELECT count(*) FROM inv_reconcile(true) WHERE action LIKE 'reserved set%'", 2, 'repaired');
books_are_right($node);

# Nobody sweeps here.  On a slow machine the dead holds of the buyers would by now
# be among what is wrong, and take the place of the rest.
$node->safe_psql('postgres', 'SELECT inv_expire(100000)');

# More than a batch of repairs: the rest is for the next run.
add_stock($node, map { ("B$_" => 10) } 1 .. 350);
value_is($node, 'SELECT count(*) FROM inv_reconcile()', 0, 'new stock is right');
$node->safe_psql('postgres', q{
	UPDATE inv_stock SET on_hand = on_hand + 1
	  FROM inv_item AS item WHERE item.item_id = inv_stock.item_id AND item.sku LIKE 'B%'});
my $batch = "SELECT count(*) FILTER (WHERE action LIKE 'ledger corrected%'),"
  . " count(*) FILTER (WHERE action LIKE 'left for the next run%') FROM inv_reconcile(true)";
value_is($node, $batch, '300|50', 'a run repairs no more than a batch');
value_is($node, $batch, '50|0', 'the next the rest');
books_are_right($node);

# Changed by hand without an entry, far from everything: found once the slices
# have come round.  25,000 stock rows are three slices.
$node->safe_psql('postgres', q{
	SELECT count(*) FROM inv_load_stock(
		(SELECT array_agg('Q' || lpad(n::text, 6, '0') ORDER BY n) FROM generate_series(1, 25000) AS n),
		(SELECT array_agg(5) FROM generate_series(1, 25000)));
	SELECT count(*) FROM inv_reconcile(complete => true)});
value_is($node, 'SELECT count(*) FROM inv_reconcile()', 0, 'nothing has changed');
$node->safe_psql('postgres',
	'UPDATE inv_stock SET reserved = 1 WHERE item_id = ' . item('Q024990'));
my $runs = 0;
my $found = 0;
while (!$found && $runs < 10)
{
	$found = $node->safe_psql('postgres', 'SELECT count(*) FROM inv_reconcile()');
	$runs++;
}
is($found, 2, 'a quiet row is found');
cmp_ok($runs, '>', 1, 'not by the first run, which looks at a slice');
cmp_ok($runs, '<=', 4, 'but once round');
# what was found is looked at again by each run, until it is right
value_is($node, 'SELECT count(*) FROM inv_reconcile()', 2, 'it is found again by the next');
value_is($node, 'SELECT count(*) FROM inv_reconcile(true)', 2, 'which repairs it');
value_is($node, 'SELECT count(*) FROM inv_reconcile()', 0, 'then no more');
# of an active SKU at once
$node->safe_psql('postgres', "SELECT inv_reserve('Q012345');"
	  . 'UPDATE inv_stock SET reserved = 0 WHERE item_id = ' . item('Q012345'));
value_is($node, 'SELECT count(*) FROM inv_reconcile(true)', 2, 'what has a ledger entry is found at once');
books_are_right($node);

# A crash in the middle: all of the run is gone, and nothing else.
$node->safe_psql('postgres', 'UPDATE inv_stock SET reserved = 1 WHERE item_id = ' . item('Q012346'));
my $pid_file = $node->data_dir . '/postmaster.pid';
my $run = $node->background_psql('postgres', on_error_stop => 0);
$run->{stdin} .= "SELECT count(*) FROM inv_reconcile(true, true);\n";
$run->{run}->pump_nb;
sleep 0.3;
$node->stop('immediate');
eval { $run->{run}->finish };
$node->start;
value_is($node, "SELECT count(*) FROM inv_reconcile(true, true) WHERE action LIKE 'reserved set%'", 2,
	'after a crash it is found again');
books_are_right($node);

$node->stop;
done_testing();
