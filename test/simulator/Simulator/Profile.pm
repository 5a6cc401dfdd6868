# What an episode is like: drawn from the seed and the number of the episode.
#
# Each switch is there because some mistake can hide behind its other position.
# TigerBeetle's worst one hid because expiry had always run between two commits:
# so in every second episode nothing sweeps at all.
package Simulator::Profile;

use strict;
use warnings;

use Simulator::Dice;

sub draw
{
	my ($seed, $episode, %option) = @_;
	my $dice = Simulator::Dice->new($seed, $episode, 'profile');
	my %profile =
	  (seed => $seed, episode => $episode, clients => $option{clients});

	# These two in turn, not by the dice, lest a short run have no crash, or no
	# episode in which nobody sweeps.  Eight episodes have each with each.
	my $turn = $episode + Simulator::Dice->new($seed, 'turn')->below(8);
	# nobody sweeps: what is free is so by the clock alone
	$profile{sweeps} = ($turn + int($turn / 4)) % 2;
	# several calls in a transaction: only then may there be deadlocks
	$profile{several} = $dice->chance(0.6) ? 1 : 0;
	# backends, workers and servers get killed
	$profile{kills} = (2, 1, 0, 1)[ $turn % 4 ];
	$profile{auto_stripes} = $dice->pick(1, 1, 8);
	$profile{hot_stripes} = $dice->pick(1, 4, 16);
	$profile{purges} = $profile{sweeps} && $dice->chance(0.3) ? 1 : 0;
	$profile{max_ttl} = $dice->pick(86400, 86400, 2);
	# most holds die before their buyer is back
	$profile{short_lives} = $dice->pick(0.2, 0.5, 0.9);
	$profile{$_} = $option{$_}
	  foreach grep { defined $option{$_} } qw(sweeps several kills);

	# SKUs that everybody fights for, and SKUs that have hardly two buyers at a
	# time: of those one can say for certain whether a refusal was right.
	my @shared;
	push @shared,
	  {
		sku     => "HOT$_",
		units   => $dice->pick(5, 40, 200),
		weight  => 6,
		stripes => $_ == 1 ? 1 : $profile{hot_stripes}
	  }
	  foreach 1 .. 2;
	push @shared,
	  {
		sku     => "COOL$_",
		units   => $dice->pick(3, 6, 12),
		weight  => 1,
		stripes => $_ % 2 ? 1 : $dice->pick(2, 5)
	  }
	  foreach 1 .. 8;

	# Of these most are backordered.  "units" are those that may be promised, of
	# which so many are not there.
	push @shared,
	  {
		sku        => "OWED$_",
		units      => $_ == 1 ? 30 : 12,
		backorders => $_ == 1 ? 26 : 9,
		weight     => $_ == 1 ? 4 : 1,
		stripes    => 1
	  }
	  foreach 1 .. 2;
	$profile{shared} = \@shared;

	# of each client's own
	$profile{private} = [
		{ name => 'ONE', units    => 12, stripes => 1 },
		{ name => 'TWO', units    => 9, stripes  => 1 },
		{ name => 'SPREAD', units => 14, stripes => 4 },
		# at another location, which has nothing else; not for carts
		{ name => 'FAR', units => 8, stripes => 1, location => 'annex' },
		# not for everyday use, see Races
		{ name => 'MANY', units => 80, stripes => 1 }
	];
	return \%profile;
}

# In words, for the report.
sub text
{
	my ($profile) = @_;

	return join ', ',
	  $profile->{sweeps}  ? 'swept'                       : 'nothing sweeps',
	  $profile->{several} ? 'several calls a transaction' : 'single calls',
	  ('no kills', 'kills', 'crashes')[ $profile->{kills} ],
	  "stripes $profile->{hot_stripes}",
	  $profile->{auto_stripes} > 1 ? 'automatic ones'                : (),
	  $profile->{purges}           ? 'purges'                        : (),
	  $profile->{max_ttl} < 100    ? "max_ttl $profile->{max_ttl} s" : ();
}

1;
