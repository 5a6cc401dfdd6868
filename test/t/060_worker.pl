# With the library preloaded, background workers sweep by themselves: in time,
# as somebody who may do nothing else, beside everybody else who sweeps.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1
log_min_messages = debug1
CONF

add_stock($node, A => 10);
$node->safe_psql('postgres',
	q{SELECT inv_reserve('A', 4, ttl => '100 milliseconds')});
ok( $node->poll_query_until('postgres',
		q{SELECT status = 'expired' FROM inv_reservation}),
	'a dead hold is swept');
books_are_right($node);
$node->stop;
done_testing();
