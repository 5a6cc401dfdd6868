# Runs episodes: a database each, clients, an observer, a nemesis, and a verdict.
use strict;
use warnings;

use Getopt::Long;
use POSIX ();
use Simulator::Client;
use Simulator::Latecomer;
use Simulator::Log;
use Simulator::Nemesis;
use Simulator::Observer;
use Simulator::Profile;
use Simulator::Report;
use Simulator::Session;
use Simulator::Verdict;
use Time::HiRes qw(sleep time);

$| = 1;
my %option = (seconds => 60, clients => 12, length => 20);
GetOptions(
	\%option, 'dir=s', 'data=s', 'log=s',
	'seed=s', 'seconds=f', 'clients=i', 'episode=i',
	'length=f', 'sweeps=i', 'several=i', 'kills=i'
) or die "simulate.pl: bad options\n";
$option{seed} = int(rand 1e9) if !defined $option{seed};
print "seed $option{seed}, $option{seconds} s, $option{clients} clients\n";

my $report = Simulator::Report->new(%option);
my $began = time;
my $episodes = int($option{seconds} / $option{length} + 0.5) || 1;
my $length = $option{seconds} / $episodes;
my $first = $option{episode} || 1;
$episodes = 1 if $option{episode};

foreach my $episode ($first .. $first + $episodes - 1)
{
	my $profile = Simulator::Profile::draw($option{seed}, $episode, %option);
	my $dir = "$option{dir}/episode.$episode";
	mkdir $dir or die "$dir: $!\n";
	print "episode $episode: ", Simulator::Profile::text($profile), "\n";
	my @wrong = run_episode($profile, $dir, "episode_$episode", $length);
	if (@wrong)
	{
		# that one of our own processes did not get on is no violation
		my $status = (grep { $_->{text} !~ / died: / } @wrong) ? 1 : 2;
		$report->failure($profile, $dir, "episode_$episode", @wrong);
		$report->table(time - $began);
		printf "%s after %.1f s, %d operations: %s\n",
		  $status == 1 ? 'violation' : 'trouble',
		  time - $began, $report->{sum}{operations} || 0, $wrong[0]{text};
		exit $status;
	}
	admin()->tell("DROP DATABASE episode_$episode WITH (FORCE)");
	system('rm', '-rf', $dir);
}
$report->table(time - $began);
print "no violation\n";
exit 0;

# A connection for whoever sets things up.
sub admin
{
	my ($database) = @_;

	return Simulator::Session->new(
		database => $database || 'postgres',
		name     => 'simulator')->connect;
}

sub must
{
	my ($session, @statements) = @_;

	foreach my $statement (@statements)
	{
		my $answer = $session->tell($statement);
		die "$statement: $answer->{message}\n" if $answer->{code} ne '00000';
	}
	return;
}

sub set_up
{
	my ($profile, $database) = @_;
	my $admin = admin();
	my %setting = (
		worker_enabled        => $profile->{sweeps} ? 'on' : 'off',
		auto_stripes          => $profile->{auto_stripes},
		max_ttl               => "$profile->{max_ttl}s",
		naptime               => '1s',
		ledger_retention      => $profile->{purges} ? '3s' : '-1',
		reservation_retention => $profile->{purges} ? '5s' : '30d');

	must($admin, q{LOAD 'inventory_reservation'}, 'ALTER SYSTEM RESET ALL');
	must($admin, "ALTER SYSTEM SET inventory_reservation.$_ = '$setting{$_}'")
	  foreach sort keys %setting;
	must(
		$admin,
		'SELECT pg_reload_conf()',
		"CREATE DATABASE $database TEMPLATE template0",
		"ALTER DATABASE $database SET search_path = inv, public");
	$admin->{dbh}->disconnect;

	my $session = admin($database);
	must(
		$session,
		'CREATE SCHEMA inv',
		'CREATE EXTENSION inventory_reservation SCHEMA inv',
		'CREATE SCHEMA sim',
		'CREATE TABLE sim.mark (mark text PRIMARY KEY, isolation text,'
		  . ' xid xid8 DEFAULT pg_current_xact_id(), snapshot pg_snapshot DEFAULT pg_current_snapshot())',
		'CREATE TABLE sim.brought (name text PRIMARY KEY, sku text, units bigint)'
	);
	must($session, q{SELECT inv_add_location('annex')});
	my @stock = @{ $profile->{shared} };

	foreach my $client (1 .. $profile->{clients})
	{
		push @stock, map {
			{ %$_, sku => "c$client-$_->{name}" }
		} @{ $profile->{private} };
	}
	foreach my $stock (@stock)
	{
		my $location = $stock->{location} ? "'$stock->{location}'" : 'NULL';
		must(
			$session,
			"SELECT inv_add_item('$stock->{sku}', unit_price => 3)",
			sprintf(q{SELECT inv_receive('%s', %d, %s)},
				$stock->{sku}, $stock->{units} - ($stock->{backorders} || 0), $location)
		);
		must($session,
			"SELECT inv_set_policy('$stock->{sku}', backorder_limit => $stock->{backorders})"
		) if $stock->{backorders};
		must($session,
			"SELECT inv_set_stripes('$stock->{sku}', $stock->{stripes})")
		  if $stock->{stripes} > 1;
		must($session,
			"INSERT INTO sim.brought VALUES ('first $stock->{sku}', '$stock->{sku}', $stock->{units})"
		) if !$stock->{name};
	}
	$session->{dbh}->disconnect;
	schedule_sweeps($database) if $profile->{sweeps};
	return;
}

# pg_cron sweeps too, at each full minute.  Its jobs are in a database of their
# own, of the server's name.
sub schedule_sweeps
{
	my ($database) = @_;
	my $session = admin('sim_server');

	must(
		$session,
		'CREATE EXTENSION IF NOT EXISTS pg_cron',
		q{SELECT cron.schedule_in_database('sweep', '* * * * *', 'SELECT inv.inv_expire(NULL::bigint)', '}
		  . "$database')");
	$session->{dbh}->disconnect;
	return;
}

# From now on nobody sweeps any more.
sub end_sweeps
{
	my ($profile, $database) = @_;
	my $session = admin('sim_server');
	my $until = time + 60;

	must($session, q{SELECT cron.unschedule('sweep')}) if $profile->{sweeps};
	must(
		$session,
		'ALTER SYSTEM SET inventory_reservation.worker_enabled = off',
		'SELECT pg_reload_conf()');
	sleep 0.05
	  while time < $until
	  && $session->value(
		q{SELECT count(*) FROM pg_stat_activity WHERE datname = ? AND backend_type ~ 'pg_cron|inventory'},
		$database);
	$session->{dbh}->disconnect;
	return;
}

# A process of our own: code to run.  Its death is a violation, unless it has
# ended well.
sub start_process
{
	my ($dir, $name, $code) = @_;
	my $pid = fork;

	die "fork: $!\n" if !defined $pid;
	return $pid      if $pid;
	eval { $code->(); 1 } or do
	{
		open my $file, '>>', "$dir/violations";
		print $file join("\t", $name, time, "died: $@" =~ s/\s+/ /gr), "\n";
		close $file;
		POSIX::_exit(1);
	};
	POSIX::_exit(0);
}

# Who does not come to an end waits for something that never happens.
sub wait_for
{
	my ($dir, $pids) = @_;
	my $until = time + 120;

	while (%$pids)
	{
		foreach my $pid (keys %$pids)
		{
			delete $pids->{$pid} if waitpid($pid, POSIX::WNOHANG()) != 0;
		}
		sleep 0.02;
		next if time < $until;
		open my $file, '>>', "$dir/violations";
		foreach my $pid (keys %$pids)
		{
			print $file
			  join("\t", $pids->{$pid}, time, 'does not come to an end'),
			  "\n";
			kill 'KILL', $pid;
		}
		my $answer = admin()->ask(
			q{SELECT pid, application_name, wait_event, query FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND state <> 'idle'});
		print $file join("\t", 'server', time, "at work: @$_" =~ s/\s+/ /gr),
		  "\n"
		  foreach @{ $answer->{rows} };
		close $file;
		$until = time + 60;
	}
	return;
}

sub run_episode
{
	my ($profile, $dir, $database, $length) = @_;
	my $log_from = -s $option{log};

	set_up($profile, $database);
	my $until = time + $length;
	my @common = (
		profile    => $profile,
		dir        => $dir,
		database   => $database,
		until      => $until,
		data       => $option{data},
		server_log => $option{log});
	my (%clients, %others);
	open my $handed, '>', "$dir/handed";
	close $handed;

	foreach my $number (1 .. $profile->{clients})
	{
		my $pid = start_process(
			$dir,
			"client $number",
			sub {
				my $client =
				  Simulator::Client->new(@common, number => $number);
				$client->run;
				open my $file, '>', "$dir/counted.$number"
				  or die "counted: $!\n";
				print $file join("\t",
					map { $_ || 0 } @$client{qw(count resolved)},
					@{ $client->{judged} }{ 'own refusals', 'busy', 'races' }
				  ),
				  "\n";
				close $file;
			});
		$clients{$pid} = "client $number";
	}
	$others{
		start_process($dir, 'nemesis',
			sub { Simulator::Nemesis->new(@common)->run })
	} = 'nemesis';
	$others{
		start_process(
			$dir, 'latecomer',
			sub { Simulator::Latecomer->new(@common)->run })
	} = 'latecomer';
	my $observer = start_process($dir, 'observer',
		sub { Simulator::Observer->new(@common)->run });

	my $checkpoint = time + $length / 2;
	while (time < $until && !-e "$dir/violations")
	{
		sleep 0.1;
		if ($checkpoint && time > $checkpoint)
		{
			$checkpoint = 0;
			look_at_rest($dir, $database, %clients);
		}
	}
	touch("$dir/stop");
	wait_for($dir, \%clients);
	wait_for($dir, \%others);
	touch("$dir/observed");
	wait_for($dir, { $observer => 'observer' });

	end_sweeps($profile, $database);
	my $session = admin($database);
	my @records = Simulator::Log::read_all(grep { -e }
		  map { "$dir/client.$_" } 1 .. $profile->{clients});
	my $verdict = Simulator::Verdict->new(
		session => $session,
		profile => $profile,
		records => \@records);
	my @wrong = read_violations($dir);
	push @wrong, @{ $verdict->judge } if !@wrong;
	push @wrong, $report->search_server_log($profile, $dir, $log_from);
	$report->count($profile, $dir, \@records, $verdict);
	$session->{dbh}->disconnect;
	return @wrong;
}

# In the middle: everybody pauses between two transactions, and the books must
# be right.
sub look_at_rest
{
	my ($dir, $database, %clients) = @_;
	my $until = time + 60;

	touch("$dir/pause");
	while (time < $until && !-e "$dir/violations")
	{
		my @paused = glob "$dir/paused.*";
		last if @paused == keys %clients;
		sleep 0.02;
	}
	my $session = admin($database);
	my $answer;
	do
	{
		$session->reconnect if $answer && $answer->{lost};
		$answer = $session->ask('SELECT * FROM inv_check()');
	} while ($answer->{lost});
	if (@{ $answer->{rows} })
	{
		open my $file, '>>', "$dir/violations";
		print $file join(
			"\t",
			'checkpoint',
			time,
			'inv_check(): '
			  . join(
				' ', map { defined $_ ? $_ : '-' } @{ $answer->{rows}[0] })),
		  "\n";
		close $file;
	}
	$session->{dbh}->disconnect;
	unlink "$dir/pause";
	$report->{checkpoints}++;
	return;
}

sub read_violations
{
	my ($dir) = @_;
	my @wrong;

	open my $file, '<', "$dir/violations" or return;
	while (my $line = <$file>)
	{
		chomp $line;
		my ($who, $when, $text, @about) = split /\t/, $line;
		next if !defined $text;
		push @wrong,
		  {
			text => "$who: $text",
			at   => $when,
			map { split /=/, $_, 2 } @about
		  };
	}
	return @wrong;
}

sub touch
{
	my ($name) = @_;

	open my $file, '>', $name or die "$name: $!\n";
	close $file;
	return;
}
