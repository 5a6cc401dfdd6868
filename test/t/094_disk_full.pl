# No room on the disk: under the tables, under the write-ahead log, under the
# statistics file and under temporary files.
#
# What must never happen: that something is lost which a client was told, that
# something is left of a call which failed, that a worker or a session does not
# recover when there is room again.  Full tables are an error, 53100, and
# nothing else.  A full pg_wal stops the server, that is PostgreSQL's way; then
# the question is what is there after recovery.
#
# The disks are small ones in memory (tmpfs), in a mount namespace of the test's
# own, with which they vanish: this script starts itself again in there.
use strict;
use warnings;

# Before anything else: what is used below takes standard output for itself.
BEGIN
{
	my @namespace = qw(unshare --user --map-current-user --keep-caps --mount);

	if (!$ENV{INVENTORY_OWN_MOUNTS})
	{
		if (system("@namespace mount -t tmpfs -o size=1m none /mnt >/dev/null 2>&1") != 0)
		{
			print "1..0 # SKIP no mount namespace can be had here\n";
			exit;
		}
		$ENV{INVENTORY_OWN_MOUNTS} = 1;
		exec @namespace, $^X, (map { "-I$_" } @INC), $0, @ARGV;
	}
}

use InventoryTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A small disk.
sub make_disk
{
	my $disk = PostgreSQL::Test::Utils::tempdir;
	system_or_bail('mount', '-t', 'tmpfs', '-o', 'size=40m,mode=0700', 'none', $disk);
	return $disk;
}

# Take all of its room but so many bytes; make room again.
sub fill_disk
{
	my ($disk, $free) = @_;
	my $size = 0;

	open my $file, '>', "$disk/filler" or die $!;
	while (my $written = syswrite $file, 'x' x 65536)
	{
		$size += $written;
	}
	die "not full: $!" unless $!{ENOSPC};
	truncate $file, $size - $free or die $!;
	close $file;
	return;
}

sub make_room
{
	my ($disk) = @_;
	unlink "$disk/filler" or die $!;
	return;
}

# Clients hold and sell one unit after the other, and say what they were told,
# until they meet an error.  Returns { held => [ids], sold => [ids], errors =>
# text }.
sub sell
{
	my ($node, $name, $clients, $calls) = @_;
	my $scripts = PostgreSQL::Test::Utils::tempdir;
	my (@run, @stdout, @stderr);

	foreach my $client (0 .. $clients - 1)
	{
		append_to_file("$scripts/$client.sql", join '', map { <<"SQL" } 1 .. $calls);
SELECT reservation_id AS id FROM inv_reserve('A', key => '$name $client $_', ttl => '1 hour', metadata => '{"note": "@{['x' x 200]}"}') \\gset
\\echo held :id
SELECT status FROM inv_confirm(:'id', key => '$name $client $_') \\gset
\\echo sold :id
SQL
		$stdout[$client] = $stderr[$client] = '';
		push @run, IPC::Run::start(
			[
				'psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1',
				'--set', 'VERBOSITY=sqlstate', '--file', "$scripts/$client.sql",
				'--dbname', $node->connstr('postgres')
			],
			'<', \'', '>', \$stdout[$client], '2>', \$stderr[$client],
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	$_->finish foreach @run;
	my $told = join '', @stdout;
	return {
		held => [ $told =~ /^held (.*)$/mg ],
		sold => [ $told =~ /^sold (.*)$/mg ],
		errors => join('', @stderr)
	};
}

# Everything that was told is there, and nothing else, but for at most so many
# calls whose end nobody heard of.
sub is_as_told
{
	my ($node, $name, $told, $in_doubt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($held, $sold) = map { '{' . join(',', @{ $told->{$_} }) . '}' } 'held', 'sold';

	value_is($node, qq{
		SELECT (SELECT count(*) FROM unnest('$held'::uuid[]) AS id
				 WHERE NOT EXISTS (SELECT FROM inv_reservation WHERE reservation_id = id)),
			   (SELECT count(*) FROM unnest('$sold'::uuid[]) AS id
				 WHERE NOT EXISTS (SELECT FROM inv_order WHERE reservation_id = id))},
		'0|0', "$name: what was told is there");
	cmp_ok($node->safe_psql('postgres', qq{
			SELECT count(*) FROM inv_idempotency
			 WHERE key LIKE '$name %'
			   AND reservation_id <> ALL (CASE scope WHEN 'reserve' THEN '$held'::uuid[]
											ELSE '$sold'::uuid[] END)}),
		'<=', $in_doubt, "$name: nothing else is there");
	books_are_right($node, "$name: inv_check() finds nothing");
	return;
}

my ($tables, $temporary, $statistics, $log) = map { make_disk() } 1 .. 4;
my $node = inventory_node('shop',
	extension => 0,
	init => { extra => ['--wal-segsize=1'] },
	conf => <<"CONF");
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
inventory_reservation.naptime = 1
autovacuum = off
max_wal_size = 16MB
min_wal_size = 2MB
CONF
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$tables'");
$node->safe_psql('postgres', "CREATE TABLESPACE temporary LOCATION '$temporary'");
$node->safe_psql('postgres', q{
	CREATE SCHEMA inv;
	ALTER DATABASE postgres SET search_path = inv, public;
	SET default_tablespace = small;
	CREATE EXTENSION inventory_reservation SCHEMA inv});
add_stock($node, A => 1_000_000, B => 100, C => 100);
value_is($node, q{
	SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'i') AND reltablespace = 0
	   AND relnamespace = 'inv'::regnamespace}, 0, 'the tables are on the small disk');

#
# Under the tables
#
{
	my @dead = split /\n/, $node->safe_psql('postgres', q{
		SELECT (inv_reserve('C', 1, ttl => '1 millisecond')).reservation_id
		  FROM generate_series(1, 5)});
	my $live = $node->safe_psql('postgres',
		"SELECT reservation_id FROM inv_reserve('B', 5, ttl => '1 hour')");
	my $cart = $node->safe_psql('postgres',
		"SELECT reservation_id FROM inv_reserve_cart('{B,C}', '{5,5}', ttl => '1 hour')");
	my $offset = -s $node->logfile;

	fill_disk($tables, 1_000_000);
	my $told = sell($node, 'tables', 4, 5000);
	is(scalar(() = $told->{errors} =~ /ERROR:  53100/g), 4,
		'tables: all clients are told, some time, that the disk is full');
	unlike($told->{errors}, qr/ERROR:  (?!53100)/, 'tables: and meet no other error');
	cmp_ok(scalar @{ $told->{sold} }, '>', 20, 'tables: others were served before');
	is_as_told($node, 'tables', $told, 0);

	# Every call either does what it says or is such an error.  With no room for
	# a row none that writes can do.
	fill_disk($tables, 0);
	1 while sqlstate_of($node, "SELECT count(inv_reserve('A', metadata => '{}')) FROM generate_series(1, 20)") eq '00000';
	1 while sqlstate_of($node, "SELECT inv_reserve('A')") eq '00000';
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM inv_ledger');
	my %state;
	foreach my $call (
		"inv_reserve('B')", "inv_try_reserve('B')", "inv_reserve_cart('{B,C}', '{1,1}')",
		"inv_reserve_batch('{B,C}', '{1,1}')", "inv_confirm('$live')", "inv_confirm('$cart')",
		"inv_release('$live', 'B', 1)", "inv_extend('$live', '2 hours')", "inv_cancel('$cart')",
		'inv_expire()', "inv_receive('B', 1)", "inv_set_stock('B', 50)",
		"inv_set_stripes('B', 16)", 'inv_reconcile()', 'inv_purge()', "inv_add_item('D')")
	{
		my $answer = sqlstate_of($node, "BEGIN; SELECT $call; ROLLBACK");
		like($answer, qr/^(00000|53100)$/, "tables: $call works or says so");
		$state{$answer}++;
	}
	note explain \%state;
	isnt($state{53100}, undef, 'tables: some do');
	value_is($node, 'SELECT count(*) FROM inv_ledger', $before, 'tables: nothing is left of them');
	value_is($node, "SELECT inv_available('B') > 0", 't', 'tables: who only reads is served');
	books_are_right($node);

	# In subtransactions, over and over.
	is(sqlstate_of($node, q{
		DO $$
		BEGIN
			FOR i IN 1 .. 200 LOOP
				BEGIN
					PERFORM inv_reserve('A', 1, key => 'again ' || i);
				EXCEPTION WHEN disk_full THEN
					NULL;
				END;
			END LOOP;
		END $$}), '00000', 'tables: the error can be caught');
	books_are_right($node);

	# The worker cannot sweep, says so, and goes on when it can.
	$node->append_conf('postgresql.conf', "inventory_reservation.worker_enabled = on\n");
	$node->reload;
	$node->wait_for_log(qr/sqlstate=53100 .*ERROR/, -s $node->logfile);
	make_room($tables);
	ok($node->poll_query_until('postgres', qq{
			SELECT count(*) = 5 FROM inv_reservation
			 WHERE status = 'expired' AND reservation_id IN ('@{[join "','", @dead]}')}),
		'tables: with room the worker sweeps');
	$node->append_conf('postgresql.conf', "inventory_reservation.worker_enabled = off\n");
	$node->reload;
	value_is($node, "SELECT status FROM inv_confirm('$_')", 'confirmed',
		'tables: and what was held before is sold') foreach $live, $cart;
	only_errors_are($node, $offset, { 53100 => undef }, 'tables: no other error in the log');
	unlike(slurp_file($node->logfile, $offset), qr/PANIC|TRAP|terminated by signal/,
		'tables: and no crash');
	my $again = sell($node, 'room', 2, 20);
	is($again->{errors}, '', 'tables: everything works again');
	is_as_told($node, 'room', $again, 0);
}

#
# Under temporary files
#
{
	$node->safe_psql('postgres', q{
		SELECT count(inv_reserve('A', ttl => '1 hour')) FROM generate_series(1, 3000)});
	fill_disk($temporary, 0);
	my $check = q{
		SET temp_tablespaces = temporary; SET work_mem = '64kB'; SET hash_mem_multiplier = 1;
		SELECT count(*) FROM };
	foreach my $function ('inv_check()', 'inv_reconcile(complete => true)')
	{
		like(sqlstate_of($node, "$check $function"), qr/^(53100|00000)$/,
			"temporary files: $function says so");
	}
	is(sqlstate_of($node, "$check inv_check()"), '53100', 'temporary files: they are needed');
	make_room($temporary);
	value_is($node, "$check inv_check()", 0, 'temporary files: with room inv_check() finds nothing');
	value_is($node, "$check inv_reconcile(complete => true)", 0,
		'temporary files: nor does a reconciliation');
}

#
# Under the statistics file
#
{
	my $directory = $node->data_dir . '/pg_stat';
	my $offset;

	cmp_ok($node->safe_psql('postgres', 'SELECT reserves FROM inv_stat'), '>', 3000,
		'statistics: there are some');
	$node->stop;
	mkdir "$statistics/pg_stat";
	system_or_bail("cp -p $directory/* $statistics/pg_stat/; mv $directory $directory.old; ln -s $statistics/pg_stat $directory");
	$node->start;
	cmp_ok($node->safe_psql('postgres', 'SELECT reserves FROM inv_stat'), '>', 3000,
		'statistics: they survive a restart');
	fill_disk($statistics, 0);
	$offset = -s $node->logfile;
	$node->stop;
	like(slurp_file($node->logfile, $offset),
		qr{LOG:  could not write file "pg_stat/inventory_reservation.stat.new": No space left},
		'statistics: the log says that they could not be written');
	is(join(' ', grep { -e } glob "$statistics/pg_stat/inventory*"), '',
		'statistics: no piece of the file is left');
	$node->start;
	value_is($node, 'SELECT reserves FROM inv_stat', 0, 'statistics: they begin at zero');
	make_room($statistics);
	$node->safe_psql('postgres', "SELECT inv_reserve('A')");
	$node->restart;
	value_is($node, 'SELECT reserves FROM inv_stat', 1, 'statistics: with room they are kept');
	books_are_right($node);
}

#
# Under the write-ahead log
#
{
	my $name = 'log';
	my $wal = $node->data_dir . '/pg_wal';

	$node->stop;
	system_or_bail("cp -rp $wal $log/pg_wal; rm -r $wal; ln -s $log/pg_wal $wal");
	$node->start;
	my $offset = -s $node->logfile;
	fill_disk($log, 2_000_000);
	my $told = sell($node, $name, 4, 20_000);
	like(slurp_file($node->logfile, $offset), qr/PANIC:  .*No space left/,
		"$name: the server stops");
	cmp_ok(scalar @{ $told->{sold} }, '>', 20, "$name: clients were served before");
	$node->stop('immediate', fail_ok => 1);
	make_room($log);
	$node->start;
	is_as_told($node, $name, $told, 4);

	# Who has lost an answer asks again, with the same key.
	my $again = sell($node, $name, 4, scalar @{ $told->{held} });
	is($again->{errors}, '', "$name: everything works again");
	my %held = map { $_ => 1 } @{ $again->{held} };
	is(scalar(grep { !$held{$_} } @{ $told->{held} }), 0, "$name: repeated calls find what they had");
	is_as_told($node, $name, $again, 0);
}

$node->stop;
done_testing();
