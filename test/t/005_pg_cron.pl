# pg_cron really fires.
#
# It does so at the full minute, so this test spends most of its time waiting
# for two of them: at the first, the sweep must have expired the dead holds; at
# the second, the extension is gone and the job must remove itself.
use strict;
use warnings;

use InventoryTest;
use Test::More;
use Time::HiRes qw(sleep time);

# If pg_cron is not installed there is nothing to test; everything else works
# without it.
my $share = `pg_config --sharedir`;
chomp $share;

my $node = inventory_node('shop',
	extension => 0,
	conf => <<'CONF');
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 20
CONF

my $our_job = "jobname = 'inventory_reservation expire'";
my $jobs = "SELECT count(*) FROM cron.job WHERE $our_job";

# Wait up to 75 seconds, which has a full minute in it, for a query to say t.
sub within_a_minute
{
	my ($sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $start = time;
	my $answer;

	while (time - $start < 75)
	{
		$answer = $node->safe_psql('postgres', $sql);
		last if $answer eq 't';
		sleep 0.5;
	}
	return is($answer, 't', $name);
}

# Where pg_cron is not in the database, the extension is created all the same,
# and says how its sweep can be scheduled from the database pg_cron is in.
$node->safe_psql('postgres', 'CREATE DATABASE branch');
my ($status, $stdout, $stderr) =
  $node->psql('branch', 'CREATE EXTENSION inventory_reservation');
is($status, 0, 'CREATE EXTENSION succeeds without pg_cron in the database');
like($stderr, qr/NOTICE:/, 'and gives notice');
is($node->safe_psql('branch', 'SELECT inv_schedule() IS NULL'),
	't', 'inv_schedule() answers NULL there');

$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_cron;
	CREATE SCHEMA inv;
	ALTER DATABASE postgres SET search_path = inv, public;
	SELECT cron.schedule('of somebody else', '0 0 1 1 *', 'SELECT 1')});
($status, $stdout, $stderr) =
  $node->psql('postgres', 'CREATE EXTENSION inventory_reservation SCHEMA inv');
is($status, 0, 'CREATE EXTENSION succeeds beside pg_cron');
like($stderr, qr/NOTICE:/, 'and gives notice');
value_is($node, "SELECT schedule, active, database FROM cron.job WHERE $our_job",
	'* * * * *|t|postgres', 'it has scheduled the sweep for every minute');

# Scheduling is safe to repeat, and can be undone.
my $job = $node->safe_psql('postgres',
	"SELECT jobid FROM cron.job WHERE $our_job");
value_is($node, 'SELECT inv_schedule() FROM generate_series(1, 3)',
	"$job\n$job\n$job", 'scheduling again answers with the same job');
value_is($node, $jobs, 1, 'and there is one job');
value_is($node, 'SELECT inv_unschedule(), inv_unschedule()', 't|f',
	'unscheduling says whether there was one');
value_is($node, $jobs, 0, 'and there is none');
$node->safe_psql('postgres', 'SELECT inv_schedule()');
value_is($node, $jobs, 1, 'scheduled once more');
value_is($node, 'SELECT count(*) FROM cron.job', 2,
	"somebody else's job is still there");

# A rolled back CREATE EXTENSION leaves no job behind in any other name.
$node->safe_psql('postgres', q{
	BEGIN;
	DROP EXTENSION inventory_reservation;
	ROLLBACK});
value_is($node, $jobs, 1, 'a DROP EXTENSION rolled back leaves the job');

# The other database is swept by a job in this one.
$node->safe_psql('postgres', q{
	SELECT cron.schedule_in_database('sweep of the branch', '* * * * *',
									 'SELECT inv_expire()', 'branch')});

add_stock($node, 'A' => 10);
$node->safe_psql('postgres', q{
	SELECT inv_reserve('A', 4, ttl => '100 milliseconds');
	SELECT inv_reserve('A', 3, ttl => '1 hour')});
$node->safe_psql('branch', q{
	SELECT inv_add_item('A'), inv_receive('A', 10);
	SELECT inv_reserve('A', 4, ttl => '100 milliseconds')});

within_a_minute(q{
	SELECT status = 'expired' FROM inv_reservation WHERE quantity = 4},
	'pg_cron has expired the dead hold');
value_is($node,
	'SELECT status FROM inv_reservation WHERE quantity = 3',
	'active', 'and left the live one alone');
value_is($node, q{
	SELECT count(*), sum(delta_reserved), bool_and(login_role = current_user)
	  FROM inv_ledger WHERE operation = 'expire'},
	'1|-4|t', 'the ledger has the one expiry');
value_is($node,
	"SELECT on_hand, reserved, available FROM inv_availability WHERE sku = 'A'",
	'10|3|7', 'the stock is back');
within_a_minute(qq{
	SELECT bool_and(run.status = 'succeeded') AND count(*) > 0
	  FROM cron.job_run_details AS run JOIN cron.job USING (jobid)
	 WHERE $our_job},
	'pg_cron says that the run succeeded');
my $branch = 0;
foreach (1 .. 40)
{
	$branch = $node->safe_psql('branch',
		"SELECT count(*) FROM inv_reservation WHERE status = 'expired'");
	last if $branch;
	sleep 0.5;
}
is($branch, 1, 'and the hold in the other database is expired too');
books_are_right($node);

# The job outlives the extension by one run, which takes it away.
$node->safe_psql('postgres', 'DROP EXTENSION inventory_reservation');
value_is($node, $jobs, 1, 'DROP EXTENSION cannot take the job with it');
within_a_minute(
	"SELECT NOT EXISTS (SELECT FROM cron.job WHERE $our_job)",
	'the job has removed itself');

# pg_cron may notice that the job is gone before it has read the result of the
# run that took it away, and then calls that run canceled.
value_is($node,
	"SELECT count(*) FROM cron.job_run_details WHERE jobid >= $job"
	  . " AND status = 'failed' AND return_message <> 'job canceled'",
	0, 'without a failed run');
value_is($node,
	"SELECT count(*) FROM cron.job WHERE jobname = 'of somebody else'",
	1, "and somebody else's job is still there");

# The extension comes back, and its job with it.
$node->safe_psql('postgres', 'CREATE EXTENSION inventory_reservation SCHEMA inv');
value_is($node, $jobs, 1, 'CREATE EXTENSION schedules it again');
only_errors_are($node, 0, {}, 'no errors in the log');

$node->stop;
done_testing();
