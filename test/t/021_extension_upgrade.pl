# A database of an earlier version, with the library of this one: what becomes
# of it before and after ALTER EXTENSION UPDATE.
#
# The hard part is what nobody thinks of: an upgrade script that forgets a
# default, a comment, a right, what pg_dump is to carry.  So the catalogs of an
# updated database and of a new one are compared as a whole, and it is tried
# whether the comparison notices what may be forgotten.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use UpgradeTest;

my $installation = private_installation();
install_version($installation, $current_version);
my $node = inventory_node('shop',
	new => { install_path => $installation->{programs} },
	extension => 0, conf => "shared_preload_libraries = 'inventory_reservation'\n"
	  . "inventory_reservation.worker_enabled = off\nfsync = off\n");

sub make_database
{
	my ($database, $version) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$node->safe_psql('postgres', "ALTER DATABASE $database SET search_path = inv, public");
	$node->safe_psql($database, "CREATE SCHEMA inv;"
		  . " CREATE EXTENSION inventory_reservation SCHEMA inv VERSION '$version'");
	return;
}

sub same_catalogs
{
	my ($one, $other, $name) = @_;
	my @differences = differences(describe_extension($node, $one), describe_extension($node, $other));

	is(scalar(@differences), 0, $name)
	  or diag(join "\n", @differences[ 0 .. ($#differences < 40 ? $#differences : 40) ]);
	return;
}

# What a statement answers, and its SQLSTATE.
sub answer
{
	my ($database, $sql) = @_;
	my ($status, $stdout, $stderr) = $node->psql($database, $sql,
		extra_params => [ '--variable', 'VERBOSITY=sqlstate' ]);

	return $stderr =~ /ERROR:  (\w{5})/ ? "error $1" : $stdout;
}

# A hold, and the order made of it, by the key that the hold was made with.
my $no_id = "'00000000-0000-7000-8000-000000000000'";
sub hold { return "coalesce((SELECT reservation_id FROM inv_idempotency WHERE scope IN ('reserve', 'reserve_cart') AND key = '$_[0]'), $no_id)" }
sub order { return "coalesce((SELECT order_id FROM inv_order WHERE reservation_id = " . hold($_[0]) . "), $no_id)" }

# Every function, in an order that makes sense.  What they answer must not
# depend on the version of the SQL.  Afterwards there is something of all: live
# holds and dead ones, carts, stripes, orders in each state, keys.
my $grants = q{SELECT inv_grant('seller', 'buyer'), inv_grant('auditor', 'auditor')};
my @steps = (
	q{SELECT inv_add_item('A', 'An item', 10, 'EUR') > 0, inv_add_item('B', unit_price => 2.50, currency => 'EUR') > 0, inv_add_item('OLD', currency => 'EUR') > 0},
	q{SELECT inv_set_item('A', name => 'Item A', hold_ttl => '20 hours') > 0},
	q{SELECT inv_rename_item('OLD', 'NEW') > 0},
	q{SELECT inv_add_location('store', 'In town', 10) > 0},
	q{SELECT * FROM inv_receive('A', 10, 'store', 'delivery', 'delivery')},
	q{SELECT sku, on_hand, created FROM inv_load_stock('{A,B,NEW}', '{100,100,20}', reason => 'first count')},
	q{SELECT * FROM inv_adjust('B', -10, reason => 'broken')},
	q{SELECT * FROM inv_set_stock('NEW', 15, reason => 'count')},
	q{SELECT count(*) FROM inv_set_stripes('B', 4)},
	q{SELECT * FROM inv_set_policy('A', 1)},
	q{SELECT status, replayed, available FROM inv_reserve('A', 3, 'live', 'ann', '20 hours', reference => 'web-1', metadata => '{"gift": true}')},
	q{SELECT status, replayed FROM inv_reserve('A', 3, 'live', 'ann', '20 hours', reference => 'web-1', metadata => '{"gift": true}')},
	q{SELECT status, replayed, available FROM inv_try_reserve('NEW', 16)},
	q{SELECT status, replayed, available FROM inv_try_reserve('NEW', 2, 'dead', ttl => '1 millisecond')},
	q{SELECT status, replayed FROM inv_reserve_cart('{A,B}', '{1,2}', 'cart', ttl => '20 hours')},
	q{SELECT status, shortages FROM inv_try_reserve_cart('{A,B}', '{1,1000}')},
	q{SELECT status FROM inv_reserve_lines('[{"sku": "A", "quantity": 1}]', 'lines', ttl => '20 hours')},
	q{SELECT status, error FROM inv_reserve_batch('{A,NO}', '{1,1}', '{batch,none}')},
	q{SELECT status FROM inv_release(} . hold('cart') . q{, 'B', 1)},
	q{SELECT inv_extend(} . hold('live') . q{, '22 hours', 'extended') > now() + interval '21 hours'},
	q{SELECT status FROM inv_cancel(} . hold('lines') . ')',
	q{SELECT status FROM inv_cancel((inv_reserve('B', 1, 'sold 1')).reservation_id)},
	(map { "SELECT status FROM inv_reserve('A', 2, 'sale $_')" } 1 .. 4),
	(map { 'SELECT status, total FROM inv_confirm(' . hold("sale $_") . ", 'sale $_')" } 1 .. 4),
	q{SELECT payment_status FROM inv_record_payment(} . order('sale 2') . q{, 'paid')},
	q{SELECT status FROM inv_cancel_order(} . order('sale 1') . q{, 'too late', 'cancelled')},
	q{SELECT status FROM inv_return(} . order('sale 2') . q{, 'A', 1, 'broken', 'returned')},
	q{SELECT status FROM inv_complete_order(} . order('sale 3') . ')',
	q{SELECT status, customer, reference, lines FROM inv_reservation_status(} . hold('live') . ')',
	q{SELECT status, total, lines FROM inv_order_status(} . order('sale 2') . ')',
	q{SELECT inv_available('A'), inv_available('B'), inv_available('NEW'), inv_available('A', 'store')},
	q{SELECT inv_route_id(} . hold('live') . q{) = inv_route_sku('A')},
	q{SELECT operation, sku, location, delta_on_hand, delta_reserved FROM inv_events()},
	q{SELECT inv_newest_event() IS NOT NULL},
	q{SELECT inv_expire(1)},
	q{SELECT status FROM inv_reserve('NEW', 2, 'dead too', ttl => '1 millisecond')},
	q{CALL inv_maintain()},
	q{SELECT inv_purge('1 day')},
	q{SELECT * FROM inv_reconcile()},
	q{SELECT status FROM inv_reserve('NEW', 2, 'dead in the end', ttl => '1 millisecond')},
	q{SELECT inv_join_waitlist('B', 1000, 'ann')},
	q{SELECT inv_leave_waitlist('B', 'ann')},
	$grants,
	q{SELECT inv_stat_reset()},
	q{SELECT reserves, worker_runs FROM inv_stat_counters()},
	q{SELECT inv_schedule(), inv_unschedule()},
	q{SELECT * FROM inv_availability ORDER BY 1, 2},
	q{SELECT count(*) FROM inv_active_holds},
	q{SELECT count(*) FROM inv_reservation_lines},
	q{SELECT counting FROM inv_stat},
	q{SELECT * FROM inv_check()},
	q{SELECT inv_add_item('OWED') > 0},
	q{SELECT on_hand FROM inv_receive('OWED', 15)},
	q{SELECT available FROM inv_set_policy('OWED', backorder_limit => 20)},
	q{SELECT status FROM inv_reserve('OWED', 14, 'there', ttl => '20 hours')},
	q{SELECT status FROM inv_reserve('OWED', 6, 'half there', ttl => '20 hours')},
	q{SELECT status FROM inv_reserve('OWED', 3, 'not there', ttl => '20 hours')},
	q{SELECT status FROM inv_confirm(} . hold('half there') . q{)},
	q{SELECT on_hand, reserved FROM inv_adjust('OWED', 1)});
# What an earlier version declares, and only the tables of this one can do.
my $came_later = qr/waitlist/;

sub go_through_steps
{
	my ($database) = @_;
	return [ map { "$_\n" . answer($database, $_) } @steps ];
}

# All rows of all tables, without the columns that came later; new tables are
# empty, but for the queue of backorders.
sub contents
{
	my ($database) = @_;
	my @tables = split /\n/, answer($database, q{
		SELECT relname FROM pg_class
		 WHERE relnamespace = 'inv'::regnamespace AND relkind = 'r'
		   AND relname <> 'inv_backorder' ORDER BY relname});
	my %rows = map { $_ => answer($database, "SELECT (to_jsonb(t) - 'waiting')::text FROM $_ AS t ORDER BY 1") } @tables;

	return join "\n", map { "$_:\n$rows{$_}" } grep { $rows{$_} ne '' } @tables;
}

$node->safe_psql('postgres', 'CREATE ROLE seller; CREATE ROLE auditor');
make_database('fresh', $current_version);
my $expected = go_through_steps('fresh');
foreach my $step (@$expected)
{
	my ($sql, $answer) = split /\n/, $step, 2;

	unlike($answer, qr/^error/, $sql);
}

my $functions_of = q{
	SELECT string_agg(proc.proname, ' ' ORDER BY proc.proname)
	  FROM pg_depend AS member
	  JOIN pg_proc AS proc ON member.classid = 'pg_proc'::regclass AND proc.oid = member.objid
	 WHERE member.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'inventory_reservation')
	   AND member.deptype = 'e'};

cmp_ok(scalar(@old_versions), '>', 0, "versions before this one: @old_versions");
foreach my $old (@old_versions)
{
	my $database = 'from_' . $old =~ s/\./_/gr;

	value_is($node, qq{
		SELECT path IS NOT NULL FROM pg_extension_update_paths('inventory_reservation')
		 WHERE source = '$old' AND target = '$current_version'}, 't', "a way leads from $old to $current_version");

	# the library of this version, the SQL of the old one
	make_database($database, $old);
	my $functions = answer($database, $functions_of);
	is_deeply([ grep { my $name = $_; !grep { /\b$name\(/ } @steps } split / /, $functions ],
		[], "every function of $old is in this test");
	my $answers = go_through_steps($database);
	is_deeply([ grep { !/$came_later/ } @$answers ], [ grep { !/$came_later/ } @$expected ],
		"$old: all functions answer as they do in $current_version");
	like($_, qr/\nerror 55000$/, "$old: not with its tables: $_") foreach grep { /$came_later/ } @$answers;

	# the update, with all that is in the tables
	my $before = contents($database);
	like($before, qr/dead in the end/, "$old: there is something in the tables");
	$node->safe_psql($database, 'ALTER EXTENSION inventory_reservation UPDATE');
	is(contents($database), $before, "$old: no row has changed");
	is(answer($database, 'SELECT library, extension, files, to_do FROM inv_version()'),
		"$current_version|$current_version|$current_version|", "$old: all versions agree");
	# who may do what is the shop's: what is new is granted by asking again
	answer($database, $grants);
	same_catalogs('fresh', $database, "$old: updated is as new");

	# what was promised without being there is owed, by the newest
	is(answer($database, 'SELECT backordered FROM inv_reservation_status(' . hold($_->[0]) . ')'), $_->[1], "$old: backorders of what is $_->[0]")
	  foreach ([ 'there', 0 ], [ 'half there', 4 ], [ 'not there', 3 ]);
	is(answer($database, "SELECT on_hand FROM inv_receive('OWED', 5)"), '15', "$old: a delivery of them");
	is(answer($database, 'SELECT backordered FROM inv_order_status(' . order('half there') . ')'), '0', "$old: has gone to the oldest");
	is(answer($database, 'SELECT backordered FROM inv_reservation_status(' . hold('not there') . ')'), '2', "$old: and then to the next");

	# what was begun goes on
	is(answer($database, $expected->[11] =~ s/\n.*//sr), 'active|t', "$old: a key replays");
	is(answer($database, 'SELECT total FROM inv_confirm(' . hold('live') . ", customer => 'ann')"), '30', "$old: a live hold is sold");
	is(answer($database, 'SELECT status FROM inv_cancel(' . hold('cart') . ')'), 'cancelled', "$old: another is cancelled");
	is(answer($database, 'SELECT status FROM inv_cancel_order(' . order('sale 4') . ')'), 'cancelled', "$old: so is an order");
	is(answer($database, "SELECT status FROM inv_confirm(" . hold('dead in the end') . ')'), 'error IV002', "$old: a dead hold is dead");
	is(answer($database, "SELECT status, available FROM inv_reserve('NEW', 15)"), 'active|0', "$old: and its units are free");
	is(answer($database, "SELECT on_hand, replayed FROM inv_receive('A', 10, 'store', 'delivery', 'delivery')"), '10|t', "$old: a delivery is not taken twice");
	# and what came since can be had
	is(answer($database, "SELECT on_hand FROM inv_transfer('A', 4, 'store', 'default') WHERE location = 'store'"), '6', "$old: units go from one location to another");
	my $lines_of = q{SELECT string_agg(location, ' ' ORDER BY line_no) FROM inv_reservation_lines WHERE reservation_id = };
	is(answer($database, "SELECT status FROM inv_reserve('A', inv_available('A'), 'split', split => true)"), 'active', "$old: all locations are sold from");
	is(answer($database, $lines_of . hold('split')), 'default store', "$old: by priority");
	is(answer($database, 'SELECT status FROM inv_cancel(' . hold('split') . ')'), 'cancelled', "$old: and get back what was theirs");
	is(answer($database, "UPDATE inv_location SET priority = -1 WHERE code = 'store' RETURNING code"), 'store', "$old: a location is preferred");
	is(answer($database, "SELECT status FROM inv_reserve('A', 1, 'preferred')"), 'active', "$old: and sold from");
	is(answer($database, $lines_of . hold('preferred')), 'store', "$old: before the others");
	is(answer($database, 'CALL inv_maintain(); SELECT (SELECT count(*) FROM inv_ledger_by_hour) = (SELECT count(*) FROM inv_ledger), count(*) > 0 FROM inv_ledger_hour'),
		't|t', "$old: the hours of what was in the ledger are known");
	is(answer($database, "SELECT inv_join_waitlist('A', 1000, 'ann'), inv_leave_waitlist('A', 'ann')"), '1|1', "$old: a customer waits");
	is(answer($database, "SET ROLE seller; SELECT status FROM inv_reserve('A', 1)"), 'active', "$old: rights are as they were");
	is(answer($database, 'SELECT * FROM inv_check()'), '', "$old: inv_check() finds nothing");
	is(answer($database, q{ALTER EXTENSION inventory_reservation UPDATE TO '} . $old . q{'}), 'error 22023', "no way back to $old");
}

# from one earlier version to the next
foreach my $pair (grep { $_->[0] ne $_->[1] } map { my $from = $_; map { [ $from, $_ ] } @old_versions } @old_versions)
{
	my ($from, $to) = @$pair;
	next if answer('postgres', "SELECT path IS NOT NULL FROM pg_extension_update_paths('inventory_reservation')"
		  . " WHERE source = '$from' AND target = '$to'") ne 't';
	make_database('stepwise', $from);
	make_database('at_once', $to);
	$node->safe_psql('stepwise', "ALTER EXTENSION inventory_reservation UPDATE TO '$to'");
	same_catalogs('at_once', 'stepwise', "from $from to $to");
	$node->safe_psql('postgres', "DROP DATABASE $_") foreach qw(stepwise at_once);
}

#
# The comparison notices whatever an upgrade script may forget
#
my $fresh = describe_extension($node, 'fresh');
is_deeply([ differences($fresh, describe_extension($node, 'fresh', 'ANALYZE')) ], [], 'nothing forgotten, nothing noticed');
my $add = 'ALTER EXTENSION inventory_reservation ADD';
my %forgotten = (
	'table' => "CREATE TABLE inv_new (id int); $add TABLE inv_new",
	'column' => 'ALTER TABLE inv_item ADD COLUMN colour text',
	'order of columns' => 'ALTER TABLE inv_order RENAME customer TO c; ALTER TABLE inv_order RENAME reference TO customer; ALTER TABLE inv_order RENAME c TO reference',
	'column dropped and made anew' => 'ALTER TABLE inv_reconciliation DROP key; ALTER TABLE inv_reconciliation ADD key text COLLATE "C"',
	'type of a column' => 'ALTER TABLE inv_reconciliation ALTER stripe TYPE bigint',
	'collation of a column' => 'ALTER TABLE inv_reconciliation ALTER found TYPE text COLLATE "POSIX"',
	'default' => "ALTER TABLE inv_stock ALTER on_hand SET DEFAULT 1",
	'default that is missing' => 'ALTER TABLE inv_stock ALTER on_hand DROP DEFAULT',
	'not null' => 'ALTER TABLE inv_waitlist ALTER quantity DROP NOT NULL',
	'storage' => 'ALTER TABLE inv_item ALTER attributes SET STORAGE EXTERNAL',
	'compression' => 'ALTER TABLE inv_item ALTER attributes SET COMPRESSION pglz',
	'statistics target' => 'ALTER TABLE inv_item ALTER sku SET STATISTICS 10',
	'identity' => 'ALTER TABLE inv_item ALTER item_id SET GENERATED ALWAYS',
	'identity that is missing' => 'ALTER EXTENSION inventory_reservation DROP SEQUENCE inv_waitlist_entry_id_seq; ALTER TABLE inv_waitlist ALTER entry_id DROP IDENTITY',
	'check' => 'ALTER TABLE inv_stock ADD CHECK (version >= 0)',
	'condition of a check' => 'ALTER TABLE inv_order DROP CONSTRAINT inv_order_status_is_known; ALTER TABLE inv_order ADD CONSTRAINT inv_order_status_is_known CHECK (status <> $$x$$)',
	'name of a check' => 'ALTER TABLE inv_order RENAME CONSTRAINT inv_order_status_is_known TO known',
	'check that is not validated' => 'ALTER TABLE inv_order DROP CONSTRAINT inv_order_payment_status_is_known; ALTER TABLE inv_order ADD CONSTRAINT inv_order_payment_status_is_known'
	  . q{ CHECK (payment_status IN ('pending', 'paid', 'failed', 'refunded')) NOT VALID},
	'key' => 'ALTER TABLE inv_location DROP CONSTRAINT inv_location_code_key',
	'foreign key' => 'ALTER TABLE inv_stock ADD FOREIGN KEY (item_id) REFERENCES inv_item',
	'index' => 'DROP INDEX inv_idempotency_age',
	'predicate of an index' => 'DROP INDEX inv_order_open; CREATE INDEX inv_order_open ON inv_order (created_at)',
	'options of an index' => 'ALTER INDEX inv_order_open SET (fillfactor = 70)',
	'options of a table' => 'ALTER TABLE inv_stock RESET (fillfactor)',
	'options of long values' => 'ALTER TABLE inv_item SET (toast.autovacuum_enabled = off)',
	'replica identity' => 'ALTER TABLE inv_stock REPLICA IDENTITY FULL',
	'persistence' => 'ALTER TABLE inv_stock_state SET UNLOGGED',
	'row security' => 'ALTER TABLE inv_item ENABLE ROW LEVEL SECURITY',
	'policy' => 'CREATE POLICY p ON inv_item USING (true)',
	'sequence' => 'ALTER SEQUENCE inv_ledger_entry_id_seq CACHE 10',
	'start of a sequence' => 'ALTER SEQUENCE inv_item_item_id_seq START 5',
	'type of a sequence' => 'ALTER SEQUENCE inv_location_location_id_seq AS bigint',
	'attribute of a type' => 'ALTER TYPE inv_hold ADD ATTRIBUTE extra text',
	'function' => 'ALTER EXTENSION inventory_reservation DROP FUNCTION inv_leave_waitlist; DROP FUNCTION inv_leave_waitlist',
	'signature of a function' => q{CREATE FUNCTION inv_route_id(id text) RETURNS integer LANGUAGE sql RETURN 1; } . "$add FUNCTION inv_route_id(text)",
	'default of an argument' => q{DO $$BEGIN EXECUTE replace(pg_get_functiondef('inv_expire'::regproc), 'DEFAULT NULL::bigint', 'DEFAULT 1'); END$$},
	'symbol of a function' => q{UPDATE pg_proc SET prosrc = 'inv_reserve_other' WHERE proname = 'inv_reserve'},
	'library of a function' => q{UPDATE pg_proc SET probin = '$libdir/other' WHERE proname = 'inv_reserve'},
	'body of a function' => q{DO $$BEGIN EXECUTE replace(pg_get_functiondef('inv_check'::regproc), 'one key', 'any key'); END$$},
	'volatility' => 'ALTER FUNCTION inv_available STABLE; ALTER FUNCTION inv_available IMMUTABLE',
	'parallel' => 'ALTER FUNCTION inv_available PARALLEL SAFE',
	'strict' => 'ALTER FUNCTION inv_available STRICT',
	'security definer' => 'ALTER FUNCTION inv_available SECURITY DEFINER',
	'settings of a function' => 'ALTER FUNCTION inv_check SET search_path = pg_catalog',
	'cost' => 'ALTER FUNCTION inv_check COST 7',
	'rows' => 'ALTER FUNCTION inv_check ROWS 7',
	'owner' => 'ALTER FUNCTION inv_check OWNER TO seller',
	'owner of a table' => 'ALTER TABLE inv_stock OWNER TO seller',
	'view' => q{DO $$BEGIN EXECUTE 'CREATE OR REPLACE VIEW inv_active_holds AS ' || rtrim(pg_get_viewdef('inv_active_holds'), ';') || ' LIMIT 1'; END$$},
	'option of a view' => 'ALTER VIEW inv_active_holds SET (security_barrier)',
	'trigger' => 'CREATE TRIGGER t BEFORE UPDATE ON inv_item FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'rule' => 'CREATE RULE r AS ON DELETE TO inv_ledger DO INSTEAD NOTHING',
	'statistics' => 'CREATE STATISTICS s ON item_id, location_id FROM inv_stock',
	'comment on a table' => q{COMMENT ON TABLE inv_stock IS 'other'},
	'comment on a column' => 'COMMENT ON COLUMN inv_stock.on_hand IS NULL',
	'comment on a function' => q{COMMENT ON FUNCTION inv_reserve IS 'other'},
	'comment on an index' => 'COMMENT ON INDEX inv_order_open IS NULL',
	'comment on a type' => 'COMMENT ON TYPE inv_hold IS NULL',
	'right on a function' => 'GRANT EXECUTE ON FUNCTION inv_reserve TO PUBLIC',
	'right on a table' => 'GRANT SELECT ON inv_stock TO PUBLIC',
	'right on a column' => 'GRANT SELECT (on_hand) ON inv_stock TO PUBLIC',
	'right on a type' => 'REVOKE USAGE ON TYPE inv_hold FROM PUBLIC',
	'membership' => 'ALTER EXTENSION inventory_reservation DROP VIEW inv_stat',
	'what is dumped' => 'UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:] WHERE extname = $$inventory_reservation$$',
	'which rows are dumped' => q{UPDATE pg_extension SET extcondition[1] = 'WHERE false' WHERE extname = 'inventory_reservation'},
	'dependency' => q{DELETE FROM pg_depend WHERE objid = 'inv_order_open'::regclass},
	'what rights the extension has given itself' => q{DELETE FROM pg_init_privs WHERE objoid = 'inv_reserve'::regproc},
);
foreach my $what (sort keys %forgotten)
{
	my @noticed = eval { differences($fresh, describe_extension($node, 'fresh', $forgotten{$what})) };
	diag(substr $@, 0, 500) if $@;
	isnt(scalar(@noticed), 0, "noticed: $what");
}
is_deeply([ differences($fresh, describe_extension($node, 'fresh')) ], [], 'and nothing of this has stayed');

#
# Tables that are too old for the library, as those of some later version may
# find: every function refuses, and says what to do.
#
my $script = slurp_file("$installation->{extension}/inventory_reservation--$old_versions[0].sql");
$script =~ s/,\n\tcancelled_at timestamptz\n\);/\n);/ or die;
$script =~ s/^COMMENT ON COLUMN inv_order\.cancelled_at .*\n//m or die;
append_to_file("$installation->{extension}/inventory_reservation--0.0.1.sql", $script);
make_database('ancient', '0.0.1');
my $needs_no_tables = qr/\binv_(?:check|availability|active_holds|reservation_lines|stat|stat_\w+|schedule|unschedule|route_\w+)\b/;
foreach my $sql (grep { !/$needs_no_tables/ } @steps)
{
	my ($status, $stdout, $stderr) = $node->psql('ancient', $sql);

	like($stderr, qr/relation "inv_order" of extension "inventory_reservation" is of version 0\.0\.1, which the library, of version \Q$current_version\E, cannot use\nHINT:  Run ALTER EXTENSION inventory_reservation UPDATE\./,
		"too old: $sql");
}

$node->stop;
done_testing();
