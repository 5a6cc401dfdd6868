# Two connections of one client against each other, in moments that hardly ever
# come by themselves.  All is about the client's own SKUs, so it is known what has
# to come of it.
package Simulator::Races;

use strict;
use warnings;

use Simulator::Books;
use Simulator::Log;
use Time::HiRes qw(sleep time);

# Our transaction has its snapshot; now somebody else changes a stock row.  A
# call of ours that writes the row must raise 40001, and nothing else will do: it
# cannot see what it would overwrite.  (The SKU is in one row.)
sub overtake
{
	my ($self, $before) = @_;
	my $sku = "$self->{name}-ONE";
	my $name = $self->new_name;
	my $other = $self->second_session;
	my $answer;

	while (1)
	{
		$answer =
		  $other->ask('SELECT version FROM inv_receive(?, 1, key => ?)',
			$sku, $name);
		last              if $answer->{code} eq '00000';
		$other->reconnect if $answer->{lost};
		$self->violation(
			"inv_receive($sku): $answer->{code} $answer->{message}",
			sku => $sku)
		  if !$answer->{lost} && !$self->is_tolerable($answer->{code});
	}
	foreach my $books ($before, $self->{books})
	{
		$books->{sku}{$sku}{on_hand}++;
		$books->{sku}{$sku}{version}++;
	}
	$answer = $self->{session}
	  ->ask('SELECT reservation_id FROM inv_try_reserve(?, 1)', $sku);
	$self->violation(
		"$self->{isolation}: a call wrote a row of $sku that its snapshot does not see",
		rid => $answer->{rows}[0][0],
		sku => $sku
	) if $answer->{code} eq '00000' && defined $answer->{rows}[0][0];
	# refused, by what the snapshot shows: the books are of another time
	$answer->{code} = '40001' if !$answer->{lost};
	return $answer;
}

# A dead hold that somebody else has locked is not stock; what is dead beside it
# is.  One of our holds is extended in a transaction that stays open until its
# old time is over, and that of the next hold too.  Then we buy.
sub keep_busy
{
	my ($self, @dice) = @_;
	my $books = $self->{books};
	my $sku = "$self->{name}-" . ('TWO', 'SPREAD')[ $dice[0] * 2 ];
	my @holds;

	foreach my $units (1, 1 + int($dice[1] * 3))
	{
		my $request =
		  $self->reserve_request(1, 'try_reserve', { $sku => $units }, 60);
		$self->alone($request);
		my $rid = $request->{record}{rid} or return;
		push @holds, $books->{hold}{$rid} || return;
	}
	my ($busy, $beside) = @holds;
	my $other = $self->second_session;
	my $dies = $busy->{expires};
	my %record = $self->extend_beside($other, $busy);
	if ($record{code} eq '00000')
	{
		my $rest =
		  ($dies > $beside->{expires} ? $dies : $beside->{expires}) - time;
		sleep $rest + 0.005 if $rest > -0.005;
		my $now = time;
		my ($free) = $books->available_to_buyer($sku, $now, $now);
		my $units = $dice[2] < 0.7 ? $free : $free + 1;
		if ($units > 0)
		{
			my $request =
			  $self->reserve_request(1, 'try_reserve', { $sku => $units },
				200);
			$request->{numbers_may_differ} = 1;
			$self->alone($request);
			$self->{judged}{busy}++;
		}
	}
	$other->tell($dice[2] < 0.5 ? 'COMMIT' : 'ROLLBACK');
	$self->end_beside($other, $busy, \%record);
	return;
}

# A buyer who is short walks over many dead holds and frees them.  While he does
# so, one of them is committed as extended: he has seen it as dead, and must not
# take it.
sub race
{
	my ($self, @dice) = @_;
	my $sku = "$self->{name}-MANY";
	my $count = 60;
	my $other = $self->second_session;
	my $batch =
	  $self->batch_request(1, [ ($sku) x $count ], [ (1) x $count ], 200);

	# some of the last race may still be there, dead
	$batch->{numbers_may_differ} = 1;
	$self->alone($batch);
	my @held = grep { defined $_ }
	  map { $self->{books}{hold}{ $_->{rid} || '' } } @{ $batch->{records} };
	if (@held == $count)
	{
		my $hold = $held[ $dice[0] * @held ];
		my $all_die = $held[-1]{expires};
		my %record = $self->extend_beside($other, $hold);
		if ($record{code} eq '00000')
		{
			my $rest = $all_die - time;
			sleep $rest + 0.003 if $rest > -0.003;
			my ($free) = $self->{books}->available_to_buyer($sku, time, time);
			my $request =
			  $self->reserve_request(1, 'try_reserve', { $sku => $free }, 50);
			$request->{numbers_may_differ} = 1;
			$request->{meanwhile} = sub {
				sleep $dice[1] * 0.004;
				$other->tell('COMMIT');
			};
			$self->alone($request) if $free > 0;
			$self->{judged}{races}++;
		}
		$self->end_beside($other, $hold, \%record);
	}
	# for the next time: nothing is held, or the books say so
	foreach
	  my $hold (grep { $_->{lines}{$sku} } values %{ $self->{books}{hold} })
	{
		my $state = Simulator::Books::state_of($hold, time, time);

		foreach (1 .. 5)
		{
			last if $state eq 'dead' || $hold->{state} ne 'active';
			$self->alone($self->cancel_request($hold, 1));
		}
		delete $self->{books}{hold}{ $hold->{rid} }
		  if $state eq 'dead' || $hold->{state} ne 'active';
	}
	return;
}

# A buyer who needs every stripe waits for the first, while the number of stripes
# changes: where the units are then is where he has to look.
sub restripe
{
	my ($self, @dice) = @_;
	my $sku = "$self->{name}-SPREAD";
	my $other = $self->second_session;
	my $now = time;
	my ($free) = $self->{books}->available_to_buyer($sku, $now, $now);

	return if $free < 2;
	if ($other->tell(sprintf q{BEGIN; SELECT inv_set_stripes('%s', %d)},
			$sku, 1 + int($dice[0] * 12))->{code} eq '00000')
	{
		my $request = $self->reserve_request(1, 'try_reserve',
			{ $sku => $free - ($dice[1] < 0.5 ? 1 : 0) }, 100);
		$request->{meanwhile} = sub {
			sleep 0.001 + $dice[1] * 0.005;
			$other->tell($dice[2] < 0.8 ? 'COMMIT' : 'ROLLBACK');
		};
		$self->alone($request);
		$self->{judged}{races}++;
	}
	$other->tell('ROLLBACK');
	$other->reconnect if !$other->{dbh}->ping;
	return;
}

# The same call with the same key twice, the first in a transaction that is still
# open.  The second has to wait: it gets the first one's hold, or makes its own.
sub twins
{
	my ($self, @dice) = @_;
	my $sku = "$self->{name}-" . ('ONE', 'SPREAD')[ $dice[0] * 2 ];
	my @call = (1, 'try_reserve', { $sku => 1 }, 5000, $self->new_name);
	my $request = $self->reserve_request(@call);
	my $other = $self->second_session;
	my $answer = $other->tell('BEGIN');

	$answer = $other->ask($request->{sql}, @{ $request->{arguments} })
	  if $answer->{code} eq '00000';
	my $first = $answer->{rows}[0] && $answer->{rows}[0][0];
	my $commit = $dice[1] < 0.6;
	my $ended = { code => 'none' };
	if (defined $first)
	{
		$request->{meanwhile} = sub {
			sleep 0.001 + $dice[2] * 0.005;
			$ended = $other->tell($commit ? 'COMMIT' : 'ROLLBACK')
			  if $ended->{code} eq 'none';
		};
		# until it is known what there is under this key
		foreach (1 .. 20)
		{
			@$request{qw(shared_key numbers_may_differ)} = (1, 1);
			$self->alone($request);
			last if $request->{record}{code} =~ /^(?:00000|IV00[16])$/;
			$request = $self->reserve_request(@call);
		}
		my $second = $request->{record}{rid} || 'nothing';
		$self->violation("the key $call[4] made $first, and then $second",
			sku => $sku)
		  if $ended->{code} eq '00000' && ($second eq $first) != $commit;
		$self->{judged}{races}++;
	}
	$other->tell('ROLLBACK');
	$other->reconnect if !$other->{dbh}->ping;
	return;
}

# Items change until their rows stand where others have stood: who remembers a
# place must not take the row that is there now for the one he has seen there.
sub move_items
{
	my ($self, @dice) = @_;
	my $other = $self->second_session;
	my $books = $self->{books};

	foreach my $step (1 .. 20 + $dice[0] * 40)
	{
		my $sku = "$self->{name}-" . ('ONE', 'TWO', 'SPREAD')[ $step % 3 ];
		my $price = 1 + $step % 9;
		my $answer;
		foreach (1 .. 20)
		{
			$answer =
			  $other->ask('SELECT inv_set_item(?, unit_price => ?::numeric)',
				$sku, $price);
			last              if $answer->{code} eq '00000';
			$other->reconnect if $answer->{lost};
		}
		$self->violation("inv_set_item($sku): $answer->{code}", sku => $sku)
		  if $answer->{code} ne '00000';
		$books->{sku}{$sku}{price} = $price;
		$self->alone($self->available_request($sku, 1))
		  if $step % 4 == 0 || $dice[1] < 0.5;
	}
	$self->{judged}{races}++;
	return;
}

# Extend a hold in a transaction of the other connection, which stays open.  What
# is to be written down of it; the books take it for extended.
sub extend_beside
{
	my ($self, $other, $hold) = @_;
	my $answer = $other->tell('BEGIN');

	$answer = $other->ask(
		q{SELECT extract(epoch FROM inv_extend(?::uuid, '90 seconds'))},
		$hold->{rid})
	  if $answer->{code} eq '00000';
	my %record = (
		op    => 'extend',
		rid   => $hold->{rid},
		lines => Simulator::Log::lines_text($hold->{lines}),
		began => $answer->{asked},
		asked => $answer->{asked},
		told  => $answer->{told},
		code  => $answer->{code});
	$hold->{expires} = $record{expires} = $answer->{rows}[0][0]
	  if $answer->{code} eq '00000';
	return %record;
}

# That transaction has been ended, or broke off.  The answer may have got lost, so
# ask for how long the hold lives now.
sub end_beside
{
	my ($self, $other, $hold, $record) = @_;

	$other->tell('ROLLBACK');
	$other->reconnect;
	my ($row) = $self->sure_rows(
		'SELECT extract(epoch FROM max(expires_at)) FROM inv_reservation WHERE reservation_id = ?',
		$hold->{rid});
	$hold->{expires} = $row->[0] if defined $row->[0];
	push @{ $self->{pending} }, $record;
	$self->settle(defined $row->[0]
		  && defined $record->{expires}
		  && abs($row->[0] - $record->{expires}) < 1e-5 ? 'c' : 'r');
	return;
}

1;
