# What nobody may gain: somebody else's rights, by way of ours.
#
# The functions run as the owner of the tables, mostly a superuser, and so does
# the background worker.  Whoever gets code of his own run on the way is
# superuser.  So mallory, who may create things nearby, puts in the way what he
# can: operators and functions that fit better than PostgreSQL's, relations that
# bear the names of ours, settings of his database and of his role, triggers,
# policies, casts; and a buyer tries out what he was given and what he was not.
#
# What can be said on one connection is in sql/privileges.sql.
use strict;
use warnings;

use File::Basename;
use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = dirname(__FILE__) . '/../hostile';
my $node = inventory_node('shop',
	extension => 0,
	conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
inventory_reservation.reconcile_interval = 1s
CONF
$node->safe_psql('postgres', q{
	CREATE ROLE mallory LOGIN NOINHERIT;
	CREATE ROLE buyer LOGIN;
	CREATE ROLE storefront});

my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

# The answers, errors and notices to statements of a role in a database.
sub as_role
{
	my ($role, $database, $sql, %option) = @_;
	my ($status, $stdout, $stderr) = $node->psql($database, $sql, %option,
		extra_params => [ '--username', $role, '--variable', 'VERBOSITY=verbose' ]);
	return join "\n", grep { $_ ne '' } $stdout, $stderr;
}

# A database in which mallory was first.
sub database
{
	my ($name, $sql) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, "
		CREATE SCHEMA inv;
		GRANT USAGE, CREATE ON SCHEMA inv, public TO mallory;
		SET ROLE mallory; $sql");
	return;
}

sub create_extension
{
	my ($database) = @_;
	return as_role($superuser, $database, 'CREATE EXTENSION inventory_reservation SCHEMA inv');
}

# Test that nobody was caught since the log had that size.
sub nobody_caught
{
	my ($since, $name, $as) = @_;
	my @caught = slurp_file($node->logfile, $since) =~ /(caught by .*$as)$/mg;

	return is($caught[0], undef, $name);
}

# Wait until a worker has come by twice: what was there before the second
# began, it has met.
sub worker_has_run
{
	my ($database) = @_;
	# Not by the view: policies of a table under a view run as whoever reads it,
	# in PostgreSQL, here a superuser.
	my $counters = 'inv.inv_stat_counters()';
	my $runs = $node->safe_psql($database, "SELECT worker_runs FROM $counters");
	return $node->poll_query_until($database,
		"SELECT worker_runs >= $runs + 2 FROM $counters");
}

#
# Operators and functions in the extension's own schema
#
database('trapped', slurp_file("$dir/traps.sql"));
my $start = -s $node->logfile;
is(create_extension('trapped'), '', 'traps: the extension is created');
# the traps are there, and they work
is($node->safe_psql('trapped', q{
	SET search_path = inv;
	SELECT 1::oid = 'pg_class'::regclass}), '', 'traps: who does not look where he goes is caught');
like(slurp_file($node->logfile, $start), qr/caught by an operator of oid and regclass as $superuser/,
	'traps: and told of');
$start = -s $node->logfile;
$node->safe_psql('trapped', 'DROP EXTENSION inventory_reservation; CREATE EXTENSION inventory_reservation SCHEMA inv');
nobody_caught($start, 'traps: the install script is not', '');
is($node->safe_psql('trapped', q{
	SELECT pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, refobjsubid)
	  FROM pg_depend
	 WHERE refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
	   AND refobjid IN (SELECT oid FROM pg_proc WHERE proowner = 'mallory'::regrole
						UNION ALL SELECT oid FROM pg_operator WHERE oprowner = 'mallory'::regrole)
	   AND objid NOT IN (SELECT oid FROM pg_proc WHERE proowner = 'mallory'::regrole
						 UNION ALL SELECT oid FROM pg_operator WHERE oprowner = 'mallory'::regrole)}),
	'', 'traps: nothing that it made depends on them');

# Every call there is, by way of the shop that the random queries are thrown at.
my $shop = slurp_file("$dir/shop.sql");
$node->safe_psql('trapped', "SET search_path = pg_catalog; $shop");
$node->safe_psql('trapped', q{
	SET search_path = pg_catalog;
	SELECT inv.inv_rename_item('NONE', 'SOME'), inv.inv_set_item('SOME', 'x', 1, 'EUR', 'infinity', hold_ttl => '1 hour');
	SELECT inv.inv_adjust('A', -1, key => 'a'), inv.inv_set_stock('A', 50, force => true, on_shelf => true);
	SELECT inv.inv_return(order_id, 'A', 1, 'broken', 'r'), inv.inv_record_payment(order_id, 'refunded')
	  FROM inv.inv_order WHERE status = 'completed' LIMIT 1;
	SELECT inv.inv_release(reservation_id, 'A', 1), inv.inv_extend(reservation_id, '1 hour')
	  FROM inv.inv_reservation WHERE status = 'active' AND quantity > 1 AND expires_at > now() LIMIT 1;
	SELECT * FROM inv.inv_reserve_batch('{A,B,A}', '{1,1,1}', '{x,y,x}');
	SELECT inv.inv_reserve_lines('[{"sku": "A", "quantity": 1}]');
	SELECT inv.inv_available('A'), inv.inv_set_stripes('STRIPED', 1);
	SELECT inv.inv_reservation_status(reservation_id), inv.inv_order_status(order_id) FROM inv.inv_order;
	SELECT inv.inv_expire(NULL);
	SELECT * FROM inv.inv_reconcile(true, true);
	SELECT * FROM inv.inv_reconcile(true);
	SELECT inv.inv_purge('0');
	CALL inv.inv_maintain();
	SELECT * FROM inv.inv_events();
	SELECT inv.inv_newest_event();
	SELECT inv.inv_unschedule(), inv.inv_schedule();
	SELECT * FROM inv.inv_availability;
	SELECT * FROM inv.inv_active_holds;
	SELECT * FROM inv.inv_reservation_lines;
	SELECT * FROM inv.inv_hold_conversion;
	SELECT * FROM inv.inv_sell_through;
	SELECT * FROM inv.inv_sold_out;
	SELECT * FROM inv.inv_stat});
ok(worker_has_run('trapped'), 'traps: the worker comes by');
is($node->safe_psql('trapped', 'SELECT worker_failures, worker_last_error FROM inv.inv_stat'), '0|',
	'traps: and fails at nothing');
is($node->safe_psql('trapped', 'SET search_path = pg_catalog; SELECT * FROM inv.inv_check()'), '', 'traps: the books are right');
nobody_caught($start, 'traps: no call, view or worker was caught', '');

#
# Relations that bear the names of ours
#
my @members = split /\n/, $node->safe_psql('trapped', q{
	SELECT relname || ' ' || relkind::text FROM pg_class
	 WHERE relnamespace = 'inv'::regnamespace AND relowner <> 'mallory'::regrole
	 ORDER BY relname});
cmp_ok(scalar @members, '>', 40, 'squatters: names to take');
database('squatted', '');
foreach my $member (@members)
{
	my ($name, $kind) = split / /, $member;
	my $made =
	  $kind eq 'S' ? "CREATE SEQUENCE inv.$name"
	  : $kind eq 'i' ? "CREATE TABLE inv.mine (a bigint); CREATE INDEX $name ON inv.mine (a)"
	  : $kind eq 'c' ? "CREATE TYPE inv.$name AS ()"
	  : $kind eq 'v' ? "CREATE VIEW inv.$name AS SELECT 1"
	  : "CREATE TABLE inv.$name ()";

	$node->safe_psql('squatted', "SET ROLE mallory; $made");
	my $answer = create_extension('squatted');
	like($answer, qr/ERROR:  42(P07|710): .*"$name" already exists/, "squatters: $name is not ours for the taking");
	if ($answer !~ /ERROR/)
	{
		$node->safe_psql('squatted', 'DROP EXTENSION inventory_reservation');
	}
	$node->safe_psql('squatted', 'DROP OWNED BY mallory; GRANT USAGE, CREATE ON SCHEMA inv, public TO mallory');
}

# One of ours has gone, by an owner's mistake, and mallory's is in its place.
is(create_extension('squatted'), '', 'squatters: gone');
foreach my $change (
	[ 'inv_stock_pkey', 'ALTER TABLE inv.inv_stock DROP CONSTRAINT inv_stock_pkey',
		'CREATE TABLE inv.mine (a bigint, b integer, c integer, CONSTRAINT inv_stock_pkey PRIMARY KEY (a, b, c))' ],
	[ 'inv_reservation_held', 'DROP INDEX inv.inv_reservation_held',
		'CREATE TABLE inv.mine (a timestamptz); CREATE INDEX inv_reservation_held ON inv.mine (a)' ],
	[ 'inv_ledger_entry_id_seq',
		'ALTER EXTENSION inventory_reservation DROP SEQUENCE inv.inv_ledger_entry_id_seq; ALTER TABLE inv.inv_ledger ALTER entry_id DROP IDENTITY', 'CREATE SEQUENCE inv.inv_ledger_entry_id_seq' ])
{
	my ($name, $mistake, $trap) = @$change;
	my $answer = as_role($superuser, 'squatted', "
		BEGIN; $mistake; SET LOCAL ROLE mallory; $trap; RESET ROLE;
		SELECT inv.inv_add_item('A');
		SELECT inv.inv_receive('A', 10);
		SELECT inv.inv_reserve('A', 1, ttl => '1 millisecond'), pg_sleep(0.01);
		SELECT inv.inv_reserve('A', 10)");
	like($answer, qr/ERROR:  55000: relation "$name" of extension "inventory_reservation" is missing/,
		"squatters: mallory's $name is not taken for ours");
}

#
# A shop, and what surrounds it
#
database('shop', '');
is(create_extension('shop'), '', 'a shop');
$node->safe_psql('shop', q{
	REVOKE CREATE ON SCHEMA inv FROM mallory;
	GRANT CREATE ON DATABASE shop TO mallory;
	GRANT CREATE ON SCHEMA public TO buyer;
	SELECT inv.inv_grant('buyer', 'buyer');
	SELECT inv.inv_add_item('A', unit_price => 10), inv.inv_receive('A', 1000), inv.inv_add_item('SECRET')});

# A function of the buyer's that is cheaper than any join sees the rows that the
# view leaves out.
my $seen = as_role('buyer', 'shop', q{
	CREATE FUNCTION public.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
	$$BEGIN RAISE NOTICE 'seen: %', $1; RETURN true; END$$;
	SELECT sku FROM inv.inv_availability WHERE public.leak(sku)});
like($seen, qr/seen: A/, 'the buyer sees what is in stock');
unlike($seen, qr/SECRET/, 'and not what has never been');

# Everything there is: what was not granted is refused, before it does anything.
my @refused = split /\n/, $node->safe_psql('shop', q{
	SELECT CASE prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END || proc.oid::regproc || '('
		   || coalesce((SELECT string_agg('NULL::' || format_type(type, NULL), ', ')
						  FROM unnest(proargtypes::oid[]) AS type), '') || ')'
	  FROM pg_depend AS depend JOIN pg_proc AS proc ON proc.oid = depend.objid
	 WHERE depend.classid = 'pg_proc'::regclass AND depend.deptype = 'e'
	   AND depend.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'inventory_reservation')
	   AND NOT has_function_privilege('buyer', proc.oid, 'EXECUTE')
	UNION ALL
	SELECT format(statement, class.oid::regclass)
	  FROM pg_depend AS depend JOIN pg_class AS class ON class.oid = depend.objid,
		   unnest(CASE WHEN relkind = 'S' THEN ARRAY['SELECT nextval(%L)', 'SELECT setval(%L, 1)', 'SELECT last_value FROM %s']
					   ELSE ARRAY['SELECT FROM %s', 'INSERT INTO %s DEFAULT VALUES', 'DELETE FROM %s', 'TRUNCATE %s',
								  'DO ''BEGIN LOCK TABLE %s IN ACCESS SHARE MODE; END''', 'COPY %s TO STDOUT',
								  'ALTER TABLE %s RENAME TO mine', 'DROP TABLE %s',
								  'CREATE TRIGGER mine BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
								  'CREATE RULE mine AS ON INSERT TO %s DO INSTEAD NOTHING',
								  'CREATE POLICY mine ON %s USING (true)',
								  'CREATE INDEX ON %s ((1))',
								  'COMMENT ON TABLE %s IS NULL'] END) AS statement
	 WHERE depend.classid = 'pg_class'::regclass AND depend.deptype = 'e' AND relkind IN ('r', 'S')
	   AND depend.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'inventory_reservation')
	UNION ALL
	SELECT unnest(ARRAY['DROP EXTENSION inventory_reservation', 'DROP SCHEMA inv CASCADE', 'CREATE TABLE inv.mine ()',
		'ALTER EXTENSION inventory_reservation DROP TABLE inv.inv_stock', 'DROP VIEW inv.inv_availability',
		'ALTER SYSTEM SET inventory_reservation.max_ttl = 1', 'SET inventory_reservation.max_ttl = 1',
		'SET inventory_reservation.idempotency_retention = 1', 'ALTER ROLE buyer SET inventory_reservation.worker_enabled = off',
		'DELETE FROM inv.inv_availability', 'UPDATE inv.inv_availability SET on_hand = 5'])});
cmp_ok(scalar @refused, '>', 200, 'a buyer tries all of it');
my $books = "SELECT md5(string_agg(entry::text, '' ORDER BY entry_id)), (SELECT string_agg(stock::text, '') FROM inv.inv_stock AS stock) FROM inv.inv_ledger AS entry WHERE operation NOT IN ('back_in_stock', 'out_of_stock')";
my $before = $node->safe_psql('shop', $books);
my $answers = as_role('buyer', 'shop',
	join('', map { "$refused[$_];\n\\echo outcome $_ :SQLSTATE\n" } 0 .. $#refused),
	on_error_stop => 0);
my %outcome = $answers =~ /^outcome (\d+) (\w+)$/mg;
# refused by privilege, or because it is no such thing
is_deeply(
	[ map { "$refused[$_]: " . ($outcome{$_} // 'nothing') }
		grep { ($outcome{$_} // '') !~ /^(42501|42809|55000|55P02)$/ } 0 .. $#refused ],
	[], 'and is refused');
is($node->safe_psql('shop', $books), $before, 'and has changed nothing');

# Who did it: the role that logged in, and the one that called.
$node->safe_psql('postgres', 'GRANT buyer TO mallory');
$node->safe_psql('shop', q{
	SELECT inv.inv_grant('storefront', 'buyer');
	CREATE FUNCTION public.buy() RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS
	$$SELECT reservation_id FROM inv.inv_reserve('A', 1, reference => 'wrapped')$$;
	ALTER FUNCTION public.buy() OWNER TO storefront});
foreach my $case (
	[ 'buyer', "SELECT inv.inv_reserve('A', 1)", 'buyer|buyer' ],
	[ 'mallory', "SET ROLE buyer; SELECT inv.inv_reserve('A', 1)", 'mallory|buyer' ],
	[ 'mallory', 'SELECT public.buy()', 'mallory|storefront' ],
	[ $superuser, "SET SESSION AUTHORIZATION buyer; SELECT inv.inv_reserve('A', 1)", 'buyer|buyer' ],
	[ $superuser, "SET SESSION AUTHORIZATION mallory; SET ROLE buyer; SELECT inv.inv_reserve('A', 1)", 'mallory|buyer' ])
{
	my ($login, $call, $who) = @$case;
	is(as_role($login, 'shop', $call) =~ /ERROR/ ? 'refused' : '', '', "$call is answered");
	is($node->safe_psql('shop', q{SELECT login_role, caller_role FROM inv.inv_ledger WHERE operation = 'reserve' ORDER BY entry_id DESC LIMIT 1}),
		$who, 'and in the ledger as it was');
}
# a role that may not call does not gain it by one that may
like(as_role('mallory', 'shop', "SELECT inv.inv_reserve('A', 1) FROM public.buy()"),
	qr/42501: permission denied for function inv_reserve/, 'a wrapper lends its rights to nobody');
like(as_role($superuser, 'shop', "REVOKE buyer FROM mallory"), qr/^$/, 'mallory is no buyer any more');
like(as_role('mallory', 'shop', "SET ROLE buyer"), qr/42501/, 'and cannot become one');

# A plan outlives the right to it, and is asked again each time.
like(as_role($superuser, 'shop', q{
	SET SESSION AUTHORIZATION buyer;
	PREPARE hold AS SELECT status FROM inv.inv_reserve('A', 1);
	EXECUTE hold; EXECUTE hold; EXECUTE hold; EXECUTE hold; EXECUTE hold; EXECUTE hold;
	RESET SESSION AUTHORIZATION;
	REVOKE EXECUTE ON FUNCTION inv.inv_reserve FROM buyer;
	SET SESSION AUTHORIZATION buyer;
	EXECUTE hold}), qr/(active\s+){6}.*ERROR:  42501/s, 'a prepared call ends with the right to it');
like(as_role($superuser, 'shop', q{
	BEGIN;
	GRANT EXECUTE ON FUNCTION inv.inv_reserve TO buyer;
	SET LOCAL ROLE buyer;
	SELECT status FROM inv.inv_reserve('A', 1);
	RESET ROLE;
	REVOKE EXECUTE ON FUNCTION inv.inv_reserve FROM buyer;
	SET LOCAL ROLE buyer;
	SELECT status FROM inv.inv_reserve('A', 1);
	}), qr/active\s+.*ERROR:  42501/s, 'also within a transaction');
$node->safe_psql('shop', "SELECT inv.inv_grant('buyer', 'buyer')");

# Settings of a role that let no call end, or would have it read other tables.
$node->safe_psql('shop', q{
	CREATE SCHEMA fake AUTHORIZATION mallory;
	GRANT USAGE ON SCHEMA fake TO PUBLIC;
	CREATE TABLE fake.inv_item (LIKE inv.inv_item);
	CREATE TABLE fake.inv_stock (LIKE inv.inv_stock);
	ALTER ROLE buyer SET statement_timeout = 1;
	ALTER ROLE buyer SET search_path = fake, inv, pg_catalog;
	ALTER ROLE buyer SET default_transaction_isolation = 'serializable';
	ALTER ROLE buyer SET row_security = off});
my $left = $node->safe_psql('shop', "SELECT inv.inv_available('A')");
my $held = 0;
for my $try (1 .. 20)
{
	$held++ if as_role('buyer', 'shop', "SELECT inv.inv_reserve('A', 1)") !~ /ERROR/;
}
is($node->safe_psql('shop', "SELECT inv.inv_available('A')"), $left - $held, 'a timeout of 1 ms holds all or nothing');
$node->safe_psql('postgres', 'ALTER ROLE buyer RESET ALL');

# The settings of a database are its owner's, and the worker starts with them.
$node->safe_psql('postgres', 'ALTER DATABASE shop OWNER TO mallory');
my $overrides = '-c role=none -c search_path=public -c statement_timeout=0 -c lock_timeout=0'
  . ' -c default_transaction_read_only=off -c idle_in_transaction_session_timeout=0';
like(as_role('mallory', 'shop', q{
	CREATE SCHEMA evil;
	CREATE FUNCTION evil.caught() RETURNS boolean LANGUAGE plpgsql AS
	$$BEGIN RAISE LOG 'caught by a setting as %', current_user; RETURN false; END$$;
	CREATE FUNCTION evil.equal(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT evil.caught()';
	CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.equal);
	CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT evil.caught()::text::timestamptz';
	ALTER DATABASE shop SET search_path = evil, pg_catalog;
	ALTER DATABASE shop SET statement_timeout = '1ms';
	ALTER DATABASE shop SET lock_timeout = '1ms';
	ALTER DATABASE shop SET idle_in_transaction_session_timeout = '1ms';
	ALTER DATABASE shop SET default_transaction_read_only = on;
	ALTER DATABASE shop SET default_transaction_isolation = serializable;
	ALTER DATABASE shop SET role = 'mallory';
	ALTER DATABASE shop SET DateStyle = 'SQL, DMY';
	ALTER DATABASE shop SET IntervalStyle = 'sql_standard';
	ALTER DATABASE shop SET TimeZone = 'Asia/Kathmandu';
	ALTER DATABASE shop SET client_encoding = 'LATIN1';
	ALTER DATABASE shop SET row_security = off;
	ALTER DATABASE shop SET plan_cache_mode = force_generic_plan;
	ALTER DATABASE shop SET enable_indexscan = off;
	ALTER DATABASE shop SET work_mem = '64kB';
	ALTER DATABASE shop SET transform_null_equals = on;
	ALTER DATABASE shop SET array_nulls = off;
	ALTER DATABASE shop SET standard_conforming_strings = off}), qr/^$/, 'mallory owns the database');
{
	local $ENV{PGOPTIONS} = $overrides;
	$start = -s $node->logfile;
	$node->safe_psql('shop', "SELECT inv.inv_reserve('A', 3, ttl => '1 millisecond')");
	ok($node->poll_query_until('shop', "SELECT count(*) = 0 FROM inv.inv_reservation WHERE status = 'active' AND expires_at < now()"),
		'the worker sweeps as ever');
	ok(worker_has_run('shop'), 'again and again');
	is($node->safe_psql('shop', 'SELECT worker_failures, worker_last_error FROM inv.inv_stat'), '0|', 'and fails at nothing');
	nobody_caught($start, 'nor is it caught', '');
	# the same call under settings of another kind is the same call
	is($node->safe_psql('shop', q{
		SELECT replayed FROM inv.inv_reserve('A', 1, key => 'style', ttl => '1 day 2 hours 0.5 seconds', metadata => '{"a": 1.0}');
		SET IntervalStyle = 'postgres'; SET DateStyle = 'ISO'; SET TimeZone = 'UTC'; SET extra_float_digits = 3;
		SELECT replayed FROM inv.inv_reserve('A', 1, key => 'style', ttl => '1 day 2 hours 0.5 seconds', metadata => '{"a": 1.0}')}),
		"f\nt", 'a key is not a matter of style');
}
$node->safe_psql('postgres', "ALTER DATABASE shop RESET ALL; ALTER DATABASE shop OWNER TO $superuser");

# Casts, domains and triggers of one's own run as oneself.
like(as_role('mallory', 'shop', q{
	GRANT USAGE ON SCHEMA evil TO buyer;
	CREATE TABLE evil.seen (by name);
	GRANT INSERT, SELECT ON evil.seen TO PUBLIC;
	CREATE TYPE evil.box AS (sku text);
	CREATE FUNCTION evil.unpack(evil.box) RETURNS text LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO evil.seen VALUES (current_user); RETURN $1.sku; END$$;
	CREATE CAST (evil.box AS text) WITH FUNCTION evil.unpack(evil.box) AS IMPLICIT;
	CREATE FUNCTION evil.fine(text) RETURNS boolean LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO evil.seen VALUES (current_user); RETURN true; END$$;
	CREATE DOMAIN evil.sku AS text CHECK (evil.fine(VALUE))}), qr/^$/, 'types of mallory');
like(as_role('buyer', 'shop', q{
	SELECT status FROM inv.inv_reserve(ROW('A')::evil.box);
	SELECT status FROM inv.inv_reserve('A'::evil.sku)}), qr/active\s+active/, 'can be bought with');
is($node->safe_psql('shop', 'SELECT DISTINCT by FROM evil.seen'), 'buyer', 'and run as who calls');

# Row security of the owner's, on tables that calls write to.
$node->safe_psql('shop', q{
	ALTER TABLE inv.inv_stock ENABLE ROW LEVEL SECURITY;
	ALTER TABLE inv.inv_reservation ENABLE ROW LEVEL SECURITY;
	ALTER TABLE inv.inv_progress ENABLE ROW LEVEL SECURITY;
	GRANT SELECT ON inv.inv_stock TO buyer});
is(as_role('buyer', 'shop', 'SELECT count(*) FROM inv.inv_stock'), '0', 'row security hides the rows');
like(as_role('buyer', 'shop', "SELECT status FROM inv.inv_reserve('A', 1, ttl => '1 millisecond')"), qr/^active$/,
	'a call is its owner\'s');
ok(worker_has_run('shop'), 'so is the worker');
is($node->safe_psql('shop', 'SELECT worker_failures FROM inv.inv_stat'), '0', 'which fails at nothing');
$node->safe_psql('shop', q{
	REVOKE SELECT ON inv.inv_stock FROM buyer;
	ALTER TABLE inv.inv_stock DISABLE ROW LEVEL SECURITY;
	ALTER TABLE inv.inv_reservation DISABLE ROW LEVEL SECURITY;
	ALTER TABLE inv.inv_progress DISABLE ROW LEVEL SECURITY});

# Event triggers: those who watch commands see what we do as commands, whoever
# forbids them is obeyed, and calls and workers issue none.
$node->safe_psql('shop', q{
	CREATE TABLE public.watched (tag text);
	CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO public.watched VALUES (tg_tag); END$$;
	CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()});
$node->safe_psql('shop', "SELECT inv.inv_reserve('A', 1), inv.inv_purge(), inv.inv_expire(); SELECT inv.inv_reconcile(true, true)");
ok(worker_has_run('shop'), 'event triggers: the worker comes by');
is($node->safe_psql('shop', 'SELECT count(*) FROM public.watched'), '0', 'event triggers: no call is a command');
$node->safe_psql('shop', "SELECT inv.inv_grant('storefront', 'auditor')");
is($node->safe_psql('shop', 'SELECT DISTINCT tag FROM public.watched'), 'GRANT', 'event triggers: inv_grant() grants');
$node->safe_psql('shop', q{
	CREATE FUNCTION public.forbid() RETURNS event_trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE EXCEPTION 'no %', tg_tag USING ERRCODE = '42501'; END$$;
	CREATE EVENT TRIGGER forbid ON ddl_command_end WHEN TAG IN ('GRANT', 'CREATE EXTENSION', 'ALTER EXTENSION')
	EXECUTE FUNCTION public.forbid()});
like(as_role($superuser, 'shop', "SELECT inv.inv_grant('mallory', 'buyer')"), qr/42501: no GRANT/, 'event triggers: or is kept from it');
is($node->safe_psql('shop', "SELECT has_function_privilege('mallory', 'inv.inv_available(text, text)', 'EXECUTE')"), 'f',
	'event triggers: and then has granted nothing');
database('forbidden', '');
$node->safe_psql('forbidden', q{
	CREATE FUNCTION public.forbid() RETURNS event_trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE EXCEPTION 'no %', tg_tag USING ERRCODE = '42501'; END$$;
	CREATE EVENT TRIGGER forbid ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION public.forbid()});
like(create_extension('forbidden'), qr/42501: no CREATE EXTENSION/, 'event triggers: so is CREATE EXTENSION');
is($node->safe_psql('forbidden', "SELECT count(*) FROM pg_class WHERE relname LIKE 'inv\\_%'"), '0', 'event triggers: of which nothing stays');
$node->safe_psql('shop', 'DROP EVENT TRIGGER watch; DROP EVENT TRIGGER forbid');

# A keeper who is no superuser, and has put functions of his own wherever a
# table has room for one: a check, a default, an index's expression and
# predicate, a policy that binds himself, a trigger.  Whoever calls, they run as
# the keeper, security-restricted, and no name in them means what the caller likes.
# (Views are another matter: in PostgreSQL, functions of a view's owner run as
# who reads it.  The README warns of that.)
$node->safe_psql('postgres', 'CREATE ROLE keeper');
database('kept', '');
is(create_extension('kept'), '', 'a shop with a keeper');
$node->safe_psql('kept', q{
	REVOKE CREATE ON SCHEMA inv FROM mallory;
	GRANT USAGE, CREATE ON SCHEMA inv TO keeper;
	GRANT CREATE ON SCHEMA public TO keeper;
	DO $$
	DECLARE
		member record;
	BEGIN
		FOR member IN
			SELECT object.type, object.identity
			  FROM pg_depend AS depend CROSS JOIN pg_identify_object(depend.classid, depend.objid, 0) AS object
			 WHERE depend.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'inventory_reservation')
			   AND depend.deptype = 'e' AND object.type IN ('table', 'view', 'function', 'procedure')
		LOOP
			EXECUTE format('ALTER %s %s OWNER TO keeper', member.type, member.identity);
		END LOOP;
	END
	$$;
	SET ROLE keeper;
	CREATE FUNCTION public.ran(what text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		RAISE LOG 'ran: % as % in %', what, current_user, current_setting('search_path');
		BEGIN
			RESET ROLE;
			RAISE LOG 'ran: % got out', what;
		EXCEPTION WHEN insufficient_privilege THEN NULL;
		END;
		RETURN true;
	END $$;
	CREATE FUNCTION public.kept(what text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
	$$BEGIN PERFORM public.ran(what); RETURN what; END$$;
	CREATE FUNCTION public.fired() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM public.ran('trigger'); RETURN coalesce(NEW, OLD); END$$;
	ALTER TABLE inv.inv_stock ADD CHECK (public.ran('check'));
	ALTER TABLE inv.inv_item ADD extra boolean DEFAULT public.ran('default');
	CREATE INDEX ON inv.inv_reservation (public.kept('expression' || status));
	CREATE INDEX ON inv.inv_ledger (at) WHERE public.kept('predicate' || operation) <> '';
	CREATE TRIGGER fired AFTER INSERT OR UPDATE OR DELETE ON inv.inv_order FOR EACH ROW EXECUTE FUNCTION public.fired();
	CREATE TRIGGER fired AFTER INSERT OR UPDATE OR DELETE ON inv.inv_progress FOR EACH ROW EXECUTE FUNCTION public.fired();
	ALTER TABLE inv.inv_reservation ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	CREATE POLICY bound ON inv.inv_reservation USING (public.ran('policy'));
	RESET ROLE;
	REVOKE CREATE ON SCHEMA inv FROM keeper;
	SELECT inv.inv_grant('buyer', 'buyer')});
$start = -s $node->logfile;
like(as_role($superuser, 'kept', q{
	CREATE TEMP TABLE inv_stock (evil text);
	SET search_path = pg_temp, public;
	SELECT inv.inv_add_item('A', unit_price => 1), inv.inv_receive('A', 10);
	SELECT inv.inv_reserve('A', 1, ttl => '1 millisecond'), pg_sleep(0.01);
	SELECT inv.inv_reserve('A', 10, key => 'all');
	SELECT inv.inv_cancel(reservation_id) FROM inv.inv_reserve('A', 10, key => 'all');
	SELECT inv.inv_cancel_order((inv.inv_confirm((inv.inv_reserve('A', 2)).reservation_id)).order_id);
	SELECT status FROM inv.inv_reserve('A', 1, ttl => '1 millisecond');
	CALL inv.inv_maintain();
	SELECT inv.inv_purge('0');
	SELECT * FROM inv.inv_reconcile(true, true);
	SELECT violation FROM inv.inv_check()}), qr/^active$(?!.*ERROR)/ms, 'a superuser calls');
like(as_role('buyer', 'kept', "SELECT status FROM inv.inv_reserve('A', 2)"), qr/^active$/, 'a buyer calls');
ok(worker_has_run('kept'), 'the worker comes by');
{
	my @ran = slurp_file($node->logfile, $start) =~ /LOG:  ran: (.*)$/mg;
	my %what = map { /^(check|default|expression|predicate|policy|trigger)/ ? ($1 => 1) : () } @ran;

	is(join(' ', sort keys %what), 'check default expression policy predicate trigger', 'all of his functions have run');
	is_deeply([ grep { !/as keeper in pg_catalog, (inv, )?pg_temp$/ } @ran ], [],
		'as the keeper, in a path that is not the caller\'s, and none got out');
}

# One of the tables is somebody else's: his triggers are not run at all.
foreach my $table (qw(inv_ledger inv_reservation inv_progress))
{
	$node->safe_psql('shop', "ALTER TABLE inv.$table OWNER TO mallory");
	like(as_role('mallory', 'shop', "
		CREATE OR REPLACE FUNCTION evil.take() RETURNS trigger LANGUAGE plpgsql AS \$\$
		BEGIN RAISE LOG 'caught by a trigger as %', current_user; RETURN NEW; END \$\$;
		CREATE TRIGGER take BEFORE INSERT OR UPDATE ON inv.$table FOR EACH ROW EXECUTE FUNCTION evil.take()"),
		qr/^$/, "$table is mallory's, and he has a trigger on it");
	$start = -s $node->logfile;
	like(as_role('buyer', 'shop', "SELECT status FROM inv.inv_reserve('A', 1)"),
		qr/ERROR:  55000: tables of extension "inventory_reservation" belong to different roles/,
		'calls are refused');
	like(as_role($superuser, 'shop', 'CALL inv.inv_maintain()'), qr/ERROR:  55000/, 'so is upkeep');
	nobody_caught($start, "his trigger on $table does not run as the owner of the others", $superuser);
	$node->safe_psql('shop', "DROP TRIGGER take ON inv.$table; ALTER TABLE inv.$table OWNER TO $superuser");
}

is($node->safe_psql('shop', 'SELECT * FROM inv.inv_check()'), '', 'the books are right');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP|XX0\d\d/, 'nothing has crashed, nor an internal error been raised');
$node->stop;
done_testing();
