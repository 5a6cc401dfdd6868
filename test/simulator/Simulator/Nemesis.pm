# Makes trouble: cancels, terminates and kills backends and workers, crashes the
# server, and does what a database administrator may do at any time.
#
# How much is the profile's: 0 no kills, 1 backends and workers, 2 crashes too.
# Each kill is written down, with the process it was meant for, so that any other
# process that dies is a violation.
package Simulator::Nemesis;

use strict;
use warnings;

use Simulator::Dice;
use Simulator::Session;
use Time::HiRes qw(sleep time);

my @tables =
  qw(inv_stock inv_reservation inv_idempotency inv_order inv_ledger inv_item);
my @settings = (
	[ naptime            => '1s', '2s', '10s' ],
	[ expire_batch_size  => 1, 20, 1000 ],
	[ default_stripes    => 1, 4 ],
	[ reconcile_interval => '1s', '5s', '5min' ],
	[ reconcile_repair   => 'on', 'off' ],
	[ notify             => 'on', 'off' ]);

sub new
{
	my ($class, %option) = @_;
	my $profile = $option{profile};

	open my $kills, '>>', "$option{dir}/kills" or die "kills: $!\n";
	$kills->autoflush(1);
	return bless {
		%option,
		kills => $kills,
		dice  => Simulator::Dice->new(
			$profile->{seed}, $profile->{episode}, 'nemesis'),
		session => Simulator::Session->new(
			database => $option{database},
			name     => 'nemesis')->connect
	}, $class;
}

sub run
{
	my ($self) = @_;
	my $dice = $self->{dice};
	my $kills = $self->{profile}{kills};
	my $next_crash = time + 1 + $dice->roll * 3;

	while (time < $self->{until} && !-e "$self->{dir}/stop")
	{
		sleep 0.05 + $dice->roll * ($kills ? 0.5 : 1);
		next if -e "$self->{dir}/pause";
		if ($kills == 2 && time > $next_crash)
		{
			$self->crash;
			$next_crash = time + 2 + $dice->roll * 5;
		}
		elsif ($kills && $dice->chance(0.6)) { $self->stop_somebody; }
		else                                 { $self->administer; }
	}
	return;
}

sub note
{
	my ($self, $kind, $pid) = @_;

	print { $self->{kills} } join("\t", $kind, $pid || 0, time), "\n";
	return;
}

# Ask the server to cancel or terminate a client's call, or a process of the
# extension.
sub stop_somebody
{
	my ($self) = @_;
	my $die = $self->{dice}->roll;
	my ($kind, $function, $who) =
	  $die < 0.35
	  ? ('cancel', 'pg_cancel_backend', q{application_name LIKE 'sim c%'})
	  : $die < 0.8 ? (
		'terminate', 'pg_terminate_backend', q{application_name LIKE 'sim %'})
	  : (
		'terminate worker',
		'pg_terminate_backend',
		q{backend_type LIKE 'inventory_reservation%'});
	my $answer =
	  $self->{session}->ask(
		"SELECT $function(pid) FROM (SELECT pid FROM pg_stat_activity WHERE $who ORDER BY random() LIMIT 1) AS victim"
	  );

	$self->note($kind) if $answer->{rows}[0] && $answer->{rows}[0][0];
	$self->{session}->reconnect if $answer->{lost};
	return;
}

sub crash
{
	my ($self) = @_;
	my $die = $self->{dice}->roll;

	if ($die < 0.4)
	{
		$self->kill_process(q{application_name LIKE 'sim c%'},
			'SIGKILL backend');
	}
	elsif ($die < 0.5)
	{
		$self->kill_process(q{backend_type LIKE 'inventory_reservation%'},
			'SIGKILL worker');
	}
	elsif ($die < 0.75)
	{
		$self->note('stop -m immediate');
		system(
			"pg_ctl stop --silent --wait --mode=immediate --pgdata='$self->{data}' >>'$self->{dir}/pg_ctl' 2>&1"
		);
		$self->start;
	}
	else
	{
		open my $file, '<', "$self->{data}/postmaster.pid" or return;
		my $pid = <$file>;
		chomp $pid;
		$self->note('SIGKILL postmaster', $pid);
		kill 'KILL', $pid;
		$self->start;
	}
	$self->{session}->reconnect;
	return;
}

sub kill_process
{
	my ($self, $who, $kind) = @_;
	my $answer =
	  $self->{session}->ask(
		"SELECT pid FROM pg_stat_activity WHERE $who ORDER BY random() LIMIT 1"
	  );
	my $pid = $answer->{rows}[0] && $answer->{rows}[0][0] or return;

	$self->note($kind, $pid);
	kill 'KILL', $pid;
	sleep 0.3;
	return;
}

# While processes of the dead server are still there it does not start.
sub start
{
	my ($self) = @_;
	my $until = time + 180;

	while (
		system(
			"pg_ctl start --silent --wait --timeout=120 --pgdata='$self->{data}' --log='$self->{server_log}' >>'$self->{dir}/pg_ctl' 2>&1"
		) != 0)
	{
		die "the server does not start\n" if time > $until;
		sleep 0.5;
	}
	return;
}

sub administer
{
	my ($self) = @_;
	my $dice = $self->{dice};
	my $table = $dice->pick(@tables);
	my $die = $dice->roll;
	my $setting = $dice->pick(@settings);
	my ($name, @values) = @$setting;
	my $shared = $dice->pick(@{ $self->{profile}{shared} });
	my @commands =
		$die < 0.25                              ? "VACUUM $table"
	  : $die < 0.28 && $self->{profile}{several} ? "VACUUM FULL $table"
	  : $die < 0.40                              ? "ANALYZE $table"
	  : $die < 0.50 ? "REINDEX TABLE CONCURRENTLY $table"
	  : $die < 0.55 ? 'CHECKPOINT'
	  : $die < 0.80 ? sprintf(q{SELECT inv_set_stripes('%s', %d)},
		$shared->{sku}, 1 + $dice->below(8))
	  : (
		"ALTER SYSTEM SET inventory_reservation.$name = '"
		  . $dice->pick(@values) . q{'},
		'SELECT pg_reload_conf()');

	foreach my $command (@commands)
	{
		my $answer = $self->{session}->tell($command);
		$self->{session}->reconnect if $answer->{lost};
	}
	return;
}

1;
