# Looks at snapshots while everybody is at work, and reads the feed.
#
# In no snapshot there may be more units sold and held than have been brought
# in; they are counted from the lines and the orders, not from the counters, and
# against a table of the simulator's own.  What may be backordered counts as
# brought in, and as on hand.  Of every second snapshot inv_check()
# is asked as well.  Half of its time it rests, for it reads all there is.
#
# The feed must show every ledger entry once.
package Simulator::Observer;

use strict;
use warnings;

use Simulator::Session;
use Time::HiRes qw(sleep time);

my $more_than_there_was = <<'SQL';
SELECT brought.sku, brought.units, sums.sold, sums.held, stock.on_hand
  FROM (SELECT sku, sum(units) AS units FROM sim.brought GROUP BY sku) AS brought
  JOIN (SELECT item.sku, sum(on_hand - least(min_available, 0)) AS on_hand
		  FROM inv_stock JOIN inv_item AS item USING (item_id) GROUP BY item.sku) AS stock USING (sku)
  JOIN (SELECT item.sku,
			   coalesce(sum(line.quantity - line.returned) FILTER (WHERE sale.order_id IS NOT NULL), 0) AS sold,
			   coalesce(sum(line.quantity) FILTER (WHERE line.status = 'active'), 0) AS held
		  FROM inv_item AS item
		  LEFT JOIN inv_reservation AS line USING (item_id)
		  LEFT JOIN inv_order AS sale USING (reservation_id)
		 GROUP BY item.sku) AS sums USING (sku)
 WHERE sums.sold + sums.held > brought.units
	OR stock.on_hand <> brought.units - sums.sold
SQL

sub new
{
	my ($class, %option) = @_;
	my $session = Simulator::Session->new(
		database => $option{database},
		name     => 'sim observer')->connect;

	return bless {
		%option,
		session   => $session,
		snapshots => 0,
		checks    => 0,
		events    => 0,
		seen      => {}
	}, $class;
}

sub violation
{
	my ($self, $text, %about) = @_;

	open my $file, '>>', "$self->{dir}/violations" or die "violations: $!\n";
	print $file join("\t",
		'observer',
		time,
		$text,
		map { "$_=$about{$_}" } grep { defined $about{$_} } sort keys %about),
	  "\n";
	close $file;
	exit 1;
}

sub run
{
	my ($self) = @_;

	until (-e "$self->{dir}/observed")
	{
		my $began = time;
		$self->look;
		$self->follow;
		my $took = time - $began;
		sleep($took > 0.1 ? $took : 0.1);
	}
	# everybody is done: nothing may be missing now
	1 while $self->follow;
	$self->compare_feed if !$self->{profile}{purges};
	open my $file, '>', "$self->{dir}/observations"
	  or die "observations: $!\n";
	print $file "$self->{snapshots} $self->{checks} $self->{events}\n";
	close $file;
	return;
}

# One snapshot.
sub look
{
	my ($self) = @_;
	my $session = $self->{session};
	my $answer =
	  $session->tell('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');

	$answer = $session->ask($more_than_there_was)
	  if $answer->{code} eq '00000';
	if ($answer->{code} eq '00000')
	{
		my $row = $answer->{rows}[0];
		$self->violation(
			"a snapshot has $row->[2] sold and $row->[3] held of $row->[0], of which $row->[1] came in and $row->[4] are on hand",
			sku => $row->[0]) if $row;
		$self->{snapshots}++;
		if ($self->{snapshots} % 2)
		{
			$answer = $session->ask('SELECT * FROM inv_check()');
			$row = $answer->{rows}[0];
			$self->violation(
				'inv_check() in a snapshot: '
				  . join(' ', map { defined $_ ? $_ : '-' } @$row),
				sku => $row->[1],
				rid => $row->[4]) if $row;
			$self->{checks}++ if $answer->{code} eq '00000';
		}
	}
	$answer = $session->tell('ROLLBACK') if !$answer->{lost};
	$session->reconnect                  if $answer->{lost};
	return;
}

# The next page of the feed; how many there were.
sub follow
{
	my ($self) = @_;
	my $answer =
	  $self->{session}
	  ->ask('SELECT cursor, entry_id FROM inv_events(?, 5000)',
		$self->{cursor});

	if ($answer->{lost})
	{
		$self->{session}->reconnect;
		return 1;
	}
	if ($answer->{code} ne '00000')
	{
		# purged meanwhile
		$self->{cursor} = undef if $answer->{code} eq '55000';
		$self->violation("the feed: $answer->{message}")
		  if $answer->{code} ne '57014'
		  && !($answer->{code} eq '55000' && $self->{profile}{purges});
		return 1;
	}
	foreach my $row (@{ $answer->{rows} })
	{
		$self->violation("the feed shows entry $row->[1] twice")
		  if $self->{seen}{ $row->[1] }++ && !$self->{profile}{purges};
		$self->{cursor} = $row->[0];
		$self->{events}++;
	}
	return scalar @{ $answer->{rows} };
}

# A worker may be at work still, so what is missing may come a little later.
sub compare_feed
{
	my ($self) = @_;
	my $until = time + 60;
	my @missing;

	do
	{
		sleep 0.2 if @missing;
		1 while $self->follow;
		my $answer = $self->{session}->ask('SELECT entry_id FROM inv_ledger');
		@missing =
		  grep { !$self->{seen}{$_} } map { $_->[0] } @{ $answer->{rows} };
		my %there = map { $_->[0] => 1 } @{ $answer->{rows} };
		my ($other) = grep { !$there{$_} } keys %{ $self->{seen} };
		$self->violation(
			"the feed has shown entry $other, which is not there")
		  if defined $other && $answer->{code} eq '00000';
	} while (@missing && time < $until);
	$self->violation("the feed has not shown entry $missing[0]") if @missing;
	return;
}

1;
