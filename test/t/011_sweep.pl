# A backlog of dead holds is swept by several sweeps at once while buyers buy:
# each hold is freed once, each stock row is written once a sweep, and a sweep
# that is killed leaves nothing half done.
use strict;
use warnings;

use InventoryTest;
use Test::More;
use Time::HiRes qw(sleep);

my $skus = 200;
my $singles = 18_000;
my $carts = 1_000;
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");

add_stock($node, map { ("S$_" => 10_000) } 1 .. $skus);
add_stock($node, R => 1_000);

sub make_dead_holds
{
	$node->safe_psql('postgres', qq{
		SELECT count(inv_reserve('S' || 1 + g % $skus, 1 + g % 3,
								 ttl => '1 millisecond'))
		  FROM generate_series(1, $singles) AS g;
		SELECT count(inv_reserve_cart(ARRAY['S' || 1 + g % $skus,
											'S' || 1 + (g * 7 + 1) % $skus],
									  '{1,2}', ttl => '1 millisecond'))
		  FROM generate_series(1, $carts) AS g;
		SELECT pg_sleep(0.01)});
	return;
}

# What sweeps say they did, for comparison with the ledger.
$node->safe_psql('postgres', q{
	CREATE TABLE swept (xid xid8, holds bigint, stock_updates bigint);

	CREATE PROCEDURE sweep(batch bigint) LANGUAGE plpgsql AS $$
	DECLARE
		stock CONSTANT oid := 'inv_stock'::regclass;
		before bigint;
		holds bigint;
	BEGIN
		LOOP
			before := pg_stat_get_xact_tuples_updated(stock);
			holds := inv_expire(batch);
			EXIT WHEN holds = 0;
			INSERT INTO swept VALUES (pg_current_xact_id(), holds,
				pg_stat_get_xact_tuples_updated(stock) - before);
			COMMIT;
		END LOOP;
	END $$;

	CREATE PROCEDURE buy(calls integer, skus integer) LANGUAGE plpgsql AS $$
	DECLARE
		hold uuid;
	BEGIN
		FOR i IN 1 .. calls LOOP
			hold := reservation_id
				FROM inv_reserve('S' || 1 + floor(random() * skus), 1,
								 key => gen_random_uuid()::text);
			COMMIT;
			IF i % 2 = 0 THEN
				PERFORM inv_confirm(hold);
			ELSE
				PERFORM inv_cancel(hold);
			END IF;
			COMMIT;
		END LOOP;
	END $$});

make_dead_holds();
my $lines = $singles + 2 * $carts;
value_is($node,
	"SELECT count(*) FROM inv_reservation WHERE expires_at <= now()",
	$lines, 'there are dead lines');

my ($status) = crowd($node,
	clients => 10,
	script => <<"SCRIPT");
\\if :client_id < 4
CALL sweep(300);
\\else
CALL buy(300, $skus);
\\endif
SCRIPT
is($status, 0, 'four sweeps and six buyers met no error');
$node->safe_psql('postgres', 'CALL sweep(100000)');

value_is($node,
	"SELECT count(*) FROM inv_reservation"
	  . " WHERE status = 'active' AND expires_at <= now()",
	0, 'nothing is dead any more');
value_is($node,
	"SELECT count(*), count(DISTINCT (reservation_id, item_id))"
	  . " FROM inv_ledger WHERE operation = 'expire'",
	"$lines|$lines", 'each line was freed once');
# a cart that lost its lines in two transactions was counted in both
value_is($node, q{
	SELECT count(*)
	  FROM (SELECT xid, count(DISTINCT reservation_id) AS holds,
				   count(DISTINCT item_id) AS stock_updates
			  FROM inv_ledger WHERE operation = 'expire' GROUP BY xid) AS made
	  FULL JOIN swept USING (xid, holds, stock_updates)
	 WHERE made.xid IS NULL OR swept.xid IS NULL},
	0, 'each sweep counted right, and wrote each stock row once');
cmp_ok($node->safe_psql('postgres', 'SELECT max(holds) FROM swept'),
	'<=', 300, 'no sweep took on more than it may');
# at worst a call takes two rows half, and one is all it needs for 100 holds
cmp_ok(
	$node->safe_psql('postgres', 'SELECT sum(stock_updates) FROM swept'),
	'<', $lines / 10, 'and few stock rows had to be written');
books_are_right($node);

# Killed in the middle: after it has begun to write, before it has done.
make_dead_holds();
$node->safe_psql('postgres', 'TRUNCATE swept');
my $dead = q{SELECT count(*), sum(quantity) FROM inv_reservation
			  WHERE status = 'active' AND expires_at <= now()};
my $before = $node->safe_psql('postgres', $dead);
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
$node->safe_psql('postgres', q{
	CREATE SEQUENCE public.written;
	CREATE FUNCTION public.wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('public.written') = tg_argv[0]::bigint THEN
			PERFORM pg_advisory_xact_lock_shared(1);
		END IF;
		RETURN new;
	END $$});
foreach my $place ([ 'UPDATE', inv_reservation => 500 ],
	[ 'UPDATE', inv_stock => 5 ], [ 'INSERT', inv_ledger => 500 ])
{
	my ($action, $table, $rows) = @$place;
	$node->safe_psql('postgres', qq{
		ALTER SEQUENCE public.written RESTART;
		CREATE TRIGGER gate BEFORE $action ON $table
			FOR EACH ROW EXECUTE FUNCTION public.wait_at_gate($rows)});
	my $sweep = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $sweep->query_safe('SELECT pg_backend_pid()');

	$sweep->{stdin} .= "SELECT inv_expire(100000);\n";
	$sweep->{run}->pump_nb;
	ok( $node->poll_query_until('postgres', qq{
			SELECT backend_xid IS NOT NULL AND wait_event = 'advisory'
			  FROM pg_stat_activity WHERE pid = $pid}),
		"a sweep is at row $rows of $table");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)");
	eval { $sweep->{run}->finish };
	$node->safe_psql('postgres', "DROP TRIGGER gate ON $table");
	value_is($node, $dead, $before, 'killed there, it has left everything as it was');
}
$gate->quit;
books_are_right($node);
$node->safe_psql('postgres', 'CALL sweep(100000)');
value_is($node,
	"SELECT count(*), count(DISTINCT (reservation_id, item_id))"
	  . " FROM inv_ledger WHERE operation = 'expire'",
	2 * $lines . '|' . 2 * $lines, 'the next sweep does it all');
books_are_right($node);

# Units that come free on a stripe that was taken away go to one that lives.
$node->safe_psql('postgres', q{SELECT inv_set_stripes('R', 16)});
($status) = pgbench($node,
	clients => 20,
	arguments => [ '--transactions', 10 ],
	scripts => { q{SELECT inv_reserve('R', 2);} => 1 });
is($status, 0, 'a SKU has holds on many stripes');
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('R', 1);
	UPDATE inv_reservation SET expires_at = now() - interval '1 second'
	 WHERE status = 'active' AND stripe > 0});
cmp_ok(
	$node->safe_psql('postgres', 'SELECT count(*) FROM inv_stock WHERE retired'),
	'>', 1, 'and then only one stripe that takes more');
$node->safe_psql('postgres', 'CALL inv_maintain()');
value_is($node,
	"SELECT count(*), sum(on_hand), sum(stripe) FROM inv_stock"
	  . " JOIN inv_item USING (item_id) WHERE sku = 'R'",
	'1|1000|0', 'after a sweep there is only that, with all units');
books_are_right($node);

only_errors_are($node, 0, { '57P01' => undef },
	'no error in the log but for what was killed');
$node->stop;
done_testing();
