# The ledger of a SKU that takes backorders, read as the story of one queue.
#
# Entries of one stock row are numbered in the order in which it was changed, so
# each has to be what must come next: who promises more than there is goes to the
# end of the queue, what comes goes to the head of it, who gives up units gives up
# first what he lacks, and after each transaction there are as many units in the
# queue as are lacking.  A hold from under which the shop has taken units gets the
# place of its age.
package Simulator::Queue;

use strict;
use warnings;

# What replay() wants to know, in the order of entry_id; to be followed by a
# condition on item.
our $entries = <<'SQL';
SELECT entry.entry_id, entry.xid, entry.operation, entry.delta_on_hand, entry.delta_reserved,
	   entry.on_hand_after, entry.reserved_after, entry.reservation_id,
	   CASE WHEN entry.operation LIKE '%backorder' THEN entry.reason::jsonb ->> 'units' END,
	   CASE WHEN entry.operation LIKE '%backorder' THEN entry.reason::jsonb ->> 'backordered' END,
	   (extract(epoch FROM entry.at) * 1000000)::bigint,
	   (SELECT (extract(epoch FROM line.created_at) * 1000000)::bigint FROM inv_reservation AS line
		 WHERE line.reservation_id = entry.reservation_id AND line.line_no = 1)
  FROM inv_ledger AS entry JOIN inv_item AS item USING (item_id)
 WHERE entry.operation NOT IN ('back_in_stock', 'out_of_stock')
SQL

# Returns what is wrong (undef: nothing), the queue in the end, a list of holds
# and units, and how often what happened.
sub replay
{
	my (@entries) = @_;
	my $self = bless {
		on_hand  => 0,
		reserved => 0,
		xid      => '',
		last     => '',
		queue    => [],
		happened => {}
	}, __PACKAGE__;

	foreach my $entry (@entries)
	{
		my %entry;
		@entry{
			qw(id xid operation delta_on_hand delta_reserved on_hand_after reserved_after
			  hold units left at created)
		} = @$entry;
		$self->follow(\%entry);
		last if $self->{wrong};
	}
	$self->compare_sums('in the end');
	return ($self->{wrong}, $self->{queue}, $self->{happened});
}

sub lacking
{
	my ($self) = @_;
	my $units = $self->{reserved} - $self->{on_hand};

	return $units > 0 ? $units : 0;
}

sub owed
{
	my ($self) = @_;
	my $units = 0;

	$units += $_->{units} foreach @{ $self->{queue} };
	return $units;
}

sub compare_sums
{
	my ($self, $when) = @_;
	my ($owed, $lacking) = ($self->owed, $self->lacking);

	$self->{wrong} //= "$when: $owed in the queue, $lacking lacking"
	  if $owed != $lacking;
	return;
}

sub follow
{
	my ($self, $entry) = @_;

	if ($entry->{xid} ne $self->{xid})
	{
		$self->compare_sums("before entry $entry->{id}");
		$self->{xid} = $entry->{xid};
	}
	$self->{on_hand}  += $entry->{delta_on_hand};
	$self->{reserved} += $entry->{delta_reserved};
	$self->{wrong} //= "entry $entry->{id}: the counters after it are others"
	  if $self->{on_hand} != $entry->{on_hand_after}
	  || $self->{reserved} != $entry->{reserved_after};
	$self->{happened}{ $entry->{operation} }++;
	if    ($entry->{operation} eq 'backorder')      { $self->owe($entry); }
	elsif ($entry->{operation} eq 'fill_backorder') { $self->fill($entry); }
	else
	{
		$self->{last} = $entry->{operation};
		$self->give_up($entry)
		  if $entry->{hold} && $entry->{operation} ne 'confirm';
	}
	return;
}

sub owe
{
	my ($self, $entry) = @_;
	my $queue = $self->{queue};
	my ($own) = grep { $_->{hold} eq $entry->{hold} } @$queue;
	my $too_many = $self->owed + $entry->{units} - $self->lacking;
	# the shop has taken units away; one entry after the other until it fits
	my $taken = $self->{last} !~ /^(?:reserve|retake)$/;

	$self->{wrong} //= "entry $entry->{id}: $entry->{units} are owed, where others lack them"
	  if $taken ? $too_many > 0 : $too_many != 0;
	if ($own)
	{
		$own->{units} += $entry->{units};
		$self->{happened}{'owed more'}++;
	}
	else
	{
		$own = { hold => $entry->{hold}, units => $entry->{units} };
		$taken ? $self->line_up_by_age($own, $entry) : $self->line_up($own, $entry);
	}
	$self->{wrong} //= "entry $entry->{id}: says $entry->{left} are owed, and $own->{units} are"
	  if $own->{units} != $entry->{left};
	return;
}

# Behind all others, with a later time than theirs.
sub line_up
{
	my ($self, $own, $entry) = @_;
	my $queue = $self->{queue};
	my $since = $self->{last} eq 'retake' ? $entry->{at} : $entry->{created};

	$since = $queue->[-1]{since} + 1
	  if @$queue && $since <= $queue->[-1]{since};
	$own->{since} = $since;
	push @$queue, $own;
	return;
}

# Of those of one age (a batch has them) the order is that of their ids.
sub line_up_by_age
{
	my ($self, $own, $entry) = @_;

	$own->{since} = $entry->{created};
	@{ $self->{queue} } =
	  sort { $a->{since} <=> $b->{since} || $a->{hold} cmp $b->{hold} }
	  (@{ $self->{queue} }, $own);
	$self->{happened}{'owed by age'}++;
	return;
}

sub fill
{
	my ($self, $entry) = @_;
	my $head = $self->{queue}[0];

	$self->{wrong} //= "entry $entry->{id}: $entry->{units} of $entry->{hold} filled out of turn"
	  if !$head
	  || $head->{hold} ne $entry->{hold}
	  || $head->{units} != $entry->{units} + $entry->{left};
	$self->{wrong} //= "entry $entry->{id}: $entry->{units} filled, which were not there"
	  if $self->owed - $entry->{units} < $self->lacking;
	return if $self->{wrong};
	$head->{units} = $entry->{left};
	shift @{ $self->{queue} } if !$entry->{left};
	$self->{happened}{'partly filled'}++ if $entry->{left};
	return;
}

sub give_up
{
	my ($self, $entry) = @_;
	my ($own) = grep { $_->{hold} eq $entry->{hold} } @{ $self->{queue} };
	my $units =
	  $entry->{delta_on_hand} > 0 ? $entry->{delta_on_hand} : -$entry->{delta_reserved};

	return if $units <= 0 || !$own;
	$self->{happened}{'given up'}++;
	$own->{units} -= $own->{units} < $units ? $own->{units} : $units;
	@{ $self->{queue} } = grep { $_->{units} > 0 } @{ $self->{queue} };
	return;
}

1;
