# The tables replicate logically: what is written past the SQL layer, by way of
# the table access method, must reach a subscriber like everything else.
use strict;
use warnings;

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
$shop->safe_psql('postgres', q{
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
	$$});
my ($status) = pgbench($shop,
	clients => 8,
	arguments => [ '--transactions', 60, '--max-tries', 1000 ],
	scripts => {
		"\\set n random(1, 1000000000)\nSELECT work(:client_id, :n);" => 1 });
is($status, 0, 'the work is done');
$shop->safe_psql('postgres', q{
	SELECT inv_add_item('new', 'New', 9.99, 'EUR'), inv_add_location('annexe');
	SELECT inv_receive('new', 5, location => 'annexe');
	SELECT inv_rename_item('S10', 'renamed');
	SELECT inv_set_item('S9', listed_until => '2099-01-01');
	SELECT inv_set_stock('S8', 2000);
	SELECT inv_load_stock('{S7,another}', '{1500,10}')});
compare('after work');

# Deletes travel too.
my $deleted = $shop->safe_psql('postgres', q{
	CALL inv_maintain();
	SELECT inv_purge('1 microsecond')});
cmp_ok($deleted, '>', 0, 'the purge deletes something');
compare('after the purge');
books_are_right($shop);

# The mirror becomes the shop.
$mirror->safe_psql('postgres', 'DROP SUBSCRIPTION everything');
my $setval = $mirror->safe_psql('postgres', q{
	SELECT format('SELECT setval(%L, (SELECT coalesce(max(%I), 0) + 1 FROM %I), false);',
				  pg_get_serial_sequence(table_name::text, column_name::text),
				  column_name, table_name)
	  FROM information_schema.columns
	 WHERE table_schema = 'inv' AND is_identity = 'YES'
	   AND table_name <> 'inv_location'});
$mirror->safe_psql('postgres', $setval);
value_is($mirror,
	"SELECT status, replayed FROM inv_reserve('S1', 3, key => 'first', ttl => '1 hour')",
	'confirmed|t', 'a repeat of a call to the shop replays on the mirror');
$mirror->safe_psql('postgres', q{
	SELECT inv_confirm(reservation_id) FROM inv_reserve('S2', 1);
	SELECT inv_add_item('made here'), inv_receive('made here', 1)});
books_are_right($mirror, 'the mirror takes over: inv_check() finds nothing');
# Several calls in one transaction may deadlock, and pgbench tries again.
only_errors_are($shop, 0, { '40P01' => undef }, 'no errors in the shop');
# The worker that applies the changes is told to go by DROP SUBSCRIPTION.
only_errors_are($mirror, 0, { '57P01' => undef }, 'no errors in the mirror');

$shop->stop;
$mirror->stop;
done_testing();
