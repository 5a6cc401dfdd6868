# With the library preloaded, background workers sweep by themselves: in time,
# as the owner of the tables who may do nothing else, whatever a database's
# defaults are, and beside everybody else who sweeps.
use strict;
use warnings;

use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'pg_cron, inventory_reservation'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 16
inventory_reservation.naptime = 2
CONF

sub reload
{
	my (%settings) = @_;
	$node->safe_psql('postgres', join '', map {
		"ALTER SYSTEM SET inventory_reservation.$_ = '$settings{$_}';"
	} sort keys %settings);
	$node->reload;
	return;
}

my $dead = q{SELECT count(*) FROM inv_reservation
			  WHERE status = 'active' AND expires_at <= clock_timestamp()};
my $nothing_dead = "SELECT ($dead) = 0";

#
# In time.
#

value_is($node, q{
	SELECT backend_type, datname, wait_event_type FROM pg_stat_activity
	 WHERE backend_type LIKE 'inventory_reservation%'},
	'inventory_reservation launcher||Extension',
	'there is a launcher, in no database');

add_stock($node, A => 100, B => 100);
foreach my $round (1 .. 4)
{
	$node->safe_psql('postgres',
		q{SELECT inv_reserve('A', 1, ttl => '100 milliseconds')});
	sleep 0.55;
}
ok($node->poll_query_until('postgres', $nothing_dead), 'dead holds are swept');
value_is($node, q{
	SELECT count(*), max(closed_at - expires_at) < interval '4 seconds'
	  FROM inv_reservation WHERE status = 'expired'},
	'4|t', 'each of them within naptime, and what a busy machine adds');
value_is($node, q{
	SELECT count(*), bool_and(caller_role = current_user)
	  FROM inv_ledger WHERE operation = 'expire'},
	'4|t', 'by the owner of the tables, says the ledger');
value_is($node, q{
	SELECT count(*) > 0 FROM pg_stat_user_tables
	 WHERE relname = 'inv_reservation' AND n_tup_upd >= 4},
	't', 'and autovacuum can know of it');
books_are_right($node);

#
# On a SKU that is being fought over.
#

# There is always somebody who has the row, so a sweep has to stand in the
# queue for it.
$node->safe_psql('postgres', q{
	SELECT inv_receive('B', 100000);
	SELECT inv_reserve('B', 1, ttl => '500 milliseconds')});
my ($status) = pgbench($node,
	clients => 32,
	arguments => [ '--time', 6 ],
	scripts => { q{SELECT inv_reserve('B', 1);} => 1 });
is($status, 0, 'buyers fight over a SKU');
value_is($node, q{
	SELECT closed_at - expires_at < interval '5 seconds' FROM inv_reservation
	 WHERE expires_at - created_at < interval '1 second'
	   AND item_id = (SELECT item_id FROM inv_item WHERE sku = 'B')},
	't', 'and its dead hold was swept meanwhile');

#
# Settings, at once.
#

reload(worker_enabled => 'off');
$node->poll_query_until('postgres', q{
	SELECT count(*) = 0 FROM pg_stat_activity
	 WHERE backend_type = 'inventory_reservation worker'});
$node->safe_psql('postgres',
	q{SELECT inv_reserve('A', 1, ttl => '1 millisecond')});
sleep 3;
value_is($node, $dead, 1, 'switched off: nobody sweeps');
reload(worker_enabled => 'on');
ok($node->poll_query_until('postgres', $nothing_dead),
	'switched on: swept at once');
reload(naptime => 3600);
$node->safe_psql('postgres',
	q{SELECT inv_reserve('A', 1, ttl => '1 millisecond')});
sleep 2.5;
value_is($node, $dead, 1, 'naptime of an hour: not yet');
reload(naptime => 1);
ok($node->poll_query_until('postgres', $nothing_dead),
	'naptime of a second: now');

#
# As nobody but the owner.
#

# A shop whose owner is not a superuser, and hostile: what he has put on the
# tables tries to become one, and to be called by a name of PostgreSQL's.  Its
# defaults would keep a worker from its work.
$node->safe_psql('postgres', q{
	CREATE ROLE hostile;
	CREATE DATABASE hostile_shop});
$node->safe_psql('hostile_shop', q{
	CREATE SCHEMA inv;
	CREATE EXTENSION inventory_reservation SCHEMA inv;
	GRANT USAGE ON SCHEMA inv TO hostile;
	GRANT ALL ON SCHEMA public TO hostile;
	SELECT inv.inv_add_item('A');
	SELECT inv.inv_receive('A', 10);
	DO $$
	DECLARE
		member record;
	BEGIN
		FOR member IN
			SELECT object.type, object.identity
			  FROM pg_depend AS depend
			  JOIN pg_extension AS extension ON extension.oid = depend.refobjid
			 CROSS JOIN pg_identify_object(depend.classid, depend.objid, 0) AS object
			 WHERE extension.extname = 'inventory_reservation'
			   AND depend.refclassid = 'pg_extension'::regclass
			   AND depend.deptype = 'e'
			   AND object.type IN ('table', 'view', 'function', 'procedure')
		LOOP
			EXECUTE format('ALTER %s %s OWNER TO hostile', member.type, member.identity);
		END LOOP;
	END $$;

	SET ROLE hostile;
	CREATE TABLE public.seen (what text);
	CREATE FUNCTION public.note(what text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.seen SELECT what
		 WHERE NOT EXISTS (SELECT FROM public.seen AS s WHERE s.what = note.what);
	END $$;
	CREATE FUNCTION public.count(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.note('public.count() as ' || current_user);
		RETURN 0;
	END $$;
	CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.note('public.now() as ' || current_user);
		RETURN pg_catalog.now();
	END $$;
	CREATE FUNCTION public.earlier(timestamptz, timestamptz) RETURNS boolean
	LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.note('public.< as ' || current_user);
		RETURN $1 OPERATOR(pg_catalog.<) $2;
	END $$;
	CREATE OPERATOR public.< (FUNCTION = public.earlier,
							  LEFTARG = timestamptz, RIGHTARG = timestamptz);

	CREATE FUNCTION public.attack() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		attempt text;
	BEGIN
		IF current_setting('application_name') <> 'inventory_reservation worker'
		THEN
			RETURN NULL;
		END IF;
		PERFORM now();
		PERFORM public.note('as ' || current_user);
		PERFORM public.note(current_setting('transaction_isolation'));
		PERFORM public.note('read-only ' || current_setting('transaction_read_only'));
		FOREACH attempt IN ARRAY ARRAY['ALTER ROLE hostile SUPERUSER',
			'SET ROLE ' || session_user, 'RESET ROLE',
			'SET SESSION AUTHORIZATION DEFAULT', 'RESET SESSION AUTHORIZATION',
			'CREATE ROLE made_by_hostile',
			'CREATE TEMP TABLE t ()', 'LISTEN channel']
		LOOP
			BEGIN
				EXECUTE attempt;
				PERFORM public.note(attempt || ': done, as ' || current_user);
			EXCEPTION WHEN insufficient_privilege THEN
				NULL;
			END;
		END LOOP;
		-- what lasts longer than the batch
		SET default_transaction_isolation = 'serializable';
		SET default_transaction_read_only = on;
		SET search_path = public, pg_catalog;
		RETURN NULL;
	END $$;
	CREATE TRIGGER attack AFTER UPDATE ON inv.inv_reservation
		FOR EACH ROW EXECUTE FUNCTION public.attack();
	RESET ROLE;

	SELECT inv.inv_reserve('A', 1, ttl => '1500 milliseconds', key => g::text)
	  FROM generate_series(1, 3) AS g;
	ALTER DATABASE hostile_shop SET search_path = public, pg_catalog;
	ALTER DATABASE hostile_shop SET default_transaction_isolation = 'serializable';
	ALTER DATABASE hostile_shop SET default_transaction_deferrable = on;
	ALTER DATABASE hostile_shop SET default_transaction_read_only = on;
	ALTER DATABASE hostile_shop SET row_security = off;
	ALTER DATABASE hostile_shop SET role = 'hostile'});

# As the test, not with the database's defaults.
sub in_hostile_shop
{
	my ($sql) = @_;
	return $node->safe_psql('hostile_shop',
		"SET ROLE NONE; SET search_path = inv;"
		  . "SET default_transaction_read_only = off;"
		  . "SET transaction_read_only = off; $sql");
}

# poll_query_until() in a session with those defaults
sub hostile_shop_says
{
	my ($sql) = @_;
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if in_hostile_shop("SELECT $sql") eq 't';
		sleep 0.1;
	}
	return 0;
}

# expire_batch_size of 1: three batches, so that what the first leaves behind
# would show in the next
reload(expire_batch_size => 1);
ok(hostile_shop_says(
		q{count(*) = 3 FROM inv_reservation WHERE status = 'expired'}),
	'a shop with odd defaults is swept');
is(in_hostile_shop('SELECT what FROM public.seen ORDER BY what COLLATE "C"'),
	"as hostile\nread committed\nread-only off",
	'what its owner has put on the tables ran as the owner, who could do nothing');
is(in_hostile_shop(
		q{SELECT rolsuper FROM pg_roles WHERE rolname ~ 'hostile'}),
	'f', 'and is no superuser now');
is(in_hostile_shop('SELECT count(*) FROM inv_check()'),
	0, 'the books of that shop are right');

# A deferred trigger would run at the end of the transaction, which is no
# longer the call's: it must not get there.
my $offset = -s $node->logfile;
in_hostile_shop(q{
	SELECT inv_reserve('A', 1, ttl => '1 millisecond');
	SET ROLE hostile;
	DROP TRIGGER attack ON inv_reservation;
	CREATE CONSTRAINT TRIGGER attack AFTER UPDATE ON inv_reservation
		DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION public.attack();
	TRUNCATE public.seen});
ok(eval { $node->wait_for_log(qr/ERROR:  .*deferred trigger/, $offset) || 1 },
	'a deferred trigger of the owner is refused, and the log says so');
like(
	slurp_file($node->logfile, $offset),
	qr/CONTEXT:  .*worker for database hostile_shop, step "sweep/s,
	'with where it happened');
is(in_hostile_shop('SELECT count(*) FROM public.seen'), 0, 'it has not run');
in_hostile_shop('DROP TRIGGER attack ON inv_reservation');
ok(hostile_shop_says(
		q{count(*) = 4 FROM inv_reservation WHERE status = 'expired'}),
	'without it the hold is swept');
only_errors_are($node, 0, { '42501' => undef }, 'no other error in the log');
$node->safe_psql('postgres', 'DROP DATABASE hostile_shop');

#
# All at once.
#

reload(worker_enabled => 'off', expire_batch_size => 1000);
my $skus = 500;
my $holds = 100_000;
my $ours = q{item_id IN (SELECT item_id FROM inv_item WHERE sku LIKE 'S%')};
$node->safe_psql('postgres', qq{
	SELECT count(*) FROM inv_load_stock(
		ARRAY(SELECT 'S' || g FROM generate_series(0, $skus - 1) AS g),
		ARRAY(SELECT $holds / $skus FROM generate_series(1, $skus)));
	SELECT count(inv_reserve('S' || g % $skus, 1, ttl => '1 hour'))
	  FROM generate_series(1, $holds) AS g;
	TRUNCATE inv_idempotency});
# They begin to die shortly before a full minute, when pg_cron fires, and go on
# dying for a while: however long each of those who sweep takes to begin, there
# is something left for it.  pg_cron comes but once, so it comes with ten jobs,
# one after the other.
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_cron;
	CREATE ROLE cron LOGIN SUPERUSER;
	GRANT USAGE ON SCHEMA cron TO cron;
	SET ROLE cron;
	SELECT cron.schedule('sweep ' || nr, '* * * * *',
		format('SELECT inv.inv_expire() FROM pg_sleep(%s)', nr * 0.5))
	  FROM generate_series(1, 10) AS nr});
$node->safe_psql('postgres', qq{
	CREATE TABLE tick AS
		SELECT date_trunc('minute', now() + interval '75 seconds')
			   - interval '3 seconds' AS at;
	UPDATE inv_reservation
	   SET expires_at = (SELECT at FROM tick) + random() * interval '20 seconds'
	 WHERE $ours;
	UPDATE inv_stock SET earliest_expiry = (SELECT at FROM tick) WHERE reserved > 0});
value_is($node,
	"SELECT count(*) FROM inv_reservation WHERE $ours",
	$holds, "there are $holds holds");
ok( $node->poll_query_until('postgres',
		'SELECT clock_timestamp() > at FROM tick'), 'they begin to die');

# Each buyer wants all there is, so he has to reclaim what is dead.  The
# clients log in under another name than the worker, for the ledger.
$node->safe_psql('postgres', 'CREATE ROLE clerk LOGIN SUPERUSER');
reload(worker_enabled => 'on');
$ENV{PGUSER} = 'clerk';
($status) = pgbench($node,
	clients => 9,
	arguments => [ '--time', 24, '--rate', 100 ],
	scripts => {
		q{SELECT inv_expire(300);} => 4,
		q{CALL inv_maintain();} => 1,
		qq{\\set s random(0, $skus - 1)
		SELECT inv_try_reserve('S' || :s, greatest(1, inv_available('S' || :s)));} => 8,
	});
delete $ENV{PGUSER};
is($status, 0, 'sweeps, maintenance and buyers met no error');
ok($node->poll_query_until('postgres', $nothing_dead), 'nothing is dead');
value_is($node, qq{
	SELECT count(*), count(DISTINCT reservation_id), sum(delta_reserved)
	  FROM inv_ledger JOIN inv_item USING (item_id)
	 WHERE operation = 'expire' AND sku LIKE 'S%'},
	"$holds|$holds|-$holds", 'each hold was freed once');
value_is($node, q{
	WITH made AS (
		SELECT login_role,
			   bool_or(operation = 'reserve') AS by_buyer
		  FROM inv_ledger JOIN inv_item USING (item_id)
		 WHERE sku LIKE 'S%'
		 GROUP BY xid, login_role HAVING bool_or(operation = 'expire'))
	SELECT string_agg(DISTINCT CASE WHEN by_buyer THEN 'buyers'
									WHEN login_role = 'clerk' THEN 'sweeps'
									WHEN login_role = 'cron' THEN 'pg_cron'
									ELSE 'the worker' END, ' ') FROM made},
	'buyers pg_cron sweeps the worker', 'and each of them freed some');
books_are_right($node);
only_errors_are($node, 0, { '42501' => undef }, 'no other error in the log');

$node->stop;
done_testing();
