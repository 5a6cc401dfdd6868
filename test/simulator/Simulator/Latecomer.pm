# Comes in the very moment in which dead holds are freed, and changes one.
#
# Whoever frees dead holds learns from a snapshot which they are, and locks them
# one after the other.  What is locked by somebody else he passes over, and goes
# on; what has been extended since he looked, he leaves.  Random calls meet these
# moments too seldom, so here they are made: SKUs of its own, a hold whose
# extension is not committed when its time is over, and somebody who wants all
# that is free.
#
# Any answer that is lost, cancelled or late ends a round without a verdict.
package Simulator::Latecomer;

use strict;
use warnings;

use DBD::Pg qw(:async);
use Simulator::Dice;
use Simulator::Session;
use Time::HiRes qw(sleep time);

use constant BLUR => 0.002;

# Options: profile, dir, database, until.
sub new
{
	my ($class, %option) = @_;
	my $profile = $option{profile};

	return bless {
		%option,
		dice => Simulator::Dice->new(
			$profile->{seed}, $profile->{episode}, 'latecomer'),
		buyer => Simulator::Session->new(
			database => $option{database},
			name     => 'sim latecomer')->connect,
		extender => Simulator::Session->new(
			database => $option{database},
			name     => 'sim latecomer too')->connect,
		rounds => 0,
		judged => 0
	}, $class;
}

sub run
{
	my ($self) = @_;

	while (time < $self->{until} && !-e "$self->{dir}/stop")
	{
		my $round = $self->{dice}->chance(0.4) ? 'pass_over' : 'leave_alone';

		sleep 0.01 while -e "$self->{dir}/pause";
		if (!eval { $self->$round; $self->{judged}++; 1 })
		{
			die $@ if !ref $@;
			$self->begin_anew;
		}
		sleep 0.2;
	}
	open my $file, '>', "$self->{dir}/latecomer" or die "latecomer: $!\n";
	print $file "$self->{judged}\n";
	close $file;
	return;
}

# A round has been broken off.
sub begin_anew
{
	my ($self) = @_;

	foreach my $session (@$self{qw(buyer extender)})
	{
		my $answer = $session->tell('ROLLBACK');
		$session->reconnect if $answer->{code} ne '00000';
	}
	return;
}

sub violation
{
	my ($self, $text, %about) = @_;

	open my $file, '>>', "$self->{dir}/violations" or die "violations: $!\n";
	print $file join("\t",
		'latecomer', time, $text, map { "$_=$about{$_}" } sort keys %about),
	  "\n";
	close $file;
	exit 1;
}

# The rows of an answer.  What others do to us breaks the round off.
sub rows
{
	my ($self, $answer) = @_;

	return $answer->{rows} if $answer->{code} eq '00000';
	die { broken_off => 1 }
	  if $answer->{lost} || $answer->{code} =~ /^(?:57014|40P01|IV002)$/;
	return $self->violation(
		"an answer that cannot be: $answer->{code} $answer->{message}" =~
		  s/\s+/ /gr);
}

sub ask
{
	my ($self, $who, $sql, @arguments) = @_;

	return $self->rows($self->{$who}->ask($sql, @arguments))->[0];
}

# A new SKU, in one piece, of so many units.
sub new_sku
{
	my ($self, $units) = @_;
	my $sku = 'LATE-' . ++$self->{rounds};

	$self->ask('buyer', 'SELECT inv_add_item(?)', $sku);
	$self->ask('buyer', 'SELECT inv_receive(?, ?::bigint)', $sku, $units);
	$self->ask('buyer', 'SELECT inv_set_stripes(?, 1)', $sku);
	# who waits for us while we wait for him, gives up: VACUUM FULL can do that
	$self->ask('buyer',
		q{SELECT set_config('statement_timeout', '10s', false)});
	return $sku;
}

# A hold: its id, and when it ends.
sub hold
{
	my ($self, $sku, $units, $ttl) = @_;

	return @{
		$self->ask(
			'buyer',
			q{SELECT reservation_id, extract(epoch FROM expires_at) FROM inv_reserve(?, ?::bigint, customer => 'latecomer', ttl => ?::interval)},
			$sku,
			$units,
			"$ttl milliseconds")
	};
}

# Extend a hold in a transaction that stays open until its old time is over; its
# new end.
sub extend_and_wait
{
	my ($self, $rid, $dies) = @_;

	$self->rows($self->{extender}->tell('BEGIN'));
	my $expires =
	  $self->ask('extender',
		q{SELECT extract(epoch FROM inv_extend(?, interval '1 minute'))},
		$rid)->[0];
	my $left = $dies + BLUR - time;
	sleep $left if $left > 0;
	return $expires;
}

sub commit
{
	my ($self) = @_;

	$self->rows($self->{extender}->tell('COMMIT'));
	return;
}

# What lived when it was looked at must be active.
sub judge_extended
{
	my ($self, $rid, $expires) = @_;
	my $status =
	  $self->ask('buyer', 'SELECT status FROM inv_reservation_status(?)',
		$rid)->[0];

	die { broken_off => 1 } if time > $expires - BLUR;
	$self->violation(
		sprintf(
			'a hold is %s that was extended until %.6f',
			$status, $expires),
		rid => $rid) if $status ne 'active';
	return;
}

# Two dead holds, the first of which is being extended: the second is free, and
# the first is not.
sub pass_over
{
	my ($self) = @_;
	my $sku = $self->new_sku(4);
	my ($first, $first_dies) = $self->hold($sku, 1, 150);
	my ($second, $second_dies) = $self->hold($sku, 2, 160);
	my $expires = $self->extend_and_wait($first, $second_dies);
	my $wanted = $self->{dice}->pick(3, 3, 4);
	my $began = time;
	my $row = $self->ask(
		'buyer',
		q{SELECT reservation_id, available FROM inv_try_reserve(?, ?::bigint, customer => 'latecomer')},
		$sku,
		$wanted);

	# had the extension been broken off meanwhile, all four would be free
	$self->commit;
	die { broken_off => 1 } if time > $expires - BLUR;
	$self->violation(
		"refused 3 of $sku at $began: 1 is free, 2 have a dead hold; a fourth is being extended",
		rid => $second) if $wanted == 3 && !defined $row->[0];
	$self->violation("4 of $sku held at $began, of which 1 is being extended",
		rid => $first)
	  if $wanted == 4 && defined $row->[0];
	$self->judge_extended($first, $expires);
	return;
}

# Hundreds of dead holds, and one that is extended while somebody frees them: he
# gets to it last.
sub leave_alone
{
	my ($self) = @_;
	my $dead = 100 + $self->{dice}->below(300);
	my $sku = $self->new_sku($dead + 1);

	$self->ask(
		'buyer',
		q{SELECT count(reservation_id) FROM inv_reserve_batch(array_fill(?::text, ARRAY[?::integer]), array_fill(1::bigint, ARRAY[?::integer]), NULL, array_fill('latecomer'::text, ARRAY[?::integer]), interval '200 milliseconds')},
		$sku,
		$dead,
		$dead,
		$dead);
	my ($rid, $dies) = $self->hold($sku, 1, 300);
	my $expires = $self->extend_and_wait($rid, $dies);
	my $sweeps = $self->{profile}{sweeps} && $self->{dice}->chance(0.5);
	my @call =
	  $sweeps
	  ? ('SELECT inv_expire(10000)')
	  : (
		q{SELECT reservation_id FROM inv_try_reserve(?, ?::bigint, customer => 'latecomer')},
		$sku,
		$dead + 1);

	# he has looked, and is on his way, when the extension is committed
	my $sql = shift @call;
	my $buyer = $self->{buyer}{dbh};
	my $call = $buyer->prepare($sql, { pg_async => PG_ASYNC });
	$call->execute(@call) or die { broken_off => 1 };
	sleep $self->{dice}->roll * 0.006;
	my $answer = $self->{extender}->tell('COMMIT');
	die { broken_off => 1 } if !$buyer->pg_result;
	my $row = $call->fetchrow_arrayref;
	$self->rows($answer);

	die { broken_off => 1 } if time > $expires - BLUR;
	$self->violation(
		'all ' . ($dead + 1) . " of $sku held, of which 1 was extended",
		rid => $rid)
	  if !$sweeps && $row && defined $row->[0];
	$self->judge_extended($rid, $expires);
	return;
}

1;
