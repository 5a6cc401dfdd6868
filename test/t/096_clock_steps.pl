# The wall clock is set forward and back by an hour, under everything.
#
# What must never happen: that a hold whose units were given away comes back to
# life, that a unit is sold twice, that somebody sleeps until the clock is where
# it was, or that upkeep takes a step for passed time and damages the books.  A
# hold that was only said to be dead, and of which nobody has taken anything,
# may live on when the clock goes back: what decides is the clock, and the test
# says so.
#
# The server gets a clock of its own (SteppedClock.pm).
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SteppedClock;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'a sanitized server takes no clock from a test'
  if $ENV{SANITIZE} || $ENV{VALGRIND};

my $seconds = $ENV{INVENTORY_LOAD_SECONDS} || 10;
my $hour = 3600;
my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
inventory_reservation.naptime = 1
inventory_reservation.reconcile_interval = 1
CONF
my $clock = restart_with_clock($node);

sub hold
{
	my ($what) = @_;
	return $node->safe_psql('postgres', "SELECT reservation_id FROM $what");
}

sub status_is
{
	my ($hold, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return value_is($node, "SELECT status FROM inv_reservation_status('$hold')",
		$expected, $name);
}

# Nothing that needs a living hold works with this one.
sub stays_dead
{
	my ($hold, $sku, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	status_is($hold, 'expired', "$name: it reads expired");
	is(sqlstate_of($node, "SELECT $_"), 'IV002', "$name: $_ raises IV002")
	  foreach "inv_confirm('$hold')", "inv_extend('$hold', '2 hours')",
	  "inv_release('$hold', '$sku', 1)";
	value_is($node, "SELECT status FROM inv_cancel('$hold')", 'expired',
		"$name: cancel finds it expired");
	return;
}

add_stock($node, map { ($_ => 10) } 'swept', 'taken', 'cart 1', 'cart 2', 'idle', 'ahead', 'keyed');

set_clock($hour);
cmp_ok(abs($node->safe_psql('postgres', 'SELECT extract(epoch FROM clock_timestamp())')
		  - time - $hour), '<', 30, 'the server\'s clock can be set');
set_clock(0);

#
# Dead by a step forward, and then the clock goes back
#
{
	my $swept = hold(q{inv_reserve('swept', 10, ttl => '10 minutes')});
	my $taken = hold(q{inv_reserve('taken', 10, ttl => '10 minutes')});
	my $cart = hold(
		q{inv_reserve_cart('{cart 1,cart 2}', '{10,10}', ttl => '10 minutes')});
	my $idle = hold(q{inv_reserve('idle', 10, ttl => '10 minutes')});

	set_clock($hour);
	status_is($_, 'expired', 'an hour later it is dead') foreach $swept, $taken, $cart, $idle;
	# buyers take some, a sweep the rest of what is dead; the cart loses one of
	# its lines, and "idle" nobody needs
	my $sold = hold(q{inv_reserve('taken', 10, ttl => '2 hours')});
	my $part = hold(q{inv_reserve('cart 2', 10, ttl => '2 hours')});
	my $busy = $node->background_psql('postgres');
	$busy->query_safe('BEGIN');
	$busy->query_safe(q{
		SELECT count(*) FROM (
			SELECT FROM inv_reservation AS line JOIN inv_item AS item USING (item_id)
			 WHERE item.sku IN ('cart 1', 'idle') FOR UPDATE OF line) AS busy});
	value_is($node, 'SELECT inv_expire()', 1, 'a sweep takes what nobody has locked');
	$busy->query_safe('ROLLBACK');
	$busy->quit;
	books_are_right($node, 'an hour ahead: inv_check() finds nothing');

	set_clock(0);
	books_are_right($node, 'back again: inv_check() finds nothing');
	value_is($node, 'SELECT count(*) FROM inv_reconcile(complete => true)', 0,
		'back again: nor does a reconciliation');
	is(sqlstate_of($node, "SELECT inv_reserve('taken')"), 'IV001',
		'what the next buyer has taken is his');
	is(sqlstate_of($node, "SELECT inv_reserve('cart 2')"), 'IV001', 'be it of a cart');
	stays_dead($swept, 'swept', 'swept an hour ahead');
	stays_dead($taken, 'taken', 'reclaimed an hour ahead');
	stays_dead($cart, 'cart 1', 'a cart of which a line was reclaimed');
	value_is($node, "SELECT inv_available('swept'), inv_available('cart 1')",
		'10|10', 'the units of those that died are free');
	value_is($node, "SELECT status FROM inv_confirm('$_')", 'confirmed',
		'who came after them can buy')
	  foreach $sold, $part;
	# this is what there is no promise about
	status_is($idle, 'active', 'of whom nobody has taken anything, lives by the clock');
	value_is($node, "SELECT status FROM inv_confirm('$idle')", 'confirmed', 'and can buy');
	books_are_right($node);
}

#
# Made while the clock was ahead
#
{
	set_clock($hour);
	my $ahead = hold(q{inv_reserve('ahead', 10, ttl => '10 minutes')});
	set_clock(0);
	status_is($ahead, 'active', 'made an hour ahead: it lives');
	value_is($node, "SELECT inv_expire()", 0, 'and is not swept');
	is($node->safe_psql('postgres', qq{
			SELECT extended = expires_at
			  FROM inv_extend('$ahead', '10 minutes') AS extended,
				   inv_reservation_status('$ahead')}),
		't', 'an extension does not shorten it');
	set_clock($hour + 11 * 60);
	status_is($ahead, 'expired', 'and is dead when the clock says so');
	value_is($node, "SELECT status FROM inv_reserve('ahead', 10, ttl => '1 second')",
		'active', 'then its units are free');
	set_clock(0);
	stays_dead($ahead, 'ahead', 'back again');
	books_are_right($node);
}

#
# A key, and what it has made, stay as long as was promised, whatever the order
# of their times has become
#
{
	$node->safe_psql('postgres', q{
		ALTER SYSTEM SET inventory_reservation.reservation_retention = '1 min';
		ALTER SYSTEM SET inventory_reservation.ledger_retention = '1 min'});
	$node->reload;
	set_clock($hour);
	my $hold = hold(q{inv_reserve('keyed', 10, key => 'k')});
	set_clock(0);
	$node->safe_psql('postgres', "SELECT inv_cancel('$hold')");
	foreach my $minutes (2, 55, 65, 120, 24 * 60 + 30)
	{
		set_clock($minutes * 60);
		$node->safe_psql('postgres', 'CALL inv_maintain()');
		value_is($node, "SELECT reservation_id = '$hold', replayed FROM inv_reserve('keyed', 10, key => 'k')",
			't|t', "$minutes minutes later the key knows its hold");
		books_are_right($node, "$minutes minutes later: inv_check() finds nothing");
	}
	set_clock(26 * $hour);
	$node->safe_psql('postgres', 'CALL inv_maintain()');
	value_is($node, "SELECT count(*) FROM inv_idempotency WHERE key = 'k'", 0,
		'after its retention the key goes');
	value_is($node, "SELECT count(*) FROM inv_reservation WHERE reservation_id = '$hold'",
		0, 'and with it the hold');
	set_clock(0);
	books_are_right($node);
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
	$node->reload;
}

#
# With workers: sweeping, reconciling and the feed go on at once
#
$node->append_conf('postgresql.conf', "inventory_reservation.worker_enabled = on\n");
$node->reload;
add_stock($node, 'worker' => 1000);

sub goes_on
{
	my ($when) = @_;
	my $runs = $node->safe_psql('postgres', 'SELECT reconciliations FROM inv_stat');
	# nobody sleeps until the clock is where it was
	local $PostgreSQL::Test::Utils::timeout_default = 60;

	my $hold = hold(q{inv_reserve('worker', 10, ttl => '1 second')});
	ok( $node->poll_query_until('postgres', qq{
			SELECT status = 'expired' FROM inv_reservation WHERE reservation_id = '$hold'}),
		"$when: the worker sweeps");
	ok( $node->poll_query_until('postgres',
			"SELECT reconciliations > $runs FROM inv_stat"),
		"$when: the worker reconciles");
	return;
}

goes_on('at the right time');
foreach my $step ($hour, 0, -$hour, 0)
{
	set_clock($step);
	goes_on('clock set to ' . $step / $hour . ' hours');
}
books_are_right($node);

#
# Under load
#
# Clients write down what they were told, in the transaction of their call.  One
# reads the feed by a cursor all the time.
my @skus = map { "load $_" } 1 .. 6;
my $units = 2000;
add_stock($node, map { ($_ => $units) } @skus);
$node->safe_psql('postgres', q{
	SELECT inv_set_stripes('load 6', 8);
	CREATE TABLE made (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid);
	CREATE TABLE told (act text, outcome text, id uuid);
	CREATE TABLE consumed (nr bigint GENERATED ALWAYS AS IDENTITY, cursor text);
	CREATE TABLE place (cursor text);
	INSERT INTO place SELECT inv_newest_event();
	CREATE TABLE began AS SELECT cursor FROM place;

	CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		answer record;
		one text := 'load ' || 1 + (random() * 5)::int;
		other text := 'load ' || 1 + (random() * 5)::int;
	BEGIN
		SELECT * INTO answer
		  FROM inv_try_reserve_cart(ARRAY[one, other], ARRAY[1, 2],
				ttl => (ARRAY['200 milliseconds', '30 minutes', '2 hours'])
						[1 + floor(random() * 3)::int]::interval);
		IF answer.reservation_id IS NOT NULL THEN
			INSERT INTO made (id) VALUES (answer.reservation_id);
		END IF;
	END $$;

	CREATE FUNCTION take_in_hand() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		hold uuid := (SELECT id FROM made WHERE place >
						(SELECT max(place) FROM made) - (random() * 200)::int
					   ORDER BY place LIMIT 1);
		dice float := random();
		act text := CASE WHEN dice < 0.5 THEN 'confirm'
						 WHEN dice < 0.8 THEN 'cancel' ELSE 'extend' END;
		answer text;
	BEGIN
		IF hold IS NULL THEN
			RETURN;
		END IF;
		IF act = 'confirm' THEN
			SELECT status INTO answer FROM inv_confirm(hold) WHERE NOT replayed;
		ELSIF act = 'cancel' THEN
			SELECT status INTO answer FROM inv_cancel(hold);
		ELSE
			PERFORM inv_extend(hold, '3 hours');
		END IF;
		INSERT INTO told VALUES (act, answer, hold);
	EXCEPTION WHEN SQLSTATE 'IV002' OR SQLSTATE 'IV003' OR SQLSTATE 'IV008' THEN
		INSERT INTO told VALUES (act, SQLSTATE, hold);
	END $$;

	CREATE FUNCTION consume(max_count integer) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		from_here text := (SELECT cursor FROM place FOR UPDATE);
	BEGIN
		INSERT INTO consumed (cursor)
			SELECT event.cursor
			  FROM inv_events(from_here, max_count) WITH ORDINALITY AS event
			 ORDER BY ordinality;
		UPDATE place SET cursor = coalesce(
			(SELECT cursor FROM consumed ORDER BY nr DESC LIMIT 1), cursor);
	END $$});

my $offset = -s $node->logfile;
my $load = IPC::Run::start(
	[ $^X, '-e', 'my $end = time + shift; my $file = shift; my @steps = (1, 0, -1, 0);
		open my $clock, "+<", $file or die; while (time < $end) {
			sysseek $clock, 0, 0; syswrite $clock, pack "q", 3_600_000_000 * $steps[$n++ % 4];
			select undef, undef, undef, 0.4 + rand 0.8 }
		sysseek $clock, 0, 0; syswrite $clock, pack "q", 0; print $n',
		$seconds, $clock ],
	'>', \my $steps, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
my ($status, $stdout) = pgbench($node,
	clients => 16,
	arguments => [ '--time', $seconds ],
	scripts => {
		'SELECT make();' => 45,
		'SELECT take_in_hand();' => 45,
		'SELECT inv_expire(20);' => 4,
		'SELECT consume(1000);' => 3,
		q{SELECT 1 / (count(*) = 0)::int FROM inv_check();} => 1,
	});
$load->finish;
set_clock(0);
is($status, 0, 'under load: no client met an error that it did not expect');
cmp_ok($steps, '>', $seconds / 2, 'under load: the clock was set all the time');
# a step forward is the end of a worker's time
only_errors_are($node, $offset, { '57P01' => undef },
	'under load: no error in the log but of workers whose time was over');
$node->safe_psql('postgres', 'CREATE INDEX ON told (id); ANALYZE told, made');
books_are_right($node, 'under load: inv_check() finds nothing');
foreach my $happened ("'confirm' AND outcome = 'confirmed'", "'confirm' AND outcome = 'IV002'",
	"'cancel' AND outcome = 'cancelled'", "'extend' AND outcome IS NULL",
	"'extend' AND outcome = 'IV002'")
{
	isnt($node->safe_psql('postgres', "SELECT count(*) FROM told WHERE act = $happened"),
		'0', "under load, it happened: $happened");
}
note $node->safe_psql('postgres',
	'SELECT act, outcome, count(*) FROM told GROUP BY 1, 2 ORDER BY 1, 2');
isnt($node->safe_psql('postgres', q{
		SELECT count(*) FROM inv_ledger AS entry JOIN inv_reservation AS line
			USING (reservation_id, item_id)
		 WHERE entry.operation = 'expire'
		   AND line.expires_at > clock_timestamp() + interval '1 minute'}),
	'0', 'under load, it happened: a hold was swept that the clock would now let live');
value_is($node, q{
	SELECT count(*) FROM told WHERE act = 'confirm' AND outcome = 'confirmed'
	 GROUP BY id HAVING count(*) > 1}, '', 'under load: nothing was sold twice');
value_is($node, q{
	SELECT count(*) FROM (SELECT id FROM told WHERE act = 'confirm' AND outcome = 'confirmed') AS sold
	  FULL JOIN (SELECT * FROM inv_order WHERE reservation_id IN (SELECT id FROM made)) AS sale
		ON reservation_id = id WHERE id IS NULL OR reservation_id IS NULL},
	0, 'under load: the orders are what was sold');
# the books of each line, from its first entry to its last: taken once, then
# sold or given back once, and nothing after that
value_is($node, q{
	SELECT reservation_id, item_id, stripe, string_agg(operation, ' ' ORDER BY entry_id),
		   sum(delta_reserved), sum(delta_on_hand)
	  FROM inv_ledger WHERE reservation_id IN (SELECT id FROM made)
	 GROUP BY reservation_id, item_id, stripe
	HAVING string_agg(operation, ' ' ORDER BY entry_id)
		   !~ '^reserve( confirm| cancel| expire)?$' LIMIT 5},
	'', 'under load: every line was taken once, and sold or given back once at most');
value_is($node, q{
	SELECT count(*) FROM told AS earlier JOIN told AS sale USING (id)
	 WHERE earlier.act = 'cancel' AND earlier.outcome IN ('cancelled', 'expired')
	   AND sale.act = 'confirm' AND sale.outcome = 'confirmed'},
	0, 'under load: nothing was sold that was given back');
value_is($node, qq{
	SELECT sku, on_hand, $units - coalesce((SELECT sum(quantity)
				FROM inv_reservation AS line JOIN inv_order USING (reservation_id)
			   WHERE line.item_id = item.item_id), 0) AS expected
	  FROM inv_item AS item JOIN inv_availability USING (sku)
	 WHERE sku LIKE 'load %' AND on_hand <> $units - coalesce((SELECT sum(quantity)
				FROM inv_reservation AS line JOIN inv_order USING (reservation_id)
			   WHERE line.item_id = item.item_id), 0)},
	'', 'under load: on hand is what came less what was sold');

# The feed: every entry once, none behind what was read.  A worker or an
# autovacuum may be at work, and what is complete only afterwards comes
# afterwards.
$node->safe_psql('postgres', 'SELECT consume(1000000)');
value_is($node, q{
	SELECT cursor, count(*) FROM (
		SELECT cursor FROM consumed
		UNION ALL
		SELECT cursor FROM inv_events((SELECT cursor FROM began), 1000000)
		 WHERE string_to_array(cursor, '/')::numeric[]
			   <= (SELECT string_to_array(cursor, '/')::numeric[] FROM place)) AS event
	 GROUP BY cursor HAVING count(*) <> 2 LIMIT 5},
	'', 'under load: the feed has every entry once');
ok($node->poll_query_until('postgres', q{
		WITH next AS MATERIALIZED (SELECT consume(1000))
		SELECT (SELECT cursor FROM place) = (SELECT concat_ws('/', epoch, xid, entry_id)
			FROM inv_ledger ORDER BY epoch DESC, xid DESC, entry_id DESC LIMIT 1)
		  FROM next}),
	'under load: the feed comes to the end of the ledger');
value_is($node, q{
	SELECT count(*) FROM (
		SELECT split_part(cursor, '/', 2)::numeric AS xid,
			   lag(split_part(cursor, '/', 2)::numeric) OVER (ORDER BY nr) AS before
		  FROM consumed) AS step WHERE xid < before},
	0, 'under load: in its order');

# Everything dies in the end, and comes back.
set_clock(48 * $hour);
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM inv_reservation WHERE status = 'active'"),
	'two days later nothing is held');
books_are_right($node);

$node->stop;
done_testing();
