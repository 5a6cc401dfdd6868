# The tables replicate logically: what is written past the SQL layer, by way of
# the table access method, must reach a subscriber like everything else.  And the
# subscriber, switched over to as docs/operations.md says, is a shop: whatever
# numbers it gives out must not be there already.
use strict;
use warnings;

use FindBin;
use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $shop = inventory_node('shop',
	init => { allows_streaming => 'logical' },
	conf => "deadlock_timeout = 50ms\n");
my $mirror = inventory_node('mirror', init => { allows_streaming => 'logical' });

my $tables = q{
	SELECT class.relname
	  FROM pg_extension AS extension
	  JOIN pg_depend AS member
		ON member.refclassid = 'pg_extension'::regclass
	   AND member.refobjid = extension.oid AND member.deptype = 'e'
	  JOIN pg_class AS class
		ON member.classid = 'pg_class'::regclass AND class.oid = member.objid
	 WHERE extension.extname = 'inventory_reservation' AND class.relkind = 'r'
	 ORDER BY 1};
my @tables = split /\n/, $shop->safe_psql('postgres', $tables);
cmp_ok(scalar @tables, '>=', 9, 'the extension has tables');

# Something is there before the subscription, and is copied.
add_stock($shop, map { ("S$_" => 1000) } 1 .. 10);
$shop->safe_psql('postgres', q{
	SELECT inv_confirm(reservation_id)
	  FROM inv_reserve('S1', 3, key => 'first', ttl => '1 hour');
	SELECT inv_reserve_cart('{S1,S2}', '{1,2}', key => 'first')});

$shop->safe_psql('postgres', 'CREATE PUBLICATION everything FOR TABLE '
	  . join(', ', @tables));
$mirror->safe_psql('postgres',
	"CREATE SUBSCRIPTION everything CONNECTION '"
	  . $shop->connstr
	  . " dbname=postgres' PUBLICATION everything");
$mirror->wait_for_subscription_sync($shop, 'everything');

sub compare
{
	my ($when) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$shop->wait_for_catchup('everything');
	foreach my $table (@tables)
	{
		my $digest = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text))"
		  . " FROM $table AS t";
		is( $mirror->safe_psql('postgres', $digest),
			$shop->safe_psql('postgres', $digest),
			"$when: $table is the same on both");
	}
	books_are_right($mirror, "$when: inv_check() finds nothing on the mirror");
	return;
}

compare('copied');

# Every operation, from several clients.
my $work = q{
	CREATE FUNCTION work(client int, n int) RETURNS void
	LANGUAGE plpgsql AS $$
	DECLARE
		hold uuid;
		sale uuid;
	BEGIN
		SELECT reservation_id INTO hold
		  FROM inv_reserve_cart(ARRAY['S' || 1 + n % 10, 'S' || 1 + (n + 3) % 10],
								'{2,3}', key => client || '-' || n,
								customer => 'c' || client, reference => 'r' || n,
								ttl => CASE n % 7 WHEN 6 THEN interval '1 millisecond'
												  ELSE interval '1 hour' END,
								metadata => '{"from": "the test"}');
		CASE n % 7
		WHEN 0 THEN
			PERFORM inv_cancel(hold, key => client || '-' || n);
		WHEN 1 THEN
			PERFORM inv_release(hold, 'S' || 1 + n % 10, 1);
			PERFORM inv_extend(hold, '2 hours');
		WHEN 2 THEN
			SELECT order_id INTO sale FROM inv_confirm(hold, key => client || '-' || n);
			PERFORM inv_record_payment(sale, 'paid');
			PERFORM inv_complete_order(sale);
		WHEN 3 THEN
			SELECT order_id INTO sale FROM inv_confirm(hold);
			PERFORM inv_return(sale, 'S' || 1 + n % 10, 1, 'broken');
			PERFORM inv_cancel_order(sale, 'the rest too');
		WHEN 4 THEN
			PERFORM inv_receive('S' || 1 + n % 10, 5, reason => 'delivery');
			PERFORM inv_adjust('S' || 1 + n % 10, -1);
		WHEN 5 THEN
			PERFORM inv_expire(10);
		ELSE
			NULL;
		END CASE;
	END
	$$};

sub work
{
	my ($node) = @_;
	$node->safe_psql('postgres', $work);
	my ($status) = pgbench($node,
		clients => 8,
		arguments => [ '--transactions', 60, '--max-tries', 1000 ],
		scripts => {
			"\\set n random(1, 1000000000)\nSELECT work(:client_id, :n);" => 1 });
	return $status;
}
is(work($shop), 0, 'the work is done');
$shop->safe_psql('postgres', q{
	SELECT inv_add_item('new', 'New', 9.99, 'EUR'), inv_add_location('annexe');
	SELECT inv_receive('new', 5, location => 'annexe');
	SELECT inv_rename_item('S10', 'renamed');
	SELECT inv_set_item('S9', listed_until => '2099-01-01', max_per_customer => 1000);
	SELECT inv_reserve('S9', customer => 'ann', ttl => '1 hour');
	SELECT inv_set_stock('S8', 2000);
	SELECT inv_load_stock('{S7,another}', '{1500,10}');
	SELECT inv_set_policy('another', backorder_limit => 5);
	SELECT inv_reserve('another', 12, ttl => '1 hour');
	SELECT inv_join_waitlist('another', 2, 'ann'), inv_join_waitlist('another', 500, 'bob')});
compare('after work');

# Reconciliation writes down what it finds, here something that was tampered
# with, and sets it right.
$shop->safe_psql('postgres', q{
	UPDATE inv_stock SET reserved = reserved + 1
	 WHERE (item_id, location_id) = (SELECT item_id, 0 FROM inv_item WHERE sku = 'S8')});
cmp_ok($shop->safe_psql('postgres', 'SELECT count(*) FROM inv_reconcile(true)'),
	'>', 0, 'reconciliation repairs something');

# Deletes travel too.
my $deleted = $shop->safe_psql('postgres', q{
	CALL inv_maintain();
	SELECT inv_purge('1 microsecond')});
cmp_ok($deleted, '>', 0, 'the purge deletes something');
compare('after the purge');
books_are_right($shop);

# So far nothing was compared with nothing.
is( join(' ', grep {
			$mirror->safe_psql('postgres', "SELECT count(*) FROM $_") == 0
		} @tables),
	'', 'every table has rows');

# The mirror becomes the shop.
my $cursor = $shop->safe_psql('postgres', 'SELECT inv_newest_event()');
$mirror->safe_psql('postgres', 'DROP SUBSCRIPTION everything');
my ($sequences) =
  slurp_file("$FindBin::Bin/../../docs/operations.md") =~
  /^\*\*Logical replication\.\*\*.*?^```sql\n(.*?)^```/ms;
$mirror->safe_psql('postgres', $sequences);
value_is($mirror,
	"SELECT status, replayed FROM inv_reserve('S1', 3, key => 'first', ttl => '1 hour')",
	'confirmed|t', 'a repeat of a call to the shop replays on the mirror');
$mirror->safe_psql('postgres', q{
	SELECT inv_confirm(reservation_id) FROM inv_reserve('S2', 1);
	SELECT inv_add_item('made here'), inv_receive('made here', 1);
	SELECT inv_add_location('made here too');
	SELECT inv_receive('made here', 1, location => 'made here too');
	SELECT inv_rename_item('renamed', 'S10')});
is(work($mirror), 0, 'the mirror takes over: work is done');
$mirror->safe_psql('postgres', 'CALL inv_maintain()');
value_is($mirror, q{
	SELECT count(*) - count(DISTINCT entry_id), max(epoch) FROM inv_ledger},
	'0|2', 'the mirror takes over: no number is given out twice');
# Events wait for older transactions, such as an ANALYZE.
ok( $mirror->poll_query_until('postgres', qq{
		SELECT count(*) = (SELECT count(*) FROM inv_ledger WHERE epoch = 2)
		  FROM inv_events('$cursor', 1000000)}),
	'the mirror takes over: a consumer goes on with what is new');
ok( $mirror->poll_query_until('postgres', q{
		SELECT count(*) = (SELECT count(*) FROM inv_ledger)
		  FROM inv_events(NULL, 1000000)}),
	'the mirror takes over: the feed has all');
books_are_right($mirror, 'the mirror takes over: inv_check() finds nothing');
# Several calls in one transaction may deadlock, and pgbench tries again.
only_errors_are($shop, 0, { '40P01' => undef }, 'no errors in the shop');
# The worker that applies the changes is told to go by DROP SUBSCRIPTION.
only_errors_are($mirror, 0, { '57P01' => undef, '40P01' => undef },
	'no errors in the mirror');

$shop->stop;
$mirror->stop;
done_testing();
