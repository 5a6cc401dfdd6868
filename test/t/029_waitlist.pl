# A line of customers, units that come back from all sides, and a crowd that would
# like to have them: offers are made in the order of arrival, and nobody overtakes.
#
# The witness is the ledger.  Entries of one SKU are numbered under the locks of
# its stock, so their numbers tell what came before what: who joined, who left, who
# was made an offer, and who reserved.
use strict;
use warnings;

use InventoryTest;
use Test::More;

# Whatever one waits for here is over at once, so any deadlock is a mistake.
my $node = inventory_node('shop', conf => "deadlock_timeout = 100ms\n");
my @skus = qw(one striped);

$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE public.joined (sku text, customer text, place bigint);
	CREATE UNLOGGED TABLE public.overtook (sku text, customer text);
	CREATE UNLOGGED TABLE public.violation (violation text, sku text, found text, expected text);
	CREATE TABLE public.work (what text, sku text, hold uuid);

	/* Do something that gives a unit back. */
	CREATE FUNCTION public.work() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		task public.work;
	BEGIN
		DELETE FROM public.work WHERE ctid = (
			SELECT ctid FROM public.work ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING * INTO task;
		CASE task.what
			WHEN 'cancel' THEN PERFORM inv_cancel(task.hold);
			WHEN 'release' THEN PERFORM inv_release(task.hold, task.sku, 1);
			WHEN 'receive' THEN PERFORM inv_receive(task.sku, 1);
			ELSE PERFORM inv_expire(3);
		END CASE;
	END $$;

	/* Holds that die now, wherever they are. */
	CREATE FUNCTION public.let_die(holds uuid[]) RETURNS void LANGUAGE sql AS $$
		UPDATE inv_reservation SET expires_at = created_at WHERE reservation_id = ANY (holds);
		UPDATE inv_stock SET earliest_expiry = '-infinity' WHERE reserved > 0;
	$$;

	/* Offers of a SKU out of order, and reservations while somebody waited. */
	CREATE FUNCTION public.out_of_order(sku text) RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*)
		  FROM (SELECT place < max(place) OVER (ORDER BY entry_id) AS too_late
				  FROM (SELECT ledger.entry_id, line.entry_id AS place
						  FROM inv_ledger AS ledger
						  JOIN inv_item AS item USING (item_id)
						  JOIN inv_waitlist AS line USING (reservation_id)
						 WHERE ledger.operation = 'offer' AND item.sku = $1) AS offers) AS places
		 WHERE too_late
	$$;
	CREATE FUNCTION public.overtaking(sku text) RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*)
		  FROM (SELECT operation,
					   sum(CASE operation WHEN 'join_waitlist' THEN 1
								WHEN 'leave_waitlist' THEN -1 WHEN 'offer' THEN -1 ELSE 0 END)
						   OVER (ORDER BY entry_id) AS waiting
				  FROM inv_ledger JOIN inv_item AS item USING (item_id)
				 WHERE item.sku = $1) AS history
		 WHERE operation = 'reserve' AND waiting > 0
	$$});

my %thief = map {
		qq{INSERT INTO public.overtook
			SELECT '$_', 'thief' FROM inv_try_reserve('$_', 1, customer => 'thief', ttl => '1 hour')
			 WHERE reservation_id IS NOT NULL;} => 10
	} @skus;
my $look = q{INSERT INTO public.violation SELECT violation, sku, found, expected FROM inv_check();};

sub everybody
{
	my ($name, $transactions, %script) = @_;
	my $offset = -s $node->logfile;
	my ($status) = pgbench($node,
		clients => 60,
		arguments => [ '--transactions', $transactions ],
		scripts => { %script, $look => 1 });

	is($status, 0, "$name: every call went well");
	only_errors_are($node, $offset, {}, "$name: no errors, and no deadlock");
	value_is($node, 'TABLE public.violation', '', "$name: the books were right all the while");
	return;
}

#
# 100 join the line for each SKU, all of whose units are held.
#
add_stock($node, map { ($_ => 40) } @skus);
$node->safe_psql('postgres', q{
	SELECT inv_set_item('one', hold_ttl => '1 hour'), inv_set_item('striped', hold_ttl => '1 hour');
	SELECT inv_set_stripes('striped', 4);
	INSERT INTO public.work
		SELECT (ARRAY['cancel', 'release', 'die', 'die'])[1 + n % 4], sku,
			   (inv_reserve(sku, 1, customer => 'owner', ttl => '1 hour')).reservation_id
		  FROM unnest('{one,striped}'::text[]) AS sku, generate_series(1, 40) AS n;
	INSERT INTO public.work
		SELECT 'receive', sku FROM unnest('{one,striped}'::text[]) AS sku, generate_series(1, 20)});
my $offset = -s $node->logfile;
my ($status) = crowd($node, clients => 100, script => join "\n", map {
		"INSERT INTO public.joined SELECT '$_', 'w' || :client_id,"
		  . " inv_join_waitlist('$_', 1, 'w' || :client_id, 'key' || :client_id || '$_');"
	} @skus);
is($status, 0, '100 customers join');
only_errors_are($node, $offset, {}, '100 customers join: no errors');
value_is($node, "SELECT sku, count(DISTINCT place), min(place), max(place) FROM public.joined GROUP BY 1 ORDER BY 1",
	"one|100|1|100\nstriped|100|1|100", 'each has a place of his own');
value_is($node, 'SELECT count(*) FROM public.joined FULL JOIN inv_waiting USING (sku, customer)'
	  . ' WHERE joined.place IS DISTINCT FROM inv_waiting.position', '0', 'and keeps it');

#
# 60 units of each come back, by all ways, and 50 others want them.
#
$node->safe_psql('postgres', q{
	SELECT let_die(array_agg(hold)) FROM public.work WHERE what = 'die'});
everybody('units come back', 30, %thief, q{SELECT public.work();} => 12);
$node->safe_psql('postgres', q{
	SELECT count(public.work()) FROM generate_series(1, (SELECT count(*) FROM public.work));
	SELECT inv_expire(1000);
	CALL inv_maintain()});
value_is($node, 'SELECT count(*) FROM public.overtook', '0', 'nobody has got one of them who did not wait');
value_is($node, "SELECT out_of_order('$_')", '0', "$_: offers were made in the order of arrival") foreach @skus;
value_is($node, q{
	SELECT sku, count(*), min(place), max(place)
	  FROM public.joined
	 WHERE (inv_waitlist_status(sku, customer)).state = 'offered'
	 GROUP BY sku ORDER BY sku},
	"one|60|1|60\nstriped|60|1|60", 'to the first 60, one for each unit');
value_is($node, 'SELECT sku, count(*), min(position), max(position) FROM inv_waiting GROUP BY sku ORDER BY sku',
	"one|40|1|40\nstriped|40|1|40", 'the others have moved up');
value_is($node, q{SELECT sku, reserved, on_hand, available FROM inv_availability ORDER BY sku},
	"one|60|60|0\nstriped|60|60|0", 'and all units are theirs');
books_are_right($node);

#
# No offer is taken.  They are passed on to the other 40, and only then can
# somebody else have what is left.
#
$node->safe_psql('postgres', q{
	SELECT let_die(array_agg(reservation_id)) FROM inv_reservation WHERE status = 'active'});
everybody('offers lapse', 30, %thief, q{SELECT inv_expire(2);} => 12);
$node->safe_psql('postgres', 'CALL inv_maintain()');
value_is($node, 'SELECT count(*) FROM inv_waiting', '0', 'nobody waits any more');
value_is($node, q{
	SELECT (inv_waitlist_status(sku, customer)).state, sku, count(*), min(place), max(place)
	  FROM public.joined GROUP BY 1, 2 ORDER BY 1, 2},
	"lapsed|one|60|1|60\nlapsed|striped|60|1|60\noffered|one|40|61|100\noffered|striped|40|61|100",
	'offers that lapsed went to who came next');
foreach my $sku (@skus)
{
	value_is($node, "SELECT out_of_order('$sku')", '0', "$sku: in the order of arrival");
	value_is($node, "SELECT count(*) > 0 FROM public.overtook WHERE sku = '$sku'",
		't', "$sku: in the end others got some as well");
	# "owner" had his before anybody waited
	value_is($node, "SELECT overtaking('$sku')", '0', "$sku: but not while somebody waited");
}
books_are_right($node);

#
# Lines that come and go: customers join and leave, buyers reserve, sell and give
# back, stripes change.
#
$node->safe_psql('postgres', q{
	SELECT inv_set_stock(sku, 8, force => true) FROM unnest('{one,striped}'::text[]) AS sku});
my $draw = "\\set n random(1, 25)\n\\set units random(1, 3)\n\\set stripes random(1, 5)\n";
everybody('lines come and go', 60, map {
		my $sku = $_;
		(
			qq{$draw SELECT inv_join_waitlist('$sku', 2, 'c' || :n);} => 6,
			qq{$draw SELECT inv_leave_waitlist('$sku', 'c' || :n);} => 4,
			qq{$draw SELECT inv_try_reserve('$sku', :units, customer => 'buyer', ttl => '1 hour');} => 10,
			qq{$draw SELECT inv_try_reserve('$sku', :units, customer => 'buyer', ttl => '1 millisecond');} => 2,
			qq{$draw SELECT inv_try_reserve_cart('{one,striped}', '{1,1}', customer => 'buyer', ttl => '1 millisecond');} => 2,
			qq{$draw SELECT count(*) FROM inv_reserve_batch('{$sku,$sku}', '{1,1}', ttl => '1 millisecond');} => 2,
			q{SELECT count(*) FROM (SELECT reservation_id FROM inv_reservation
				WHERE status = 'active' AND expires_at > clock_timestamp() + interval '1 minute'
				ORDER BY random() LIMIT 1) AS hold, inv_cancel(hold.reservation_id);} => 12,
			q{SELECT inv_expire(5);} => 3,
			$sku eq 'striped' ? (qq{$draw SELECT inv_set_stripes('striped', :stripes);} => 1) : ()
		)
	} @skus);
value_is($node, "SELECT count(*) > 20 FROM inv_ledger WHERE operation = '$_'", 't', "there was many a $_")
  foreach qw(join_waitlist leave_waitlist offer reserve);
foreach my $sku (@skus)
{
	value_is($node, "SELECT out_of_order('$sku')", '0', "$sku: offers in the order of arrival");
	value_is($node, "SELECT overtaking('$sku')", '0', "$sku: nobody reserved while somebody waited");
}
$node->safe_psql('postgres', q{
	SELECT count(inv_cancel(reservation_id)) FROM inv_reservation WHERE status = 'active' AND customer = 'buyer';
	CALL inv_maintain()});
value_is($node, q{
	SELECT count(*) FROM inv_waiting AS line
	  JOIN (SELECT sku, sum(on_hand - reserved - min_available) AS spare
			  FROM inv_stock JOIN inv_item USING (item_id) GROUP BY sku) AS stock USING (sku)
	 WHERE line.position = 1 AND stock.spare >= line.quantity},
	'0', 'when all is calm nobody waits for what is there');
books_are_right($node);

#
# The shop may let others overtake.
#
$node->safe_psql('postgres', q{
	SELECT inv_add_item('open'), inv_receive('open', 1);
	SELECT inv_join_waitlist('open', 2, 'ann')});
value_is($node, "SELECT status, available FROM inv_try_reserve('open')", '|0', 'what is kept is not available');
$node->append_conf('postgresql.conf', 'inventory_reservation.waitlist_first = off');
$node->reload;
$node->poll_query_until('postgres', "SELECT inv_available('open') = 1")
  or die 'the setting did not change';
value_is($node, "SELECT available FROM inv_availability WHERE sku = 'open'", '1', 'and is, if the shop says so');
value_is($node, "SELECT status, available FROM inv_try_reserve('open')", 'active|0', 'it can be had');
value_is($node, "SELECT inv_join_waitlist('open', 2, 'ann')", '1', 'the line waits on');
books_are_right($node);

$node->stop;
done_testing();
