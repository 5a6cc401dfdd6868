# Was a refusal right?  And was nothing sold twice?  Judged for SKUs that many
# buy at once, from the clients' logs alone.
#
# Nobody knows in which order calls that overlap were served.  What is known:
#
# - Units are *possibly* taken from the moment their buyer asked until somebody
#   knew that they had been given back.  A dead hold is given back by the clock,
#   except while a call for that hold is under way, which may have it locked; a
#   dead cart may be locked by whoever frees another of its lines, so it counts
#   as taken until somebody was told that it is gone.
# - Units are *certainly* taken from the moment their buyer knew until somebody
#   asked to give them back, or the hold's time was over.
#
# An answer that says how much is available must lie between what must have been
# free and what can have been, at some moment of the call.  It is given without a
# lock, and counts a hold as dead whose time is over, though somebody may be about
# to commit that he has sold or extended it; so units are *seen* as taken only
# outside of such times.
#
# A refusal is wrong if, counting all that was possibly taken at any moment of
# the call, there was still enough.  Stock is oversold if, at some moment, more
# was certainly taken than can have come in by then.  Neither can raise a false
# alarm.  What lies between is not judged, and counted.
package Simulator::SoldOut;

use strict;
use warnings;

use constant BLUR  => 0.002;
use constant NEVER => 9e15;

sub new
{
	my ($class, $sku) = @_;

	return bless {
		sku         => $sku,
		in          => [],     # [certain from, units]
		possible_in => [],     # [possible from, units]
		possible    => [],     # [from, to, units] of what is possibly taken
		certain     => [],     # the same of what certainly is
		seen        => [],     # the same of what everybody must see as taken
		refused     => [],     # [from, to, units, record]
		said        => []      # [from, to, available, record, options]
	}, $class;
}

sub came_in
{
	my ($self, $possible_from, $certain_from, $units) = @_;

	push @{ $self->{possible_in} }, [ $possible_from, $units ];
	push @{ $self->{in} }, [ $certain_from, $units ] if $certain_from < NEVER;
	return;
}

sub possibly_taken
{
	my ($self, $from, $to, $units) = @_;

	push @{ $self->{possible} }, [ $from, $to, $units ] if $to >= $from;
	return;
}

sub certainly_taken
{
	my ($self, $from, $to, $units) = @_;

	push @{ $self->{certain} }, [ $from, $to, $units ] if $to > $from;
	return;
}

sub seen_as_taken
{
	my ($self, $from, $to, $units) = @_;

	push @{ $self->{seen} }, [ $from, $to, $units ] if $to > $from;
	return;
}

sub refused
{
	my ($self, $from, $to, $units, $record) = @_;

	push @{ $self->{refused} }, [ $from, $to, $units, $record ];
	return;
}

# Options: at_least, the answer counts all that is free; at_most, it can have seen
# nothing but what is committed.
sub said
{
	my ($self, $from, $to, $available, $record, %option) = @_;

	push @{ $self->{said} }, [ $from, $to, $available, $record, %option ];
	return;
}

# Sums of units up to a moment: [moments], [sums].
sub running_sum
{
	my @events = sort { $a->[0] <=> $b->[0] } @_;
	my ($sum, @moments, @sums) = (0);

	foreach my $event (@events)
	{
		$sum += $event->[1];
		push @moments, $event->[0];
		push @sums, $sum;
	}
	return [ \@moments, \@sums ];
}

# The sum of what happened before a moment or, with "including", at it too.
sub sum_at
{
	my ($running, $moment, $including) = @_;
	my ($moments, $sums) = @$running;
	my ($low, $high) = (0, scalar @$moments);

	while ($low < $high)
	{
		my $middle = ($low + $high) >> 1;
		if ($moments->[$middle] < $moment
			|| ($including && $moments->[$middle] == $moment))
		{
			$low = $middle + 1;
		}
		else { $high = $middle; }
	}
	return $low == 0 ? 0 : $sums->[ $low - 1 ];
}

# What is wrong: [what, record or nothing]; and how many refusals were right for
# certain, wrong, and not to be judged.
sub judge
{
	my ($self) = @_;
	my @wrong;
	my %judged = (right => 0, wrong => 0, open => 0, said => 0);
	my $in = running_sum(@{ $self->{in} });
	my $possible_in = running_sum(@{ $self->{possible_in} });
	my $begun =
	  running_sum(map { [ $_->[0], $_->[2] ] } @{ $self->{possible} });
	my $ended =
	  running_sum(map { [ $_->[1], $_->[2] ] } @{ $self->{possible} });
	my $sure_begun =
	  running_sum(map { [ $_->[0], $_->[2] ] } @{ $self->{certain} });
	my $sure_ended =
	  running_sum(map { [ $_->[1], $_->[2] ] } @{ $self->{certain} });

	foreach my $refusal (@{ $self->{refused} })
	{
		my ($from, $to, $units, $record) = @$refusal;
		my $left = sum_at($in, $from) -
		  (sum_at($begun, $to, 1) - sum_at($ended, $from));
		if ($left >= $units)
		{
			$judged{wrong}++;
			push @wrong,
			  [
				"refused $units of $self->{sku} though $left were free for the whole time of the call",
				$record
			  ];
			next;
		}
		my $right = 0;
		foreach my $moment ($from, $to)
		{
			$right = 1
			  if sum_at($possible_in, $moment, 1) -
			  (sum_at($sure_begun, $moment) - sum_at($sure_ended, $moment, 1))
			  < $units;
		}
		$judged{ $right ? 'right' : 'open' }++;
	}

	my $seen_begun =
	  running_sum(map { [ $_->[0], $_->[2] ] } @{ $self->{seen} });
	my $seen_ended =
	  running_sum(map { [ $_->[1], $_->[2] ] } @{ $self->{seen} });
	foreach my $said (@{ $self->{said} })
	{
		my ($from, $to, $available, $record, %option) = @$said;
		my $least = sum_at($in, $from) -
		  (sum_at($begun, $to, 1) - sum_at($ended, $from));
		my $held = sum_at($seen_begun, $from) - sum_at($seen_ended, $to, 1);
		my $most = sum_at($possible_in, $to, 1) - ($held > 0 ? $held : 0);
		$judged{said}++;
		push @wrong,
		  [
			"$available of $self->{sku} said to be available, and it was $least to $most",
			$record
		  ]
		  if $option{at_most}  && $available > ($most > 0 ? $most : 0)
		  || $option{at_least} && $available < $least;
	}

	foreach my $taken (sort { $a->[0] <=> $b->[0] } @{ $self->{certain} })
	{
		my $moment = $taken->[0];
		my $sold =
		  sum_at($sure_begun, $moment, 1) - sum_at($sure_ended, $moment, 1);
		my $there = sum_at($possible_in, $moment, 1);
		if ($sold > $there)
		{
			push @wrong,
			  [
				sprintf(
					'%d of %s sold or held at %.6f, though at most %d had come in',
					$sold, $self->{sku}, $moment, $there),
				undef
			  ];
			last;
		}
	}
	return (\@wrong, \%judged);
}

1;
