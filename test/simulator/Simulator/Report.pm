# What a run has to say: a table of what was done, and of a failure the shortest
# story that there is.
package Simulator::Report;

use strict;
use warnings;

use Simulator::Log;
use Simulator::Profile;
use Simulator::Session;

sub new
{
	my ($class, %option) = @_;

	return bless {
		%option,
		calls       => {},
		kills       => {},
		judged      => {},
		checked     => {},
		sum         => {},
		checkpoints => 0
	}, $class;
}

sub lines_of
{
	my ($name) = @_;

	open my $file, '<', $name or return;
	my @lines = <$file>;
	chomp @lines;
	return @lines;
}

# An episode is over.
sub count
{
	my ($self, $profile, $dir, $records, $verdict) = @_;

	$self->{sum}{episodes}++;
	foreach my $record (@$records)
	{
		my $outcome =
		  $record->{code} eq '00000'
		  ? ($record->{fate} eq 'c' ? 'done' : 'undone')
		  : $record->{code};
		$self->{calls}{ $record->{op} }{$outcome}++;
	}
	foreach my $name (glob "$dir/counted.*")
	{
		foreach my $line (lines_of($name))
		{
			my ($count, $resolved, $own, $busy, $races) = split /\t/, $line;
			$self->{sum}{races}      += $busy + $races;
			$self->{sum}{operations} += $count;
			$self->{sum}{resolved}   += $resolved;
			$self->{judged}{own}     += $own || 0;
		}
	}
	foreach my $line (lines_of("$dir/observations"))
	{
		my ($snapshots, $checks, $events) = split / /, $line;
		$self->{sum}{snapshots} += $snapshots;
		$self->{sum}{checks}    += $checks;
		$self->{sum}{events}    += $events;
	}
	$self->{judged}{late} += $_ foreach lines_of("$dir/latecomer");
	foreach my $line (lines_of("$dir/kills"))
	{
		my ($kind) = split /\t/, $line;
		$self->{kills}{$kind}++;
	}
	$self->{judged}{$_} += $verdict->{judged}{$_}
	  foreach keys %{ $verdict->{judged} };
	$self->{checked}{$_} += $verdict->{checked}{$_}
	  foreach keys %{ $verdict->{checked} };
	return;
}

# What the server wrote since: no process may die but those the nemesis killed,
# and no error may be one that nobody can cause.
sub search_server_log
{
	my ($self, $profile, $dir, $from) = @_;
	my (@wrong, %killed);

	$killed{ (split /\t/)[1] } = 1 foreach lines_of("$dir/kills");
	open my $log, '<', $self->{log} or die "$self->{log}: $!\n";
	seek $log, $from, 0;
	while (my $line = <$log>)
	{
		chomp $line;
		if (   $line =~ /PANIC:|TRAP:/
			|| $line =~ /\(PID (\d+)\) was terminated by signal/
			&& !$killed{$1}
			|| $line =~ /(?:ERROR|FATAL): / && is_unexpected($profile, $line))
		{
			push @wrong, { text => "server log: $line" };
		}
	}
	return @wrong;
}

sub is_unexpected
{
	my ($profile, $line) = @_;
	my ($code, $type) = $line =~
	  /\] ([0-9A-Z]{5}) (.*?) (?:sim |simulator|nemesis|inventory_|pg_cron)?/;

	return 0 if !defined $code;
	# internal errors, corruption, a constraint that stopped us
	return 1 if $code =~ /^(?:XX|23|58)/ || $code =~ /^25P02/;
	return 1 if $code eq '40P01' && !$profile->{several};
	return 0;
}

sub table
{
	my ($self, $seconds) = @_;
	my $sum = $self->{sum};
	my %total;

	printf "\n%-24s %9s %9s  %s\n", 'calls', 'done', 'undone',
	  'refused, by SQLSTATE';
	foreach my $op (sort keys %{ $self->{calls} })
	{
		my %count = %{ $self->{calls}{$op} };
		my ($done, $undone) = (delete $count{done}, delete $count{undone});
		printf "%-24s %9d %9d  %s\n", $op, $done || 0, $undone || 0,
		  join ' ', map { "$_ $count{$_}" } sort keys %count;
	}
	my $kills = 0;
	foreach (sort keys %{ $self->{kills} })
	{
		$kills += $self->{kills}{$_} if $_ ne 'cancel';
	}
	printf
	  "\n%d operations in %d s (%d a second), %d episodes, %d checkpoints\n",
	  $sum->{operations} || 0, $seconds,
	  ($sum->{operations} || 0) / ($seconds || 1), $sum->{episodes} || 0,
	  $self->{checkpoints};
	printf "%d kills: %s\n", $kills, join ', ',
	  map { "$_ $self->{kills}{$_}" } sort keys %{ $self->{kills} };
	printf "%d calls or commits in doubt were resolved\n",
	  $sum->{resolved} || 0;
	printf
	  "%d snapshots looked at, %d of them by inv_check(); %d events of the feed\n",
	  map { $sum->{$_} || 0 } qw(snapshots checks events);
	printf
	  "refusals of own SKUs, all judged: %d; of shared SKUs: %d right for certain, %d not to be judged\n",
	  map { $self->{judged}{$_} || 0 } qw(own right open);
	printf "holds extended while somebody freed dead ones: %d\n",
	  $self->{judged}{late} || 0;
	printf "races of two connections of one client: %d\n", $sum->{races} || 0;
	printf
	  "answers about shared SKUs that said how much is available, all judged: %d\n",
	  $self->{judged}{said} || 0;
	printf "compared at the end: %s\n", join ', ',
	  map { "$_ $self->{checked}{$_}" } sort keys %{ $self->{checked} };
	return;
}

# The first things that are wrong, and what the logs say of what they are about.
sub failure
{
	my ($self, $profile, $dir, $database, @wrong) = @_;

	printf "\nVIOLATION: seed %s, episode %d (%s)\n", $profile->{seed},
	  $profile->{episode},
	  Simulator::Profile::text($profile);
	printf "again: make simulate SEED=%s EPISODE=%d SECONDS=%d CLIENTS=%d\n",
	  $profile->{seed},
	  $profile->{episode}, $self->{length}, $profile->{clients};
	my @first = @wrong > 5 ? @wrong[ 0 .. 4 ] : @wrong;
	foreach my $wrong (@first)
	{
		print "* $wrong->{text}", (
			map { " [$_ $wrong->{$_}]" } grep {
				$_ ne 'text' && defined $wrong->{$_} && $wrong->{$_} ne ''
			} sort keys %$wrong),
		  "\n";
	}
	printf "* and %d more\n", @wrong - @first if @wrong > @first;
	$self->story($profile, $dir, $database, $wrong[0]);
	return;
}

sub story
{
	my ($self, $profile, $dir, $database, $wrong) = @_;
	my @records = Simulator::Log::read_all(glob "$dir/client.*");
	my %sku = map { $_ => 1 } split /,/, $wrong->{sku} || '';
	my (@about, @of_sku);

	foreach my $record (@records)
	{
		if (grep {
					 defined $wrong->{$_}
				  && $wrong->{$_} ne ''
				  && $record->{$_} eq $wrong->{$_}
			} qw(rid oid customer key))
		{
			push @about, $record;
		}
		elsif (%sku && grep { s/:.*//r && $sku{s/:.*//r} } split /,/,
			$record->{lines})
		{
			push @of_sku, $record if $record->{op} !~ /available/;
		}
	}
	# of a SKU, what came last before it was noticed
	@of_sku = grep { $_->{asked} <= $wrong->{at} } @of_sku if $wrong->{at};
	splice @of_sku, 0, -25                                 if @of_sku > 25;
	@about = sort { $a->{asked} <=> $b->{asked} } @about, @of_sku;
	splice @about, 0, -60 if @about > 60;
	my $zero = @about ? int $about[0]{asked} : 0;
	print "\nwhat the clients wrote down about it (seconds after $zero):\n";
	foreach my $record (@about)
	{
		printf "%10.6f-%.6f %s c%s %-16s %s %s\n",
		  $record->{asked} - $zero, $record->{told} - $zero, $record->{fate},
		  $record->{client}, $record->{op}, $record->{code}, join ' ', map {
			$_ eq 'expires'
			  ? sprintf('expires=%.6f', $record->{$_} - $zero)
			  : "$_=$record->{$_}"
		  }
		  grep { $record->{$_} ne '' }
		  qw(lines rid customer key status replayed available expires oid short);
	}
	my $rid = $wrong->{rid}
	  || (
		$wrong->{customer}
		&& (map { $_->{rid} }
			grep { $_->{customer} eq $wrong->{customer} && $_->{rid} } @about)
		[0]);
	return if !$rid || !$database;
	my $session =
	  Simulator::Session->new(database => $database, name => 'simulator')
	  ->connect;
	print "\nwhat the tables have:\n";
	foreach my $sql (
		"SELECT 'line', line_no, quantity, returned, status, extract(epoch FROM expires_at) - $zero, extract(epoch FROM closed_at) - $zero, stripe, customer FROM inv_reservation WHERE reservation_id = ? ORDER BY line_no",
		"SELECT 'ledger', extract(epoch FROM at) - $zero, operation, stripe, delta_on_hand, delta_reserved, on_hand_after, reserved_after FROM inv_ledger WHERE reservation_id = ? ORDER BY entry_id",
		"SELECT 'order', order_id, status, payment_status, total FROM inv_order WHERE reservation_id = ?"
	  )
	{
		my $answer = $session->ask($sql, $rid);
		print join(' ', map { defined $_ ? $_ : '-' } @$_), "\n"
		  foreach @{ $answer->{rows} };
	}
	return;
}

1;
