# To refuse is cheap: whoever asks for what is sold out takes no transaction
# id, no lock on a row, and writes nothing, neither WAL nor a row version.
#
# Reading prunes pages and sets hint bits, which may write WAL, so everything
# is vacuumed first, and nothing else runs.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $node = inventory_node('shop',
	conf => "autovacuum = off\nbgwriter_lru_maxpages = 0\ncheckpoint_timeout = 1h\n");

add_stock($node, map { ($_ => 64) } 'one', 'striped', 'retired', 'gathered');
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('striped', 16), inv_set_stripes('retired', 16),
		   inv_set_stripes('gathered', 64);
	SELECT count(inv_reserve(sku, 1 + n * 0, ttl => '20 hours'))
	  FROM generate_series(1, 63) AS n,
		   unnest('{one,striped,retired,gathered}'::text[]) AS sku;
	SELECT inv_reserve(sku, 1, key => 'the last of ' || sku, ttl => '20 hours')
	  FROM unnest('{one,striped,retired}'::text[]) AS sku;
	SELECT inv_set_stripes('retired', 1)});
value_is($node, q{
	SELECT sku, count(*), count(*) FILTER (WHERE retired), inv_available(sku)
	  FROM inv_stock JOIN inv_item USING (item_id) GROUP BY sku ORDER BY sku},
	"gathered|64|0|1\none|1|0|0\nretired|16|15|0\nstriped|16|0|0",
	'the stock is what this test is about');

# What the server has written, locked and left behind.
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.dead_rows() RETURNS bigint LANGUAGE sql AS $$
		SELECT sum(n_dead_tup + n_tup_ins + n_tup_upd + n_tup_del)
		  FROM pg_stat_user_tables WHERE schemaname = 'inv'
	$$;
	CREATE FUNCTION public.row_locks() RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*) FROM pg_locks
		 WHERE pid = pg_backend_pid()
		   AND (locktype IN ('tuple', 'userlock', 'transactionid')
				OR mode NOT IN ('AccessShareLock', 'ExclusiveLock', 'RowShareLock', 'RowExclusiveLock'))
	$$;
	CREATE FUNCTION public.refused(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
		RETURN false;
	EXCEPTION WHEN SQLSTATE 'IV001' THEN
		RETURN true;
	END
	$$});

my %call = (
	'inv_try_reserve' =>
	  sub { "SELECT reservation_id IS NULL FROM inv_try_reserve($_[0])" },
	# an exception block is a subtransaction, which takes no id unless it writes
	'inv_reserve' =>
	  sub { my $call = $_[0]; $call =~ s/'/''/g; "SELECT public.refused('SELECT inv_reserve($call)')" },
	'inv_try_reserve_cart' => sub {
		my ($sku, $rest) = split /, /, $_[0], 2;
		my ($quantity, $key) = split /, /, $rest, 2;
		"SELECT reservation_id IS NULL FROM inv_try_reserve_cart(ARRAY[$sku], ARRAY[$quantity]"
		  . ($key ? ", $key" : '') . ')';
	},
	'inv_reserve_lines' => sub {
		my ($sku, $quantity, $key) = $_[0] =~ /^'(\w+)', (\d+)(?:, (.*))?$/;
		my $call = qq{inv_reserve_lines('[{"sku": "$sku", "quantity": $quantity}]'}
		  . ($key ? ", $key" : '') . ')';
		$call =~ s/'/''/g;
		"SELECT public.refused('SELECT $call')";
	},
	'inv_reserve_batch' => sub {
		my ($sku, $quantity, $key) = $_[0] =~ /^('\w+'), (\d+)(?:, key => (.*))?$/;
		"SELECT error = 'IV001' FROM inv_reserve_batch(ARRAY[$sku], ARRAY[$quantity]"
		  . ($key ? ", keys => ARRAY[$key]" : '') . ')';
	});

foreach my $case (
	[ 'one', 1 ],
	[ 'striped', 1 ],
	[ 'striped', 5 ],
	[ 'retired', 1 ],
	[ 'gathered', 2 ],
	[ 'gathered', 1000 ])
{
	my ($sku, $quantity) = @$case;

	foreach my $key ('', ", key => 'no luck'")
	{
		my $offset = -s $node->logfile;

		foreach my $function (sort keys %call)
		{
			my $refuse = $call{$function}->("'$sku', $quantity$key");
			my $name = "$function, $quantity of $sku" . ($key ? ', keyed' : '');

			$node->safe_psql('postgres', 'VACUUM');
			# once for caches and hint bits, then for the record
			is( $node->safe_psql('postgres', qq{
					$refuse;
					SELECT pg_stat_force_next_flush();
					SELECT public.dead_rows() AS rows_before \\gset
					SELECT pg_current_wal_insert_lsn() AS wal_before \\gset
					BEGIN;
					$refuse;
					$refuse;
					SELECT pg_current_xact_id_if_assigned() IS NULL;
					SELECT public.row_locks();
					COMMIT;
					SELECT pg_current_wal_insert_lsn() - :'wal_before';
					SELECT pg_stat_force_next_flush();
					SELECT public.dead_rows() - :rows_before}),
				"t\n\nt\nt\nt\n0\n0\n\n0",
				"$name: no transaction id, no row lock, no WAL, no row");
		}
		only_errors_are($node, $offset, {}, "$quantity of $sku: no error but the one caught");
	}
}

# All rows of stock are locked by somebody else: nobody who is refused waits.
my $seller = $node->background_psql('postgres');
$seller->query_safe('BEGIN');
$seller->query_safe('SELECT count(*) FROM (SELECT FROM inv_stock FOR UPDATE) AS row');
foreach my $case ([ 'one', 1 ], [ 'striped', 1 ], [ 'retired', 1 ], [ 'gathered', 2 ])
{
	my ($sku, $quantity) = @$case;
	value_is($node,
		"SET lock_timeout = 100; SELECT reservation_id IS NULL FROM inv_try_reserve('$sku', $quantity)",
		't', "$sku: refused without waiting for a row");
}
$seller->quit;

# The same questions do notice one who is served.
is( $node->safe_psql('postgres', q{
		SELECT pg_current_wal_insert_lsn() AS wal_before \gset
		BEGIN;
		SELECT status FROM inv_try_reserve('gathered', 1);
		SELECT pg_current_xact_id_if_assigned() IS NULL;
		SELECT public.row_locks() > 0;
		COMMIT;
		SELECT pg_current_wal_insert_lsn() - :'wal_before' > 0}),
	"active\nf\nt\nt", 'who is served has an id, a lock, and writes WAL');
value_is($node, "SELECT count(*) FROM inv_idempotency WHERE key = 'no luck'",
	0, 'no key was used up');
books_are_right($node);

$node->stop;
done_testing();
