# The clients of examples/clients do the same, whatever the language: buy, once
# for each key; take short stock for an answer; begin anew when a race is lost
# or the connection breaks, even if nobody knows whether that was before or
# after the commit; and give back what was paid for nothing.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Clients;
use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = clients_node();
my $bought = "held UUID\npaid 20\nsold UUID\n";

make_clients_ready();
add_stock($node, map { $_ => 100 } @clients);
add_stock($node, map { ("$_ scarce" => 1, "$_ late" => 1, "$_ closed" => 2) } @clients);
inject_faults($node);

# Orders, ledger entries of holds and of sales, all of one customer.
sub movements
{
	my ($customer) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT (SELECT count(*) FROM inv_order WHERE customer = '$customer'),
		       count(*) FILTER (WHERE operation = 'reserve'),
		       count(*) FILTER (WHERE operation = 'confirm')
		  FROM inv_ledger
		 WHERE reservation_id IN (SELECT reservation_id FROM inv_reservation
		                           WHERE customer = '$customer')});
}

sub status_of
{
	my ($customer) = @_;
	return $node->safe_psql('postgres',
		"SELECT DISTINCT status FROM inv_reservation WHERE customer = '$customer'");
}

foreach my $client (@clients)
{
	# O'Brien: a name that would end a string.
	my $ada = "$client O'Brien";
	(my $ada_in_sql = $ada) =~ s/'/''/g;
	my $first = run_client($node, $client, [ $client, 2, $ada ]);
	is($first->{status}, 0, "$client: buys");
	is($first->{said}, $bought, "$client: prints what it did");
	is($first->{stderr}, '', "$client: has nothing else to say");
	value_is($node,
		"SELECT customer, payment_status, total FROM inv_order WHERE order_id = '$first->{order}'",
		"$ada|paid|20", "$client: the order");
	is(payments($first->{key}), "charge $first->{key} 20", "$client: the payment has the key");

	my $second = run_client($node, $client, [ $client, 2, $ada ]);
	isnt($second->{key}, $first->{key}, "$client: another purchase has another key");
	is(movements($ada_in_sql), '2|2|2', "$client: and is another order");

	my $again = run_client($node, $client, [ $client, 2, $ada, $first->{key} ]);
	is($again->{status}, 0, "$client: the same key is no mistake");
	is_deeply([ @$again{qw(hold order)} ], [ @$first{qw(hold order)} ],
		"$client: it is the same purchase");
	is(movements($ada_in_sql), '2|2|2', "$client: and no other order");

	my $short = run_client($node, $client, [ "$client scarce", 2, $client, "$client short" ]);
	is_deeply([ @$short{qw(status said)} ], [ 3, "sold out, 1 left\n" ],
		"$client: the buyer hears that stock is short");
	is(payments("$client short"), '', "$client: and does not pay");

	my $unknown = run_client($node, $client, [ 'no such SKU', 1, $client ]);
	ok($unknown->{status} != 0 && $unknown->{status} != 3, "$client: an unknown SKU is an error");
	like($unknown->{stderr}, qr/unknown SKU/, "$client: which is told");
	is_deeply($unknown->{again}, [], "$client: and not tried again");

	# Payment declined.
	my $declined = run_client($node, $client, [ $client, 2, "poor $client", "$client poor" ],
		env => { DECLINE => 1 });
	is_deeply([ @$declined{qw(status said)} ],
		[ 3, "held UUID\npayment declined, hold cancelled\n" ],
		"$client: a purchase that is not paid comes to nothing");
	is(status_of("poor $client"), 'cancelled', "$client: its hold is cancelled");
	$declined = run_client($node, $client, [ $client, 2, "poor $client", "$client poor" ]);
	is_deeply([ @$declined{qw(status said)} ],
		[ 3, "held UUID\ncancelled, begin anew with another key\n" ],
		"$client: and stays so");
	is( payments("$client poor"),
		"charge $client poor 20\nrefund $client poor 20",
		"$client: nothing is charged for it");

	# The shop takes the units away while the buyer pays.
	my $closed = run_client($node, $client, [ "$client closed", 2, "late $client", "$client closed" ],
		env => { WHILE_PAYING => 'psql -Xq -d "'
			  . $node->connstr('postgres')
			  . qq{" -c "SELECT inv_set_stock('$client closed', 0, force => true)" >/dev/null} });
	is_deeply([ @$closed{qw(status said)} ],
		[ 3, "held UUID\npaid 20\ntoo late, payment returned\n" ],
		"$client: what was paid for a cancelled hold goes back");
	is( payments("$client closed"),
		"charge $client closed 20\nrefund $client closed 20",
		"$client: and only that");

	# Each transaction fails three times before it gets through.
	my $unlucky = run_client($node, $client, [ $client, 2, "unlucky $client" ]);
	is($unlucky->{said}, $bought, "$client: buys in spite of lost races and connections");
	like("@{ $unlucky->{again} }", faults_met(2), "$client: having met them all");
	is(movements("unlucky $client"), '1|1|1', "$client: one order");
	$unlucky = run_client($node, $client, [ $client, 2, "unlucky poor $client" ],
		env => { DECLINE => 1 });
	like("@{ $unlucky->{again} }", faults_met(2), "$client: so does a cancellation");
	is(status_of("unlucky poor $client"), 'cancelled', "$client: and succeeds");

	my $hopeless = run_client($node, $client, [ $client, 2, "hopeless $client" ]);
	ok($hopeless->{status} != 0 && $hopeless->{status} != 3, "$client: gives up in the end");
	is("@{ $hopeless->{again} }", join(' ', ('40001') x 7), "$client: after eight attempts");
	like($hopeless->{stderr}, qr/lost a race/, "$client: and says why");

	# Committed, and not known to be.
	my ($port, $thief) = start_thief($node);
	my $robbed = run_client($node, $client, [ $client, 2, "robbed $client" ],
		host => '127.0.0.1', port => $port);
	kill 'KILL', $thief;
	waitpid $thief, 0;
	is($robbed->{said}, $bought, "$client: buys when answers get lost");
	is(scalar @{ $robbed->{again} }, 2, "$client: of both transactions");
	is(movements("robbed $client"), '1|1|1', "$client: once");
}

# Holds die while their buyers pay.
$node->safe_psql('postgres',
	q{LOAD 'inventory_reservation'; ALTER SYSTEM SET inventory_reservation.max_ttl = '1s'});
$node->reload;
$node->poll_query_until('postgres',
	"SELECT current_setting('inventory_reservation.max_ttl') = '1s' FROM inv_library_version()")
  or die 'max_ttl is not set';
my $until_dead = q{
	DO $$
	BEGIN
		WHILE inv_available('%s') = 0 LOOP
			PERFORM pg_sleep(0.05);
		END LOOP;
	END
	$$;
};
foreach my $client (@clients)
{
	my $file = PostgreSQL::Test::Utils::tempdir . '/while_paying.sql';
	my %env = (WHILE_PAYING => "psql -Xq -v ON_ERROR_STOP=1 -f $file -d '"
		  . $node->connstr('postgres')
		  . "' >/dev/null");

	append_to_file($file, sprintf $until_dead, "$client scarce");
	my $lucky = run_client($node, $client, [ "$client scarce", 1, "slow $client" ], env => \%env);
	is($lucky->{said}, "held UUID\npaid 10\nsold UUID\n",
		"$client: a hold that died while it was paid is sold if the units are still there");

	unlink $file;
	append_to_file($file, sprintf($until_dead, "$client late")
		  . "SELECT inv_confirm(reservation_id) FROM inv_reserve('$client late')");
	my $late = run_client($node, $client, [ "$client late", 1, "later $client", "$client late" ],
		env => \%env);
	is_deeply([ @$late{qw(status said)} ],
		[ 3, "held UUID\npaid 10\ntoo late, payment returned\n" ],
		"$client: and is not if somebody else has bought them");
	is(payments("$client late"), "charge $client late 10\nrefund $client late 10",
		"$client: what was paid goes back");
	$late = run_client($node, $client, [ "$client late", 1, "later $client", "$client late" ]);
	is_deeply([ @$late{qw(status said)} ],
		[ 3, "held UUID\nexpired, begin anew with another key\n" ],
		"$client: a repeat comes to nothing as well");
}

books_are_right($node);

$node->stop;
done_testing();
