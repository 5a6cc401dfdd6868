# Tables stay as large as what is kept in them, however long the shop is open:
# what goes, goes in batches whose cost depends on the batch alone, and vacuum
# can use the room again.
use strict;
use warnings;

use InventoryTest;
use JSON::PP;
use Test::More;

my $phase = ($ENV{INVENTORY_LOAD_SECONDS} || 24) / 3;
my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
inventory_reservation.reconcile_interval = 1s
inventory_reservation.idempotency_retention = 1s
inventory_reservation.reservation_retention = 1s
inventory_reservation.ledger_retention = 1s
autovacuum_naptime = 1s
autovacuum_vacuum_threshold = 200
autovacuum_vacuum_scale_factor = 0
autovacuum_analyze_threshold = 200
autovacuum_analyze_scale_factor = 0
autovacuum_vacuum_cost_delay = 0
CONF

#
# Many cycles
#

add_stock($node, map { ("S$_" => 100_000) } 1 .. 20);
$node->safe_psql('postgres', q{
	SELECT inv_confirm((inv_reserve_cart(ARRAY['S1', 'S2'], '{1,2}',
						key => 'sold ' || nr)).reservation_id)
	  FROM generate_series(1, 200) AS nr;
	CREATE TABLE sold AS SELECT order_id, reservation_id FROM inv_order;
	CREATE VIEW room AS
	SELECT relname::text, pg_total_relation_size(oid) AS bytes
	  FROM pg_class
	 WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'});

# At a pace that is the same in each phase: a hold that is given back, a cart
# that is left to die, and a keyed delivery.
my $buyer = <<'SCRIPT';
\set item random(1, 20)
\set dice random(1, 3)
\if :dice = 1
SELECT inv_cancel(reservation_id, key => gen_random_uuid()::text) FROM inv_reserve('S' || :item, 1, key => gen_random_uuid()::text);
\elif :dice = 2
SELECT inv_reserve_cart(ARRAY['S' || :item, 'S' || (1 + :item % 20)], '{1,2}', key => gen_random_uuid()::text, ttl => '100 milliseconds');
\else
SELECT inv_receive('S' || :item, 1, key => gen_random_uuid()::text);
\endif
SCRIPT

# What there is after a phase of such a load: table => bytes.
sub room_after_a_phase
{
	my ($status) = pgbench($node,
		clients => 4,
		arguments => [ '--time', $phase, '--rate', 400 ],
		scripts => { $buyer => 99, 'CALL inv_maintain();' => 1 });
	is($status, 0, 'no client met an error');
	return split /[|\n]/, $node->safe_psql('postgres', 'TABLE room');
}

my @room = map { { room_after_a_phase() } } 1 .. 3;
foreach my $table (sort keys %{ $room[0] })
{
	my @bytes = map { $_->{$table} } @room;
	# the rows of one second more or less are not what this is about
	cmp_ok($bytes[2], '<=', 1.5 * $bytes[0] + 256 * 1024,
		"$table does not grow: @bytes");
}
cmp_ok($node->safe_psql('postgres',
		"SELECT nextval('inv_ledger_entry_id_seq')"),
	'>', 100 * $phase, 'there was a load');
value_is($node, q{
	SELECT count(*)
	  FROM sold FULL JOIN inv_order USING (order_id, reservation_id)
	 WHERE (SELECT array_agg(status ORDER BY line_no) FROM inv_reservation
			 WHERE reservation_id = inv_order.reservation_id)
		   IS DISTINCT FROM ARRAY['confirmed', 'confirmed']},
	0, 'orders stay, and their lines');
cmp_ok($node->safe_psql('postgres',
		"SELECT count(*) FROM inv_reconciliation"),
	'<', 100, 'reconciliations have left no heap of rows');
value_is($node, q{
	SELECT count(*)
	  FROM inv_stock AS stock
	  LEFT JOIN (SELECT item_id, sum(delta_on_hand) AS on_hand,
						sum(delta_reserved) AS reserved
				   FROM (SELECT item_id, delta_on_hand, delta_reserved
						   FROM inv_ledger
						 UNION ALL
						 SELECT item_id, on_hand, reserved
						   FROM inv_opening_balance) AS either
				  GROUP BY item_id) AS books USING (item_id)
	 WHERE (books.on_hand, books.reserved)
		   IS DISTINCT FROM (stock.on_hand, stock.reserved)},
	0, 'opening balances and what is left of the ledger give the stock');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM inv_opening_balance'),
	'>', 10, 'and there are some');
only_errors_are($node, 0, {}, 'no error in the log');
books_are_right($node);

#
# What a batch costs
#

$node->append_conf('postgresql.conf', <<'CONF');
inventory_reservation.worker_enabled = off
inventory_reservation.idempotency_retention = 1d
inventory_reservation.reservation_retention = -1
inventory_reservation.ledger_retention = -1
autovacuum = off
CONF
$node->restart;

# Tables that have never been analyzed, and rows of three days ago, as many as
# asked for.
$node->safe_psql('postgres', q{
	DROP EXTENSION inventory_reservation;
	CREATE EXTENSION inventory_reservation SCHEMA inv});
add_stock($node, S1 => 1);
$node->safe_psql('postgres', q{
	CREATE PROCEDURE make_closed(rows bigint) LANGUAGE sql AS $$
		INSERT INTO inv_reservation
			(reservation_id, line_no, item_id, location_id, stripe, quantity,
			 unit_price, status, expires_at, created_at, closed_at)
		SELECT gen_random_uuid(), 1, 1, 0, 0, 1, 0, 'cancelled', day, day, day
		  FROM (SELECT now() - interval '3 days' + nr * interval '1 ms' AS day
				  FROM generate_series(1, rows) AS nr) AS moments
	$$;
	CREATE PROCEDURE make_keys(rows bigint) LANGUAGE sql AS $$
		INSERT INTO inv_idempotency (scope, key, request, created_at)
		SELECT 'receive', gen_random_uuid(), '{}',
			   now() - interval '3 days' + nr * interval '1 ms'
		  FROM generate_series(1, rows) AS nr
	$$;
	CREATE PROCEDURE make_entries(rows bigint) LANGUAGE sql AS $$
		INSERT INTO inv_ledger
			(at, xid, operation, item_id, location_id, stripe, delta_on_hand,
			 delta_reserved, on_hand_after, reserved_after, login_role,
			 caller_role, epoch)
		SELECT now() - interval '3 days', pg_current_xact_id(), 'adjust',
			   1, 0, 0, CASE nr % 2 WHEN 0 THEN 1 ELSE -1 END, 0, 0, 0, '', '',
			   (SELECT max(epoch) FROM inv_ledger_epoch)
		  FROM generate_series(1, rows) AS nr
	$$});

# Buffers that each of these statements touches, all in one session; between
# them others are run.
sub cost_of
{
	my (@statements) = @_;
	my $explain = 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)';
	my $out = $node->safe_psql('postgres',
		join '', map { /^SELECT/ ? "$explain $_;" : "$_;" } @statements);

	return map {
		my $plan = decode_json($_)->[0]{Plan};
		$plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'}
	} $out =~ /^(\[.*?^\])/msg;
}

sub cheap
{
	my ($name, @cost) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	# a row is found, locked and deleted, and its indexes are looked at
	cmp_ok((sort { $b <=> $a } @cost)[0], '<', 40 * 1000, "$name: @cost")
	  or diag 'buffers touched by batches of 1000';
	cmp_ok(scalar(@cost), '>', 0, 'measured');
	return;
}

my $batches = 'DO $$BEGIN FOR batch IN 1 .. 60 LOOP PERFORM inv_purge(%s); END LOOP; END$$';

# The planner believes that there is nothing, then that there is little, then
# that little of it is due, then that it would be read faster than it is found.
$node->safe_psql('postgres', 'CALL make_closed(150000)');
cheap('closed reservations, never analyzed',
	cost_of(q{SELECT inv_purge('1 day')}));
$node->safe_psql('postgres', q{
	DELETE FROM inv_reservation WHERE status = 'cancelled';
	VACUUM ANALYZE inv_reservation;
	CALL make_closed(150000)});
cheap('closed reservations, analyzed when there were none',
	cost_of(q{SELECT inv_purge('1 day')}));
$node->safe_psql('postgres', q{
	UPDATE inv_reservation SET closed_at = closed_at + interval '1000 days'
	 WHERE status = 'cancelled';
	VACUUM ANALYZE inv_reservation;
	UPDATE inv_reservation SET closed_at = closed_at - interval '1000 days'
	 WHERE status = 'cancelled'});
cheap('closed reservations, analyzed when none was due',
	cost_of(q{SELECT inv_purge('1 day')}));
$node->safe_psql('postgres', q{
	UPDATE inv_reservation
	   SET closed_at = closed_at - random() * interval '10 days'
	 WHERE status = 'cancelled';
	VACUUM ANALYZE inv_reservation});
cheap('closed reservations, in no order on disk',
	cost_of(q{SELECT inv_purge('1 day')}));

# What has gone is still there for an old snapshot, and so are its index entries.
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
cheap('closed reservations behind dead ones',
	cost_of(sprintf($batches, q{'1 day'}), q{SELECT inv_purge('1 day')}));
$node->safe_psql('postgres', 'CALL make_keys(150000)');
my (undef, $first, $last) = cost_of(('SELECT inv_purge()') x 2,
	sprintf($batches, ''), 'SELECT inv_purge()');
cheap('keys behind dead ones', $first, $last);
cmp_ok($last, '<', $first + 300, 'a session does not walk over them again');

# The ledger waits for the snapshot: otherwise each batch would leave one more
# version of an opening balance that is to be found again.
$node->safe_psql('postgres', q{
	LOAD 'inventory_reservation';
	ALTER SYSTEM SET inventory_reservation.ledger_retention = '1d';
	ALTER SYSTEM SET inventory_reservation.expire_batch_size = 100});
$node->reload;
$node->poll_query_until('postgres',
	q{SELECT current_setting('inventory_reservation.ledger_retention') = '1d'});
$node->safe_psql('postgres', q{
	TRUNCATE inv_idempotency;
	CALL inv_maintain();
	UPDATE inv_ledger SET at = at - interval '3 days';
	CALL make_entries(15000)});
my $entries = $node->safe_psql('postgres', 'SELECT count(*) FROM inv_ledger');
$node->safe_psql('postgres', 'CALL inv_maintain(); CALL inv_maintain()');
value_is($node, 'SELECT count(*) FROM inv_ledger', $entries - 10_000,
	'the ledger waits when an old snapshot has seen 100 batches');
books_are_right($node);
$old->quit;
$node->safe_psql('postgres', 'CALL inv_maintain()');
value_is($node, 'SELECT count(*) FROM inv_ledger',
	0, 'and goes on when that is gone');

# A key that is busy when its turn comes is not forgotten by the session that
# went past it.
$node->safe_psql('postgres', 'CALL make_keys(350)');
my $busy = $node->background_psql('postgres');
$busy->query_safe('BEGIN; SELECT key FROM inv_idempotency'
	  . ' ORDER BY created_at LIMIT 1 FOR UPDATE');
my $purge = $node->background_psql('postgres');
is($purge->query_safe('SELECT inv_purge()'), 100, 'a full batch, without it');
$busy->query_safe('ROLLBACK');
is($purge->query_safe('SELECT inv_purge()'), 100, 'the batches go on');
is($purge->query_safe('SELECT inv_purge()'), 100, 'and on');
is($purge->query_safe('SELECT inv_purge()'), 50, 'to the last, with it');
value_is($node, 'SELECT count(*) FROM inv_idempotency', 0, 'no key is left');
$_->quit foreach $busy, $purge;

books_are_right($node);
$node->stop;
done_testing();
