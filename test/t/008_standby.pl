# On a standby every call that may write is refused at once, whatever it is given
# and whether or not it would find something to write, and every call that reads
# works; after promotion all of them work.
use strict;
use warnings;

use InventoryTest;
use Test::More;

my $primary = inventory_node('primary', init => { allows_streaming => 1 });

add_stock($primary, 'A' => 100, 'B' => 100);
# A customer who waits.
$primary->safe_psql('postgres', "SELECT inv_add_item('C'), inv_join_waitlist('C', 1, 'ann')");
my $hold = $primary->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve('A', 3, key => 'k', ttl => '1 hour')");
my $sold = $primary->safe_psql('postgres',
	"SELECT reservation_id FROM inv_reserve_cart('{A,B}', '{1,2}')");
my $order = $primary->safe_psql('postgres',
	"SELECT order_id FROM inv_confirm('$sold')");
my $dead = $primary->safe_psql('postgres', q{
	SELECT reservation_id FROM inv_reserve('A', 5, ttl => '1 millisecond')});

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

# Arguments with which each call would write, were it not for the standby.
my %writes = (
	inv_add_item => "'new'",
	inv_add_location => "'annexe'",
	inv_adjust => "'A', -1",
	inv_cancel => "'$hold'",
	inv_cancel_order => "'$order'",
	inv_complete_order => "'$order'",
	inv_confirm => "'$hold'",
	inv_expire => '',
	inv_extend => "'$hold', '2 hours'",
	inv_grant => "'auditor_role', 'auditor'",
	inv_join_waitlist => "'A', 1, 'customer'",
	inv_leave_waitlist => "'A', 'customer'",
	inv_load_stock => "'{A}', '{50}'",
	inv_maintain => '',
	inv_purge => "'1 microsecond'",
	inv_reconcile => 'true',
	inv_receive => "'A', 1",
	inv_record_payment => "'$order', 'paid'",
	inv_release => "'$hold', 'A', 1",
	inv_rename_item => "'A', 'Z'",
	inv_reserve => "'A', 1",
	inv_reserve_cart => "'{A,B}', '{1,1}'",
	inv_reserve_batch => q{'{A}', '{1}'},
	inv_reserve_lines => q{'[{"sku": "A", "quantity": 1}]'},
	inv_return => "'$order', 'A', 1",
	inv_schedule => '',
	inv_set_item => "'A', 'Name'",
	inv_set_policy => "'A', 1",
	inv_set_stock => "'A', 50",
	inv_set_stripes => "'A', 1",
	inv_transfer => "'A', 1, 'default', 'store'",
	inv_try_reserve => "'A', 1",
	inv_try_reserve_cart => "'{A,B}', '{1,1}'",
	inv_unschedule => '',
);
# inv_stat_reset, which is left out, writes to shared memory only: see below.
# These write only where pg_cron is.
my %for_pg_cron = map { $_ => 1 } qw(inv_schedule inv_unschedule);
# What a repeat, which would only read, is told.
my %replays = (
	inv_reserve => "'A', 3, key => 'k', ttl => '1 hour'",
	inv_confirm => "'$sold'",
);

# What is asked of dead holds, which a sweep would have closed, and of the stock
# that is under them.
my @of_the_dead = (
	"inv_confirm('$dead')", "inv_cancel('$dead')",
	"inv_release('$dead', 'A', 1)", "inv_extend('$dead', '1 hour')",
	"inv_reserve('A', 95)", "inv_try_reserve('A', 95)", "inv_reserve('A', 95, split => true)",
	'inv_expire(1)');

sub functions
{
	my ($what, $condition) = @_;
	return split /\n/, $primary->safe_psql('postgres', qq{
		SELECT $what
		  FROM pg_extension AS extension
		  JOIN pg_depend AS member
			ON member.refclassid = 'pg_extension'::regclass
		   AND member.refobjid = extension.oid AND member.deptype = 'e'
		  JOIN pg_proc AS proc
			ON member.classid = 'pg_proc'::regclass AND proc.oid = member.objid
		 WHERE extension.extname = 'inventory_reservation'
		   AND proc.proname <> 'inv_stat_reset' AND proc.prorettype <> 'trigger'::regtype
		   AND $condition
		 ORDER BY proc.proname COLLATE "C"});
}

is(join(' ', sort keys %writes),
	join(' ', functions('proc.proname', "proc.provolatile = 'v'")),
	'every volatile function is in this test');

sub call
{
	my ($function, $arguments) = @_;
	return ($function eq 'inv_maintain' ? 'CALL' : 'SELECT')
	  . " $function($arguments)";
}

foreach my $function (sort keys %writes)
{
	my $state = sqlstate_of($standby, call($function, $writes{$function}));

	if ($for_pg_cron{$function})
	{
		like($state, qr/^(?:25006|00000)$/, "standby: $function");
	}
	else
	{
		is($state, '25006', "standby: $function is refused");
	}
}
is(sqlstate_of($standby, call($_, $replays{$_})),
	'25006', "standby: $_ is refused even where it would replay")
  foreach sort keys %replays;
# "At once": before anything that the arguments would have to be read for.
is(sqlstate_of($standby, "SELECT inv_reserve('no such thing', 1)"),
	'25006', 'standby: refused before the SKU is looked up');
is(sqlstate_of($standby, "SELECT inv_reserve('A', -1)"),
	'22023', 'standby: an argument that is wrong everywhere is told first');
is(sqlstate_of($standby, "SELECT $_"), '25006', "standby: $_, of the dead, is refused")
  foreach @of_the_dead;
foreach my $function (functions('proc.proname', "'key' = ANY (proc.proargnames)"))
{
	is( sqlstate_of($standby,
			call($function, "$writes{$function}, key => '$_'")),
		'25006', "standby: $function with key $_ is refused")
	  foreach 'k', 'new';
}
# Nothing but nulls: either they are wrong, or the function is refused.
my %refused;
foreach my $row (
	functions(
		q{proc.proname, ARRAY(SELECT 'NULL::' || format_type(type, NULL)
								FROM unnest(proc.proargtypes) AS type)},
		"proc.provolatile = 'v' AND proc.pronargs > 0"))
{
	my ($function, $nulls) = $row =~ /^(\w+)\|\{(.*)\}$/;
	next if $for_pg_cron{$function};
	$nulls =~ s/"//g;
	my $wrong = sqlstate_of($standby, call($function, $nulls));
	is( $wrong, sqlstate_of($primary, 'SET default_transaction_read_only = on; '
			  . call($function, $nulls)),
		"standby: $function of nulls is told what a read-only transaction is told");
	like($wrong, qr/^(?:25006|22023)$/, "standby: $function of nulls is refused");
	$refused{$wrong}++;
}
cmp_ok($refused{$_}, '>', 2, "standby: nulls are told $_") foreach qw(25006 22023);

# The same in a read-only transaction of the primary.
foreach my $function (sort keys %writes)
{
	next if $for_pg_cron{$function};
	# A procedure that commits cannot be called in a transaction block.
	my $sql = call($function, $writes{$function});
	is( sqlstate_of(
			$primary, "SET default_transaction_read_only = on; $sql"),
		'25006', "read-only transaction: $function is refused");
}

# Reads.
sub reads
{
	my ($node, $when) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	value_is($node, "SELECT inv_available('A')", 96, "$when: inv_available");
	value_is($node, "SELECT status FROM inv_reservation_status('$hold')",
		'active', "$when: inv_reservation_status");
	value_is($node, "SELECT status FROM inv_reservation_status('$dead')",
		'expired', "$when: inv_reservation_status of a dead hold");
	value_is($node, "SELECT status, total FROM inv_order_status('$order')",
		'confirmed|30', "$when: inv_order_status");
	value_is($node, "SELECT state, position FROM inv_waitlist_status('C', 'ann')",
		'waiting|1', "$when: inv_waitlist_status");
	value_is($node, 'SELECT sku, position, customer FROM inv_waiting',
		'C|1|ann', "$when: inv_waiting");
	value_is($node,
		'SELECT sku, on_hand, reserved, dead, available FROM inv_availability'
		  . ' ORDER BY sku',
		"A|99|8|5|96\nB|98|0|0|98\nC|0|0|0|0", "$when: inv_availability");
	value_is($node, 'SELECT units FROM inv_active_holds',
		3, "$when: inv_active_holds");
	value_is($node,
		"SELECT string_agg(sku || quantity, ' ' ORDER BY sku, quantity)"
		  . " FROM inv_reservation_lines WHERE quantity <> 7",
		'A1 A3 A5 B2', "$when: inv_reservation_lines");
	value_is($node, q{
		SELECT (SELECT count(*) FROM inv_ledger_by_hour) = (SELECT count(*) FROM inv_ledger),
			   (SELECT sum(units_held) FROM inv_hold_conversion) > 0,
			   (SELECT sum(units_received + units_corrected) FROM inv_sell_through) > 0,
			   (SELECT count(*) >= 0 FROM inv_sold_out)},
		't|t|t|t', "$when: the views by hour");
	value_is($node, "SELECT inv_route_id('$hold') = inv_route_sku('A')",
		't', "$when: inv_route_id and inv_route_sku");
	value_is($node, 'SELECT oldest_dead_hold_age > interval \'0\' FROM inv_stat',
		't', "$when: inv_stat");
	is(sqlstate_of($node, 'SELECT inv_stat_reset()'), '00000', "$when: inv_stat_reset");
	value_is($node, q{
		SELECT count(*) = (SELECT count(*) FROM inv_ledger),
			   max(cursor) FILTER (WHERE ordinality = count) = inv_newest_event()
		  FROM (SELECT *, count(*) OVER () FROM inv_events() WITH ORDINALITY) AS event},
		't|t', "$when: inv_events and inv_newest_event");
	value_is($node, 'SELECT library = extension AND library = inv_library_version(), to_do FROM inv_version()',
		't|', "$when: inv_version and inv_library_version");
	is(sqlstate_of($node, 'SELECT * FROM inv_stat_counters()'),
		'00000', "$when: inv_stat_counters");
	is( sqlstate_of($node, "BEGIN READ ONLY; SELECT inv_available('A');"
			  . 'SELECT count(*) FROM inv_check()'),
		'00000', "$when: in a read-only transaction");
	books_are_right($node, "$when: inv_check");
	return;
}
is( join(' ', functions('proc.proname', "proc.provolatile <> 'v'")),
	'inv_available inv_check inv_events inv_library_version inv_newest_event'
	  . ' inv_order_status inv_reservation_status inv_route_id inv_route_sku'
	  . ' inv_stat_counters inv_version inv_waitlist_status',
	'every function that reads is in this test');
reads($standby, 'standby');

# What the primary does meanwhile is seen there.
$primary->safe_psql('postgres',
	"SELECT inv_cancel(reservation_id) FROM inv_reserve('B', 7)");
$primary->wait_for_catchup($standby);
value_is($standby,
	"SELECT string_agg(operation, ' ' ORDER BY entry_id) FROM inv_ledger"
	  . ' WHERE abs(delta_reserved) = 7',
	'reserve cancel', 'standby: follows the primary');
reads($standby, 'standby, later');

# One session sees the whole of it: refused, promoted, served.
my $session = $standby->background_psql('postgres', on_error_stop => 0);
my ($answer, $failed) = $session->query("SELECT inv_reserve('A', 1)");
ok($failed, 'before promotion: refused');
$session->{stderr} = '';
$primary->stop('fast');
$standby->promote;
value_is($standby, 'SELECT pg_is_in_recovery()', 'f', 'promoted');
is($session->query("SELECT status FROM inv_reserve('A', 1)"),
	'active', 'the same session, after promotion: served');
$session->quit;

value_is($standby,
	"SELECT reservation_id, replayed FROM inv_reserve('A', 3, key => 'k', ttl => '1 hour')",
	"$hold|t", 'promoted: a repeat of a call to the old primary replays');
value_is($standby, "SELECT status FROM inv_confirm('$hold')",
	'confirmed', 'promoted: a hold from the old primary can be sold');
value_is($standby, 'SELECT inv_expire()',
	1, 'promoted: a hold that died there is swept');
foreach my $function (sort keys %writes)
{
	isnt(sqlstate_of($standby, call($function, $writes{$function})),
		'25006', "promoted: $function is not refused for being a standby");
}
books_are_right($standby, 'promoted: inv_check');

$standby->stop;
done_testing();
