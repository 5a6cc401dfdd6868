# Hostile input.  Every call below names the SQLSTATE that it must end with;
# after each of them not one row of any table may be another one, the server
# must not have crashed, and in the end the books must be right.
#
# A call is a statement, or several: the outcome is that of the one marked with
# "=>", and what comes after it undoes what came before it.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

# UTF8 whatever the locale: bytes that are no characters are part of the test.
my $node = inventory_node('shop',
	init => { extra => [ '--encoding=UTF8', '--locale=C' ] });

# What the calls can do harm to.
$node->safe_psql('postgres', q{
	SELECT inv_add_item('A', unit_price => 10, currency => 'EUR'), inv_add_item('B', unit_price => 5, currency => 'EUR'),
	       inv_add_item('USD', unit_price => 1, currency => 'USD'), inv_add_item('NONE', unit_price => 1),
	       inv_add_item('CLOSED', selling => false), inv_add_item('PAST', listed_until => '2020-01-01'),
	       inv_add_item('FULL');
	SELECT inv_add_location('store');
	SELECT * FROM inv_load_stock('{A,B,USD,NONE,CLOSED,PAST}', '{100,100,100,100,100,100}');
	SELECT inv_receive('FULL', 9007199254740992);
	SELECT inv_receive('A', 100, 'store');
	SELECT inv_reserve('A', 2, key => 'used', ttl => '20 hours');
	SELECT inv_reserve_cart('{A,B}', '{1,1}', key => 'used', ttl => '20 hours')});
my %id;

sub reservation
{
	my ($name, $call) = @_;
	$id{$name} = $node->safe_psql('postgres', "SELECT reservation_id FROM $call");
	return;
}

sub order
{
	my ($name, @calls) = @_;
	reservation("$name reservation", "inv_reserve('A', 3)");
	$id{$name} = $node->safe_psql('postgres',
		"SELECT order_id FROM inv_confirm('$id{qq{$name reservation}}')");
	$node->safe_psql('postgres', "SELECT $_('$id{$name}')") foreach @calls;
	return;
}
reservation('live', "inv_reserve('A', 5, customer => 'ann', ttl => '20 hours')");
reservation('cart', "inv_reserve_cart('{A,B}', '{5,5}', ttl => '20 hours')");
reservation('cancelled', "inv_reserve('A', 1)");
$node->safe_psql('postgres', "SELECT inv_cancel('$id{cancelled}')");
reservation('swept', "inv_reserve('A', 1, ttl => '1 millisecond')");
$node->safe_psql('postgres', 'SELECT pg_sleep(0.01); SELECT inv_expire()');
reservation('dead', "inv_reserve('A', 1, ttl => '1 millisecond')");
order('open');
order('completed', 'inv_complete_order');
order('gone', 'inv_cancel_order');
# an order whose units have no room to come back to
reservation('full reservation', "inv_reserve('FULL', 2)");
$id{full} = $node->safe_psql('postgres',
	"SELECT order_id FROM inv_confirm('$id{'full reservation'}')");
$node->safe_psql('postgres', "SELECT inv_receive('FULL', 2)");
$id{none} = '00000000-0000-7000-8000-000000000000';

# One value that changes with any row of any table.
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.fingerprint() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(row_text, E'\n' ORDER BY row_text)) FROM (
	     SELECT 'item ' || t::text FROM inv.inv_item AS t
	     UNION ALL SELECT 'location ' || t::text FROM inv.inv_location AS t
	     UNION ALL SELECT 'stock ' || t::text FROM inv.inv_stock AS t
	     UNION ALL SELECT 'reservation ' || t::text FROM inv.inv_reservation AS t
	     UNION ALL SELECT 'backorder ' || t::text FROM inv.inv_backorder AS t
	     UNION ALL SELECT 'idempotency ' || t::text FROM inv.inv_idempotency AS t
	     UNION ALL SELECT 'order ' || t::text FROM inv.inv_order AS t
	     UNION ALL SELECT 'ledger ' || t::text FROM inv.inv_ledger AS t
	     UNION ALL SELECT 'customer line ' || t::text FROM inv.inv_customer_line AS t
	     UNION ALL SELECT 'waitlist ' || t::text FROM inv.inv_waitlist AS t
	     UNION ALL SELECT 'reconciliation ' || t::text FROM inv.inv_reconciliation AS t
	) AS rows (row_text) $$});
my $fingerprint = $node->safe_psql('postgres', 'SELECT public.fingerprint()');

my $megabyte = "repeat('x', 1048576)";
my $most = '9223372036854775807';
my $least = "'-9223372036854775808'";

# Lines of a cart as JSON.
sub lines { return "inv_reserve_lines('$_[0]')"; }

# In a transaction in which a part of the extension is missing.
my $outside = 'ALTER EXTENSION inventory_reservation DROP';
my $no_dependents =
	"$outside FUNCTION inv_check(); DROP FUNCTION inv_check();"
  . "$outside SEQUENCE inv_item_item_id_seq; $outside SEQUENCE inv_location_location_id_seq;"
  . "$outside SEQUENCE inv_ledger_entry_id_seq;"
  . "$outside VIEW inv_availability; $outside VIEW inv_active_holds; $outside VIEW inv_reservation_lines;"
  . "$outside VIEW inv_stat; $outside VIEW inv_total_availability; $outside VIEW inv_waiting; $outside VIEW inv_ledger_by_hour; $outside VIEW inv_hold_conversion;"
  . "$outside VIEW inv_sell_through; $outside VIEW inv_sold_out;"
  . 'DROP VIEW inv_waiting, inv_total_availability, inv_availability, inv_active_holds, inv_reservation_lines, inv_stat,'
  . ' inv_hold_conversion, inv_sell_through, inv_sold_out, inv_ledger_by_hour;';

sub without
{
	my ($what, $call) = @_;
	return [ "BEGIN; $what", "SELECT $call", 'ROLLBACK' ];
}

my @calls = (
	# inv_reserve: the SKU
	[ '22023', "inv_reserve(NULL)" ],
	[ '22023', "inv_reserve('')" ],
	[ '22023', "inv_reserve(repeat('x', 256))" ],
	[ '22023', "inv_reserve($megabyte)" ],
	[ '22023', "inv_reserve(repeat('ü', 128))" ],
	[ 'IV004', "inv_reserve('NOSUCH')" ],
	[ 'IV004', "inv_reserve('a')" ],
	[ 'IV004', "inv_reserve('A ')" ],
	[ 'IV004', "inv_reserve(' ')" ],
	[ 'IV004', "inv_reserve(E'A\\n')" ],
	[ 'IV004', "inv_reserve(E'A''; DROP TABLE inv_stock; --')" ],
	[ 'IV004', "inv_reserve('\$1')" ],
	[ 'IV004', "inv_reserve('%s%n')" ],
	[ 'IV004', "inv_reserve('😀')" ],
	[ 'IV004', "inv_reserve(repeat('x', 255))" ],
	[ 'IV006', "inv_reserve('CLOSED')" ],
	[ 'IV006', "inv_reserve('PAST')" ],
	# the quantity
	[ '22023', "inv_reserve('A', NULL)" ],
	[ '22023', "inv_reserve('A', 0)" ],
	[ '22023', "inv_reserve('A', -1)" ],
	[ '22023', "inv_reserve('A', $least)" ],
	[ '22003', "inv_reserve('A', 9007199254740993)" ],
	[ '22003', "inv_reserve('A', $most)" ],
	[ '22003', "inv_reserve('A', '9223372036854775808')" ],
	[ '42883', "inv_reserve('A', 9223372036854775808)" ],
	[ '42883', "inv_reserve('A', 1.5)" ],
	[ '22P02', "inv_reserve('A', '1.5')" ],
	[ '22P02', "inv_reserve('A', 'NaN')" ],
	[ '22P02', "inv_reserve('A', 'Infinity')" ],
	[ 'IV001', "inv_reserve('A', 101)" ],
	[ 'IV001', "inv_reserve('A', 9007199254740992)" ],
	[ 'IV001', "inv_reserve('FULL', 9007199254740992, location => 'store')" ],
	# the key
	[ '22023', "inv_reserve('A', key => '')" ],
	[ '22023', "inv_reserve('A', key => repeat('k', 256))" ],
	[ '22023', "inv_reserve('A', key => $megabyte)" ],
	[ 'IV005', "inv_reserve('A', key => 'used')" ],
	[ 'IV005', "inv_reserve('NOSUCH', 1000000, key => 'used')" ],
	[ 'IV005', "inv_try_reserve('A', key => 'used')" ],
	# customer, reference, location, metadata
	[ '22023', "inv_reserve('A', customer => '')" ],
	[ '22023', "inv_reserve('A', customer => $megabyte)" ],
	[ '22023', "inv_reserve('A', reference => '')" ],
	[ '22023', "inv_reserve('A', reference => $megabyte)" ],
	[ '22023', "inv_reserve('A', location => '')" ],
	[ '22023', "inv_reserve('A', location => $megabyte)" ],
	[ 'IV010', "inv_reserve('A', location => 'nowhere')" ],
	[ 'IV010', "inv_reserve('A', location => 'DEFAULT')" ],
	[ '22P02', "inv_reserve('A', metadata => '{')" ],
	[ '22P02', "inv_reserve('A', metadata => '\"\\ud800\"')" ],
	[ '22P05', "inv_reserve('A', metadata => '\"\\u0000\"')" ],
	[ '54001', "inv_reserve('A', metadata => repeat('[', 100000)::jsonb)" ],
	[ '22023', "inv_reserve('A', split => NULL)" ],
	[ 'IV001', "inv_reserve('A', 1000, split => true)" ],
	[ 'IV001', "inv_reserve('A', 9007199254740992, split => true)" ],
	[ '22003', "inv_reserve('A', $most, split => true)" ],
	[ 'IV010', "inv_reserve('A', location => 'nowhere', split => true)" ],
	[ '39P01', 'inv_location_changed()' ],
	[ '42883', "inv_reserve('A', colour => 'red')" ],
	[ '42883', "inv_reserve()" ],
	# the time to live
	[ '22023', "inv_reserve('A', ttl => '0')" ],
	[ '22023', "inv_reserve('A', ttl => '-1 microsecond')" ],
	[ '22023', "inv_reserve('A', ttl => '-178000000 years')" ],
	[ '22023', "inv_reserve('A', ttl => '1 month -31 days')" ],
	[ '22023', "inv_reserve('A', ttl => '1 day -25 hours')" ],
	[ '22023', "inv_reserve('A', ttl => '-178956970 years -2147483648 days -2562047788:00:54.775807')" ],
	[ '22008|22015|22003', "inv_reserve('A', ttl => '300000000 years')" ],
	[ '22007|22023', "inv_reserve('A', ttl => 'infinity')" ],
	[ '22007|22023', "inv_reserve('A', ttl => '-infinity')" ],
	[ '22007', "inv_reserve('A', ttl => 'NaN')" ],
	[ '22007', "inv_reserve('A', ttl => 'soon')" ],

	# inv_try_reserve: only short stock is no error
	[ '22023', "inv_try_reserve(NULL)" ],
	[ '22023', "inv_try_reserve('A', -1)" ],
	[ '22003', "inv_try_reserve('A', $most)" ],
	[ 'IV004', "inv_try_reserve('NOSUCH', 1000)" ],
	[ 'IV006', "inv_try_reserve('CLOSED', 1000)" ],
	[ 'IV010', "inv_try_reserve('A', 1000, location => 'nowhere')" ],
	[ '00000', "inv_try_reserve('A', 9007199254740992)" ],
	[ '00000', "inv_try_reserve('A', 1000, key => 'not used up')" ],

	# carts
	[ '22023', "inv_reserve_cart(NULL, '{1}')" ],
	[ '22023', "inv_reserve_cart('{A}', NULL)" ],
	[ '22023', "inv_reserve_cart(NULL, NULL)" ],
	[ '22023', "inv_reserve_cart('{}', '{}')" ],
	[ '22023', "inv_reserve_cart('{}', '{1}')" ],
	[ '22023', "inv_reserve_cart('{A}', '{}')" ],
	[ '22023', "inv_reserve_cart('{A,B}', '{1}')" ],
	[ '22023', "inv_reserve_cart('{A}', '{1,1}')" ],
	[ '22023', "inv_reserve_cart('{NULL}', '{1}')" ],
	[ '22023', "inv_reserve_cart('{A,NULL}', '{1,1}')" ],
	[ '22023', "inv_reserve_cart('{A,B}', '{1,NULL}')" ],
	[ '22023', "inv_reserve_cart('{A,\"\"}', '{1,1}')" ],
	[ '22023', "inv_reserve_cart(ARRAY['A', $megabyte], '{1,1}')" ],
	[ '22023', "inv_reserve_cart('{{A,B}}', '{{1,1}}')" ],
	[ '22023', "inv_reserve_cart('{{A},{B}}', '{1,1}')" ],
	[ '22023', "inv_reserve_cart('{A,B}', '{{1},{1}}')" ],
	[ '22P02', "inv_reserve_cart('{A,{B}}', '{1,1}')" ],
	[ '22P02', "inv_reserve_cart('{A', '{1}')" ],
	[ '22023', "inv_reserve_cart('{A,B}', '{1,0}')" ],
	[ '22023', "inv_reserve_cart('{A,B}', '{-1,1}')" ],
	[ '22023', "inv_reserve_cart('{A,A}', '{2,-1}')" ],
	[ '22003', "inv_reserve_cart('{A,B}', '{1,$most}')" ],
	[ '22003', "inv_reserve_cart('{A,A}', '{$most,$most}')" ],
	[ '22003', "inv_reserve_cart('{FULL,FULL}', '{9007199254740992,9007199254740992}')" ],
	[ '22003', "inv_reserve_cart('{FULL,FULL}', '{9007199254740992,1}')" ],
	[ '22003', "inv_reserve_cart(array_fill('FULL'::text, '{2000}'), array_fill(9007199254740992, '{2000}'))" ],
	[ 'IV001', "inv_reserve_cart('{A,B}', '{1,1000}')" ],
	[ 'IV001', "inv_reserve_cart('{A,B,A}', '{60,1,60}')" ],
	[ 'IV004', "inv_reserve_cart('{A,NOSUCH}', '{1,1}')" ],
	[ 'IV004', "inv_reserve_cart('{NOSUCH,A}', '{1,1000}')" ],
	[ 'IV006', "inv_reserve_cart('{NONE,CLOSED}', '{1,1}')" ],
	[ 'IV010', "inv_reserve_cart('{A,B}', '{1,1}', location => 'nowhere')" ],
	[ 'IV005', "inv_reserve_cart('{A,B}', '{1,2}', key => 'used')" ],
	[ 'IV005', "inv_reserve_cart('{A}', '{1}', key => 'used')" ],
	[ '22023', "inv_reserve_cart('{A,USD}', '{1,1}')" ],
	[ '22023', "inv_try_reserve_cart('{A,USD}', '{1,1}')" ],
	[ '22023', "inv_reserve_cart('{A,NONE}', '{1,1}')" ],
	[ '22023', "inv_reserve_cart('{A}', '{1}', ttl => '-1 hour')" ],
	[ '22023', "inv_reserve_cart('{A}', '{1}', split => NULL)" ],
	[ 'IV001', "inv_reserve_cart('{A}', '{1000}', split => true)" ],
	[ 'IV010', "inv_reserve_cart('{A}', '{1}', location => 'nowhere', split => true)" ],
	[ '00000', "inv_try_reserve_cart('{A,B}', '{1000,1000}', key => 'not used up')" ],

	# carts as JSON
	[ '22023', "inv_reserve_lines(NULL)" ],
	[ '22P02', lines('') ],
	[ '22P02', lines('[{"sku": "A", "quantity": 1}') ],
	[ '22P02', lines('[{sku: "A", quantity: 1}]') ],
	[ '22P02', lines('[{"sku": "A", "quantity": NaN}]') ],
	[ '22P02', lines('[{"sku": "A", "quantity": 0x10}]') ],
	[ '22023', lines('null') ],
	[ '22023', lines('"A"') ],
	[ '22023', lines('5') ],
	[ '22023', lines('true') ],
	[ '22023', lines('{}') ],
	[ '22023', lines('{"sku": "A", "quantity": 1}') ],
	[ '22023', lines('[]') ],
	[ '22023', lines('[null]') ],
	[ '22023', lines('[1]') ],
	[ '22023', lines('["A", 1]') ],
	[ '22023', lines('[[]]') ],
	[ '22023', lines('[{}]') ],
	[ '22023', lines('[[{"sku": "A", "quantity": 1}]]') ],
	[ '22023', lines('[{"sku": "A", "quantity": 1}, null]') ],
	[ '22023', lines('[{"sku": "A"}]') ],
	[ '22023', lines('[{"quantity": 1}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": 1, "split": true}]') ],
	[ '22023', lines('[{"SKU": "A", "quantity": 1}]') ],
	[ '22023', lines('[{"sku": null, "quantity": 1}]') ],
	[ '22023', lines('[{"sku": 5, "quantity": 1}]') ],
	[ '22023', lines('[{"sku": ["A"], "quantity": 1}]') ],
	[ '22023', lines('[{"sku": {"sku": "A"}, "quantity": 1}]') ],
	[ '22023', lines('[{"sku": "", "quantity": 1}]') ],
	[ '22023', "inv_reserve_lines(jsonb_build_array(jsonb_build_object('sku', $megabyte, 'quantity', 1)))" ],
	[ '22P05', lines('[{"sku": "A\u0000", "quantity": 1}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": null}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": "1"}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": true}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": [1]}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": {"quantity": 1}}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": 1.5}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": 1e-5}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": 0}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": -0.0}]') ],
	[ '22023', lines('[{"sku": "A", "quantity": -3}]') ],
	[ '22003|22023', lines('[{"sku": "A", "quantity": -1e400}]') ],
	[ '22003', lines('[{"sku": "A", "quantity": 1e400}]') ],
	[ '22003', lines('[{"sku": "A", "quantity": 1e30000}]') ],
	[ '22003', lines('[{"sku": "A", "quantity": 9007199254740993}]') ],
	[ '22003', lines("[{\"sku\": \"A\", \"quantity\": $most}, {\"sku\": \"A\", \"quantity\": $most}]") ],
	[ 'IV001', lines('[{"sku": "A", "quantity": 60}, {"sku": "A", "quantity": 60}]') ],
	[ 'IV004', lines('[{"sku": "NOSUCH", "quantity": 1}]') ],
	[ '54001', "inv_reserve_lines(repeat('[', 100000)::jsonb)" ],

	# invalid UTF-8 as a driver would send it
	[ '22021', "inv_reserve('A\xff')" ],
	[ '22021', "inv_reserve('A', key => '\xc3\x28')" ],
	[ '22021', "inv_reserve('A', customer => '\xed\xa0\x80')" ],
	[ '22021', "inv_reserve_cart('{A,\xf5\x80\x80\x80}', '{1,1}')" ],
	[ '22021', "inv_reserve_lines('[{\"sku\": \"\xc0\x80\", \"quantity\": 1}]')" ],
	[ '22021', "inv_add_item(E'\\xff')" ],
	[ '22021', "inv_reserve('A', metadata => '\"\xff\"')" ],

	# inv_confirm
	[ '22023', "inv_confirm(NULL)" ],
	[ '22P02', "inv_confirm('')" ],
	[ '22P02', "inv_confirm('not a uuid')" ],
	[ 'IV003', "inv_confirm('$id{none}')" ],
	[ 'IV003', "inv_confirm('ffffffff-ffff-ffff-ffff-ffffffffffff')" ],
	[ 'IV003', "inv_confirm('$id{open}')" ],
	[ 'IV003', "inv_confirm('$id{live}', customer => 'bob')" ],
	[ 'IV003', "inv_confirm('$id{cart}', customer => 'ann')" ],
	[ '22023', "inv_confirm('$id{live}', customer => '')" ],
	[ '22023', "inv_confirm('$id{live}', customer => $megabyte)" ],
	[ '22023', "inv_confirm('$id{live}', key => '')" ],
	[ '22023', "inv_confirm('$id{live}', payment_status => NULL)" ],
	[ '22023', "inv_confirm('$id{live}', payment_status => '')" ],
	[ '22023', "inv_confirm('$id{live}', payment_status => 'PAID')" ],
	[ '22023', "inv_confirm('$id{live}', payment_status => 'refunded')" ],
	[ '22023', "inv_confirm('$id{live}', payment_status => $megabyte)" ],
	[ '22023', "inv_confirm('$id{live}', retake => NULL)" ],
	[ 'IV008', "inv_confirm('$id{cancelled}', retake => true)" ],
	[ 'IV003', "inv_confirm('$id{dead}', customer => 'bob', retake => true)" ],
	[ 'IV002', "inv_confirm('$id{dead}')" ],
	[ 'IV002', "inv_confirm('$id{swept}')" ],
	[ 'IV008', "inv_confirm('$id{cancelled}')" ],

	# inv_cancel, inv_release, inv_extend
	[ '22023', "inv_cancel(NULL)" ],
	[ 'IV003', "inv_cancel('$id{none}')" ],
	[ 'IV003', "inv_cancel('$id{live}', customer => 'bob')" ],
	[ '22023', "inv_cancel('$id{live}', key => $megabyte)" ],
	[ 'IV008', "inv_cancel('$id{'open reservation'}')" ],
	[ '22023', "inv_release(NULL, 'A', 1)" ],
	[ '22023', "inv_release('$id{live}', NULL, 1)" ],
	[ '22023', "inv_release('$id{live}', '', 1)" ],
	[ '22023', "inv_release('$id{live}', 'A', NULL)" ],
	[ '22023', "inv_release('$id{live}', 'A', 0)" ],
	[ '22023', "inv_release('$id{live}', 'A', -1)" ],
	[ '22003', "inv_release('$id{live}', 'A', $most)" ],
	[ '22023', "inv_release('$id{live}', 'A', 6)" ],
	[ '22023', "inv_release('$id{live}', 'A', 9007199254740992)" ],
	[ '22023', "inv_release('$id{live}', 'B', 1)" ],
	[ 'IV004', "inv_release('$id{live}', 'NOSUCH', 1)" ],
	[ 'IV003', "inv_release('$id{none}', 'A', 1)" ],
	[ 'IV002', "inv_release('$id{dead}', 'A', 1)" ],
	[ 'IV008', "inv_release('$id{cancelled}', 'A', 1)" ],
	[ 'IV008', "inv_release('$id{'open reservation'}', 'A', 1)" ],
	[ '22023', "inv_extend(NULL)" ],
	[ '22023', "inv_extend('$id{live}', '0')" ],
	[ '22023', "inv_extend('$id{live}', '-1 hour')" ],
	[ '22007|22023', "inv_extend('$id{live}', 'infinity')" ],
	[ 'IV003', "inv_extend('$id{none}')" ],
	[ 'IV002', "inv_extend('$id{dead}', '1 hour')" ],
	[ 'IV002', "inv_extend('$id{swept}', '1 hour')" ],
	[ 'IV008', "inv_extend('$id{'open reservation'}')" ],

	# orders
	[ '22023', "inv_cancel_order(NULL)" ],
	[ 'IV011', "inv_cancel_order('$id{none}')" ],
	[ 'IV011', "inv_cancel_order('$id{'open reservation'}')" ],
	[ 'IV008', "inv_cancel_order('$id{completed}')" ],
	[ '22023', "inv_cancel_order('$id{open}', key => '')" ],
	[ '22023', "inv_return(NULL, 'A', 1)" ],
	[ '22023', "inv_return('$id{open}', NULL, 1)" ],
	[ '22023', "inv_return('$id{open}', 'A', NULL)" ],
	[ '22023', "inv_return('$id{open}', 'A', 0)" ],
	[ '22023', "inv_return('$id{open}', 'A', -3)" ],
	[ '22023', "inv_return('$id{open}', 'A', 4)" ],
	[ '22003', "inv_return('$id{open}', 'A', $most)" ],
	[ '22023', "inv_return('$id{open}', 'B', 1)" ],
	[ 'IV004', "inv_return('$id{open}', 'NOSUCH', 1)" ],
	[ 'IV011', "inv_return('$id{none}', 'A', 1)" ],
	[ 'IV008', "inv_return('$id{gone}', 'A', 1)" ],
	[ '22003', "inv_return('$id{full}', 'FULL', 1)" ],
	[ '22003', "inv_cancel_order('$id{full}')" ],
	[
		'22003',
		[
			"BEGIN; UPDATE inv_stock SET backorder_unlimited = true; SELECT inv_reserve('FULL', 9007199254740992)",
			"SELECT inv_reserve('FULL', 1)", 'ROLLBACK'
		]
	],
	[ '22023', "inv_complete_order(NULL)" ],
	[ 'IV011', "inv_complete_order('$id{none}')" ],
	[ 'IV008', "inv_complete_order('$id{gone}')" ],
	[ '22023', "inv_record_payment(NULL, 'paid')" ],
	[ '22023', "inv_record_payment('$id{open}', NULL)" ],
	[ '22023', "inv_record_payment('$id{open}', '')" ],
	[ '22023', "inv_record_payment('$id{open}', 'gold')" ],
	[ '22023', "inv_record_payment('$id{open}', $megabyte)" ],
	[ 'IV008', "inv_record_payment('$id{open}', 'refunded')" ],
	[ 'IV011', "inv_record_payment('$id{none}', 'paid')" ],
	[ '22023', "inv_reservation_status(NULL)" ],
	[ 'IV003', "inv_reservation_status('$id{none}')" ],
	[ '22023', "inv_order_status(NULL)" ],
	[ 'IV011', "inv_order_status('$id{none}')" ],

	# stock
	[ '22023', "inv_available(NULL)" ],
	[ '22023', "inv_available('')" ],
	[ '22023', "inv_available($megabyte)" ],
	[ 'IV004', "inv_available('NOSUCH')" ],
	[ 'IV010', "inv_available('A', 'nowhere')" ],
	[ '22023', "inv_available('A', '')" ],
	[ '22023', "inv_receive(NULL, 1)" ],
	[ '22023', "inv_receive('A', NULL)" ],
	[ '22023', "inv_receive('A', 0)" ],
	[ '22023', "inv_receive('A', -1)" ],
	[ '22003', "inv_receive('A', $most)" ],
	[ '22003', "inv_receive('FULL', 1)" ],
	[ '22003', "inv_receive('A', 9007199254740992)" ],
	[ 'IV004', "inv_receive('NOSUCH', 1)" ],
	[ 'IV010', "inv_receive('A', 1, 'nowhere')" ],
	[ '22023', "inv_receive('A', 1, key => $megabyte)" ],
	[ '22023', "inv_adjust('A', NULL)" ],
	[ '22023', "inv_adjust('A', 0)" ],
	[ '22003', "inv_adjust('A', $most)" ],
	[ '22003', "inv_adjust('A', $least)" ],
	[ '22003', "inv_adjust('FULL', 1)" ],
	[ 'IV012', "inv_adjust('A', -100)" ],
	[ 'IV012', "inv_adjust('A', -9007199254740992)" ],
	[ '22023', "inv_set_stock('A', NULL)" ],
	[ '22023', "inv_set_stock('A', -1)" ],
	[ '22003', "inv_set_stock('A', 9007199254740993)" ],
	[ '22003', "inv_set_stock('A', $most)" ],
	[ 'IV012', "inv_set_stock('A', 0)" ],
	[ 'IV008', "inv_set_stock('A', 100, expected_version => 0)" ],
	[ 'IV008', "inv_set_stock('A', 100, expected_version => $most)" ],
	[ '22023', "inv_set_stock('A', 0, on_shelf => true)" ],
	[ '22023', "inv_set_stock('A', 100, on_shelf => NULL)" ],
	[ '22023', "inv_set_stock('A', 100, force => NULL)" ],
	[ 'IV004', "inv_set_stock('NOSUCH', 1)" ],
	[ 'IV010', "inv_set_stock('A', 1, 'nowhere')" ],
	[ '22023', "inv_load_stock(NULL, '{1}')" ],
	[ '22023', "inv_load_stock('{A}', NULL)" ],
	[ '22023', "inv_load_stock('{}', '{}')" ],
	[ '22023', "inv_load_stock('{NEW,A}', '{1}')" ],
	[ '22023', "inv_load_stock('{NEW,NULL}', '{1,1}')" ],
	[ '22023', "inv_load_stock('{NEW,A}', '{1,NULL}')" ],
	[ '22023', "inv_load_stock('{{NEW}}', '{{1}}')" ],
	[ '22023', "inv_load_stock('{NEW,NEW}', '{1,2}')" ],
	[ '22023', "inv_load_stock('{NEW,\"\"}', '{1,2}')" ],
	[ '22023', "inv_load_stock(ARRAY['NEW', $megabyte], '{1,2}')" ],
	[ '22023', "inv_load_stock('{NEW,A}', '{1,-1}')" ],
	[ '22003', "inv_load_stock('{NEW,A}', '{1,$most}')" ],
	[ 'IV012', "inv_load_stock('{NEW,A}', '{1,0}')" ],
	[ 'IV010', "inv_load_stock('{NEW}', '{1}', 'nowhere')" ],
	[ '22023', "inv_set_stripes('A', 0)" ],
	[ '22023', "inv_set_stripes('A', -1)" ],
	[ '22023', "inv_set_stripes('A', NULL)" ],
	[ '22003', "inv_set_stripes('A', 257)" ],
	[ '22003', "inv_set_stripes('A', 2147483647)" ],
	[ '42883', "inv_set_stripes('A', $most)" ],
	[ '22023', "inv_set_stripes(NULL, 2)" ],
	[ '22023', "inv_set_stripes('', 2)" ],
	[ 'IV004', "inv_set_stripes('NOSUCH', 2)" ],
	[ 'IV010', "inv_set_stripes('A', 2, 'nowhere')" ],
	[
		'IV008',
		[
			"BEGIN; UPDATE inv_stock SET min_available = -5 WHERE stripe = 0",
			"SELECT inv_set_stripes('A', 2)", 'ROLLBACK'
		]
	],
	[ '22023', "inv_set_policy(NULL, 2)" ],
	[ '22023', "inv_set_policy('', 2)" ],
	[ '22023', "inv_set_policy('A', NULL)" ],
	[ '22023', "inv_set_policy('A', -1)" ],
	[ '22023', "inv_set_policy('A', backorder_limit => -1)" ],
	[ '22023', "inv_set_policy('A', 1, 1)" ],
	[ '22023', "inv_set_policy('A', 1, NULL)" ],
	[ '22003', "inv_set_policy('A', $most)" ],
	[ '22003', "inv_set_policy('A', backorder_limit => $most)" ],
	[ 'IV004', "inv_set_policy('NOSUCH', 2)" ],
	[ 'IV010', "inv_set_policy('A', 2, location => 'nowhere')" ],
	[ '22023', "inv_transfer(NULL, 1, 'default', 'store')" ],
	[ '22023', "inv_transfer('', 1, 'default', 'store')" ],
	[ '22023', "inv_transfer($megabyte, 1, 'default', 'store')" ],
	[ '22023', "inv_transfer('A', NULL, 'default', 'store')" ],
	[ '22023', "inv_transfer('A', 0, 'default', 'store')" ],
	[ '22023', "inv_transfer('A', -1, 'default', 'store')" ],
	[ '22003', "inv_transfer('A', $most, 'default', 'store')" ],
	[ '22023', "inv_transfer('A', 1, 'default', NULL)" ],
	[ '22023', "inv_transfer('A', 1, 'default', 'default')" ],
	[ '22023', "inv_transfer('A', 1, '', 'default')" ],
	[ '22023', "inv_transfer('A', 1, 'default', $megabyte)" ],
	[ '22023', "inv_transfer('A', 1, 'default', 'nowhere', key => '')" ],
	[ 'IV004', "inv_transfer('NOSUCH', 1, 'default', 'store')" ],
	[ 'IV010', "inv_transfer('A', 1, 'default', 'nowhere')" ],
	[ 'IV010', "inv_transfer('A', 1, 'nowhere', 'default')" ],

	# the waitlist
	[ '22023', "inv_join_waitlist(NULL, 1, 'ann')" ],
	[ '22023', "inv_join_waitlist('', 1, 'ann')" ],
	[ '22023', "inv_join_waitlist($megabyte, 1, 'ann')" ],
	[ '22023', "inv_join_waitlist('A', NULL, 'ann')" ],
	[ '22023', "inv_join_waitlist('A', 0, 'ann')" ],
	[ '22023', "inv_join_waitlist('A', $least, 'ann')" ],
	[ '22003', "inv_join_waitlist('A', $most, 'ann')" ],
	[ '22023', "inv_join_waitlist('A')" ],
	[ '22023', "inv_join_waitlist('A', 1, '')" ],
	[ '22023', "inv_join_waitlist('A', 1, $megabyte)" ],
	[ '22023', "inv_join_waitlist('A', 1, 'ann', '')" ],
	[ '22023', "inv_join_waitlist('A', 1, 'ann', $megabyte)" ],
	[ 'IV004', "inv_join_waitlist('NOSUCH', 1, 'ann', 'new')" ],
	[ 'IV006', "inv_join_waitlist('CLOSED', 1, 'ann', 'new')" ],
	[ '22023', "inv_leave_waitlist(NULL, 'ann')" ],
	[ '22023', "inv_leave_waitlist('A')" ],
	[ '22023', "inv_leave_waitlist('A', '')" ],
	[ '22023', "inv_leave_waitlist('A', $megabyte)" ],
	[ '22023', "inv_leave_waitlist('A', 'ann', '')" ],
	[ 'IV004', "inv_leave_waitlist('NOSUCH', 'ann', 'new')" ],
	[ '22023', "inv_waitlist_status(NULL, 'ann')" ],
	[ '22023', "inv_waitlist_status('A', NULL)" ],
	[ '22023', "inv_waitlist_status('A', $megabyte)" ],
	[ 'IV004', "inv_waitlist_status('NOSUCH', 'ann')" ],

	# the catalogue
	[ '22023', "inv_add_item(NULL)" ],
	[ '22023', "inv_add_item('')" ],
	[ '22023', "inv_add_item($megabyte)" ],
	[ '23505', "inv_add_item('A')" ],
	[ '22023', "inv_add_item('X', unit_price => NULL)" ],
	[ '22023', "inv_add_item('X', unit_price => -0.01)" ],
	[ '22003|22023', "inv_add_item('X', unit_price => 'NaN')" ],
	[ '22003|22023', "inv_add_item('X', unit_price => 'Infinity')" ],
	[ '22003|22023', "inv_add_item('X', unit_price => '-Infinity')" ],
	[ '22003', "inv_add_item('X', unit_price => '1e200000')" ],
	[ '22P02', "inv_add_item('X', unit_price => 'free')" ],
	[ '22023', "inv_add_item('X', currency => '')" ],
	[ '22023', "inv_add_item('X', currency => 'eur')" ],
	[ '22023', "inv_add_item('X', currency => 'EURO')" ],
	[ '22023', "inv_add_item('X', currency => E'EU\\n')" ],
	[ '22023', "inv_add_item('X', currency => $megabyte)" ],
	[ '22023', "inv_add_item('X', selling => NULL)" ],
	[ '22007', "inv_add_item('X', listed_until => 'tomorrow week')" ],
	[ '22023', "inv_add_item('X', hold_ttl => '0')" ],
	[ '22023', "inv_add_item('X', hold_ttl => '-1 second')" ],
	[ '22023', "inv_add_item('X', hold_ttl => '1 month -31 days')" ],
	[ '22023', "inv_add_item('X', max_per_customer => 0)" ],
	[ '22023', "inv_add_item('X', max_per_customer => -1)" ],
	[ '22003', "inv_add_item('X', max_per_customer => $most + 1)" ],
	[ '22023', "inv_add_item('X', max_per_customer => 1, limit_window => '0')" ],
	[ '22023', "inv_add_item('X', max_per_customer => 1, limit_window => '-1 day')" ],
	[ '22023', "inv_set_item(NULL)" ],
	[ 'IV004', "inv_set_item('NOSUCH', 'x')" ],
	[ '22023', "inv_set_item('A', unit_price => -1)" ],
	[ '22003|22023', "inv_set_item('A', unit_price => 'NaN')" ],
	[ '22023', "inv_set_item('A', currency => 'e')" ],
	[ '22023', "inv_set_item('A', hold_ttl => '-1 second')" ],
	[ '22023', "inv_set_item('A', max_per_customer => -1)" ],
	[ '22003', "inv_set_item('A', max_per_customer => $most + 1)" ],
	[ '22023', "inv_set_item('A', limit_window => '-1 second')" ],
	[ '22023', "inv_rename_item(NULL, 'X')" ],
	[ '22023', "inv_rename_item('A', NULL)" ],
	[ '22023', "inv_rename_item('A', '')" ],
	[ '22023', "inv_rename_item('A', $megabyte)" ],
	[ '23505', "inv_rename_item('A', 'B')" ],
	[ 'IV004', "inv_rename_item('NOSUCH', 'X')" ],
	[ '22023', "inv_add_location(NULL)" ],
	[ '22023', "inv_add_location('')" ],
	[ '22023', "inv_add_location($megabyte)" ],
	[ '22023', "inv_add_location('x', priority => NULL)" ],
	[ '23505', "inv_add_location('store')" ],
	[ '23505', "inv_add_location('default')" ],

	[ '22023', "inv_route_sku('')" ],
	[ '22023', "inv_route_sku($megabyte)" ],
	[ '22P02', "inv_route_id('A')" ],

	# upkeep
	[ '22023', "inv_expire(0)" ],
	[ '22023', "inv_expire(-1)" ],
	[ '22023', "inv_expire($least)" ],
	[ '22023', "inv_purge('-1 day')" ],
	[ '22023', "inv_purge('-178000000 years')" ],
	[ '22007|22023', "inv_purge('infinity')" ],
	[ '22023', "inv_reconcile(NULL)" ],
	[ '22023', "inv_reconcile(false, NULL)" ],
	[ '25006', [ 'BEGIN READ ONLY', 'SELECT inv_reconcile()', 'ROLLBACK' ] ],
	[ '22023', "inv_grant(current_user, 'king')" ],
	[ '22023', "inv_grant(current_user, NULL)" ],
	[ '22023', "inv_grant(NULL, 'buyer')" ],
	[ '22023', "inv_grant('postgres', $megabyte)" ],
	[ '42704', "inv_grant('nobody_at_all', 'buyer')" ],
	[ '42704', "inv_grant('public', 'buyer')" ],
	[ '42704', "inv_grant('postgres; DROP TABLE inv_stock', 'buyer')" ],
	[ '2D000', [ 'BEGIN', 'CALL inv_maintain()', 'ROLLBACK' ] ],
	[ '2D000', [ '', 'DO $$BEGIN CALL inv_maintain(); PERFORM 1; EXCEPTION WHEN division_by_zero THEN NULL; END$$', '' ] ],

	# not now
	[ '25P02', [ 'BEGIN; SELECT 1/0', q{SELECT inv_reserve('A')}, 'ROLLBACK' ] ],
	[ '25P02', [ q{BEGIN; SELECT inv_reserve('NOSUCH')}, q{SELECT inv_reserve('A')}, 'ROLLBACK' ] ],
	[ '25006', [ 'BEGIN READ ONLY', q{SELECT inv_reserve('A')}, 'COMMIT' ] ],
	[ '25006', [ 'BEGIN READ ONLY', q{SELECT inv_try_reserve('A', 100000)}, 'COMMIT' ] ],
	[ '25006', [ 'BEGIN READ ONLY', qq{SELECT inv_confirm('$id{live}')}, 'COMMIT' ] ],
	[ '25006', [ 'BEGIN READ ONLY', q{SELECT inv_add_item('X')}, 'COMMIT' ] ],
	[ '25006', [ 'BEGIN READ ONLY', 'SELECT inv_expire()', 'COMMIT' ] ],
	[ '25006', [ 'BEGIN READ ONLY', q{SELECT inv_grant('postgres', 'buyer')}, 'COMMIT' ] ],
	[ '25006', [ 'SET default_transaction_read_only = on', q{SELECT inv_reserve('A')}, '' ] ],
	[ '25006', [ 'SET default_transaction_read_only = on', 'CALL inv_maintain()', '' ] ],
	[ '25006', [ 'BEGIN; SET TRANSACTION READ ONLY', q{SELECT inv_receive('A', 1)}, 'ROLLBACK' ] ],

	# the extension is there only in part
	(map { [ '55000', without("$outside TABLE $_;", q{inv_reserve('A')}) ] }
		qw(inv_item inv_stock inv_reservation inv_ledger)),
	[ '55000', without("$outside TABLE inv_idempotency;", q{inv_reserve('A', key => 'k')}) ],
	[ '55000', without("$outside TABLE inv_location;", q{inv_reserve('A', location => 'store')}) ],
	[ '55000', without("$outside TABLE inv_order;", "inv_confirm('$id{live}')") ],
	(map { [ '55000', without("$no_dependents $outside TABLE $_; DROP TABLE $_;", q{inv_reserve('A', key => 'k')}) ] }
		qw(inv_item inv_stock inv_reservation inv_ledger inv_idempotency inv_location)),
	[ '55000', without("$no_dependents $outside TABLE inv_stock; DROP TABLE inv_stock;", q{inv_available('A')}) ],
	[ '55000', without("$no_dependents $outside TABLE inv_stock; DROP TABLE inv_stock; CREATE TABLE inv_stock (evil int);", q{inv_reserve('A')}) ],
	[ '55000', without('ALTER TABLE inv_reservation DROP CONSTRAINT inv_reservation_pkey;', "inv_confirm('$id{live}')") ],
	[ '55000', without('ALTER TABLE inv_stock DROP CONSTRAINT inv_stock_pkey;', q{inv_reserve('A')}) ],
	[ '55000', without('ALTER TABLE inv_idempotency DROP CONSTRAINT inv_idempotency_pkey;', q{inv_reserve('A', key => 'used')}) ],
	[ '55000', without('DROP INDEX inv_reservation_expiry;', 'inv_expire()') ],
	[ '55000', without('DROP INDEX inv_reservation_held;', q{inv_reserve('A', 86)}) ],
	[ '55000', without("$outside SEQUENCE inv_ledger_entry_id_seq; ALTER TABLE inv_ledger ALTER entry_id DROP IDENTITY;", q{inv_reserve('A')}) ],
	[ '55000', without(q{CREATE FUNCTION left_over(text, text DEFAULT NULL) RETURNS bigint LANGUAGE c AS '$libdir/inventory_reservation', 'inv_available'; DROP EXTENSION inventory_reservation;}, q{left_over('A')}) ],
	[ '55000', without(q{CREATE FUNCTION left_over(bigint DEFAULT NULL) RETURNS bigint LANGUAGE c AS '$libdir/inventory_reservation', 'inv_expire'; DROP EXTENSION inventory_reservation;}, 'left_over()') ],
	[ '55000', without(q{CREATE FUNCTION left_over(name, text) RETURNS void LANGUAGE c AS '$libdir/inventory_reservation', 'inv_grant'; DROP EXTENSION inventory_reservation;}, q{left_over(current_user, 'buyer')}) ],
	[ '42883', without('DROP EXTENSION inventory_reservation;', q{inv_reserve('A')}) ],
);

foreach my $entry (@calls)
{
	my ($expected, $call) = @$entry;
	my ($before, $statement, $after) =
	  ref $call ? @$call : ('', "SELECT $call", '');
	my $name = "$before => $statement";
	my ($stdout, $stderr) = ('', '');

	$name =~ s/[^ -~]/?/g;
	$before .= ';' if $before ne '' && $before !~ /;$/;
	$after .= ';' if $after ne '';
	$node->psql('postgres',
		"SET client_encoding = 'UTF8';\n$before\n\\o /dev/null\n$statement;\n\\o\n\\echo sqlstate :SQLSTATE\n$after\nSELECT public.fingerprint();\n",
		on_error_stop => 0,
		stdout => \$stdout,
		stderr => \$stderr);
	my ($sqlstate) = $stdout =~ /^sqlstate (\S+)$/m;
	my $unchanged = $stdout =~ /^\Q$fingerprint\E$/m;

	$sqlstate = 'none' if !defined $sqlstate;
	$fingerprint = $node->safe_psql('postgres', 'SELECT public.fingerprint()') if !$unchanged;
	ok($sqlstate =~ /^(?:$expected)$/ && $unchanged, "$expected: " . substr($name, 0, 150))
	  or diag("got $sqlstate" . ($unchanged ? '' : ', and something was written') . "\n" . substr($stderr, 0, 1000));
}

# Extremes that are allowed, and what is then made of them.
value_is($node, q{
	SELECT inv_add_item('LONG', hold_ttl => '178956970 years') IS NOT NULL,
	       (inv_receive('LONG', 10)).available;
	SELECT expires_at BETWEEN clock_timestamp() + interval '23 hours' AND clock_timestamp() + interval '24 hours'
	  FROM inv_reserve('LONG')},
	"t|10\nt", 'a hold_ttl of all the years there are is cut to max_ttl');
value_is($node, q{
	SELECT inv_set_item('LONG', hold_ttl => '400000 years') IS NOT NULL;
	SELECT expires_at BETWEEN clock_timestamp() + interval '23 hours' AND clock_timestamp() + interval '24 hours'
	  FROM inv_reserve('LONG')},
	"t\nt", 'so is one with more microseconds than 64 bits can count');
value_is($node, q{
	SELECT expires_at BETWEEN clock_timestamp() + interval '23 hours' AND clock_timestamp() + interval '24 hours'
	  FROM inv_reserve('LONG', ttl => '178956970 years 2147483647 days')},
	't', 'so is a ttl');
value_is($node, q{
	SELECT expires_at BETWEEN clock_timestamp() + interval '23 hours' AND clock_timestamp() + interval '24 hours'
	  FROM inv_reserve('LONG', ttl => '400000 years')},
	't', 'of whatever length');
value_is($node, q{
	SELECT expires_at BETWEEN clock_timestamp() + interval '23 hours' AND clock_timestamp() + interval '24 hours'
	  FROM inv_reserve('LONG', ttl => '2562047788 hours')},
	't', 'and one in hours');
value_is($node, q{
	SELECT status FROM inv_reserve('LONG', ttl => '1 microsecond')},
	'active', 'the shortest ttl is one microsecond');
value_is($node, q{
	SELECT total FROM inv_reservation_status((inv_reserve_cart('[5:6]={FULL,LONG}', '[-3:-2]={1,1}')).reservation_id) WHERE false;
	SELECT status FROM inv_reserve_cart('[5:6]={FULL,LONG}', '[-3:-2]={1,1}')},
	'active', 'arrays may begin where they like');
value_is($node, q{
	SELECT status FROM inv_reserve_lines('[{"sku": "LONG", "quantity": 1.0}, {"sku": "FULL", "quantity": 1e1}]')},
	'active', 'whole numbers may be written as JSON allows');
value_is($node, q{
	SELECT inv_add_item('DEAR', unit_price => '1e130000') IS NOT NULL, (inv_receive('DEAR', 100000)).available;
	SELECT length(total::text) FROM inv_confirm((inv_reserve('DEAR', 100000)).reservation_id)},
	"t|100000\n130006", 'a price of a hundred thousand digits');
value_is($node, q{
	SELECT inv_add_item('DEARER', unit_price => '1e131071') IS NOT NULL, (inv_receive('DEARER', 100000)).available},
	't|100000', 'one whose total is more than any number');
is(sqlstate_of($node, q{SELECT inv_confirm((inv_reserve('DEARER', 100000)).reservation_id)}),
	'22003', 'is refused when it is sold');
value_is($node, q{
	SELECT status FROM inv_reserve('FULL', 1, metadata => jsonb_build_object('text', repeat('x', 1048576)))},
	'active', 'metadata may be a megabyte');
value_is($node, q{
	SELECT on_hand FROM inv_receive('B', 1, reason => repeat('x', 1048576))},
	'101', 'so may a reason');
# A session that brings a setting of the shop's along gets nowhere with it.
{
	local $ENV{PGOPTIONS} =
	  '-c inventory_reservation.max_ttl=1000d -c inventory_reservation.default_ttl=500d -c client_min_messages=error';
	value_is($node, q{
		SELECT expires_at < clock_timestamp() + interval '25 hours' FROM inv_reserve('FULL');
		SELECT expires_at < clock_timestamp() + interval '25 hours' FROM inv_reserve('FULL', ttl => '999 days');
		SHOW inventory_reservation.max_ttl},
		"t\nt\n1d", 'max_ttl in the options of a connection');
}

# The server is the one that was started, and no error was an internal one.
my $log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|PANIC:|TRAP:/, 'the server has not crashed');
my $errors = logged_errors($node);
is(join(' ', grep { /^XX/ } sort keys %$errors), '', 'no internal error');
books_are_right($node, 'the books are right');

$node->stop;
done_testing();
