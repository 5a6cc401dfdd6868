# The background worker reconciles: by itself, in pieces, and nothing that
# happens to a piece keeps it from the rest.
use strict;
use warnings;

use InventoryTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
inventory_reservation.reconcile_interval = 1s
CONF

sub item { return "(SELECT item_id FROM inv_item WHERE sku = '$_[0]')" }

# Ask until the answer is right, for a minute at most.
sub becomes
{
	my ($sql, $expected, $name) = @_;
	my $until = time + 60;
	my $found = '';

	while ($found ne $expected && time < $until)
	{
		$found = $node->safe_psql('postgres', $sql);
		sleep 0.1;
	}
	is($found, $expected, $name);
	return;
}

my $resting = "SELECT detail ->> 'phase' FROM inv_progress WHERE task = 'reconcile'";
my $runs = 'SELECT reconciliations FROM inv_stat';

# A run that begins after this moment has ended.
sub run_passes
{
	my $before = $node->safe_psql('postgres', $runs);
	becomes("SELECT ($runs) >= $before + 2", 't', 'a run has passed');
	return;
}

# Nothing is written where there is nothing: a restore would collide with it.
sleep 3;
value_is($node, 'SELECT count(*) FROM inv_progress', 0, 'an empty shop is left alone');
add_stock($node, map { ("S$_" => 100) } 1 .. 20);
becomes("SELECT reconciliations > 0 FROM inv_stat", 't', 'the worker reconciles by itself');
value_is($node, 'SELECT count(*) FROM inv_reconciliation', 0, 'and finds nothing');

# without reconcile_repair it only reports
$node->safe_psql('postgres', 'UPDATE inv_stock SET reserved = 5 WHERE item_id = ' . item('S1'));
becomes("SELECT count(*), count(*) FILTER (WHERE action = 'none, a dry run') FROM inv_reconciliation",
	'2|2', 'it reports');
my $first = $node->safe_psql('postgres', 'SELECT min(since), max(run) FROM inv_reconciliation');
my ($since, $run) = split /\|/, $first;
run_passes() for 1 .. 2;
becomes("SELECT count(*), min(run) = max(run) AND min(run) > $run, min(since) = '$since' FROM inv_reconciliation",
	'2|t|t', 'again in each run, in the same rows');
value_is($node, 'SELECT reserved FROM inv_stock WHERE item_id = ' . item('S1'), 5,
	'and repairs nothing');
value_is($node, 'SELECT drifts_found > 2, drifts_repaired FROM inv_stat', 't|0', 'inv_stat tells');

# with it, it repairs
$node->append_conf('postgresql.conf', "inventory_reservation.reconcile_repair = on\n");
$node->reload;
becomes('SELECT count(*) FROM inv_check()', 0, 'with reconcile_repair it is repaired');
value_is($node, "SELECT count(*), min(caller_role) = min(login_role) FROM inv_ledger WHERE operation = 'reconcile'",
	'1|t', 'with an entry');
cmp_ok($node->safe_psql('postgres', 'SELECT drifts_repaired FROM inv_stat'), '>', 0, 'inv_stat tells');

# A stock row that somebody keeps locked does not keep the others from it.
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT 1 FROM inv_stock WHERE item_id = ' . item('S3') . ' FOR UPDATE');
my $offset = -s $node->logfile;
$node->safe_psql('postgres', q{
	INSERT INTO inv_ledger (at, xid, operation, item_id, location_id, stripe, delta_on_hand,
		delta_reserved, on_hand_after, reserved_after, login_role, caller_role, epoch)
	SELECT now(), pg_current_xact_id(), 'adjust', item_id, 0, 0, 7, 0, 107, 0, 'nobody', 'nobody',
		   (SELECT max(epoch) FROM inv_ledger_epoch)
	  FROM inv_item WHERE sku = 'S3';
	UPDATE inv_stock SET reserved = 3 WHERE item_id = } . item('S4'));
becomes('SELECT reserved FROM inv_stock WHERE item_id = ' . item('S4'), 0,
	'a row behind one that is locked is repaired');
becomes("SELECT count(*) > 0 FROM inv_reconciliation WHERE action LIKE 'not repaired: the attempt failed%'",
	't', 'what could not be is said');
$locker->quit;
becomes('SELECT count(*) FROM inv_check()', 0, 'and is repaired when it is free');
only_errors_are($node, $offset, { '55P03' => undef }, 'nothing else in the log');

# A crash in the middle of a run that takes many pieces: the next server goes on.
$node->safe_psql('postgres', q{
	SELECT count(*) FROM inv_load_stock(
		(SELECT array_agg('Q' || n) FROM generate_series(1, 60000) AS n),
		(SELECT array_agg(5) FROM generate_series(1, 60000)));
	DELETE FROM inv_progress WHERE task = 'ledger balance'});
my $until = time + 60;
my $phase = '';
while ($phase ne 'stock' && time < $until)
{
	$phase = $node->safe_psql('postgres', $resting);
}
is($phase, 'stock', 'a complete run has begun');
my $at = "SELECT detail ->> 'run', (detail ->> 'item_id')::bigint FROM inv_progress WHERE task = 'reconcile'";
$node->stop('immediate');
$node->start;
my ($number) = split /\|/, $node->safe_psql('postgres', $at);
becomes("SELECT (detail ->> 'last_ended')::bigint >= $number FROM inv_progress WHERE task = 'reconcile'",
	't', 'it ends after the crash');
value_is($node, "SELECT count(*) FROM inv_reconciliation WHERE run >= $number", 0, 'and finds nothing');
$node->safe_psql('postgres', 'UPDATE inv_stock SET on_hand = 6 WHERE item_id = ' . item('Q59999'));
becomes("SELECT count(*) FROM inv_ledger WHERE operation = 'reconcile' AND item_id = " . item('Q59999'), 1,
	'a quiet row is found when the slices come round');
run_passes();
becomes("SELECT count(*) FROM inv_check()", 0, 'inv_check() finds nothing');

# A run by hand beside the worker waits its turn, no more.
value_is($node, 'SELECT count(*) FROM inv_reconcile(complete => true)', 0, 'a run by hand beside the worker');
books_are_right($node);
$node->stop;
done_testing();
