# pg_upgrade from the oldest PostgreSQL there is, over those between, to this one,
# in the middle of a sale.  Each step brings along every row as it was: nothing
# held is free, nothing that is paid for is gone.  And the sale goes on with it:
# holds are confirmed that were made two versions ago, a call that is repeated
# for want of an answer is recognized, a consumer of the feed misses nothing.
#
# Older servers are those in OLDER_POSTGRES, directories of programs.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @older = split ' ', $ENV{OLDER_POSTGRES} || '';
plan skip_all => 'no older PostgreSQL is installed' if !@older;

my $conf = <<'CONF';
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
CONF

# Without the programs, as a cluster of this PostgreSQL.
sub place
{
	my ($programs) = @_;
	return $programs ? (install_path => $programs =~ s{/bin$}{}r) : ();
}

# Every row of every table of the extension, and the sequences.
sub contents
{
	my ($node) = @_;
	my %contents;

	foreach my $row (
		split /\n/,
		$node->safe_psql('postgres', q{
			SELECT relname, relkind FROM pg_class
			 WHERE relnamespace = 'inv'::regnamespace AND relkind IN ('r', 'S')}))
	{
		my ($name, $kind) = split /\|/, $row;
		my $columns = $kind eq 'S' ? 'last_value, is_called' : '*';

		$contents{$name} = $node->safe_psql('postgres',
			"SELECT t::text FROM (SELECT $columns FROM inv.$name) AS t ORDER BY 1");
	}
	return \%contents;
}

# A consumer of the feed, who has but his cursor, reads a page of it.
my ($cursor, @read);

sub read_events
{
	my ($node, $count) = @_;
	my $after = defined $cursor ? "'$cursor'" : 'NULL';

	foreach my $row (split /\n/,
		$node->safe_psql('postgres', "SELECT entry_id, cursor FROM inv_events($after, $count)"))
	{
		(my $entry_id, $cursor) = split /\|/, $row;
		push @read, $entry_id;
	}
	return;
}

# Move to the next PostgreSQL.
sub upgrade
{
	my ($old, $programs) = @_;
	my $new = PostgreSQL::Test::Cluster->new(($programs || 'this') =~ s/\W+/_/gr,
		place($programs));
	my $bindir = $new->config_data('--bindir');
	my $version = $new->config_data('--version');
	my $checksums = $old->safe_psql('postgres', 'SHOW data_checksums');

	# 18 has checksums by default, and both must agree.
	$new->init(extra => $checksums eq 'off' && $version =~ / (\d+)/ && $1 >= 18
		? ['--no-data-checksums'] : []);
	$new->append_conf('postgresql.conf', $conf);
	$old->stop;
	chdir PostgreSQL::Test::Utils::tempdir;
	command_ok(
		[
			"$bindir/pg_upgrade", '--no-sync',
			'--old-datadir', $old->data_dir, '--new-datadir', $new->data_dir,
			'--old-bindir', $old->config_data('--bindir'), '--new-bindir', $bindir,
			'--socketdir', $new->host,
			'--old-port', $old->port, '--new-port', $new->port
		],
		"pg_upgrade to $version");
	$new->start;
	return $new;
}

my $node = inventory_node('oldest', conf => $conf, new => { place($older[0]) });
note $node->safe_psql('postgres', 'SELECT version()');

# One of each for every step: of holds, keys, orders, and what is unread.
my @steps = (@older[ 1 .. $#older ], undef);
add_stock($node, map { $_ => 100 } qw(PHONE LAPTOP CABLE));
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('PHONE', 8);
	CREATE ROLE shop LOGIN;
	SELECT inv_grant('shop', 'buyer');
	CREATE FUNCTION hold_of(buyer text) RETURNS uuid LANGUAGE sql STABLE
	RETURN (SELECT DISTINCT reservation_id FROM inv_reservation WHERE customer = buyer)});
foreach my $step (0 .. $#steps)
{
	$node->safe_psql('postgres', qq{
		SELECT inv_reserve('PHONE', 2, key => 'held $step', customer => 'ada $step', ttl => '12 h');
		SELECT inv_reserve_cart('{LAPTOP,CABLE}', '{1,3}', customer => 'bob $step', ttl => '12 h');
		SELECT inv_reserve('PHONE', 5, customer => 'cy $step', ttl => '12 h');
		SELECT inv_reserve('LAPTOP', 4, key => 'sold $step', customer => 'dan $step');
		SELECT inv_confirm(hold_of('dan $step'), key => 'paid $step', payment_status => 'paid')});
}
# dies on its way
$node->safe_psql('postgres', q{SELECT inv_reserve('CABLE', 90, customer => 'eve', ttl => '1 s')});
read_events($node, 7);
books_are_right($node, 'the books are right before');

foreach my $step (0 .. $#steps)
{
	my $before = contents($node);
	my $left = $node->safe_psql('postgres', "SELECT inv_available('PHONE')");
	my $old = $node;
	$node = upgrade($old, $steps[$step]);
	my $name = 'PostgreSQL ' . $node->safe_psql('postgres', 'SHOW server_version_num') / 10000;
	$name =~ s/\..*//;

	is_deeply(contents($node), $before, "$name: every row is as it was");
	books_are_right($node, "$name: the books are right");
	value_is($node, "SELECT inv_available('PHONE')", $left, "$name: what is held is held");

	# repeated calls
	value_is($node, qq{
		SELECT reservation_id = hold_of('ada $step'), replayed
		  FROM inv_reserve('PHONE', 2, key => 'held $step', customer => 'ada $step', ttl => '12 h')},
		't|t', "$name: a key brings back its hold");
	value_is($node, qq{
		SELECT replayed, total FROM inv_confirm(hold_of('dan $step'), key => 'paid $step', payment_status => 'paid')},
		't|40', "$name: a key brings back its order");

	# what was begun is brought to an end, each kind of it, by the shop's role
	value_is($node, qq{
		SET ROLE shop; SET search_path = inv, public;
		SELECT status, total FROM inv_confirm((inv_reserve('PHONE', 2, key => 'held $step',
			customer => 'ada $step', ttl => '12 h')).reservation_id)},
		'confirmed|20', "$name: a hold is confirmed");
	value_is($node, "SELECT status, total FROM inv_confirm(hold_of('bob $step'))",
		'confirmed|40', "$name: a cart is confirmed");
	value_is($node, "SELECT status FROM inv_release(hold_of('cy $step'), 'PHONE', 1)",
		'active', "$name: a hold is made smaller");
	value_is($node, "SELECT inv_extend(hold_of('cy $step'), '13 h') > now() + '12 h'", 't',
		"$name: it lives on");
	value_is($node, "SELECT status FROM inv_cancel(hold_of('cy $step'))",
		'cancelled', "$name: it is given back");
	is(sqlstate_of($node, q{SELECT inv_confirm(hold_of('eve'))}), 'IV002',
		"$name: a dead hold stays dead");
	value_is($node, qq{
		SELECT status FROM inv_return((SELECT order_id FROM inv_order WHERE customer = 'dan $step'), 'LAPTOP', 1)},
		'confirmed', "$name: something comes back of an order");

	# a dead hold's stock is there for who wants it
	if ($step == 0)
	{
		value_is($node, q{SELECT status FROM inv_reserve('CABLE', 80, customer => 'flo', ttl => '12 h')},
			'active', "$name: what died is sold to somebody else");
	}

	# a consumer
	read_events($node, 5);
	value_is($node, q{SELECT count(*) = (SELECT count(*) FROM inv_ledger) FROM inv_events(NULL, 1000000)},
		't', "$name: the feed has the whole ledger");
	books_are_right($node, "$name: the books are right after calls");
}

# All stripes are still found: the last unit is sold, and not one more.
my $left = $node->safe_psql('postgres', "SELECT inv_available('PHONE')");
value_is($node, "SELECT status FROM inv_reserve('PHONE', $left)", 'active', 'the rest is sold');
is(sqlstate_of($node, q{SELECT inv_reserve('PHONE')}), 'IV001', 'and then no more');

# What the consumer has read on all servers, with the rest from here, is the
# ledger, each entry once.
read_events($node, 1000000);
is(join("\n", sort { $a <=> $b } @read),
	$node->safe_psql('postgres', 'SELECT entry_id FROM inv_ledger ORDER BY entry_id'),
	'the consumer has read each entry once');
books_are_right($node);
$node->stop;

done_testing();
