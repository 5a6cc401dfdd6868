# The shared lock table is full, at every moment of a call.
#
# What must never happen: that something is left of a call which found no room
# for a lock, rows as well as locks; that it ends in anything else than 53200;
# that a session cannot go on afterwards.
#
# Another session takes all room there is and gives so much of it back that a
# call comes a lock further each time, until it can be done.  The carts are such
# as need many: several SKUs in stripes, of which no single one has enough.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $node = inventory_node('shop', conf => <<'CONF');
max_locks_per_transaction = 10
max_connections = 10
max_prepared_transactions = 1
autovacuum = off
CONF
my $most = 60;

add_stock($node, map { ("S$_" => 1000) } 1 .. 12);
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('S' || n, 8) FROM generate_series(1, 12, 2) AS n;

	-- Take all room for locks but that for so many; returns how many it has.
	CREATE FUNCTION public.leave_locks(free integer) RETURNS integer LANGUAGE plpgsql AS $$
	DECLARE
		taken integer := 0;
	BEGIN
		PERFORM pg_advisory_unlock_all();
		LOOP
			BEGIN
				PERFORM pg_advisory_lock(1000 + taken);
			EXCEPTION WHEN out_of_memory THEN
				EXIT;
			END;
			taken := taken + 1;
		END LOOP;
		PERFORM pg_advisory_unlock(1000 + n) FROM generate_series(0, free - 1) AS n;
		RETURN taken - free;
	END $$;

	CREATE FUNCTION public.sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
		RETURN '00000';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;

	-- what there is: changes with anything that a call may leave behind
	CREATE FUNCTION public.books() RETURNS text LANGUAGE sql AS $$
		SELECT concat_ws(' ', (SELECT count(*) FROM inv_ledger),
			(SELECT count(*) FROM inv_reservation), (SELECT count(*) FROM inv_idempotency),
			(SELECT count(*) FROM inv_order), (SELECT sum(reserved) FROM inv_stock),
			(SELECT count(*) FROM inv_check()),
			(SELECT count(*) FROM pg_locks WHERE locktype = 'userlock'))
	$$});

my $hog = $node->background_psql('postgres');
$hog->set_query_timer_restart();
my $client = $node->background_psql('postgres', on_error_stop => 0);
$client->set_query_timer_restart();

my $carts = q{'{S1,S2,S3,S4,S5,S6,S7,S8,S9,S10,S11,S12}', '{300,5,300,5,300,5,300,5,300,5,300,5}'};
my %call = (
	inv_reserve => q{SELECT inv_reserve('S1', 300, key => 'k')},
	inv_reserve_cart => "SELECT inv_reserve_cart($carts, key => 'k')",
	inv_try_reserve_cart => "SELECT inv_try_reserve_cart($carts, key => 'k')",
	inv_reserve_batch => q{SELECT inv_reserve_batch('{S1,S2,S3,S1}', '{300,1,300,1}', '{a,b,c,d}')},
	inv_confirm => q{SELECT inv_confirm('HOLD', key => 'k')},
	inv_cancel => q{SELECT inv_cancel('HOLD', key => 'k')},
	inv_release => q{SELECT inv_release('HOLD', 'S1', 1, key => 'k')},
	inv_extend => q{SELECT inv_extend('HOLD', '20 hours', key => 'k')},
	inv_expire => 'SELECT inv_expire()',
	inv_set_stripes => q{SELECT inv_set_stripes('S3', 32)},
	inv_receive => q{SELECT inv_receive('S1', 1)},
	inv_set_stock => q{SELECT inv_set_stock('S1', 1000)},
	inv_reconcile => 'SELECT inv_reconcile()');
my $hold = $node->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve_cart($carts, ttl => '10 hours')");
$node->safe_psql('postgres', qq{
	SELECT count(inv_reserve('S' || n, 1, ttl => '1 millisecond'))
	  FROM generate_series(1, 12) AS n});
s/HOLD/$hold/ foreach values %call;

foreach my $name (sort keys %call)
{
	my $offset = -s $node->logfile;
	$client->{stderr} = '';
	my $before = $client->query_safe('SELECT public.books()');
	my (%state, $taken);

	foreach my $free (0 .. $most)
	{
		$taken = $hog->query_safe("SELECT public.leave_locks($free)");
		# in a subtransaction, and then by itself
		$client->query('BEGIN');
		my $state = $client->query(
			"SELECT public.sqlstate_of(\$call\$$call{$name}\$call\$)");
		$state = 'none' if $state eq '';
		$client->query('ROLLBACK');
		$state{$state}++;
		if ($state ne '00000')
		{
			$client->query($_) foreach 'BEGIN', $call{$name}, 'ROLLBACK';
			$client->{stderr} = '';
		}
		last if $state eq '00000';
	}
	$hog->query_safe('SELECT pg_advisory_unlock_all()');
	note "$name: ", join ', ', map { "$_ $state{$_} times" } sort keys %state;
	is(join(' ', grep { $_ ne '00000' } sort keys %state), '53200',
		"$name: without room for its locks it ends so, whichever it is that fails");
	is($state{'00000'}, 1, "$name: with room it can be done");
	only_errors_are($node, $offset, { 53200 => undef }, "$name: no other error in the log");
	$client->{stderr} = '';
	is($client->query_safe('SELECT public.books()'), $before, "$name: nothing is left behind");
}

#
# Prepared transactions
#
{
	my $offset = -s $node->logfile;
	$node->safe_psql('postgres',
		"BEGIN; SELECT inv_reserve('S2', 10, key => 'first'); PREPARE TRANSACTION 'first'");
	is(sqlstate_of($node,
			"BEGIN; SELECT inv_reserve('S4', 10, key => 'second'); PREPARE TRANSACTION 'second'"),
		'53200', 'no room for a prepared transaction');
	value_is($node, "SELECT count(*) FROM inv_idempotency WHERE key = 'second'", 0,
		'nothing is left of it');
	$node->safe_psql('postgres', "COMMIT PREPARED 'first'");
	value_is($node, "SELECT replayed FROM inv_reserve('S2', 10, key => 'first')", 't',
		'the other one is there');
	only_errors_are($node, $offset, { 53200 => 1 }, 'no other error');
}

value_is($node, "SELECT status FROM inv_confirm('$hold')", 'confirmed', 'what was held can be sold');
books_are_right($node);
$client->quit;
$hog->quit;
$node->stop;
done_testing();
